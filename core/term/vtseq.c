/* SPDX-License-Identifier: Apache-2.0 */
/* Control sequences of a program: what goes on to the library, and what is ours (vt.c says why). */
#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/term/vtimpl.h"

/* ---- sequences toward the library ------------------------------------------------------------------------------------------------- */

static void write_(struct vt *v, const char *p, size_t n)
{
	vterm_input_write(v->vt, p, n);
}

static size_t decimal(char *dst, int v)
{
	char digits[8];
	size_t n = 0, k = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	while (n > 0)
		dst[k++] = digits[--n];
	return k;
}

/* CSI with up to two arguments, each -1 (not given) .. 9999. */
static void csi(struct vt *v, uint8_t leader, int a, int b, uint8_t intermed, uint8_t final)
{
	char out[24] = { 0x1b, '[' };
	size_t n = 2;

	if (leader)
		out[n++] = (char)leader;
	if (a >= 0)
		n += decimal(out + n, a < 9999 ? a : 9999);
	if (b >= 0) {
		out[n++] = ';';
		n += decimal(out + n, b < 9999 ? b : 9999);
	}
	if (intermed)
		out[n++] = (char)intermed;
	out[n++] = (char)final;
	write_(v, out, n);
}

static void escape(struct vt *v, uint8_t intermed, uint8_t final)
{
	char out[4] = { 0x1b };
	size_t n = 1;

	if (intermed)
		out[n++] = (char)intermed;
	out[n++] = (char)final;
	write_(v, out, n);
}

static void move_to(struct vt *v, VTermPos to)
{
	if (v->origin) {
		to.row -= v->top;
		to.col -= v->sides ? v->left : 0;
	}
	csi(v, 0, to.row < 0 ? 1 : to.row + 1, to.col < 0 ? 1 : to.col + 1, 0, 'H');
}

static void set_charset(struct vt *v, unsigned set, uint8_t to)
{
	v->charset[set] = to;
	escape(v, (uint8_t)('(' + set), to);
}

/* ---- what is ours ---------------------------------------------------------------------------------------------------------------------- */

static void save_cursor(struct vt *v)
{
	struct saved_cursor *s = &v->saved[v->grid.alt];

	*s = (struct saved_cursor){ .pos = vt_where(v), .pen = v->pen, .origin = v->origin, .gl = v->gl };
	memcpy(s->charset, v->charset, sizeof(s->charset));
}

static void restore_cursor(struct vt *v)
{
	const struct saved_cursor s = v->saved[v->grid.alt];
	const uint16_t link = v->pen.link;

	if (s.origin != v->origin) {
		v->origin = s.origin;
		csi(v, '?', 6, -1, 0, s.origin ? 'h' : 'l');
	}
	for (unsigned i = 0; i < ARRAY_SIZE(s.charset); i++)
		if (s.charset[i] != v->charset[i])
			set_charset(v, i, s.charset[i]);
	if (s.gl != v->gl && s.gl < 2)
		write_(v, s.gl ? "\x0e" : "\x0f", 1);
	v->gl = s.gl;
	move_to(v, s.pos);
	v->pen = s.pen;
	v->pen.link = link;
}

void vtseq_no_saved(struct saved_cursor *s)
{
	*s = (struct saved_cursor){ .pen = { .fg = COLOR_DEFAULT, .bg = COLOR_DEFAULT }, .charset = { 'B', 'B', 'B', 'B' } };
}

/* Top and bottom margins; the cursor goes home. */
static void set_margins(struct vt *v, int top, int bottom)
{
	v->top = top > 0 ? top : 0;
	v->bottom = bottom > 0 && bottom < v->grid.rows ? bottom : -1;
	if (v->top >= (v->bottom < 0 ? v->grid.rows : v->bottom)) {
		v->top = 0;
		v->bottom = -1;
	}
	csi(v, 0, v->top + 1, v->bottom < 0 ? v->grid.rows : v->bottom, 0, 'r');
}

static void set_sides(struct vt *v, int left, int right)
{
	v->left = left > 0 ? left : 0;
	v->right = right > 0 && right < v->grid.cols ? right : -1;
	if (v->left >= (v->right < 0 ? v->grid.cols : v->right)) {
		v->left = 0;
		v->right = -1;
	}
	csi(v, 0, v->left + 1, v->right < 0 ? v->grid.cols : v->right, 0, 's');
}

