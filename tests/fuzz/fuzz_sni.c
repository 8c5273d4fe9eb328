/* SPDX-License-Identifier: Apache-2.0 */
/* netpolicy/sni.c: a ClientHello; what is enough stays enough whatever follows, and what is refused stays refused. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#include "netpolicy/sni.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sni_hello h, again;
	const int r = sni_parse(p, n, &h);

	MUST(r == 0 || r == -EAGAIN || r == -EPROTO || r == -EBADMSG);
	MUST(r != 0 || h.name[0] == '\0' || net_name_legal(h.name));
	MUST(r != -EAGAIN || n < SNI_PEEK_MAX);
	if (r != -EAGAIN && n > 0) {
		uint8_t *longer = malloc(n + 32);

		MUST(longer);
		memcpy(longer, p, n);
		memset(longer + n, 0x16, 32);
		MUST(sni_parse(longer, n + 32, &again) == r);
		MUST(r < 0 || memcmp(&h, &again, sizeof(h)) == 0);
		free(longer);
	}
	return 0;
}
