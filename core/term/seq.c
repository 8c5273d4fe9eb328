/* SPDX-License-Identifier: Apache-2.0 */
#include "core/term/seq.h"

#include <string.h>

#include "core/base/utf8.h"

void seqscan_init(struct seqscan *s, const struct seq_ops *ops, void *arg)
{
	*s = (struct seqscan){ .ops = ops, .arg = arg };
}

/* ---- text ---------------------------------------------------------------------------------------------------------------------- */

bool seq_is_mark(uint32_t cp)
{
	/* Four that newer Unicode gives a column; the test asks libvterm about every code point. */
	return cp >= 0x300 && (utf8_width(cp) == 0 || cp == 0x6de || cp == 0x1734 || cp == 0x302e || cp == 0x302f);
}

/* Bytes at the head of p[0..n) that are ASCII and neither ESC nor DEL: they need no second look. */
static size_t plain(const uint8_t *p, size_t n)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), tops = UINT64_C(0x8080808080808080);
	size_t i = 0;

	for (uint64_t w; i + 8 <= n; i += 8) {
		memcpy(&w, p + i, 8);
		const uint64_t esc = w ^ (ones * 0x1b), del = w ^ (ones * 0x7f);

		/* A top bit anywhere, or a byte that became zero (Mycroft's test; false hits only cost the slow loop). */
		if ((w | ((esc - ones) & ~esc) | ((del - ones) & ~del)) & tops)
			break;
	}
	while (i < n && p[i] < 0x7f && p[i] != 0x1b)
		i++;
	return i;
}

static void ascii(struct seqscan *s, const uint8_t *p, size_t n)
{
	/* Only a new base ends the counting: a control does not make libvterm forget the old one. */
	for (size_t i = 0; i < n && s->marks > 0; i++)
		if (p[i] >= 0x20)
			s->marks = 0;
	for (size_t k; n > 0; p += k, n -= k) {
		k = n < SEQ_TEXT_MAX ? n : SEQ_TEXT_MAX;
		s->ops->on_text(s->arg, p, k);
	}
}

/* One character as it goes on: bytes in out[4], 0 when it does not. */
static size_t character(struct seqscan *s, uint32_t cp, char out[4])
{
	if (cp < 0xa0)
		return 0; /* C1: no control in UTF-8 for us, no text either */
	if (!seq_is_mark(cp))
		s->marks = 0;
	else if (s->marks == SEQ_MARKS_MAX)
		return 0;
	else
		s->marks++;
	return utf8_put(cp, out);
}

/* From a byte >= 0x80 up to the next ASCII byte or the end; bytes used. What is not whole at the end is held. */
static size_t foreign(struct seqscan *s, const uint8_t *p, size_t n)
{
	uint8_t out[SEQ_TEXT_MAX];
	size_t i = 0, k = 0;

	while (i < n && p[i] >= 0x80) {
		uint32_t cp;
		bool need = false;
		const size_t used = utf8_decode(p + i, n - i, &cp, &need);

		if (need) {
			s->nheld = (uint8_t)(n - i);
			memcpy(s->held, p + i, n - i);
			i = n;
			break;
		}
		i += used;
		char c[4];
		const size_t len = character(s, cp, c);
		memcpy(out + k, c, len);
		k += len;
		if (k + 4 > sizeof(out)) {
			s->ops->on_text(s->arg, out, k);
			k = 0;
		}
	}
	if (k > 0)
		s->ops->on_text(s->arg, out, k);
	return i;
}

/* The held bytes and those that follow, until they are a character; bytes of p used. */
static size_t unhold(struct seqscan *s, const uint8_t *p, size_t n)
{
	uint8_t whole[8];
	uint32_t cp;
	char out[4];
	bool need = false;
	const size_t had = s->nheld, more = n < sizeof(whole) - had ? n : sizeof(whole) - had;

	memcpy(whole, s->held, had);
	memcpy(whole + had, p, more);
	const size_t used = utf8_decode(whole, had + more, &cp, &need);
	if (need) {
		memcpy(s->held + had, p, n);
		s->nheld = (uint8_t)(had + n);
		return n;
	}
	/* What was held is the beginning of a sequence, so it is used up whole, well-formed or not. */
	s->nheld = 0;
	const size_t len = character(s, cp, out);
	if (len > 0)
		s->ops->on_text(s->arg, (const uint8_t *)out, len);
	return used - had;
}

