/* SPDX-License-Identifier: Apache-2.0 */
/* See branches.h. Source: git-check-ref-format(1). */
#include "tui/cli/branches.h"

#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"

#define PLAIN "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-+"

static bool component_legal(const char *p, size_t n)
{
	return n > 0 && p[0] != '.' && p[0] != '-' && p[n - 1] != '.' && !(n >= 5 && memcmp(p + n - 5, ".lock", 5) == 0);
}

bool branch_name_legal(const char *name)
{
	const size_t n = strlen(name);
	char shown[4 * BRANCH_NAME_MAX + 1];

	if (n == 0 || n > BRANCH_NAME_MAX || strcmp(name, "HEAD") == 0 || strcmp(name, "@") == 0)
		return false;
	if (strpbrk(name, " ~^:?*[\\\"") || strstr(name, "..") || strstr(name, "@{"))
		return false;
	/* What scrubbing would change does not become a name. */
	if (scrub(shown, sizeof(shown), name, n, false) != n || memcmp(shown, name, n) != 0)
		return false;
	for (const char *at = name;; at++) {
		const size_t len = strcspn(at, "/");

		if (!component_legal(at, len))
			return false;
		at += len;
		if (!*at)
			return true;
	}
}

bool branch_name_plain(const char *name)
{
	return strspn(name, PLAIN) == strlen(name);
}

static bool is_oid(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(p[i] >= '0' && p[i] <= '9') && !(p[i] >= 'a' && p[i] <= 'f'))
			return false;
	return n == 40 || n == 64;
}

const struct branch *branches_clash(const struct branches *b, const char *name)
{
	const size_t n = strlen(name);

	for (size_t i = 0; i < b->n; i++) {
		const char *other = b->b[i].name;
		const size_t k = strlen(other);

		if (k != n && strncmp(name, other, k < n ? k : n) == 0 && (k < n ? name[k] : other[n]) == '/')
			return &b->b[i];
	}
	return NULL;
}

static void take(struct branches *out, const char *p, size_t n, const char *prefix)
{
	const char *sep = memchr(p, '\t', n);
	const size_t k = strlen(prefix);

	if (!sep)
		sep = memchr(p, ' ', n);
	if (!sep || !is_oid(p, (size_t)(sep - p)))
		return;
	const char *ref = sep + 1;
	const size_t len = n - (size_t)(ref - p);
	if (len <= k || memcmp(ref, prefix, k) != 0)
		return;
	if (out->n >= BRANCHES_MAX) {
		out->cut = true;
		return;
	}
	struct branch *b = &out->b[out->n];
	*b = (struct branch){ .name = "" };
	if (len - k > BRANCH_NAME_MAX || memchr(ref, '\0', len)) {
		out->refused++;
		return;
	}
	memcpy(b->name, ref + k, len - k);
	memcpy(b->oid, p, (size_t)(sep - p));
	if (branch_name_legal(b->name) && !branches_find(out, b->name) && !branches_clash(out, b->name))
		out->n++;
	else
		out->refused++;
}

void branches_parse(const char *text, size_t n, const char *prefix, struct branches *out)
{
	const char *end = text + n;

	out->n = out->refused = 0;
	out->cut = false;
	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));

		take(out, text, (size_t)((nl ? nl : end) - text), prefix);
		text = nl ? nl + 1 : end;
	}
}

const struct branch *branches_find(const struct branches *b, const char *name)
{
	for (size_t i = 0; i < b->n; i++)
		if (strcmp(b->b[i].name, name) == 0)
			return &b->b[i];
	return NULL;
}
