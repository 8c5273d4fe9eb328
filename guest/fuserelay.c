/* SPDX-License-Identifier: Apache-2.0 */
/* Source: linux/fuse.h. */
#include "guest/fuserelay.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/proto/fs.h"
#include "guest/ahead.h"
#include "guest/fuselane.h"
#include "guest/fuseside.h"
#include "guest/fusewindow.h"
#include "guest/loop.h"

#define ASKED_MAX 512u      /* requests under way; more wait in the kernel */
#define IN_MAX (FUSE_REQUEST_MAX + 2 * MUX_WINDOW)
#define MOUNT_LOOK_MS 2
#define LISTING_MAX 65536u  /* of one answer of our own */
#define FORGETS 512u        /* a message */
#define LATER_MAX 4096u     /* bytes of requests that nobody waits for: they leave with the next one, */
#define LATER_MS 10         /* or after this */
#define TURN 16             /* requests a wake-up */
#define WRITE_HEAD (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))

struct fuserelay {
	const struct fuserelay_ops *ops;
	void *arg;
	int dev;                /* -1: aborted */
	struct fuseside *side;
	struct watch dev_w;
	struct gstream *st;     /* NULL: nobody is there */
	struct fuselane lane;   /* open: messages go there and not by st, */
	struct fusewindow window; /* and contents by this */
	struct buf in;          /* of the host, not yet whole */
	struct buf out;         /* one request, and those that went along; what has not been taken of it */
	struct buf later;       /* requests that nobody waits for */
	struct timer later_due;
	struct { uint64_t unique; struct ahead_change change; uint8_t place; } asked[ASKED_MAX];
	size_t nasked;
	struct ahead *ahead;
	uint8_t init[256];      /* the kernel's INIT */
	size_t ninit;
	uint64_t init_unique;
	bool init_again;        /* the answer to a repeated INIT is awaited: it is not for the kernel */
	bool up, was_up;
	struct eager answers, requests; /* what comes next mostly comes at once */
	struct timer again;
};

static void pump(struct fuserelay *r);

/* ---- to the kernel ---------------------------------------------------------------------------------------------------------------- */

static void to_kernel(struct fuserelay *r, const void *p, size_t n)
{
	/* ENOENT: who asked was interrupted and is gone. */
	if (r->dev >= 0 && write(r->dev, p, n) < 0 && errno != ENOENT)
		log_debug("the kernel does not take an answer: %s", strerror(errno));
}

static void answer_error(struct fuserelay *r, uint64_t unique, int error)
{
	const struct fuse_out_header h = { .len = sizeof(h), .error = -error, .unique = unique };

	to_kernel(r, &h, sizeof(h));
}

static void add_asked(struct fuserelay *r, uint64_t unique, struct ahead_change change, unsigned place)
{
	ahead_change_begins(r->ahead, &change);
	fusewindow_take(&r->window, place);
	r->asked[r->nasked].unique = unique;
	r->asked[r->nasked].place = (uint8_t)place;
	r->asked[r->nasked++].change = change;
}

/* Was it asked? Then it is no longer under way, and its place in the window, 0 none, is free but not yet used again. */
static bool take_asked(struct fuserelay *r, uint64_t unique, unsigned *place)
{
	for (size_t i = 0; i < r->nasked; i++)
		if (r->asked[i].unique == unique) {
			ahead_change_ends(r->ahead, &r->asked[i].change);
			*place = r->asked[i].place;
			fusewindow_free(&r->window, *place);
			r->asked[i] = r->asked[--r->nasked];
			return true;
		}
	return false;
}

/* The answer to a request with a place: of a READ the message says but how much lies there. */
static void put_answer(struct fuserelay *r, const uint8_t *p, size_t n, unsigned place)
{
	struct fuse_out_header h;
	uint32_t size;

	memcpy(&h, p, sizeof(h));
	if (place == 0 || n != sizeof(h) + sizeof(size)) {
		to_kernel(r, p, n);
		return;
	}
	memcpy(&size, p + sizeof(h), sizeof(size));
	size = size < FS_PLACE_SIZE ? size : FS_PLACE_SIZE;
	h.len = (uint32_t)sizeof(h) + size;
	const struct iovec v[] = { { &h, sizeof(h) }, { fusewindow_at(&r->window, place), size } };
	if (r->dev >= 0 && writev(r->dev, v, ARRAY_SIZE(v)) < 0 && errno != ENOENT)
		log_debug("the kernel does not take an answer: %s", strerror(errno));
}

