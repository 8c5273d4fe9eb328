/* SPDX-License-Identifier: Apache-2.0 */
/* core/term/seq.c: how the input is cut changes nothing, and what is told is only what libvterm survives. */
#include "tests/fuzz/fuzz.h"

#include <stdbool.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/utf8.h"
#include "core/term/seq.h"
#include "core/term/sgr.h"

struct run {
	struct buf out;   /* text, and sequences as 0xff and what they are */
	unsigned marks;
	struct pen pen;
};

static void on_text(void *arg, const uint8_t *p, size_t n)
{
	struct run *r = arg;

	MUST(n > 0 && n <= SEQ_TEXT_MAX);
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		bool need;
		const size_t used = utf8_decode(p + i, n - i, &cp, &need);

		MUST(!need && cp != 0x1b && (cp < 0x7f || cp >= 0xa0));
		MUST(cp != 0xfffd || used == 3);
		if (seq_is_mark(cp))
			MUST(++r->marks <= SEQ_MARKS_MAX);
		else if (cp >= 0x20)
			r->marks = 0;
		i += used;
	}
	buf_put(&r->out, p, n);
}

static void on_escape(void *arg, uint8_t intermed, uint8_t final)
{
	struct run *r = arg;

	MUST((intermed == 0 || (intermed >= 0x20 && intermed <= 0x2f)) && final >= 0x30 && final < 0x7f);
	buf_u8(&r->out, 0xff);
	buf_u8(&r->out, intermed);
	buf_u8(&r->out, final);
}

static void on_csi(void *arg, const struct seq_csi *c)
{
	struct run *r = arg;

	MUST(c->n >= 1 && c->n <= SEQ_ARGS_MAX && c->final >= 0x40 && c->final < 0x7f && !(c->sub & 1));
	MUST((c->leader == 0 || (c->leader >= '<' && c->leader <= '?')) && (c->intermed == 0 || (c->intermed >= 0x20 && c->intermed <= 0x2f)));
	for (unsigned i = 0; i < c->n; i++) {
		MUST(c->arg[i] >= -1 && c->arg[i] <= SEQ_ARG_MAX);
		buf_u32(&r->out, (uint32_t)c->arg[i]);
	}
	buf_u8(&r->out, c->final);
	sgr_apply(&r->pen, c);
	MUST(r->pen.attrs < 1024 && r->pen.fg >> 24 <= 2 && r->pen.bg >> 24 <= 2);
}

static const struct seq_ops ops = { .on_text = on_text, .on_escape = on_escape, .on_csi = on_csi };

static void run(struct run *r, const uint8_t *p, size_t n, size_t step)
{
	struct seqscan s;

	*r = (struct run){ .marks = 0 };
	buf_init(&r->out, 64u << 20);
	seqscan_init(&s, &ops, r);
	for (size_t at = 0; at < n; at += step)
		seqscan_push(&s, p + at, n - at < step ? n - at : step);
	MUST(buf_ok(&r->out));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct run whole, cut;

	run(&whole, p, n, n ? n : 1);
	for (size_t step = 1; step < 8; step += 3) {
		run(&cut, p, n, step);
		MUST(buf_size(&cut.out) == buf_size(&whole.out));
		MUST(buf_size(&cut.out) == 0 || memcmp(buf_head(&cut.out), buf_head(&whole.out), buf_size(&cut.out)) == 0);
		buf_release(&cut.out);
	}
	buf_release(&whole.out);
	return 0;
}
