/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the chain: open, add, rotate, sync. Reading it back is chainread.c. */
#include "core/supervisor/chain.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/supervisor/chainfile.h"

#define HEAD "head"
#define HEAD_MAX 4096u

/* ---- the head ------------------------------------------------------------------------------------------------------------------------ */

static bool is_hex(const char *s)
{
	return s && strlen(s) == CHAIN_HEX - 1 && strspn(s, "0123456789abcdef") == CHAIN_HEX - 1;
}

static bool head_parse(const char *p, size_t n, struct chain_ends *x)
{
	json_t *o = json_loadb(p, n, JSON_REJECT_DUPLICATES, NULL);
	json_int_t base = json_integer_value(json_object_get(o, "base")), seq = json_integer_value(json_object_get(o, "seq"));
	const char *prev = json_string_value(json_object_get(o, "base_prev")), *hash = json_string_value(json_object_get(o, "hash"));
	bool ok = base > 0 && seq >= base - 1 && is_hex(prev) && is_hex(hash);

	if (ok) {
		x->base = (uint64_t)base;
		x->last.seq = (uint64_t)seq;
		str_copy(x->base_prev, sizeof(x->base_prev), prev);
		str_copy(x->last.hash, sizeof(x->last.hash), hash);
	}
	json_decref(o);
	return ok;
}

/* 1 there is one, 0 none, -EBADMSG damaged. */
static int head_read(int dirfd, struct chain_ends *x)
{
	struct buf b;
	int r;

	if (faccessat(dirfd, HEAD, F_OK, AT_SYMLINK_NOFOLLOW))
		return 0;
	buf_init(&b, HEAD_MAX);
	r = atomicfile_read(dirfd, HEAD, &b, NULL) || !head_parse((const char *)buf_head(&b), buf_size(&b), x) ? -EBADMSG : 1;
	buf_release(&b);
	return r;
}

static int head_write(int dirfd, const struct chain_ends *x)
{
	char text[512];
	struct err e = ERR_INIT;
	int n = snprintf(text, sizeof(text), "{\"base\": %llu, \"base_prev\": \"%s\", \"seq\": %llu, \"hash\": \"%s\"}\n", (unsigned long long)x->base,
			 x->base_prev, (unsigned long long)x->last.seq, x->last.hash);

	return atomicfile_write(dirfd, HEAD, text, (size_t)n, 0600, &e);
}

/* ---- opening ------------------------------------------------------------------------------------------------------------------------- */

