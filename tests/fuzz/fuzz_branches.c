/* SPDX-License-Identifier: Apache-2.0 */
/* tui/cli/branches.c: the references a git in a sandbox says it has. Input: that text. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "tui/cli/branches.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct branches b;

	branches_parse((const char *)p, n, "refs/heads/", &b);
	MUST(b.n <= BRANCHES_MAX);
	for (size_t i = 0; i < b.n; i++) {
		MUST(branch_name_legal(b.b[i].name));
		MUST(!strstr(b.b[i].name, "..") && !strpbrk(b.b[i].name, " :\n\t\x1b"));
		MUST(strlen(b.b[i].oid) == 40 || strlen(b.b[i].oid) == 64);
	}
	return 0;
}
