/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-term's own state, one struct passed everywhere. guest.c speaks with the guest's agent and dials; session.c holds the
 * sessions; pty.c feeds terminals, exec.c relays processes without one; viewer.c serves those who look; record.c writes recordings.
 */
#ifndef BULKHEAD_TERM_TERM_H
#define BULKHEAD_TERM_TERM_H

#include <regex.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "core/base/buf.h"
#include "core/base/log.h"
#include "core/jail/jail.h"
#include "core/loop/after.h"
#include "core/loop/childside.h"
#include "core/loop/seq.h"
#include "core/loop/stream.h"
#include "core/proto/agent.h"
#include "core/proto/child.h"
#include "core/proto/rows.h"
#include "core/term/vt.h"

#define SESSIONS_MAX 128u
#define VIEWERS_MAX 32u               /* of one session */
#define VIEWERS_ALL_MAX 256u          /* of all: each holds a descriptor */
#define FRAME_MS 16u                  /* at most one frame a viewer in this time, unless it has just typed */
#define TELL_MS 250u                  /* a session's state, and docker's, is told at most so often */
#define NOTIFY_BURST 8u               /* notifications at once; after that one every NOTIFY_MS */
#define NOTIFY_MS 500u
#define ANSWER_MS 10000u              /* the agent takes or refuses a session within; it does at once */
#define WAKE_MS 8u                    /* of a guest's output, until others have their turn */
#define FEED_MAX 8192u                /* bytes of it between two looks at the clock */
#define GUEST_IN_MAX (256u * 1024u)
#define GUEST_OUT_MAX (512u * 1024u)
#define VIEWER_IN_MAX (128u * 1024u)
#define VIEWER_OUT_MAX (1024u * 1024u)
#define INPUT_MAX (256u * 1024u)      /* typed or pasted, and not yet taken by the guest */
#define ANSWERS_MAX 4096u             /* of it answers of the terminal */

struct term;
struct session;

struct viewer {
	struct viewer *next;
	struct session *s;
	struct stream *stream;
	bool readonly, greeted, no_resize;
	uint16_t rows, cols;      /* its size */
	uint64_t sent_gen;        /* rows older than this it has */
	uint64_t acked_gen;
	unsigned unacked;         /* frames on their way, at most 2 */
	uint16_t links_sent;
	bool partial;             /* a frame is being sent: its rows from next_row on are still to come */
	unsigned next_row;
	bool all;                 /* everything is to be sent: it has just come, or the size has changed */
	bool typed;               /* its input came after the last frame: the answer goes out at once */
	bool exit_sent, title_due, bell_due, cursor_due;
	char *notify;             /* owned; the last one not sent yet */
	uint64_t last_frame_ms;
	struct after *later;
	struct rows_head head;    /* of the last frame, to see what else has changed, or of the one being sent */
};

struct record {
	int dirfd, fd;            /* dirfd borrowed; fd -1 when not recording */
	uint32_t session;
	uint64_t size, cap, start_ns;
	unsigned rows, cols;      /* now: a rotated file begins with them */
	uint8_t tail[4];          /* the begin of a character whose end comes with the next output */
	size_t ntail;
	struct buf line;
};

struct session {
	struct session *next;
	struct term *t;
	struct term_session told;  /* as the supervisor knows it (title, state, counters) */
	bool dirty;
	struct after *tell;
	uint32_t token;            /* of the dial under way; 0 none */
	struct after *late;        /* the dial is not answered yet */
	struct buf open;           /* packed SESS_OPEN, until it is sent */
	struct stream *guest;      /* NULL: not connected, or ended */
	uint32_t credit;           /* stdin bytes the guest takes */
	bool started, ended;
	size_t fed;                /* bytes of the first buffered SESS_STDOUT that the emulator has */
	/* a terminal */
	struct vt *vt;
	struct buf input;
	struct viewer *viewers;
	struct record record;
	struct after *quiet;
	bool asks;                 /* bell or notification since the last input */
	bool size_due;             /* the guest has another size than the screen */
	uint64_t output_ms;        /* clock_ms() of the last output */
	uint64_t typed_ms;         /* clock_ms() of a viewer's last input */
	uint64_t notify_ms;        /* when the last of the notifications told would have been due at their rate */
	/* a process without one */
	struct stream *client;
};

