/* SPDX-License-Identifier: Apache-2.0 */
/* The queue alone (vmm/devices/virtq.c): indices that wrap, who is interrupted when, chains of every shape and what is none. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "vmm/devices/virtq.h"

#define MEMORY 0x10000u
#define DESC 0x1000u
#define AVAIL 0x3000u
#define USED 0x4000u
#define TABLE 0x6000u
#define DATA 0x8000u
enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

static struct virtq_chain chain;

struct fixture {
	uint8_t *mem; /* of exactly its size, so that a sanitizer sees a step beyond */
	struct ram ram;
	struct virtq q;
	uint16_t avail;
};

static void begin(struct fixture *f, uint16_t size, bool event_idx)
{
	memset(f->mem, 0, MEMORY);
	virtq_init(&f->q, &f->ram, VIRTQ_SIZE_MAX);
	f->q.size = size;
	f->q.desc = DESC;
	f->q.avail = AVAIL;
	f->q.used = USED;
	f->avail = 0;
	assert_int_equal(virtq_enable(&f->q, event_idx, true), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->mem = malloc(MEMORY);
	ram_over(&f->ram, f->mem, MEMORY);
	begin(f, 16, false);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	free(f->mem);
	free(f);
	return 0;
}

static void put16(struct fixture *f, uint32_t at, uint16_t v)
{
	memcpy(f->mem + at, &v, 2);
}

static uint16_t get16(const struct fixture *f, uint32_t at)
{
	uint16_t v;

	memcpy(&v, f->mem + at, 2);
	return v;
}

static void desc_at(struct fixture *f, uint32_t table, unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	uint8_t *d = f->mem + table + 16 * (size_t)i;

	memcpy(d, &addr, 8);
	memcpy(d + 8, &len, 4);
	memcpy(d + 12, &flags, 2);
	memcpy(d + 14, &next, 2);
}

static void give(struct fixture *f, uint16_t head)
{
	put16(f, AVAIL + 4 + 2 * (f->avail & (f->q.size - 1u)), head);
	put16(f, AVAIL + 2, ++f->avail);
}

static int pop(struct fixture *f)
{
	return virtq_pop(&f->q, &chain);
}

/* The chain at head 0 is none, and says why; then all is as before. */
static void refused(struct fixture *f, const char *why)
{
	const uint16_t before = f->q.last_avail;

	give(f, 0);
	assert_int_equal(pop(f), -EBADMSG);
	if (!strstr(f->q.why, why))
		fail_msg("'%s' is not '%s'", f->q.why, why);
	assert_int_equal(f->q.last_avail, before);
	begin(f, f->q.size, f->q.event_idx);
}

/* ---- indices -------------------------------------------------------------------------------------------------------------------- */

static void indices_wrap(void **state)
{
	struct fixture *f = *state;
	uint32_t elem[2];

	for (int event_idx = 0; event_idx < 2; event_idx++) {
		begin(f, 16, event_idx);
		for (unsigned i = 0; i < 70000; i++) {
			const uint16_t head = (uint16_t)(i * 7 % 16);

			desc_at(f, DESC, head, DATA, 4, WRITE, 0);
			give(f, head);
			assert_int_equal(pop(f), 1);
			assert_int_equal(chain.head, head);
			assert_int_equal(pop(f), 0);
			virtq_push(&f->q, head, i);
			assert_int_equal(get16(f, USED + 2), (uint16_t)(i + 1));
			memcpy(elem, f->mem + USED + 4 + 8 * (i % 16), 8);
			assert_true(elem[0] == head && elem[1] == i);
			assert_false(virtq_rearm(&f->q));
			if (event_idx)
				assert_int_equal(get16(f, USED + 4 + 8 * 16), (uint16_t)(i + 1));
		}
		assert_int_equal(f->q.popped, 70000);
	}
}

static void more_than_the_queue_holds_is_refused(void **state)
{
	struct fixture *f = *state;

	desc_at(f, DESC, 0, DATA, 4, 0, 0);
	f->avail = 16;
	refused(f, "beyond the queue");
	f->avail = 0xffff - 1;
	refused(f, "beyond the queue");
	/* A whole queue is well, also over the wrap. */
	f->q.last_avail = 65530;
	f->avail = 65530;
	desc_at(f, DESC, 0, DATA, 4, 0, 0);
	for (unsigned i = 0; i < 16; i++)
		give(f, 0);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(pop(f), 1);
	assert_int_equal(pop(f), 0);
}

static void a_request_is_put_back(void **state)
{
	struct fixture *f = *state;

	f->q.last_avail = f->avail = 65535;
	desc_at(f, DESC, 3, DATA, 4, 0, 0);
	give(f, 3);
	assert_int_equal(pop(f), 1);
	virtq_unpop(&f->q);
	assert_int_equal(f->q.last_avail, 65535);
	assert_true(virtq_rearm(&f->q));
	assert_int_equal(pop(f), 1);
	assert_int_equal(chain.head, 3);
	assert_int_equal(f->q.popped, 1);
	assert_false(virtq_rearm(&f->q));
}

/* ---- interrupts ----------------------------------------------------------------------------------------------------------------- */

static void the_flag_suppresses(void **state)
{
	struct fixture *f = *state;

	assert_false(virtq_should_interrupt(&f->q)); /* nothing was pushed */
	virtq_push(&f->q, 0, 0);
	assert_true(virtq_should_interrupt(&f->q));
	assert_false(virtq_should_interrupt(&f->q));
	put16(f, AVAIL, 1);
	virtq_push(&f->q, 0, 0);
	assert_false(virtq_should_interrupt(&f->q));
	put16(f, AVAIL, 0);
	virtq_push(&f->q, 0, 0);
	assert_true(virtq_should_interrupt(&f->q));
}

/* used_event: the driver hears when the index it names has been filled (2.7.10), whatever was pushed in one go, and over the wrap. */
static void the_event_index_suppresses(void **state)
{
	struct fixture *f = *state;
	static const struct { uint16_t from, event, pushed; bool hears; } cases[] = {
		{ 0, 0, 1, true }, { 0, 1, 1, false }, { 0, 1, 2, true }, { 0, 5, 4, false }, { 0, 5, 6, true }, { 5, 4, 1, false }, { 5, 5, 1, true },
		{ 65535, 65535, 1, true }, { 65535, 0, 1, false }, { 65535, 0, 2, true }, { 65530, 3, 9, false }, { 65530, 3, 10, true }, { 10, 65535, 3, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin(f, 16, true);
		f->q.used_idx = f->q.signalled = cases[i].from;
		put16(f, AVAIL, 1); /* the flag means nothing then */
		put16(f, AVAIL + 4 + 2 * 16, cases[i].event);
		for (unsigned k = 0; k < cases[i].pushed; k++)
			virtq_push(&f->q, 0, 0);
		if (virtq_should_interrupt(&f->q) != cases[i].hears)
			fail_msg("case %zu", i);
		assert_false(virtq_should_interrupt(&f->q));
	}
}

static void a_queue_that_is_not_ready_does_nothing(void **state)
{
	struct fixture *f = *state;

	desc_at(f, DESC, 0, DATA, 4, 0, 0);
	give(f, 0);
	f->q.ready = false;
	assert_int_equal(pop(f), 0);
	virtq_push(&f->q, 0, 0);
	assert_int_equal(get16(f, USED + 2), 0);
	assert_false(virtq_should_interrupt(&f->q));
	assert_false(virtq_rearm(&f->q));
	virtq_reset(&f->q);
	assert_int_equal(f->q.last_avail, 0);
}

/* ---- chains --------------------------------------------------------------------------------------------------------------------- */

static void parts_are_in_order_and_counted(void **state)
{
	struct fixture *f = *state;

	desc_at(f, DESC, 0, DATA, 16, NEXT, 5);
	desc_at(f, DESC, 5, DATA + 16, 0, NEXT, 2); /* of no length: nothing */
	desc_at(f, DESC, 2, DATA + 64, 100, NEXT | WRITE, 9);
	desc_at(f, DESC, 9, MEMORY - 1, 1, WRITE, 0);
	give(f, 0);
	assert_int_equal(pop(f), 1);
	assert_true(chain.nout == 1 && chain.nin == 2 && chain.out_len == 16 && chain.in_len == 101);
	assert_ptr_equal(chain.seg[2].iov_base, f->mem + MEMORY - 1);
	desc_at(f, DESC, 0, DATA, 0, 0, 0);
	give(f, 0);
	assert_int_equal(pop(f), 1);
	assert_int_equal(chain.nout + chain.nin, 0);
}

static void slices(void **state)
{
	struct fixture *f = *state;
	struct iovec v[VIRTQ_SEGS_MAX];
	uint8_t bytes[8];

	desc_at(f, DESC, 0, DATA, 10, NEXT, 1);
	desc_at(f, DESC, 1, DATA + 100, 20, NEXT, 2);
	desc_at(f, DESC, 2, DATA + 200, 5, WRITE, 0);
	give(f, 0);
	assert_int_equal(pop(f), 1);
	assert_int_equal(chain_slice(&chain, false, 0, 30, v), 2);
	assert_true(v[0].iov_len == 10 && v[1].iov_len == 20);
	assert_int_equal(chain_slice(&chain, false, 9, 2, v), 2);
	assert_true(v[0].iov_base == f->mem + DATA + 9 && v[0].iov_len == 1 && v[1].iov_base == f->mem + DATA + 100 && v[1].iov_len == 1);
	assert_int_equal(chain_slice(&chain, false, 10, 20, v), 1);
	assert_ptr_equal(v[0].iov_base, f->mem + DATA + 100);
	assert_int_equal(chain_slice(&chain, false, 29, 1, v), 1);
	assert_int_equal(chain_slice(&chain, false, 0, 31, v), 0);
	assert_int_equal(chain_slice(&chain, false, 30, 1, v), 0);
	assert_int_equal(chain_slice(&chain, false, 5, 0, v), 0);
	assert_int_equal(chain_slice(&chain, false, UINT64_MAX, 1, v), 0);
	assert_int_equal(chain_slice(&chain, false, 1, UINT64_MAX, v), 0);
	assert_int_equal(chain_slice(&chain, true, 4, 1, v), 1);
	assert_int_equal(chain_slice(&chain, true, 4, 2, v), 0);
	assert_int_equal(chain_read(&chain, 28, bytes, 8), 2);
	assert_int_equal(chain_read(&chain, 30, bytes, 8), 0);
	assert_int_equal(chain_write(&chain, 3, "abcd", 4), 2);
	assert_memory_equal(f->mem + DATA + 203, "ab", 2);
	assert_int_equal(f->mem[DATA + 205], 0);
}

static void as_many_parts_as_there_may_be(void **state)
{
	struct fixture *f = *state;

	begin(f, 256, false);
	for (unsigned i = 0; i < 256; i++)
		desc_at(f, DESC, i, DATA + i, 1, i < 255 ? NEXT : 0, (uint16_t)(i + 1));
	give(f, 0);
	assert_int_equal(pop(f), 1);
	assert_int_equal(chain.nout, 256);
	/* 255 of the queue's own and an indirect table: of one is well, of two is one too many. */
	for (unsigned n = 1; n <= 2; n++) {
		desc_at(f, DESC, 255, TABLE, 16 * n, INDIRECT, 0);
		for (unsigned i = 0; i < n; i++)
			desc_at(f, TABLE, i, DATA, 1, i + 1 < n ? NEXT : 0, (uint16_t)(i + 1));
		if (n == 2)
			break;
		give(f, 0);
		assert_int_equal(pop(f), 1);
		assert_int_equal(chain.nout, 256);
	}
	refused(f, "too many parts");
	for (unsigned i = 0; i < 256; i++)
		desc_at(f, TABLE, i, DATA, 1, i < 255 ? NEXT | WRITE : WRITE, (uint16_t)(i + 1));
	desc_at(f, DESC, 0, TABLE, 256 * 16, INDIRECT, 0);
	give(f, 0);
	assert_int_equal(pop(f), 1);
	assert_int_equal(chain.nin, 256);
	desc_at(f, DESC, 0, TABLE, 257 * 16, INDIRECT, 0);
	refused(f, "indirect table is none");
}

static void indirect_tables_that_are_none(void **state)
{
	struct fixture *f = *state;
	static const struct { uint64_t addr; uint32_t len; uint16_t flags; const char *why; } bad[] = {
		{ TABLE, 0, INDIRECT, "is none" }, { TABLE, 8, INDIRECT, "is none" }, { TABLE, 17, INDIRECT, "is none" }, { TABLE, 16, INDIRECT | NEXT, "is none" },
		{ TABLE, 0xfffffff0, INDIRECT, "is none" }, { MEMORY, 16, INDIRECT, "outside" }, { MEMORY - 8, 16, INDIRECT, "outside" },
		{ UINT64_MAX - 7, 16, INDIRECT, "outside" }, { UINT64_C(1) << 63, 256 * 16, INDIRECT, "outside" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		desc_at(f, DESC, 0, bad[i].addr, bad[i].len, bad[i].flags, 1);
		refused(f, bad[i].why);
	}
	/* Within another one; and where they were not negotiated. */
	desc_at(f, DESC, 0, TABLE, 16, INDIRECT, 0);
	desc_at(f, TABLE, 0, TABLE, 16, INDIRECT, 0);
	refused(f, "is none");
	f->q.indirect = false;
	desc_at(f, DESC, 0, TABLE, 16, INDIRECT, 0);
	refused(f, "is none");
	/* After parts of the queue's own it is well (2.7.5.3.2), and its end is the chain's. */
	desc_at(f, DESC, 0, DATA, 4, NEXT, 1);
	desc_at(f, DESC, 1, TABLE, 32, INDIRECT, 0);
	desc_at(f, TABLE, 0, DATA + 8, 4, NEXT, 1);
	desc_at(f, TABLE, 1, DATA + 16, 4, WRITE, 0);
	give(f, 0);
	assert_int_equal(pop(f), 1);
	assert_true(chain.nout == 2 && chain.nin == 1);
}

static void chains_that_are_none(void **state)
{
	struct fixture *f = *state;
	static const struct { uint64_t addr; uint32_t len; } outside[] = {
		{ MEMORY, 1 }, { MEMORY - 1, 2 }, { UINT64_MAX, 1 }, { UINT64_MAX - 3, 8 }, { 0, 0xffffffff }, { DATA, MEMORY }, { UINT64_C(1) << 32, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(outside); i++) {
		desc_at(f, DESC, 0, outside[i].addr, outside[i].len, WRITE, 0);
		refused(f, "outside of memory");
	}
	desc_at(f, DESC, 0, DATA, 1, NEXT, 0);
	refused(f, "loop");
	for (unsigned i = 0; i < 16; i++)
		desc_at(f, DESC, i, DATA, 0, NEXT, (uint16_t)((i + 1) % 16)); /* of no length, but endless */
	refused(f, "loop");
	desc_at(f, DESC, 0, TABLE, 32, INDIRECT, 0);
	desc_at(f, TABLE, 0, DATA, 1, NEXT, 1);
	desc_at(f, TABLE, 1, DATA, 1, NEXT, 0);
	refused(f, "loop");
	desc_at(f, DESC, 0, DATA, 1, NEXT, 16);
	refused(f, "beyond its table");
	desc_at(f, DESC, 0, TABLE, 16, INDIRECT, 0);
	desc_at(f, TABLE, 0, DATA, 1, NEXT, 1);
	refused(f, "beyond its table");
	desc_at(f, DESC, 0, DATA, 1, NEXT | WRITE, 1);
	desc_at(f, DESC, 1, DATA, 1, 0, 0);
	refused(f, "follows a writable one");
	give(f, 16);
	assert_int_equal(pop(f), -EBADMSG);
	begin(f, 16, false);
	give(f, 65535);
	assert_int_equal(pop(f), -EBADMSG);
}

static void queues_that_are_none(void **state)
{
	struct fixture *f = *state;
	static const struct { uint16_t size; uint64_t desc, avail, used; } bad[] = {
		{ 0, DESC, AVAIL, USED }, { 3, DESC, AVAIL, USED }, { 512, DESC, AVAIL, USED }, { 16, DESC + 8, AVAIL, USED }, { 16, DESC, AVAIL + 1, USED },
		{ 16, DESC, AVAIL, USED + 2 }, { 16, MEMORY - 0xf0, AVAIL, USED }, { 16, DESC, MEMORY - 36, USED }, { 16, DESC, AVAIL, MEMORY - 132 },
		{ 16, UINT64_MAX - 15, AVAIL, USED }, { 16, DESC, UINT64_MAX - 1, USED }, { 16, DESC, AVAIL, UINT64_MAX - 3 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		virtq_init(&f->q, &f->ram, 256);
		f->q.size = bad[i].size;
		f->q.desc = bad[i].desc;
		f->q.avail = bad[i].avail;
		f->q.used = bad[i].used;
		if (virtq_enable(&f->q, false, false) != -EBADMSG || f->q.ready)
			fail_msg("case %zu is taken", i);
	}
	/* The very last bytes of memory are well. */
	virtq_init(&f->q, &f->ram, 256);
	f->q.size = 16;
	f->q.desc = MEMORY - 0x100;
	f->q.avail = MEMORY - 38;
	f->q.used = MEMORY - 136;
	assert_int_equal(virtq_enable(&f->q, true, false), 0);
	virtq_push(&f->q, 1, 1);
	virtq_should_interrupt(&f->q);
	virtq_rearm(&f->q);
}

/* All three in one place: what the device writes changes what it reads. It ends, within memory. */
static void rings_over_each_other(void **state)
{
	struct fixture *f = *state;

	for (uint32_t avail = 0; avail < 0x100; avail += 2)
		for (uint32_t used = 0; used < 0x100; used += 4) {
			memset(f->mem, 0x11, MEMORY);
			virtq_init(&f->q, &f->ram, 256);
			f->q.size = 8;
			f->q.desc = DESC;
			f->q.avail = DESC + avail;
			f->q.used = DESC + used;
			assert_int_equal(virtq_enable(&f->q, true, true), 0);
			put16(f, (uint32_t)f->q.avail + 2, 8);
			for (unsigned i = 0; i < 64; i++) {
				if (pop(f) == 1)
					virtq_push(&f->q, chain.head, 1);
				virtq_should_interrupt(&f->q);
				virtq_rearm(&f->q);
			}
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(indices_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(more_than_the_queue_holds_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_request_is_put_back, setup, teardown),
		cmocka_unit_test_setup_teardown(the_flag_suppresses, setup, teardown),
		cmocka_unit_test_setup_teardown(the_event_index_suppresses, setup, teardown),
		cmocka_unit_test_setup_teardown(a_queue_that_is_not_ready_does_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(parts_are_in_order_and_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(slices, setup, teardown),
		cmocka_unit_test_setup_teardown(as_many_parts_as_there_may_be, setup, teardown),
		cmocka_unit_test_setup_teardown(indirect_tables_that_are_none, setup, teardown),
		cmocka_unit_test_setup_teardown(chains_that_are_none, setup, teardown),
		cmocka_unit_test_setup_teardown(queues_that_are_none, setup, teardown),
		cmocka_unit_test_setup_teardown(rings_over_each_other, setup, teardown),
	};

	return cmocka_run_group_tests_name("vmm/virtq", tests, NULL, NULL);
}
