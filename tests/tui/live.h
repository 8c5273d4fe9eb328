/* SPDX-License-Identifier: Apache-2.0 */
/* A running sandbox with a terminal whose other end the test holds. */
#ifndef BULKHEAD_TESTS_TUI_LIVE_H
#define BULKHEAD_TESTS_TUI_LIVE_H

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "tests/tui/frames.h"

/* The state tree of one sandbox per name, each running with one terminal that is idle. */
static inline void run_boxes(struct app *a, const char *const *names, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:[{s:i,s:s,s:s,s:s,s:s,s:i,s:i}]}", "name", names[i], "kit", "shell", "path", "/src",
			"state", "running", "generation", 1, "cpus", 2, "sessions", "id", 1, "kind", "pty", "label", "shell", "title", "", "state", "idle", "rows", 24,
			"cols", 80));
	json_t *r = json_pack("{s:o,s:{s:i},s:i}", "sandboxes", list, "host", "cpus", 2, "seq", 1);
	model_subscribed(a->model, r);
	json_decref(r);
	app_settle(a);
}

/* A viewer in the sandbox's focused pane, as if attached; *peer is the terminal's end. */
static inline struct viewer *attach(struct app *a, const char *sandbox, int *peer)
{
	struct viewer *v = viewer_create(sandbox, 1, false, 24, 80);
	struct pane *p = desk_focus(desk_of(a, sandbox));
	int fds[2];

	assert_non_null(v);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	v->serial = ++a->viewer_serial;
	v->used_ms = clock_ms();
	viewer_attach(v, 1, fds[0]);
	a->viewers[a->nviewers++] = v;
	p->v = v;
	p->session = 1;
	p->generation = 1;
	*peer = fds[1];
	return v;
}

static inline void clipboard(struct viewer *v, const char *text)
{
	struct buf b;

	buf_init(&b, 4096);
	const size_t at = frame_begin(&b, ROWS_CLIPBOARD, 0);
	buf_blob32(&b, text, strlen(text));
	frame_end(&b, at);
	viewer_feed(v, buf_head(&b), buf_size(&b));
	buf_release(&b);
}

/* How many keys of that code arrived at the terminal since the last look; frames of other kinds are taken too. */
static inline size_t keys_at(struct viewer *v, int peer, uint32_t code)
{
	uint8_t in[65536];
	size_t n = 0, at = 0;

	viewer_flush(v);
	const ssize_t got = recv(peer, in, sizeof(in), MSG_DONTWAIT);
	while (got > 0 && at < (size_t)got) {
		struct frame f;
		size_t used;

		assert_int_equal(frame_parse(in + at, (size_t)got - at, FRAME_PAYLOAD_MAX, &f, &used), 0);
		n += f.type == VIEW_KEY && (f.payload[0] | (uint32_t)f.payload[1] << 8 | (uint32_t)f.payload[2] << 16) == code;
		at += used;
	}
	return n;
}

#endif
