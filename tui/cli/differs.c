/* SPDX-License-Identifier: Apache-2.0 */
#include "tui/cli/differs.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "tui/cli/cli.h"

struct list {
	char *dst;
	size_t cap, at;
};

static void add(struct list *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct list *l, const char *fmt, ...)
{
	va_list ap;

	if (l->at)
		l->at += (size_t)snprintf(l->dst + l->at, l->cap - l->at, "; ");
	if (l->at >= l->cap)
		l->at = l->cap - 1;
	va_start(ap, fmt);
	l->at += (size_t)vsnprintf(l->dst + l->at, l->cap - l->at, fmt, ap);
	va_end(ap);
	if (l->at >= l->cap)
		l->at = l->cap - 1;
}

static void size(struct list *l, const json_t *p, const json_t *sb, const char *key, const char *what)
{
	const json_t *want = json_object_get(p, key);
	const uint64_t w = (uint64_t)json_integer_value(want) >> 20, h = (uint64_t)json_integer_value(json_object_get(sb, key)) >> 20;
	char have[16], asked[16];

	if (!want || w == h)
		return;
	str_human(have, sizeof(have), h << 20);
	str_human(asked, sizeof(asked), w << 20);
	add(l, "%s of %s, not %s", what, have, asked);
}

/* How the sandbox sees a directory: "none" it does not. */
static const char *mode_in(const json_t *sb, const char *path)
{
	const json_t *list = json_object_get(sb, "workspaces"), *w;
	size_t i;

	json_array_foreach(list, i, w)
		if (strcmp(cli_str(w, "path"), path) == 0)
			return cli_str(w, "mode");
	return "none";
}

static void mode(struct list *l, const json_t *sb, const char *path, const char *want)
{
	const char *have = mode_in(sb, path);

	if (strcmp(have, want) != 0)
		add(l, "'%s' in mode %s, not %s", path, have, want);
}

static void hidden(struct list *l, const json_t *p, const json_t *sb)
{
	const json_t *want = json_object_get(p, "exclude"), *have = json_object_get(sb, "exclude"), *one, *other;
	size_t i, k;

	json_array_foreach(want, i, one) {
		bool there = false;

		json_array_foreach(have, k, other)
			there = there || json_equal(one, other);
		if (!there)
			add(l, "'%s' is not excluded", json_string_value(one));
	}
	if (json_is_false(json_object_get(p, "exclude_default")) && !json_is_false(json_object_get(sb, "exclude_default")))
		add(l, "the default excludes hold");
}

static void variables(struct list *l, const json_t *p, const json_t *sb)
{
	json_t *env = json_object_get(p, "env"), *value;
	const char *name;

	json_object_foreach(env, name, value) {
		const json_t *have = json_object_get(json_object_get(sb, "env"), name);

		if (!have)
			add(l, "no variable %s", name);
		else if (!json_equal(have, value))
			add(l, "another value of %s", name);
	}
}

bool differs(char *dst, size_t cap, const json_t *p, const json_t *sb)
{
	struct list l = { .dst = dst, .cap = cap };
	const json_t *cpus = json_object_get(p, "cpus"), *more = json_object_get(p, "workspaces"), *w;
	const char *kit = cli_str(p, "kit"), *backend = cli_str(p, "backend");
	size_t i;

	dst[0] = '\0';
	if (*kit && strcmp(kit, cli_str(sb, "kit")) != 0)
		add(&l, "kit %s, not %s", cli_str(sb, "kit"), kit);
	if (cpus && !json_equal(cpus, json_object_get(sb, "cpus")))
		add(&l, "%lld CPUs, not %lld", (long long)json_integer_value(json_object_get(sb, "cpus")), (long long)json_integer_value(cpus));
	size(&l, p, sb, "memory", "memory");
	size(&l, p, sb, "disk", "a disk");
	if (*backend && strcmp(backend, "auto") != 0 && strcmp(backend, cli_str(sb, "backend")) != 0)
		add(&l, "backend %s, not %s", cli_str(sb, "backend"), backend);
	if (json_is_true(json_object_get(p, "unattended")) && !json_is_true(json_object_get(sb, "unattended")))
		add(&l, "it is not unattended");
	if (*cli_str(p, "mode"))
		mode(&l, sb, cli_str(p, "path"), cli_str(p, "mode"));
	json_array_foreach(more, i, w)
		mode(&l, sb, cli_str(w, "path"), cli_str(w, "mode"));
	hidden(&l, p, sb);
	variables(&l, p, sb);
	return l.at > 0;
}