static int begin_file(struct chain *c, uint64_t first)
{
	char name[CHAIN_NAME];

	chain_name(name, first);
	int fd = openat(c->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	fd_close(&c->old_fd);
	c->old_fd = c->fd;
	c->fd = fd;
	c->size = 0;
	c->dirty = true;
	return 0;
}

struct end {
	bool any;              /* there is a record in some file */
	bool known;            /* the last one can be read */
	struct chain_mark last;
	uint64_t torn;         /* bytes after the last newline */
};

/* The last complete line, the torn rest cut off; the file is left open for appending. */
static int look_at_end(struct chain *c, uint64_t first, struct end *x, struct err *e)
{
	char name[CHAIN_NAME];
	struct stat st;
	int r = 0;

	chain_name(name, first);
	int fd = openat(c->dirfd, name, O_RDWR | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		r = err_errno(e, errno, "cannot open '%s'", name);
		fd_close(&fd);
		return r;
	}
	size_t n = st.st_size > 2 * (off_t)CHAIN_LINE_MAX ? 2 * CHAIN_LINE_MAX : (size_t)st.st_size;
	AUTO_FREE char *p = malloc(n + 1);
	ssize_t got = p ? pread(fd, p, n, st.st_size - (off_t)n) : -1;
	if (got < 0 || (size_t)got != n) {
		close(fd);
		return err_set(e, EIO, "cannot read '%s'", name);
	}
	const char *nl = memrchr(p, '\n', n);
	size_t whole = nl ? (size_t)(nl - p) + 1 : 0;
	x->torn = n - whole;
	if (!nl && (size_t)st.st_size > n)
		x->torn = 0; /* no line is that long: this is damage, and is left for chain_verify() to see */
	else if (x->torn && ftruncate(fd, st.st_size - (off_t)x->torn))
		r = err_errno(e, errno, "cannot cut the torn end of '%s'", name);
	c->size = (uint64_t)st.st_size - x->torn;
	x->any = c->size > 0;
	if (whole > 1) {
		const char *before = memrchr(p, '\n', whole - 1);
		const char *line = before ? before + 1 : p;
		json_t *o = json_loadb(line, (size_t)(nl - line), JSON_REJECT_DUPLICATES, NULL);
		json_int_t seq = json_integer_value(json_object_get(o, "seq"));
		x->known = seq > 0;
		x->last.seq = (uint64_t)seq;
		chain_hash(line, (size_t)(nl - line), x->last.hash);
		json_decref(o);
	}
	if (r)
		fd_close(&fd);
	c->fd = fd;
	return r;
}

/* From the files' end and the head to the place where the chain goes on; a sentence when they disagree. */
static json_t *join(struct chain *c, const struct end *x, bool begun, int head, const struct chain_ends *h, const uint64_t *firsts, size_t n, char *found,
		    size_t found_cap)
{
	json_t *o = NULL;

	if (head == 1)
		c->ends = *h;
	if (n == 0 && head == 0 && !begun) {
		return NULL; /* the first start */
	} else if (n == 0 && head == 0) {
		o = json_pack("{s:s}", "event", "emptied");
		snprintf(found, found_cap, "the audit log was taken away whole: all records before this one are missing");
	} else if (head != 1) {
		/* Without a head the files are taken for what they are, and the record says from where on that is known. */
		c->ends.base = n ? firsts[0] : 1;
		if (n)
			chain_first_prev(c->dirfd, firsts[0], c->ends.base_prev);
		c->ends.last = x->last;
		if (!x->known) {
			c->ends.last.seq = n ? firsts[n - 1] : 0;
			memset(c->ends.last.hash, '0', CHAIN_HEX - 1);
		}
		o = json_pack("{s:s}", "event", "headless");
		snprintf(found, found_cap, "the audit log's head was %s: records before %llu may be missing", head ? "damaged" : "gone",
			 (unsigned long long)c->ends.last.seq + 1);
	} else if (x->known && x->last.seq > h->last.seq) {
		c->ends.last = x->last; /* written, and not synced before the end */
	} else if ((x->known && x->last.seq < h->last.seq) || (!x->any && h->last.seq >= h->base)) {
		uint64_t from = x->known ? x->last.seq + 1 : h->base;
		o = json_pack("{s:s, s:I, s:I}", "event", "gap", "from", (json_int_t)from, "to", (json_int_t)h->last.seq);
		snprintf(found, found_cap, "records %llu to %llu of the audit log are missing", (unsigned long long)from, (unsigned long long)h->last.seq);
	} else if (x->any && (!x->known || strcmp(x->last.hash, h->last.hash))) {
		snprintf(found, found_cap, "record %llu of the audit log was altered", (unsigned long long)h->last.seq);
	}
	if (!o && x->torn) {
		o = json_pack("{s:s, s:I}", "event", "torn", "bytes", (json_int_t)x->torn);
		snprintf(found, found_cap, "the audit log ended in a torn line (%llu bytes after record %llu)", (unsigned long long)x->torn,
			 (unsigned long long)c->ends.last.seq);
	}
	return o;
}

int chain_open_take(struct chain *c, int dirfd, uint64_t cap, unsigned files, bool begun, char *found, size_t found_cap, struct err *e)
{
	uint64_t firsts[CHAIN_FILES_MAX];
	struct chain_ends h = { 0 };
	struct end x = { 0 };

	*c = (struct chain){ .dirfd = dirfd, .fd = -1, .old_fd = -1, .cap = cap, .files = files < CHAIN_FILES_MAX - 1 ? files : CHAIN_FILES_MAX - 1 };
	c->ends.base = 1;
	memset(c->ends.base_prev, '0', CHAIN_HEX - 1);
	memset(c->ends.last.hash, '0', CHAIN_HEX - 1);
	buf_init(&c->pending, CHAIN_PENDING_MAX);
	*found = '\0';
	size_t n = chain_files(dirfd, firsts, CHAIN_FILES_MAX);
	int head = head_read(dirfd, &h);
	/* A file that was begun and never written to says nothing. */
	while (n > 0) {
		char name[CHAIN_NAME];
		struct stat st;
		chain_name(name, firsts[n - 1]);
		if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) || st.st_size > 0 || unlinkat(dirfd, name, 0))
			break;
		n--;
	}
	if (n > 0 && look_at_end(c, firsts[n - 1], &x, e)) {
		chain_release(c);
		return -e->code;
	}
	json_t *o = join(c, &x, begun, head, &h, firsts, n, found, found_cap);
	c->top = c->ends.last;
	if (c->fd < 0) {
		int r = begin_file(c, c->top.seq + 1);
		if (r) {
			json_decref(o);
			chain_release(c);
			return err_errno(e, -r, "cannot begin the audit log");
		}
	}
	/* From the first record on a missing head means that somebody took it. */
	int w = head == 0 && n == 0 ? head_write(dirfd, &c->ends) : 0;
	if (w) {
		chain_release(c);
		return err_errno(e, -w, "cannot begin the audit log");
	}
	c->dirty = true;
	if (o) {
		json_object_set_new(o, "note", json_string(found));
		chain_add_take(c, o);
	}
	return 0;
}

void chain_release(struct chain *c)
{
	fd_close(&c->fd);
	fd_close(&c->old_fd);
	fd_close(&c->dirfd);
	buf_release(&c->pending);
}

/* ---- adding -------------------------------------------------------------------------------------------------------------------------- */

