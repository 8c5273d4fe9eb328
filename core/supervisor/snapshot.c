/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/base/atomicfile.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/path.h"
#include "core/loop/after.h"
#include "core/supervisor/client.h"
#include "core/supervisor/copyfile.h"
#include "core/supervisor/kid.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/limits.h"
#include "core/supervisor/super.h"

#define KEPT "snapshot"
#define NEW_PREFIX ".snapshot-"
#define DISK_PREFIX ".disk-"
#define DISK_RESTORED ".disk-restored"
#define DISK_FILE "disk.img"
#define PAUSE_MS 30000u      /* until the machine stands */
#define PAUSED_MARK "paused" /* in a new one's directory: the machine was paused for it */

enum stage { SNAP_PAUSING, SNAP_SAVING /* vmm */, SNAP_COPYING /* worker: the disk */, SNAP_KEEPING /* worker: the machine goes on */ };

struct snap {
	enum stage stage;
	uint32_t token;
	struct call *call; /* NULL: answered already; it was given up */
	bool paused;       /* by us: it goes on afterwards */
	bool discard;      /* it was reset while the worker was at it */
	int state, memory; /* empty files of the new directory until the vmm has them */
	struct after *late; /* while SNAP_PAUSING */
};

struct work {
	uv_work_t req;
	struct super *su;
	char name[NAME_MAX_LEN + 1];
	char image[IMAGE_ID_MAX];
	uint32_t token;
	bool keep;
	int dirfd; /* of the sandbox, of its own */
	struct err e;
};

static void new_name(char dst[32], uint32_t token)
{
	snprintf(dst, 32, NEW_PREFIX "%u", token);
}

static void disk_name(char dst[32], uint32_t ticket)
{
	snprintf(dst, 32, DISK_PREFIX "%u", ticket);
}

static int open_dir(int dirfd, const char *name, struct err *e)
{
	const int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 ? fd : err_errno(e, errno, "cannot open the snapshot's directory");
}

/* ---- on a worker ---------------------------------------------------------------------------------------------------------------- */

