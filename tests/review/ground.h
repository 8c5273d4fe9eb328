/* SPDX-License-Identifier: Apache-2.0 */
/* A workspace and an undo store in a directory of their own. Every function fails the test rather than return an error. */
#ifndef BULKHEAD_TESTS_REVIEW_GROUND_H
#define BULKHEAD_TESTS_REVIEW_GROUND_H

#include <stdbool.h>
#include <stdint.h>

#include "core/review/apply.h"

struct ground {
	char dir[64];
	int root; /* O_PATH, "ws" */
	int rw;   /* the same, readable */
	int store;
};

void ground_make(struct ground *g);
void ground_remove(struct ground *g);
void ground_put(const struct ground *g, const char *path, const char *text, unsigned mode);
/* What stands there is a file with this text; and this mode unless 0. */
bool ground_has(const struct ground *g, const char *path, const char *text, unsigned mode);
bool ground_absent(const struct ground *g, const char *path);
/* Names in the directory. */
size_t ground_count(const struct ground *g, const char *path);
void ground_look(const struct ground *g, const char *path, struct look *out);
int ground_content(const char *text);
struct apply *ground_begin(const struct ground *g, bool dry);
/* One change as an apply of its own. */
enum apply_result ground_apply(const struct ground *g, const struct apply_change *c, struct apply_told *told);
enum apply_result ground_write(const struct ground *g, const char *path, const char *text, unsigned mode, const struct look *expect, struct apply_told *told);
uint32_t ground_newest(const struct ground *g);

#endif
