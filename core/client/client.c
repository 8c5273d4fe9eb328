/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of the JSON-RPC connection.
 *
 * Bytes in -> whole lines -> one object each: an answer (has "id": matched with the pending request) or an event. Descriptors
 * arrive with the first byte of the line that announces them, so a FIFO of descriptors and the order of lines are enough to match
 * them. Once something is wrong with the connection it is `over`, pending requests are answered with CLIENT_LOST, and only
 * client_close() is left.
 */
#include "core/client/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/client/start.h"

#define OUT_MAX (4u * 1024u * 1024u)
#define READ_CHUNK 65536u
#define PAGES_MAX 1024 /* of one list: one page holds a sandbox at least */

struct pending {
	struct pending *next;
	json_int_t id;
	client_answer_fn fn;
	void *arg;
};

struct client {
	int fd;
	struct buf in, out;
	size_t scanned; /* bytes of `in` known to hold no newline */
	int fds[FD_PASS_MAX];
	size_t nfds;
	json_int_t last_id;
	struct pending *pending;
	client_event_fn on_event;
	void *event_arg;
	bool over;
	struct err why;
};

/* ---- pending requests --------------------------------------------------------------------------------------------------- */

static struct pending *pending_take(struct client *c, json_int_t id)
{
	for (struct pending **p = &c->pending; *p; p = &(*p)->next)
		if ((*p)->id == id) {
			struct pending *found = *p;

			*p = found->next;
			return found;
		}
	return NULL;
}

static void fail_pending(struct client *c, const char *message)
{
	while (c->pending) {
		struct pending *p = c->pending;
		const struct client_answer a = { .fd = -1, .code = CLIENT_LOST, .message = message };

		c->pending = p->next;
		if (p->fn)
			p->fn(p->arg, &a);
		free(p);
	}
}

static int connection_over(struct client *c, int code, const char *what)
{
	if (!c->over) {
		c->over = true;
		err_set(&c->why, code, "%s", what);
		fail_pending(c, c->why.msg);
	}
	return -c->why.code;
}

/* ---- bytes in ------------------------------------------------------------------------------------------------------------- */

static int take_fd(struct client *c)
{
	if (c->nfds == 0)
		return -1;
	int fd = c->fds[0];

	c->nfds--;
	memmove(c->fds, c->fds + 1, c->nfds * sizeof(c->fds[0]));
	return fd;
}

static int on_answer(struct client *c, json_t *m)
{
	json_t *error = json_object_get(m, "error");
	json_t *result = json_object_get(m, "result");
	struct pending *p = pending_take(c, json_integer_value(json_object_get(m, "id")));
	struct client_answer a = { .result = result, .fd = -1 };

	if (!p)
		return connection_over(c, EPROTO, "the supervisor answered a request that was not made");
	if (error) {
		a.result = NULL;
		a.code = (int)json_integer_value(json_object_get(error, "code"));
		if (a.code == 0)
			a.code = CLIENT_FAILED;
		a.message = json_string_value(json_object_get(error, "message"));
		a.hint = json_string_value(json_object_get(json_object_get(error, "data"), "did_you_mean"));
		if (!a.message)
			a.message = "the supervisor refused and did not say why";
	} else if (json_integer_value(json_object_get(result, "fds")) == 1) {
		a.fd = take_fd(c);
		if (a.fd < 0) {
			a.result = NULL;
			a.code = CLIENT_FAILED;
			a.message = "the supervisor's descriptor did not arrive (are there too many open files here?)";
		}
	}
	if (p->fn)
		p->fn(p->arg, &a);
	else if (a.fd >= 0)
		close(a.fd);
	free(p);
	return 0;
}

static int on_line(struct client *c, const char *p, size_t n)
{
	json_t *m = json_loadb(p, n, JSON_REJECT_DUPLICATES, NULL);
	int r = 0;

	if (!json_is_object(m)) {
		json_decref(m);
		return connection_over(c, EPROTO, "the supervisor sent a line that is no JSON object");
	}
	if (json_is_integer(json_object_get(m, "id")))
		r = on_answer(c, m);
	else if (c->on_event && json_is_object(json_object_get(m, "params")))
		c->on_event(c->event_arg, json_object_get(m, "params"));
	json_decref(m);
	return r;
}

