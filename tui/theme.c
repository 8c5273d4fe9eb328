/* SPDX-License-Identifier: Apache-2.0 */
/* Theme files: parser, fallbacks, lookup. See theme.h. */
#include "tui/theme.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/base/utf8.h"

#define THEME_MAX 65536u

/* Name, attributes with colours, attributes without. */
static const struct { const char *name; uint16_t attrs, mono; } elements[] = {
	[EL_NORMAL] = { "normal", 0, 0 },
	[EL_DIM] = { "dim", 0, CELL_DIM },
	[EL_ACCENT] = { "accent", 0, CELL_BOLD },
	[EL_HEADER] = { "header", 0, CELL_REVERSE },
	[EL_HEADER_NAME] = { "header-name", CELL_BOLD, CELL_BOLD | CELL_REVERSE },
	[EL_FOOTER] = { "footer", 0, 0 },
	[EL_FOOTER_KEY] = { "footer-key", CELL_BOLD, CELL_BOLD },
	[EL_BORDER] = { "border", 0, CELL_DIM },
	[EL_BORDER_FOCUS] = { "border-focus", 0, CELL_BOLD },
	[EL_BORDER_TYPING] = { "border-typing", CELL_BOLD, CELL_BOLD },
	[EL_TITLE] = { "title", CELL_BOLD, CELL_BOLD },
	[EL_SELECTED] = { "selected", 0, CELL_REVERSE },
	[EL_SELECTED_IDLE] = { "selected-idle", 0, CELL_BOLD },
	[EL_BUSY] = { "busy", 0, 0 },
	[EL_IDLE] = { "idle", 0, 0 },
	[EL_WAITS] = { "waits", CELL_BOLD, CELL_BOLD },
	[EL_BOOTS] = { "boots", 0, 0 },
	[EL_PAUSED] = { "paused", 0, 0 },
	[EL_STOPPED] = { "stopped", 0, CELL_DIM },
	[EL_FAILED] = { "failed", CELL_BOLD, CELL_BOLD },
	[EL_ATTENTION] = { "attention", CELL_BOLD, CELL_BOLD | CELL_REVERSE },
	[EL_MESSAGE] = { "message", 0, CELL_BOLD },
	[EL_ERROR] = { "error", CELL_BOLD, CELL_BOLD },
	[EL_OK] = { "ok", 0, 0 },
	[EL_WARN] = { "warn", 0, CELL_BOLD },
	[EL_INPUT] = { "input", 0, CELL_UNDERLINE },
	[EL_MATCH] = { "match", 0, CELL_REVERSE },
	[EL_COPY] = { "copy", 0, CELL_REVERSE },
	[EL_SPARK] = { "spark", 0, 0 },
	[EL_GAUGE] = { "gauge", 0, 0 },
	[EL_TERMINAL] = { "terminal", 0, 0 },
	[EL_TAB] = { "tab", 0, 0 },
	[EL_TAB_ACTIVE] = { "tab-active", CELL_BOLD, CELL_BOLD | CELL_UNDERLINE },
	[EL_POPUP] = { "popup", 0, 0 },
	[EL_POPUP_BORDER] = { "popup-border", 0, CELL_BOLD },
	[EL_LINK] = { "link", CELL_UNDERLINE, CELL_UNDERLINE },
	[EL_DIFF_PLUS] = { "diff-plus", 0, CELL_BOLD },
	[EL_DIFF_MINUS] = { "diff-minus", 0, CELL_BOLD },
	[EL_DIFF_ADD] = { "diff-add", 0, 0 },
	[EL_DIFF_DEL] = { "diff-del", 0, CELL_DIM },
	[EL_DIFF_ADD_WORD] = { "diff-add-word", CELL_BOLD, CELL_REVERSE },
	[EL_DIFF_DEL_WORD] = { "diff-del-word", CELL_BOLD, CELL_REVERSE },
	[EL_DIFF_HUNK] = { "diff-hunk", 0, CELL_UNDERLINE },
	[EL_DIFF_MARK] = { "diff-mark", CELL_BOLD, CELL_BOLD },
};
_Static_assert(ARRAY_SIZE(elements) == EL_NUM, "every element has a name");

static const char *const color_names[16] = { "black", "red", "green", "yellow", "blue", "magenta", "cyan", "white", "bright-black",
	"bright-red", "bright-green", "bright-yellow", "bright-blue", "bright-magenta", "bright-cyan", "bright-white" };