/* DECSTR and RIS have this in common. */
static void soft_reset(struct vt *v)
{
	const VTermPos at = vt_where(v);

	csi(v, 0, 4, -1, 0, 'l');    /* insert */
	csi(v, '?', 1, -1, 0, 'l');  /* cursor keys */
	csi(v, '?', 6, -1, 0, 'l');  /* origin */
	csi(v, '?', 7, -1, 0, 'h');  /* wrap */
	csi(v, '?', 25, -1, 0, 'h'); /* cursor */
	escape(v, 0, '>');
	v->origin = false;
	set_sides(v, 0, -1);
	csi(v, '?', 69, -1, 0, 'l');
	v->sides = false;
	set_margins(v, 0, -1);
	for (unsigned i = 0; i < ARRAY_SIZE(v->charset); i++)
		set_charset(v, i, 'B');
	write_(v, "\x0f", 1);
	v->gl = 0;
	v->pen = (struct pen){ .fg = COLOR_DEFAULT, .bg = COLOR_DEFAULT };
	vtseq_no_saved(&v->saved[v->grid.alt]);
	move_to(v, at);
}

static void hard_reset(struct vt *v)
{
	static const int off[] = { 5, 1000, 1004, 1006, 1047, 2004 };

	for (size_t i = 0; i < ARRAY_SIZE(off); i++)
		csi(v, '?', off[i], -1, 0, 'l');
	soft_reset(v);
	vtseq_no_saved(&v->saved[0]);
	vtseq_no_saved(&v->saved[1]);
	v->paste = v->focus = false;
	escape(v, 0, 'c');
}

static void repeat(struct vt *v, int count)
{
	char text[4 * ROWS_MAX];
	size_t n = 0;

	if (!v->last_cp || utf8_width(v->last_cp) <= 0)
		return;
	for (int i = 0; i < count && i < v->grid.cols; i++)
		n += utf8_put(v->last_cp, text + n);
	write_(v, text, n);
}

static void alt_screen(struct vt *v, bool on, bool save)
{
	if (save && on && !v->grid.alt)
		save_cursor(v);
	csi(v, '?', 1047, -1, 0, on ? 'h' : 'l');
	if (save && !on)
		restore_cursor(v);
}

static void dec_mode(struct vt *v, int mode, bool on)
{
	switch (mode) {
	case 6:
		v->origin = on;
		break;
	case 69:
		v->sides = on;
		break;
	case 1004:
		v->focus = on;
		break;
	case 2004:
		v->paste = on;
		break;
	case 1: case 5: case 7: case 12: case 25: case 1000: case 1002: case 1003: case 1005: case 1006: case 1015:
		break;
	case 47: case 1047: case 1049:
		alt_screen(v, on, mode == 1049);
		return;
	case 1048:
		if (on)
			save_cursor(v);
		else
			restore_cursor(v);
		return;
	default:
		return;
	}
	csi(v, '?', mode, -1, 0, on ? 'h' : 'l');
}

/* ---- sequences from the program ---------------------------------------------------------------------------------------------------------- */

static void on_text(void *arg, const uint8_t *p, size_t n)
{
	struct vt *v = arg;

	write_(v, (const char *)p, n);
	for (; n > 0 && (memchr(p, 0x0e, n) || memchr(p, 0x0f, n)); n--) /* SO, SI: the last one counts */
		if (p[n - 1] == 0x0e || p[n - 1] == 0x0f) {
			v->gl = p[n - 1] == 0x0e;
			break;
		}
}

static void on_escape(void *arg, uint8_t intermed, uint8_t final)
{
	struct vt *v = arg;

	if (intermed >= '(' && intermed <= '+') {
		if (final == '0' || final == 'A' || final == 'B')
			set_charset(v, (unsigned)intermed - '(', final);
		return;
	}
	if (intermed == '#' && final == '8')
		escape(v, intermed, final); /* DECALN */
	if (intermed)
		return;
	switch (final) {
	case '7':
		save_cursor(v);
		break;
	case '8':
		restore_cursor(v);
		break;
	case 'c':
		hard_reset(v);
		break;
	case 'n': case 'o': /* LS2, LS3 */
		v->gl = final == 'n' ? 2 : 3;
		escape(v, 0, final);
		break;
	case '=': case '>': /* keypad */
	case 'D': case 'E': case 'H': case 'M': /* IND, NEL, HTS, RI */
	case 'N': case 'O': /* SS2, SS3 */
		escape(v, 0, final);
		break;
	default:
		break;
	}
}

