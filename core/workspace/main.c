/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-fs: the workspaces of one sandbox for one run of its machine (ARCHITECTURE 8), a child of the supervisor (core/proto/child.h).
 *
 * After FS_START it seals itself: files below the directories it was given, and nothing else. Then it dials the guest once for each
 * workspace and serves what comes. A stream that ends is dialed again. One thread: a request is answered before the next is looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/jail/jail.h"
#include "core/loop/after.h"
#include "core/loop/childside.h"
#include "core/loop/seq.h"
#include "core/loop/stream.h"
#include "core/proto/agent.h"
#include "core/proto/fs.h"
#include "core/proto/version.h"
#include "core/workspace/check.h"
#include "core/workspace/hide.h"
#include "core/workspace/share.h"

#define FDS_WANTED 65536u /* what the host grants of it is what we have */
#define FDS_SPARE 512u
#define MEMORY_MAX (UINT64_C(2) << 30)
#define REDIAL_MS 20u
#define IN_MAX (CHECK_REQUEST_MAX + 65536u)
#define ROOM_MS 1u      /* a guest that has not taken its replies is looked at again so soon, and half as often each time it took none, */
#define ROOM_MAX_MS 64u /* down to this */
#define TURN 64         /* requests, then the other workspaces' */
#define STATS_MS 1000u
#define NOTES_MAX 512u

struct fs;

struct serving {
	struct fs *fs;
	uint8_t index;
	int root;             /* O_PATH, until its share takes it; -1 */
	struct share *share;
	struct stream *s;     /* NULL: not connected */
	struct stream *lane;  /* NULL: none, or the guest speaks on s */
	struct stream *io;    /* of the two, the one the guest speaks on; NULL: it has not begun to */
	int memory;           /* of the machine, with a lane; -1 */
	uint8_t sign[FS_LANE_SIGN];
	struct log_limit complaints;
	bool dialing;
	uv_poll_t watch;
	bool watching;
	struct after *redial, *room;
	unsigned room_ms;
};

struct fs {
	uv_loop_t *loop;
	struct childside *side;
	struct jail jail;
	uint32_t gen;
	struct fs_start config;
	struct hide *hide, *hide_git;
	struct seq *dial;
	struct serving w[WORKSPACES_MAX];
	int proc;
	size_t watches;        /* that this user may have */
	struct fs_note *notes; /* told so far: told again at adoption */
	size_t nnotes;
	struct fs_stats stats;
	struct after *stats_later;
};

/* ---- to the supervisor -------------------------------------------------------------------------------------------------------- */

static void tell(struct fs *f, uint16_t type, int (*pack)(struct buf *, const void *), const void *m)
{
	struct buf b;

	buf_init(&b, CHILD_MSG_MAX);
	child_head_pack(&b, type, f->gen);
	if (pack)
		pack(&b, m);
	childside_send(f->side, &b);
	buf_release(&b);
}

static int pack_ready(struct buf *b, const void *m) { return child_ready_pack(b, m); }
static int pack_note(struct buf *b, const void *m) { return fs_note_pack(b, m); }
static int pack_stats(struct buf *b, const void *m) { return fs_stats_pack(b, m); }

static void tell_all(struct fs *f)
{
	struct child_ready r = { .version = CHILD_VERSION, .pid = (uint32_t)getpid() };

	str_copy(r.jail, sizeof(r.jail), f->jail.text);
	tell(f, FS_READY, pack_ready, &r);
	for (size_t i = 0; i < f->nnotes; i++)
		tell(f, FS_NOTE, pack_note, &f->notes[i]);
	tell(f, FS_SYNCED, NULL, NULL);
}

static void on_note(void *arg, enum share_note what, const char *path)
{
	static const uint8_t kinds[SHARE_NOTES] = { [SHARE_HIDDEN] = FS_NOTE_HIDDEN, [SHARE_LINKED] = FS_NOTE_LINKED, [SHARE_MOUNT] = FS_NOTE_MOUNT };
	struct serving *w = arg;
	struct fs *f = w->fs;
	struct fs_note n = { .index = w->index, .kind = kinds[what] };

	scrub(n.path, sizeof(n.path), path, strlen(path), false);
	for (size_t i = 0; i < f->nnotes; i++)
		if (f->notes[i].index == n.index && f->notes[i].kind == n.kind && strcmp(f->notes[i].path, n.path) == 0)
			return;
	if (f->nnotes >= NOTES_MAX)
		return;
	f->notes[f->nnotes++] = n;
	tell(f, FS_NOTE, pack_note, &n);
}

