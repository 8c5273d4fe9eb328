/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting byte streams: frames (frame.h) and the channel (mux.h). Whatever arrives in whatever pieces. */
#include "tests/proto/wire.h"

#include "core/proto/frame.h"
#include "core/proto/mux.h"

static uint8_t *exact(const void *p, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	assert_non_null(copy);
	if (n > 0)
		memcpy(copy, p, n);
	return copy;
}

static int cut_frame(const uint8_t *p, size_t n, uint32_t max, struct frame *f, size_t *used)
{
	uint8_t *copy = exact(p, n);
	const int rc = frame_parse(copy, n, max, f, used);

	free(copy);
	return rc;
}

static void a_frame_comes_whole_or_not_yet(void **state)
{
	struct buf b;
	struct frame f;
	size_t used = 99;

	(void)state;
	buf_init(&b, 1 << 20);
	assert_int_equal(frame_put(&b, 40, 3, "hello", 5), 0);
	assert_int_equal(frame_put(&b, 36, 0, NULL, 0), 0);
	assert_int_equal(buf_size(&b), 5 + 2 * FRAME_HEAD);
	for (size_t n = 0; n < 5 + FRAME_HEAD; n++)
		assert_int_equal(cut_frame(buf_head(&b), n, 5, &f, &used), -EAGAIN);
	assert_int_equal(used, 99);
	assert_int_equal(frame_parse(buf_head(&b), buf_size(&b), 5, &f, &used), 0);
	assert_int_equal(used, 5 + FRAME_HEAD);
	assert_int_equal(f.type, 40);
	assert_int_equal(f.flags, 3);
	assert_int_equal(f.len, 5);
	assert_memory_equal(f.payload, "hello", 5);
	buf_consume(&b, used);
	assert_int_equal(frame_parse(buf_head(&b), buf_size(&b), 5, &f, &used), 0);
	assert_int_equal(f.type, 36);
	assert_int_equal(f.len, 0);
	assert_int_equal(used, FRAME_HEAD);
	buf_release(&b);
}

static void a_frame_too_long_is_seen_at_its_head(void **state)
{
	static const uint8_t over[] = { 40, 0, 0, 0, 6, 0, 0, 0 }, huge[] = { 40, 0, 0, 0, 0xff, 0xff, 0xff, 0xff };
	static const uint8_t zero_1[] = { 40, 0, 1, 0, 0, 0, 0, 0 }, zero_2[] = { 40, 0, 0, 128, 0, 0, 0, 0 };
	struct frame f;
	size_t used;

	(void)state;
	assert_int_equal(cut_frame(over, 8, 5, &f, &used), -EBADMSG);
	assert_int_equal(cut_frame(over, 8, 6, &f, &used), -EAGAIN);
	assert_int_equal(cut_frame(huge, 8, FRAME_PAYLOAD_MAX, &f, &used), -EBADMSG);
	assert_int_equal(cut_frame(huge, 8, UINT32_MAX, &f, &used), -EAGAIN);
	assert_int_equal(cut_frame(zero_1, 8, 5, &f, &used), -EBADMSG);
	assert_int_equal(cut_frame(zero_2, 8, 5, &f, &used), -EBADMSG);
}

static void frames_packed_in_place(void **state)
{
	struct buf b, same;
	struct frame f;
	size_t used;

	(void)state;
	buf_init(&b, 2 * FRAME_PAYLOAD_MAX);
	buf_init(&same, 100);
	size_t at = frame_begin(&b, 33, 1);
	buf_u32(&b, 77);
	frame_end(&b, at);
	frame_put(&same, 33, 1, "\x4d\0\0\0", 4);
	assert_int_equal(buf_size(&b), buf_size(&same));
	assert_memory_equal(buf_head(&b), buf_head(&same), buf_size(&b));
	/* A second one behind it, after the first was consumed: offsets count from the head. */
	at = frame_begin(&b, 34, 0);
	buf_put(&b, "xy", 2);
	frame_end(&b, at);
	buf_consume(&b, FRAME_HEAD + 4);
	assert_int_equal(frame_parse(buf_head(&b), buf_size(&b), 10, &f, &used), 0);
	assert_int_equal(f.type, 34);
	assert_int_equal(f.len, 2);
	/* More than any frame may hold fails the buffer, by either way. */
	static uint8_t big[FRAME_PAYLOAD_MAX + 1];
	at = frame_begin(&b, 35, 0);
	buf_put(&b, big, sizeof(big));
	assert_true(buf_ok(&b));
	frame_end(&b, at);
	assert_false(buf_ok(&b));
	buf_clear(&b);
	assert_int_equal(frame_put(&b, 35, 0, big, sizeof(big)), -ENOBUFS);
	buf_clear(&b);
	assert_int_equal(frame_put(&b, 35, 0, big, sizeof(big) - 1), 0);
	/* A frame that has no room leaves no half of itself behind. */
	buf_release(&same);
	buf_init(&same, FRAME_HEAD + 3);
	assert_int_equal(frame_put(&same, 35, 0, big, 4), -ENOBUFS);
	assert_int_equal(buf_size(&same), 0);
	buf_release(&same);
	buf_release(&b);
}

static int cut_mux(const uint8_t *p, size_t n, struct mux_frame *f, size_t *used)
{
	uint8_t *copy = exact(p, n);
	const int rc = mux_parse(copy, n, f, used);

	free(copy);
	return rc;
}

