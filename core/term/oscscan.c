/* SPDX-License-Identifier: Apache-2.0 */
/* ECMA-48 8.3.89 (OSC) and its kin; xterm's ctlseqs for what an ESC inside a string does: it ends the string and begins a sequence. */
#include "core/term/oscscan.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"

struct edge {
	uint8_t first, last, to, action;
};

/* For each state ranges that cover 0x00..0xff in order. */
static const struct edge ground[] = {
	{ 0x00, 0x1a, OSC_GROUND, OSC_PASS }, { 0x1b, 0x1b, OSC_ESC, OSC_HOLD }, { 0x1c, 0xff, OSC_GROUND, OSC_PASS },
};
static const struct edge esc[] = {
	{ 0x00, 0x1a, OSC_GROUND, OSC_PASS_HELD }, { 0x1b, 0x1b, OSC_ESC, OSC_HOLD }, { 0x1c, 'O', OSC_GROUND, OSC_PASS_HELD },
	{ 'P', 'P', OSC_DROP, OSC_NOTHING }, { 'Q', 'W', OSC_GROUND, OSC_PASS_HELD }, { 'X', 'X', OSC_DROP, OSC_NOTHING },
	{ 'Y', '\\', OSC_GROUND, OSC_PASS_HELD }, { ']', ']', OSC_STRING, OSC_BEGIN }, { '^', '_', OSC_DROP, OSC_NOTHING },
	{ '`', 0xff, OSC_GROUND, OSC_PASS_HELD },
};
static const struct edge string[] = {
	{ 0x00, 0x06, OSC_STRING, OSC_NOTHING }, { 0x07, 0x07, OSC_GROUND, OSC_END }, { 0x08, 0x17, OSC_STRING, OSC_NOTHING },
	{ 0x18, 0x18, OSC_GROUND, OSC_ABORT }, { 0x19, 0x19, OSC_STRING, OSC_NOTHING }, { 0x1a, 0x1a, OSC_GROUND, OSC_ABORT },
	{ 0x1b, 0x1b, OSC_STRING_ESC, OSC_NOTHING }, { 0x1c, 0x1f, OSC_STRING, OSC_NOTHING }, { 0x20, 0xff, OSC_STRING, OSC_ADD },
};
static const struct edge drop[] = {
	{ 0x00, 0x17, OSC_DROP, OSC_NOTHING }, { 0x18, 0x18, OSC_GROUND, OSC_ABORT }, { 0x19, 0x19, OSC_DROP, OSC_NOTHING },
	{ 0x1a, 0x1a, OSC_GROUND, OSC_ABORT }, { 0x1b, 0x1b, OSC_DROP_ESC, OSC_NOTHING }, { 0x1c, 0xff, OSC_DROP, OSC_NOTHING },
};

static const struct {
	const struct edge *edge;
	size_t n;
} table[] = {
	[OSC_GROUND] = { ground, ARRAY_SIZE(ground) }, [OSC_ESC] = { esc, ARRAY_SIZE(esc) }, [OSC_STRING] = { string, ARRAY_SIZE(string) },
	[OSC_DROP] = { drop, ARRAY_SIZE(drop) },
};

void oscscan_edge(enum osc_state from, uint8_t byte, enum osc_state *to, enum osc_action *action)
{
	/* An ESC has ended a string; what follows is '\' (ST) or the second byte of a new sequence. */
	if (from == OSC_STRING_ESC || from == OSC_DROP_ESC) {
		oscscan_edge(OSC_ESC, byte, to, action);
		if (byte == '\\') {
			*to = OSC_GROUND;
			*action = from == OSC_STRING_ESC ? OSC_END : OSC_ABORT;
		} else if (from == OSC_STRING_ESC) {
			*action = OSC_END_HELD; /* then as if in OSC_ESC */
		}
		return;
	}
	for (size_t i = 0; i < table[from].n; i++)
		if (byte >= table[from].edge[i].first && byte <= table[from].edge[i].last) {
			*to = (enum osc_state)table[from].edge[i].to;
			*action = (enum osc_action)table[from].edge[i].action;
			return;
		}
	*to = OSC_NUM; /* a hole in the table: the test fails on it */
	*action = OSC_ACTION_NUM;
}

/* ---- what a string means ------------------------------------------------------------------------------------------------------- */

