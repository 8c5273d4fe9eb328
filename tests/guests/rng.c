/* SPDX-License-Identifier: Apache-2.0 */
/* Entropy through a real queue, by direct and indirect descriptors; then every kind of abuse of a queue, after each of which a reset must help. */
#include "tests/guests/guest.h"

static struct queue q;
static struct desc table[4] __attribute__((aligned(16)));
static uint8_t bytes[8192];
static uint32_t dev;

#define INDIRECT (1u << 28)

static void fresh(uint32_t features)
{
	dev_begin(dev, features);
	queue_begin(&q, dev, 0);
	dev_go(dev);
}

static bool any(const uint8_t *p, size_t n)
{
	uint8_t all = 0;

	while (n-- > 0)
		all |= *p++;
	return all != 0;
}

static bool works(void)
{
	uint32_t id, len;

	fresh(INDIRECT);
	fill(bytes, 0, sizeof(bytes));
	set_desc(&q, 0, bytes, 64, F_WRITE, 0);
	queue_give(&q, 0);
	return queue_wait(&q, &id, &len) && id == 0 && len == 64 && any(bytes, 64) && !any(bytes + 64, 64);
}

/* The device must call itself broken, and work again after a reset. */
static void breaks(const char *what)
{
	check(dev_broken(dev), what);
	if (!works())
		check(false, "a reset helps");
}

static void abuse_chains(void)
{
	fresh(INDIRECT);
	set_desc(&q, 0, bytes, 16, F_WRITE | F_NEXT, 1);
	set_desc(&q, 1, bytes, 16, F_WRITE | F_NEXT, 0);
	queue_give(&q, 0);
	breaks("a loop of descriptors");
	fresh(INDIRECT);
	queue_give(&q, 999);
	breaks("a head beyond the table");
	fresh(INDIRECT);
	set_desc(&q, 0, bytes, 16, F_WRITE | F_NEXT, 60000);
	queue_give(&q, 0);
	breaks("a next beyond the table");
	fresh(INDIRECT);
	q.desc[0] = (struct desc){ 0xfffffffffffff000ull, 0x2000, F_WRITE, 0 };
	queue_give(&q, 0);
	breaks("an address that wraps with its length");
	fresh(INDIRECT);
	q.desc[0] = (struct desc){ (64u << 20) - 8, 16, F_WRITE, 0 };
	queue_give(&q, 0);
	breaks("a buffer over the end of memory");
	fresh(INDIRECT);
	set_desc(&q, 0, bytes, 16, F_WRITE | F_NEXT, 1);
	set_desc(&q, 1, bytes, 16, 0, 0);
	queue_give(&q, 0);
	breaks("a readable part after a writable one");
}

static void abuse_indirect(void)
{
	fresh(INDIRECT);
	set_desc(&q, 0, table, 24, F_INDIRECT, 0);
	queue_give(&q, 0);
	breaks("an indirect table of half a descriptor");
	fresh(INDIRECT);
	q.desc[0] = (struct desc){ 0x7fffffff0ull, 32, F_INDIRECT, 0 };
	queue_give(&q, 0);
	breaks("an indirect table outside of memory");
	fresh(INDIRECT);
	table[0] = (struct desc){ (uint32_t)table, 16, F_INDIRECT, 0 };
	set_desc(&q, 0, table, 16, F_INDIRECT, 0);
	queue_give(&q, 0);
	breaks("an indirect table in an indirect table");
	fresh(0);
	table[0] = (struct desc){ (uint32_t)bytes, 16, F_WRITE, 0 };
	set_desc(&q, 0, table, 16, F_INDIRECT, 0);
	queue_give(&q, 0);
	breaks("an indirect table that was not negotiated");
}

