/* SPDX-License-Identifier: Apache-2.0 */
/* Private to core/client: reaching the supervisor, starting it when nobody listens. Nothing here waits. */
#ifndef BULKHEAD_CLIENT_START_H
#define BULKHEAD_CLIENT_START_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct client;

struct start {
	char *path;             /* owned: its socket */
	bool may;               /* one may be started */
	int report;             /* what the one that was started says before it listens, -1 none was */
	char text[4096];
	size_t n;
	uint64_t until, ended;
};

int start_begin(struct start *s, bool may, struct err *e);
/* A connected, non-blocking stream socket; -EAGAIN: not yet, again in a while; else -errno with a sentence. */
int start_step(struct start *s, struct err *e);
void start_release(struct start *s);

/* A client of that socket, which has not said hello yet. NULL: no memory, fd is closed. */
struct client *client_adopt_take(int fd);

#endif