static void on_message(struct fuserelay *r, const uint8_t *p, size_t n)
{
	struct fuse_out_header h;
	unsigned place;

	memcpy(&h, p, sizeof(h));
	if (h.unique == 0 && h.error == FS_WINDOW) {
		r->window.lent = r->window.base != NULL;
		return;
	}
	if (h.unique == 0 && h.error == FS_AHEAD) {
		ahead_put(r->ahead, p + sizeof(h), n - sizeof(h));
		return;
	}
	if (h.unique == 0 && h.error == FS_END) {
		ahead_put_end(r->ahead, p + sizeof(h), n - sizeof(h));
		return;
	}
	if (h.unique == 0 && h.error == FUSE_NOTIFY_STORE) {
		to_kernel(r, p, n); /* nothing waits for it, and an answer behind it needs it there */
		return;
	}
	if (h.unique == 0) {
		ahead_changed(r->ahead);
		fuseside_notify(r->side, p, n);
		return;
	}
	const bool init = h.unique == r->init_unique && !r->up;
	if (r->init_again && init)
		r->init_again = false;
	else if (take_asked(r, h.unique, &place))
		put_answer(r, p, n, place);
	if (init) {
		const bool again = r->was_up;

		r->up = r->was_up = true;
		r->ops->on_up(r->arg, again);
	}
}

/* ---- the stream -------------------------------------------------------------------------------------------------------------------- */

/* What is under way will not be answered any more. */
static void lost(struct fuserelay *r)
{
	const bool was = r->up;

	r->st = NULL;
	fuselane_close(&r->lane);
	fusewindow_lost(&r->window);
	r->up = r->init_again = false;
	for (size_t i = 0; i < r->nasked; i++)
		if (r->asked[i].unique != r->init_unique || r->was_up)
			answer_error(r, r->asked[i].unique, EIO);
	ahead_lost(r->ahead);
	/* An INIT that was never answered is said again to the next. */
	r->nasked = 0;
	buf_clear(&r->in);
	buf_clear(&r->out);
	buf_clear(&r->later);
	loop_cancel(&r->later_due);
	if (was)
		r->ops->on_lost(r->arg);
	pump(r);
}

static void on_end(void *arg)
{
	struct fuserelay *r = arg;

	gstream_close(r->st);
	lost(r);
}

static void on_input(void *arg, struct buf *in)
{
	struct fuserelay *r = arg;

	while (buf_size(in) >= sizeof(struct fuse_out_header)) {
		uint32_t len;

		memcpy(&len, buf_head(in), sizeof(len));
		if (len < sizeof(struct fuse_out_header) || len > FUSE_REQUEST_MAX) {
			log_error("a workspace's stream holds no messages: closed");
			on_end(r);
			return;
		}
		if (buf_size(in) < len)
			break;
		const bool lent = r->window.lent;
		on_message(r, buf_head(in), len);
		buf_consume(in, len);
		if (r->window.lent && !lent) {
			buf_clear(in); /* the port but wakes us from here on */
			if (fuselane_ring(&r->lane, r->window.base) < 0) {
				on_end(r);
				return;
			}
		}
	}
	/* While the device is watched it says itself when there is something. */
	if (!(r->dev_w.events & EPOLLIN))
		pump(r);
	else if (fuselane_is_open(&r->lane))
		loop_eager(r->nasked > 0 ? &r->answers : &r->requests);
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct fuserelay *r = arg;

	if (fuselane_is_open(&r->lane) || buf_put(&r->in, p, n) < 0) {
		log_error("a workspace's stream is not as it should be: closed");
		on_end(r);
		return;
	}
	on_input(r, &r->in);
}

static void on_room(void *arg)
{
	pump(arg);
}

static void on_gone(void *arg)
{
	lost(arg);
}

static const struct gstream_ops stream_ops = { .on_data = on_data, .on_eof = on_end, .on_room = on_room, .on_gone = on_gone };
static const struct fuselane_ops lane_ops = { .on_input = on_input, .on_room = on_room, .on_gone = on_end };

static void lend_window(struct fuserelay *r, const uint8_t *sign)
{
	struct fuse_in_header h = { .len = (uint32_t)(sizeof(h) + sizeof(r->window.at)), .opcode = FS_WINDOW, .unique = 2 };

	if (!fusewindow_make(&r->window, sign))
		return;
	buf_put(&r->out, &h, sizeof(h));
	buf_put(&r->out, &r->window.at, sizeof(r->window.at));
}

