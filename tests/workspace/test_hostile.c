/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest whose kernel lies: every attempt here tries to read or write a byte outside the workspace, or to break the server. Beside the
 * workspace lies `outside/`, which must be as it was after every case.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/str.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/proto/fs.h"
#include "core/workspace/hide.h"
#include "tests/workspace/raw.h"

#define SECRET "the host's own"

static char top[] = "/tmp/bh-hostile-XXXXXX";
static struct raw g;
static struct hide *hide;

static void put(const char *name, const char *text)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
}

static void link_to(const char *to, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/ws/%s", top, name);
	assert_int_equal(symlink(to, path), 0);
}

static void make_dir(const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static int setup(void **state)
{
	const struct share_opts o = { .watch = true, .ahead = true };
	char ws[512], up[512];

	(void)state;
	memcpy(top + strlen(top) - 6, "XXXXXX", 6);
	assert_non_null(mkdtemp(top));
	make_dir("outside");
	put("outside/secret", SECRET);
	make_dir("ws");
	make_dir("ws/dir");
	put("ws/file", "inside");
	put("ws/dir/below", "below");
	put("ws/.env", "PASSWORD=1");
	snprintf(up, sizeof(up), "%s/outside", top);
	link_to(up, "absolute");
	link_to("../outside", "relative");
	link_to("../outside/secret", "tofile");
	link_to("/proc/self/fd/0", "magic");
	link_to("dir", "todir");
	snprintf(ws, sizeof(ws), "%s/ws/pipe", top);
	assert_int_equal(mkfifo(ws, 0666), 0);
	if (geteuid() == 0) {
		snprintf(ws, sizeof(ws), "%s/ws/null", top);
		assert_int_equal(mknod(ws, S_IFCHR | 0666, 0x103), 0);
	}
	snprintf(ws, sizeof(ws), "%s/ws/linked", top);
	snprintf(up, sizeof(up), "%s/outside/secret", top);
	assert_int_equal(link(up, ws), 0);
	snprintf(ws, sizeof(ws), "%s/ws", top);
	assert_int_equal(hide_create(&hide, ".env\nkeys/*.pem", NULL), 0);
	struct share_opts with = o;
	with.hide = hide;
	assert_int_equal(raw_open(&g, open(ws, O_PATH | O_DIRECTORY | O_CLOEXEC), &with), 0);
	return 0;
}

static int teardown(void **state)
{
	char path[512], text[64] = "";

	(void)state;
	raw_close(&g);
	hide_destroy(&hide);
	snprintf(path, sizeof(path), "%s/outside/secret", top);
	AUTO_FD fd = open(path, O_RDONLY);
	assert_true(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	assert_string_equal(text, SECRET);
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(path_remove_tree(AT_FDCWD, top, NULL), 0);
	return 0;
}

static void names_that_are_none(void **state)
{
	static const char *const names[] = { "..", ".", "", "/", "../outside", "dir/below", "/etc/passwd", "dir/../../outside/secret", "a/", "./file" };
	const struct fuse_mkdir_in mk = { .mode = 0777 };
	const struct fuse_create_in cr = { .flags = O_RDWR, .mode = 0666 };
	const struct fuse_mknod_in nod = { .mode = S_IFREG | 0666 };
	const struct fuse_rename_in ren = { .newdir = FUSE_ROOT_ID };
	const struct fuse_link_in ln = { .oldnodeid = FUSE_ROOT_ID };
	int error;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *n = names[i];

		assert_int_equal(raw_lookup(&g, FUSE_ROOT_ID, n, &error), 0);
		assert_true(error < 0);
		assert_true(raw_names(&g, FUSE_MKDIR, FUSE_ROOT_ID, &mk, sizeof(mk), n, NULL) < 0);
		assert_true(raw_names(&g, FUSE_CREATE, FUSE_ROOT_ID, &cr, sizeof(cr), n, NULL) < 0);
		assert_true(raw_names(&g, FUSE_MKNOD, FUSE_ROOT_ID, &nod, sizeof(nod), n, NULL) < 0);
		assert_true(raw_names(&g, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, n, NULL) < 0);
		assert_true(raw_names(&g, FUSE_RMDIR, FUSE_ROOT_ID, NULL, 0, n, NULL) < 0);
		assert_true(raw_names(&g, FUSE_SYMLINK, FUSE_ROOT_ID, NULL, 0, n, "x") < 0);
		assert_true(raw_names(&g, FUSE_RENAME, FUSE_ROOT_ID, &ren, sizeof(ren), n, "y") < 0);
		assert_true(raw_names(&g, FUSE_RENAME, FUSE_ROOT_ID, &ren, sizeof(ren), "file", n) < 0);
		assert_true(raw_names(&g, FUSE_LINK, FUSE_ROOT_ID, &ln, sizeof(ln), n, NULL) < 0);
	}
}

static void links_lead_nowhere(void **state)
{
	static const char *const names[] = { "absolute", "relative", "tofile", "magic", "todir" };
	const struct fuse_setattr_in size = { .valid = FATTR_SIZE }, mode = { .valid = FATTR_MODE, .mode = 0777 };
	const struct fuse_read_in rd = { .size = 4096 };
	int error;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const uint64_t n = raw_lookup(&g, FUSE_ROOT_ID, names[i], &error);

		assert_true(n > 0);
		raw_openfile(&g, n, FUSE_OPEN, O_RDONLY, &error);
		assert_int_equal(error, -ENXIO);
		raw_openfile(&g, n, FUSE_OPEN, O_RDWR | O_TRUNC, &error);
		assert_true(error < 0);
		assert_int_equal(raw_send(&g, FUSE_READDIR, n, &rd, sizeof(rd)), -ENOTDIR);
		raw_lookup(&g, n, "secret", &error);
		assert_int_equal(error, -ENOTDIR);
		assert_true(raw_send(&g, FUSE_SETATTR, n, &size, sizeof(size)) < 0);
		assert_true(raw_send(&g, FUSE_SETATTR, n, &mode, sizeof(mode)) < 0);
		const struct fuse_create_in cr = { .flags = O_RDWR | O_TRUNC, .mode = 0666 };
		assert_true(raw_names(&g, FUSE_CREATE, FUSE_ROOT_ID, &cr, sizeof(cr), names[i], NULL) < 0);
		assert_true(raw_names(&g, FUSE_CREATE, n, &cr, sizeof(cr), "new", NULL) < 0);
	}
}

