/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct digest { EVP_MD_CTX *ctx; };

struct digest *digest_create(void)
{
	struct digest *d = calloc(1, sizeof(*d));

	if (d)
		d->ctx = EVP_MD_CTX_new();
	if (!d || !d->ctx || !EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL))
		digest_destroy(&d);
	return d;
}

void digest_put(struct digest *d, const void *p, size_t n)
{
	if (n > 0 && !EVP_DigestUpdate(d->ctx, p, n))
		abort(); /* SHA-256 of memory cannot fail; a digest that is silently wrong would let anything pass as unchanged */
}

void digest_take(struct digest *d, uint8_t out[DIGEST_SIZE])
{
	unsigned n = 0;

	if (!EVP_DigestFinal_ex(d->ctx, out, &n) || n != DIGEST_SIZE || !EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL))
		abort();
}

void digest_destroy(struct digest **dp)
{
	if (*dp)
		EVP_MD_CTX_free((*dp)->ctx);
	free(*dp);
	*dp = NULL;
}

int digest_of(const void *p, size_t n, uint8_t out[DIGEST_SIZE])
{
	struct digest *d = digest_create();

	if (!d)
		return -ENOMEM;
	digest_put(d, p, n);
	digest_take(d, out);
	digest_destroy(&d);
	return 0;
}

void digest_hex(char out[DIGEST_HEX], const uint8_t d[DIGEST_SIZE])
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		out[2 * i] = hex[d[i] >> 4];
		out[2 * i + 1] = hex[d[i] & 15];
	}
	out[2 * DIGEST_SIZE] = '\0';
}

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int digest_parse(const char *hex, uint8_t out[DIGEST_SIZE])
{
	if (strlen(hex) != 2 * DIGEST_SIZE)
		return -EINVAL;
	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		const int a = nibble(hex[2 * i]), b = nibble(hex[2 * i + 1]);

		if (a < 0 || b < 0)
			return -EINVAL;
		out[i] = (uint8_t)(a << 4 | b);
	}
	return 0;
}
