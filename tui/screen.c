/* SPDX-License-Identifier: Apache-2.0 */
/* See screen.h. */
#include "tui/screen.h"

#include <curses.h>
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "tui/direct.h"

#define PAIR_CACHE 1024u

static const char modes_on[] = "\033[?2004h\033[?1004h", modes_off[] = "\033[?2004l\033[?1004l\033[0 q";
static const char mouse_on[] = "\033[?1000h\033[?1002h\033[?1006h", mouse_off[] = "\033[?1006l\033[?1002l\033[?1000l";

static struct { uint32_t fg, bg; int pair; } pairs[PAIR_CACHE];

static void raw_write(const void *p, size_t n)
{
	fd_write_full(STDOUT_FILENO, p, n);
}

void screen_size(int *rows, int *cols)
{
	struct winsize w;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 || !w.ws_row || !w.ws_col)
		w = (struct winsize){ .ws_row = 24, .ws_col = 80 };
	*rows = w.ws_row > ROWS_MAX ? (int)ROWS_MAX : w.ws_row;
	*cols = w.ws_col > ROWS_MAX ? (int)ROWS_MAX : w.ws_col;
}

/* True when characters beyond ASCII can be shown. A UTF-8 locale that is not installed is answered with C.UTF-8. */
static bool utf8_locale(void)
{
	const char *const names[] = { getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG") };

	setlocale(LC_CTYPE, "");
	if (!strcmp(nl_langinfo(CODESET), "UTF-8"))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!names[i] || !names[i][0])
			continue;
		if (!strcasestr(names[i], "utf-8") && !strcasestr(names[i], "utf8"))
			return false;
		return setlocale(LC_CTYPE, "C.UTF-8") && !strcmp(nl_langinfo(CODESET), "UTF-8");
	}
	return false;
}

static bool wants_direct(void)
{
	const char *c = getenv("COLORTERM"), *no = getenv("NO_COLOR");

	return c && (!strcmp(c, "truecolor") || !strcmp(c, "24bit")) && !(no && no[0]);
}

static enum depth find_depth(void)
{
	const char *no = getenv("NO_COLOR");

	if ((no && no[0]) || !has_colors())
		return DEPTH_MONO;
	start_color();
	use_default_colors();
	if (COLORS >= 1 << 24)
		return DEPTH_TRUE;
	return COLORS >= 256 ? DEPTH_256 : COLORS >= 16 ? DEPTH_16 : COLORS >= 8 ? DEPTH_8 : DEPTH_MONO;
}

static int open_terminal(const char *term, struct err *e)
{
	AUTO_FREE char *direct = wants_direct() ? direct_terminfo(term) : NULL;
	AUTO_FREE char *old = getenv("TERMINFO") ? str_dup(getenv("TERMINFO")) : NULL;

	if (direct)
		setenv("TERMINFO", direct, 1);
	SCREEN *ok = newterm(term, stdout, stdin);
	if (direct && old)
		setenv("TERMINFO", old, 1);
	else if (direct)
		unsetenv("TERMINFO");
	if (!ok && direct)
		ok = newterm(term, stdout, stdin);
	return ok ? 0 : err_set(e, EINVAL, "the terminal type '%.40s' is not known here: set TERM to one that is, such as xterm-256color", term);
}