static void special_files_are_not_opened(void **state)
{
	static const char *const names[] = { "pipe", "null" };
	int error;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		const uint64_t n = raw_lookup(&g, FUSE_ROOT_ID, names[i], &error);

		if (n == 0)
			continue; /* no device without root */
		for (uint32_t flags = 0; flags < 3; flags++) {
			raw_openfile(&g, n, FUSE_OPEN, flags, &error);
			assert_int_equal(error, -ENXIO);
		}
		const struct fuse_create_in cr = { .flags = O_WRONLY, .mode = 0666 };
		assert_true(raw_names(&g, FUSE_CREATE, FUSE_ROOT_ID, &cr, sizeof(cr), names[i], NULL) < 0);
	}
	const struct fuse_mknod_in chr = { .mode = S_IFCHR | 0666, .rdev = 0x103 }, blk = { .mode = S_IFBLK | 0666, .rdev = 0x800 };
	assert_int_equal(raw_names(&g, FUSE_MKNOD, FUSE_ROOT_ID, &chr, sizeof(chr), "chr", NULL), -EPERM);
	assert_int_equal(raw_names(&g, FUSE_MKNOD, FUSE_ROOT_ID, &blk, sizeof(blk), "blk", NULL), -EPERM);
}

static void numbers_that_were_never_given(void **state)
{
	const uint64_t ids[] = { 0, 2, 3, UINT64_MAX, UINT64_C(0x7fff00000000), (uint64_t)(uintptr_t)&g, (uint64_t)(uintptr_t)g.s };
	const struct fuse_getattr_in ga = { 0 };
	const struct fuse_forget_in f = { .nlookup = UINT64_MAX };
	int error;

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
		assert_int_equal(raw_send(&g, FUSE_GETATTR, ids[i], &ga, sizeof(ga)), -ESTALE);
		raw_lookup(&g, ids[i], "file", &error);
		assert_int_equal(error, -ESTALE);
		raw_openfile(&g, ids[i], FUSE_OPEN, O_RDWR, &error);
		assert_int_equal(error, -ESTALE);
		assert_int_equal(raw_read(&g, FUSE_ROOT_ID, ids[i], 0, 4096), -EBADF);
		assert_int_equal(raw_write(&g, FUSE_ROOT_ID, ids[i], 0, "x", 1), -EBADF);
		assert_int_equal(raw_send(&g, FUSE_FORGET, ids[i], &f, sizeof(f)), 1);
		const struct fuse_read_in rd = { .fh = ids[i], .size = 4096 };
		assert_int_equal(raw_send(&g, FUSE_READDIR, FUSE_ROOT_ID, &rd, sizeof(rd)), ids[i] ? -EBADF : 0); /* 0: no handle at all */
		const struct fuse_release_in rel = { .fh = ids[i] };
		raw_send(&g, FUSE_RELEASE, FUSE_ROOT_ID, &rel, sizeof(rel));
		raw_send(&g, FUSE_RELEASEDIR, FUSE_ROOT_ID, &rel, sizeof(rel));
	}
	/* Forgotten too often: it is gone, and nothing else is. */
	const uint64_t n = raw_lookup(&g, FUSE_ROOT_ID, "file", &error);
	raw_send(&g, FUSE_FORGET, n, &f, sizeof(f));
	raw_send(&g, FUSE_FORGET, n, &f, sizeof(f));
	assert_int_equal(raw_send(&g, FUSE_GETATTR, n, &ga, sizeof(ga)), -ESTALE);
	raw_send(&g, FUSE_FORGET, FUSE_ROOT_ID, &f, sizeof(f));
	assert_int_equal(raw_send(&g, FUSE_GETATTR, FUSE_ROOT_ID, &ga, sizeof(ga)), 0);
}