void fuserelay_attach(struct fuserelay *r, struct gstream *st, const char *lane, const uint8_t *sign, const struct gstream_ops **ops, void **arg)
{
	int e;

	if (r->st) {
		struct gstream *old = r->st;

		lost(r);
		gstream_close(old);
	}
	r->st = st;
	*ops = &stream_ops;
	*arg = r;
	if (lane && (e = fuselane_open(&r->lane, lane, sign)) < 0)
		log_warn("a workspace goes without '%s': %s", lane, strerror(-e));
	else if (lane)
		lend_window(r, sign);
	if (r->ninit > 0) {
		buf_put(&r->out, r->init, r->ninit);
		r->init_again = r->was_up;
		if (!r->was_up)
			add_asked(r, r->init_unique, (struct ahead_change){ .what = AHEAD_NOTHING }, 0);
	}
	pump(r);
}

/* ---- from the kernel ---------------------------------------------------------------------------------------------------------------- */

static bool is_answered(uint32_t opcode)
{
	return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

/* How many of the n bytes left without a copy of ours; fewer: on_room comes. */
static size_t put_some(struct fuserelay *r, const uint8_t *p, size_t n)
{
	if (fuselane_is_open(&r->lane))
		return fuselane_write(&r->lane, p, n);
	const size_t room = gstream_room(r->st), k = n < room ? n : room;

	return k > 0 && gstream_write(r->st, p, k) ? k : 0;
}

/* What is left of the last request leaves; true when nothing is left. */
static bool send_out(struct fuserelay *r)
{
	while (r->st && buf_size(&r->out) > 0) {
		const size_t n = put_some(r, buf_head(&r->out), buf_size(&r->out));

		if (n == 0)
			return false;
		buf_consume(&r->out, n);
	}
	return buf_size(&r->out) == 0;
}

static void send_one(struct fuserelay *r, const uint8_t *msg, size_t n)
{
	if (!r->st)
		return;
	while (n > 0 && buf_size(&r->out) == 0) {
		const size_t k = put_some(r, msg, n);

		if (k == 0)
			break;
		msg += k;
		n -= k;
	}
	buf_put(&r->out, msg, n);
}

/* A name that was sent ahead is answered here. */
static bool is_known(struct fuserelay *r, const struct fuse_in_header *h, const uint8_t *name, size_t n)
{
	struct { struct fuse_out_header h; struct fuse_entry_out e; } a = { .h = { .len = sizeof(a), .unique = h->unique } };

	if (n == 0 || ahead_lookup(r->ahead, h->nodeid, (const char *)name, strnlen((const char *)name, n), &a.e) == 0)
		return false;
	to_kernel(r, &a, sizeof(a));
	if (a.e.nodeid && ahead_is_to_list(r->ahead, h->nodeid, clock_ms()))
		fuseside_list(r->side, h->nodeid);
	return true;
}

/* So is a listing of such names, and what their directory is. */
static bool is_known_directory(struct fuserelay *r, const struct fuse_in_header *h, const uint8_t *body, size_t n)
{
	static struct { struct fuse_out_header h; union { struct fuse_attr_out attr; uint8_t names[LISTING_MAX]; } u; } a;
	struct fuse_read_in in;
	ssize_t got = -1;

	if (h->opcode == FUSE_GETATTR && ahead_attr(r->ahead, h->nodeid, &a.u.attr))
		got = sizeof(a.u.attr);
	if (h->opcode == FUSE_READDIRPLUS && n >= sizeof(in)) {
		memcpy(&in, body, sizeof(in));
		got = ahead_list(r->ahead, h->nodeid, in.offset, a.u.names, in.size < LISTING_MAX ? in.size : LISTING_MAX);
	}
	if (got < 0)
		return false;
	a.h = (struct fuse_out_header){ .len = (uint32_t)(sizeof(a.h) + (size_t)got), .unique = h->unique };
	to_kernel(r, &a, a.h.len);
	return true;
}

/* Whoever lists a directory asks once more behind its end. */
static bool is_at_end(struct fuserelay *r, const struct fuse_in_header *h, const uint8_t *body, size_t n)
{
	struct fuse_read_in in;

	if ((h->opcode != FUSE_READDIR && h->opcode != FUSE_READDIRPLUS) || n < sizeof(in))
		return false;
	memcpy(&in, body, sizeof(in));
	if (!ahead_is_end(r->ahead, h->nodeid, in.offset))
		return false;
	answer_error(r, h->unique, 0);
	return true;
}

/* The host has no others (labels, access lists, capabilities), and programs that list files ask for them of every one. */
static bool is_user_xattr(const uint8_t *body, size_t n)
{
	const size_t head = sizeof(struct fuse_getxattr_in);

	return n < head + 5 || memcmp(body + head, "user.", 5) == 0;
}

static void put_later(struct fuserelay *r)
{
	loop_cancel(&r->later_due);
	send_one(r, buf_head(&r->later), buf_size(&r->later));
	buf_clear(&r->later);
}

static void on_later(void *arg)
{
	struct fuserelay *r = arg;

	if (buf_size(&r->out) == 0)
		put_later(r);
	else
		loop_after(&r->later_due, LATER_MS, on_later, r);
	pump(r);
}

/*
 * Whoever closes a file waits for nothing, nor does the kernel when it lets go of nodes, and nothing depends on either: it goes to the host with the next
 * request. A RELEASE is answered here; of a file that was written it leaves at once: somebody on the host may wait to run it.
 */
static bool is_for_later(struct fuserelay *r, const struct fuse_in_header *h, uint8_t *msg, size_t n)
{
	const bool release = h->opcode == FUSE_RELEASE && n == sizeof(*h) + sizeof(struct fuse_release_in);
	const uint64_t silent = FS_SILENT;
	struct fuse_release_in in = { .flags = O_RDONLY };

	if (!release && ((h->opcode != FUSE_FORGET && h->opcode != FUSE_BATCH_FORGET) || n > LATER_MAX / 4))
		return false;
	if (release) {
		memcpy(&in, msg + sizeof(*h), sizeof(in));
		answer_error(r, h->unique, 0);
		memcpy(msg + offsetof(struct fuse_in_header, unique), &silent, sizeof(silent));
	}
	if (buf_room(&r->later) < n)
		put_later(r);
	buf_put(&r->later, msg, n);
	if ((in.flags & O_ACCMODE) != O_RDONLY)
		put_later(r);
	else if (!r->later_due.armed)
		loop_after(&r->later_due, LATER_MS, on_later, r);
	return true;
}

/*
 * One request of the kernel's to msg, of FUSE_REQUEST_MAX bytes; bytes or -1. What a write is to write stays in a place of the window, if one is free, and so
 * will what a read is to bring: *place.
 */
static ssize_t read_one(struct fuserelay *r, uint8_t *msg, struct fuse_in_header *h, unsigned *place)
{
	const unsigned free_place = fusewindow_find(&r->window);
	uint8_t *const beside = free_place ? fusewindow_at(&r->window, free_place) : NULL;
	const struct iovec v[] = { { msg, beside ? WRITE_HEAD : FUSE_REQUEST_MAX }, { beside, beside ? FS_PLACE_SIZE : 0 } };
	ssize_t n = readv(r->dev, v, beside ? 2 : 1);

	*place = 0;
	if (n < (ssize_t)sizeof(*h))
		return n;
	memcpy(h, msg, sizeof(*h));
	if (beside && (h->opcode == FUSE_READ || (h->opcode == FUSE_WRITE && n > (ssize_t)WRITE_HEAD))) {
		const uint16_t number = (uint16_t)free_place;

		*place = free_place;
		memcpy(msg + FS_PLACE_AT, &number, sizeof(number));
		if (h->opcode == FUSE_WRITE) {
			n = WRITE_HEAD;
			h->len = (uint32_t)n;
			memcpy(msg, &h->len, sizeof(h->len));
		}
	} else if (beside && n > (ssize_t)WRITE_HEAD) {
		memcpy(msg + WRITE_HEAD, beside, (size_t)n - WRITE_HEAD);
	}
	return n;
}

/* One request of the kernel's: false when there is none. */
static bool take_one(struct fuserelay *r)
{
	static uint8_t msg[FUSE_REQUEST_MAX];
	struct fuse_in_header h;
	unsigned place;
	const ssize_t n = read_one(r, msg, &h, &place);

	if (n < 0 && (errno == ENOENT || errno == EINTR))
		return true; /* it was interrupted before we had it */
	if (n < 0 && errno == ENODEV) {
		fuserelay_abort(r); /* unmounted */
		return false;
	}
	if (n < (ssize_t)sizeof(h))
		return false;
	if (h.opcode == FUSE_INIT && (size_t)n <= sizeof(r->init)) {
		memcpy(r->init, msg, (size_t)n);
		r->ninit = (size_t)n;
		r->init_unique = h.unique;
		if (!r->st)
			return true; /* said when somebody is there */
	}
	if (!r->st) {
		if (is_answered(h.opcode))
			answer_error(r, h.unique, EIO);
		return true;
	}
	if (h.opcode == FUSE_LOOKUP && is_known(r, &h, msg + sizeof(h), (size_t)n - sizeof(h)))
		return true;
	if (is_known_directory(r, &h, msg + sizeof(h), (size_t)n - sizeof(h)))
		return true;
	if (is_at_end(r, &h, msg + sizeof(h), (size_t)n - sizeof(h)))
		return true;
	if (h.opcode == FUSE_GETXATTR && !is_user_xattr(msg + sizeof(h), (size_t)n - sizeof(h))) {
		answer_error(r, h.unique, EOPNOTSUPP);
		return true;
	}
	if (is_for_later(r, &h, msg, (size_t)n))
		return true;
	put_later(r);
	if (is_answered(h.opcode))
		add_asked(r, h.unique, ahead_change_of(h.opcode, h.nodeid, msg + sizeof(h), (size_t)n - sizeof(h)), place);
	send_one(r, msg, (size_t)n);
	return true;
}

/* Nodes that were sent ahead and not asked for go back. */
static void put_forgets(struct fuserelay *r)
{
	uint64_t node[FORGETS];
	const size_t n = r->st ? ahead_forgets(r->ahead, node, FORGETS) : 0;
	const struct fuse_batch_forget_in b = { .count = (uint32_t)n };
	struct fuse_in_header h = { .len = (uint32_t)(sizeof(h) + sizeof(b) + n * sizeof(struct fuse_forget_one)), .opcode = FUSE_BATCH_FORGET, .unique = 2 };

	if (n == 0)
		return;
	buf_put(&r->out, &h, sizeof(h));
	buf_put(&r->out, &b, sizeof(b));
	for (size_t i = 0; i < n; i++) {
		const struct fuse_forget_one one = { .nodeid = node[i], .nlookup = 1 };

		buf_put(&r->out, &one, sizeof(one));
	}
}

static void pump(struct fuserelay *r)
{
	bool more = true;

	/* Until the first INIT was answered the kernel sends nothing else; before anybody came it waits for that. */
	for (int i = 0; r->dev >= 0 && more && i < TURN; i++) {
		if (!send_out(r) || r->nasked >= ASKED_MAX)
			break;
		more = take_one(r);
		if (buf_size(&r->out) == 0)
			put_forgets(r);
	}
	if (r->dev >= 0)
		send_out(r);
	if (r->dev_w.fd >= 0)
		loop_want(&r->dev_w, buf_size(&r->out) == 0 && r->nasked < ASKED_MAX ? EPOLLIN : 0);
	if (fuselane_is_open(&r->lane))
		loop_eager(r->nasked > 0 ? &r->answers : &r->requests);
}

static void on_dev(void *arg, uint32_t events)
{
	struct fuserelay *r = arg;

	if (events & EPOLLERR) {
		fuserelay_abort(r);
		return;
	}
	pump(r);
}

static void on_late_watch(void *arg)
{
	struct fuserelay *r = arg;

	struct pollfd p = { .fd = r->dev, .events = POLLIN };

	/* Before it is mounted (by another process) the device says nothing but that it is in error. */
	if (poll(&p, 1, 0) > 0 && p.revents & POLLERR)
		loop_after(&r->again, MOUNT_LOOK_MS, on_late_watch, r);
	else if (loop_add(&r->dev_w, r->dev, EPOLLIN, on_dev, r) < 0)
		log_error("cannot watch a workspace's device");
	else
		pump(r);
}

bool fuserelay_reaped(struct fuserelay *r, pid_t pid)
{
	return fuseside_reaped(r->side, pid);
}

struct fuserelay *fuserelay_create_take(int dev, const char *share, const char *overlay, const struct fuserelay_ops *ops, void *arg)
{
	struct fuserelay *r = calloc(1, sizeof(*r));
	struct ahead *a = ahead_create();
	struct fuseside *side = fuseside_create(dev, share, overlay);

	if (!r || !a || !side) {
		ahead_destroy(&a);
		free(side);
		free(r);
		close(dev);
		return NULL;
	}
	*r = (struct fuserelay){ .ops = ops, .arg = arg, .dev = dev, .ahead = a, .side = side, .dev_w.fd = -1 };
	buf_init(&r->in, IN_MAX);
	fuselane_init(&r->lane, IN_MAX, &lane_ops, r);
	buf_init(&r->out, FUSE_REQUEST_MAX + 2 * LATER_MAX);
	buf_init(&r->later, LATER_MAX);
	fd_nonblock(dev);
	loop_after(&r->again, 0, on_late_watch, r);
	return r;
}

void fuserelay_abort(struct fuserelay *r)
{
	loop_del(&r->dev_w);
	loop_cancel(&r->again);
	loop_cancel(&r->later_due);
	fuseside_abort(r->side);
	fd_close(&r->dev);
}
