/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's directories in the sandbox, each under the path it has there (core/proto/fs.h): `ro` and `live` are the share itself; `review` is an
 * overlay whose lower layer is the share and whose upper layer lies on the sandbox's disk, below WORKSPACE_LAYERS/<key>/upper (workspace_layer());
 * `clone` is clone.h's.
 *
 * Mounting is done by a process of its own: it waits for the host, whose bytes this process brings. For the same reason PID 1 never touches a path
 * for which workspace_covers() is true.
 */
#ifndef BULKHEAD_GUEST_WORKSPACE_H
#define BULKHEAD_GUEST_WORKSPACE_H

#include <stdbool.h>
#include <sys/types.h>

#include "core/proto/fs.h"
#include "guest/mux.h"

#define WORKSPACE_LAYERS "/run/bulkhead/layers" /* on the sandbox's disk (boot.c) */

/* For gmux_accept, AGENT_PORT_FS. */
bool workspace_accept(struct gstream *st, const struct gstream_ops **ops, void **arg);
/*
 * What there is to be in sandbox `name`, once; later calls change nothing. `settled` is called when all of them are mounted or have failed, or after
 * 10 s (CLONE_SETTLE_MS where there is a clone);
 * at once when that is so already. `told` is called on every change of one's state.
 */
void workspace_expect(const struct workspaces *m, const char *name, void (*settled)(void), void (*told)(const struct workspace_told *t));
/* Every one's state by `told`, again. */
void workspace_tell(void);
bool workspace_reaped(pid_t pid, int status);
bool workspace_covers(const char *path);
bool workspace_settled(void);
/* NULL: there is none of that number. */
const struct workspace *workspace_at(size_t index);
/* Where the upper layer of a path lies: "<WORKSPACE_LAYERS>/<16 hex digits>". */
void workspace_layer(const char *path, char dst[64]);
/* Before the last sync: nobody answers any more. */
void workspace_abort(void);

#endif