/* What xterm shows for the 16; only to find the nearest. */
static const uint8_t rgb16[16][3] = { { 0, 0, 0 }, { 205, 0, 0 }, { 0, 205, 0 }, { 205, 205, 0 }, { 0, 0, 238 }, { 205, 0, 205 },
	{ 0, 205, 205 }, { 229, 229, 229 }, { 127, 127, 127 }, { 255, 0, 0 }, { 0, 255, 0 }, { 255, 255, 0 }, { 92, 92, 255 },
	{ 255, 0, 255 }, { 0, 255, 255 }, { 255, 255, 255 } };

const char *element_name(enum element e)
{
	return elements[e].name;
}

/* ---- colours -------------------------------------------------------------------------------------------------------------- */

static int distance(int r, int g, int b, int r2, int g2, int b2)
{
	const int dr = r - r2, dg = g - g2, db = b - b2;

	return 3 * dr * dr + 4 * dg * dg + 2 * db * db; /* the eye sees green best */
}

static int cube_level(int i)
{
	return i ? 55 + 40 * i : 0;
}

static int nearest_level(int v)
{
	return v < 48 ? 0 : v < 115 ? 1 : (v - 35) / 40;
}

static uint32_t nearest256(int r, int g, int b)
{
	const int ri = nearest_level(r), gi = nearest_level(g), bi = nearest_level(b);
	const int mean = (r + g + b) / 3, gray = mean < 8 ? 0 : mean > 238 ? 23 : (mean - 3) / 10, level = 8 + 10 * gray;

	if (distance(r, g, b, level, level, level) < distance(r, g, b, cube_level(ri), cube_level(gi), cube_level(bi)))
		return (uint32_t)(232 + gray);
	return (uint32_t)(16 + 36 * ri + 6 * gi + bi);
}

static uint32_t nearest16(int r, int g, int b, int n)
{
	int best = 0, best_d = INT32_MAX;

	for (int i = 0; i < n; i++) {
		const int d = distance(r, g, b, rgb16[i][0], rgb16[i][1], rgb16[i][2]);

		if (d < best_d) {
			best_d = d;
			best = i;
		}
	}
	return (uint32_t)best;
}

static void rgb_of_index(uint32_t i, int *r, int *g, int *b)
{
	if (i < 16) {
		*r = rgb16[i][0];
		*g = rgb16[i][1];
		*b = rgb16[i][2];
	} else if (i < 232) {
		i -= 16;
		*r = cube_level((int)(i / 36));
		*g = cube_level((int)(i / 6 % 6));
		*b = cube_level((int)(i % 6));
	} else {
		*r = *g = *b = (int)(8 + 10 * (i - 232));
	}
}

uint32_t color_at_depth(uint32_t color, enum depth d)
{
	int r, g, b;

	if (color == COLOR_DEFAULT || d == DEPTH_TRUE)
		return color;
	if (d == DEPTH_MONO)
		return COLOR_DEFAULT;
	if (color >> 24 == 1) {
		const uint32_t i = color & 0xff;

		if (d == DEPTH_256 || i < 8 || (i < 16 && d == DEPTH_16))
			return color;
		if (i < 16)
			return COLOR_INDEX(i - 8);
		rgb_of_index(i, &r, &g, &b);
	} else {
		r = (int)(color >> 16 & 0xff);
		g = (int)(color >> 8 & 0xff);
		b = (int)(color & 0xff);
	}
	if (d == DEPTH_256)
		return COLOR_INDEX(nearest256(r, g, b));
	return COLOR_INDEX(nearest16(r, g, b, d == DEPTH_16 ? 16 : 8));
}

