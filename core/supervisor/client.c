/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/client.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/socket.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/loop/after.h"
#include "core/supervisor/events.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/super.h"

#define READ_CHUNK 65536u
#define READ_BURST 4
#define LINES_A_TURN 32

/* One line going out; its descriptor goes with its first byte. */
struct out {
	struct out *next;
	size_t n, sent;
	int fd; /* owned; -1 none */
	char text[];
};

static void on_ready(uv_poll_t *h, int status, int events);

static void on_handle_closed(uv_handle_t *h)
{
	struct client *c = h->data;

	buf_wipe(&c->in);
	free(c);
}

static void interest(struct client *c)
{
	int want = (c->eof || c->pending > CLIENT_OUT_HIGH || c->more ? 0 : UV_READABLE) | (c->head ? UV_WRITABLE : 0);

	if (c->closing || want == c->interest)
		return;
	c->interest = want;
	if (want)
		uv_poll_start(&c->poll, want, on_ready);
	else
		uv_poll_stop(&c->poll);
}

/* Closed at the end of the turn: callers may still hold it. */
static void condemn(struct client *c)
{
	if (c->closing)
		return;
	c->closing = true;
	uv_poll_stop(&c->poll);
	super_defer(c->su);
}

static void pop(struct client *c)
{
	struct out *o = c->head;

	c->head = o->next;
	if (!c->head)
		c->tail = &c->head;
	fd_close(&o->fd);
	free(o);
}

static void on_stalled(void *arg)
{
	struct client *c = arg;

	log_warn("a client has not read for %d s and is cut off", CLIENT_STALL_MS / 1000);
	condemn(c);
}

static void flush(struct client *c)
{
	bool progress = false;

	while (c->head && !c->closing) {
		struct out *o = c->head;
		ssize_t r = fd_send(c->fd, o->text + o->sent, o->n - o->sent, &o->fd, o->fd >= 0 ? 1 : 0);
		if (r == -EAGAIN || r == -EINTR)
			break;
		if (r < 0) {
			condemn(c);
			return;
		}
		progress = true;
		fd_close(&o->fd);
		o->sent += (size_t)r;
		c->pending -= (size_t)r;
		if (o->sent == o->n)
			pop(c);
	}
	if (!c->head)
		after_cancel(&c->stall);
	else if (progress || !c->stall)
		after_set(&c->stall, c->su->loop, CLIENT_STALL_MS, on_stalled, c);
	if (c->more && c->pending <= CLIENT_OUT_HIGH)
		super_defer(c->su);
	if (!c->head && c->lagging) {
		c->lagging = false;
		events_resync(c);
	}
	interest(c);
}

/* Takes fd. The line is copied. */
static void queue_take(struct client *c, const char *line, int fd)
{
	size_t n = strlen(line);
	struct out *o = c->closing ? NULL : malloc(sizeof(*o) + n + 1);

	if (!o) {
		fd_close(&fd);
		condemn(c);
		return;
	}
	*o = (struct out){ .n = n + 1, .fd = fd };
	memcpy(o->text, line, n);
	o->text[n] = '\n';
	*c->tail = o;
	c->tail = &o->next;
	c->pending += n + 1;
	flush(c);
}

void client_event(struct client *c, const char *line)
{
	if (c->closing || c->lagging)
		return;
	if (c->pending + strlen(line) > CLIENT_OUT_HIGH && c->head) {
		c->lagging = true;
		return;
	}
	queue_take(c, line, -1);
}

void client_line(struct client *c, const char *line)
{
	if (!c->closing)
		queue_take(c, line, -1);
}

bool client_watches(const struct client *c, const char *name, uint32_t what)
{
	return !c->closing && c->watch_ms && (c->watch_what & what) && (!*c->watch_name || !strcmp(c->watch_name, name));
}

/* ---- answers ------------------------------------------------------------------------------------------------------------------ */

static void call_free(struct call *k)
{
	if (k->client) {
		for (struct call **p = &k->client->calls; *p; p = &(*p)->next)
			if (*p == k) {
				*p = k->next;
				k->client->ncalls--;
				break;
			}
	}
	json_decref(k->id);
	free(k);
}

/* Takes `value` and fd; frees the call. */
static void answer_take(struct call *k, const char *key, json_t *value, int fd)
{
	if (k->client && !k->client->closing) {
		json_t *o = json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", k->id, key, value);
		AUTO_FREE char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
		json_decref(o);
		if (text && strlen(text) < CLIENT_LINE_MAX) {
			queue_take(k->client, text, steal_fd(&fd));
		} else if (strcmp(key, "error")) {
			call_error(k, RPC_FAILED, "the answer is longer than a line may be");
			fd_close(&fd);
			return;
		} else {
			condemn(k->client);
		}
	} else {
		json_decref(value);
	}
	fd_close(&fd);
	call_free(k);
}

