/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which changed paths would execute on the host: the marks of the list core/review/executes.
 *
 * The list is text: "[reason]" begins a group, then a pattern a line. A pattern is a path of globs, matched against consecutive components
 * anywhere in the path and up to its last; one that begins with '/' matches from the workspace's root only; one that ends in '/' matches
 * what lies below such a directory, at any depth. Case does not count: the host's file system may think so too. The first that matches
 * gives the reason. Pure after its creation; any thread.
 */
#ifndef BULKHEAD_REVIEW_DANGER_H
#define BULKHEAD_REVIEW_DANGER_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"

#define DANGER_TEXT_MAX 32768u
#define DANGER_PATTERNS_MAX 1024u
#define DANGER_DEPTH_MAX 8u /* components of a pattern */
#define DANGER_REASON_MAX 63u

struct danger;

/* -EINVAL with a sentence that names the line, -ENOMEM. Copies `text`. */
int danger_create(struct danger **out, const char *text, struct err *e);
void danger_destroy(struct danger **d);
size_t danger_count(const struct danger *d);
/* The reason, NULL none; lives as long as d. `path`: raw bytes, from the workspace's root, no slash first or last. */
const char *danger_mark(const struct danger *d, const char *path);
/* A component of it is git's own directory (".git" in any case): never changed file by file, whatever was named. */
bool danger_is_git(const char *path);

#endif
