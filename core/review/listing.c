/* SPDX-License-Identifier: Apache-2.0 */
/* From what the guest told (or, live, from what is there) to a list by path: renames paired, contents compared, lines counted. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/review/guest.h"
#include "core/review/host.h"
#include "core/review/hunks.h"
#include "core/review/layerimpl.h"
#include "core/review/live.h"

#define COUNT_MAX (1u << 20) /* of a file whose lines are counted without being asked */
#define COUNT_FILES 4000u
#define UNASKED_MS 4000u     /* for the guest to answer what nobody waits for */
#define RENAMES_MAX 200u     /* pairs whose contents are compared */

/* ---- items to the list --------------------------------------------------------------------------------------------------------------- */

struct making { struct layer *l; bool all; size_t n; };

static bool make_one(void *arg, struct upper *u)
{
	struct making *m = arg;

	if (m->all || u->dirty) {
		items_make(&m->l->ground, u);
		m->l->stale = true;
		m->l->n = 0;
	}
	return true;
}

void listing_make(struct layer *l)
{
	struct making m = { .l = l, .all = l->uppers.structural };

	l->uppers.structural = false;
	uppers_each(&l->uppers, make_one, &m);
}

static bool push(struct layer *l, struct item *i)
{
	if (l->n == l->cap) {
		const size_t cap = l->cap ? 2 * l->cap : 256;
		struct item **more = realloc(l->list, cap * sizeof(*more));
		struct change **shown = more ? realloc(l->shown, cap * sizeof(*shown)) : NULL;

		if (more)
			l->list = more;
		if (!shown)
			return false;
		l->shown = shown;
		l->cap = cap;
	}
	l->list[l->n++] = i;
	return true;
}

static bool list_one(void *arg, struct upper *u)
{
	for (struct item *i = u->derived; i; i = i->next)
		if (!i->same && !push(arg, i))
			return false;
	return true;
}

static int by_path(const void *a, const void *b)
{
	const struct item *const *x = a, *const *y = b;
	const int r = strcmp((*x)->c.path, (*y)->c.path);

	return r ? r : (*y)->whole - (*x)->whole;
}

struct item *listing_find(const struct layer *l, const char *path)
{
	size_t from = 0, to = l->n;