static void channel_round_trips(void **state)
{
	static const struct {
		uint8_t type;
		uint32_t stream, a, b;
		uint16_t len;
	} want[] = {
		{ MUX_HELLO, 0, MUX_VERSION, 0xcafef00d, 12 }, { MUX_OPEN, 1, 2, MUX_WINDOW, 8 },   { MUX_OPENED, 1, MUX_WINDOW, 0, 4 },
		{ MUX_DATA, 3, 0, 0, 5 },                      { MUX_CREDIT, 0xffffffff, 4096, 0, 4 }, { MUX_EOF, 3, 0, 0, 0 },
		{ MUX_RESET, 4, MUX_R_GONE, 0, 4 },
	};
	struct mux_frame f;
	struct buf b;
	size_t used;

	(void)state;
	buf_init(&b, 1 << 16);
	mux_put_hello(&b, 0xcafef00d);
	mux_put_open(&b, 1, 2, MUX_WINDOW);
	mux_put_opened(&b, 1, MUX_WINDOW);
	mux_put_data(&b, 3, "bytes", 5);
	mux_put_credit(&b, 0xffffffff, 4096);
	mux_put_eof(&b, 3);
	assert_int_equal(mux_put_reset(&b, 4, MUX_R_GONE), 0);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		const size_t whole = MUX_HEAD + (size_t)want[i].len;

		for (size_t n = 0; n < whole; n++)
			assert_int_equal(cut_mux(buf_head(&b), n, &f, &used), -EAGAIN);
		assert_int_equal(mux_parse(buf_head(&b), buf_size(&b), &f, &used), 0);
		assert_int_equal(used, whole);
		assert_int_equal(f.type, want[i].type);
		assert_int_equal(f.stream, want[i].stream);
		assert_int_equal(f.len, want[i].len);
		assert_int_equal(f.a, want[i].a);
		assert_int_equal(f.b, want[i].b);
		if (f.type == MUX_DATA)
			assert_memory_equal(f.data, "bytes", 5);
		else
			assert_null(f.data);
		buf_consume(&b, used);
	}
	assert_int_equal(buf_size(&b), 0);
	buf_release(&b);
}

/* Every type with every length of its header, on stream 0 and another: only the legal pairs get past the head. */
static void channel_heads(void **state)
{
	static const int legal[256] = { [MUX_HELLO] = 12, [MUX_OPEN] = 8, [MUX_OPENED] = 4, [MUX_RESET] = 4, [MUX_CREDIT] = 4 };
	struct mux_frame f;
	size_t used;

	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		for (unsigned len = 0; len < 65536; len += len < 64 || (len > 32760 && len < 32776) ? 1 : 251) {
			for (unsigned stream = 0; stream < 2; stream++) {
				const uint8_t p[MUX_HEAD] = { (uint8_t)stream, 0, 0, 0, (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)type, 0 };
				const bool known = type >= MUX_HELLO && type <= MUX_EOF;
				const bool fits = type == MUX_DATA ? len >= 1 && len <= MUX_DATA_MAX : len == (unsigned)legal[type];
				int want = known && fits && (stream == 0) == (type == MUX_HELLO) ? -EAGAIN : -EBADMSG;

				if (want == -EAGAIN && type == MUX_EOF)
					want = 0;
				assert_int_equal(cut_mux(p, sizeof(p), &f, &used), want);
			}
		}
	}
}

static void channel_hello_must_be_ours(void **state)
{
	struct mux_frame f;
	struct buf b;
	size_t used;

	(void)state;
	buf_init(&b, 100);
	mux_put_hello(&b, 5);
	/* Any flipped bit but those of the generation makes it no hello, or one that is not whole. */
	for (size_t bit = 0; bit < 8 * (MUX_HEAD + 12); bit++) {
		uint8_t p[MUX_HEAD + 12];

		memcpy(p, buf_head(&b), sizeof(p));
		p[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(cut_mux(p, sizeof(p), &f, &used), bit / 8 >= MUX_HEAD + 8 ? 0 : -EBADMSG);
	}
	buf_release(&b);
}

static void channel_data_limits(void **state)
{
	static uint8_t big[MUX_DATA_MAX + 1];
	struct mux_frame f;
	struct buf b;
	size_t used;

	(void)state;
	buf_init(&b, 1 << 17);
	assert_int_equal(mux_put_data(&b, 1, big, MUX_DATA_MAX), 0);
	assert_int_equal(mux_parse(buf_head(&b), buf_size(&b), &f, &used), 0);
	assert_int_equal(f.len, MUX_DATA_MAX);
	assert_int_equal(mux_put_data(&b, 1, big, MUX_DATA_MAX + 1), -EINVAL);
	assert_false(buf_ok(&b));
	buf_clear(&b);
	assert_int_equal(mux_put_data(&b, 1, big, 0), -EINVAL);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_comes_whole_or_not_yet),
		cmocka_unit_test(a_frame_too_long_is_seen_at_its_head),
		cmocka_unit_test(frames_packed_in_place),
		cmocka_unit_test(channel_round_trips),
		cmocka_unit_test(channel_heads),
		cmocka_unit_test(channel_hello_must_be_ours),
		cmocka_unit_test(channel_data_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
