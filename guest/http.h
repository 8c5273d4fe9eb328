/* SPDX-License-Identifier: Apache-2.0 */
/* One bounded HTTP/1.0 GET over a Unix socket, for the docker daemon's API. HTTP/1.0, so that the answer ends with the connection. */
#ifndef BULKHEAD_GUEST_HTTP_H
#define BULKHEAD_GUEST_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/buf.h"
#include "guest/loop.h"

#define HTTP_BODY_MAX (1u << 20)

struct http_get {
	struct watch w;
	struct timer limit;
	struct buf answer;
	bool busy;
	/* status 0: no answer (nobody listens, time-out, too long). body is not terminated. */
	void (*done)(void *arg, int status, const char *body, size_t n);
	void *arg;
};

void http_init(struct http_get *h);
/* Starts one; false when one is under way. done is called later, from the loop, always. */
bool http_get(struct http_get *h, const char *socket_path, const char *path, unsigned timeout_ms,
	      void (*done)(void *arg, int status, const char *body, size_t n), void *arg);
/* Status and where the body begins: 0, -EBADMSG. Pure. */
int http_parse(const char *p, size_t n, int *status, size_t *body);

#endif
