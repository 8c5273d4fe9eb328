/* SPDX-License-Identifier: Apache-2.0 */
/* core/supervisor/gitdir.c: a repository's configuration, which an agent may have written. Input: its text. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "core/supervisor/gitdir.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct git_facts f;

	git_facts_parse((const char *)p, n, &f);
	MUST(strlen(f.format) < sizeof(f.format) && strlen(f.refs) < sizeof(f.refs) && strlen(f.origin) <= WORKSPACE_ORIGIN_MAX);
	for (const char *c = f.origin; *c; c++)
		MUST(*c > ' ' && *c <= '~');
	MUST(f.origin[0] != '-' && f.origin[0] != '/' && !strpbrk(f.origin, "\"\\#;?"));
	return 0;
}