static void tell_stats(void *arg)
{
	struct fs *f = arg;
	struct fs_stats sum = { 0 };

	for (size_t i = 0; i < f->config.ws.n; i++) {
		struct share_stats st;

		share_stats(f->w[i].share, &st);
		sum.requests += st.requests;
		sum.refused += st.refused;
		sum.read += st.read;
		sum.written += st.written;
		sum.open += st.handles;
		sum.nodes += st.nodes;
	}
	if (memcmp(&sum, &f->stats, sizeof(sum)) != 0)
		tell(f, FS_STATS, pack_stats, &sum);
	f->stats = sum;
}

static void stats_due(struct fs *f)
{
	if (!f->stats_later)
		after_set(&f->stats_later, f->loop, STATS_MS, tell_stats, f);
}

/* ---- a workspace's stream ------------------------------------------------------------------------------------------------------ */

static void dial_one(void *arg);

static void lost(struct serving *w)
{
	stream_close(&w->s);
	stream_close(&w->lane);
	w->io = NULL;
	share_end(w->share);
	fd_close(&w->memory);
	after_cancel(&w->room);
	if (w->watching)
		uv_poll_stop(&w->watch);
	if (w->fs->dial)
		after_set(&w->redial, w->fs->loop, REDIAL_MS, dial_one, w);
}

static void on_room(void *arg);

/* Replies leave; false: it is lost. */
static bool flush(struct serving *w)
{
	const size_t room = share_room(w->share);
	bool wake;
	const ssize_t waits = share_flush(w->share, &wake);

	if (waits < 0) {
		log_limited(&w->complaints, 5, LOG_WARN, "workspace %u: the guest took what was not there: its stream is closed", w->index);
		lost(w);
		return false;
	}
	if (wake && stream_pending(w->io) == 0)
		buf_put(stream_out(w->io), "", 1);
	stream_flush(w->io);
	if (waits == 0 || share_room(w->share) > room)
		w->room_ms = ROOM_MS;
	if (w->io && waits > 0 && !w->room) {
		after_set(&w->room, w->fs->loop, w->room_ms, on_room, w);
		w->room_ms = w->room_ms < ROOM_MAX_MS ? 2 * w->room_ms : ROOM_MAX_MS;
	}
	return w->io != NULL;
}

/* Something stands for want of room: on_drain is to come. With a window that is flush()'s affair. */
static void want_room(struct serving *w)
{
	if (!share_has_window(w->share))
		stream_want_drain(w->io);
}

static void on_change(uv_poll_t *p, int status, int events)
{
	struct serving *w = p->data;

	(void)status;
	(void)events;
	if (!w->io)
		return;
	share_changes(w->share);
	/* No room for what is left: on_drain goes on. */
	if (flush(w) && share_room(w->share) < SHARE_OUT_MAX / 2) {
		uv_poll_stop(&w->watch);
		want_room(w);
	}
}

static void serve(struct serving *w, struct buf *in)
{
	ssize_t n = -EAGAIN;
	int turn = TURN;

	stats_due(w->fs);
	while (n == -EAGAIN && turn > 0 && share_room(w->share) >= CHECK_REPLY_MAX) {
		while (turn-- > 0 && (n = buf_size(in) > 0 ? share_take(w->share, buf_head(in), buf_size(in)) : 0) > 0) {
			buf_consume(in, (size_t)n);
			if (share_has_window(w->share) && !flush(w)) /* who reads ahead goes on while we look at the next */
				return;
		}
		if (n == -EBADMSG)
			log_limited(&w->complaints, 5, LOG_WARN, "workspace %u: the guest sent what is no request: its stream is closed", w->index);
		if (n == -EBADMSG || (n == 0 && stream_cut(w->io))) { /* cut within a message: nothing more comes */
			lost(w);
			return;
		}
		if (!flush(w))
			return;
	}
	if (n == -EAGAIN)
		want_room(w);
	if (turn <= 0) /* on the loop's next turn */
		after_set(&w->room, w->fs->loop, 0, on_room, w);
}