struct term {
	uv_loop_t *loop;
	struct childside *side;
	struct jail jail;
	bool sealed;
	uint32_t gen;              /* 0: no machine yet */
	struct term_start config;
	bool has_pattern;
	regex_t pattern;
	int recdir;
	struct seq *dial;          /* NULL: no machine */
	struct stream *control;
	struct after *redial;
	int trust;                 /* what the guest is to trust, -1 nothing (trust.c) */
	uint32_t trust_size, trust_at; /* at: bytes given to this guest */
	bool hello_said;
	uint32_t control_token, next_token;
	bool greeted;
	struct term_guest guest;
	struct agent_docker docker;
	struct workspace_told workspace[WORKSPACES_MAX];
	bool docker_due, going_down;
	struct after *docker_later;
	uint64_t asked_ms[3];      /* when statistics, processes, containers were last let through */
	uint32_t every_ms, what;
	struct session *sessions;  /* by id */
	unsigned nsessions, nviewers;
	struct log_limit guest_log;
	bool quitting;
};

/* ---- main.c: what the supervisor is told ---- */
void term_tell(struct term *t, uint16_t type, int (*pack)(struct buf *, const void *), const void *m);

/* ---- guest.c ---- */
/* A machine has started: dials its agent over `dial` (taken). What was of another machine ends. 0 or -errno. */
int guest_begin_take(struct term *t, int dial);
void guest_gone(struct term *t, const char *why);       /* it has ended: sessions end, screens stay */
/* Asks for a stream to `port`; the session (or control stream) with that token gets it. 0 no machine. */
uint32_t guest_dial(struct term *t, uint32_t port);
void guest_send(struct term *t, uint8_t type, const struct buf *payload); /* on the control stream */
void guest_stats(struct term *t, uint32_t every_ms, uint32_t what);
void guest_trust(struct term *t);                       /* the roots have changed */
/* It did not answer what it answers at once; it did after all, or speaks. */
void guest_silent(struct term *t);
void guest_heard(struct term *t);
void guest_tell(struct term *t);                        /* GUEST, DOCKER as they are now */

/* ---- trust.c ---- */
/* Takes the memfd of TERM_TRUST. False when it cannot be one. */
bool trust_take(struct term *t, int fd);
/* Gives the guest what the control stream has room for; true when it has all. */
bool trust_push(struct term *t);

/* ---- session.c ---- */
/* Takes m's contents and `client` (-1 for a terminal). */
void session_open_take(struct term *t, struct term_open *m, int client);
struct session *session_find(struct term *t, uint32_t id);
/* The dial of `token` has an answer: fd, or -1 refused. True when a session had asked. */
bool session_dialed_take(struct term *t, uint32_t token, int fd);
void session_fail(struct session *s, const char *why);
void session_exit(struct session *s, uint32_t code, uint32_t signo);
void session_close(struct session *s, bool forget);
void session_set(struct session *s, enum session_state state);
void session_dirty(struct session *s);
void session_tell_now(struct session *s);
void session_destroy(struct session *s);

/* ---- pty.c ---- */
int pty_init(struct session *s, uint16_t rows, uint16_t cols);
void pty_output(struct session *s, const uint8_t *p, size_t n); /* into emulator and recording; then, once: */
void pty_shown(struct session *s);                        /* what follows from output: attention, answers, viewers */
void pty_input(struct session *s, const void *p, size_t n);
void pty_flush_input(struct session *s);                  /* what is typed, and the size, as far as the guest takes it */
void pty_resize(struct session *s, uint16_t rows, uint16_t cols);
void pty_rule(struct session *s, const char *text);       /* a line of ours, across the screen */
void pty_release(struct session *s);

/* ---- exec.c ---- */
int exec_init_take(struct session *s, int client);
void exec_from_guest(struct session *s, struct buf *in);
void exec_kick(struct session *s);
void exec_failed(struct session *s, const char *why);
void exec_release(struct session *s);

/* ---- viewer.c ---- */
void viewer_attach_take(struct session *s, int fd, bool readonly);
/* The terminal has changed: every viewer gets a frame now or soon. */
void viewers_changed(struct session *s);
void viewers_title(struct session *s);
void viewers_bell(struct session *s);
void viewers_notify(struct session *s, const char *text);
void viewers_clipboard(struct session *s, const char *text, size_t n);
void viewers_resized(struct session *s);
void viewers_kick(struct session *s);                     /* input may go on */
void viewers_release(struct session *s);
unsigned viewers_count(const struct session *s);

/* ---- search.c ---- */
struct found {
	bool found;
	uint64_t line;
	uint16_t col, cols;
};
/* History and screen as one sequence; from (line, col), exclusive, in the direction. */
struct found search(struct vt *v, uint64_t line, unsigned col, bool backward, const char *text);

/* ---- record.c ---- */
void record_start(struct record *r, int dirfd, uint32_t session, uint64_t cap, unsigned rows, unsigned cols);
void record_output(struct record *r, const uint8_t *p, size_t n);
void record_resize(struct record *r, unsigned rows, unsigned cols);
void record_end(struct record *r);

#endif
