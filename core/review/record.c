/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/rnd.h"
#include "core/base/str.h"

#define FRAME_MAX 16384u
#define RECORD_BYTES_MAX (UINT64_C(1) << 30)
#define CHUNK 65536u
#define NAME "record"
#define IDS_MAX 4096u

enum frame { FRAME_HEAD = 1, FRAME_ITEM, FRAME_SETTLED, FRAME_END, FRAME_UNDONE };

void record_tmp_name(char out[RECORD_TMP_MAX], uint32_t tmp)
{
	snprintf(out, RECORD_TMP_MAX, ".bulkhead-%08x", tmp);
}

static void dir_name(char out[16], uint32_t id)
{
	snprintf(out, 16, "%u", id);
}

/* ---- writing --------------------------------------------------------------------------------------------------------------------------- */

static int append(int fd, const struct buf *body, bool sync)
{
	struct buf b;

	buf_init(&b, FRAME_MAX + 4);
	buf_blob32(&b, buf_head(body), buf_size(body));
	int r = buf_ok(body) && buf_ok(&b) ? fd_write_full(fd, buf_head(&b), buf_size(&b)) : -ENOBUFS;
	buf_release(&b);
	if (r == 0 && sync && fdatasync(fd) < 0)
		r = -errno;
	return r;
}

static int append_head(int fd, const struct record_head *h)
{
	struct buf b;

	buf_init(&b, FRAME_MAX);
	buf_u8(&b, FRAME_HEAD);
	buf_u32(&b, h->id);
	buf_u8(&b, h->kind);
	buf_u32(&b, h->of);
	buf_u64(&b, h->at_ms);
	buf_str16(&b, h->workspace);
	const int r = append(fd, &b, true);
	buf_release(&b);
	return r;
}

