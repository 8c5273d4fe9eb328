/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields of JSON objects for the state tree. What is missing, of the wrong type or out of range is zero or empty, never a failure; every
 * string is scrubbed.
 */
#ifndef BULKHEAD_CLIENT_FIELDS_H
#define BULKHEAD_CLIENT_FIELDS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

void field_text(const json_t *o, const char *key, char *dst, size_t cap);
char *field_dup(const json_t *v, size_t max); /* allocated, at most max bytes with the NUL; NULL for what is no string */
uint64_t field_u64(const json_t *o, const char *key);
uint32_t field_u32(const json_t *o, const char *key);
uint16_t field_u16(const json_t *o, const char *key);
double field_number(const json_t *o, const char *key);
/* The index of a word among n, else `fallback`. */
int field_word(const json_t *o, const char *key, const char *const *words, size_t n, int fallback);
/* RFC 3339 in UTC ("2026-01-02T03:04:05.678Z"): milliseconds since the epoch, 0 when it is not one. */
uint64_t field_time_ms(const json_t *o, const char *key);

#endif