/* The guest has begun to speak, on one of the two. False: it is lost. */
static bool begin(struct serving *w, struct stream *io)
{
	w->io = io;
	w->room_ms = ROOM_MS;
	if (io == w->lane && buf_put(stream_out(io), w->sign, sizeof(w->sign)) < 0) { /* the guest's has come: its port is open for this stream, and loses nothing */
		lost(w);
		return false;
	}
	if (share_begin(w->share, stream_out(io)) < 0) {
		log_error("workspace %u cannot be served: out of memory", w->index);
		lost(w);
		return false;
	}
	if (io == w->lane)
		share_memory(w->share, w->memory, w->sign);
	log_limited(&w->complaints, 20, LOG_INFO, "workspace %u: connected%s", w->index, io == w->lane ? ", by its lane" : "");
	if (w->watching)
		uv_poll_start(&w->watch, UV_READABLE, on_change);
	return true;
}

static void on_read(void *arg, struct buf *in)
{
	struct serving *w = arg;

	if (w->io && w->io == w->lane) {
		log_limited(&w->complaints, 5, LOG_WARN, "workspace %u: the guest speaks beside its lane: its stream is closed", w->index);
		lost(w);
		return;
	}
	if (!w->io) {
		stream_close(&w->lane);
		if (!begin(w, w->s))
			return;
	}
	serve(w, in);
}

/* What others left in the lane is before the sign. */
static void on_lane(void *arg, struct buf *in)
{
	struct serving *w = arg;
	const size_t n = buf_size(in);

	if (!w->io) {
		const uint8_t *at = memmem(buf_head(in), n, w->sign, sizeof(w->sign));

		if (!at) {
			buf_consume(in, n < sizeof(w->sign) ? 0 : n - sizeof(w->sign) + 1);
			return;
		}
		buf_consume(in, (size_t)(at - buf_head(in)) + sizeof(w->sign));
		if (!begin(w, w->lane))
			return;
	}
	serve(w, in);
}

static void on_drain(void *arg)
{
	struct serving *w = arg;

	if (!w->io)
		return;
	if (w->watching) {
		uv_poll_start(&w->watch, UV_READABLE, on_change);
		on_change(&w->watch, 0, 0);
	}
	if (w->io)
		stream_kick(w->io);
}

static void on_room(void *arg)
{
	if (flush(arg))
		on_drain(arg);
}

static void on_eof(void *arg)
{
	lost(arg);
}

static void on_closed(void *arg, int why)
{
	(void)why;
	lost(arg);
}

static const struct stream_ops stream_ops = { .on_read = on_read, .on_eof = on_eof, .on_drain = on_drain, .on_closed = on_closed };
static const struct stream_ops lane_ops = { .on_read = on_lane, .on_eof = on_eof, .on_drain = on_drain, .on_closed = on_closed };

/* lane, memory: -1 none. */
static int open_streams_take(struct serving *w, int fd, int lane, int memory)
{
	uint8_t open[4 + FS_LANE_SIGN] = { w->index };
	int r = stream_open_take(&w->s, w->fs->loop, fd, IN_MAX, SHARE_OUT_MAX, &stream_ops, w);

	fd_close(&w->memory);
	w->memory = memory;
	if (lane >= 0 && r == 0)
		r = getrandom(w->sign, sizeof(w->sign), 0) == sizeof(w->sign) ? 0 : -EIO;
	if (lane >= 0 && r == 0) {
		memcpy(open + 4, w->sign, sizeof(w->sign));
		r = stream_open_take(&w->lane, w->fs->loop, lane, IN_MAX, SHARE_OUT_MAX, &lane_ops, w);
	} else {
		fd_close(&lane);
	}
	if (r == 0)
		r = frame_put(stream_out(w->s), AGENT_FS_OPEN, 0, open, w->lane ? sizeof(open) : 4);
	return r;
}