static void handles_of_another_kind(void **state)
{
	int error;
	const uint64_t file = raw_lookup(&g, FUSE_ROOT_ID, "file", &error);
	const uint64_t fh = raw_openfile(&g, file, FUSE_OPEN, O_RDONLY, &error);
	const struct fuse_read_in rd = { .fh = fh, .size = 4096 }, none = { .size = 4096 };
	const struct fuse_release_in rel = { .fh = fh };

	(void)state;
	assert_true(fh > 0);
	raw_openfile(&g, FUSE_ROOT_ID, FUSE_OPENDIR, O_RDONLY, &error);
	assert_int_equal(error, -ENOSYS); /* a directory is listed without having been opened */
	assert_int_equal(raw_send(&g, FUSE_READDIR, FUSE_ROOT_ID, &none, sizeof(none)), 0);
	assert_int_equal(raw_send(&g, FUSE_READDIR, file, &none, sizeof(none)), -ENOTDIR);
	assert_int_equal(raw_read(&g, file, 0, 0, 4096), -EBADF); /* a file of a share that is written is not read so */
	assert_int_equal(raw_read(&g, file, fh, 0, 4096), 0);
	assert_int_equal(raw_read(&g, FUSE_ROOT_ID, fh, 0, 4096), -EBADF);
	assert_int_equal(raw_send(&g, FUSE_READDIR, file, &rd, sizeof(rd)), -ENOTDIR);
	assert_int_equal(raw_write(&g, file, fh, 0, "x", 1), -EBADF); /* opened to be read */
	assert_int_equal(raw_send(&g, FUSE_RELEASE, file, &rel, sizeof(rel)), 0);
	assert_int_equal(raw_read(&g, file, fh, 0, 4096), -EBADF);
	const uint64_t again = raw_openfile(&g, file, FUSE_OPEN, O_RDONLY, &error);
	assert_true(again > 0 && again != fh);
}