int record_create(struct record **out, int store, const struct record_head *h, struct err *e)
{
	struct record *r = calloc(1, sizeof(*r));
	uint32_t last = 0;
	char name[16];

	*out = NULL;
	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	r->dir = r->fd = -1;
	r->head = *h;
	const long have = record_list(store, &last, 1);
	r->head.id = have > 0 ? last + 1 : 1;
	dir_name(name, r->head.id);
	int rc = have < 0 ? (int)have : mkdirat(store, name, 0700) < 0 ? -errno : 0;
	if (rc == 0 && (r->dir = openat(store, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		rc = -errno;
	if (rc == 0 && (r->fd = openat(r->dir, NAME, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600)) < 0)
		rc = -errno;
	if (rc == 0)
		rc = append_head(r->fd, &r->head);
	if (rc == 0 && (fsync(r->dir) < 0 || fsync(store) < 0))
		rc = -errno;
	if (rc < 0) {
		if (r->dir >= 0)
			record_forget(store, r->head.id);
		record_close(&r);
		return err_errno(e, -rc, "cannot write down what is about to be applied");
	}
	*out = r;
	return 0;
}

static struct record_item *new_item(struct record *r)
{
	if (r->n == r->cap) {
		const size_t cap = r->cap ? 2 * r->cap : 64;
		struct record_item *more = r->n < RECORD_ITEMS_MAX ? realloc(r->item, cap * sizeof(*more)) : NULL;

		if (!more)
			return NULL;
		r->item = more;
		r->cap = cap;
	}
	return memset(&r->item[r->n], 0, sizeof(*r->item));
}

static int copy_all(int from, int to)
{
	uint8_t chunk[CHUNK];
	off_t at = 0;
	ssize_t n;

	while ((n = pread(from, chunk, sizeof(chunk), at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		const int r = n < 0 ? -errno : fd_write_full(to, chunk, (size_t)n);
		if (r < 0)
			return r;
		at += n;
	}
	return 0;
}

static int keep(struct record *r, int old)
{
	char name[16];

	dir_name(name, (uint32_t)r->n);
	AUTO_FD fd = openat(r->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int rc = fd < 0 ? -errno : copy_all(old, fd);
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	if (rc < 0)
		unlinkat(r->dir, name, 0);
	return rc;
}

int record_intend(struct record *r, const char *path, const struct look *before, const char *text, int old, const struct look *after, size_t *n,
		  struct err *e)
{
	struct record_item *it = new_item(r);
	struct buf b;

	if (!it || !(it->path = str_dup(path)) || !(it->text = str_dup(text ? text : ""))) {
		if (it)
			free(it->path);
		return err_set(e, it ? ENOMEM : E2BIG, it ? "out of memory" : "more than %u changes in one apply", RECORD_ITEMS_MAX);
	}
	it->before = *before;
	it->after = *after;
	it->tmp = rnd_u32();
	it->kept = before->kind != LOOK_FILE || (old >= 0 && before->size <= RECORD_OLD_MAX - r->old_bytes);
	int rc = it->kept && before->kind == LOOK_FILE ? keep(r, old) : 0;
	buf_init(&b, FRAME_MAX);
	buf_u8(&b, FRAME_ITEM);
	buf_u32(&b, it->tmp);
	buf_u8(&b, it->kept);
	look_put(&b, before);
	look_put(&b, after);
	buf_str16(&b, path);
	buf_str16(&b, it->text);
	if (rc == 0)
		rc = append(r->fd, &b, true);
	buf_release(&b);
	if (rc < 0) {
		free(it->path);
		free(it->text);
		return err_errno(e, -rc, "cannot keep the old contents");
	}
	if (it->kept && before->kind == LOOK_FILE)
		r->old_bytes += before->size;
	*n = r->n++;
	return 0;
}

static int append_numbers(int fd, uint8_t type, uint32_t a, uint8_t c)
{
	struct buf b;

	buf_init(&b, FRAME_MAX);
	buf_u8(&b, type);
	buf_u32(&b, a);
	buf_u8(&b, c);
	const int r = append(fd, &b, type != FRAME_SETTLED);
	buf_release(&b);
	return r;
}

int record_settle(struct record *r, size_t n, enum item_state s)
{
	r->item[n].state = (uint8_t)s;
	return append_numbers(r->fd, FRAME_SETTLED, (uint32_t)n, (uint8_t)s);
}

int record_end(struct record *r)
{
	r->ended = true;
	return append_numbers(r->fd, FRAME_END, 0, 0);
}

int record_undone(int store, uint32_t id, uint32_t by)
{
	char name[32];

	snprintf(name, sizeof(name), "%u/" NAME, id);
	AUTO_FD fd = openat(store, name, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : append_numbers(fd, FRAME_UNDONE, by, 0);
}

/* ---- reading --------------------------------------------------------------------------------------------------------------------------- */

static bool read_head(struct record *r, struct rbuf *f)
{
	rbuf_u32(f, &r->head.id);
	rbuf_u8(f, &r->head.kind);
	rbuf_u32(f, &r->head.of);
	rbuf_u64(f, &r->head.at_ms);
	rbuf_str16(f, r->head.workspace, sizeof(r->head.workspace));
	return rbuf_done(f) == 0 && r->head.kind < RECORD_KINDS;
}

static bool read_item(struct record *r, struct rbuf *f)
{
	struct record_item *it = new_item(r);
	char path[PLACE_PATH_MAX + 1], text[PATH_MAX];
	uint8_t kept = 0;

	if (!it)
		return false;
	rbuf_u32(f, &it->tmp);
	rbuf_u8(f, &kept);
	look_get(f, &it->before);
	look_get(f, &it->after);
	rbuf_str16(f, path, sizeof(path));
	rbuf_str16(f, text, sizeof(text));
	if (rbuf_done(f) < 0 || kept > 1 || !place_legal(path))
		return false;
	it->kept = kept;
	it->path = str_dup(path);
	it->text = str_dup(text);
	r->n++;
	return it->path && it->text;
}

static bool read_numbers(struct record *r, uint8_t type, struct rbuf *f)
{
	uint32_t a;
	uint8_t c;

	rbuf_u32(f, &a);
	rbuf_u8(f, &c);
	if (rbuf_done(f) < 0)
		return false;
	if (type == FRAME_SETTLED && a < r->n && c < ITEM_STATES)
		r->item[a].state = c;
	else if (type == FRAME_END)
		r->ended = true;
	else if (type == FRAME_UNDONE)
		r->undone_by = a;
	else
		return false;
	return true;
}

/* False: it ends before this frame. */
static bool read_frame(struct record *r, struct rbuf *all, bool first)
{
	const uint8_t *p;
	struct rbuf f;
	uint8_t type;
	size_t n;

	if (rbuf_blob32(all, &p, &n) < 0)
		return false;
	rbuf_init(&f, p, n);
	if (rbuf_u8(&f, &type) < 0 || (type == FRAME_HEAD) != first)
		return false;
	return type == FRAME_HEAD ? read_head(r, &f) : type == FRAME_ITEM ? read_item(r, &f) : read_numbers(r, type, &f);
}

int record_read(struct record **out, int store, uint32_t id, struct err *e)
{
	struct record *r = calloc(1, sizeof(*r));
	struct rbuf all;
	struct buf b;
	char name[16];
	int rc = r ? 0 : -ENOMEM;

	*out = NULL;
	buf_init(&b, RECORD_BYTES_MAX);
	dir_name(name, id);
	if (r)
		r->fd = -1;
	if (rc == 0 && (r->dir = openat(store, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		rc = -errno;
	if (rc == 0)
		rc = atomicfile_read(r->dir, NAME, &b, NULL);
	rbuf_init(&all, buf_head(&b), buf_size(&b));
	if (rc == 0 && (!read_frame(r, &all, true) || r->head.id != id))
		rc = -EBADMSG;
	do {
		if (r)
			r->good = buf_size(&b) - all.n;
	} while (rc == 0 && all.n > 0 && read_frame(r, &all, false));
	buf_release(&b);
	if (rc < 0) {
		record_close(&r);
		return rc == -ENOENT ? err_set(e, ENOENT, "there is no apply %u", id) : err_errno(e, -rc, "cannot read what apply %u did", id);
	}
	*out = r;
	return 0;
}

int record_resume(struct record *r)
{
	r->fd = openat(r->dir, NAME, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
	return r->fd < 0 || ftruncate(r->fd, (off_t)r->good) < 0 ? -errno : 0;
}

void record_close(struct record **rp)
{
	struct record *r = *rp;

	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++) {
		free(r->item[i].path);
		free(r->item[i].text);
	}
	free(r->item);
	fd_close(&r->fd);
	fd_close(&r->dir);
	free(r);
	*rp = NULL;
}

int record_old(const struct record *r, size_t n)
{
	char name[16];

	dir_name(name, (uint32_t)n);
	const int fd = openat(r->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* ---- the store --------------------------------------------------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

long record_list(int store, uint32_t *ids, size_t max)
{
	AUTO_FREE uint32_t *all = calloc(IDS_MAX, sizeof(*all));
	const int fd = openat(store, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 && all ? fdopendir(fd) : NULL;
	const struct dirent *de;
	size_t n = 0;
	uint64_t id;

	if (!d) {
		const int r = all ? -errno : -ENOMEM;

		if (fd >= 0)
			close(fd);
		return r;
	}
	while ((de = readdir(d)) && n < IDS_MAX)
		if (str_u64(de->d_name, 1, UINT32_MAX - 1, &id) == 0)
			all[n++] = (uint32_t)id;
	closedir(d);
	qsort(all, n, sizeof(*all), by_number);
	const size_t give = n < max ? n : max;
	memcpy(ids, all + (n - give), give * sizeof(*ids));
	return (long)give;
}

static uint64_t bytes_kept(int store, uint32_t id)
{
	struct record *r;
	uint64_t sum = 0;

	if (record_read(&r, store, id, NULL) < 0)
		return 0;
	for (size_t i = 0; i < r->n; i++)
		sum += r->item[i].kept && r->item[i].before.kind == LOOK_FILE ? r->item[i].before.size : 0;
	record_close(&r);
	return sum;
}

void record_forget(int store, uint32_t id)
{
	char name[16];

	dir_name(name, id);
	path_remove_tree(store, name, NULL);
}

void record_prune(int store)
{
	uint32_t ids[2 * RECORDS_KEPT];
	const long n = record_list(store, ids, ARRAY_SIZE(ids));
	uint64_t sum = 0;

	/* From the newest on: what comes after the bounds are full is let go. */
	for (long i = n - 1; i >= 0; i--) {
		sum += bytes_kept(store, ids[i]);
		if (i < n - 1 && (n - i > (long)RECORDS_KEPT || sum > RECORD_OLD_MAX))
			record_forget(store, ids[i]);
	}
}
