/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One workspace whose changes are looked at: begins, hears its watching stream, counts. What others ask of it stands in review.h.
 */
#ifndef BULKHEAD_REVIEW_LAYER_H
#define BULKHEAD_REVIEW_LAYER_H

#include <uv.h>

#include "core/base/err.h"
#include "core/proto/changes.h"
#include "core/review/review.h"

struct danger;
struct hide;
struct guest;

struct layer_opts {
	uv_loop_t *loop;
	uint8_t index;
	uint32_t gen;               /* of the machine: what is live is compared with how it was when that was started */
	const struct workspace *ws;
	int root;                   /* O_PATH; taken */
	int state;                  /* borrowed */
	int inotify;                /* of a live one, non-blocking; taken; -1 none: it is looked at by the clock */
	size_t watches;             /* directories it may watch with that */
	const struct hide *hide;
	const struct danger *danger;
	struct guest *guest;
	void (*counted)(void *arg, const struct review_counts *c); /* the counts are other ones */
	void (*redial)(void *arg, uint8_t index);                  /* its stream has ended */
	void *arg;
};

int layer_create(struct layer **out, const struct layer_opts *o, struct err *e);
/* The stream that watches. Takes fd. Not for a live one. */
void layer_connect_take(struct layer *l, int fd);
bool layer_connected(const struct layer *l);
/* What is remembered of the host's files goes to the disk now, before the process ends. */
void layer_save(struct layer *l);
void layer_counts(const struct layer *l, struct review_counts *c);
/* Everything has been told once, and whether it was cut. */
bool layer_ready(const struct layer *l, bool *truncated);
/* Counts the lines of all that are not counted yet, within bounds. Waits. */
void layer_count_all(struct layer *l);
const char *layer_mode(const struct layer *l); /* "review", "live" */

#endif
