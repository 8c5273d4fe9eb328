/* SPDX-License-Identifier: Apache-2.0 */
/* Private to core/image: sha256 in hexadecimal. */
#ifndef BULKHEAD_IMAGE_HASH_H
#define BULKHEAD_IMAGE_HASH_H

#include <stddef.h>

#define HASH_HEX 64

struct hash; /* EVP_MD_CTX */
struct hash *hash_create(void);
void hash_add(struct hash *h, const void *p, size_t n);
void hash_hex(struct hash *h, char out[HASH_HEX + 1]); /* ends it */
void hash_destroy(struct hash *h);
/* Of what is left in fd; 0 or -errno. */
int hash_fd(int fd, char out[HASH_HEX + 1]);

#endif