/* The message FS_AHEAD behind the last answer: names in it, 0 none. */
static uint32_t names_ahead(uint64_t *dir, uint32_t *flags, uint64_t *nodes, size_t max)
{
	struct fuse_out_header h;
	uint32_t count = 0;

	for (size_t at = 0; buf_size(&g.out) - at >= sizeof(h); at += h.len) {
		const uint8_t *p = buf_head(&g.out) + at + sizeof(h);

		memcpy(&h, buf_head(&g.out) + at, sizeof(h));
		if (h.unique != 0 || h.error != FS_AHEAD)
			continue;
		memcpy(dir, p, 8);
		memcpy(flags, p + 8, 4);
		memcpy(&count, p + 12, 4);
		p += FS_AHEAD_HEAD;
		for (uint32_t i = 0; i < count && i < max; i++) {
			struct fuse_direntplus d;

			memcpy(&d, p, sizeof(d));
			nodes[i] = d.entry_out.nodeid; /* "." and ".." have none */
			assert_true(memcmp(p + FUSE_NAME_OFFSET_DIRENTPLUS, ".env", 4) != 0);
			p += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + d.dirent.namelen);
		}
		assert_ptr_equal(p, buf_head(&g.out) + at + h.len);
	}
	return count;
}

static void names_sent_ahead_are_given_back(void **state)
{
	static const char *const names[] = { "file", "dir", "pipe" };
	struct share_stats before, after;
	uint64_t nodes[64], dir = 0;
	uint32_t flags = 0, n = 0;
	int error;

	(void)state;
	for (int round = 0; round < 200 && n == 0; round++) {
		raw_lookup(&g, FUSE_ROOT_ID, names[round % 3], &error);
		assert_int_equal(error, 0);
		n = names_ahead(&dir, &flags, nodes, 64);
	}
	assert_true(n >= 8 && n < 64);
	assert_int_equal(dir, FUSE_ROOT_ID);
	assert_int_equal(flags, 0); /* hidden names are none of them, so it is not the whole directory */
	share_stats(g.s, &before);
	usleep(600 * 1000); /* what comes back sooner was of no use */
	for (uint32_t i = 0; i < n; i++) {
		const struct fuse_forget_in f = { .nlookup = 1 };

		raw_send(&g, FUSE_FORGET, nodes[i], &f, sizeof(f));
	}
	share_stats(g.s, &after);
	assert_true(after.nodes < before.nodes);
	/* Those that were asked for are known still, and the others come again after as many questions as the first time. */
	const struct fuse_getattr_in ga = { 0 };
	for (int i = 0; i < 3; i++) {
		const uint64_t id = raw_lookup(&g, FUSE_ROOT_ID, names[i], &error);

		assert_int_equal(names_ahead(&dir, &flags, nodes, 64), i == 2 ? n : 0);
		assert_int_equal(raw_send(&g, FUSE_GETATTR, id, &ga, sizeof(ga)), 0);
	}
}

/* One request; what comes of it stays in g.out. */
static void say(uint32_t opcode, uint64_t node, uint64_t unique, const void *body, size_t n)
{
	uint64_t msg[64];
	const struct fuse_in_header h = { .len = (uint32_t)(sizeof(h) + n), .opcode = opcode, .unique = unique, .nodeid = node };

	buf_clear(&g.out);
	memcpy(msg, &h, sizeof(h));
	memcpy((uint8_t *)msg + sizeof(h), body, n);
	assert_int_equal(share_take(g.s, (const uint8_t *)msg, h.len), h.len);
}

/* Opens the file; its handle. What was sent ahead of the answer is this text, NULL: nothing was. */
static uint64_t open_sends(uint64_t node, uint32_t flags, const char *text)
{
	const struct fuse_open_in in = { .flags = flags };
	struct fuse_notify_store_out o;
	struct fuse_out_header h;
	struct fuse_open_out out;

	say(FUSE_OPEN, node, 7777, &in, sizeof(in));
	memcpy(&h, buf_head(&g.out), sizeof(h));
	if (text) {
		assert_int_equal(h.error, FUSE_NOTIFY_STORE);
		assert_int_equal(h.unique, 0);
		assert_int_equal(h.len, sizeof(h) + sizeof(o) + strlen(text));
		memcpy(&o, buf_head(&g.out) + sizeof(h), sizeof(o));
		assert_true(o.nodeid == node && o.offset == 0 && o.size == strlen(text));
		assert_memory_equal(buf_head(&g.out) + sizeof(h) + sizeof(o), text, strlen(text));
		buf_consume(&g.out, h.len);
		memcpy(&h, buf_head(&g.out), sizeof(h));
	}
	assert_int_equal(h.unique, 7777);
	assert_int_equal(h.error, 0);
	assert_int_equal(h.len, buf_size(&g.out));
	memcpy(&out, buf_head(&g.out) + sizeof(h), sizeof(out));
	assert_true(out.open_flags & FOPEN_KEEP_CACHE);
	return out.fh;
}

