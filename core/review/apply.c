/* SPDX-License-Identifier: Apache-2.0 */
/* Sources: rename(2) (RENAME_EXCHANGE, RENAME_NOREPLACE), openat2(2). */
#include "core/review/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/review/danger.h"

#define CHUNK 65536u
#define MODE_BITS 0777u
#define DIR_MODE 0755u

struct apply {
	int root, store; /* borrowed */
	struct record_head head;
	struct record *rec;
	struct place last; /* the directory that was changed last, to be synced */
	bool dry;
};

/* One change under way. */
struct job {
	struct apply *a;
	const struct apply_change *c;
	struct apply_told *told;
	struct place at;
	int old;             /* the file that stands there, opened; -1 */
	char text[PATH_MAX]; /* of the link that stands there */
	char tmp[RECORD_TMP_MAX];
	size_t n;            /* item */
};

static enum apply_result say(struct apply_told *told, enum apply_result r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static enum apply_result say(struct apply_told *told, enum apply_result r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(told->why, sizeof(told->why), fmt, ap);
	va_end(ap);
	return r;
}

static enum apply_result failed(struct apply_told *told, int error, const char *what)
{
	switch (error) {
	case ELOOP: return say(told, APPLY_CONFLICT, "a directory above it is a link on the host now");
	case ENOTDIR: return say(told, APPLY_CONFLICT, "what should be a directory above it is none on the host now");
	case EXDEV: return say(told, APPLY_REFUSED, "another file system is mounted there on the host");
	case EAGAIN: return say(told, APPLY_CONFLICT, "the host changes it all the time");
	default: return say(told, APPLY_ERROR, "%s: %s", what, strerror(error));
	}
}

bool apply_link_stays(const char *path, const char *text)
{
	size_t depth = 0;
	bool name = false;

	if (!*text || *text == '/')
		return false;
	for (const char *p = path; (p = strchr(p, '/')); p++)
		depth++;
	for (const char *at = text; *at;) {
		const size_t n = strcspn(at, "/");

		if (n == 2 && at[0] == '.' && at[1] == '.') {
			if (name || depth-- == 0)
				return false;
		} else if (n > 0 && !(n == 1 && at[0] == '.')) {
			name = true;
		}
		at += n + (at[n] == '/');
	}
	return true;
}

/* ---- the new object, beside ------------------------------------------------------------------------------------------------------------ */

static int fill(struct job *j, int to)
{
	uint8_t chunk[CHUNK];
	struct digest *d = digest_create();
	uint8_t sum[DIGEST_SIZE];
	off_t at = 0;
	ssize_t n;
	int r = d ? 0 : -ENOMEM;

	while (r == 0 && (n = pread(j->c->content, chunk, sizeof(chunk), at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		r = n < 0 ? -errno : fd_write_full(to, chunk, (size_t)n);
		if (r == 0) {
			digest_put(d, chunk, (size_t)n);
			at += n;
		}
	}
	if (d)
		digest_take(d, sum);
	digest_destroy(&d);
	/* What is written is what was announced in the record. */
	return r < 0 ? r : (uint64_t)at != j->told->after.size || memcmp(sum, j->told->after.digest, DIGEST_SIZE) != 0 ? -EIO : 0;
}

static int make_file(struct job *j)
{
	AUTO_FD fd = openat(j->at.dir, j->tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : fill(j, fd);

	if (fd < 0)
		return r;
	/* The group stays what it was where we may give it; the owner is who we are. */
	if (r == 0 && j->told->before.kind == LOOK_FILE && fchown(fd, (uid_t)-1, j->told->before.st.st_gid) < 0 && errno != EPERM)
		r = -errno;
	if (r == 0 && (fchmod(fd, j->told->after.mode) < 0 || fsync(fd) < 0))
		r = -errno;
	return r;
}

/* Its mode is what was asked for, whatever our umask. */
static int make_dir(struct job *j)
{
	if (mkdirat(j->at.dir, j->tmp, 0700) < 0)
		return -errno;
	AUTO_FD fd = openat(j->at.dir, j->tmp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 || fchmod(fd, j->told->after.mode) < 0 ? -errno : 0;
}

static int make_beside(struct job *j)
{
	int r;

	if (j->c->to == LOOK_FILE)
		r = make_file(j);
	else if (j->c->to == LOOK_LINK)
		r = symlinkat(j->c->text, j->at.dir, j->tmp) < 0 ? -errno : 0;
	else
		r = make_dir(j);
	if (r < 0 && r != -EEXIST)
		unlinkat(j->at.dir, j->tmp, j->c->to == LOOK_DIR ? AT_REMOVEDIR : 0);
	return r;
}

/* ---- the exchange ------------------------------------------------------------------------------------------------------------------------ */

static int rename_in(const struct job *j, const char *from, const char *to, unsigned flags)
{
	return renameat2(j->at.dir, from, j->at.dir, to, flags) < 0 ? -errno : 0;
}

static int remove_tmp(const struct job *j, bool dir)
{
	return unlinkat(j->at.dir, j->tmp, dir ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;
}

/* Nothing stood there. */
static int put_new(struct job *j)
{
	int r = rename_in(j, j->tmp, j->at.name, RENAME_NOREPLACE);

	if (r == -EINVAL || r == -ENOSYS) /* a file system without it: as near as can be */
		r = place_still(&j->at, j->at.name, &j->told->before) ? rename_in(j, j->tmp, j->at.name, 0) : -EEXIST;
	if (r < 0)
		remove_tmp(j, j->c->to == LOOK_DIR);
	return r;
}

static int put_over(struct job *j)
{
	const bool was_dir = j->told->before.kind == LOOK_DIR;
	int r = rename_in(j, j->tmp, j->at.name, RENAME_EXCHANGE);

	if (r == -EINVAL || r == -ENOSYS) {
		r = place_still(&j->at, j->at.name, &j->told->before) ? rename_in(j, j->tmp, j->at.name, 0) : -ESTALE;
		if (r < 0)
			remove_tmp(j, j->c->to == LOOK_DIR);
		return r;
	}
	if (r == 0)
		r = place_still(&j->at, j->tmp, &j->told->before) ? remove_tmp(j, was_dir) : -ESTALE;
	else {
		remove_tmp(j, j->c->to == LOOK_DIR);
		return r;
	}
	/* Somebody was here in between, or the directory is not empty: theirs goes back. */
	if (r < 0 && rename_in(j, j->tmp, j->at.name, RENAME_EXCHANGE) == 0)
		remove_tmp(j, j->c->to == LOOK_DIR);
	return r;
}

static int take_away(struct job *j)
{
	if (j->told->before.kind == LOOK_DIR)
		return unlinkat(j->at.dir, j->at.name, AT_REMOVEDIR) < 0 ? -errno : 0;
	int r = rename_in(j, j->at.name, j->tmp, RENAME_NOREPLACE);
	if (r == -EINVAL || r == -ENOSYS)
		return !place_still(&j->at, j->at.name, &j->told->before) ? -ESTALE : unlinkat(j->at.dir, j->at.name, 0) < 0 ? -errno : 0;
	if (r < 0)
		return r;
	r = place_still(&j->at, j->tmp, &j->told->before) ? remove_tmp(j, false) : -ESTALE;
	if (r < 0)
		rename_in(j, j->tmp, j->at.name, RENAME_NOREPLACE);
	return r;
}

static int change_mode(struct job *j)
{
	AUTO_FD dir = -1;
	int fd = j->old;

	if (j->told->before.kind == LOOK_DIR) {
		fd = dir = openat(j->at.dir, j->at.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		struct stat st;
		if (dir < 0 || fstat(dir, &st) < 0)
			return -errno;
		if (st.st_ino != j->told->before.st.st_ino || st.st_dev != j->told->before.st.st_dev)
			return -ESTALE;
	} else if (!place_still(&j->at, j->at.name, &j->told->before)) {
		return -ESTALE;
	}
	return fchmod(fd, j->told->after.mode) < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int carry_out(struct job *j)
{
	int r;

	if (j->c->to == LOOK_NONE)
		return take_away(j);
	if (j->told->before.kind == j->c->to && (j->c->to == LOOK_DIR || (j->c->to == LOOK_FILE && j->c->content < 0)))
		return change_mode(j);
	if ((r = make_beside(j)) < 0)
		return r;
	return j->told->before.kind == LOOK_NONE ? put_new(j) : put_over(j);
}

/* ---- a change ------------------------------------------------------------------------------------------------------------------------------ */

static int begin_record(struct apply *a, struct err *e)
{
	if (a->rec)
		return 0;
	record_prune(a->store);
	return record_create(&a->rec, a->store, &a->head, e);
}

/* A directory goes to the disk once, when the next one is changed or all is done: until then its names are the old or the new in any case. */
static void sync_later(struct apply *a, struct place *at)
{
	struct stat x, y;

	if (at && a->last.dir >= 0 && fstat(at->dir, &x) == 0 && fstat(a->last.dir, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev)
		return;
	if (a->last.dir >= 0)
		place_sync(&a->last);
	place_close(&a->last);
	if (at) {
		a->last = *at;
		at->dir = -1;
	}
}

static enum apply_result do_it(struct job *j)
{
	struct apply *a = j->a;
	struct err e = ERR_INIT;

	if (begin_record(a, &e) < 0 || record_intend(a->rec, j->c->path, &j->told->before, j->text, j->old, &j->told->after, &j->n, &e) < 0)
		return say(j->told, APPLY_ERROR, "%s", e.msg);
	record_tmp_name(j->tmp, a->rec->item[j->n].tmp);
	const int r = carry_out(j);
	sync_later(a, &j->at);
	record_settle(a->rec, j->n, r < 0 ? ITEM_DROPPED : ITEM_DONE);
	if (r == 0)
		return APPLY_DONE;
	if (r == -ESTALE || r == -EEXIST)
		return say(j->told, APPLY_CONFLICT, "the host changed it just now");
	if (r == -ENOTEMPTY)
		return say(j->told, APPLY_CONFLICT, "the directory is not empty on the host");
	return failed(j->told, -r, "not written");
}

/* Size and digest of the content to come. */
static int announce(struct job *j)
{
	const struct apply_change *c = j->c;
	struct look *l = &j->told->after;
	uint8_t chunk[CHUNK];
	struct digest *d;
	off_t at = 0;
	ssize_t n = 0;

	if (c->to == LOOK_LINK) {
		l->size = strlen(c->text);
		return digest_of(c->text, strlen(c->text), l->digest);
	}
	if (c->to != LOOK_FILE || c->content < 0)
		return 0;
	if (!(d = digest_create()))
		return -ENOMEM;
	while ((n = pread(c->content, chunk, sizeof(chunk), at)) > 0 || (n < 0 && errno == EINTR))
		if (n > 0) {
			digest_put(d, chunk, (size_t)n);
			at += n;
		}
	const int r = n < 0 ? -errno : 0;
	digest_take(d, l->digest);
	digest_destroy(&d);
	l->size = (uint64_t)at;
	return r;
}

static enum apply_result look_and_do(struct job *j)
{
	const struct apply_change *c = j->c;
	struct look *before = &j->told->before, *after = &j->told->after;
	int r = place_look(&j->at, before, &j->old);

	if (r == 0 && before->kind == LOOK_LINK)
		r = place_link_text(j->at.dir, j->at.name, j->text);
	if (r < 0)
		return failed(j->told, -r, "cannot be looked at");
	*after = (struct look){ .kind = c->to, .mode = c->to == LOOK_FILE || c->to == LOOK_DIR ? c->mode & MODE_BITS : 0 };
	if ((r = announce(j)) < 0)
		return failed(j->told, -r, "cannot be read");
	if (c->to == LOOK_FILE && c->content < 0) {
		if (before->kind != LOOK_FILE)
			return say(j->told, APPLY_CONFLICT, "it is no file on the host");
		after->size = before->size;
		memcpy(after->digest, before->digest, DIGEST_SIZE);
	}
	if (look_equal(before, after, true))
		return APPLY_SAME;
	if (before->kind == LOOK_OTHER)
		return say(j->told, APPLY_REFUSED, "it is neither file, directory nor link on the host");
	if (c->expect && !look_equal(before, c->expect, c->exact))
		return say(j->told, APPLY_CONFLICT, before->kind == LOOK_NONE ? "the host has deleted it" : c->expect->kind == LOOK_NONE ? "the host has made it too" : "the host has changed it");
	return j->a->dry ? APPLY_DONE : do_it(j);
}

static enum apply_result apply_one(struct apply *a, const struct apply_change *c, struct apply_told *told);

/* The directory above, and those above it, made as the change of its own that it is. */
static enum apply_result make_above(struct apply *a, const char *path, struct apply_told *told)
{
	char above[PLACE_PATH_MAX + 1];
	const char *slash = strrchr(path, '/');
	struct apply_told t;

	snprintf(above, sizeof(above), "%.*s", slash ? (int)(slash - path) : 0, path);
	if (!slash)
		return say(told, APPLY_ERROR, "the workspace is gone");
	const struct apply_change c = { .path = above, .to = LOOK_DIR, .mode = DIR_MODE, .content = -1, .expect = &(struct look){ .kind = LOOK_NONE } };
	const enum apply_result r = apply_one(a, &c, &t);
	if (r > APPLY_SAME)
		str_copy(told->why, sizeof(told->why), t.why);
	return r;
}

static enum apply_result apply_one(struct apply *a, const struct apply_change *c, struct apply_told *told)
{
	struct job j = { .a = a, .c = c, .told = told, .at = PLACE_INIT, .old = -1 };
	enum apply_result res = APPLY_DONE;

	*told = (struct apply_told){ 0 };
	int r = place_open(a->root, c->path, &j.at);
	if (r == -ENOENT) {
		/* Nothing is there to be changed or deleted; what is to be made needs its directory. */
		if (c->to == LOOK_NONE)
			return c->expect && c->expect->kind != LOOK_NONE ? say(told, APPLY_CONFLICT, "the host has deleted it") : APPLY_SAME;
		if (c->expect && c->expect->kind != LOOK_NONE)
			return say(told, APPLY_CONFLICT, "the host has deleted it");
		if ((res = make_above(a, c->path, told)) > APPLY_SAME || a->dry)
			return res;
		r = place_open(a->root, c->path, &j.at);
	}
	res = r < 0 ? failed(told, -r, "cannot be reached") : look_and_do(&j);
	place_close(&j.at);
	fd_close(&j.old);
	return res;
}

enum apply_result apply_change(struct apply *a, const struct apply_change *c, struct apply_told *told)
{
	*told = (struct apply_told){ 0 };
	if (!place_legal(c->path))
		return say(told, APPLY_REFUSED, "its name cannot be");
	if (danger_is_git(c->path))
		return say(told, APPLY_REFUSED, "git's own directory is never changed file by file: what was committed inside comes by 'bulkhead fetch'");
	if (c->to == LOOK_OTHER || c->to >= LOOK_KINDS)
		return say(told, APPLY_REFUSED, "no device, FIFO or socket is made on the host");
	if (c->to == LOOK_LINK && (!*c->text || (!c->anywhere && !apply_link_stays(c->path, c->text))))
		return say(told, APPLY_REFUSED, "the link leads out of the workspace, or could");
	return apply_one(a, c, told);
}

int apply_begin(struct apply **out, int root, int store, const struct record_head *h, bool dry, struct err *e)
{
	struct apply *a = calloc(1, sizeof(*a));

	struct stat st;

	*out = NULL;
	if (!a)
		return err_set(e, ENOMEM, "out of memory");
	if (fstat(root, &st) < 0 || st.st_nlink == 0) {
		free(a);
		return err_set(e, ENOENT, "the workspace '%s' has been deleted on the host", h->workspace);
	}
	*out = a;
	*a = (struct apply){ .root = root, .store = store, .head = *h, .last = PLACE_INIT, .dry = dry };
	return 0;
}

uint32_t apply_id(const struct apply *a)
{
	return a->rec ? a->rec->head.id : 0;
}

uint32_t apply_end(struct apply **ap)
{
	struct apply *a = *ap;
	size_t done = 0;
	uint32_t id = 0;

	if (!a)
		return 0;
	for (size_t i = 0; a->rec && i < a->rec->n; i++)
		done += a->rec->item[i].state == ITEM_DONE;
	sync_later(a, NULL);
	if (a->rec) {
		id = a->rec->head.id;
		record_end(a->rec);
		record_close(&a->rec);
		if (done == 0) {
			record_forget(a->store, id);
			id = 0;
		}
	}
	free(a);
	*ap = NULL;
	return id;
}
