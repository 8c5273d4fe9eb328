/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256, fed piece by piece. One thread a digest. Source: FIPS 180-4, by libcrypto. */
#ifndef BULKHEAD_REVIEW_DIGEST_H
#define BULKHEAD_REVIEW_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_SIZE 32u
#define DIGEST_HEX (2 * DIGEST_SIZE + 1)

struct digest;

/* NULL: out of memory. The first call loads libcrypto's algorithm, which may open files: make one before sealing. */
struct digest *digest_create(void);
void digest_put(struct digest *d, const void *p, size_t n);
/* The digest of what was put; d begins anew. */
void digest_take(struct digest *d, uint8_t out[DIGEST_SIZE]);
void digest_destroy(struct digest **d);
/* Of these bytes. 0 or -ENOMEM. */
int digest_of(const void *p, size_t n, uint8_t out[DIGEST_SIZE]);
/* Lower-case. */
void digest_hex(char out[DIGEST_HEX], const uint8_t d[DIGEST_SIZE]);
/* 64 hex digits and nothing else; 0 or -EINVAL. */
int digest_parse(const char *hex, uint8_t out[DIGEST_SIZE]);

#endif
