/* SPDX-License-Identifier: Apache-2.0 */
/* A share's connection: bytes to requests, requests through the gate into libfuse, replies into the owner's buffer. */
#include "core/workspace/share.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/proto/fs.h"
#include "core/workspace/check.h"
#include "core/workspace/impl.h"

#ifndef FUSE_HANDLE_KILLPRIV_V2
#define FUSE_HANDLE_KILLPRIV_V2 (1 << 28)
#endif

/* ---- what libfuse calls ------------------------------------------------------------------------------------------------------- */

static void op_init(void *arg, struct fuse_conn_info *c)
{
	(void)arg;
	c->max_write = CHECK_DATA_MAX;
	c->max_readahead = CHECK_DATA_MAX;
	c->max_background = 64;
	c->want |= c->capable & (FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS |
				 FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS | FUSE_CAP_ASYNC_DIO);
	/* A listing brings what is listed, always: whoever lists a directory mostly looks at its files next. libfuse wants AUTO by itself. */
	c->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	struct share *s = fuse_req_userdata(req);
	struct node *n = node_get(s, ino);

	if (n)
		node_forget(s, n, count);
	fuse_reply_none(req);
}

static void op_forgets(fuse_req_t req, size_t count, struct fuse_forget_data *f)
{
	struct share *s = fuse_req_userdata(req);

	for (size_t i = 0; i < count; i++) {
		struct node *n = node_get(s, f[i].ino);

		if (n)
			node_forget(s, n, f[i].nlookup);
	}
	fuse_reply_none(req);
}

/* Locks are the guest's own kernel's: nobody else shares them, and none can stop us. Neither flush nor access is asked for after the first. */
static const struct fuse_lowlevel_ops ops = {
	.init = op_init, .lookup = op_lookup, .forget = op_forget, .forget_multi = op_forgets, .getattr = op_getattr, .setattr = op_setattr,
	.readlink = op_readlink, .mknod = op_mknod, .mkdir = op_mkdir, .unlink = op_unlink, .rmdir = op_rmdir, .symlink = op_symlink,
	.rename = op_rename, .link = op_link, .open = op_open, .read = op_read, .write = op_write, .release = op_release, .fsync = op_fsync,
	.opendir = op_opendir, .readdir = op_readdir, .readdirplus = op_readdirplus, .fsyncdir = op_fsyncdir,
	.statfs = op_statfs, .getxattr = op_getxattr, .listxattr = op_listxattr, .removexattr = op_removexattr, .create = op_create,
	.fallocate = op_fallocate, .lseek = op_lseek, .copy_file_range = op_copy,
};

/* ---- out ----------------------------------------------------------------------------------------------------------------------- */

static ssize_t on_writev(int fd, struct iovec *v, int count, void *arg)
{
	struct share *s = arg;
	struct fuse_out_header h;
	size_t n = 0;

	(void)fd;
	memcpy(&h, v[0].iov_base, sizeof(h));
	if (s->init_unique && h.unique == s->init_unique && count > 1 && v[1].iov_len >= 16) {
		/* libfuse 3.14 does not know the flag that spares the kernel a question before every write. */
		struct fuse_init_out *out = v[1].iov_base;

		out->flags |= FUSE_HANDLE_KILLPRIV_V2;
	}
	for (int i = 0; i < count; i++) {
		if (h.unique != FS_SILENT)
			buf_put(s->out, v[i].iov_base, v[i].iov_len);
		n += v[i].iov_len;
	}
	return (ssize_t)n;
}

static ssize_t on_read(int fd, void *p, size_t n, void *arg)
{
	(void)fd;
	(void)p;
	(void)n;
	(void)arg;
	errno = EINVAL; /* requests are handed in, never fetched */
	return -1;
}

static const struct fuse_custom_io io = { .writev = on_writev, .read = on_read };

static void answer(struct share *s, uint64_t unique, int error)
{
	const struct fuse_out_header h = { .len = sizeof(h), .error = -error, .unique = unique };

	if (unique != FS_SILENT)
		buf_put(s->out, &h, sizeof(h));
}

/* The guest lends a window, or we go on without. */
static void take_window(struct share *s, const uint8_t *p, size_t n)
{
	const struct fuse_out_header h = { .len = sizeof(h), .error = FS_WINDOW };
	const int r = window_open(&s->window, s->memory, s->sign, p + CHECK_HEAD, n - CHECK_HEAD);

	if (r == 0) {
		buf_put(s->out, &h, sizeof(h));
		s->out = &s->beside;
	} else {
		log_limited(&s->complaints, 5, LOG_WARN, "the memory that the guest lends for contents cannot be used: %s", strerror(-r));
	}
}

/* Where the contents of the request at hand are. False: where there is no such place. */
static bool find_place(struct share *s, struct fuse_in_header *h)
{
	uint8_t *head = (uint8_t *)s->request;
	uint16_t number;

	memcpy(&number, head + FS_PLACE_AT, sizeof(number));
	memset(head + FS_PLACE_AT, 0, sizeof(number));
	s->place = number > 0 ? window_place(&s->window, number) : NULL;
	return number == 0 || (s->place && (h->opcode == FUSE_WRITE || h->opcode == FUSE_READ));
}

static enum check look(struct share *s, struct fuse_in_header *h, size_t n, int *error, struct check_setxattr *x)
{
	memcpy(h, s->request, sizeof(*h));
	*error = EINVAL;
	if (!find_place(s, h))
		return CHECK_REFUSE;
	return check_request((uint8_t *)s->request, n, s->began, s->place ? FS_PLACE_SIZE : 0, error, x);
}