int screen_open(struct screen *s, bool ascii, bool mouse, struct err *e)
{
	const char *term = getenv("TERM");
	int rows, cols, r;

	memset(s, 0, sizeof(*s));
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return err_set(e, ENOTTY, "the dashboard needs a terminal; 'bulkhead ls' and the other commands do not");
	if (!term || !term[0])
		return err_set(e, EINVAL, "TERM is not set, so nothing is known about this terminal");
	if (!strcmp(term, "dumb"))
		return err_set(e, EINVAL, "a dumb terminal (TERM=dumb) cannot show the dashboard; 'bulkhead ls' and the other commands work here");
	s->ascii = !utf8_locale() || ascii;
	if ((r = open_terminal(term, e)) < 0)
		return r;
	set_escdelay(25);
	raw();
	noecho();
	nonl();
	s->depth = find_depth();
	leaveok(stdscr, FALSE);
	scrollok(stdscr, FALSE);
	memset(pairs, 0xff, sizeof(pairs));
	screen_size(&rows, &cols);
	screen_resized(s, rows, cols);
	raw_write(modes_on, sizeof(modes_on) - 1);
	if (mouse)
		raw_write(mouse_on, sizeof(mouse_on) - 1);
	return 0;
}

void screen_close(struct screen *s)
{
	raw_write(mouse_off, sizeof(mouse_off) - 1);
	raw_write(modes_off, sizeof(modes_off) - 1);
	curs_set(1);
	endwin();
	canvas_release(&s->shown);
}

void screen_resized(struct screen *s, int rows, int cols)
{
	resizeterm(rows, cols);
	canvas_resize(&s->shown, rows, cols);
	s->all = true;
}

/* ---- cells ---------------------------------------------------------------------------------------------------------------------- */

static int color_number(uint32_t c)
{
	if (c == COLOR_DEFAULT)
		return -1;
	if (c >> 24 == 1)
		return (int)(c & 0xff);
	c &= 0xffffff;
	if (c == 0)
		return 16; /* the palette's black: numbers below 256 are the palette's */
	return (int)(c < 256 ? c | 0x100 : c);
}

static int pair_of(const struct screen *s, uint32_t fg, uint32_t bg)
{
	if (s->depth == DEPTH_MONO || (fg == COLOR_DEFAULT && bg == COLOR_DEFAULT))
		return 0;
	const size_t at = (fg * 2654435761u ^ bg * 40503u) % PAIR_CACHE;
	if (pairs[at].fg != fg || pairs[at].bg != bg || pairs[at].pair < 0) {
		const int p = alloc_pair(color_number(fg), color_number(bg));

		if (p < 0)
			return 0;
		pairs[at].fg = fg;
		pairs[at].bg = bg;
		pairs[at].pair = p;
	}
	return pairs[at].pair;
}

static attr_t attrs_of(uint16_t a)
{
	static const struct { uint16_t bit; attr_t attr; } map[] = { { CELL_BOLD, A_BOLD }, { CELL_DIM, A_DIM }, { CELL_ITALIC, A_ITALIC },
		{ CELL_UNDERLINE | CELL_UNDERLINE2 | CELL_CURLY, A_UNDERLINE }, { CELL_BLINK, A_BLINK }, { CELL_REVERSE, A_REVERSE },
		{ CELL_CONCEAL, A_INVIS } };
	attr_t out = 0;

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (a & map[i].bit)
			out |= map[i].attr;
	return out;
}

/* The cell's text as ncurses wants it. What the C library takes for another width than we do would shift the line: it is replaced. */
static void wide_text(const struct screen *s, const struct cell *p, wchar_t out[CCHARW_MAX + 1])
{
	size_t at = 0, n = 0;

	while (at < p->len && n < CCHARW_MAX) {
		uint32_t cp;

		at += utf8_decode((const uint8_t *)p->text + at, p->len - at, &cp, NULL);
		const int w = wcwidth((wchar_t)cp);
		if (n == 0 && ((s->ascii && cp > 0x7e) || w < 1 || w > p->width))
			cp = s->ascii ? '?' : 0xfffd;
		else if (n > 0 && w != 0)
			continue;
		out[n++] = (wchar_t)cp;
		if (s->ascii)
			break;
	}
	if (!n || p->attrs & CELL_CONCEAL)
		out[n = 0] = L' ', n = 1;
	out[n] = L'\0';
}