	while (from < to) {
		const size_t mid = from + (to - from) / 2;
		const int r = strcmp(l->list[mid]->c.path, path);

		if (r == 0)
			return l->list[mid];
		if (r < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return NULL;
}

/* A deletion that another's rename explains is no change of its own, and of two that speak of one path the entry's own counts. */
static void pair(struct layer *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		l->list[i]->paired = i > 0 && strcmp(l->list[i]->c.path, l->list[i - 1]->c.path) == 0;
	for (size_t i = 0; i < l->n; i++) {
		struct item *made = l->list[i], *gone = made->c.from ? listing_find(l, made->c.from) : NULL;

		if (gone && gone->c.kind == CHANGE_DELETED) {
			gone->paired = true;
		} else if (made->guessed) {
			free(made->c.from);
			made->c.from = NULL;
			made->guessed = made->inspected = made->c.counted = false;
			item_look(&l->ground, made);
		}
	}
	for (size_t i = 0; i < l->n; i++)
		if (!l->list[i]->paired)
			l->list[n++] = l->list[i];
	l->n = n;
}

static bool equal_content(struct layer *l, struct item *gone, struct item *made)
{
	struct content a, b = { .n = 0 };
	bool same = false;

	if (host_read(l->o.root, gone->c.path, COUNT_MAX, &a) == 0) {
		same = layer_theirs(l, made->c.path, &b, NULL) == 0 && a.n == b.n && memcmp(a.data, b.data, a.n) == 0;
		content_release(&b);
	}
	content_release(&a);
	return same;
}

/* A file that was moved is a copy beside a whiteout: what is gone and what is new with the same content belong together. */
static void find_renames(struct layer *l)
{
	size_t tries = 0;
	const uint64_t until = clock_ms() + SLICE_MS;
	const struct patience was = guest_allow(l->o.guest, UNASKED_MS);

	for (size_t i = 0; i < l->n; i++) {
		struct item *gone = l->list[i];

		if (gone->c.kind != CHANGE_DELETED || gone->c.ours.type != CHANGES_FILE || gone->c.ours.size == 0 || gone->c.ours.size > COUNT_MAX || gone->paired)
			continue;
		/* What the sandbox never saw it cannot have moved; and it would learn that its guess of the content is right. */
		if (gone->c.flags & FLAG_HIDDEN)
			continue;
		for (size_t k = 0; k < l->n && tries < RENAMES_MAX && clock_ms() < until; k++) {
			struct item *made = l->list[k];

			if (made->c.kind != CHANGE_ADDED || made->c.theirs.type != CHANGES_FILE || made->c.theirs.size != gone->c.ours.size || made->c.from)
				continue;
			tries++;
			if (!equal_content(l, gone, made) || !(made->c.from = str_dup(gone->c.path)))
				continue;
			made->c.kind = CHANGE_RENAMED;
			made->guessed = made->c.counted = made->inspected = true;
			made->c.add = made->c.del = 0;
			gone->paired = true;
			break;
		}
	}
	guest_resume(l->o.guest, &was);
}

void listing_gather(struct layer *l)
{
	if (!l->stale)
		return;
	l->n = 0;
	l->stale = false;
	uppers_each(&l->uppers, list_one, l);
	for (struct item *i = l->live; i; i = i->next)
		if (!i->same && !push(l, i))
			break;
	if (l->n > 0)
		qsort(l->list, l->n, sizeof(struct item *), by_path);
	pair(l);
	if (!layer_live(l) && guest_connected(l->o.guest))
		find_renames(l);
	size_t n = 0;
	for (size_t i = 0; i < l->n; i++)
		if (!l->list[i]->paired)
			l->list[n++] = l->list[i];
	l->n = n;
	for (size_t i = 0; i < l->n; i++)
		l->shown[i] = &l->list[i]->c;
}

static bool look_one(void *arg, struct upper *u)
{
	struct layer *l = arg;

	for (struct item *i = u->derived; i; i = i->next) {
		const struct change was = i->c;
		const bool same = i->same;

		item_look(&l->ground, i);
		if (same != i->same || was.kind != i->c.kind || was.conflict != i->c.conflict)
			l->stale = true;
	}
	return true;
}

/* ---- contents: the same after all? how many lines? --------------------------------------------------------------------------------------- */

bool listing_wants(const struct item *i, bool asked)
{
	const uint64_t most = asked ? HUNKS_MAX : COUNT_MAX;

	if (i->inspected)
		return false;
	/* Equal sizes may be equal contents: that is looked at whatever it costs. */
	if (i->c.theirs.type == i->c.ours.type && i->c.theirs.size == i->c.ours.size && i->c.theirs.size <= CONTENT_MAX)
		return true;
	return i->c.theirs.size <= most && i->c.ours.size <= most;
}

/* What the sandbox's change is made of. */
static int before(struct layer *l, const char *path, struct content *out)
{
	const int r = layer_live(l) ? layer_base(l, path, out) : host_read(l->o.root, path, CONTENT_MAX, out);

	return layer_live(l) && r == -ENOENT ? 0 : r;
}

void listing_inspect(struct layer *l, struct item *i)
{
	struct content theirs = { .n = 0 }, ours = { .n = 0 };
	const char *old = i->c.from ? i->c.from : i->c.path;

	i->inspected = true;
	if (layer_theirs(l, i->c.path, &theirs, NULL) == 0 && before(l, old, &ours) == 0) {
		const bool same = !i->c.from && content_same(&theirs, &ours);

		if (same != i->same)
			l->stale = true;
		i->same = same;
		i->c.binary = content_binary(&theirs) || content_binary(&ours);
		i->c.counted = i->c.binary || hunks_count(&ours, &theirs, &i->c.add, &i->c.del) == 0;
		/* The mode is all that differs. */
		if (!same && !i->c.from && theirs.side.type == ours.side.type && theirs.n == ours.n && theirs.side.type == CHANGES_FILE && memcmp(theirs.data, ours.data, ours.n) == 0)
			i->c.kind = CHANGE_MODE;
	} else if (!layer_live(l) && !guest_connected(l->o.guest)) {
		i->inspected = false;
	}
	content_release(&theirs);
	content_release(&ours);
}

bool listing_inspect_some(struct layer *l, bool asked, uint64_t until_ms)
{
	const struct patience was = asked ? l->o.guest->patience : guest_allow(l->o.guest, UNASKED_MS);
	bool all = true;

	for (size_t i = 0; i < l->n && (layer_live(l) || guest_connected(l->o.guest)); i++) {
		if (!listing_wants(l->list[i], asked) || (!asked && i >= COUNT_FILES))
			continue;
		listing_inspect(l, l->list[i]);
		if (clock_ms() >= until_ms) {
			all = false;
			break;
		}
	}
	if (!asked)
		guest_resume(l->o.guest, &was);
	return all;
}

/* What was looked into before and is the same still is not looked into again. */
static void carry_over(const struct layer *l, struct item *fresh)
{
	for (struct item *i = fresh; i; i = i->next) {
		const struct item *was = listing_find(l, i->c.path);

		if (i->same || !was || !was->inspected || was->seen.st_ino != i->seen.st_ino || was->seen.st_size != i->seen.st_size || was->seen.st_mtim.tv_sec != i->seen.st_mtim.tv_sec ||
		    was->seen.st_mtim.tv_nsec != i->seen.st_mtim.tv_nsec || was->seen.st_mode != i->seen.st_mode || !was->c.from != !i->c.from)
			continue;
		i->inspected = true;
		i->same = was->same;
		i->c.kind = was->c.kind;
		i->c.binary = was->c.binary;
		i->c.counted = was->c.counted;
		i->c.add = was->c.add;
		i->c.del = was->c.del;
	}
}

static void scan_live(struct layer *l)
{
	const uint64_t began = clock_ms();
	struct item *fresh = live_scan(&l->ground, l->watch);

	carry_over(l, fresh);
	l->n = 0;
	l->stale = true;
	live_release(&l->live);
	l->live = fresh;
	l->scanned_ms = clock_ms();
	l->scan_ms = l->scanned_ms - began;
}

bool listing_update(struct layer *l)
{
	struct pathset dirty;

	livewatch_read(l->watch);
	if (!livewatch_whole(l->watch))
		return false;
	if (!livewatch_due(l->watch))
		return true;
	livewatch_take(l->watch, &dirty);
	l->n = 0;
	l->stale = true;
	return live_update(&l->ground, &l->live, &dirty, l->watch);
}

void listing_look(struct layer *l)
{
	if (layer_live(l))
		scan_live(l);
	else
		uppers_each(&l->uppers, look_one, l);
}
