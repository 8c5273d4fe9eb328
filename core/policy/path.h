/* SPDX-License-Identifier: Apache-2.0 */
/* Paths of requests against globs. Pure; time is at most |pattern| * |path|. */
#ifndef BULKHEAD_POLICY_PATH_H
#define BULKHEAD_POLICY_PATH_H

#include <stdbool.h>
#include <stddef.h>

/* '*' and '?' stay within a segment, '**' crosses. */
bool glob_match(const char *pattern, const char *path);
/*
 * What an origin would take `path` (its query cut off) for: percent-encodings decoded, empty and dot segments resolved. False when the path is not
 * already that but for encodings of unreserved characters: somebody may read it differently. dst always gets a string.
 */
bool path_canonical(const char *path, char *dst, size_t cap);

#define PATH_READ_MAX 1024u
#define PATH_READINGS 6u
/* All that somebody may take a path for: for what must not be got around by writing it differently. */
struct path_readings {
	char v[PATH_READINGS][PATH_READ_MAX];
	size_t n;
	bool doubt; /* there may be more: encodings that are broken, overlong or too many deep */
};
/*
 * As it is written and as an origin would take it (path_canonical), with encodings decoded until none is left, with parameters (";x") cut out of
 * its segments, and both.
 */
void path_read(const char *path, struct path_readings *out);

#endif
