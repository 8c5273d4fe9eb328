/* SPDX-License-Identifier: Apache-2.0 */
/* Works on and on, with memory and devices (entropy; the writable disk, if there is one, with requests in work all the time) that must be as they were: the test freezes it somewhere in the middle and goes on from the copy, often. */
#include "tests/guests/guest.h"

#define TICKS 40u
#define WORDS 2048u

static struct queue q, dq;
static struct { uint32_t type, reserved; uint64_t sector; } head;
static uint8_t sector[512], status;
static uint32_t disk, given, done;

static void disk_begin(void)
{
	if (!(disk = find_device(2, 0)))
		return;
	dev_begin(disk, 1u << 28);
	queue_begin(&dq, disk, 0);
	dev_go(disk);
	head.type = 0; /* reads: what they put into memory is always the same */
	set_desc(&dq, 0, &head, 16, F_NEXT, 1);
	set_desc(&dq, 1, sector, 512, F_NEXT | F_WRITE, 2);
	set_desc(&dq, 2, &status, 1, F_WRITE, 0);
}

/* Takes what is done, and fills the queue again. */
static void disk_turn(bool more)
{
	uint32_t id, len;

	while (disk && done < given && (more ? *(volatile uint16_t *)&dq.used.idx != dq.seen : true)) {
		if (!queue_wait(&dq, &id, &len) || id != 0 || len != 513)
			break;
		done++;
	}
	for (; disk && more && given - done < QSIZE; given++)
		queue_give(&dq, 0);
}
static uint32_t pattern[WORDS];
static uint8_t bytes[64];

void test(const uint32_t *info)
{
	const uint32_t dev = find_device(4, 0);
	uint32_t id, len, served = 0;
	bool good = true;
	uint8_t generation[16];

	(void)info;
	for (unsigned i = 0; i < 16; i++)
		generation[i] = *(volatile uint8_t *)(0xff000 + i);
	for (uint32_t i = 0; i < WORDS; i++)
		pattern[i] = i * 2654435761u;
	dev_begin(dev, 1u << 28);
	queue_begin(&q, dev, 0);
	dev_go(dev);
	disk_begin();
	outb(0x3ff, 0xa7);
	irq_watch(5);
	for (uint32_t t = 0; t < TICKS; t++) {
		set_desc(&q, t % QSIZE, bytes, sizeof(bytes), F_WRITE, 0);
		queue_give(&q, (uint16_t)(t % QSIZE));
		disk_turn(true);
		served += queue_wait(&q, &id, &len) && id == t % QSIZE && len == sizeof(bytes);
		say("tick ");
		say_hex(t);
		say("\n");
		for (uint32_t i = 0; i < WORDS; i++)
			good &= pattern[i] == i * 2654435761u;
	}
	/* A test that is not frozen on the way says so, and that is what its harness then expects. */
	check(true, same(generation, (const void *)0xff000, 16) ? "the generation is the same" : "the generation is another");
	check(true, irq_seen(5) ? "the generation's line was raised" : "the generation's line was not raised");
	check(good, "memory is as it was");
	disk_turn(false);
	check(done == given && *(volatile uint16_t *)&dq.used.idx == (uint16_t)given && (!disk || (sector[0] == 'B' && dev_status(disk) == 15)),
	      "every request to the disk was served once");
	check(served == TICKS, "every request was served once");
	check(inb(0x3ff) == 0xa7, "the serial port's registers are as they were");
	check(dev_status(dev) == 15, "the device is whole");
}