static int lines(struct client *c)
{
	while (!c->over) {
		const uint8_t *head = buf_head(&c->in);
		size_t have = buf_size(&c->in);
		const uint8_t *nl = have > c->scanned ? memchr(head + c->scanned, '\n', have - c->scanned) : NULL;

		if (!nl) {
			c->scanned = have;
			if (have >= CLIENT_LINE_MAX)
				return connection_over(c, EPROTO, "the supervisor sent a line that is too long");
			return 0;
		}
		size_t n = (size_t)(nl - head);
		int r = on_line(c, (const char *)head, n);
		if (r < 0)
			return r;
		c->scanned = 0;
		buf_consume(&c->in, n + 1);
	}
	return -c->why.code;
}

static int read_some(struct client *c)
{
	for (int i = 0; i < 16; i++) {
		int fds[FD_PASS_MAX];
		size_t nfds = 0;
		uint8_t *p = buf_reserve(&c->in, READ_CHUNK);

		if (!p)
			return connection_over(c, ENOMEM, "out of memory while reading from the supervisor");
		ssize_t n = fd_recv(c->fd, p, READ_CHUNK, fds, &nfds);
		if (n == -EINTR)
			continue;
		if (n == -EAGAIN)
			return 0;
		for (size_t k = 0; n > 0 && k < nfds; k++) {
			if (c->nfds < FD_PASS_MAX)
				c->fds[c->nfds++] = fds[k];
			else
				close(fds[k]);
		}
		if (n <= 0)
			return connection_over(c, n == 0 ? ECONNRESET : (int)-n, "the supervisor ended the connection");
		buf_grew(&c->in, (size_t)n);
		int r = lines(c);
		if (r < 0)
			return r;
	}
	return 0;
}

static int write_some(struct client *c)
{
	while (buf_size(&c->out) > 0) {
		ssize_t n = send(c->fd, buf_head(&c->out), buf_size(&c->out), MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return -errno; /* what it said before it went is read next */
		buf_consume(&c->out, (size_t)n);
	}
	return 0;
}

/* ---- public ---------------------------------------------------------------------------------------------------------------- */

int client_send(struct client *c, const char *method, json_t *params, client_answer_fn fn, void *arg)
{
	struct pending *p = calloc(1, sizeof(*p));
	json_t *m = params || (params = json_object()) ? json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id", c->last_id + 1,
								    "method", method, "params", params) : NULL;
	char *text = m ? json_dumps(m, JSON_COMPACT) : NULL;
	int r = -ENOMEM;

	json_decref(m);
	if (!p || !text)
		goto fail;
	r = -EPIPE;
	if (c->over)
		goto fail;
	r = buf_put(&c->out, text, strlen(text));
	if (r == 0)
		r = buf_put(&c->out, "\n", 1);
	if (r < 0) {
		connection_over(c, -r, "too many requests are waiting to be sent to the supervisor");
		goto fail;
	}
	p->id = ++c->last_id;
	p->fn = fn;
	p->arg = arg;
	p->next = c->pending;
	c->pending = p;
	free(text);
	write_some(c);
	return 0;
fail:
	free(text);
	free(p);
	return r;
}

void client_on_event(struct client *c, client_event_fn fn, void *arg)
{
	c->on_event = fn;
	c->event_arg = arg;
}

int client_fd(const struct client *c)
{
	return c->fd;
}

short client_poll_events(const struct client *c)
{
	return (short)(POLLIN | (buf_size(&c->out) > 0 ? POLLOUT : 0));
}

int client_pump(struct client *c, struct err *e)
{
	if (!c->over) {
		write_some(c);
		read_some(c);
	}
	return c->over ? err_set(e, c->why.code, "%s", c->why.msg) : 0;
}

int client_wait(struct client *c, int wake_fd, int timeout_ms, struct err *e)
{
	struct pollfd p[2] = { { .fd = c->fd, .events = client_poll_events(c) }, { .fd = wake_fd, .events = POLLIN } };

	if (poll(p, wake_fd >= 0 ? 2 : 1, timeout_ms) < 0 && errno != EINTR)
		return err_errno(e, errno, "cannot wait for the supervisor");
	if (p[0].revents) {
		int r = client_pump(c, e);

		if (r < 0)
			return r;
	}
	return wake_fd >= 0 && p[1].revents ? 1 : 0;
}