static void contents_go_ahead_of_an_opening_once(void **state)
{
	struct fuse_release_in rel = { .fh = 0 };
	int error;

	(void)state;
	const uint64_t file = raw_lookup(&g, FUSE_ROOT_ID, "file", &error);
	assert_int_equal(error, 0);
	/* Nobody waits for a RELEASE that says so: nothing comes, and it is closed. */
	rel.fh = open_sends(file, O_RDONLY, "inside");
	say(FUSE_RELEASE, file, FS_SILENT, &rel, sizeof(rel));
	assert_int_equal(buf_size(&g.out), 0);
	assert_int_equal(raw_read(&g, file, rel.fh, 0, 4096), -EBADF);
	rel.fh = open_sends(file, O_RDONLY, NULL);
	say(FUSE_RELEASE, file, FS_SILENT, &rel, sizeof(rel));
	/* The host changed it: not while somebody has it open, then again. */
	const uint64_t held = open_sends(file, O_RDWR, NULL);
	put("ws/file", "others");
	share_changes(g.s);
	rel.fh = open_sends(file, O_RDONLY, NULL);
	say(FUSE_RELEASE, file, FS_SILENT, &rel, sizeof(rel));
	rel.fh = held;
	say(FUSE_RELEASE, file, FS_SILENT, &rel, sizeof(rel));
	rel.fh = open_sends(file, O_RDONLY, "others");
	/* What is no handle is silent too. */
	rel.fh += 1;
	say(FUSE_RELEASE, file, FS_SILENT, &rel, sizeof(rel));
	assert_int_equal(buf_size(&g.out), 0);
}

static void sizes_that_lie(void **state)
{
	uint8_t buf[512] = { 0 };
	int error;
	const uint64_t file = raw_lookup(&g, FUSE_ROOT_ID, "file", &error);
	const uint64_t fh = raw_openfile(&g, file, FUSE_OPEN, O_RDWR, &error);
	struct fuse_write_in w = { .fh = fh, .size = 100000 };
	const struct fuse_batch_forget_in b = { .count = UINT32_MAX };
	const struct fuse_read_in r = { .fh = fh, .size = UINT32_MAX };
	const uint32_t big[2] = { UINT32_MAX, 0 };

	(void)state;
	memcpy(buf, &w, sizeof(w));
	assert_int_equal(raw_send(&g, FUSE_WRITE, file, buf, sizeof(w) + 10), -EINVAL); /* more than came */
	w.size = 1;
	memcpy(buf, &w, sizeof(w));
	assert_int_equal(raw_send(&g, FUSE_WRITE, file, buf, sizeof(w) + 10), -EINVAL); /* less than came */
	assert_int_equal(raw_send(&g, FUSE_WRITE, file, buf, 3), -EINVAL);
	assert_int_equal(raw_send(&g, FUSE_BATCH_FORGET, 0, &b, sizeof(b)), 1);
	assert_int_equal(raw_send(&g, FUSE_READ, file, &r, sizeof(r)), -EINVAL);
	assert_int_equal(raw_send(&g, FUSE_LOOKUP, FUSE_ROOT_ID, "file", 4), -EINVAL);          /* not terminated */
	assert_int_equal(raw_send(&g, FUSE_LOOKUP, FUSE_ROOT_ID, "file\0more", 10), -EINVAL);   /* more behind it */
	assert_int_equal(raw_send(&g, FUSE_RENAME2, FUSE_ROOT_ID, buf, sizeof(struct fuse_rename2_in)), -EINVAL);
	memcpy(buf, big, sizeof(big));
	memcpy(buf + 8, "user.a", 7);
	assert_int_equal(raw_send(&g, FUSE_SETXATTR, file, buf, 15), -EINVAL);
	assert_int_equal(raw_send(&g, FUSE_GETXATTR, file, buf, 15), -EINVAL);
	assert_int_equal(raw_send(&g, FUSE_LISTXATTR, file, big, sizeof(big)), -EINVAL);
	assert_int_equal(raw_read(&g, file, fh, UINT64_MAX, 100), -EINVAL);
	assert_int_equal(raw_write(&g, file, fh, UINT64_MAX - 5, "abc", 3), -EINVAL);
	memset(buf, 'n', 300);
	buf[300] = '\0';
	assert_int_equal(raw_send(&g, FUSE_LOOKUP, FUSE_ROOT_ID, buf, 301), -ENAMETOOLONG);
}

