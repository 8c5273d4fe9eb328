/* SPDX-License-Identifier: Apache-2.0 */
/* The disks: read what is there, write and read back, flush, holes, ranges that are not the disk's, and the read-only one refuses. */
#include "tests/guests/guest.h"

static struct queue q;
static struct { uint32_t type, reserved; uint64_t sector; } head;
static uint8_t data[4096], back[4096], status;
static struct { uint64_t sector; uint32_t n, flags; } range;
static uint32_t dev;

static void fresh(uint32_t d)
{
	dev = d;
	dev_begin(d, 1u << 28);
	queue_begin(&q, d, 0);
	dev_go(d);
}

/* A request of head, n bytes of p (written by the device if `in`) and status; the status, 255 when nothing came. */
static uint8_t request(uint32_t type, uint64_t sector, void *p, uint32_t n, bool in)
{
	uint32_t id, len;

	head.type = type;
	head.sector = sector;
	status = 255;
	set_desc(&q, 0, &head, 16, F_NEXT, n > 0 ? 1 : 2);
	set_desc(&q, 1, p, n, (uint16_t)(F_NEXT | (in ? F_WRITE : 0)), 2);
	set_desc(&q, 2, &status, 1, F_WRITE, 0);
	queue_give(&q, 0);
	return queue_wait(&q, &id, &len) ? *(volatile uint8_t *)&status : 254;
}

static bool all(const uint8_t *p, uint8_t v, size_t n)
{
	while (n-- > 0)
		if (*p++ != v)
			return false;
	return true;
}

static void test_ranges(uint64_t sectors)
{
	check(request(0, sectors - 8, back, 4096, true) == 0, "the last sectors are read");
	check(request(0, sectors - 7, back, 4096, true) == 1, "a read over the end is refused");
	check(request(0, 0xffffffffffffffffull, back, 512, true) == 1, "a sector number that wraps is refused");
	check(request(1, sectors, data, 512, false) == 1, "a write behind the end is refused");
	check(request(0, 0, back, 100, true) == 1, "half a sector is refused");
	check(request(77, 0, back, 512, true) == 2, "an unknown request is unsupported");
	range.sector = sectors;
	range.n = 1;
	check(request(11, 0, &range, 16, false) == 1, "a discard behind the end is refused");
	check(request(11, 0, &range, 15, false) == 1, "half a range is refused");
	range.flags = 6;
	range.sector = 0;
	check(request(13, 0, &range, 16, false) == 2, "unknown flags of a range are unsupported");
	range.flags = 0;
}

static struct queue many[4];

/* Every queue is given work; the driver resets the device while it is at it, and later lets it finish. */
static void test_queues(uint32_t d)
{
	const uint32_t n = rd(d + 0x120) >> 16; /* num_queues, two bytes at 34 */
	uint32_t id, len, served = 0;

	dev = d;
	check(n >= 1 && n <= 4, "it says how many queues it has");
	for (unsigned round = 0; round < 3; round++) {
		dev_begin(d, 1u << 28 | 1u << 12);
		head.type = 0;
		head.sector = 0;
		for (uint32_t i = 0; i < n; i++)
			queue_begin(&many[i], d, i);
		dev_go(d);
		for (uint32_t i = 0; i < n; i++) {
			set_desc(&many[i], 0, &head, 16, F_NEXT, 1);
			set_desc(&many[i], 1, back, 4096, F_NEXT | F_WRITE, 2);
			set_desc(&many[i], 2, &status, 1, F_WRITE, 0);
			for (unsigned k = 0; k < QSIZE; k++)
				queue_give(&many[i], 0);
		}
		if (round < 2) {
			wr(d + 0x70, 0);
			check(dev_status(d) == 0, "a reset with requests in work");
		}
	}
	for (uint32_t i = 0; i < n; i++)
		for (unsigned k = 0; k < QSIZE; k++)
			served += queue_wait(&many[i], &id, &len) && len == 4097;
	check(served == n * QSIZE, "every queue serves every request");
	check(dev_status(d) == 15, "the device is whole");
}

void test(const uint32_t *info)
{
	uint32_t id, len;

	(void)info;
	fresh(find_device(2, 1));
	check(dev != 0, "the writable disk is there");
	const uint64_t sectors = *(volatile uint32_t *)(dev + 0x100);
	check(sectors == 2048, "it says its size");
	check(request(8, 0, back, 20, true) == 0 && same(back, "bulkhead-disk", 14), "it says its name");
	check(request(0, 1, back, 512, true) == 0 && all(back, 'B', 512), "a read gives what is on the disk");
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	check(request(1, 16, data, 4096, false) == 0, "a write");
	check(request(4, 0, NULL, 0, false) == 0, "a flush");
	check(request(0, 16, back, 4096, true) == 0 && same(data, back, 4096), "a read gives what was written");
	range.sector = 16;
	range.n = 8;
	check(request(11, 0, &range, 16, false) == 0, "a discard");
	check(request(0, 16, back, 4096, true) == 0 && all(back, 0, 4096), "what was discarded reads as zeroes");
	range.sector = 1;
	range.n = 1;
	check(request(13, 0, &range, 16, false) == 0, "zeroes");
	check(request(0, 1, back, 512, true) == 0 && all(back, 0, 512), "what was zeroed reads as zeroes");
	test_ranges(sectors);
	set_desc(&q, 0, &head, 16, 0, 0);
	queue_give(&q, 0);
	check(queue_wait(&q, &id, &len) && len == 0, "a request without a place for its status comes back empty");
	set_desc(&q, 0, &head, 8, F_NEXT, 1);
	set_desc(&q, 1, back, 512, F_WRITE, 0);
	queue_give(&q, 0);
	check(queue_wait(&q, &id, &len) && len == 0, "half a head comes back empty");
	check(dev_status(dev) == 15, "the device is whole");
	fresh(find_device(2, 0));
	check(request(0, 0, back, 512, true) == 0 && all(back, 'A', 512), "the read-only disk is read");
	check(request(1, 0, data, 512, false) == 1, "the read-only disk is not written");
	range.sector = 0;
	check(request(11, 0, &range, 16, false) == 1, "nor discarded");
	test_queues(find_device(2, 0));
}
