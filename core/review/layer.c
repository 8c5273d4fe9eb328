/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A review workspace: the guest tells its upper layer (uppers.h), items.h makes changes of it, this file keeps them true: what the guest tells is
 * gathered SETTLE_MS, what needs content (is it the same? how many lines?) is looked at a slice at a time, the host's files every LOOK_MS.
 */
#include "core/review/layerimpl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/loop/after.h"
#include "core/loop/stream.h"
#include "core/proto/frame.h"
#include "core/review/base.h"
#include "core/review/digest.h"
#include "core/review/guest.h"
#include "core/review/host.h"
#include "core/review/items.h"
#include "core/review/live.h"

#define SETTLE_MS 100u
#define LOOK_MS 2000u
#define LIVE_MS 1000u
#define LIVE_HEARD_MS 150u   /* from the first that is heard to a look at it */
#define LIVE_AGAIN_MS 30000u /* to a look at everything where all is heard: mapped writes of the host's are not */
#define LOOK_MOST 4000u      /* changes whose host files are looked at by the clock; more only when asked */
#define BUSY_MS 1000u        /* while the guest tells of so many entries in so long (and in the time before) */
#define BUSY_ENTRIES 200u    /* it has other things to do than to read them to us */
#define SAVE_AT_ONCE 1000u   /* so many records of what the host had are a small file */
#define SAVE_MS 1000u        /* a larger one is written again no earlier than this, */
#define SAVE_SHARE 20u       /* nor than after so many times as long as the last time took, */
#define SAVE_MOST_MS 30000u  /* but no later than this */
#define IN_MAX (4 * CHANGES_FRAME_MAX)

static void on_drop(void *arg, struct upper *u)
{
	struct layer *l = arg;

	items_drop(u);
	l->stale = true;
	l->n = 0; /* it points to items */
}

/* ---- counts ---------------------------------------------------------------------------------------------------------------------------- */

void layer_counts(const struct layer *l, struct review_counts *c)
{
	if (l->stale && l->told.index == l->o.index) {
		*c = l->told;
		return;
	}
	*c = (struct review_counts){ .index = l->o.index, .ready = l->ready, .truncated = l->uppers.truncated || l->ground.truncated, .files = (uint32_t)l->n };
	for (size_t i = 0; i < l->n; i++) {
		const struct change *ch = &l->list[i]->c;

		c->conflicts += ch->conflict;
		c->marked += ch->mark != NULL;
		if (ch->counted) {
			c->add += ch->add;
			c->del += ch->del;
		}
	}
}

static void tell(struct layer *l)
{
	struct review_counts c;

	layer_counts(l, &c);
	if (memcmp(&c, &l->told, sizeof(c)) == 0)
		return;
	l->told = c;
	l->o.counted(l->o.arg, &c);
}

/* ---- by the clock -------------------------------------------------------------------------------------------------------------------------- */

static void save(void *arg)
{
	struct layer *l = arg;
	const uint64_t began = clock_ms();

	base_save(l->base);
	l->saved_ms = clock_ms();
	const uint64_t pause = SAVE_SHARE * (l->saved_ms - began);
	l->save_pause_ms = pause < SAVE_MS ? SAVE_MS : pause < SAVE_MOST_MS ? pause : SAVE_MOST_MS;
}

void layer_save(struct layer *l)
{
	base_save(l->base);
}

/* At once: what the host had is not known again once the host went on. But a guest that does and undoes a great deal keeps no disk busy. */
static void save_soon(struct layer *l)
{
	const uint64_t since = clock_ms() - l->saved_ms;

	if (!base_changed(l->base) || l->save)
		return;
	if (l->saved_ms == 0 || since >= l->save_pause_ms || base_count(l->base) < SAVE_AT_ONCE)
		save(l);
	else
		after_set(&l->save, l->o.loop, l->save_pause_ms - since, save, l);
}

/* Contents are compared and counted when a build or an unpacking is over: every one of them is asked of the guest. */
static bool is_busy(struct layer *l)
{
	const uint64_t now = clock_ms();

	if (now - l->heard_since_ms >= BUSY_MS) {
		l->heard_before = now - l->heard_since_ms < 2 * BUSY_MS ? l->heard : 0;
		l->heard = 0;
		l->heard_since_ms = now;
	}
	return l->heard + l->heard_before > BUSY_ENTRIES;
}

static void work(void *arg)
{
	struct layer *l = arg;
	const bool busy = is_busy(l);

	listing_make(l);
	save_soon(l);
	listing_gather(l);
	const bool all = !busy && listing_inspect_some(l, false, clock_ms() + SLICE_MS);
	listing_gather(l);
	tell(l);
	if (!all)
		after_set(&l->work, l->o.loop, busy ? BUSY_MS / 2 : 1, work, l);
	save_soon(l);
}