static int copy_disk(const struct work *w, int to, struct err *e)
{
	AUTO_FD from = openat(w->dirfd, DISK_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	AUTO_FD fd = openat(to, DISK_FILE, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (from < 0 || fd < 0)
		return err_errno(e, errno, "cannot copy the disk");
	return copyfile(from, fd, e) ? err_wrap(e, "cannot copy the disk") : 0;
}

static int sync_file(int dirfd, const char *name, struct err *e)
{
	AUTO_FD fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && fsync(fd) == 0 ? 0 : err_errno(e, errno, "cannot write the snapshot");
}

/* Where two names cannot be exchanged the old one is away for a moment. */
static int take_place(int dirfd, const char *fresh, struct err *e)
{
	int r = renameat2(dirfd, fresh, dirfd, KEPT, RENAME_EXCHANGE);

	if (r < 0 && errno != ENOENT)
		path_remove_tree(dirfd, KEPT, NULL);
	if (r < 0)
		r = renameat(dirfd, fresh, dirfd, KEPT);
	return r < 0 || fsync(dirfd) < 0 ? err_errno(e, errno, "cannot keep the snapshot") : 0;
}

static int keep(const struct work *w, int to, const char *fresh, struct err *e)
{
	static const char *const files[] = { "state", "memory", DISK_FILE };
	int r = 0;

	unlinkat(to, PAUSED_MARK, 0);
	for (size_t i = 0; i < ARRAY_SIZE(files) && r == 0; i++)
		r = sync_file(to, files[i], e);
	if (r == 0)
		r = atomicfile_write(to, "image", w->image, strlen(w->image), 0600, e);
	return r == 0 ? take_place(w->dirfd, fresh, e) : r;
}

static void on_work(uv_work_t *req)
{
	struct work *w = req->data;
	char fresh[32];

	new_name(fresh, w->token);
	AUTO_FD to = open_dir(w->dirfd, fresh, &w->e);
	const int r = to < 0 ? to : w->keep ? keep(w, to, fresh, &w->e) : copy_disk(w, to, &w->e);
	if (r < 0 || w->keep) /* what it now is called: nothing, or the one before */
		path_remove_tree(w->dirfd, fresh, NULL);
}

int snapshot_prepare(int dirfd, uint32_t ticket, const char *image, uint64_t disk, uint64_t reserve, struct prepared *p, struct err *e)
{
	char name[32], was[IMAGE_ID_MAX] = "";
	struct stat st;
	struct buf b;

	disk_name(name, ticket);
	if (store_room(dirfd, reserve / 4, e))
		return -e->code;
	AUTO_FD dir = open_dir(dirfd, KEPT, e);
	if (dir < 0)
		return dir;
	buf_init(&b, sizeof(was) - 1);
	if (atomicfile_read(dir, "image", &b, e) == 0)
		memcpy(was, buf_head(&b), buf_size(&b));
	buf_release(&b);
	if (strcmp(was, image) != 0)
		return err_set(e, EBADMSG, "its snapshot is of another guest image (%s) than this version's (%s)", was, image);
	AUTO_FD from = openat(dir, DISK_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	p->state = openat(dir, "state", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	p->memory = openat(dir, "memory", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0 || p->state < 0 || p->memory < 0 || fstat(from, &st) < 0 || (uint64_t)st.st_size != disk)
		return err_set(e, EBADMSG, "its snapshot is damaged: it lacks a file, or its disk is not of %llu bytes", (unsigned long long)disk);
	p->disk = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (p->disk < 0)
		return err_errno(e, errno, "cannot copy the snapshot's disk");
	if (copyfile(from, p->disk, e)) {
		unlinkat(dirfd, name, 0);
		return err_wrap(e, "cannot copy the snapshot's disk");
	}
	return 0;
}

void snapshot_unprepare(int dirfd, uint32_t ticket)
{
	char name[32];

	disk_name(name, ticket);
	unlinkat(dirfd, name, 0);
}

/* ---- files ---------------------------------------------------------------------------------------------------------------------- */

static void look_kept(struct sandbox *sb)
{
	static const char *const files[] = { "state", "memory", DISK_FILE };
	AUTO_FD dir = openat(sb->dirfd, KEPT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	sb->snap_ns = sb->snap_bytes = 0;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (dir < 0 || fstatat(dir, files[i], &st, AT_SYMLINK_NOFOLLOW)) {
			sb->snap_ns = 0;
			return;
		}
		sb->snap_bytes += (uint64_t)st.st_blocks * 512;
		if (i == 0) /* written while the machine stood */
			sb->snap_ns = (uint64_t)st.st_mtim.tv_sec * UINT64_C(1000000000) + (uint64_t)st.st_mtim.tv_nsec;
	}
}

void snapshot_look(struct sandbox *sb)
{
	const int fd = openat(sb->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *de;
	char mark[300];

	while (d && (de = readdir(d))) {
		snprintf(mark, sizeof(mark), "%s/%s", de->d_name, PAUSED_MARK);
		if (str_starts(de->d_name, NEW_PREFIX) && faccessat(sb->dirfd, mark, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			sb->snap_resume = true;
		if (str_starts(de->d_name, NEW_PREFIX) || (str_starts(de->d_name, DISK_PREFIX) && strcmp(de->d_name, DISK_RESTORED) != 0))
			path_remove_tree(sb->dirfd, de->d_name, NULL);
	}
	if (d)
		closedir(d);
	look_kept(sb);
}

void snapshot_adopted(struct sandbox *sb)
{
	struct stat st;

	if (fstatat(sb->dirfd, DISK_RESTORED, &st, AT_SYMLINK_NOFOLLOW))
		return;
	sb->restoring = true;
	if (!sb->vmm)
		snapshot_give_up(sb);
}

void snapshot_remove(struct sandbox *sb)
{
	struct err e = ERR_INIT;

	if (sb->snap)
		sb->snap->discard = true;
	if (path_remove_tree(sb->dirfd, KEPT, &e))
		lifelog_add(sb->su, LOG_ERROR, sb->spec.name, "its snapshot is not removed: %s", e.msg);
	look_kept(sb);
}

json_t *snapshot_json(const struct sandbox *sb)
{
	char created[32];

	if (!sb->snap_ns)
		return json_null();
	clock_rfc3339(created, sb->snap_ns);
	return json_pack("{s:s, s:I}", "created", created, "bytes", (json_int_t)sb->snap_bytes);
}

/* ---- making one ----------------------------------------------------------------------------------------------------------------- */

bool snapshot_busy(const struct sandbox *sb)
{
	return sb->snap != NULL;
}

void snapshot_forget(struct sandbox *sb)
{
	struct snap *s = steal_ptr(&sb->snap);

	if (!s)
		return;
	if (s->call)
		call_error(s->call, RPC_FAILED, "the supervisor ends");
	after_cancel(&s->late);
	fd_close(&s->state);
	fd_close(&s->memory);
	free(s);
}

static void snap_free(struct sandbox *sb)
{
	snapshot_forget(sb);
	if (sb->removing)
		life_finish_remove(sb);
}

static void go_on(struct sandbox *sb)
{
	if (sb->snap->paused && sb->state == SB_PAUSED)
		kid_send(sb->vmm, VMM_RESUME, NULL, NULL, NULL, 0);
	sb->snap->paused = false;
}

void snapshot_abort(struct sandbox *sb, const char *why)
{
	struct snap *s = sb->snap;
	char fresh[32];

	if (!s || s->stage == SNAP_KEEPING)
		return; /* it is whole: nothing that happens to the machine matters to it */
	struct call *call = steal_ptr(&s->call);
	if (call) {
		lifelog_add(sb->su, LOG_WARN, sb->spec.name, "no snapshot: %s", why);
		call_error(call, RPC_FAILED, "no snapshot of sandbox '%s' was made: %s", sb->spec.name, why);
	}
	if (s->stage == SNAP_COPYING)
		return; /* the worker's end comes */
	new_name(fresh, s->token);
	path_remove_tree(sb->dirfd, fresh, NULL);
	go_on(sb);
	snap_free(sb);
}

/* Whatever it does next, it goes on. */
static void on_pause_late(void *arg)
{
	struct sandbox *sb = arg;

	kid_send(sb->vmm, VMM_RESUME, NULL, NULL, NULL, 0);
	sb->snap->paused = false;
	snapshot_abort(sb, "its machine does not answer");
}

static void on_worked(uv_work_t *req, int status);

static int begin_work(struct sandbox *sb, bool keep_it)
{
	struct work *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->req.data = w;
	w->su = sb->su;
	w->token = sb->snap->token;
	w->keep = keep_it;
	str_copy(w->name, sizeof(w->name), sb->spec.name);
	str_copy(w->image, sizeof(w->image), sb->spec.image);
	w->dirfd = fcntl(sb->dirfd, F_DUPFD_CLOEXEC, 3);
	if (w->dirfd < 0 || uv_queue_work(sb->su->loop, &w->req, on_work, on_worked)) {
		fd_close(&w->dirfd);
		free(w);
		return -EIO;
	}
	sb->snap->stage = keep_it ? SNAP_KEEPING : SNAP_COPYING;
	return 0;
}

static void kept(struct sandbox *sb)
{
	struct call *call = steal_ptr(&sb->snap->call);
	const bool discard = sb->snap->discard;
	char size[16];

	if (discard)
		snapshot_remove(sb);
	look_kept(sb);
	str_human(size, sizeof(size), sb->snap_bytes);
	lifelog_add(sb->su, LOG_INFO, sb->spec.name, "snapshot: %s", size);
	sandbox_touch(sb);
	snap_free(sb);
	if (call && discard)
		call_error(call, RPC_FAILED, "sandbox '%s' was reset meanwhile: its snapshot is gone", sb->spec.name);
	else if (call)
		call_result_take(call, sandbox_json(sb));
}

static void on_worked(uv_work_t *req, int status)
{
	struct work *w = req->data;
	struct sandbox *sb = sandbox_find(w->su, w->name);
	struct snap *s = sb && !w->su->ended && sb->snap && sb->snap->token == w->token ? sb->snap : NULL;
	char fresh[32];

	new_name(fresh, w->token);
	if (s && w->keep && !w->e.code && !status) {
		kept(sb);
	} else if (s) {
		go_on(sb);
		const bool on = s->call && !w->e.code && !status && begin_work(sb, true) == 0;
		if (!on) {
			s->stage = SNAP_SAVING; /* no worker any more */
			snapshot_abort(sb, *w->e.msg ? w->e.msg : "out of memory");
		}
	} else {
		path_remove_tree(w->dirfd, fresh, NULL);
	}
	fd_close(&w->dirfd);
	free(w);
}

static int pack_u32(struct buf *b, const void *m)
{
	return buf_u32(b, *(const uint32_t *)m);
}

void snapshot_progress(struct sandbox *sb)
{
	struct snap *s = sb->snap;

	if (sb->snap_resume && sb->state == SB_PAUSED)
		kid_send(sb->vmm, VMM_RESUME, NULL, NULL, NULL, 0);
	if (sb->state == SB_PAUSED || sb->state == SB_RUNNING)
		sb->snap_resume = false;
	if (!s || s->stage != SNAP_PAUSING || sb->state != SB_PAUSED)
		return;
	const int fds[] = { s->state, s->memory };
	s->stage = SNAP_SAVING;
	after_cancel(&s->late);
	kid_send(sb->vmm, VMM_SNAPSHOT, pack_u32, &s->token, fds, ARRAY_SIZE(fds));
	fd_close(&s->state);
	fd_close(&s->memory);
}

void snapshot_told(struct sandbox *sb, const struct vmm_snapped *m)
{
	struct snap *s = sb->snap;

	if (!s || s->stage != SNAP_SAVING || s->token != m->token)
		return; /* one that was given up */
	if (m->code)
		snapshot_abort(sb, *m->why ? m->why : "its machine could not be saved");
	else if (begin_work(sb, false))
		snapshot_abort(sb, "out of memory");
}

static int make_files(struct sandbox *sb, struct snap *s, struct err *e)
{
	char fresh[32];

	new_name(fresh, s->token);
	if (mkdirat(sb->dirfd, fresh, 0700))
		return err_errno(e, errno, "cannot make a directory for the snapshot");
	AUTO_FD dir = open_dir(sb->dirfd, fresh, e);
	if (dir < 0)
		return dir;
	s->state = openat(dir, "state", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	s->memory = openat(dir, "memory", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	AUTO_FD mark = s->paused ? openat(dir, PAUSED_MARK, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
	return s->state >= 0 && s->memory >= 0 && (!s->paused || mark >= 0) ? 0 : err_errno(e, errno, "cannot make the snapshot's files");
}

int snapshot_make(struct sandbox *sb, struct call *call, struct err *e)
{
	static uint32_t tokens;

	if (life_usable(sb, e))
		return -e->code;
	if (sb->snap)
		return err_set(e, EBUSY, "a snapshot of sandbox '%s' is being made already", sb->spec.name);
	if ((sb->state != SB_RUNNING && sb->state != SB_PAUSED) || !sb->vmm || sb->vmm->phase != KID_SYNCED)
		return err_set(e, EPERM, "sandbox '%s' is %s: a snapshot is made of one that runs", sb->spec.name, sandbox_state_name(sb->state));
	if (machine_backend(sb) != BACKEND_KVM)
		return err_set(e, EPERM, "sandbox '%s' runs in QEMU: only bulkhead's own machine (kvm) can be kept in a snapshot", sb->spec.name);
	if (!*sb->spec.image)
		return err_set(e, EPERM, "sandbox '%s' was started by an earlier version: a snapshot is made of it after its next start", sb->spec.name);
	if (store_room(sb->dirfd, sb->su->config.disk_reserve / 4 + sb->spec.memory, e))
		return err_wrap(e, "no snapshot of sandbox '%s' is made", sb->spec.name);
	struct snap *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	s->token = ++tokens;
	s->state = s->memory = -1;
	s->paused = sb->state == SB_RUNNING;
	sb->snap = s;
	if (make_files(sb, s, e)) {
		s->paused = false;
		snapshot_abort(sb, e->msg);
		return -e->code;
	}
	s->call = call;
	if (s->paused) {
		after_set(&s->late, sb->su->loop, PAUSE_MS, on_pause_late, sb);
		kid_send(sb->vmm, VMM_PAUSE, NULL, NULL, NULL, 0);
	}
	snapshot_progress(sb);
	return 0;
}

/* ---- going back to one ---------------------------------------------------------------------------------------------------------- */

int snapshot_restore(struct sandbox *sb, struct err *e)
{
	const bool runs = sb->state == SB_STARTING || sb->state == SB_RUNNING || sb->state == SB_PAUSED;
	struct host_facts h;

	if (life_usable(sb, e))
		return -e->code;
	if (!runs && sb->state != SB_STOPPED && sb->state != SB_FAILED)
		return err_set(e, EPERM, "sandbox '%s' is %s: it cannot be restored", sb->spec.name, sandbox_state_name(sb->state));
	if (!sb->snap_ns)
		return err_set(e, EPERM, "sandbox '%s' has no snapshot ('bulkhead snapshot %s' makes one)", sb->spec.name, sb->spec.name);
	if (machine_backend(sb) != BACKEND_KVM)
		return err_set(e, EPERM, "the snapshot of sandbox '%s' is of bulkhead's own machine (kvm), and here it runs in QEMU", sb->spec.name);
	if (sb->su->shutting_down)
		return err_set(e, EBUSY, "the supervisor is ending");
	super_host(sb->su, &h, sb);
	if (limits_start(&sb->su->config, &h, sb->spec.memory, e))
		return err_wrap(e, "sandbox '%s' is not restored", sb->spec.name);
	after_cancel(&sb->deadline);
	sb->restoring = true;
	if (runs) {
		sandbox_set_state(sb, SB_RESETTING, NULL);
		machine_end(sb, NULL);
	} else {
		life_prepare(sb);
	}
	return 0;
}

int snapshot_accept(struct sandbox *sb, struct err *e)
{
	char name[32];

	if (!sb->restoring)
		return 0;
	if (machine_backend(sb) != BACKEND_KVM) /* known only now */
		return err_set(e, EPERM, "its snapshot is of bulkhead's own machine (kvm), and here it runs in QEMU");
	disk_name(name, sb->ticket);
	if (renameat(sb->dirfd, name, sb->dirfd, DISK_RESTORED))
		return err_errno(e, errno, "cannot take the snapshot's disk");
	return 0;
}

void snapshot_commit(struct sandbox *sb)
{
	/* While it is RESETTING this is the machine before, which is to end. */
	if (!sb->restoring || sb->state != SB_STARTING)
		return;
	sb->restoring = false;
	if (renameat(sb->dirfd, DISK_RESTORED, sb->dirfd, DISK_FILE) || fsync(sb->dirfd)) {
		machine_end(sb, "its restored disk cannot be kept");
		return;
	}
	lifelog_add(sb->su, LOG_INFO, sb->spec.name, "restored: its disk and memory are the snapshot's");
}

bool snapshot_give_up(struct sandbox *sb)
{
	const bool was = sb->restoring;

	if (was)
		unlinkat(sb->dirfd, DISK_RESTORED, 0);
	sb->restoring = false;
	return was;
}
