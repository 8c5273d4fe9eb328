/* SPDX-License-Identifier: Apache-2.0 */
/* guest/dns.c: a message to the sandbox's name server. The answer is read again as a client would. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "guest/dns.h"
#include "guest/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static uint64_t now;
	uint8_t out[DNS_ANSWER_MAX];

	now += NAMES_KEEP_MS / 1000; /* names come and go */
	const size_t len = dns_answer(p, n, now, out);
	if (len == 0) {
		MUST(n < 12 || p[2] & 0x80);
		return 0;
	}
	MUST(len >= 12 && len <= sizeof(out) && n >= 12);
	MUST(memcmp(out, p, 2) == 0 && out[2] & 0x80 && !(out[2] & 0x06));
	MUST(out[4] == 0 && out[5] <= 1 && out[7] <= 1 && out[9] == 0 && out[11] <= 1);
	size_t at = 12;
	if (out[5]) {
		while (at < len && out[at])
			at += 1u + out[at];
		at += 5;
		MUST(at <= len && at <= n && memcmp(out + 12, p + 12, at - 12) == 0);
	}
	if (out[7]) {
		MUST(out[5] && at + 12 <= len && (out[3] & 15) == 0);
		at += 12u + (size_t)(out[at + 10] << 8 | out[at + 11]);
	}
	at += out[11] ? 11 : 0;
	MUST(at == len);
	return 0;
}
