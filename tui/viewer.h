/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dashboard's end of a terminal (core/proto/rows.h): the descriptor that session.attach brought. Rows come in and are applied; keys,
 * mouse and sizes go out; a frame is acknowledged once it was drawn, so a terminal that is not on the screen costs nothing. What arrives is
 * foreign: a frame that is none ends the viewer with a sentence, never the dashboard.
 */
#ifndef BULKHEAD_TUI_VIEWER_H
#define BULKHEAD_TUI_VIEWER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/str.h"
#include "core/proto/rows.h"
#include "tui/cells.h"
#include "tui/keys.h"

#define VIEWER_LINKS_MAX 1024
#define VIEWER_CLIP_MAX 102400u

enum viewer_state {
	VIEWER_ASKED, /* session.attach is on its way */
	VIEWER_LIVE,
	VIEWER_GONE,  /* the stream ended: `why`; its last screen stays */
};

struct viewer {
	char sandbox[NAME_MAX_LEN + 1];
	uint32_t session;      /* 0 until known */
	bool preview;          /* a tile: never resizes the terminal */
	enum viewer_state state;
	int fd;
	struct buf in, out;    /* out: while asked for, what was typed waits here behind the greeting to come */
	char why[256];
	struct cells shown, staged;
	struct rows_head head; /* of `shown`; rows 0 before the first frame */
	bool staging, changed, ack_due;
	int rows, cols;        /* the size asked for */
	char title[257], label[65];
	char *links[VIEWER_LINKS_MAX]; /* by id - 1 */
	/* Happenings, for the dashboard to take. */
	bool bell, clip_due, history_due, found_due, exited;
	char notify[257];
	struct buf clip;
	uint32_t code, signo;
	/* The answer to the last viewer_history() and viewer_search(). */
	uint32_t history_request, search_request;
	struct cells history;
	uint64_t history_first, history_kept, history_total;
	int history_n;
	struct { bool hit; uint64_t line; uint16_t col, cols; } found;
	uint64_t used_ms;      /* last on the screen */
	uint64_t serial;       /* names this viewer in requests: memory is used again, numbers are not */
};

struct viewer *viewer_create(const char *sandbox, uint32_t session, bool preview, int rows, int cols);
void viewer_destroy(struct viewer *v);
/* Takes the descriptor; greets. */
void viewer_attach(struct viewer *v, uint32_t session, int fd);
/* Applies bytes of the stream; what is no frame ends the viewer. */
void viewer_feed(struct viewer *v, const void *p, size_t n);
/* Reads at most 256 KiB and applies it. */
void viewer_read(struct viewer *v);
/* Sends what can be sent without blocking. */
void viewer_flush(struct viewer *v);
static inline bool viewer_wants_out(const struct viewer *v) { return v->fd >= 0 && buf_size(&v->out) > 0; }
/* What was shown is drawn: the terminal may send more. */
void viewer_drawn(struct viewer *v);
void viewer_key(struct viewer *v, uint32_t code, uint8_t mods);
void viewer_paste(struct viewer *v, const uint8_t *p, size_t n, bool first, bool last);
void viewer_mouse(struct viewer *v, int row, int col, uint8_t button, uint8_t mods, bool press);
void viewer_focus(struct viewer *v, bool in);
void viewer_resize(struct viewer *v, int rows, int cols);
void viewer_history(struct viewer *v, uint64_t first, unsigned count);
void viewer_search(struct viewer *v, uint64_t line, int col, bool backward, const char *text);
void viewer_clip_reply(struct viewer *v, bool allowed);
const char *viewer_link(const struct viewer *v, uint16_t id); /* NULL unknown */

#endif
