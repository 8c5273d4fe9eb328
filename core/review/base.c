/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/atomicfile.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/rbuf.h"
#include "core/base/rnd.h"
#include "core/base/str.h"
#include "core/review/digest.h"
#include "core/review/host.h"

#define MAGIC 0x42486273u /* "BHbs" */
#define FORMAT 1u
#define FILE_MAX (128u << 20)
#define SLOTS 16384u
#define SWEEP_RECORDS 2000u /* with more, looking for what is needed costs more than it gives */
#define RECORDS_MAX (2 * CHANGES_ENTRIES_MAX)

struct base {
	int state, kept, root;
	char name[16];
	uint8_t id[CHANGES_ID];
	struct base_record *slot[SLOTS];
	size_t n;
	uint64_t kept_bytes;
	size_t deepened;          /* slots that base_deepen() is done with */
	bool changed;
};

static size_t slot_of(const char *path)
{
	static uint64_t seed;

	if (!seed)
		rnd_bytes(&seed, sizeof(seed));
	return str_hash(path, seed) % SLOTS;
}

struct base_record *base_find(const struct base *b, const char *path)
{
	struct base_record *r = b->slot[slot_of(path)];

	while (r && strcmp(r->path, path) != 0)
		r = r->next;
	return r;
}

static struct base_record *add(struct base *b, const char *path)
{
	const size_t n = strlen(path) + 1;
	struct base_record *r = b->n < RECORDS_MAX ? calloc(1, sizeof(*r) + n) : NULL;

	if (!r)
		return NULL;
	memcpy(r->path, path, n);
	r->next = b->slot[slot_of(path)];
	b->slot[slot_of(path)] = r;
	b->n++;
	b->changed = true;
	return r;
}

/* Those for which `all`, or that are not seen. */
static void drop(struct base *b, bool all)
{
	for (size_t i = 0; i < SLOTS; i++)
		for (struct base_record **p = &b->slot[i]; *p;) {
			struct base_record *r = *p;

			if (!all && r->seen) {
				p = &r->next;
				continue;
			}
			*p = r->next;
			free(r);
			b->n--;
			b->changed = true;
		}
}

void base_forget(struct base *b, const char *path)
{
	for (struct base_record **p = &b->slot[slot_of(path)]; *p; p = &(*p)->next)
		if (strcmp((*p)->path, path) == 0) {
			struct base_record *r = *p;

			*p = r->next;
			free(r);
			b->n--;
			b->changed = true;
			return;
		}
}

void base_unsee(struct base *b)
{
	for (size_t i = 0; i < SLOTS; i++)
		for (struct base_record *r = b->slot[i]; r; r = r->next)
			r->seen = false;
}

void base_sweep(struct base *b)
{
	drop(b, false);
}

/* ---- what the host has ----------------------------------------------------------------------------------------------------------------- */

