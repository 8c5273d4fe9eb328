/* SPDX-License-Identifier: Apache-2.0 */
/* Placeholders in the bodies of requests: what may lie over a cut is kept, so that no piece is too short and none is kept twice. */
#include "netpolicy/inject.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"

struct watch {
	char edge[2 * sizeof(((struct net_secret *)0)->placeholder)]; /* the end of what went by, and the beginning of what comes */
	size_t nedge, longest, n;
	struct sought {
		char placeholder[sizeof(((struct net_secret *)0)->placeholder)], service[sizeof(((struct net_secret *)0)->service)];
		size_t len;
	} v[];
};

static bool seeks(const struct watch *w, const char *placeholder)
{
	for (size_t i = 0; i < w->n; i++)
		if (strcmp(w->v[i].placeholder, placeholder) == 0)
			return true;
	return false;
}

int watch_create(struct watch **out, const struct inject *in, const char *host, uint16_t port, bool secure)
{
	const char *placeholder, *service;
	struct watch *w;
	size_t all = 0;

	*out = NULL;
	while (inject_placeholder(in, all, &placeholder, &service))
		all++;
	if (all == 0 || (secure && inject_wants(in, host, port)))
		return 0;
	if (!(w = calloc(1, sizeof(*w) + all * sizeof(w->v[0]))))
		return -ENOMEM;
	for (size_t i = 0; inject_placeholder(in, i, &placeholder, &service); i++) {
		if (strlen(placeholder) < WATCH_MIN || seeks(w, placeholder))
			continue;
		struct sought *x = &w->v[w->n++];
		str_copy(x->placeholder, sizeof(x->placeholder), placeholder);
		str_copy(x->service, sizeof(x->service), service);
		x->len = strlen(x->placeholder);
		w->longest = x->len > w->longest ? x->len : w->longest;
	}
	if (w->n == 0)
		watch_destroy(&w);
	*out = w;
	return 0;
}

void watch_destroy(struct watch **w)
{
	free(*w);
	*w = NULL;
}

static const char *found(const struct watch *w, const void *p, size_t n)
{
	for (size_t i = 0; i < w->n; i++)
		if (memmem(p, n, w->v[i].placeholder, w->v[i].len))
			return w->v[i].service;
	return NULL;
}

const char *watch_feed(struct watch *w, const uint8_t *p, size_t n)
{
	const size_t keep = w->longest - 1, first = n < keep ? n : keep;
	const char *whose = NULL;

	if (n == 0)
		return NULL;
	/* What lies across the cut, then all of this piece. */
	memcpy(w->edge + w->nedge, p, first);
	w->nedge += first;
	if (w->nedge > first)
		whose = found(w, w->edge, w->nedge);
	if (!whose)
		whose = found(w, p, n);
	if (n >= keep) {
		memcpy(w->edge, p + n - keep, keep);
		w->nedge = keep;
	} else if (w->nedge > keep) {
		memmove(w->edge, w->edge + w->nedge - keep, keep);
		w->nedge = keep;
	}
	return whose;
}
