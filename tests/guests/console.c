/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console: short, scattered and long output, what is typed, emergency output, an interrupt, and a driver that breaks it. */
#include "tests/guests/guest.h"

#define LONG 20000u /* more than the device holds at once */

static struct queue rx, tx;
static struct desc table[3] __attribute__((aligned(16)));
static uint8_t text[LONG], typed[64];
static uint32_t dev, id, len;

static void fresh(void)
{
	dev_begin(dev, 1u << 28 | 1u << 2);
	queue_begin(&rx, dev, 0);
	queue_begin(&tx, dev, 1);
	dev_go(dev);
}

static bool print(const void *p, uint32_t n)
{
	set_desc(&tx, 0, p, n, 0, 0);
	queue_give(&tx, 0);
	return queue_wait(&tx, &id, &len) && id == 0 && len == 0;
}

static void test_output(void)
{
	check(print("# by virtio\n", 12), "output");
	check(irq_wait(dev_gsi(dev)), "the driver is interrupted");
	table[0] = (struct desc){ (uint32_t)"# by ", 5, F_NEXT, 1 };
	table[1] = (struct desc){ (uint32_t)"three ", 6, F_NEXT, 2 };
	table[2] = (struct desc){ (uint32_t)"parts\n", 6, 0, 0 };
	set_desc(&tx, 0, table, sizeof(table), F_INDIRECT, 0);
	queue_give(&tx, 0);
	check(queue_wait(&tx, &id, &len), "output in three parts of an indirect table");
	fill(text, 'x', sizeof(text));
	text[0] = '#';
	text[LONG - 1] = '\n';
	check(print(text, LONG), "more at once than the device holds");
	check(print(text, 0), "nothing at all");
	for (const char *p = "# emergency\n"; *p; p++)
		*(volatile uint8_t *)(dev + 0x108) = (uint8_t)*p;
	check(dev_status(dev) == 15, "emergency output");
}

static void test_input(void)
{
	unsigned n = 0;

	for (uint16_t i = 0; i < 8; i++) {
		set_desc(&rx, i, typed + i, 1, F_WRITE, 0); /* a byte a buffer */
		queue_give(&rx, i);
	}
	print("type\n", 5);
	while (n < 6 && queue_wait_long(&rx, &id, &len))
		n += len == 1 && id == n;
	check(n == 6 && same(typed, "hello\n", 6), "what is typed arrives, a byte a buffer");
	check(*(volatile uint16_t *)&rx.used.idx == 6, "and nothing else");
}

void test(const uint32_t *info)
{
	(void)info;
	dev = find_device(3, 0);
	check(dev != 0, "the console is there");
	irq_watch(dev_gsi(dev));
	fresh();
	test_output();
	test_input();
	set_desc(&tx, 0, text, 16, F_WRITE, 0);
	queue_give(&tx, 0);
	check(queue_wait(&tx, &id, &len) && len == 0, "a buffer to be written prints nothing");
	set_desc(&rx, 9, text, 16, 0, 0);
	queue_give(&rx, 9);
	check(dev_status(dev) == 15, "a buffer to be read takes no input");
	set_desc(&tx, 0, text, 16, F_NEXT, 0);
	queue_give(&tx, 0);
	check(dev_broken(dev), "a loop breaks the device");
	fresh();
	check(print("# again\n", 8), "a reset helps");
	for (uint32_t off = 0x100; off < 0x120; off++) {
		*(volatile uint8_t *)(dev + off) = '\n';
		*(volatile uint16_t *)(dev + off) = 0x0a0a;
		wr(dev + off, 0x0a0a0a0a);
	}
	check(rd(dev + 0x104) == 1 && print("# after that\n", 13), "writes of every width to the configuration");
}