/* The oldest files beyond the limit are given up: the chain begins later. They are deleted when the head says so (chain_sync_run). */
static void advance_base(struct chain *c)
{
	uint64_t firsts[CHAIN_FILES_MAX];
	size_t n = chain_files(c->dirfd, firsts, CHAIN_FILES_MAX);

	if (n <= c->files)
		return;
	uint64_t first = firsts[n - c->files];
	char prev[CHAIN_HEX];
	if (first > c->ends.base && !chain_first_prev(c->dirfd, first, prev)) {
		c->ends.base = first;
		str_copy(c->ends.base_prev, sizeof(c->ends.base_prev), prev);
	}
}

int chain_flush(struct chain *c)
{
	while (buf_size(&c->pending) > 0) {
		ssize_t r = write(c->fd, buf_head(&c->pending), buf_size(&c->pending));
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		buf_consume(&c->pending, (size_t)r);
		c->size += (uint64_t)r;
		c->dirty = true;
	}
	c->ends.last = c->top;
	return 0;
}

static char *line_of(struct chain *c, const json_t *o)
{
	json_t *line = json_pack("{s:I}", "seq", (json_int_t)(c->top.seq + 1));
	char *text = NULL;

	if (line && !json_object_update(line, (json_t *)(uintptr_t)o) && !json_object_set_new(line, "seq", json_integer((json_int_t)(c->top.seq + 1))) &&
	    !json_object_set_new(line, "prev", json_string(c->top.hash)))
		text = json_dumps(line, JSON_COMPACT);
	json_decref(line);
	return text;
}

static int add(struct chain *c, const json_t *o)
{
	AUTO_FREE char *text = line_of(c, o);

	if (text && strlen(text) > CHAIN_LINE_MAX) {
		json_t *small = json_pack("{s:s, s:s, s:I}", "event", "too-long", "of", json_string_value(json_object_get(o, "event")) ?: "", "bytes",
					  (json_int_t)strlen(text));
		free(text);
		text = small ? line_of(c, small) : NULL;
		json_decref(small);
	}
	size_t n = text ? strlen(text) : 0;
	if (!text || buf_room(&c->pending) < n + 1)
		return -ENOBUFS;
	char hash[CHAIN_HEX];
	chain_hash(text, n, hash);
	text[n] = '\n';
	int r = buf_put(&c->pending, text, n + 1);
	text[n] = '\0';
	if (r) {
		/* Nothing was appended: the buffer is whole as it was. */
		c->pending.failed = false;
		return -ENOBUFS;
	}
	c->top.seq++;
	memcpy(c->top.hash, hash, sizeof(hash));
	return 0;
}

int chain_add_take(struct chain *c, json_t *o)
{
	int r = 0;

	if (c->size >= c->cap && c->old_fd < 0 && !chain_flush(c) && !begin_file(c, c->top.seq + 1))
		c->ends.last = c->top;
	if (c->lost) {
		json_t *gone = json_pack("{s:s, s:I}", "event", "lost", "records", (json_int_t)c->lost);
		if (gone && !add(c, gone))
			c->lost = 0;
		json_decref(gone);
	}
	if (!o || c->lost || add(c, o)) {
		c->lost++;
		r = -ENOBUFS;
	}
	json_decref(o);
	if (chain_flush(c) && !r)
		r = -EAGAIN;
	return r;
}

/* ---- syncing ------------------------------------------------------------------------------------------------------------------------- */

bool chain_sync_begin(struct chain *c, struct chain_sync *s)
{
	if (!c->dirty)
		return false;
	chain_flush(c);
	if (c->size > 0)
		advance_base(c);
	*s = (struct chain_sync){ .dirfd = fcntl(c->dirfd, F_DUPFD_CLOEXEC, 3), .fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 3), .old_fd = -1, .ends = c->ends };
	if (c->old_fd >= 0)
		s->old_fd = fcntl(c->old_fd, F_DUPFD_CLOEXEC, 3);
	if (s->dirfd < 0 || s->fd < 0 || (c->old_fd >= 0 && s->old_fd < 0)) {
		fd_close(&s->dirfd);
		fd_close(&s->fd);
		fd_close(&s->old_fd);
		return false;
	}
	c->dirty = false;
	return true;
}

void chain_sync_run(struct chain_sync *s)
{
	uint64_t firsts[CHAIN_FILES_MAX];
	char name[CHAIN_NAME];

	s->result = (s->old_fd >= 0 && fdatasync(s->old_fd)) || fdatasync(s->fd) ? -errno : 0;
	if (!s->result)
		s->result = head_write(s->dirfd, &s->ends);
	size_t n = s->result || s->keep ? 0 : chain_files(s->dirfd, firsts, CHAIN_FILES_MAX);
	for (size_t i = 0; i < n && firsts[i] < s->ends.base; i++) {
		chain_name(name, firsts[i]);
		unlinkat(s->dirfd, name, 0);
	}
}

void chain_sync_end(struct chain *c, struct chain_sync *s)
{
	if (s->result)
		c->dirty = true;
	else if (s->old_fd >= 0)
		fd_close(&c->old_fd);
	fd_close(&s->dirfd);
	fd_close(&s->fd);
	fd_close(&s->old_fd);
}
