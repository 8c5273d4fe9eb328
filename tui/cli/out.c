/* SPDX-License-Identifier: Apache-2.0 */
#include "tui/cli/out.h"

#include <errno.h>
#include <langinfo.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/str.h"
#include "core/base/utf8.h"

#define LINE_MAX_BYTES 2048

static const char *const style_seq[STYLE_NUM] = {
	[STYLE_NONE] = "", [STYLE_GOOD] = "\033[32m", [STYLE_WARN] = "\033[33m",
	[STYLE_BAD] = "\033[31m", [STYLE_DIM] = "\033[2m", [STYLE_BOLD] = "\033[1m",
};

bool out_color(FILE *f)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(fileno(f)) && !(no && *no) && term && *term && strcmp(term, "dumb") != 0;
}

bool out_utf8(void)
{
	return !strcmp(nl_langinfo(CODESET), "UTF-8");
}

void out_text(FILE *f, const char *s)
{
	char clean[LINE_MAX_BYTES];

	scrub(clean, sizeof(clean), s, strlen(s), false);
	fputs(clean, f);
}

void out_styled(FILE *f, enum style style, const char *s)
{
	bool on = style != STYLE_NONE && out_color(f);

	if (on)
		fputs(style_seq[style], f);
	out_text(f, s);
	if (on)
		fputs("\033[0m", f);
}

void out_say(const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fflush(stdout);
	fputs("bulkhead: ", stderr);
	out_text(stderr, line);
	fputc('\n', stderr);
}

int out_fail(const struct err *e)
{
	out_say("%s", e->msg);
	return 1;
}

void out_json(const json_t *j, bool compact)
{
	size_t flags = compact ? JSON_COMPACT : JSON_INDENT(2);

	/* JSON escapes C0 itself; on a terminal the rest that could move the cursor is escaped too */
	if (isatty(STDOUT_FILENO))
		flags |= JSON_ENSURE_ASCII;
	json_dumpf(j, stdout, flags);
	putchar('\n');
}

bool out_can_ask(void)
{
	return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

bool out_ask(const char *fmt, ...)
{
	char line[LINE_MAX_BYTES], answer[64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fflush(stdout);
	out_text(stderr, line);
	fputs(" [y/N] ", stderr);
	fflush(stderr);
	if (!fgets(answer, sizeof(answer), stdin)) {
		fputc('\n', stderr);
		return false;
	}
	return answer[0] == 'y' || answer[0] == 'Y';
}

int out_close(void)
{
	bool before = ferror(stdout) != 0;

	errno = 0;
	if (fflush(stdout) == 0 && !before)
		return 0;
	if (errno != EPIPE)
		out_say("cannot write the output: %s", errno ? strerror(errno) : "write error");
	return 1;
}

uint64_t out_parse_time(const char *rfc3339)
{
	struct tm tm = { 0 };
	const char *end = rfc3339 ? strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;

	if (!end || (*end != '.' && *end != 'Z'))
		return 0;

	time_t t = timegm(&tm);

	return t > 0 ? (uint64_t)t : 0;
}

void out_age(char *dst, size_t cap, const char *rfc3339, uint64_t now_s)
{
	uint64_t t = out_parse_time(rfc3339);

	if (!t)
		str_copy(dst, cap, "-");
	else
		str_age(dst, cap, now_s > t ? now_s - t : 0);
}

void out_path(char *dst, size_t cap, const char *path)
{
	const char *home = getenv("HOME");
	size_t n = home ? strlen(home) : 0;

	if (n > 1 && !strncmp(path, home, n) && (path[n] == '/' || !path[n]))
		snprintf(dst, cap, "~%s", path + n);
	else
		str_copy(dst, cap, path);
}

/* ---- tables ---- */

static void add_cell(struct table *t, char *text, enum style style)
{
	if (t->cells == t->cap && !t->failed) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		struct table_cell *grown = reallocarray(t->cell, cap, sizeof(*grown));

		if (grown) {
			t->cell = grown;
			t->cap = cap;
		} else {
			t->failed = true;
		}
	}
	if (!text || t->failed) {
		t->failed = true;
		free(text);
		return;
	}
	t->cell[t->cells++] = (struct table_cell){ text, style };
}

void table_init(struct table *t, const char *headings)
{
	*t = (struct table){ 0 };
	while (*headings && t->columns < TABLE_COLUMNS_MAX) {
		size_t n = strcspn(headings, " ");
		bool right = n && headings[n - 1] == '>';

		t->right[t->columns++] = right;
		add_cell(t, str_fmt("%.*s", (int)(n - right), headings), STYLE_DIM);
		headings += n + strspn(headings + n, " ");
	}
}

void table_add(struct table *t, enum style style, const char *fmt, ...)
{
	char raw[LINE_MAX_BYTES], clean[LINE_MAX_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	scrub(clean, sizeof(clean), raw, strlen(raw), false);
	add_cell(t, str_dup(clean), style);
}

static void print_row(const struct table *t, size_t row, const size_t *width, FILE *f)
{
	for (size_t c = 0; c < t->columns; c++) {
		const struct table_cell *cell = &t->cell[row * t->columns + c];
		int pad = (int)(width[c] - utf8_columns(cell->text));
		bool last = c + 1 == t->columns;

		if (t->right[c])
			fprintf(f, "%*s", pad, "");
		out_styled(f, cell->style, cell->text);
		if (!last)
			fprintf(f, "%*s", t->right[c] ? 2 : pad + 2, "");
	}
	fputc('\n', f);
}

void table_print(struct table *t, FILE *f)
{
	size_t width[TABLE_COLUMNS_MAX] = { 0 };

	for (size_t i = 0; i < t->cells; i++) {
		size_t n = utf8_columns(t->cell[i].text);

		if (n > width[i % t->columns])
			width[i % t->columns] = n;
	}
	for (size_t row = 0; row < t->cells / t->columns; row++)
		print_row(t, row, width, f);
	if (t->failed)
		out_say("out of memory: the table is not whole");
	for (size_t i = 0; i < t->cells; i++)
		free(t->cell[i].text);
	free(t->cell);
	*t = (struct table){ 0 };
}
