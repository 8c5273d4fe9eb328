/* SPDX-License-Identifier: Apache-2.0 */
/* core/proto/mux.c: what a guest writes into its channel port. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#include "core/proto/mux.h"

static void put(struct buf *b, const struct mux_frame *f)
{
	switch (f->type) {
	case MUX_HELLO:
		MUST(f->a == MUX_VERSION && f->stream == 0);
		mux_put_hello(b, f->b);
		break;
	case MUX_OPEN:
		mux_put_open(b, f->stream, f->a, f->b);
		break;
	case MUX_OPENED:
		mux_put_opened(b, f->stream, f->a);
		break;
	case MUX_RESET:
		mux_put_reset(b, f->stream, (enum mux_reason)f->a);
		break;
	case MUX_DATA:
		mux_put_data(b, f->stream, f->data, f->len);
		break;
	case MUX_CREDIT:
		mux_put_credit(b, f->stream, f->a);
		break;
	case MUX_EOF:
		mux_put_eof(b, f->stream);
		break;
	default:
		abort(); /* a type that is none was let through */
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct buf b;

	buf_init(&b, MUX_HEAD + MUX_DATA_MAX);
	while (n > 0) {
		struct mux_frame f;
		size_t used = 0;
		const int rc = mux_parse(p, n, &f, &used);

		MUST(rc == 0 || rc == -EAGAIN || rc == -EBADMSG);
		if (rc < 0)
			break;
		MUST(used >= MUX_HEAD && used <= n && used == MUX_HEAD + (size_t)f.len);
		buf_clear(&b);
		put(&b, &f);
		MUST(buf_ok(&b) && buf_size(&b) == used && memcmp(buf_head(&b), p, used) == 0);
		p += used;
		n -= used;
	}
	buf_release(&b);
	return 0;
}
