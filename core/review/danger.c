/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/danger.h"

#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/str.h"

struct pattern {
	const char *comp[DANGER_DEPTH_MAX]; /* into text */
	size_t n;
	bool anchored, below;
	int first; /* lower-case first byte of comp[0]; 0: a glob's, any */
	const char *reason;
};

struct danger {
	char *text; /* owned; cut into strings */
	struct pattern *p;
	size_t n;
};

static int lower(char c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : (unsigned char)c;
}

static int add(struct danger *d, char *line, const char *reason)
{
	struct pattern *p = &d->p[d->n];
	const size_t len = strlen(line);

	*p = (struct pattern){ .anchored = *line == '/', .reason = reason };
	if (len > 1 && line[len - 1] == '/') {
		p->below = true;
		line[len - 1] = '\0';
	}
	for (char *at = line + p->anchored; at;) {
		char *slash = strchr(at, '/');

		if (slash)
			*slash++ = '\0';
		if (p->n == DANGER_DEPTH_MAX || !*at)
			return -EINVAL;
		p->comp[p->n++] = at;
		at = slash;
	}
	p->first = strchr("*?[\\", p->comp[0][0]) ? 0 : lower(p->comp[0][0]);
	d->n++;
	return 0;
}

static int parse(struct danger *d, struct err *e)
{
	const char *reason = NULL;
	unsigned number = 0;

	for (char *line = d->text; line;) {
		char *next = strchr(line, '\n');
		const size_t len = next ? (size_t)(next - line) : strlen(line);

		number++;
		if (next)
			*next++ = '\0';
		if (len > 0 && *line == '[') {
			if (len < 3 || line[len - 1] != ']' || len - 2 > DANGER_REASON_MAX)
				return err_set(e, EINVAL, "line %u of the list of what executes is no reason", number);
			line[len - 1] = '\0';
			reason = line + 1;
		} else if (len > 0 && *line != '#' && (!reason || d->n == DANGER_PATTERNS_MAX || add(d, line, reason) < 0)) {
			return err_set(e, EINVAL, "line %u of the list of what executes is no pattern, or one too many", number);
		}
		line = next;
	}
	return 0;
}

int danger_create(struct danger **out, const char *text, struct err *e)
{
	struct danger *d = calloc(1, sizeof(*d));
	int r = 0;

	*out = NULL;
	if (d && strlen(text) <= DANGER_TEXT_MAX) {
		d->text = str_dup(text);
		d->p = calloc(DANGER_PATTERNS_MAX, sizeof(*d->p));
	} else if (d) {
		r = err_set(e, EINVAL, "the list of what executes is longer than %u bytes", DANGER_TEXT_MAX);
	}
	if (r == 0)
		r = d && d->text && d->p ? parse(d, e) : err_set(e, ENOMEM, "out of memory");
	if (r < 0)
		danger_destroy(&d);
	*out = d;
	return r;
}

void danger_destroy(struct danger **dp)
{
	if (*dp) {
		free((*dp)->text);
		free((*dp)->p);
	}
	free(*dp);
	*dp = NULL;
}

size_t danger_count(const struct danger *d)
{
	return d ? d->n : 0;
}

/* The components of p stand at comp[at ...]. */
static bool stands_at(const struct pattern *p, char *const *comp, size_t at)
{
	/* Most patterns end here: a list of some hundred is matched against some hundred thousand paths. */
	if (p->first && lower(comp[at][0]) != p->first)
		return false;
	for (size_t i = 0; i < p->n; i++)
		if (fnmatch(p->comp[i], comp[at + i], FNM_CASEFOLD) != 0)
			return false;
	return true;
}

static bool matches(const struct pattern *p, char *const *comp, size_t n)
{
	if (p->below) {
		for (size_t at = 0; at + p->n < n && (at == 0 || !p->anchored); at++)
			if (stands_at(p, comp, at))
				return true;
		return false;
	}
	return p->n <= n && (!p->anchored || p->n == n) && stands_at(p, comp, n - p->n);
}

const char *danger_mark(const struct danger *d, const char *path)
{
	char text[PATH_MAX];
	char *comp[PATH_MAX / 2];
	size_t n = 0;

	if (!d || !str_copy(text, sizeof(text), path))
		return d ? "a path too long to be looked at" : NULL;
	for (char *at = text; at;) {
		char *slash = strchr(at, '/');

		if (slash)
			*slash++ = '\0';
		if (n == ARRAY_SIZE(comp))
			return "a path too deep to be looked at";
		comp[n++] = at;
		at = slash;
	}
	for (size_t i = 0; i < d->n; i++)
		if (matches(&d->p[i], comp, n))
			return d->p[i].reason;
	return NULL;
}

bool danger_is_git(const char *path)
{
	for (const char *at = path; at;) {
		const char *slash = strchr(at, '/');
		const size_t n = slash ? (size_t)(slash - at) : strlen(at);

		if (n == 4 && strncasecmp(at, ".git", 4) == 0)
			return true;
		at = slash ? slash + 1 : NULL;
	}
	return false;
}
