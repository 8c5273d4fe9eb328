/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers with a maximum, and the consuming reader. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/rbuf.h"

static void numbers_are_little_endian(void **state)
{
	static const uint8_t want[] = { 1, 3, 2, 7, 6, 5, 4, 15, 14, 13, 12, 11, 10, 9, 8 };
	struct buf b;
	struct rbuf r;
	uint8_t v8;
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;

	(void)state;
	buf_init(&b, 100);
	buf_u8(&b, 1);
	buf_u16(&b, 0x0203);
	buf_u32(&b, 0x04050607);
	buf_u64(&b, 0x08090a0b0c0d0e0f);
	assert_int_equal(buf_size(&b), sizeof(want));
	assert_memory_equal(buf_head(&b), want, sizeof(want));
	rbuf_init(&r, want, sizeof(want));
	assert_int_equal(rbuf_u8(&r, &v8), 0);
	assert_int_equal(rbuf_u16(&r, &v16), 0);
	assert_int_equal(rbuf_u32(&r, &v32), 0);
	assert_int_equal(rbuf_u64(&r, &v64), 0);
	assert_int_equal(rbuf_done(&r), 0);
	assert_true(v8 == 1 && v16 == 0x0203 && v32 == 0x04050607 && v64 == 0x08090a0b0c0d0e0f);
	buf_release(&b);
}

static void a_full_buffer_stays_failed(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	assert_int_equal(buf_put(&b, "0123456789", 10), 0);
	assert_int_equal(buf_room(&b), 0);
	assert_int_equal(buf_put(&b, "", 0), 0);
	assert_int_equal(buf_u8(&b, 1), -ENOBUFS);
	assert_false(buf_ok(&b));
	assert_int_equal(buf_size(&b), 10); /* what was there is whole */
	buf_consume(&b, 5);
	assert_int_equal(buf_u8(&b, 1), -ENOBUFS); /* room now, yet a packer must hear of it */
	assert_int_equal(buf_put(&b, "", 0), -ENOBUFS);
	buf_clear(&b);
	assert_int_equal(buf_u8(&b, 1), 0);
	buf_release(&b);
	assert_int_equal(b.max, 10);
	assert_null(b.data);
	assert_int_equal(buf_u64(&b, 1), 0); /* and as good as new */
	buf_release(&b);
	buf_init(&b, 0);
	assert_int_equal(buf_u8(&b, 1), -ENOBUFS);
	buf_release(&b);
}

static void half_a_number_is_a_failure(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 6);
	assert_int_not_equal(buf_u64(&b, 7), 0);
	assert_false(buf_ok(&b));
	buf_release(&b);
	buf_init(&b, 6);
	assert_int_not_equal(buf_str16(&b, "12345"), 0);
	assert_false(buf_ok(&b));
	buf_release(&b);
}

/* A queue that is filled and drained for long: bytes come in order, the storage does not grow with what went through. */
static void a_queue_keeps_order_and_size(void **state)
{
	struct buf b;
	uint8_t next_in = 0, next_out = 0;
	unsigned seed = 1;

	(void)state;
	buf_init(&b, 1000);
	for (int i = 0; i < 20000; i++) {
		seed = seed * 1103515245 + 12345;
		size_t n = (seed >> 16) % 300;

		if (n > buf_room(&b))
			n = buf_room(&b);
		uint8_t *p = buf_reserve(&b, n + (n == 0));
		if (!p) { /* full to the brim */
			assert_int_equal(buf_room(&b), 0);
			b.failed = false;
		}
		for (size_t k = 0; p && k < n; k++)
			p[k] = next_in++;
		buf_grew(&b, n);
		n = (seed >> 8) % 300;
		if (n > buf_size(&b))
			n = buf_size(&b);
		for (size_t k = 0; k < n; k++)
			assert_int_equal(buf_head(&b)[k], next_out++);
		buf_consume(&b, n);
		assert_true(b.cap <= 4096);
	}
	buf_release(&b);
}

static void reserve_beyond_the_maximum(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	assert_non_null(buf_reserve(&b, 100));
	assert_null(buf_reserve(&b, 101));
	assert_false(buf_ok(&b));
	buf_clear(&b);
	assert_null(buf_reserve(&b, SIZE_MAX));
	buf_clear(&b);
	buf_put(&b, "abc", 3);
	assert_null(buf_reserve(&b, SIZE_MAX - 1));
	assert_memory_equal(buf_head(&b), "abc", 3);
	buf_release(&b);
}