/* So that it takes one of `share` parts of the time at most. */
static uint64_t pause_after(uint64_t took_ms, uint64_t least_ms, unsigned share)
{
	return took_ms * share < least_ms ? least_ms : took_ms * share;
}

static void on_poll_closed(uv_handle_t *h)
{
	free(h);
}

/* Not all can be heard: it is looked at by the clock from now on. */
static void watch_end(struct layer *l)
{
	if (l->heard_poll)
		uv_close((uv_handle_t *)l->heard_poll, on_poll_closed);
	l->heard_poll = NULL;
	livewatch_destroy(&l->watch);
}

/* Until everything is to be looked at. */
static uint64_t left_ms(const struct layer *l)
{
	const uint64_t since = clock_ms() - l->scanned_ms;
	const bool heard = l->watch && livewatch_whole(l->watch);
	const uint64_t pause = heard ? pause_after(l->scan_ms, LIVE_AGAIN_MS, 100) : pause_after(l->scan_ms, LIVE_MS, 20);

	return since < pause ? pause - since : 1;
}

static void look_live(void *arg);
static void on_heard(uv_poll_t *h, int status, int events);

/* It was looked at, by the clock or because somebody asked: what comes from now on is heard again. */
static void looked(struct layer *l)
{
	if (l->soon)
		uv_poll_start(l->heard_poll, UV_READABLE, on_heard);
	l->soon = false;
	if (l->watch && l->scanned_ms && (!livewatch_whole(l->watch) || l->ground.truncated))
		watch_end(l);
	after_set(&l->look, l->o.loop, l->deepened ? left_ms(l) : 1, look_live, l);
}

static void on_heard(uv_poll_t *h, int status, int events)
{
	struct layer *l = h->data;

	(void)status;
	(void)events;
	livewatch_read(l->watch);
	if (!l->deepened || (livewatch_whole(l->watch) && !livewatch_due(l->watch)))
		return;
	const uint64_t left = left_ms(l), soon = livewatch_whole(l->watch) ? pause_after(l->update_ms, LIVE_HEARD_MS, 20) : left;
	l->soon = after_set(&l->look, l->o.loop, soon < left ? soon : left, look_live, l) == 0;
	if (l->soon)
		uv_poll_stop(h);
}

static void look_live(void *arg)
{
	struct layer *l = arg;
	const uint64_t began = clock_ms();

	l->deepened = base_deepen(l->base, began + SLICE_MS);
	const bool due = !l->scanned_ms || left_ms(l) == 1;
	if (l->deepened && l->watch && !due && listing_update(l)) {
		work(l);
		l->update_ms = clock_ms() - began;
	} else {
		/* Too much happened for a part: everything, but no more often than by the clock. */
		if (l->deepened && (due || left_ms(l) == 1))
			listing_look(l);
		work(l);
	}
	looked(l);
}

static void watch_begin(struct layer *l)
{
	if (l->o.inotify < 0)
		return;
	l->watch = livewatch_create_take(l->o.inotify, l->o.watches);
	l->heard_poll = l->watch ? malloc(sizeof(*l->heard_poll)) : NULL;
	if (l->heard_poll && uv_poll_init(l->o.loop, l->heard_poll, l->o.inotify) == 0) {
		l->heard_poll->data = l;
		uv_poll_start(l->heard_poll, UV_READABLE, on_heard);
		return;
	}
	free(steal_ptr(&l->heard_poll));
	watch_end(l);
}

static void settle_soon(struct layer *l)
{
	if (!l->settle)
		after_set(&l->settle, l->o.loop, SETTLE_MS, work, l);
}

static void look(void *arg)
{
	struct layer *l = arg;

	after_set(&l->look, l->o.loop, LOOK_MS, look, l);
	if (!l->ready || l->n == 0 || l->n > LOOK_MOST)
		return;
	listing_look(l);
	work(l);
}

void layer_touch(struct layer *l)
{
	l->uppers.structural = l->uppers.structural || l->again;
	l->again = false;
	listing_look(l);
	settle_soon(l);
}

/* ---- the guest's stream ------------------------------------------------------------------------------------------------------------------ */

static void lost(struct layer *l)
{
	stream_close(&l->s);
	l->o.redial(l->o.arg, l->o.index);
}

static bool see(void *arg, struct upper *u)
{
	struct layer *l = arg;

	for (struct item *i = u->derived; i; i = i->next) {
		struct base_record *r = base_find(l->base, i->c.path);

		if (r)
			r->seen = true;
		if (i->c.from && (r = base_find(l->base, i->c.from)))
			r->seen = true;
	}
	return true;
}