static void connected_take(struct serving *w, int fd, int lane, int memory)
{
	const int r = open_streams_take(w, fd, lane, memory);

	if (r < 0) {
		log_error("workspace %u cannot be served: %s", w->index, strerror(-r));
		lost(w);
		return;
	}
	stream_flush(w->s);
}

static void dial_one(void *arg)
{
	struct serving *w = arg;
	const struct dial_msg m = { .type = DIAL_OPEN, .gen = w->fs->gen, .port = AGENT_PORT_FS, .token = w->index };
	uint8_t out[DIAL_MSG_SIZE];

	dial_pack(out, &m);
	if (!w->s && !w->dialing && w->fs->dial)
		w->dialing = seq_send(w->fs->dial, out, sizeof(out), NULL, 0) == 0;
}

static void on_dialed(void *arg, const uint8_t *p, size_t n, int *fds, size_t nfds)
{
	struct fs *f = arg;
	struct dial_msg m;

	if (dial_unpack(p, n, &m) < 0 || m.gen != f->gen || m.token >= f->config.ws.n || !f->w[m.token].dialing)
		return;
	struct serving *w = &f->w[m.token];
	w->dialing = false;
	if (m.type == DIAL_OK && nfds >= 1 && nfds <= 3)
		connected_take(w, steal_fd(&fds[0]), nfds >= 2 ? steal_fd(&fds[1]) : -1, nfds == 3 ? steal_fd(&fds[2]) : -1);
	else /* the guest is not up yet */
		after_set(&w->redial, f->loop, REDIAL_MS, dial_one, w);
}

static void on_dial_end(void *arg, int why)
{
	struct fs *f = arg;

	(void)why;
	/* Its machine is gone, or another has taken our place: there is nothing left to do. */
	seq_close(&f->dial);
	log_info("the machine is gone");
	childside_drain(f->side, 1000);
	uv_stop(f->loop);
}

static const struct seq_ops dial_ops = { .on_msg = on_dialed, .on_end = on_dial_end };

/* ---- start ----------------------------------------------------------------------------------------------------------------------- */

static size_t fds_each(size_t n)
{
	struct rlimit r = { .rlim_cur = 1024 };

	getrlimit(RLIMIT_NOFILE, &r);
	const size_t all = r.rlim_cur > 2 * FDS_SPARE ? (size_t)r.rlim_cur - FDS_SPARE : FDS_SPARE;
	return all / 2 / n; /* the other half is the guest's open files */
}

/*
 * Of a repository whose clone the guest has: the objects, the names they have, and nothing else. Its configuration may hold passwords, its index
 * and logs say what was never committed.
 */
static const char shown_of_git[] = "/*\n!/HEAD\n!/objects\n!/refs\n!/packed-refs\n!/shallow\n!/worktrees\n/worktrees/*/*\n!/worktrees/*/HEAD\n"
				   "!/worktrees/*/commondir\n/objects/info/alternates\n/refs/stash\n";

static int make_share(struct fs *f, struct serving *w, struct err *e)
{
	const uint8_t mode = f->config.ws.w[w->index].mode;
	const bool git = mode == WORKSPACE_CLONE;
	const struct share_opts o = { .root = steal_fd(&w->root), .proc = f->proc, .readonly = mode != WORKSPACE_LIVE, .watch = true, .ahead = true,
				      .hide = git ? f->hide_git : f->hide, .max_fds = fds_each(f->config.ws.n),
				      .max_watches = f->watches / 2 / f->config.ws.n + 1, .note = git ? NULL : on_note, .arg = w };
	int r = share_create(&w->share, &o, e);

	if (r < 0)
		return r;
	if (share_watch_fd(w->share) >= 0 && uv_poll_init(f->loop, &w->watch, share_watch_fd(w->share)) == 0) {
		w->watch.data = w;
		w->watching = true;
	}
	return 0;
}

