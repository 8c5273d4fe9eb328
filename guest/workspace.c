/* SPDX-License-Identifier: Apache-2.0 */
/* See workspace.h. Sources: mount(2), the kernel's overlayfs.rst and fuse.rst. */
#include "guest/workspace.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/proto/agent.h"
#include "guest/clone.h"
#include "guest/fuserelay.h"
#include "guest/loop.h"

#define SETTLE_MS 10000
#define AGENT_UID 1000
#define OPENING_MAX 8u
#define HELPER_FD 3 /* of /dev/fuse, in a helper */

struct place {
	struct workspace w;
	char apart[64];         /* where its share is mounted, if not at its own path: "" */
	struct fuserelay *relay;
	struct gstream *parked; /* the host's stream came before its hello */
	bool has_lane;          /* of the stream that came last */
	uint8_t sign[FS_LANE_SIGN];
	pid_t helper;           /* mounts, or looks up anew; -1 none */
	bool mounting, mounted;
	bool renew;             /* everything is to be looked up anew: another host end numbers it anew */
	struct workspace_told told;
};

/* A stream whose first frame is not whole yet. */
struct opening { struct gstream *st; struct buf in; };

static struct {
	bool expected, settled;
	size_t n;
	char name[64]; /* the sandbox's */
	struct place p[WORKSPACES_MAX];
	struct opening opening[OPENING_MAX];
	struct timer limit;
	void (*on_settled)(void);
	void (*on_told)(const struct workspace_told *t);
} ws = { .on_settled = NULL };

void workspace_layer(const char *path, char dst[64])
{
	uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */

	for (const char *at = path; *at; at++)
		h = (h ^ (uint8_t)*at) * UINT64_C(1099511628211);
	snprintf(dst, 64, WORKSPACE_LAYERS "/%016llx", (unsigned long long)h);
}

/* ---- what is told ------------------------------------------------------------------------------------------------------------------ */

static void settle(void)
{
	for (size_t i = 0; i < ws.n; i++)
		if (ws.p[i].told.state == WORKSPACE_WAITS)
			return;
	if (ws.settled)
		return;
	ws.settled = true;
	loop_cancel(&ws.limit);
	ws.on_settled();
}

static void tell(struct place *p, enum workspace_state state, const char *why)
{
	p->told.state = (uint8_t)state;
	str_copy(p->told.why, sizeof(p->told.why), why);
	if (state == WORKSPACE_FAILED)
		log_error("workspace '%s': %s", p->w.path, why);
	ws.on_told(&p->told);
	settle();
}

void workspace_tell(void)
{
	for (size_t i = 0; i < ws.n; i++)
		ws.on_told(&ws.p[i].told);
}

static void on_limit(void *arg)
{
	(void)arg;
	if (!ws.settled) {
		ws.settled = true;
		log_error("a workspace is not there yet: going on without it");
		ws.on_settled();
	}
}

/* ---- the helper: a process that may wait for the share ---------------------------------------------------------------------------- */

/* The mount point, and that the agent may come to it. */
static int make_point(const char *path)
{
	char at[WORKSPACE_PATH_MAX + 1];
	struct stat st;

	str_copy(at, sizeof(at), path);
	for (char *p = at + 1;; p++) {
		const char c = *p;

		if (c && c != '/')
			continue;
		*p = '\0';
		if (mkdir(at, 0755) == 0) {
			if (!c && chown(at, AGENT_UID, AGENT_UID) < 0)
				return -errno;
		} else if (errno != EEXIST) {
			return -errno;
		} else if (c && stat(at, &st) == 0 && !(st.st_mode & 1) && chmod(at, (st.st_mode & 07777) | 0111) < 0) {
			return -errno;
		}
		*p = c;
		if (!c)
			return 0;
	}
}

/* Whoever reads on is read ahead for in two requests of the largest size: one is on its way while the other is taken. It waits for the host; without it all is as before. */
static void read_farther(const char *path)
{
	char at[64], kib[16];
	struct stat st;

	if (stat(path, &st) < 0)
		return;
	snprintf(at, sizeof(at), "/sys/class/bdi/%u:%u/read_ahead_kb", major(st.st_dev), minor(st.st_dev));
	const int n = snprintf(kib, sizeof(kib), "%u", 2 * FUSE_DATA_MAX / 1024u);
	AUTO_FD fd = open(at, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, kib, (size_t)n) < 0)
		log_warn("workspace '%s' is read in small pieces: %s", path, strerror(errno));
}

