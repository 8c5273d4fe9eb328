/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's FUSE requests into a real share of a small directory: core/workspace/check.c, share.c, tree.c, handle.c, watch.c, ops_*.c and what of
 * libfuse they let through. Input: records of u8 opcode, u8 node (an index into what was answered so far), u16 length, body; so that node numbers
 * and handles the share has given come up. Opcode 255 lends a window (FS_WINDOW), 254 says which place of it the next request has. A body's first eight bytes become a handle that was given when the node byte's top bit is set.
 */
#include <dirent.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/path.h"
#include "core/base/rbuf.h"
#include "core/workspace/hide.h"
#include "tests/fuzz/fuzz.h"
#include "tests/workspace/raw.h"

#define KNOWN 64u
#define LENDS 255u
#define PLACE 254u

static char dir[] = "/dev/shm/bh-fuzz-share-XXXXXX";
static struct hide *hide;
static struct raw plain, ahead; /* ahead: watched, and its names are sent of its own accord (ahead.c); an input in eight, as that costs milliseconds */
static int ws_fd = -1, memory = -1;
static uint8_t *window;
static const uint8_t sign[FS_LANE_SIGN] = "sixteen bytes...";
static bool changed = true; /* the directory is not as it was */

static void clean(void)
{
	path_remove_tree(AT_FDCWD, dir, NULL);
}

/* Never the directory itself: closing what watches it costs the kernel milliseconds. */
static void fill(int ws)
{
	const int fd = openat(ws, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fdopendir(fd);

	for (struct dirent *de; d && (de = readdir(d));)
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			path_remove_tree(ws, de->d_name, NULL);
	if (d)
		closedir(d);
	AUTO_FD f = openat(ws, "f", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	AUTO_FD e = openat(ws, ".env", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	if (f < 0 || e < 0 || write(f, "contents", 8) != 8 || mkdirat(ws, "d", 0755) < 0 || symlinkat("../..", ws, "l") < 0)
		abort();
}

static void once(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	log_level(LOG_ERROR);
	struct share_opts with = { .watch = false };
	char ws[64];
	if (!mkdtemp(dir) || hide_create(&hide, ".env\nd/*.pem", NULL) < 0)
		abort();
	with.hide = hide;
	snprintf(ws, sizeof(ws), "%s/ws", dir);
	ws_fd = mkdir(ws, 0755) < 0 ? -1 : open(ws, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ws_fd < 0 || raw_open(&plain, open(ws, O_PATH | O_DIRECTORY | O_CLOEXEC), &with) != 0)
		abort();
	with.watch = with.ahead = true;
	if (raw_open(&ahead, open(ws, O_PATH | O_DIRECTORY | O_CLOEXEC), &with) != 0)
		abort();
	memory = fd_memory("memory", 2 * FS_WINDOW_SIZE, 0);
	window = mmap(NULL, FS_WINDOW_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, FS_WINDOW_SIZE);
	if (window == MAP_FAILED)
		abort();
	memcpy(window, sign, sizeof(sign));
	atexit(clean);
}

static bool reads(uint8_t op)
{
	return op == FUSE_LOOKUP || op == FUSE_GETATTR || op == FUSE_READLINK || op == FUSE_READ || op == FUSE_STATFS || op == FUSE_RELEASE ||
	       op == FUSE_OPENDIR || op == FUSE_READDIR || op == FUSE_READDIRPLUS || op == FUSE_RELEASEDIR || op == FUSE_LSEEK;
}

/* The same directory and a new connection. */
static void again(struct raw *g)
{
	if (changed)
		fill(ws_fd);
	changed = false;
	g->window = NULL;
	g->place = 0;
	memset(window + FS_RING_AT, 0, sizeof(struct fs_ring));
	if (share_begin(g->s, &g->out) < 0)
		abort();
	share_memory(g->s, memory, sign);
	if (raw_init(g) != 0)
		abort();
	g->window = window;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	uint64_t node[KNOWN] = { FUSE_ROOT_ID }, fh[KNOWN] = { 0 };
	size_t nodes = 1, fhs = 0;
	struct rbuf r;

	once();
	struct raw *g = n % 8 == 0 ? &ahead : &plain;
	again(g);
	rbuf_init(&r, p, n);
	for (int i = 0; i < 200; i++) {
		static uint8_t body[65536];
		uint8_t op, at;
		uint16_t len;
		const uint8_t *bytes;

		rbuf_u8(&r, &op);
		rbuf_u8(&r, &at);
		rbuf_u16(&r, &len);
		if (len > r.n)
			len = (uint16_t)r.n;
		if (r.bad || rbuf_bytes(&r, len, &bytes) < 0)
			break;
		memcpy(body, bytes, len);
		if (at & 0x80 && len >= 8 && fhs > 0)
			memcpy(body, &fh[body[0] % fhs], 8);
		if (op == PLACE) {
			g->place = len > 0 ? body[0] : 0;
			continue;
		}
		const int error = raw_send(g, op == LENDS ? FS_WINDOW : op, node[(at & 0x7f) % nodes], body, len);
		uint64_t given;
		changed = changed || (error == 0 && !reads(op));
		if (error == 0 && g->nreply >= 8) {
			memcpy(&given, g->reply, 8);
			if (op == FUSE_OPEN || op == FUSE_OPENDIR)
				fh[fhs++ % KNOWN] = given;
			else if (op == FUSE_LOOKUP || op == FUSE_CREATE || op == FUSE_MKDIR || op == FUSE_MKNOD || op == FUSE_SYMLINK || op == FUSE_LINK)
				node[nodes++ % KNOWN] = given;
			nodes = nodes > KNOWN ? KNOWN : nodes;
			fhs = fhs > KNOWN ? KNOWN : fhs;
		}
		share_changes(g->s);
		if (share_has_window(g->s) && raw_take_ring(g) < 0)
			abort();
	}
	share_end(g->s);
	return 0;
}