/* ---- parser --------------------------------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int name16(const char *s)
{
	for (int i = 0; i < 16; i++)
		if (!strcmp(s, color_names[i]))
			return i;
	return -1;
}

static int parse_rgb(const char *s, uint32_t *out)
{
	uint32_t v = 0;

	for (int i = 0; i < 6; i++) {
		const int d = s[i] ? hex_digit(s[i]) : -1;

		if (d < 0)
			return -EINVAL;
		v = v << 4 | (uint32_t)d;
	}
	*out = 0x02000000u | v;
	return s[6] == '\0' || s[6] == '/' ? 0 : -EINVAL;
}

static void fill_depths(struct theme_color *c, uint32_t color)
{
	for (int d = DEPTH_MONO; d <= DEPTH_TRUE; d++)
		c->c[d] = color_at_depth(color, (enum depth)d);
}

/* `#rrggbb`, `#rrggbb/N`, `#rrggbb/N/NAME`, NAME, default, - */
static int parse_color(const char *s, struct theme_color *out, struct err *e)
{
	uint32_t rgb;

	memset(out, 0, sizeof(*out));
	out->set = true;
	if (!strcmp(s, "-")) {
		out->inherit = true;
		return 0;
	}
	if (!strcmp(s, "default"))
		return 0;
	const int named = name16(s);
	if (named >= 0) {
		fill_depths(out, COLOR_INDEX(named));
		return 0;
	}
	if (s[0] != '#' || parse_rgb(s + 1, &rgb) < 0)
		return err_set(e, EINVAL, "'%s' is no colour", s);
	fill_depths(out, rgb);
	const char *at256 = s[7] == '/' ? s + 8 : NULL;
	const char *at16 = at256 ? strchr(at256, '/') : NULL;
	if (at256) {
		char number[8];
		uint64_t v;
		const size_t n = at16 ? (size_t)(at16 - at256) : strlen(at256);

		if (n >= sizeof(number))
			return err_set(e, EINVAL, "'%s' is no colour", s);
		memcpy(number, at256, n);
		number[n] = '\0';
		if (str_u64(number, 0, 255, &v) < 0)
			return err_set(e, EINVAL, "'%s' is no colour: the 256 go from 0 to 255", s);
		out->c[DEPTH_256] = COLOR_INDEX(v);
	}
	if (at16) {
		const int i = name16(at16 + 1);

		if (i < 0 && strcmp(at16 + 1, "default"))
			return err_set(e, EINVAL, "'%s' is none of the 16 colours", at16 + 1);
		out->c[DEPTH_16] = i < 0 ? COLOR_DEFAULT : COLOR_INDEX(i);
		out->c[DEPTH_8] = i < 0 ? COLOR_DEFAULT : COLOR_INDEX(i % 8);
	}
	return 0;
}

