/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon: pages given up and taken back, free pages reported and hinted, statistics; and lists of pages that lie. */
#include "tests/guests/guest.h"

enum { Q_INFLATE, Q_DEFLATE, Q_STATS, Q_HINT, Q_REPORT, Q_NUM };
#define FEATURES (1u << 28 | 1u << 1 | 1u << 2 | 1u << 3 | 1u << 5) /* indirect, statistics, deflate on oom, hints, reporting */
#define PAGE 4096u
#define AREA (8u << 20) /* memory of the guest that nothing else uses */

static struct queue q[Q_NUM];
static uint32_t list[5000], dev, id, len;

static void fresh(uint32_t features)
{
	dev_begin(dev, features);
	for (uint32_t i = 0; i < Q_NUM; i++)
		queue_begin(&q[i], dev, i);
	dev_go(dev);
}

static void send(unsigned n, const void *p, uint32_t bytes, uint16_t flags)
{
	set_desc(&q[n], 0, p, bytes, flags, 0);
	queue_give(&q[n], 0);
}

static bool give(unsigned n, const void *p, uint32_t bytes, uint16_t flags)
{
	send(n, p, bytes, flags);
	return queue_wait(&q[n], &id, &len);
}

static void fill_words(uint32_t at, uint8_t v, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += 4)
		wr(at + i, v * 0x01010101u);
}

static bool all(uint32_t at, uint8_t v, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += 4)
		if (rd(at + i) != v * 0x01010101u)
			return false;
	return true;
}

static void test_inflate(void)
{
	fill_words(AREA, 0x77, 6 * PAGE);
	list[0] = AREA / PAGE + 3; /* in no order, as Linux lists them */
	list[1] = AREA / PAGE + 1;
	list[2] = AREA / PAGE + 2;
	check(give(Q_INFLATE, list, 12, 0), "three pages are given up");
	check(all(AREA + PAGE, 0, 3 * PAGE), "they read as zeroes");
	check(all(AREA, 0x77, PAGE) && all(AREA + 4 * PAGE, 0x77, 2 * PAGE), "their neighbours stay");
	check(give(Q_DEFLATE, list, 12, 0), "they are taken back");
	fill_words(AREA + PAGE, 0x55, PAGE);
	check(all(AREA + PAGE, 0x55, PAGE), "and can be used");
	wr(dev + 0x104, 3);
	check(rd(dev + 0x104) == 3, "the guest says how much it gave up");
	wr(dev + 0x100, 99);
	check(rd(dev + 0x100) != 99, "but not how much it is to give up");
}

static void test_free_pages(void)
{
	fill_words(AREA, 0x77, 4 * PAGE);
	check(give(Q_REPORT, (void *)AREA, 2 * PAGE, F_WRITE) && all(AREA, 0, 2 * PAGE), "reported pages are given back");
	check(all(AREA + 2 * PAGE, 0x77, 2 * PAGE), "what was not reported stays");
	check(give(Q_REPORT, (void *)(AREA + 2 * PAGE + 100), PAGE, F_WRITE) && all(AREA + 2 * PAGE, 0x77, 2 * PAGE), "parts of pages are not given back");
	list[0] = 5;
	check(give(Q_HINT, list, 4, 0), "a round of hints that nobody asked for");
	check(give(Q_HINT, (void *)(AREA + 2 * PAGE), PAGE, F_WRITE) && all(AREA + 2 * PAGE, 0x77, PAGE), "a hinted page may still be used: it stays");
	list[0] = 0;
	check(give(Q_HINT, list, 4, 0), "the end of a round");
}

/* The host wants memory: a target, and a round of hints. */
static void test_round(void)
{
	uint32_t round = 0;

	say("squeeze\n");
	for (unsigned i = 0; i < 4000000 && (round = rd(dev + 0x108)) < 2; i++)
		;
	check(round >= 2 && rd(dev + 0x100) == 2048, "an eighth of the memory is asked for, and hints");
	check(irq_wait(dev_gsi(dev)), "the driver is told");
	fill_words(AREA, 0x77, PAGE);
	list[0] = round;
	check(give(Q_HINT, list, 4, 0) && give(Q_HINT, (void *)AREA, PAGE, F_WRITE) && all(AREA, 0x77, PAGE), "a hinted page keeps its bytes");
	list[0] = 0;
	check(give(Q_HINT, list, 4, 0) && rd(dev + 0x108) == 1, "the end of the round is answered");
}

static void test_statistics(void)
{
	static struct { uint16_t tag; uint64_t value; } __attribute__((packed)) s[] = { { 4, 1 << 20 }, { 5, 1 << 26 }, { 999, 1 } };

	set_desc(&q[Q_STATS], 0, s, sizeof(s), 0, 0);
	queue_give(&q[Q_STATS], 0);
	check(!queue_wait(&q[Q_STATS], &id, &len), "statistics are kept until they are asked for again");
	set_desc(&q[Q_STATS], 1, s, 7, 0, 0);
	queue_give(&q[Q_STATS], 1);
	check(queue_wait(&q[Q_STATS], &id, &len) && id == 0, "or until there are newer ones, be they cut off");
}

static void test_lies(void)
{
	list[0] = 0xffffffff;
	list[1] = (64u << 20) / PAGE;
	list[2] = 0xd0000000 / PAGE;
	check(give(Q_INFLATE, list, 12, 0), "pages that are no memory are nothing");
	check(give(Q_INFLATE, list, 7, 0) && give(Q_INFLATE, list, 0, 0), "a list that is cut off, and none");
	check(give(Q_DEFLATE, list, 12, F_WRITE), "a list to be written");
	for (unsigned i = 0; i < 5000; i++)
		list[i] = 0xfffff;
	send(Q_INFLATE, list, sizeof(list), 0);
	check(dev_broken(dev), "a list without end breaks the device");
	fresh(FEATURES);
	send(Q_REPORT, (void *)(64u << 20), PAGE, F_WRITE);
	check(dev_broken(dev), "a report of what is no memory breaks it");
	fresh(FEATURES);
	list[0] = AREA / PAGE;
	check(give(Q_INFLATE, list, 4, 0) && dev_status(dev) == 15, "a reset helps");
}

void test(const uint32_t *info)
{
	(void)info;
	dev = find_device(5, 0);
	check(dev != 0, "the balloon is there");
	fresh(FEATURES);
	check(dev_status(dev) == 15, "all of its features are offered");
	irq_watch(dev_gsi(dev));
	test_round();
	test_inflate();
	test_free_pages();
	test_statistics();
	test_lies();
	/* Without hints the queue of reports moves up (virtio 1.2, 5.5.2 as Linux and others have it). */
	fresh(FEATURES & ~(1u << 3));
	fill_words(AREA, 0x77, 2 * PAGE);
	check(give(Q_HINT, (void *)AREA, PAGE, F_WRITE) && all(AREA, 0, PAGE) && all(AREA + PAGE, 0x77, PAGE), "a driver without hints reports on the queue before");
}