static size_t text(struct seqscan *s, const uint8_t *p, size_t n)
{
	size_t i = 0;

	while (i < n && p[i] != 0x1b) {
		const size_t k = plain(p + i, n - i);

		if (k > 0)
			ascii(s, p + i, k);
		i += k;
		if (i < n && p[i] == 0x7f)
			i++;
		else if (i < n && p[i] >= 0x80)
			i += foreign(s, p + i, n - i);
	}
	return i;
}

/* ---- sequences ------------------------------------------------------------------------------------------------------------------ */

static void begin_csi(struct seqscan *s)
{
	s->state = SEQ_CSI;
	s->csi.leader = s->csi.intermed = 0;
	s->csi.n = 1;
	s->csi.arg[0] = -1;
	s->csi.sub = 0;
}

static void argument(struct seqscan *s, uint8_t byte)
{
	struct seq_csi *c = &s->csi;
	int32_t *a = &c->arg[c->n - 1];

	if (byte == ';' || byte == ':') {
		if (c->n == SEQ_ARGS_MAX) {
			s->state = SEQ_CSI_IGNORE;
			return;
		}
		if (byte == ':')
			c->sub |= UINT32_C(1) << c->n;
		c->arg[c->n++] = -1;
		return;
	}
	*a = (*a < 0 ? 0 : *a) * 10 + (byte - '0');
	if (*a > SEQ_ARG_MAX)
		*a = SEQ_ARG_MAX;
}

static void in_escape(struct seqscan *s, uint8_t byte)
{
	if (byte < 0x30) {
		s->many = s->state == SEQ_ESC_INTERMED;
		s->intermed = byte;
		s->state = SEQ_ESC_INTERMED;
	} else if (byte == '[' && s->state == SEQ_ESC) {
		begin_csi(s);
	} else {
		const bool whole = !s->many;

		s->state = SEQ_GROUND;
		if (whole)
			s->ops->on_escape(s->arg, s->intermed, byte);
	}
}

static void in_csi(struct seqscan *s, uint8_t byte)
{
	if (byte >= 0x40) {
		const bool whole = s->state != SEQ_CSI_IGNORE;

		s->state = SEQ_GROUND;
		s->csi.final = byte;
		if (whole)
			s->ops->on_csi(s->arg, &s->csi);
	} else if (s->state == SEQ_CSI_IGNORE) {
		return;
	} else if (byte < 0x30) {
		if (s->state == SEQ_CSI_INTERMED)
			s->state = SEQ_CSI_IGNORE;
		else
			s->state = SEQ_CSI_INTERMED;
		s->csi.intermed = byte;
	} else if (s->state == SEQ_CSI_INTERMED) {
		s->state = SEQ_CSI_IGNORE;
	} else if (byte >= '<') {
		if (s->state == SEQ_CSI)
			s->csi.leader = byte;
		s->state = s->state == SEQ_CSI ? SEQ_CSI_ARGS : SEQ_CSI_IGNORE;
	} else {
		s->state = SEQ_CSI_ARGS;
		argument(s, byte);
	}
}

/* One byte of a sequence; false when it is none: it ended the sequence and is text. */
static bool sequence(struct seqscan *s, uint8_t byte)
{
	if (byte >= 0x80) {
		s->state = SEQ_GROUND;
		return false;
	}
	if (byte == 0x1b) {
		s->state = SEQ_ESC;
		s->intermed = 0;
		s->many = false;
	} else if (byte == 0x18 || byte == 0x1a) {
		s->state = SEQ_GROUND;
	} else if (byte < 0x20) {
		ascii(s, &byte, 1); /* a control inside a sequence is done at once */
	} else if (byte != 0x7f) {
		if (s->state == SEQ_ESC || s->state == SEQ_ESC_INTERMED)
			in_escape(s, byte);
		else
			in_csi(s, byte);
	}
	return true;
}

void seqscan_push(struct seqscan *s, const uint8_t *p, size_t n)
{
	size_t i = 0;

	while (i < n) {
		if (s->nheld > 0) {
			i += unhold(s, p + i, n - i);
		} else if (s->state != SEQ_GROUND) {
			i += sequence(s, p[i]);
		} else if (p[i] == 0x1b) {
			sequence(s, p[i++]);
		} else {
			i += text(s, p + i, n - i);
		}
	}
}