static void requests_out_of_order(void **state)
{
	const uint32_t unknown[] = { 0, 7, 19, 31, 33, 34, 37, 39, 40, 48, 49, 50, 51, 52, 60, 255, 4096, UINT32_MAX };
	uint8_t msg[64] = { 0 };

	(void)state;
	assert_int_equal(raw_init(&g), -EIO); /* a second time */
	for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++)
		assert_int_equal(raw_send(&g, unknown[i], FUSE_ROOT_ID, msg, 64), -ENOSYS);
	for (int i = 0; i < 1000; i++) /* nothing gathers */
		assert_int_equal(raw_send(&g, FUSE_INTERRUPT, 0, msg, 8), 1);
	assert_int_equal(raw_send(&g, FUSE_DESTROY, 0, NULL, 0), 1);
	assert_int_equal(raw_send(&g, FUSE_NOTIFY_REPLY, 0, msg, 64), 1);
	msg[0] = 39; /* shorter than a head */
	assert_int_equal(share_take(g.s, msg, 64), -EBADMSG);
	memset(msg, 0xff, 4);
	assert_int_equal(share_take(g.s, msg, 64), -EBADMSG);
	msg[0] = 60;
	msg[1] = msg[2] = msg[3] = 0;
	assert_int_equal(share_take(g.s, msg, 59), 0); /* not whole yet */
	/* Before INIT nothing is answered but with an error. */
	assert_int_equal(share_begin(g.s, &g.out), 0);
	const struct fuse_getattr_in ga = { 0 };
	assert_int_equal(raw_send(&g, FUSE_GETATTR, FUSE_ROOT_ID, &ga, sizeof(ga)), -EIO);
	const struct fuse_init_in old = { .major = 6, .minor = 1 };
	assert_int_equal(raw_send(&g, FUSE_INIT, 0, &old, sizeof(old)), -EPROTO);
	assert_int_equal(raw_init(&g), 0);
	assert_int_equal(raw_send(&g, FUSE_GETATTR, FUSE_ROOT_ID, &ga, sizeof(ga)), 0);
}

static void a_file_with_a_name_outside_is_not_written(void **state)
{
	const struct fuse_setattr_in size = { .valid = FATTR_SIZE }, mode = { .valid = FATTR_MODE, .mode = 0777 },
				     mtime = { .valid = FATTR_MTIME | FATTR_MTIME_NOW };
	int error;
	const uint64_t n = raw_lookup(&g, FUSE_ROOT_ID, "linked", &error);
	const struct fuse_link_in ln = { .oldnodeid = n };
	uint8_t x[64] = { 1, 0, 0, 0 };

	(void)state;
	assert_true(n > 0);
	for (uint32_t flags = O_WRONLY; flags <= (uint32_t)O_RDWR; flags++) {
		raw_openfile(&g, n, FUSE_OPEN, flags, &error);
		assert_int_equal(error, -EPERM);
	}
	raw_openfile(&g, n, FUSE_OPEN, O_RDONLY | O_TRUNC, &error);
	assert_int_equal(error, -EPERM);
	assert_int_equal(raw_send(&g, FUSE_SETATTR, n, &size, sizeof(size)), -EPERM);
	assert_int_equal(raw_send(&g, FUSE_SETATTR, n, &mode, sizeof(mode)), -EPERM);
	assert_int_equal(raw_send(&g, FUSE_SETATTR, n, &mtime, sizeof(mtime)), -EPERM);
	memcpy(x + 8, "user.a\0v", 8);
	assert_int_equal(raw_send(&g, FUSE_SETXATTR, n, x, 16), -EPERM);
	/* Another name inside does not account for the one outside. */
	assert_int_equal(raw_names(&g, FUSE_LINK, FUSE_ROOT_ID, &ln, sizeof(ln), "second", NULL), 0);
	raw_openfile(&g, n, FUSE_OPEN, O_WRONLY, &error);
	assert_int_equal(error, -EPERM);
	const uint64_t fh = raw_openfile(&g, n, FUSE_OPEN, O_RDONLY, &error);
	assert_true(fh > 0);
	assert_int_equal(raw_write(&g, n, fh, 0, "x", 1), -EBADF);
	const struct fuse_fallocate_in fa = { .fh = fh, .length = 4096 };
	assert_int_equal(raw_send(&g, FUSE_FALLOCATE, n, &fa, sizeof(fa)), -EBADF);
	const struct fuse_copy_file_range_in cp = { .fh_in = fh, .fh_out = fh, .nodeid_out = n, .len = 4, .off_out = 4 };
	assert_int_equal(raw_send(&g, FUSE_COPY_FILE_RANGE, n, &cp, sizeof(cp)), -EBADF);
	struct fuse_setattr_in by = size;
	by.valid |= FATTR_FH;
	by.fh = fh;
	assert_int_equal(raw_send(&g, FUSE_SETATTR, n, &by, sizeof(by)), -EPERM);
}