static void strings_and_blobs(void **state)
{
	static uint8_t big[70000];
	struct buf b;
	struct rbuf r;
	const uint8_t *p;
	size_t n;
	char text[8];

	(void)state;
	buf_init(&b, 1 << 20);
	buf_str16(&b, "seven77");
	buf_str16(&b, NULL);
	buf_blob16(&b, "\0\1", 2);
	buf_blob32(&b, big, sizeof(big));
	assert_true(buf_ok(&b));
	rbuf_init(&r, buf_head(&b), buf_size(&b));
	assert_int_equal(rbuf_str16(&r, text, sizeof(text)), 0);
	assert_string_equal(text, "seven77");
	assert_int_equal(rbuf_str16(&r, text, sizeof(text)), 0);
	assert_string_equal(text, "");
	assert_int_equal(rbuf_blob16(&r, &p, &n), 0);
	assert_int_equal(n, 2);
	assert_memory_equal(p, "\0\1", 2);
	assert_int_equal(rbuf_blob32(&r, &p, &n), 0);
	assert_int_equal(n, sizeof(big));
	assert_int_equal(rbuf_done(&r), 0);
	/* Longer than its length field can say. */
	buf_clear(&b);
	assert_int_equal(buf_blob16(&b, big, 65536), -ENOBUFS);
	assert_int_equal(buf_size(&b), 0);
	buf_clear(&b);
	assert_int_equal(buf_blob16(&b, big, 65535), 0);
	buf_release(&b);
}

static void printed_text_and_patched_lengths(void **state)
{
	struct buf b;
	char want[3000];

	(void)state;
	memset(want, 'z', sizeof(want) - 1);
	want[sizeof(want) - 1] = '\0';
	buf_init(&b, 2999 + 4);
	buf_u32(&b, 0);
	assert_int_equal(buf_printf(&b, "%s", want), 0); /* full to the brim: no byte for a NUL */
	assert_int_equal(buf_room(&b), 0);
	assert_memory_equal(buf_head(&b) + 4, want, 2999);
	buf_patch_u32(&b, 0, 0x0a0b0c0d);
	assert_memory_equal(buf_head(&b), "\x0d\x0c\x0b\x0a", 4);
	buf_patch_u32(&b, buf_size(&b) - 3, 0xffffffff); /* does not fit: nothing happens */
	assert_int_equal(buf_head(&b)[buf_size(&b) - 1], 'z');
	buf_patch_u32(&b, SIZE_MAX, 0xffffffff);
	assert_int_equal(buf_printf(&b, "x"), -ENOBUFS);
	buf_release(&b);
	buf_wipe(&b);
	assert_null(b.data);
}

static void a_failed_reader_gives_zeros(void **state)
{
	struct rbuf r;
	uint64_t v64 = 9;
	uint8_t v8 = 9, copy[4] = { 9, 9, 9, 9 };
	const uint8_t *p = copy;
	size_t n = 9;
	char text[4] = "abc";

	(void)state;
	rbuf_init(&r, "\1\2\3", 3);
	assert_int_equal(rbuf_u64(&r, &v64), -EBADMSG);
	assert_int_equal(v64, 0);
	/* The three bytes are there, yet nothing is given any more. */
	assert_int_equal(rbuf_u8(&r, &v8), -EBADMSG);
	assert_int_equal(v8, 0);
	assert_int_equal(rbuf_copy(&r, copy, sizeof(copy)), -EBADMSG);
	assert_memory_equal(copy, "\0\0\0\0", 4);
	assert_int_equal(rbuf_blob16(&r, &p, &n), -EBADMSG);
	assert_true(p == NULL && n == 0);
	assert_int_equal(rbuf_str16(&r, text, sizeof(text)), -EBADMSG);
	assert_string_equal(text, "");
	assert_int_equal(rbuf_done(&r), -EBADMSG);
	rbuf_init(&r, NULL, 0);
	assert_int_equal(rbuf_done(&r), 0);
	assert_int_equal(rbuf_bytes(&r, 0, &p), 0);
	assert_int_equal(rbuf_u8(&r, &v8), -EBADMSG);
}

static void lengths_that_lie(void **state)
{
	struct rbuf r;
	const uint8_t *p;
	size_t n;
	char text[4];

	(void)state;
	rbuf_init(&r, "\xff\xff""abc", 5);
	assert_int_equal(rbuf_blob16(&r, &p, &n), -EBADMSG);
	rbuf_init(&r, "\xff\xff\xff\xff""abc", 7);
	assert_int_equal(rbuf_blob32(&r, &p, &n), -EBADMSG);
	rbuf_init(&r, "\4\0abcd", 6); /* no room for the NUL */
	assert_int_equal(rbuf_str16(&r, text, sizeof(text)), -EBADMSG);
	rbuf_init(&r, "\3\0a\0b", 5);
	assert_int_equal(rbuf_str16(&r, text, sizeof(text)), -EBADMSG);
	rbuf_init(&r, "\3\0abc!", 6);
	assert_int_equal(rbuf_str16(&r, text, sizeof(text)), 0);
	assert_int_equal(rbuf_done(&r), -EBADMSG); /* one byte is left over */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_little_endian),
		cmocka_unit_test(a_full_buffer_stays_failed),
		cmocka_unit_test(half_a_number_is_a_failure),
		cmocka_unit_test(a_queue_keeps_order_and_size),
		cmocka_unit_test(reserve_beyond_the_maximum),
		cmocka_unit_test(strings_and_blobs),
		cmocka_unit_test(printed_text_and_patched_lengths),
		cmocka_unit_test(a_failed_reader_gives_zeros),
		cmocka_unit_test(lengths_that_lie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