void call_result_take(struct call *c, json_t *result)
{
	answer_take(c, "result", result, -1);
}

void call_result_fd_take(struct call *c, json_t *result, int fd)
{
	json_object_set_new(result, "fds", json_integer(1));
	answer_take(c, "result", result, fd);
}

void call_error_hint(struct call *c, enum rpc_code code, const char *hint, const char *message)
{
	char clean[1024];

	scrub(clean, sizeof(clean), message, strlen(message), false);
	json_t *o = json_pack("{s:i, s:s}", "code", (int)code, "message", clean);
	if (o && hint)
		json_object_set_new(o, "data", json_pack("{s:s}", "did_you_mean", hint));
	answer_take(c, "error", o, -1);
}

void call_error(struct call *c, enum rpc_code code, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	call_error_hint(c, code, NULL, text);
}

void call_error_err(struct call *c, const struct err *e)
{
	static const struct {
		int err;
		enum rpc_code code;
	} map[] = {
		{ EBUSY, RPC_BUSY }, { EPERM, RPC_STATE }, { EDQUOT, RPC_LIMIT }, { EEXIST, RPC_EXISTS }, { ENXIO, RPC_NO_IMAGE },
		{ ESRCH, RPC_NOT_FOUND }, { EINVAL, RPC_PARAMS },
	};
	enum rpc_code code = RPC_FAILED;

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (map[i].err == e->code)
			code = map[i].code;
	call_error(c, code, "%s", e->msg);
}

/* ---- requests ------------------------------------------------------------------------------------------------------------------ */

static struct call *call_create(struct client *c, json_t *id)
{
	struct call *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->su = c->su;
	k->client = c;
	k->id = id ? json_incref(id) : json_null();
	k->next = c->calls;
	c->calls = k;
	c->ncalls++;
	return k;
}

static void on_line(struct client *c, const char *p, size_t n)
{
	json_error_t je;
	json_t *o = json_loadb(p, n, JSON_REJECT_DUPLICATES, &je);
	json_t *id = json_object_get(o, "id"), *params = json_object_get(o, "params");
	const char *version = json_string_value(json_object_get(o, "jsonrpc"));
	const char *method = json_string_value(json_object_get(o, "method"));
	bool id_ok = json_is_string(id) || json_is_integer(id);
	struct call *k = call_create(c, id_ok ? id : NULL);
	char why[JSON_ERROR_TEXT_LENGTH + 1];

	if (!k) {
		condemn(c);
	} else if (!o) {
		scrub(why, sizeof(why), je.text, strlen(je.text), false);
		call_error(k, RPC_PARSE, "this line is not JSON: %s (byte %d)", why, je.position);
	} else if (!json_is_object(o) || !id_ok || !method || !version || strcmp(version, "2.0")) {
		call_error(k, RPC_REQUEST, "a request is one object with 'jsonrpc' (\"2.0\"), 'id' (number or string), 'method' and 'params'");
	} else if (params && !json_is_object(params)) {
		call_error(k, RPC_REQUEST, "'params' must be an object");
	} else if (c->ncalls > CLIENT_CALLS_MAX) {
		call_error(k, RPC_BUSY, "this client waits for %u answers already", CLIENT_CALLS_MAX);
	} else if (!c->greeted && strcmp(method, "hello")) {
		call_error(k, RPC_REQUEST, "the first request must be 'hello'");
	} else {
		api_request(k, method, params);
	}
	json_decref(o);
}

/* At most LINES_A_TURN, so that one busy client starves nobody. */
static void lines(struct client *c)
{
	c->more = false;
	for (int i = 0; !c->closing; i++) {
		const uint8_t *head = buf_head(&c->in);
		size_t have = buf_size(&c->in);
		const uint8_t *nl = have > c->scanned ? memchr(head + c->scanned, '\n', have - c->scanned) : NULL;
		if (!nl) {
			c->scanned = have;
			if (have >= CLIENT_LINE_MAX) {
				struct call *k = call_create(c, NULL);
				if (k)
					call_error(k, RPC_PARSE, "a line may have at most %u bytes; the connection is closed", CLIENT_LINE_MAX);
				condemn(c);
			}
			return;
		}
		if (i == LINES_A_TURN || c->pending > CLIENT_OUT_HIGH) {
			c->more = true;
			super_defer(c->su);
			return;
		}
		size_t n = (size_t)(nl - head);
		if (n >= CLIENT_LINE_MAX) {
			c->scanned = 0;
			buf_clear(&c->in);
			condemn(c);
			return;
		}
		on_line(c, (const char *)head, n);
		/* A request may have brought a credential. */
		explicit_bzero(c->in.data + c->in.off, n);
		c->scanned = 0;
		buf_consume(&c->in, n + 1);
	}
}