/* Control sequences that go to the library, with how many arguments. */
static const struct pass {
	uint8_t leader, intermed, final, args;
} passed[] = {
	{ 0, 0, '@', 1 }, { 0, 0, 'A', 1 }, { 0, 0, 'B', 1 }, { 0, 0, 'C', 1 }, { 0, 0, 'D', 1 }, { 0, 0, 'E', 1 }, { 0, 0, 'F', 1 },
	{ 0, 0, 'G', 1 }, { 0, 0, 'H', 2 }, { 0, 0, 'I', 1 }, { 0, 0, 'J', 1 }, { 0, 0, 'K', 1 }, { 0, 0, 'L', 1 }, { 0, 0, 'M', 1 },
	{ 0, 0, 'P', 1 }, { 0, 0, 'S', 1 }, { 0, 0, 'X', 1 }, { 0, 0, 'Z', 1 }, { 0, 0, '`', 1 }, { 0, 0, 'a', 1 }, { 0, 0, 'c', 1 },
	{ 0, 0, 'd', 1 }, { 0, 0, 'e', 1 }, { 0, 0, 'f', 2 }, { 0, 0, 'g', 1 }, { 0, 0, 'j', 1 }, { 0, 0, 'k', 1 }, { 0, 0, 'n', 1 },
	{ '?', 0, 'J', 1 }, { '?', 0, 'K', 1 }, { '?', 0, 'n', 1 }, { '>', 0, 'c', 1 }, { '?', '$', 'p', 1 }, { 0, ' ', 'q', 1 },
	{ 0, '"', 'q', 1 }, { 0, '\'', '}', 1 }, { 0, '\'', '~', 1 },
};

static void pass(struct vt *v, const struct seq_csi *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(passed); i++)
		if (passed[i].leader == c->leader && passed[i].intermed == c->intermed && passed[i].final == c->final) {
			csi(v, c->leader, c->arg[0], passed[i].args > 1 && c->n > 1 ? c->arg[1] : -1, c->intermed, c->final);
			return;
		}
}

static void modes(struct vt *v, const struct seq_csi *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		if (c->leader == '?')
			dec_mode(v, c->arg[i], c->final == 'h');
		else if (c->arg[i] == 4 || c->arg[i] == 20)
			csi(v, 0, c->arg[i], -1, 0, c->final);
	}
}

static void report_size(struct vt *v)
{
	char out[32] = "\x1b[8;";
	size_t n = 4;

	n += decimal(out + n, v->grid.rows);
	out[n++] = ';';
	n += decimal(out + n, v->grid.cols);
	out[n++] = 't';
	vt_output(out, n, v);
}

static void on_csi(void *arg, const struct seq_csi *c)
{
	struct vt *v = arg;
	const int a = c->arg[0], b = c->n > 1 ? c->arg[1] : -1;

	if (c->intermed == '!' && c->final == 'p' && !c->leader) {
		soft_reset(v);
		return;
	}
	if (!c->intermed && (c->final == 'h' || c->final == 'l') && (!c->leader || c->leader == '?')) {
		modes(v, c);
		return;
	}
	if (c->intermed || c->leader) {
		pass(v, c);
		return;
	}
	switch (c->final) {
	case 'm':
		sgr_apply(&v->pen, c);
		break;
	case 'J':
		if (a == 3)
			grid_history_clear(&v->grid); /* the library takes it for known and does nothing */
		else
			pass(v, c);
		break;
	case 'T':
		if (c->n == 1) /* with more it is about mouse tracking */
			csi(v, 0, a, -1, 0, 'T');
		break;
	case 'b':
		repeat(v, a < 1 ? 1 : a); /* the library repeats for ever what has no width */
		break;
	case 'r':
		set_margins(v, a - 1, b);
		break;
	case 's':
		if (v->sides)
			set_sides(v, a - 1, b);
		else
			save_cursor(v);
		break;
	case 't':
		if (a == 18)
			report_size(v);
		break;
	case 'u':
		restore_cursor(v);
		break;
	default:
		pass(v, c);
		break;
	}
}

const struct seq_ops vtseq_ops = { .on_text = on_text, .on_escape = on_escape, .on_csi = on_csi };

void vtseq_resizing(struct vt *v)
{
	if (v->top > 0 || v->bottom >= 0 || v->left > 0 || v->right >= 0) {
		const VTermPos at = vt_where(v);

		set_sides(v, 0, -1);
		set_margins(v, 0, -1);
		move_to(v, at);
	}
}