static void hidden_stays_hidden(void **state)
{
	const struct fuse_rename_in ren = { .newdir = FUSE_ROOT_ID };
	const struct fuse_rename2_in ex = { .newdir = FUSE_ROOT_ID, .flags = RENAME_EXCHANGE };
	const struct fuse_mkdir_in mk = { .mode = 0755 };
	int error;

	(void)state;
	assert_int_equal(raw_lookup(&g, FUSE_ROOT_ID, ".env", &error), 0);
	assert_int_equal(error, -ENOENT);
	assert_int_equal(raw_names(&g, FUSE_RENAME, FUSE_ROOT_ID, &ren, sizeof(ren), ".env", "mine"), -ENOENT);
	assert_int_equal(raw_names(&g, FUSE_RENAME2, FUSE_ROOT_ID, &ex, sizeof(ex), "file", ".env"), -EPERM);
	assert_int_equal(raw_names(&g, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, ".env", NULL), -ENOENT);
	assert_int_equal(raw_names(&g, FUSE_MKDIR, FUSE_ROOT_ID, &mk, sizeof(mk), ".env", NULL), -EPERM);
	/* A directory above hidden names cannot be moved away from under its pattern, nor exchanged. */
	assert_int_equal(raw_names(&g, FUSE_MKDIR, FUSE_ROOT_ID, &mk, sizeof(mk), "keys", NULL), 0);
	put("ws/keys/a.pem", "key");
	assert_true(raw_lookup(&g, FUSE_ROOT_ID, "keys", &error) > 0);
	assert_int_equal(raw_names(&g, FUSE_RENAME, FUSE_ROOT_ID, &ren, sizeof(ren), "keys", "open"), -EPERM);
	assert_int_equal(raw_names(&g, FUSE_RENAME2, FUSE_ROOT_ID, &ex, sizeof(ex), "dir", "keys"), -EPERM);
}

/* The host swaps a directory for a link to the outside, again and again, while the guest works below it. */
struct swap { pthread_t thread; volatile bool stop; };

static void *swapping(void *arg)
{
	struct swap *w = arg;
	char dir[512], away[512], to[512];

	snprintf(dir, sizeof(dir), "%s/ws/dir", top);
	snprintf(away, sizeof(away), "%s/ws/away", top);
	snprintf(to, sizeof(to), "%s/outside", top);
	while (!w->stop) {
		if (rename(dir, away) == 0 && symlink(to, dir) == 0)
			unlink(dir);
		rename(away, dir);
	}
	return NULL;
}

