/* SPDX-License-Identifier: Apache-2.0 */
/* core/workspace/hide.c: patterns of hidden names. Input: a path, NUL, the patterns. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "core/workspace/hide.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	char text[4096], *comp[64];
	const char *at[64];
	struct hide *h;
	size_t k = 0;

	if (n < 2 || n >= sizeof(text))
		return 0;
	memcpy(text, p, n);
	text[n] = '\0';
	const size_t path = strlen(text);
	for (char *c = text; k < 64 && *c; k++) {
		char *slash = strchr(c, '/');

		comp[k] = c;
		at[k] = comp[k];
		c = slash ? slash + 1 : c + strlen(c);
		if (slash)
			*slash = '\0';
	}
	if (hide_create(&h, path < n ? text + path + 1 : "", NULL) < 0)
		return 0;
	MUST(hide_count(h) <= HIDE_PATTERNS_MAX);
	for (size_t i = 0; i <= k; i++) {
		hide_match(h, at, i);
		hide_above(h, at, i);
	}
	hide_destroy(&h);
	MUST(!h);
	return 0;
}