/* ---- in ------------------------------------------------------------------------------------------------------------------------- */

ssize_t share_take(struct share *s, const uint8_t *p, size_t n)
{
	const long len = check_length(p, n);
	struct check_setxattr x;
	struct fuse_in_header h;
	int error = EIO;

	if (len <= 0 || n < (size_t)len)
		return len < 0 ? len : 0;
	if (!s->se || !buf_ok(s->out))
		return -EBADMSG;
	if (buf_room(s->out) < CHECK_REPLY_MAX)
		return -EAGAIN;
	memcpy(&h, p, sizeof(h));
	if (h.opcode == FS_WINDOW && s->memory >= 0 && !s->window.base) {
		take_window(s, p, (size_t)len);
		return buf_ok(s->out) ? len : -EBADMSG;
	}
	memcpy(s->request, p, (size_t)len);
	s->st.requests++;
	const struct fuse_buf b = { .size = (size_t)len, .mem = s->request };
	switch (look(s, &h, (size_t)len, &error, &x)) {
	case CHECK_PASS:
		s->init_unique = s->began ? 0 : h.unique;
		fuse_session_process_buf(s->se, &b);
		s->began = true;
		s->init_unique = 0;
		ahead_walk(s);
		break;
	case CHECK_SETXATTR:
		answer(s, h.unique, do_setxattr(s, h.nodeid, x.name, x.value, x.size, (int)x.flags));
		break;
	case CHECK_REFUSE:
		s->st.refused++;
		answer(s, h.unique, error);
		break;
	case CHECK_DROP:
		break;
	}
	return buf_ok(s->out) ? len : -EBADMSG;
}

int share_begin(struct share *s, struct buf *out)
{
	static char name[] = "bulkhead-fs";
	char *argv[] = { name, NULL };
	struct fuse_args args = { .argc = 1, .argv = argv };

	share_end(s);
	int r = tree_begin(s);
	if (r < 0) {
		tree_clear(s);
		return r;
	}
	s->se = fuse_session_new(&args, &ops, sizeof(ops), s);
	fuse_opt_free_args(&args);
	const int fd = s->se ? eventfd(0, EFD_CLOEXEC) : -1;
	if (!s->se || fd < 0 || fuse_session_custom_io(s->se, &io, fd) != 0) {
		if (s->se)
			fuse_session_destroy(s->se);
		s->se = NULL;
		tree_clear(s);
		return -ENOMEM;
	}
	s->out = out;
	s->began = s->sweeping = false;
	return 0;
}

void share_memory(struct share *s, int memory, const uint8_t sign[FS_LANE_SIGN])
{
	s->memory = memory;
	memcpy(s->sign, sign, sizeof(s->sign));
}

bool share_has_window(const struct share *s)
{
	return s->window.base != NULL;
}

ssize_t share_flush(struct share *s, bool *wake)
{
	const size_t waits = s->window.base ? buf_size(&s->beside) : 0;
	const ssize_t n = waits > 0 ? window_put(&s->window, buf_head(&s->beside), waits) : 0;

	*wake = n > 0 && window_is_asleep(&s->window);
	if (n < 0)
		return n;
	buf_consume(&s->beside, (size_t)n);
	return (ssize_t)waits - n;
}

size_t share_room(const struct share *s)
{
	return s->out ? buf_room(s->out) : 0;
}

void share_end(struct share *s)
{
	if (!s->se)
		return;
	window_close(&s->window);
	buf_release(&s->beside);
	s->memory = -1;
	ahead_stop(s);
	handles_clear(s);
	tree_clear(s);
	fuse_session_destroy(s->se);
	s->se = NULL;
	s->out = NULL;
}

int share_create(struct share **out, const struct share_opts *o, struct err *e)
{
	struct share *s = calloc(1, sizeof(*s));

	*out = NULL;
	if (!s || !(s->request = malloc(CHECK_REQUEST_MAX)) || !(s->data = malloc(CHECK_DATA_MAX))) {
		if (s)
			free(s->request);
		free(s);
		close(o->root);
		return err_set(e, ENOMEM, "out of memory");
	}
	s->root = o->root;
	s->proc = o->proc;
	s->inotify = s->memory = -1;
	buf_init(&s->beside, SHARE_OUT_MAX);
	s->readonly = o->readonly;
	s->ahead = o->ahead;
	s->hide = o->hide;
	s->uid = geteuid();
	s->max_fds = o->max_fds < 64 ? 64 : o->max_fds;
	s->max_watches = o->max_watches ? o->max_watches : SIZE_MAX;
	s->note = o->note;
	s->arg = o->arg;
	if (o->watch && watch_open(s) < 0)
		log_warn("changes of the host will be seen late: %s", strerror(errno));
	*out = s;
	return 0;
}

void share_destroy(struct share **sp)
{
	struct share *s = *sp;

	if (!s)
		return;
	*sp = NULL;
	share_end(s);
	fd_close(&s->inotify);
	fd_close(&s->root);
	free(s->request);
	free(s->data);
	free(s);
}

void share_stats(const struct share *s, struct share_stats *st)
{
	*st = s->st;
	st->nodes = (uint32_t)s->by_id.count;
	st->fds = (uint32_t)s->fds;
	st->watches = (uint32_t)s->by_wd.count;
	st->handles = s->nhandles;
}