static int sextet(uint8_t c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Base64 in place; bytes out, or -1 for what is none. Padding may be missing. */
static long decode64(uint8_t *p, size_t n)
{
	uint32_t bits = 0;
	size_t out = 0, have = 0;

	while (n > 0 && p[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++) {
		const int v = sextet(p[i]);

		if (v < 0)
			return -1;
		bits = bits << 6 | (uint32_t)v;
		have += 6;
		if (have >= 8) {
			have -= 8;
			p[out++] = (uint8_t)(bits >> have);
		}
	}
	return (long)out;
}

static void tell(struct oscscan *s, void (*fn)(void *, const char *), const uint8_t *p, size_t n)
{
	char text[OSC_TEXT_MAX];

	scrub(text, sizeof(text), p, n < 4 * OSC_TEXT_MAX ? n : 4 * OSC_TEXT_MAX, false);
	fn(s->arg, text);
}

static void link_(struct oscscan *s, const uint8_t *p, size_t n)
{
	char uri[OSC_LINK_MAX + 1];
	const uint8_t *semi = memchr(p, ';', n);

	if (!semi)
		return;
	semi++;
	const size_t len = n - (size_t)(semi - p);
	if (len > OSC_LINK_MAX)
		return;
	memcpy(uri, semi, len);
	uri[len] = '\0';
	if (strlen(uri) == len && utf8_clean(uri))
		s->ops->on_link(s->arg, uri);
}

static void clipboard(struct oscscan *s, uint8_t *p, size_t n)
{
	uint8_t *semi = memchr(p, ';', n);

	if (!semi || (n - (size_t)(semi - p) == 2 && semi[1] == '?'))
		return; /* a question: what the person has copied is not told to a guest */
	semi++;
	const long out = decode64(semi, n - (size_t)(semi - p));
	if (out > 0 && (size_t)out <= OSC_CLIP_MAX)
		s->ops->on_clipboard(s->arg, (const char *)semi, (size_t)out);
}

static void done(struct oscscan *s)
{
	uint8_t *semi = s->n > 0 ? memchr(s->text, ';', s->n) : NULL;
	const size_t digits = semi ? (size_t)(semi - s->text) : 0;
	char num[8];
	uint64_t code;

	if (s->overflow || digits == 0 || digits >= sizeof(num))
		return;
	memcpy(num, s->text, digits);
	num[digits] = '\0';
	uint8_t *p = semi + 1;
	size_t n = s->n - digits - 1;
	if (str_u64(num, 0, 99999, &code) < 0)
		return;
	switch (code) {
	case 0:
	case 2:
		tell(s, s->ops->on_title, p, n);
		break;
	case 8:
		link_(s, p, n);
		break;
	case 9:
		if (n < 2 || memcmp(p, "4;", 2) != 0) /* 9;4 is a progress bar */
			tell(s, s->ops->on_notify, p, n);
		break;
	case 52:
		clipboard(s, p, n);
		break;
	case 99: /* kitty: metadata ; text */
		semi = memchr(p, ';', n);
		if (semi)
			tell(s, s->ops->on_notify, semi + 1, n - (size_t)(semi + 1 - p));
		break;
	case 777: /* notify;title;body */
		if (n > 7 && memcmp(p, "notify;", 7) == 0)
			tell(s, s->ops->on_notify, p + 7, n - 7);
		break;
	default:
		break;
	}
}

/* ---- bytes ------------------------------------------------------------------------------------------------------------------------ */

static void add(struct oscscan *s, uint8_t byte)
{
	if (s->n == s->cap && !s->overflow) {
		const size_t cap = s->cap ? s->cap * 2 : 512;
		uint8_t *grown = s->cap >= OSC_MAX ? NULL : realloc(s->text, cap > OSC_MAX ? OSC_MAX : cap);

		if (grown) {
			s->text = grown;
			s->cap = cap > OSC_MAX ? OSC_MAX : cap;
		} else {
			s->overflow = true;
		}
	}
	if (!s->overflow)
		s->text[s->n++] = byte;
}

static void finish(struct oscscan *s, bool whole)
{
	if (whole)
		done(s);
	s->n = 0;
	s->overflow = false;
	if (s->cap > 4096) {
		free(s->text);
		s->text = NULL;
		s->cap = 0;
	}
}

void oscscan_init(struct oscscan *s, const struct osc_ops *ops, void *arg)
{
	*s = (struct oscscan){ .ops = ops, .arg = arg };
}

void oscscan_release(struct oscscan *s)
{
	free(s->text);
	s->text = NULL;
}

void oscscan_push(struct oscscan *s, const uint8_t *p, size_t n)
{
	static const uint8_t escape = 0x1b;
	size_t from = 0; /* of the run to pass on */

	for (size_t i = 0; i < n; i++) {
		enum osc_state to;
		enum osc_action action;

		if (s->state == OSC_GROUND) { /* the common case, without the table: up to the next ESC */
			const uint8_t *at = memchr(p + i, 0x1b, n - i);

			if (!at) {
				s->ops->on_bytes(s->arg, p + from, n - from);
				return;
			}
			i = (size_t)(at - p);
			/* "ESC [" is by far the commonest; it needs no holding back. */
			if (i + 1 < n && p[i + 1] == '[') {
				i++;
				continue;
			}
			if (i > from)
				s->ops->on_bytes(s->arg, p + from, i - from);
			from = i + 1;
			s->state = OSC_ESC;
			continue;
		}
		oscscan_edge((enum osc_state)s->state, p[i], &to, &action);
		if (action == OSC_END_HELD) {
			finish(s, true);
			oscscan_edge(OSC_ESC, p[i], &to, &action);
		}
		s->state = (uint8_t)to;
		from = i + 1;
		switch (action) {
		case OSC_HOLD:
			/* ESC ESC: the first one means nothing. */
			break;
		case OSC_PASS_HELD:
			s->ops->on_bytes(s->arg, &escape, 1);
			from = i;
			break;
		case OSC_BEGIN:
			s->n = 0;
			s->overflow = false;
			break;
		case OSC_ADD:
			add(s, p[i]);
			break;
		case OSC_END:
			finish(s, true);
			break;
		case OSC_ABORT:
			finish(s, false);
			break;
		default:
			break;
		}
	}
	if (s->state == OSC_GROUND && from < n)
		s->ops->on_bytes(s->arg, p + from, n - from);
}
