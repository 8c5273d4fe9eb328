/* SPDX-License-Identifier: Apache-2.0 */
#include "core/image/hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct hash *hash_create(void)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();

	if (c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(c);
		c = NULL;
	}
	return (struct hash *)c;
}

void hash_add(struct hash *h, const void *p, size_t n)
{
	EVP_DigestUpdate((EVP_MD_CTX *)h, p, n);
}

void hash_hex(struct hash *h, char out[HASH_HEX + 1])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	EVP_DigestFinal_ex((EVP_MD_CTX *)h, md, &n);
	for (size_t i = 0; i < HASH_HEX / 2; i++)
		snprintf(out + 2 * i, 3, "%02x", md[i]);
}

void hash_destroy(struct hash *h)
{
	EVP_MD_CTX_free((EVP_MD_CTX *)h);
}

int hash_fd(int fd, char out[HASH_HEX + 1])
{
	const size_t size = 1u << 20;
	uint8_t *buf = malloc(size);
	struct hash *h = hash_create();
	ssize_t n = buf && h ? 1 : -1;
	int r = n < 0 ? -ENOMEM : 0;

	while (r == 0 && n > 0) {
		n = read(fd, buf, size);
		if (n > 0)
			hash_add(h, buf, (size_t)n);
		else if (n < 0 && errno == EINTR)
			n = 1;
		else if (n < 0)
			r = -errno;
	}
	if (r == 0)
		hash_hex(h, out);
	hash_destroy(h);
	free(buf);
	return r;
}