static int parse_attrs(char *s, uint16_t *out, struct err *e)
{
	static const struct { const char *name; uint16_t bit; } names[] = { { "bold", CELL_BOLD }, { "dim", CELL_DIM },
		{ "italic", CELL_ITALIC }, { "underline", CELL_UNDERLINE }, { "reverse", CELL_REVERSE }, { "-", 0 } };
	char *save = NULL;

	*out = 0;
	for (char *w = strtok_r(s, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
		size_t i = 0;

		while (i < ARRAY_SIZE(names) && strcmp(w, names[i].name))
			i++;
		if (i == ARRAY_SIZE(names))
			return err_set(e, EINVAL, "'%s' is no attribute", w);
		*out = (uint16_t)(*out | names[i].bit);
	}
	return 0;
}

static int parse_line(struct theme *t, char *line, struct err *e)
{
	char *save = NULL, *word = strtok_r(line, " \t\r", &save);
	size_t el = 0;
	int r;

	if (!word || word[0] == '#')
		return 0;
	if (!strcmp(word, "name")) {
		while (*save == ' ' || *save == '\t')
			save++;
		if (!utf8_clean(save))
			return err_set(e, EINVAL, "the name holds control characters");
		str_copy(t->name, sizeof(t->name), save);
		return 0;
	}
	while (el < EL_NUM && strcmp(word, elements[el].name))
		el++;
	if (el == EL_NUM)
		return err_set(e, EINVAL, "there is no element '%.40s'", word);
	char *fg = strtok_r(NULL, " \t\r", &save), *bg = strtok_r(NULL, " \t\r", &save);
	if (!fg || !bg)
		return err_set(e, EINVAL, "'%s' needs a foreground and a background", word);
	if ((r = parse_color(fg, &t->el[el].fg, e)) < 0 || (r = parse_color(bg, &t->el[el].bg, e)) < 0)
		return r;
	t->el[el].given = true;
	while ((word = strtok_r(NULL, " \t\r", &save))) {
		if (word[0] == '#' && word != fg)
			break;
		if (str_starts(word, "mono="))
			r = parse_attrs(word + 5, &t->el[el].mono, e);
		else
			r = parse_attrs(word, &t->el[el].attrs, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int theme_parse(struct theme *t, const char *text, size_t n, struct err *e)
{
	unsigned line = 0;

	memset(t, 0, sizeof(*t));
	for (size_t i = 0; i < EL_NUM; i++) {
		t->el[i].attrs = elements[i].attrs;
		t->el[i].mono = elements[i].mono;
		t->el[i].fg.inherit = t->el[i].bg.inherit = i != EL_NORMAL;
	}
	theme_resolve(t, DEPTH_MONO);
	while (n) {
		char copy[512];
		const char *end = memchr(text, '\n', n);
		const size_t len = end ? (size_t)(end - text) : n;

		line++;
		if (len >= sizeof(copy))
			return err_set(e, EINVAL, "line %u: longer than %zu bytes", line, sizeof(copy) - 1);
		if (memchr(text, '\0', len))
			return err_set(e, EINVAL, "line %u: holds a NUL byte", line);
		memcpy(copy, text, len);
		copy[len] = '\0';
		const int r = parse_line(t, copy, e);
		if (r < 0) {
			err_wrap(e, "line %u", line);
			return r;
		}
		text += len + (end != NULL);
		n -= len + (end != NULL);
	}
	return 0;
}

void theme_resolve(struct theme *t, enum depth d)
{
	t->depth = d;
	for (size_t i = 0; i < EL_NUM; i++) {
		const struct theme_color *fg = t->el[i].fg.inherit ? &t->el[EL_NORMAL].fg : &t->el[i].fg;
		const struct theme_color *bg = t->el[i].bg.inherit ? &t->el[EL_NORMAL].bg : &t->el[i].bg;

		t->style[i] = (struct style){ fg->c[d], bg->c[d], d == DEPTH_MONO ? t->el[i].mono : t->el[i].attrs };
		/* Two colours that few colours made one: the text must stay readable. */
		if (t->style[i].fg != COLOR_DEFAULT && t->style[i].fg == t->style[i].bg)
			t->style[i].fg = t->el[EL_NORMAL].fg.c[d];
		if (t->style[i].fg != COLOR_DEFAULT && t->style[i].fg == t->style[i].bg)
			t->style[i].fg = COLOR_INDEX(t->style[i].bg == COLOR_INDEX(0) ? 7 : 0);
	}
}

/* ---- files ---------------------------------------------------------------------------------------------------------------- */

static char *user_themes(void)
{
	struct err e = ERR_INIT;
	AUTO_FREE char *config = path_config(&e);

	return config ? path_join(config, "themes") : NULL;
}

static int read_theme(struct theme *t, const char *dir, const char *file, struct err *e)
{
	struct buf b;
	AUTO_FD fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_errno(e, errno, "cannot open '%s'", dir);
	buf_init(&b, THEME_MAX);
	if ((r = atomicfile_read(fd, file, &b, e)) == 0) {
		r = theme_parse(t, (const char *)buf_head(&b), buf_size(&b), e);
		if (r < 0)
			err_wrap(e, "theme '%s'", file);
	}
	buf_release(&b);
	return r;
}

int theme_load(struct theme *t, const char *name, struct err *e)
{
	struct err ignore = ERR_INIT;

	if (strchr(name, '/') || name[0] == '.' || strlen(name) > 60 || !utf8_clean(name))
		return err_set(e, EINVAL, "a theme is named without '/' and dots in front");
	AUTO_FREE char *file = str_fmt("%s.theme", name);
	AUTO_FREE char *mine = user_themes();
	AUTO_FREE char *data = path_data("themes", &ignore);
	int r = -ENOENT;

	if (file && mine)
		r = read_theme(t, mine, file, e);
	if (r == -ENOENT && file && data)
		r = read_theme(t, data, file, e);
	if (r == -ENOENT)
		return err_set(e, ENOENT, "there is no theme '%s'", name);
	return r;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t list_dir(const char *dir, char **names, size_t n, size_t max)
{
	DIR *d = dir ? opendir(dir) : NULL;
	const struct dirent *ent;

	while (d && n < max && (ent = readdir(d))) {
		size_t i = 0;

		if (ent->d_name[0] == '.' || !str_ends(ent->d_name, ".theme") || !utf8_clean(ent->d_name))
			continue;
		char *name = str_dup(ent->d_name);
		if (!name)
			break;
		name[strlen(name) - 6] = '\0';
		while (i < n && strcmp(names[i], name))
			i++;
		if (i < n)
			free(name);
		else
			names[n++] = name;
	}
	if (d)
		closedir(d);
	return n;
}

size_t theme_list(char **names, size_t max)
{
	struct err ignore = ERR_INIT;
	AUTO_FREE char *mine = user_themes();
	AUTO_FREE char *data = path_data("themes", &ignore);
	size_t n = list_dir(mine, names, 0, max);

	n = list_dir(data, names, n, max);
	qsort(names, n, sizeof(*names), by_name);
	return n;
}