static void read_some(struct client *c)
{
	for (int i = 0; i < READ_BURST && !c->closing && !c->more; i++) {
		int fds[FD_PASS_MAX];
		size_t nfds = 0;
		uint8_t *p = buf_reserve(&c->in, READ_CHUNK);
		ssize_t n = p ? fd_recv(c->fd, p, READ_CHUNK, fds, &nfds) : -ENOMEM;
		if (n == -EAGAIN || n == -EINTR)
			break;
		/* No request brings descriptors. */
		for (size_t k = 0; n >= 0 && k < nfds; k++)
			close(fds[k]);
		if (n < 0) {
			condemn(c);
			return;
		}
		if (n == 0) {
			/* It went, or wants no more than the answers that are made already. */
			c->eof = true;
			break;
		}
		buf_grew(&c->in, (size_t)n);
		lines(c);
	}
}

static void on_ready(uv_poll_t *h, int status, int events)
{
	struct client *c = h->data;

	if (status < 0) {
		condemn(c);
		return;
	}
	if (events & UV_WRITABLE)
		flush(c);
	if (!c->closing && (events & UV_READABLE))
		read_some(c);
	if (c->eof && !c->head && !c->more)
		condemn(c);
	if (!c->closing)
		interest(c);
}

/* ---- life ---------------------------------------------------------------------------------------------------------------------- */

void client_accept_take(struct super *su, int fd)
{
	struct client *c = su->nclients < CLIENTS_MAX ? calloc(1, sizeof(*c)) : NULL;

	if (!c || uv_poll_init(su->loop, &c->poll, fd)) {
		static const char full[] = "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":1008,\"message\":\"too many clients are connected\"}}\n";
		ssize_t w = send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		(void)w;
		free(c);
		close(fd);
		return;
	}
	c->poll.data = c;
	c->su = su;
	c->fd = fd;
	c->tail = &c->head;
	buf_init(&c->in, CLIENT_LINE_MAX + READ_CHUNK * (READ_BURST + 1));
	c->next = su->clients;
	su->clients = c;
	su->nclients++;
	interest(c);
}

/* What it made for itself alone goes with it; when the supervisor ends, it stays for the next one. */
static void end_leases(struct client *c)
{
	for (struct sandbox *sb = c->su->sandboxes; sb; sb = sb->next) {
		if (sb->lease != c)
			continue;
		sb->lease = NULL;
		sb->autoremove = !c->su->ended;
		super_defer(c->su);
	}
}

void client_close(struct client *c)
{
	end_leases(c);
	for (struct client **p = &c->su->clients; *p; p = &(*p)->next)
		if (*p == c) {
			*p = c->next;
			c->su->nclients--;
			break;
		}
	c->closing = true;
	after_cancel(&c->stall);
	/* Held calls go on; their answers are dropped. */
	for (struct call *k = c->calls; k; k = k->next)
		k->client = NULL;
	while (c->head)
		pop(c);
	uv_poll_stop(&c->poll);
	fd_close(&c->fd);
	uv_close((uv_handle_t *)&c->poll, on_handle_closed);
}

void client_drain(struct client *c)
{
	while (c->head && c->head->fd < 0) {
		ssize_t r = send(c->fd, c->head->text + c->head->sent, c->head->n - c->head->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (r != (ssize_t)(c->head->n - c->head->sent))
			return;
		pop(c);
	}
}

static void answer_syncs(struct client *c)
{
	for (struct call *k = c->calls, *next; k; k = next) {
		next = k->next;
		if (k->sync)
			call_result_take(k, json_pack("{s:I}", "seq", (json_int_t)c->su->seq));
	}
}

void client_turn(struct super *su)
{
	bool watched = false;

	for (struct client *c = su->clients, *next; c; c = next) {
		next = c->next;
		if (!c->closing)
			answer_syncs(c);
		if (c->more && !c->closing && c->pending <= CLIENT_OUT_HIGH) {
			lines(c);
			if (c->eof && !c->head && !c->more)
				condemn(c);
			if (!c->closing)
				interest(c);
		}
		if (c->closing) {
			watched = watched || c->watch_ms;
			client_drain(c);
			client_close(c);
		}
	}
	if (watched)
		stats_rewatch(su);
}
