/* SPDX-License-Identifier: Apache-2.0 */
/* Strings, sizes and names. */
#ifndef BULKHEAD_BASE_STR_H
#define BULKHEAD_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]) + 0 * sizeof(char[1 - 2 * __builtin_types_compatible_p(__typeof__(a), __typeof__(&(a)[0]))]))
#define NAME_MAX_LEN 40 /* of a sandbox's name */

/* Allocated copies; abort on out-of-memory is not allowed: NULL, the caller checks. */
char *str_dup(const char *s);
char *str_fmt(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Copies with truncation, always terminated; returns true if all of it fitted. */
bool str_copy(char *dst, size_t cap, const char *src);
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
/* "512M", "2G", "10GiB", "1.5G", "4096" (bytes) -> bytes. -EINVAL with a sentence. */
int str_size(const char *s, uint64_t *bytes, struct err *e);
/* Decimal without sign, whole string, within [min, max]. */
int str_u64(const char *s, uint64_t min, uint64_t max, uint64_t *v);
/* "1.5G", "20K": at most 6 columns. */
void str_human(char *dst, size_t cap, uint64_t bytes);
/* "3s", "12m", "2h", "5d" */
void str_age(char *dst, size_t cap, uint64_t seconds);
/* A sandbox's name: [a-z0-9][a-z0-9._-]*, 1..NAME_MAX_LEN, no "..", else -EINVAL with a sentence that says what is wrong. */
int name_check(const char *name, struct err *e);
/* For tables whose keys strangers choose: with a random seed nobody can make many that fall together. */
uint64_t str_hash(const char *s, uint64_t seed);
/* Optimal-string-alignment distance, for "did you mean"; both at most 64 bytes (more: returns 64). */
unsigned str_distance(const char *a, const char *b);

#endif