static int64_t ns(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static void identify(struct base_record *r, const struct stat *st)
{
	r->exists = true;
	r->mode = st->st_mode;
	r->dev = st->st_dev;
	r->ino = st->st_ino;
	r->size = (uint64_t)st->st_size;
	r->mtime_ns = ns(&st->st_mtim);
	r->ctime_ns = ns(&st->st_ctim);
}

static bool identical(const struct base_record *r, const struct stat *st)
{
	if (S_ISDIR(st->st_mode) && S_ISDIR(r->mode)) /* what is in it has a record of its own */
		return r->ino == st->st_ino && r->dev == st->st_dev && r->mode == st->st_mode;
	return r->mode == st->st_mode && r->dev == st->st_dev && r->ino == st->st_ino && r->size == (uint64_t)st->st_size && r->mtime_ns == ns(&st->st_mtim) &&
	       r->ctime_ns == ns(&st->st_ctim);
}

static void keep(struct base *b, const uint8_t digest[DIGEST], const struct content *c)
{
	char hex[DIGEST_HEX];

	if (c->n > BASE_KEEP_MAX || b->kept < 0 || b->kept_bytes + c->n > BASE_KEPT_MAX)
		return;
	digest_hex(hex, digest);
	/* Not synced: what is read of it is checked against its name. */
	AUTO_FD fd = openat(b->kept, hex, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0 && (c->n == 0 || fd_write_full(fd, c->data, c->n) == 0))
		b->kept_bytes += c->n;
}

static bool can_digest(const struct stat *st)
{
	return (S_ISREG(st->st_mode) && (uint64_t)st->st_size <= BASE_DIGEST_MAX) || S_ISLNK(st->st_mode);
}

static void take(struct base *b, struct base_record *r, bool brief)
{
	struct content c;
	struct stat st;

	r->exists = r->digested = false;
	b->changed = true;
	if (host_stat(b->root, r->path, &st) < 0)
		return;
	identify(r, &st);
	if (brief || !can_digest(&st) || host_read(b->root, r->path, BASE_DIGEST_MAX, &c) < 0)
		return;
	/* What was read is what was looked at. */
	struct stat again;
	if (host_stat(b->root, r->path, &again) == 0 && identical(r, &again) && digest_of(c.data, c.n, r->digest) == 0) {
		r->digested = true;
		keep(b, r->digest, &c);
	}
	content_release(&c);
}

struct base_record *base_first(struct base *b, const char *path, bool brief)
{
	struct base_record *r = base_find(b, path);

	if (!r && (r = add(b, path)))
		take(b, r, brief);
	if (r)
		r->seen = true;
	return r;
}

void base_anew(struct base *b, const char *path)
{
	struct base_record *r = base_find(b, path);

	if (r || (r = add(b, path)))
		take(b, r, false);
}

bool base_holds(struct base *b, struct base_record *r)
{
	struct content c;
	struct stat st;
	uint8_t now[DIGEST];

	if (host_stat(b->root, r->path, &st) < 0)
		return !r->exists;
	if (!r->exists)
		return false;
	if (identical(r, &st))
		return true;
	if (!r->digested || (st.st_mode & S_IFMT) != (r->mode & S_IFMT) || (uint64_t)st.st_size != r->size || (st.st_mode & 0100) != (r->mode & 0100) || !can_digest(&st) ||
	    host_read(b->root, r->path, BASE_DIGEST_MAX, &c) < 0)
		return false;
	const bool same = digest_of(c.data, c.n, now) == 0 && memcmp(now, r->digest, DIGEST) == 0;
	content_release(&c);
	if (same) {
		identify(r, &st);
		b->changed = true;
	}
	return same;
}

int base_content(const struct base *b, const char *path, struct content *out)
{
	const struct base_record *r = base_find(b, path);
	char hex[DIGEST_HEX];
	uint8_t now[DIGEST];
	struct buf data;

	*out = (struct content){ .side = { .type = CHANGES_WHITEOUT } };
	if (!r || !r->exists)
		return r ? -ENOENT : -ENODATA;
	if (!r->digested || b->kept < 0)
		return -ENODATA;
	digest_hex(hex, r->digest);
	buf_init(&data, BASE_KEEP_MAX);
	int rc = atomicfile_read(b->kept, hex, &data, NULL) < 0 ? -ENODATA : 0;
	if (rc == 0 && (digest_of(buf_head(&data), buf_size(&data), now) < 0 || memcmp(now, r->digest, DIGEST) != 0))
		rc = -ENODATA;
	if (rc == 0 && !(out->data = malloc(buf_size(&data) + 1)))
		rc = -ENOMEM;
	if (rc == 0) {
		out->n = buf_size(&data);
		if (out->n > 0)
			memcpy(out->data, buf_head(&data), out->n);
		out->side = (struct side){ .type = S_ISLNK(r->mode) ? CHANGES_SYMLINK : CHANGES_FILE, .mode = r->mode & 07777, .size = out->n };
	}
	buf_release(&data);
	return rc;
}

/* ---- on the disk ------------------------------------------------------------------------------------------------------------------------ */

static void put(struct buf *out, const struct base_record *r)
{
	buf_str16(out, r->path);
	buf_u8(out, (uint8_t)(r->exists | r->digested << 1));
	if (!r->exists)
		return;
	buf_u32(out, r->mode);
	buf_u64(out, r->dev);
	buf_u64(out, r->ino);
	buf_u64(out, r->size);
	buf_u64(out, (uint64_t)r->mtime_ns);
	buf_u64(out, (uint64_t)r->ctime_ns);
	if (r->digested)
		buf_put(out, r->digest, DIGEST);
}

int base_save(struct base *b)
{
	struct buf out;
	struct err e = ERR_INIT;
	int r = -ENOMEM;

	if (!b->changed)
		return 0;
	buf_init(&out, FILE_MAX);
	buf_u32(&out, MAGIC);
	buf_u32(&out, FORMAT);
	buf_put(&out, b->id, sizeof(b->id));
	buf_u32(&out, (uint32_t)b->n);
	for (size_t i = 0; i < SLOTS; i++)
		for (const struct base_record *rec = b->slot[i]; rec; rec = rec->next)
			put(&out, rec);
	if (buf_ok(&out) && (r = atomicfile_write(b->state, b->name, buf_head(&out), buf_size(&out), 0600, &e)) == 0)
		b->changed = false;
	else
		log_error("what the host had is not remembered: %s", *e.msg ? e.msg : "out of memory");
	buf_release(&out);
	return r;
}

void base_each(struct base *b, void (*fn)(void *arg, struct base_record *r), void *arg)
{
	for (size_t i = 0; i < SLOTS; i++)
		for (struct base_record *r = b->slot[i]; r; r = r->next)
			fn(arg, r);
}

bool base_deepen(struct base *b, uint64_t until_ms)
{
	for (; b->deepened < SLOTS && b->kept_bytes < BASE_KEPT_MAX - BASE_KEEP_MAX; b->deepened++) {
		if (clock_ms() >= until_ms)
			return false;
		for (struct base_record *r = b->slot[b->deepened]; r; r = r->next) {
			struct stat st;

			if (r->exists && !r->digested && S_ISREG(r->mode) && r->size <= BASE_KEEP_MAX && host_stat(b->root, r->path, &st) == 0 && identical(r, &st))
				take(b, r, false);
		}
	}
	return true;
}

size_t base_count(const struct base *b)
{
	return b->n;
}

bool base_changed(const struct base *b)
{
	return b->changed;
}

static bool get(struct base *b, struct rbuf *in)
{
	char path[CHANGES_PATH_MAX + 1];
	uint8_t flags = 0, digest[DIGEST];
	uint32_t mode = 0;
	uint64_t v[5] = { 0 };

	rbuf_str16(in, path, sizeof(path));
	rbuf_u8(in, &flags);
	if (flags & 1) {
		rbuf_u32(in, &mode);
		for (size_t i = 0; i < ARRAY_SIZE(v); i++)
			rbuf_u64(in, &v[i]);
	}
	if (flags & 2)
		rbuf_copy(in, digest, sizeof(digest));
	if (in->bad || flags > 3 || flags == 2 || !changes_path_legal(path) || base_find(b, path))
		return false;
	struct base_record *r = add(b, path);
	if (!r)
		return false;
	r->exists = flags & 1;
	r->digested = flags & 2;
	r->mode = mode;
	r->dev = v[0];
	r->ino = v[1];
	r->size = v[2];
	r->mtime_ns = (int64_t)v[3];
	r->ctime_ns = (int64_t)v[4];
	if (r->digested)
		memcpy(r->digest, digest, DIGEST);
	return true;
}

static void load(struct base *b)
{
	struct buf text;
	struct rbuf in;
	uint32_t magic = 0, version = 0, n = 0;

	buf_init(&text, FILE_MAX);
	if (atomicfile_read(b->state, b->name, &text, NULL) == 0) {
		rbuf_init(&in, buf_head(&text), buf_size(&text));
		rbuf_u32(&in, &magic);
		rbuf_u32(&in, &version);
		rbuf_copy(&in, b->id, sizeof(b->id));
		rbuf_u32(&in, &n);
		bool good = !in.bad && magic == MAGIC && version == FORMAT;
		for (uint32_t i = 0; good && i < n; i++)
			good = get(b, &in);
		if (!good || rbuf_done(&in) < 0) {
			log_warn("what the host had when '%s' began cannot be read: it is taken as it is now", b->name);
			drop(b, true);
		}
	}
	buf_release(&text);
	b->changed = false;
}

static bool is_kept(const struct base *b, const char *hex)
{
	uint8_t want[DIGEST];

	if (digest_parse(hex, want) < 0)
		return false;
	for (size_t i = 0; i < SLOTS; i++)
		for (const struct base_record *r = b->slot[i]; r; r = r->next)
			if (r->digested && memcmp(r->digest, want, DIGEST) == 0)
				return true;
	return false;
}

/* Copies that no record speaks of go; the others are counted. */
static void sweep_kept(struct base *b)
{
	const int fd = b->kept >= 0 ? openat(b->kept, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *de;
	struct stat st;

	b->kept_bytes = 0;
	while (d && (de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		if (b->n == 0 || (b->n < SWEEP_RECORDS && !is_kept(b, de->d_name)))
			unlinkat(b->kept, de->d_name, 0);
		else if (fstatat(b->kept, de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			b->kept_bytes += (uint64_t)st.st_size;
	}
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
}

int base_open(struct base **out, int state, int root, uint8_t index, struct err *e)
{
	struct base *b = calloc(1, sizeof(*b));
	char kept[16];

	if (!b)
		return err_set(e, ENOMEM, "out of memory");
	b->state = state;
	b->root = root;
	snprintf(b->name, sizeof(b->name), "base-%u", index);
	snprintf(kept, sizeof(kept), "kept-%u", index);
	if (mkdirat(state, kept, 0700) < 0 && errno != EEXIST)
		log_warn("no copies are kept: %s", strerror(errno));
	b->kept = openat(state, kept, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	load(b);
	sweep_kept(b);
	*out = b;
	return 0;
}

void base_close(struct base **bp)
{
	struct base *b = *bp;

	if (!b)
		return;
	drop(b, true);
	fd_close(&b->kept);
	free(b);
	*bp = NULL;
}

bool base_layer(struct base *b, const uint8_t id[CHANGES_ID])
{
	if (memcmp(b->id, id, CHANGES_ID) == 0)
		return true;
	drop(b, true);
	memcpy(b->id, id, CHANGES_ID);
	b->changed = true;
	b->deepened = 0;
	sweep_kept(b);
	return false;
}
