/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which names of a workspace a guest does not see: secrets that lie in a work tree.
 *
 * A pattern without a slash is a glob for a name at any depth (".env*", "id_rsa"); one with a slash is a path from the workspace's root, glob
 * by component ("deploy/keys/id_?"). One that begins with '!' takes names out again; the last that matches decides, as in .gitignore.
 * What is hidden is hidden with everything below it. Case does not count: ".ENV" is as secret, and on some of the host's file systems the same file. Pure; one
 * thread.
 */
#ifndef BULKHEAD_WORKSPACE_HIDE_H
#define BULKHEAD_WORKSPACE_HIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"

#define HIDE_PATTERNS_MAX 128u
#define HIDE_PATTERN_MAX 255u
#define HIDE_DEPTH_MAX 32u /* components of a pattern */

struct hide;

/* `text`: patterns, one a line; empty lines and those that begin with '#' are skipped. -EINVAL with a sentence, -ENOMEM. */
int hide_create(struct hide **out, const char *text, struct err *e);
void hide_destroy(struct hide **h);
size_t hide_count(const struct hide *h);
/* Path patterns exist: hide_match() then needs the components, else only the name. */
bool hide_needs_path(const struct hide *h);
/* comp[0..n) from the root to the name itself; with !hide_needs_path() only comp[n - 1] is looked at. */
bool hide_match(const struct hide *h, const char *const *comp, size_t n);
/* A directory above something a path pattern may name: moving it would move what is below out of the pattern's reach. */
bool hide_above(const struct hide *h, const char *const *comp, size_t n);

#endif