static void on_synced(struct layer *l, bool truncated)
{
	if (l->begun) {
		l->begun = false;
		uppers_synced(&l->uppers);
		listing_make(l);
		base_unsee(l->base);
		uppers_each(&l->uppers, see, l);
		base_sweep(l->base);
	}
	l->ready = true;
	l->uppers.truncated = l->uppers.truncated || truncated;
	settle_soon(l);
}

static int on_frame(struct layer *l, const struct frame *f)
{
	static struct changes_entry e;
	char path[CHANGES_PATH_MAX + 1];
	const uint8_t *id;
	uint8_t more = 0;
	struct rbuf r;

	rbuf_init(&r, f->payload, f->len);
	switch (f->type) {
	case CHANGES_BEGIN:
		rbuf_bytes(&r, CHANGES_ID, &id);
		if (rbuf_done(&r) < 0)
			return -EBADMSG;
		base_layer(l->base, id);
		uppers_begin(&l->uppers);
		l->begun = l->numbered = true;
		return 0;
	case CHANGES_ENTRY:
		if (!l->numbered || changes_entry_unpack(&r, &e) < 0)
			return -EBADMSG;
		uppers_put(&l->uppers, &e);
		l->heard++;
		return 0;
	case CHANGES_GONE:
		rbuf_str16(&r, path, sizeof(path));
		if (rbuf_done(&r) < 0 || !changes_path_legal(path))
			return -EBADMSG;
		uppers_gone(&l->uppers, path);
		return 0;
	case CHANGES_SYNCED:
		rbuf_u8(&r, &more);
		if (rbuf_done(&r) < 0 || more > 1 || !l->numbered)
			return -EBADMSG;
		on_synced(l, more);
		return 0;
	default:
		return -EBADMSG;
	}
}

static void on_read(void *arg, struct buf *in)
{
	struct layer *l = arg;
	struct frame f;
	size_t used = 0;
	int r = 0;

	while (l->s && (r = frame_parse(buf_head(in), buf_size(in), CHANGES_FRAME_MAX, &f, &used)) == 0 && (r = on_frame(l, &f)) == 0)
		buf_consume(in, used);
	if (r < 0 && r != -EAGAIN) {
		log_limited(&l->complaints, 4, LOG_WARN, "'%s': the guest told what cannot be: its stream is closed", l->o.ws->path);
		lost(l);
	}
}

static void on_closed(void *arg, int why)
{
	(void)why;
	lost(arg);
}

static const struct stream_ops stream_ops = { .on_read = on_read, .on_closed = on_closed };

void layer_connect_take(struct layer *l, int fd)
{
	struct buf b;

	stream_close(&l->s);
	l->numbered = l->begun = false;
	if (stream_open_take(&l->s, l->o.loop, fd, IN_MAX, 4096, &stream_ops, l) < 0) {
		l->o.redial(l->o.arg, l->o.index);
		return;
	}
	buf_init(&b, 64);
	const size_t at = frame_begin(&b, CHANGES_WATCH, 0);
	buf_u16(&b, CHANGES_VERSION);
	buf_u8(&b, l->o.index);
	frame_end(&b, at);
	if (!buf_ok(&b) || stream_write(l->s, buf_head(&b), buf_size(&b)) < 0)
		lost(l);
	buf_release(&b);
}

bool layer_connected(const struct layer *l)
{
	return l->s != NULL;
}

/* ---- what others ask ---------------------------------------------------------------------------------------------------------------------- */

bool layer_ready(const struct layer *l, bool *truncated)
{
	*truncated = l->uppers.truncated || l->ground.truncated;
	return l->ready;
}

struct change **layer_changes(struct layer *l, size_t *n)
{
	listing_make(l);
	listing_look(l);
	listing_gather(l);
	listing_inspect_some(l, false, clock_ms() + SLICE_MS);
	listing_gather(l);
	save_soon(l);
	if (layer_live(l)) {
		looked(l);
		settle_soon(l); /* to be told of, and what is not inspected yet */
	}
	*n = l->n;
	return l->shown;
}

void layer_count_all(struct layer *l)
{
	listing_make(l);
	listing_gather(l);
	listing_inspect_some(l, true, clock_ms() + GUEST_MS);
	listing_gather(l);
}

struct change *layer_find(struct layer *l, const char *path)
{
	listing_make(l);
	listing_gather(l);
	struct item *i = listing_find(l, path);
	if (!i)
		return NULL;
	if (!layer_live(l))
		item_look(&l->ground, i);
	if (listing_wants(i, true))
		listing_inspect(l, i);
	return i->same ? NULL : &i->c;
}