struct waiting {
	bool done;
	json_t *result;
	int fd, code;
	struct err err;
};

static void on_call_answer(void *arg, const struct client_answer *a)
{
	struct waiting *w = arg;

	w->done = true;
	w->result = json_incref(a->result);
	w->fd = a->fd;
	w->code = a->code;
	if (a->code && a->hint)
		err_set(&w->err, EREMOTEIO, "%s (did you mean '%s'?)", a->message, a->hint);
	else if (a->code)
		err_set(&w->err, EREMOTEIO, "%s", a->message);
}

int client_call(struct client *c, const char *method, json_t *params, int timeout_ms, json_t **result, int *fd, int *code, struct err *e)
{
	struct waiting w = { .fd = -1 };
	const uint64_t until = timeout_ms < 0 ? UINT64_MAX : clock_ms() + (uint64_t)timeout_ms;
	int r = client_send(c, method, params, on_call_answer, &w);

	if (code)
		*code = 0;
	if (result)
		*result = NULL;
	if (fd)
		*fd = -1;
	if (r < 0) {
		if (code)
			*code = CLIENT_LOST;
		return c->over ? err_set(e, c->why.code, "%s", c->why.msg) : err_errno(e, -r, "cannot ask the supervisor");
	}
	const json_int_t id = c->last_id;
	while (!w.done) {
		const uint64_t now = clock_ms();

		if (now >= until) {
			struct pending *p = pending_take(c, id);

			/* Its answer may still come: kept as a request nobody waits for. */
			if (p) {
				p->fn = NULL;
				p->next = c->pending;
				c->pending = p;
			}
			if (code)
				*code = CLIENT_TIMEOUT;
			return err_set(e, ETIMEDOUT, "the supervisor did not answer '%s' within %d s", method, timeout_ms / 1000);
		}
		const int left = until == UINT64_MAX ? -1 : (int)(until - now);
		client_wait(c, -1, left, NULL);
	}
	if (code)
		*code = w.code;
	if (w.code) {
		json_decref(w.result);
		return err_set(e, w.err.code, "%s", w.err.msg);
	}
	if (result)
		*result = w.result;
	else
		json_decref(w.result);
	if (fd)
		*fd = w.fd;
	else
		fd_close(&w.fd);
	return 0;
}

int client_list(struct client *c, const char *method, const char *key, int timeout_ms, json_t **result, struct err *e)
{
	json_t *all = NULL, *from = NULL;

	*result = NULL;
	for (int pages = 0; pages < PAGES_MAX; pages++) {
		json_t *page, *next;
		const int r = client_call(c, method, from ? json_pack("{s:o}", "from", from) : NULL, timeout_ms, &page, NULL, NULL, e);

		if (r < 0) {
			json_decref(all);
			return r;
		}
		next = json_object_get(page, "next");
		from = json_is_null(next) ? NULL : json_incref(next);
		json_object_del(page, "next");
		if (!all) {
			all = page;
		} else {
			json_array_extend(json_object_get(all, key), json_object_get(page, key));
			json_decref(page);
		}
		if (!from) {
			*result = all;
			return 0;
		}
	}
	json_decref(from);
	json_decref(all);
	return err_set(e, EPROTO, "the supervisor's list has no end");
}

struct client *client_adopt_take(int fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return NULL;
	}
	c->fd = fd;
	buf_init(&c->in, CLIENT_LINE_MAX + READ_CHUNK);
	buf_init(&c->out, OUT_MAX);
	return c;
}

int client_again(struct client *c, const char *class_, struct err *e)
{
	struct client *fresh;
	const int r = client_connect(&fresh, class_, true, e);

	if (r < 0)
		return r;
	fresh->on_event = c->on_event;
	fresh->event_arg = c->event_arg;
	connection_over(c, ECONNRESET, "the connection was closed");
	const struct client old = *c;
	*c = *fresh;
	*fresh = old;
	client_close(&fresh);
	return 0;
}

void client_close(struct client **cp)
{
	struct client *c = *cp;

	if (!c)
		return;
	*cp = NULL;
	c->over = true;
	fail_pending(c, "the connection was closed");
	while (c->nfds > 0)
		close(c->fds[--c->nfds]);
	fd_close(&c->fd);
	buf_release(&c->in);
	buf_release(&c->out);
	free(c);
}
