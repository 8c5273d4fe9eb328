/* SPDX-License-Identifier: Apache-2.0 */
/*
 * To a supervisor, step by step: its socket (one that is started needs a while until it listens), then the hello and its answer. A dashboard does a
 * step a turn and goes on meanwhile; the command line, which has nothing else to do, waits between them.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/client/client.h"
#include "core/client/start.h"
#include "core/proto/version.h"

#define CONNECT_TRIES 3
#define POLL_MS 10
#define HELLO_MS 10000

struct connecting {
	char class_[32];
	bool may_start;
	struct start start;
	struct client *c;    /* has said hello; NULL while there is no socket yet */
	uint64_t until;      /* the hello's */
	int tries;
	bool answered;
	int code;            /* of the answer */
	struct err why;
};

static void on_hello(void *arg, const struct client_answer *a)
{
	struct connecting *k = arg;

	k->answered = true;
	k->code = a->code;
	if (a->code)
		err_set(&k->why, a->code == CLIENT_LOST ? ECONNRESET : EREMOTEIO, "%s", a->message);
	if (a->fd >= 0)
		close(a->fd);
}

static int say_hello(struct connecting *k, int fd, struct err *e)
{
	json_t *params = json_pack("{s:i, s:s, s:s}", "version", 1, "client", "bulkhead " BULKHEAD_VERSION, "class", k->class_);

	k->answered = false;
	k->until = clock_ms() + HELLO_MS;
	k->c = client_adopt_take(fd);
	if (!k->c || client_send(k->c, "hello", params, on_hello, k) < 0) {
		if (!k->c)
			json_decref(params);
		return err_set(e, ENOMEM, "out of memory");
	}
	return 0;
}

int connecting_begin(struct connecting **out, const char *class_, bool start, struct err *e)
{
	struct connecting *k = calloc(1, sizeof(*k));

	*out = NULL;
	if (!k)
		return err_set(e, ENOMEM, "out of memory");
	str_copy(k->class_, sizeof(k->class_), class_);
	k->may_start = start;
	const int r = start_begin(&k->start, start, e);
	if (r < 0) {
		free(k);
		return r;
	}
	*out = k;
	return 0;
}

void connecting_end(struct connecting **kp)
{
	struct connecting *k = *kp;

	if (!k)
		return;
	*kp = NULL;
	client_close(&k->c);
	start_release(&k->start);
	free(k);
}

/* One that ends before it has answered was on its way out (killed, or shut down): nothing was asked of it yet, the next may be. */
static int once_more(struct connecting *k, struct err *e)
{
	client_close(&k->c);
	start_release(&k->start);
	if (++k->tries >= CONNECT_TRIES)
		return err_set(e, ECONNRESET, "%s", k->why.msg);
	return start_begin(&k->start, k->may_start, e);
}

static int greet(struct connecting *k, struct client **out, struct err *e)
{
	client_pump(k->c, NULL);
	if (!k->answered && clock_ms() < k->until)
		return 0;
	if (!k->answered)
		return err_set(e, ETIMEDOUT,
			       "the supervisor does not answer; look at its log, or end it with 'pkill -f bulkhead-supervisor' (sandboxes go on)");
	if (k->code == CLIENT_LOST)
		return once_more(k, e);
	if (k->code)
		return err_set(e, k->why.code, "%s", k->why.msg);
	*out = k->c;
	k->c = NULL;
	return 1;
}

int connecting_step(struct connecting *k, struct client **out, struct err *e)
{
	*out = NULL;
	if (!k->c) {
		const int fd = start_step(&k->start, e);

		if (fd < 0)
			return fd == -EAGAIN && k->start.report >= 0 ? 0 : fd;
		const int r = say_hello(k, fd, e);
		if (r < 0)
			return r;
	}
	return greet(k, out, e);
}

int connecting_fd(const struct connecting *k)
{
	return k->c ? client_fd(k->c) : -1;
}

int connecting_wait_ms(const struct connecting *k)
{
	const uint64_t now = clock_ms();

	if (!k->c)
		return POLL_MS;
	return k->until > now ? (int)(k->until - now) : 0;
}

int client_connect(struct client **out, const char *class_, bool start, struct err *e)
{
	struct err own = ERR_INIT;
	struct connecting *k;
	int r = connecting_begin(&k, class_, start, e ? e : &own);

	*out = NULL;
	while (r == 0 && (r = connecting_step(k, out, e ? e : &own)) == 0) {
		struct pollfd p = { .fd = connecting_fd(k), .events = POLLIN };

		poll(&p, 1, connecting_wait_ms(k));
	}
	connecting_end(&k);
	return r < 0 ? r : 0;
}
