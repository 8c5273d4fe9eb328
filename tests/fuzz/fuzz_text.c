/* SPDX-License-Identifier: Apache-2.0 */
/* core/base/utf8.c, str.c: text of any origin. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"

static void decoding_ends(const uint8_t *p, size_t n)
{
	while (n > 0) {
		uint32_t cp;
		char back[4];
		bool need;
		const size_t used = utf8_decode(p, n, &cp, &need);

		MUST(used >= 1 && used <= 4 && used <= n);
		MUST(cp <= 0x10ffff && (cp < 0xd800 || cp > 0xdfff));
		MUST(!need || used == n);
		if (cp != 0xfffd)
			MUST(utf8_put(cp, back) == used && memcmp(back, p, used) == 0);
		p += used;
		n -= used;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct err e;
	uint64_t v;

	decoding_ends(p, n);
	const size_t cap = n > 0 ? 1 + p[0] : 1; /* small destinations too */
	char *dst = malloc(cap), *text = malloc(12 * n + 1), *s = malloc(n + 1);
	MUST(dst && text && s);
	for (int multi = 0; multi < 2; multi++) {
		const size_t k = scrub(dst, cap, p, n, multi);

		MUST(k < cap && strlen(dst) == k);
		MUST(multi || utf8_clean(dst));
		MUST(scrub(text, 12 * n + 1, p, n, multi) <= 12 * n);
		for (const char *c = text; *c; c++)
			MUST(((unsigned char)*c >= 0x20 && *c != 0x7f) || (multi && (*c == '\n' || *c == '\t')));
	}
	memcpy(s, p, n);
	s[n] = '\0';
	const size_t columns = n % 50, got = utf8_fit(dst, cap, s, columns, n & 1);
	MUST(got <= columns && strlen(dst) < cap);
	if (name_check(s, &e) == 0)
		MUST(strlen(s) <= NAME_MAX_LEN && !strchr(s, '/') && utf8_clean(s));
	else
		MUST(utf8_clean(e.msg));
	str_size(s, &v, &e);
	str_u64(s, 0, UINT64_MAX, &v);
	str_distance(s, "attach");
	free(dst);
	free(text);
	free(s);
	return 0;
}