static void a_directory_swapped_for_a_link(void **state)
{
	const struct fuse_create_in cr = { .flags = O_RDWR | O_TRUNC, .mode = 0666 };
	struct swap w = { .stop = false };
	int error;

	(void)state;
	assert_int_equal(pthread_create(&w.thread, NULL, swapping, &w), 0);
	for (int i = 0; i < 20000; i++) {
		const uint64_t dir = raw_lookup(&g, FUSE_ROOT_ID, "dir", &error);
		const uint64_t secret = dir ? raw_lookup(&g, dir, "secret", &error) : 0;

		assert_int_equal(secret, 0);
		if (dir && i % 4 == 0)
			raw_names(&g, FUSE_CREATE, dir, &cr, sizeof(cr), "secret2", NULL);
		if (dir && i % 4 == 1)
			raw_names(&g, FUSE_UNLINK, dir, NULL, 0, "secret", NULL);
		if (dir && i % 4 == 2) {
			const uint64_t below = raw_lookup(&g, dir, "below", &error);
			const uint64_t fh = below ? raw_openfile(&g, below, FUSE_OPEN, O_RDWR, &error) : 0;

			if (fh && raw_read(&g, below, fh, 0, 100) == 0)
				assert_memory_not_equal(g.reply, SECRET, 5);
			if (fh) {
				const struct fuse_release_in rel = { .fh = fh };
				raw_send(&g, FUSE_RELEASE, below, &rel, sizeof(rel));
			}
		}
		if (dir) {
			const struct fuse_forget_in f = { .nlookup = 1 };
			raw_send(&g, FUSE_FORGET, dir, &f, sizeof(f));
		}
		share_changes(g.s);
	}
	w.stop = true;
	pthread_join(w.thread, NULL);
	char path[512];
	snprintf(path, sizeof(path), "%s/outside/secret2", top);
	assert_int_equal(access(path, F_OK), -1);
}

static void nothing_runs_out(void **state)
{
	int error;
	const uint64_t file = raw_lookup(&g, FUSE_ROOT_ID, "file", &error);
	unsigned opened = 0;

	(void)state;
	/* Handles end somewhere, and with an error, not with a crash. */
	while (opened < 100000 && raw_openfile(&g, file, FUSE_OPEN, O_RDONLY, &error) > 0)
		opened++;
	assert_true(error == -EMFILE || error == -ENFILE);
	assert_true(opened >= 500);
	const struct fuse_getattr_in ga = { 0 };
	assert_int_equal(raw_send(&g, FUSE_GETATTR, FUSE_ROOT_ID, &ga, sizeof(ga)), 0);
	/* A new connection begins with nothing. */
	assert_int_equal(share_begin(g.s, &g.out), 0);
	assert_int_equal(raw_init(&g), 0);
	struct share_stats st;
	share_stats(g.s, &st);
	assert_int_equal(st.handles, 0);
	assert_int_equal(st.nodes, 1);
}

static void a_reader_that_does_not_read(void **state)
{
	static uint8_t msg[CHECK_HEAD + 16];
	struct fuse_in_header h = { .len = sizeof(msg), .opcode = FUSE_GETATTR, .nodeid = FUSE_ROOT_ID, .pid = 1 };
	ssize_t n = 0;
	size_t answered = 0;

	(void)state;
	buf_clear(&g.out);
	for (; answered < 1000000; answered++) {
		h.unique = 1000 + answered;
		memcpy(msg, &h, sizeof(h));
		if ((n = share_take(g.s, msg, sizeof(msg))) <= 0)
			break;
	}
	assert_int_equal(n, -EAGAIN);
	assert_true(buf_ok(&g.out) && buf_size(&g.out) <= (8u << 20));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_that_are_none, setup, teardown),
		cmocka_unit_test_setup_teardown(links_lead_nowhere, setup, teardown),
		cmocka_unit_test_setup_teardown(special_files_are_not_opened, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers_that_were_never_given, setup, teardown),
		cmocka_unit_test_setup_teardown(handles_of_another_kind, setup, teardown),
		cmocka_unit_test_setup_teardown(names_sent_ahead_are_given_back, setup, teardown),
		cmocka_unit_test_setup_teardown(contents_go_ahead_of_an_opening_once, setup, teardown),
		cmocka_unit_test_setup_teardown(sizes_that_lie, setup, teardown),
		cmocka_unit_test_setup_teardown(requests_out_of_order, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_with_a_name_outside_is_not_written, setup, teardown),
		cmocka_unit_test_setup_teardown(hidden_stays_hidden, setup, teardown),
		cmocka_unit_test_setup_teardown(a_directory_swapped_for_a_link, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_runs_out, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reader_that_does_not_read, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