static int prepare(struct fs *f, int *fds, struct err *e)
{
	int dirs[WORKSPACES_MAX];
	const size_t n = f->config.ws.n;
	int r = hide_create(&f->hide, f->config.hide, e);

	if (r == 0)
		r = hide_create(&f->hide_git, shown_of_git, e);
	if (r < 0)
		return r;
	if (!(f->notes = calloc(NOTES_MAX, sizeof(*f->notes))))
		return err_set(e, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		dirs[i] = fds[FS_FD_NUM + i];
	if ((r = jail_fs_below(&f->jail, dirs, n, e)) < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		f->w[i] = (struct serving){ .fs = f, .index = (uint8_t)i, .root = steal_fd(&fds[FS_FD_NUM + i]), .memory = -1 };
		if ((r = make_share(f, &f->w[i], e)) < 0)
			return r;
	}
	return jail_seal(&f->jail, &jail_profile_fs, e);
}

static void on_start(struct fs *f, const struct child_head *h, struct rbuf *r, int *fds, size_t nfds)
{
	struct err e = ERR_INIT;

	if (f->gen || fs_start_unpack(r, &f->config) < 0 || f->config.ws.n == 0 || nfds != (size_t)FS_FD_NUM + f->config.ws.n) {
		log_error("the supervisor sent an FS_START that cannot be");
		exit(1);
	}
	f->gen = h->gen;
	log_to(steal_fd(&fds[FS_FD_LOG]));
	log_info("'%s', generation %u: %u workspaces", f->config.name, h->gen, f->config.ws.n);
	const int rc = prepare(f, fds, &e);
	log_info("jail: %s", f->jail.text);
	if (rc < 0 || seq_open_take(&f->dial, f->loop, steal_fd(&fds[FS_FD_DIAL]), &dial_ops, f) < 0) {
		log_error("%s", rc < 0 ? e.msg : "cannot use the dial socket");
		exit(1);
	}
	tell_all(f);
	for (size_t i = 0; i < f->config.ws.n; i++)
		dial_one(&f->w[i]);
}

static void on_msg(void *arg, const struct child_head *h, struct rbuf *r, int *fds, size_t nfds)
{
	struct fs *f = arg;

	if (h->type == FS_START)
		on_start(f, h, r, fds, nfds);
	else if (h->type == FS_QUIT)
		uv_stop(f->loop);
	else
		log_error("the supervisor sent message %u, which is none of ours", h->type);
}

static void on_adopted(void *arg)
{
	tell_all(arg);
}

static void on_orphaned(void *arg)
{
	struct fs *f = arg;

	if (!f->gen)
		exit(0);
}

static const struct childside_ops side_ops = { .on_msg = on_msg, .on_adopted = on_adopted, .on_orphaned = on_orphaned };

int main(int argc, char **argv)
{
	static const int keep[] = { CHILD_FD_CONTROL, CHILD_FD_LISTEN };
	const struct jail_early early = { .keep = keep, .nkeep = ARRAY_SIZE(keep), .max_fds = FDS_WANTED, .max_memory = MEMORY_MAX };
	static struct fs f = { .proc = -1 };
	struct err e = ERR_INIT;
	uv_loop_t loop;
	int r;

	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("bulkhead-fs %s\n", BULKHEAD_VERSION);
		return 0;
	}
	if (argc != 1 || fcntl(CHILD_FD_CONTROL, F_GETFD) < 0 || fcntl(CHILD_FD_LISTEN, F_GETFD) < 0) {
		fprintf(stderr, "bulkhead-fs: this program is started by bulkhead-supervisor; by hand only --version\n");
		return 2;
	}
	log_init("bulkhead-fs");
	umask(0); /* modes are the guest's kernel's affair; it has applied its own */
	f.watches = fd_watches_of_user(); /* a guest that walks a large tree is not to take the person's editors theirs: half is left, whatever it looks at */
	if (jail_early(&f.jail, &early, &e) < 0) {
		log_error("%s", e.msg);
		return 1;
	}
	f.loop = &loop;
	f.proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (f.proc < 0 || (r = uv_loop_init(&loop)) < 0 || (r = childside_open(&f.side, &loop, &side_ops, &f)) < 0) {
		log_error("cannot start");
		return 1;
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	return 0;
}