static void abuse_rings(void)
{
	fresh(INDIRECT);
	q.avail.idx = 5000;
	wr(dev + 0x50, 0);
	breaks("an available index beyond the queue");
	uint32_t id, len;
	fresh(INDIRECT);
	q.used.idx = 777;
	for (unsigned i = 0; i < QSIZE; i++)
		q.used.ring[i].id = q.used.ring[i].len = 0xffffffff;
	set_desc(&q, 0, bytes, 32, F_WRITE, 0);
	queue_give(&q, 0);
	q.seen = 777;
	queue_wait(&q, &id, &len); /* until it is another */
	check(*(volatile uint16_t *)&q.used.idx == 1 && q.used.ring[0].id == 0 && q.used.ring[0].len == 32 && dev_status(dev) == 15, "a used ring that the driver rewrote");
	fresh(INDIRECT);
	for (unsigned i = 0; i < 200; i++)
		wr(dev + 0x50, i % 7);
	check(dev_status(dev) == 15, "a storm of doorbells for nothing");
	dev_begin(dev, INDIRECT);
	wr(dev + 0x30, 0);
	wr(dev + 0x38, 3);
	wr(dev + 0x44, 1);
	check(dev_status(dev) & 64, "a queue whose size is no power of two");
	dev_begin(dev, INDIRECT);
	wr(dev + 0x38, 16);
	wr(dev + 0x80, 8);
	wr(dev + 0x44, 1);
	check(dev_status(dev) & 64, "a queue that is not aligned");
	dev_begin(dev, INDIRECT);
	wr(dev + 0x38, 16);
	wr(dev + 0x84, 0xffffffff);
	wr(dev + 0x44, 1);
	check(dev_status(dev) & 64, "a queue outside of memory");
	check(works(), "a reset helps");
}

#define EVENT_IDX (1u << 29)

/* The driver names the used index of which it wants to hear, and the device the available one (virtio 1.2, 2.7.7.2 and 2.7.10). */
static void event_index(void)
{
	uint32_t id, len;

	fresh(EVENT_IDX);
	irq_watch(dev_gsi(dev));
	q.avail.event = 2; /* of the third */
	set_desc(&q, 0, bytes, 32, F_WRITE, 0);
	for (unsigned i = 0; i < 2; i++) {
		queue_give(&q, 0);
		check(queue_wait(&q, &id, &len) && len == 32, "a request with event indices");
	}
	/* The device asks for the doorbell of the next one once it has looked for more. */
	for (unsigned i = 0; i < 200000 && *(volatile uint16_t *)&q.used.event != 2; i++)
		;
	check(*(volatile uint16_t *)&q.used.event == 2, "the device wants to hear of the next request");
	check(!irq_seen(dev_gsi(dev)), "the driver does not hear of what it did not ask for");
	queue_give(&q, 0);
	check(queue_wait(&q, &id, &len) && irq_wait(dev_gsi(dev)), "but of what it asked for");
	/* The flag has no meaning then, and the ring goes round. */
	bool good = true;
	q.avail.flags = 1;
	for (unsigned i = 0; i < 3 * QSIZE; i++) {
		queue_give(&q, 0);
		good &= queue_wait(&q, &id, &len) && len == 32;
	}
	check(good && dev_status(dev) == 15, "three times around the ring");
}

static void abuse_registers(void)
{
	wr(dev + 0x70, 0);
	wr(dev + 0x70, 3);
	wr(dev + 0x24, 0);
	wr(dev + 0x20, 0xffffffff);
	wr(dev + 0x24, 1);
	wr(dev + 0x20, 1);
	wr(dev + 0x70, 11);
	check(!(dev_status(dev) & 8), "features that were not offered are refused");
	for (uint32_t off = 0; off < 0x1000; off += 3) {
		*(volatile uint8_t *)(dev + off) = 0xff;
		*(volatile uint16_t *)(dev + off) = 0xffff;
		(void)*(volatile uint8_t *)(dev + off);
	}
	for (uint32_t off = 0; off < 0x200; off += 4)
		wr(dev + off, 0xa5a5a5a5);
	check(works(), "writes of every width everywhere, then a reset");
}

void test(const uint32_t *info)
{
	uint32_t id, len;

	(void)info;
	dev = find_device(4, 0);
	check(dev != 0, "the entropy device is there");
	event_index(); /* first: an interrupt of another request may come long after it */
	check(works(), "64 random bytes");
	fresh(INDIRECT);
	table[0] = (struct desc){ (uint32_t)bytes, 100, F_WRITE | F_NEXT, 1 };
	table[1] = (struct desc){ (uint32_t)(bytes + 200), 8000, F_WRITE, 0 };
	set_desc(&q, 0, table, 32, F_INDIRECT, 0);
	queue_give(&q, 0);
	check(queue_wait(&q, &id, &len) && len == 4096, "an indirect request gets at most 4096 bytes");
	abuse_chains();
	abuse_indirect();
	abuse_rings();
	abuse_registers();
}