int layer_theirs(struct layer *l, const char *path, struct content *out, struct err *e)
{
	char lower[CHANGES_PATH_MAX + 1];
	const struct upper *u = uppers_find(&l->uppers, path);
	bool renamed;

	*out = (struct content){ .side = { .type = CHANGES_WHITEOUT } };
	if (layer_live(l))
		return layer_ours(l, path, out, e);
	if (u) {
		int r = u->type == CHANGES_WHITEOUT ? 0 : guest_read(l->o.guest, l->o.index, path, CONTENT_MAX, out, e);

		if (r == 0)
			content_digest(out);
		return r;
	}
	/* Not in the layer: the lower's, if it shows and is the sandbox's to see. */
	if (uppers_lower(&l->uppers, path, false, lower, &renamed) && uppers_shows(&l->uppers, path) && !items_hidden(l->o.hide, lower)) {
		const int r = host_read(l->o.root, lower, CONTENT_MAX, out);

		if (r < 0)
			return err_errno(e, -r, "it cannot be read");
	}
	content_digest(out);
	return 0;
}

int layer_ours(struct layer *l, const char *path, struct content *out, struct err *e)
{
	const int r = host_read(l->o.root, path, CONTENT_MAX, out);

	if (r < 0)
		return r == -EFBIG ? err_set(e, EFBIG, "the host's file is larger than %u MiB", CONTENT_MAX >> 20) : err_errno(e, -r, "the host's file cannot be read");
	content_digest(out);
	return 0;
}

int layer_base(struct layer *l, const char *path, struct content *out)
{
	/* Of what is live everything was taken down: what was not, was not there. */
	if (layer_live(l) && !base_find(l->base, path)) {
		*out = (struct content){ .side = { .type = CHANGES_WHITEOUT } };
		return -ENOENT;
	}
	const int r = base_content(l->base, path, out);

	if (r == 0)
		content_digest(out);
	return r;
}

int layer_discard(struct layer *l, const char *path, struct err *e)
{
	const struct item *i = listing_find(l, path);

	if (i && !i->whole)
		return err_set(e, ENOTSUP, "it went with its directory '%s': discard that", i->upper->path);
	const int r = guest_discard(l->o.guest, l->o.index, path, e);
	if (r == 0)
		base_forget(l->base, path);
	return r;
}

int layer_discard_entry(struct layer *l, const char *entry, const char *path, struct err *e)
{
	const int r = guest_discard(l->o.guest, l->o.index, entry, e);

	if (r == 0) {
		base_forget(l->base, entry);
		base_forget(l->base, path);
	}
	return r;
}

void layer_applied(struct layer *l, const char *path)
{
	const struct item *i = listing_find(l, path);

	base_anew(l->base, path);
	l->again = l->again || !i || !i->whole;
}

bool layer_shows(struct layer *l, const char *path)
{
	char lower[CHANGES_PATH_MAX + 1];
	bool renamed = false;

	return uppers_lower(&l->uppers, path, false, lower, &renamed) && !renamed;
}

void layer_prune(struct layer *l, const char *path)
{
	char above[CHANGES_PATH_MAX + 1];
	struct stat st;

	str_copy(above, sizeof(above), path);
	for (char *slash; (slash = strrchr(above, '/'));) {
		*slash = '\0';
		if (host_stat(l->o.root, above, &st) != -ENOENT || guest_discard_empty(l->o.guest, l->o.index, above) < 0)
			return;
	}
}

int layer_keep(struct layer *l, const char *path, struct err *e)
{
	return guest_keep(l->o.guest, l->o.index, path, e);
}

const char *layer_path(const struct layer *l)
{
	return l->o.ws->path;
}

const char *layer_mode(const struct layer *l)
{
	return workspace_modes[l->o.ws->mode];
}

int layer_root(const struct layer *l)
{
	return l->o.root;
}

bool layer_live(const struct layer *l)
{
	return l->o.ws->mode == WORKSPACE_LIVE;
}

int layer_create(struct layer **out, const struct layer_opts *o, struct err *e)
{
	struct layer *l = calloc(1, sizeof(*l));
	int r;

	if (!l || uppers_init(&l->uppers, on_drop, l) < 0) {
		free(l);
		return err_set(e, ENOMEM, "out of memory");
	}
	l->o = *o;
	if ((r = base_open(&l->base, o->state, o->root, o->index, e)) < 0)
		return r;
	l->ground = (struct ground){ .root = o->root, .uppers = &l->uppers, .base = l->base, .hide = o->hide, .danger = o->danger, .most = CHANGES_ENTRIES_MAX };
	l->told.index = UINT8_MAX;
	*out = l;
	if (layer_live(l)) {
		l->uppers.truncated = !live_begin(&l->ground, o->gen);
		l->ready = true;
		watch_begin(l);
		after_set(&l->look, o->loop, 0, look_live, l); /* nothing is told before we are ready */
	} else {
		look(l);
	}
	return 0;
}