static void put_cell(const struct screen *s, int row, int col, const struct cell *p)
{
	wchar_t text[CCHARW_MAX + 1];
	cchar_t cc;
	int pair = pair_of(s, p->fg, p->bg);

	wide_text(s, p, text);
	if (setcchar(&cc, text, attrs_of(p->attrs), 0, &pair) != OK)
		return;
	mvadd_wchnstr(row, col, &cc, 1);
	if (p->width == 2 && wcwidth(text[0]) == 1) { /* replaced by something narrow */
		setcchar(&cc, L" ", attrs_of(p->attrs), 0, &pair);
		mvadd_wchnstr(row, col + 1, &cc, 1);
	}
}

static void put_row(struct screen *s, const struct canvas *c, int row)
{
	const size_t at = (size_t)row * (size_t)c->cols;

	for (int col = 0; col < c->cols; col++) {
		const struct cell *p = &c->cells[at + (size_t)col], *old = &s->shown.cells[at + (size_t)col];

		if (p->width == 0 || (!s->all && !memcmp(p, old, sizeof(*p)) &&
				      (p->width == 1 || !memcmp(p + 1, old + 1, sizeof(*p)))))
			continue;
		put_cell(s, row, col, p);
	}
}

bool screen_put(struct screen *s, const struct canvas *c)
{
	const size_t row_size = (size_t)c->cols * sizeof(*c->cells);
	bool changed = s->all || c->cur_row != s->cur_row || c->cur_col != s->cur_col;

	if (c->rows != s->shown.rows || c->cols != s->shown.cols)
		return false; /* of before a resize: the next one fits */
	if (s->all)
		clear();
	for (int row = 0; row < c->rows; row++) {
		struct cell *old = &s->shown.cells[(size_t)row * (size_t)c->cols];
		const struct cell *new = &c->cells[(size_t)row * (size_t)c->cols];

		if (!s->all && !memcmp(old, new, row_size))
			continue;
		put_row(s, c, row);
		memcpy(old, new, row_size);
		changed = true;
	}
	if (c->cur_row >= 0 && (c->cur_shape != s->shape || s->all)) {
		static const char *const shapes[] = { "\033[2 q", "\033[4 q", "\033[6 q" };

		s->shape = c->cur_shape;
		if (c->cur_shape < ARRAY_SIZE(shapes))
			raw_write(shapes[c->cur_shape], 5);
	}
	s->all = false;
	if (!changed)
		return false;
	s->cur_row = c->cur_row;
	s->cur_col = c->cur_col;
	curs_set(c->cur_row >= 0);
	if (c->cur_row >= 0)
		move(c->cur_row, c->cur_col);
	wnoutrefresh(stdscr);
	return true;
}

/* ---- past ncurses --------------------------------------------------------------------------------------------------------------- */

void screen_bell(void)
{
	raw_write("\a", 1);
}

void screen_notify(const char *text)
{
	char clean[300], out[320];

	scrub(clean, sizeof(clean), text, strlen(text), false);
	const int n = snprintf(out, sizeof(out), "\033]9;%s\a", clean);
	if (n > 0 && (size_t)n < sizeof(out))
		raw_write(out, (size_t)n);
}

void screen_clipboard(const void *text, size_t n)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = text;
	char *out = malloc(n / 3 * 4 + 16), *o = out;

	if (!out)
		return;
	memcpy(o, "\033]52;c;", 7);
	o += 7;
	for (size_t i = 0; i < n; i += 3) {
		const uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)(i + 1 < n ? p[i + 1] : 0) << 8 | (uint32_t)(i + 2 < n ? p[i + 2] : 0);

		*o++ = alphabet[v >> 18];
		*o++ = alphabet[v >> 12 & 63];
		*o++ = i + 1 < n ? alphabet[v >> 6 & 63] : '=';
		*o++ = i + 2 < n ? alphabet[v & 63] : '=';
	}
	*o++ = '\a';
	raw_write(out, (size_t)(o - out));
	free(out);
}
