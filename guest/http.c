/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/http.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/str.h"

int http_parse(const char *p, size_t n, int *status, size_t *body)
{
	const char *end = memmem(p, n, "\r\n\r\n", 4);

	if (n < 13 || (memcmp(p, "HTTP/1.0 ", 9) != 0 && memcmp(p, "HTTP/1.1 ", 9) != 0) || !end)
		return -EBADMSG;
	*status = 0;
	for (int i = 9; i < 12; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -EBADMSG;
		*status = *status * 10 + (p[i] - '0');
	}
	*body = (size_t)(end - p) + 4;
	return 0;
}

void http_init(struct http_get *h)
{
	memset(h, 0, sizeof(*h));
	h->w.fd = -1;
	buf_init(&h->answer, HTTP_BODY_MAX);
}

static void finish(struct http_get *h, bool whole)
{
	const int fd = h->w.fd;
	int status = 0;
	size_t body = 0;

	loop_del(&h->w);
	loop_cancel(&h->limit);
	if (fd >= 0)
		close(fd);
	h->busy = false;
	if (!whole || http_parse((const char *)buf_head(&h->answer), buf_size(&h->answer), &status, &body) < 0)
		status = 0;
	h->done(h->arg, status, (const char *)buf_head(&h->answer) + (status ? body : 0), status ? buf_size(&h->answer) - body : 0);
	if (!h->busy)
		buf_release(&h->answer);
}

static void on_limit(void *arg)
{
	finish(arg, false);
}

static void on_readable(void *arg, uint32_t events)
{
	struct http_get *h = arg;
	uint8_t *p = buf_reserve(&h->answer, 4096);

	(void)events;
	if (!p) {
		finish(h, false);
		return;
	}
	const ssize_t n = read(h->w.fd, p, 4096);
	if (n > 0)
		buf_grew(&h->answer, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		finish(h, n == 0);
}

bool http_get(struct http_get *h, const char *socket_path, const char *path, unsigned timeout_ms,
	      void (*done)(void *arg, int status, const char *body, size_t n), void *arg)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char request[256];

	if (h->busy)
		return false;
	h->busy = true;
	h->done = done;
	h->arg = arg;
	buf_clear(&h->answer);
	str_copy(sa.sun_path, sizeof(sa.sun_path), socket_path);
	const int n = snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\nHost: docker\r\n\r\n", path);
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && send(fd, request, (size_t)n, MSG_NOSIGNAL) == n &&
			loop_add(&h->w, fd, EPOLLIN, on_readable, h) == 0;
	if (!ok && fd >= 0)
		close(fd);
	loop_after(&h->limit, ok ? timeout_ms : 0, on_limit, h);
	return true;
}
