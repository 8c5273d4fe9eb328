/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in the upper layers of the review workspaces, for bulkhead-review (core/proto/changes.h). Each of the host's streams gets a process of
 * its own that may wait for disks; this one only carries its bytes.
 */
#ifndef BULKHEAD_GUEST_CHANGES_H
#define BULKHEAD_GUEST_CHANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/proto/changes.h"
#include "guest/mux.h"

/* For gmux_accept, AGENT_PORT_CHANGES. False also while the workspaces are not settled. */
bool changes_accept(struct gstream *st, const struct gstream_ops **ops, void **arg);

/* In a stream's own process: serves it until it ends. `fd` blocks. changewatch.c, changeread.c. */
void changes_watch(int fd, const struct workspace *w);
void changes_reads(int fd, struct buf *in);
/* The workspace's upper layer, "" when that is not one under review. */
void changes_upper(uint8_t index, char dst[96]);
const struct workspace *changes_workspace(uint8_t index); /* NULL none */
/* What lstat() and its attributes say of a name in the layer whose root is `root`; -errno. The path is m->path's. */
int changes_look(const char *root, struct changes_entry *m);

#endif
