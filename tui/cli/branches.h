/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which branches a repository in a sandbox says it has: hostile text, from a hostile git, read once and strictly. A name that passes is a legal
 * reference for git, harmless as an argument of ours ("refs/heads/" stands before it) and free of control characters. Pure.
 */
#ifndef BULKHEAD_CLI_BRANCHES_H
#define BULKHEAD_CLI_BRANCHES_H

#include <stdbool.h>
#include <stddef.h>

#define BRANCHES_MAX 512u
#define BRANCH_NAME_MAX 200u
#define OID_MAX 64u

struct branch {
	char name[BRANCH_NAME_MAX + 1]; /* without "refs/heads/" */
	char oid[OID_MAX + 1];          /* 40 or 64 hex digits, lower case */
};

struct branches {
	size_t n, refused;    /* refused: names that no branch may have here */
	bool cut;             /* there were more than BRANCHES_MAX */
	struct branch b[BRANCHES_MAX];
};

/* git-check-ref-format(1) and more: printable UTF-8, at most BRANCH_NAME_MAX bytes, not "HEAD", no component that begins with '-' or '.'. */
bool branch_name_legal(const char *name);
/* May stand in a command line that a person copies into a shell. */
bool branch_name_plain(const char *name);
/* "<oid> TAB|SP refs/heads/<name> LF"..., as ls-remote and for-each-ref print; other lines are skipped. `prefix`: "refs/heads/" or another. */
void branches_parse(const char *text, size_t n, const char *prefix, struct branches *out);
/* One of them that stands in the way: "x" and "x/y" cannot both be. NULL none. */
const struct branch *branches_clash(const struct branches *b, const char *name);
const struct branch *branches_find(const struct branches *b, const char *name);

#endif
