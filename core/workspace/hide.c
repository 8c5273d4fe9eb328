/* SPDX-License-Identifier: Apache-2.0 */
#include "core/workspace/hide.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"

struct pattern {
	char text[HIDE_PATTERN_MAX + 1]; /* components, each terminated */
	const char *comp[HIDE_DEPTH_MAX];
	size_t n;                        /* 1 with !anchored: a name at any depth */
	bool anchored, out;
};

struct hide {
	struct pattern *p;
	size_t n;
	bool paths;
};

static int add(struct hide *h, const char *line, size_t len, struct err *e)
{
	struct pattern *p = &h->p[h->n];

	if (h->n >= HIDE_PATTERNS_MAX)
		return err_set(e, EINVAL, "more than %u patterns of hidden names", HIDE_PATTERNS_MAX);
	*p = (struct pattern){ .out = *line == '!' };
	line += p->out;
	len -= p->out;
	if (len > 0 && line[len - 1] == '/')
		len--; /* "dir/" */
	if (len > 0 && *line == '/') {
		p->anchored = true;
		line++;
		len--;
	}
	if (len == 0 || len > HIDE_PATTERN_MAX)
		return err_set(e, EINVAL, "a pattern of hidden names is empty or longer than %u bytes", HIDE_PATTERN_MAX);
	memcpy(p->text, line, len);
	for (char *at = p->text;; at++) {
		char *slash = strchr(at, '/');

		if (slash)
			*slash = '\0';
		if (p->n >= HIDE_DEPTH_MAX || !*at || strcmp(at, "..") == 0 || strcmp(at, ".") == 0)
			return err_set(e, EINVAL, "'%.*s' is no pattern of hidden names", (int)len, line);
		p->comp[p->n++] = at;
		if (!slash)
			break;
		at = slash;
	}
	p->anchored = p->anchored || p->n > 1;
	h->paths = h->paths || p->anchored;
	h->n++;
	return 0;
}

int hide_create(struct hide **out, const char *text, struct err *e)
{
	struct hide *h = calloc(1, sizeof(*h));

	*out = NULL;
	if (h)
		h->p = calloc(HIDE_PATTERNS_MAX, sizeof(*h->p));
	if (!h || !h->p) {
		free(h);
		return err_set(e, ENOMEM, "out of memory");
	}
	while (*text) {
		const size_t len = strcspn(text, "\n");
		const int r = len > 0 && *text != '#' ? add(h, text, len, e) : 0;

		if (r < 0) {
			hide_destroy(&h);
			return r;
		}
		text += len + (text[len] == '\n');
	}
	*out = h;
	return 0;
}

void hide_destroy(struct hide **hp)
{
	if (*hp)
		free((*hp)->p);
	free(*hp);
	*hp = NULL;
}

size_t hide_count(const struct hide *h)
{
	return h ? h->n : 0;
}

bool hide_needs_path(const struct hide *h)
{
	return h && h->paths;
}

static bool matches(const struct pattern *p, const char *const *comp, size_t n)
{
	if (!p->anchored)
		return fnmatch(p->comp[0], comp[n - 1], FNM_CASEFOLD) == 0;
	if (p->n != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (fnmatch(p->comp[i], comp[i], FNM_CASEFOLD) != 0)
			return false;
	return true;
}

bool hide_match(const struct hide *h, const char *const *comp, size_t n)
{
	bool hidden = false;

	for (size_t i = 0; h && n > 0 && i < h->n; i++)
		if (matches(&h->p[i], comp, n))
			hidden = !h->p[i].out;
	return hidden;
}

bool hide_above(const struct hide *h, const char *const *comp, size_t n)
{
	for (size_t i = 0; h && i < h->n; i++) {
		const struct pattern *p = &h->p[i];
		bool above = p->anchored && p->n > n;

		for (size_t k = 0; above && k < n; k++)
			above = fnmatch(p->comp[k], comp[k], FNM_CASEFOLD) == 0;
		if (above)
			return true;
	}
	return false;
}