static int mount_share(const char *path, int dev, bool readonly)
{
	char data[128];

	snprintf(data, sizeof(data), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", dev);
	if (mount("workspace", path, "fuse", MS_NOSUID | MS_NODEV | (readonly ? MS_RDONLY : 0), data) < 0)
		return -errno;
	read_farther(path);
	return 0;
}

/* A review's lower layer lies apart, and a clone's share, where git of the sandbox's user reads it. */
static const char *share_of(const struct place *p)
{
	return *p->apart ? p->apart : p->w.path;
}

static void name_share(struct place *p)
{
	if (p->w.mode == WORKSPACE_REVIEW || p->w.mode == WORKSPACE_CLONE)
		snprintf(p->apart, sizeof(p->apart), "/run/bulkhead/%s/%zu", p->w.mode == WORKSPACE_CLONE ? "host" : "lower", (size_t)(p - ws.p));
}

static int mount_overlay(const char *path, const char *lower)
{
	char layer[64], upper[80], work[80], data[512];
	struct stat st;

	workspace_layer(path, layer);
	snprintf(upper, sizeof(upper), "%s/upper", layer);
	snprintf(work, sizeof(work), "%s/work", layer);
	mkdir(layer, 0700);
	if (stat(lower, &st) < 0)
		return -errno;
	/* The root's owner and mode are those of the upper layer. */
	if (mkdir(upper, 0755) == 0 && (chown(upper, st.st_uid, st.st_gid) < 0 || chmod(upper, st.st_mode & 0777) < 0))
		return -errno;
	mkdir(work, 0700);
	snprintf(data, sizeof(data), "lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=on,index=off,metacopy=off", lower, upper, work);
	return mount("workspace", path, "overlay", MS_NOSUID | MS_NODEV, data) < 0 ? -errno : 0;
}

static int mount_clone(const struct place *p, size_t index, int dev)
{
	char layer[64];

	workspace_layer(p->w.path, layer);
	mkdir("/run/bulkhead/host", 0755);
	mkdir(p->apart, 0755);
	const int r = mount_share(p->apart, dev, true);
	return r < 0 ? r : clone_place(&p->w, index, ws.name, p->apart, layer);
}

static int mount_place(const struct place *p, size_t index, int dev)
{
	int r = make_point(p->w.path);

	if (r == 0 && p->w.mode == WORKSPACE_CLONE)
		return mount_clone(p, index, dev);
	if (r < 0 || p->w.mode != WORKSPACE_REVIEW)
		return r < 0 ? r : mount_share(p->w.path, dev, p->w.mode == WORKSPACE_RO);
	mkdir("/run/bulkhead/lower", 0700);
	mkdir(p->apart, 0700);
	if ((r = mount_share(p->apart, dev, true)) < 0)
		return r;
	return mount_overlay(p->w.path, p->apart);
}

/* A remount lets go of every name and inode that nobody uses; what is used next is looked up again. */
static int renew_place(const struct place *p)
{
	const unsigned long flags = MS_REMOUNT | MS_NOSUID | MS_NODEV;

	if (p->w.mode == WORKSPACE_REVIEW && mount(NULL, p->w.path, NULL, flags, NULL) < 0)
		return -errno;
	return mount(NULL, share_of(p), NULL, flags | (p->w.mode == WORKSPACE_LIVE ? 0 : MS_RDONLY), NULL) < 0 ? -errno : 0;
}

/* dev >= 0: mount it; else look up anew. */
static void start_helper(struct place *p, int dev)
{
	const size_t index = (size_t)(p - ws.p);

	p->helper = fork();
	if (p->helper == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		/* A port that a helper holds cannot be opened again. */
		if (dev >= 0 && dev != HELPER_FD)
			dev = dup3(dev, HELPER_FD, O_CLOEXEC); /* git, which a clone's starts, is not to have it */
		syscall(SYS_close_range, dev >= 0 ? HELPER_FD + 1u : HELPER_FD + 0u, ~0u, 0);
		const int r = dev >= 0 ? mount_place(p, index, dev) : renew_place(p);
		_exit(-r);
	}
	if (p->helper < 0 && dev >= 0)
		tell(p, WORKSPACE_FAILED, "no process can be started");
}

static void renew(struct place *p)
{
	p->renew = p->helper > 0 || !p->mounted;
	if (!p->renew)
		start_helper(p, -1);
}

bool workspace_reaped(pid_t pid, int status)
{
	for (size_t i = 0; i < ws.n; i++) {
		struct place *p = &ws.p[i];

		if (p->relay && fuserelay_reaped(p->relay, pid))
			return true;
		if (p->helper != pid)
			continue;
		p->helper = -1;
		const int code = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
		if (p->mounting) {
			p->mounting = false;
			p->mounted = code == 0;
			char why[sizeof(p->told.why)] = "";

			if (code != 0 && p->w.mode == WORKSPACE_CLONE)
				clone_why(i, why, sizeof(why));
			tell(p, code == 0 ? WORKSPACE_MOUNTED : WORKSPACE_FAILED, code == 0 ? "" : *why ? why : strerror(code));
			if (code != 0)
				fuserelay_abort(p->relay);
		} else if (code != 0) {
			log_warn("workspace '%s' cannot be looked up anew: %s", p->w.path, strerror(code));
		}
		if (p->renew && p->mounted)
			renew(p);
		return true;
	}
	return false;
}

/* ---- the relay's events -------------------------------------------------------------------------------------------------------------- */

static void on_up(void *arg, bool again)
{
	struct place *p = arg;

	if (!again)
		return;
	log_info("workspace '%s' is served again", p->w.path);
	renew(p);
	if (p->mounted)
		tell(p, WORKSPACE_MOUNTED, "");
}

static void on_lost(void *arg)
{
	struct place *p = arg;

	if (p->mounted)
		tell(p, WORKSPACE_LOST, "the host does not serve it");
}

static const struct fuserelay_ops relay_ops = { .on_up = on_up, .on_lost = on_lost };

/* ---- the host's streams ----------------------------------------------------------------------------------------------------------------- */

static void parked_data(void *arg, const uint8_t *p, size_t n)
{
	(void)arg;
	(void)p;
	(void)n; /* the host speaks only when spoken to */
}

static void parked_gone(void *arg)
{
	struct place *p = arg;

	p->parked = NULL;
}

static void parked_eof(void *arg)
{
	struct place *p = arg;

	gstream_close(p->parked);
	p->parked = NULL;
}

static void nothing(void *arg)
{
	(void)arg;
}

static const struct gstream_ops parked_ops = { .on_data = parked_data, .on_eof = parked_eof, .on_room = nothing, .on_gone = parked_gone };

static void opening_done(struct opening *o)
{
	o->st = NULL;
	buf_release(&o->in);
}

static void attach(struct place *p, struct gstream *st, const struct gstream_ops **ops, void **arg)
{
	char port[sizeof(FS_LANE_PORT) + 20];

	snprintf(port, sizeof(port), FS_LANE_PORT "%zu", (size_t)(p - ws.p));
	fuserelay_attach(p->relay, st, p->has_lane ? port : NULL, p->sign, ops, arg);
}

/* The frame that says which workspace: from then on the stream is that one's. */
static void opening_data(void *arg, const uint8_t *bytes, size_t n)
{
	struct opening *o = arg;
	struct gstream *st = o->st;
	struct frame f;
	struct rbuf r;
	uint32_t index = WORKSPACES_MAX;
	uint8_t sign[FS_LANE_SIGN];
	bool has_lane = false;
	size_t used;
	int rc = buf_put(&o->in, bytes, n);

	if (rc == 0 && (rc = frame_parse(buf_head(&o->in), buf_size(&o->in), 4 + FS_LANE_SIGN, &f, &used)) == -EAGAIN)
		return;
	if (rc == 0 && f.type == AGENT_FS_OPEN) {
		rbuf_init(&r, f.payload, f.len);
		rbuf_u32(&r, &index);
		if ((has_lane = f.len == 4 + sizeof(sign)))
			memcpy(sign, f.payload + 4, sizeof(sign));
	}
	opening_done(o);
	if (rc < 0 || index >= WORKSPACES_MAX || (ws.expected && index >= ws.n)) {
		log_error("the host opened a workspace that there is not");
		gstream_close(st);
		return;
	}
	struct place *p = &ws.p[index];
	const struct gstream_ops *ops = &parked_ops;
	void *to = p;
	p->has_lane = has_lane;
	if (has_lane)
		memcpy(p->sign, sign, sizeof(sign));
	if (p->relay) {
		attach(p, st, &ops, &to);
	} else {
		if (p->parked)
			gstream_close(p->parked);
		p->parked = st;
	}
	gstream_serve(st, ops, to);
}

static void opening_gone(void *arg)
{
	opening_done(arg);
}

static void opening_eof(void *arg)
{
	struct opening *o = arg;

	gstream_close(o->st);
	opening_done(o);
}

static const struct gstream_ops opening_ops = { .on_data = opening_data, .on_eof = opening_eof, .on_room = nothing, .on_gone = opening_gone };

bool workspace_accept(struct gstream *st, const struct gstream_ops **ops, void **arg)
{
	for (size_t i = 0; i < OPENING_MAX; i++)
		if (!ws.opening[i].st) {
			ws.opening[i].st = st;
			buf_init(&ws.opening[i].in, 64);
			*ops = &opening_ops;
			*arg = &ws.opening[i];
			return true;
		}
	return false;
}

/* ---- begin and end ---------------------------------------------------------------------------------------------------------------------- */

static void begin(struct place *p)
{
	const int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct gstream *st = steal_ptr(&p->parked);

	p->relay = dev >= 0 ? fuserelay_create_take(dev, share_of(p), p->w.mode == WORKSPACE_REVIEW ? p->w.path : NULL, &relay_ops, p) : NULL;
	if (!p->relay) {
		if (st)
			gstream_close(st);
		tell(p, WORKSPACE_FAILED, "the sandbox's kernel has no FUSE");
		return;
	}
	if (st) {
		const struct gstream_ops *ops;
		void *arg;

		attach(p, st, &ops, &arg);
		gstream_serve(st, ops, arg);
	}
	p->mounting = true;
	start_helper(p, dev);
}

void workspace_expect(const struct workspaces *m, const char *name, void (*settled)(void), void (*told)(const struct workspace_told *t))
{
	ws.on_settled = settled;
	ws.on_told = told;
	if (ws.expected) {
		if (ws.settled)
			settled();
		return;
	}
	ws.expected = true;
	ws.n = m->n;
	str_copy(ws.name, sizeof(ws.name), name);
	uint32_t limit_ms = SETTLE_MS;
	for (size_t i = 0; i < ws.n; i++)
		if (m->w[i].mode == WORKSPACE_CLONE)
			limit_ms = CLONE_SETTLE_MS;
	loop_after(&ws.limit, limit_ms, on_limit, NULL);
	for (size_t i = 0; i < ws.n; i++) {
		ws.p[i].w = m->w[i];
		ws.p[i].helper = -1;
		name_share(&ws.p[i]);
		ws.p[i].told = (struct workspace_told){ .index = (uint8_t)i, .state = WORKSPACE_WAITS };
	}
	for (size_t i = 0; i < ws.n; i++)
		begin(&ws.p[i]);
	settle();
}

bool workspace_settled(void)
{
	return ws.settled;
}

const struct workspace *workspace_at(size_t index)
{
	return index < ws.n ? &ws.p[index].w : NULL;
}

bool workspace_covers(const char *path)
{
	for (size_t i = 0; i < ws.n; i++) {
		const size_t n = strlen(ws.p[i].w.path);

		if (strncmp(path, ws.p[i].w.path, n) == 0 && (path[n] == '\0' || path[n] == '/'))
			return true;
	}
	return false;
}

void workspace_abort(void)
{
	for (size_t i = 0; i < ws.n; i++)
		if (ws.p[i].relay)
			fuserelay_abort(ws.p[i].relay);
}
