/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/devices/blk.c: a disk of 64 KiB; the first byte of the script makes it read-only. Its size never changes, and read-only is. */
#include "vmm/devices/blk.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/device.h"

#define DISK 65536u

static void kick(void *arg, unsigned q)
{
	virtio_kick(arg, q);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static uint8_t first[DISK], now[DISK];
	static const uint8_t head[16] = { 0 };
	struct err e = ERR_INIT;
	struct guest g;
	struct blk b;
	struct stat st;

	if (n == 0)
		return 0;
	memset(first, 0x5a, sizeof(first));
	const int fd = memfd_create("disk", MFD_CLOEXEC);
	MUST(fd >= 0 && pwrite(fd, first, DISK, 0) == DISK);
	guest_init(&g);
	MUST(blk_init(&b, &g.ram, fd, p[0] & 1, "fuzz", 1 + (p[0] >> 1) % BLK_QUEUES_MAX, -1, &e) == 0);
	g.v = &b.v;
	g.kick = kick;
	g.arg = &b.v;
	guest_play(&g, p + 1, n - 1);
	MUST(fstat(fd, &st) == 0 && st.st_size == DISK);
	if (p[0] & 1)
		MUST(pread(fd, now, DISK, 0) == DISK && memcmp(first, now, DISK) == 0);
	guest_up(&g, 0);
	memcpy(g.mem + DATA_AT, head, sizeof(head));
	guest_desc(&g, 0, 0, DATA_AT, 16, 1, 1);
	guest_desc(&g, 0, 1, DATA_AT + 512, 513, 2, 0);
	g.mem[DATA_AT + 1024] = 77;
	guest_give(&g, 0, 0);
	MUST(b.v.status == 15 && guest_used(&g, 0) == 1 && g.mem[DATA_AT + 1024] == 0);
	MUST(pread(fd, now, 512, 0) == 512 && memcmp(now, g.mem + DATA_AT + 512, 512) == 0);
	blk_release(&b);
	guest_release(&g);
	close(fd);
	return 0;
}
