/* SPDX-License-Identifier: Apache-2.0 */
/* core/term/oscscan.c: how the input is cut changes nothing of what comes out. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "core/base/buf.h"
#include "core/base/utf8.h"
#include "core/term/oscscan.h"

static void event(void *arg, uint8_t kind, const void *p, size_t n)
{
	struct buf *b = arg;

	buf_u8(b, kind);
	buf_blob32(b, p, n);
}

/* Runs of bytes are one run, however they came: kind 0 is put byte by byte. */
static void on_bytes(void *arg, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		event(arg, 0, p + i, 1);
}

static void on_title(void *arg, const char *text)
{
	MUST(utf8_clean(text) && strlen(text) <= OSC_TEXT_MAX);
	event(arg, 1, text, strlen(text));
}

static void on_notify(void *arg, const char *text)
{
	MUST(utf8_clean(text) && strlen(text) <= OSC_TEXT_MAX);
	event(arg, 2, text, strlen(text));
}

static void on_link(void *arg, const char *uri)
{
	MUST(utf8_clean(uri) && strlen(uri) <= OSC_LINK_MAX);
	event(arg, 3, uri, strlen(uri));
}

static void on_clipboard(void *arg, const char *text, size_t n)
{
	MUST(n <= OSC_CLIP_MAX);
	event(arg, 4, text, n);
}

static const struct osc_ops ops = { on_bytes, on_title, on_notify, on_link, on_clipboard };

static void run(struct buf *out, const uint8_t *p, size_t n, size_t step)
{
	struct oscscan s;

	buf_init(out, 64u << 20);
	oscscan_init(&s, &ops, out);
	for (size_t at = 0; at < n; at += step)
		oscscan_push(&s, p + at, n - at < step ? n - at : step);
	oscscan_release(&s);
	MUST(buf_ok(out));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct buf whole, cut;

	run(&whole, p, n, n ? n : 1);
	for (size_t step = 1; step < 8; step += 3) {
		run(&cut, p, n, step);
		MUST(buf_size(&cut) == buf_size(&whole));
		MUST(buf_size(&cut) == 0 || memcmp(buf_head(&cut), buf_head(&whole), buf_size(&cut)) == 0);
		buf_release(&cut);
	}
	buf_release(&whole);
	return 0;
}
