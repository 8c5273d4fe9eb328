/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting and ending a sandbox's processes.
 *
 * machine_prepare() runs on a worker thread what may take long (verifying the image, the probe); it touches no sandbox, only its own
 * job. machine_start_take() then begins a generation: number on disk first, then bulkhead-term (kept from the machine before, if there
 * was one) and a new bulkhead-vmm with every descriptor it will ever need. The term gets its TERM_START when the channel is up.
 */
#include "core/supervisor/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/path.h"
#include "core/base/sock.h"
#include "core/image/image.h"
#include "core/kit/kit.h"
#include "core/loop/after.h"
#include "core/proto/child.h"
#include "core/supervisor/kid.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/net.h"
#include "core/supervisor/review.h"
#include "core/supervisor/signer.h"
#include "core/supervisor/snapshot.h"
#include "core/supervisor/super.h"

#define CONSOLE_CAP (UINT64_C(16) << 20)
#define VMM_LOG_CAP (UINT64_C(1) << 20)

/* ---- worker ------------------------------------------------------------------------------------------------------------------- */

struct job {
	uv_work_t req;
	struct super *su;
	char name[NAME_MAX_LEN + 1];
	uint32_t ticket;
	bool restore;
	int dirfd; /* of its own */
	uint64_t disk, reserve;
	struct probe probe; /* known: not asked again */
	struct prepared p;
};

void prepared_release(struct prepared *p)
{
	fd_close(&p->kernel);
	fd_close(&p->initrd);
	fd_close(&p->base);
	fd_close(&p->disk);
	fd_close(&p->state);
	fd_close(&p->memory);
}

static const struct prepared nothing = { .kernel = -1, .initrd = -1, .base = -1, .disk = -1, .state = -1, .memory = -1 };

static void on_work(uv_work_t *req)
{
	struct job *j = req->data;
	struct err e = ERR_INIT;
	struct image im;
	bool image = false;

	j->p = nothing;
	if (!j->probe.known || !*j->probe.qemu) /* it may have been installed since */
		probe_run(&j->probe);
	if (image_open(&im, &e)) {
		image = true;
	} else {
		j->p.kernel = im.kernel;
		j->p.initrd = im.initrd;
		j->p.base = im.base;
		str_copy(j->p.image, sizeof(j->p.image), im.id);
		if (j->restore)
			snapshot_prepare(j->dirfd, j->ticket, im.id, j->disk, j->reserve, &j->p, &e);
		else
			j->p.disk = store_open_disk(j->dirfd, j->disk, j->reserve, &e);
	}
	if (e.code) {
		j->p.code = image ? ENXIO : e.code;
		str_copy(j->p.msg, sizeof(j->p.msg), e.msg);
	}
}

static void on_worked(uv_work_t *req, int status)
{
	struct job *j = req->data;
	struct sandbox *sb = sandbox_find(j->su, j->name);

	if (j->probe.known)
		j->su->probe = j->probe;
	if (sb && sb->ticket == j->ticket && !status && !j->su->ended)
		life_prepared(sb, &j->p);
	else if (j->restore)
		snapshot_unprepare(j->dirfd, j->ticket);
	prepared_release(&j->p);
	fd_close(&j->dirfd);
	free(j);
}

void machine_prepare(struct sandbox *sb)
{
	struct job *j = calloc(1, sizeof(*j));
	struct prepared failed = nothing;

	failed.code = ENOMEM;
	str_copy(failed.msg, sizeof(failed.msg), "out of memory");
	if (j) {
		j->restore = sb->restoring;
		j->req.data = j;
		j->su = sb->su;
		j->ticket = sb->ticket;
		str_copy(j->name, sizeof(j->name), sb->spec.name);
		j->dirfd = fcntl(sb->dirfd, F_DUPFD_CLOEXEC, 3);
		j->disk = sb->spec.disk;
		j->reserve = sb->su->config.disk_reserve;
		j->probe = sb->su->probe;
		if (j->dirfd >= 0 && !uv_queue_work(sb->su->loop, &j->req, on_work, on_worked))
			return;
		fd_close(&j->dirfd);
		free(j);
	}
	life_prepared(sb, &failed);
}

/* ---- start -------------------------------------------------------------------------------------------------------------------- */

static int pack_vmm_start(struct buf *b, const void *m) { return vmm_start_pack(b, m); }
static int pack_term_start(struct buf *b, const void *m) { return term_start_pack(b, m); }

static int pack_u32(struct buf *b, const void *m)
{
	return buf_u32(b, *(const uint32_t *)m);
}

static void mark_console(const struct sandbox *sb, int fd)
{
	char at[32];

	clock_rfc3339(at, clock_wall_ns());
	/* A full disk loses the mark, nothing else. */
	if (dprintf(fd, "\n" CONSOLE_MARK "%u of '%s' started %s]\n", sb->spec.gen, sb->spec.name, at) < 0)
		log_warn("cannot write to the console's log of '%s'", sb->spec.name);
}

enum vmm_backend machine_backend(const struct sandbox *sb)
{
	/* A machine that runs is what it is; and before this supervisor has asked the host nothing better is known. */
	if (sb->spec.backend == SPEC_AUTO && sb->spec.ran != SPEC_AUTO && (sb->vmm || !sb->su->probe.known))
		return sb->spec.ran == SPEC_KVM ? BACKEND_KVM : BACKEND_QEMU;
	if (sb->spec.backend == SPEC_AUTO)
		return sb->su->probe.kvm_usable ? BACKEND_KVM : BACKEND_QEMU;
	return sb->spec.backend == SPEC_KVM ? BACKEND_KVM : BACKEND_QEMU;
}

static int spawn_vmm(struct sandbox *sb, struct prepared *p, int dial, int net_dial, struct err *e)
{
	struct vmm_start m = { .backend = machine_backend(sb), .vcpus = sb->spec.cpus, .memory_mib = (uint32_t)(sb->spec.memory >> 20),
			       .kvm_usable = sb->su->probe.kvm_usable, .pages = (uint8_t)sb->su->config.hugepages,
			       .restore = sb->restoring, .lanes = (uint8_t)sb->spec.ws.n };
	AUTO_FREE char *path = str_fmt("%s/sb/%s/channel.sock", sb->su->runtime, sb->spec.name);
	const char *kvm_path = m.backend == BACKEND_KVM ? "/dev/kvm" : "/dev/null";
	AUTO_FD console = -1, hybrid = -1, log = -1, kvm = open(kvm_path, O_RDWR | O_CLOEXEC);

	if (kvm < 0)
		return err_errno(e, errno, "cannot open '%s'", kvm_path);
	str_copy(m.name, sizeof(m.name), sb->spec.name);
	if (!path)
		return err_set(e, ENOMEM, "out of memory");
	if (kid_spawn(sb, KID_VMM, e) || (console = store_open_log(sb->dirfd, "console.log", CONSOLE_CAP, e)) < 0 ||
	    (log = store_open_log(sb->dirfd, "vmm.log", VMM_LOG_CAP, e)) < 0 || (hybrid = sock_listen(path, SOCK_STREAM, e)) < 0)
		return -e->code;
	mark_console(sb, console);
	const int fds[] = { [VMM_FD_KERNEL] = p->kernel, [VMM_FD_INITRD] = p->initrd, [VMM_FD_BASE] = p->base, [VMM_FD_DISK] = p->disk,
			    [VMM_FD_CONSOLE] = console, [VMM_FD_HYBRID] = hybrid, [VMM_FD_LOG] = log, [VMM_FD_DIAL_TERM] = dial,
			    [VMM_FD_DIAL_NET] = net_dial, [VMM_FD_KVM] = kvm, [VMM_FD_STATE] = p->state, [VMM_FD_MEMORY] = p->memory };
	_Static_assert(ARRAY_SIZE(fds) == VMM_FD_RESTORE_NUM, "every descriptor of VMM_START");
	sb->vmm->phase = KID_STARTED;
	kid_send(sb->vmm, VMM_START, pack_vmm_start, &m, fds, m.restore ? VMM_FD_RESTORE_NUM : VMM_FD_NUM);
	return 0;
}

static void forget_machine(struct sandbox *sb)
{
	sb->machine = (struct vmm_state){ .run = VMM_BOOTING };
	sb->guest = (struct term_guest){ .state = GUEST_ABSENT };
	sb->docker = (struct agent_docker){ .state = DOCKER_OFF };
	sb->vmm_stats = sb->vmm_stats_before = (struct vmm_stats){ 0 };
	sb->stats_at_ns = sb->stats_before_at_ns = sb->vmm_at_ns = sb->vmm_before_at_ns = 0;
	sb->going_down = sb->forced = sb->term_sent = sb->stats_due = false;
	sb->doom[0] = '\0';
	fd_close(&sb->dial);
	workspace_forget(sb);
	review_forget(sb);
}

int machine_start_take(struct sandbox *sb, struct prepared *p, struct err *e)
{
	int term[2] = { -1, -1 }, net[2] = { -1, -1 };
	int r;

	forget_machine(sb);
	sb->spec.gen++;
	sb->spec.started_ns = clock_wall_ns();
	str_copy(sb->spec.image, sizeof(sb->spec.image), p->image);
	sb->spec.ran = machine_backend(sb) == BACKEND_KVM ? SPEC_KVM : SPEC_QEMU;
	r = sandbox_save(sb, e);
	if (!r && ((r = fd_pair(SOCK_SEQPACKET, term)) || (r = fd_pair(SOCK_SEQPACKET, net))))
		err_errno(e, -r, "cannot make a socket");
	if (!r && !sb->term)
		r = kid_spawn(sb, KID_TERM, e);
	if (!r)
		r = net_start_take(sb, steal_fd(&net[0]), e);
	if (!r)
		r = spawn_vmm(sb, p, term[1], net[1], e);
	if (r)
		fd_close(&term[0]);
	sb->dial = term[0];
	fd_close(&term[1]);
	fd_close(&net[0]);
	fd_close(&net[1]);
	if (!r)
		r = machine_start_fs(sb, e);
	if (!r)
		r = machine_start_review(sb, e);
	prepared_release(p);
	return r;
}

/* ---- the term's part ---------------------------------------------------------------------------------------------------------- */

/* What the guest's programs trust; given before each of its hellos, so that nothing starts in it without. */
static void send_trust(struct sandbox *sb)
{
	struct err e = ERR_INIT;
	struct buf pem;

	buf_init(&pem, SIGNER_BUNDLE_MAX);
	AUTO_FD fd = signer_bundle(sb->su, &pem, &e) ? -1 : fd_memfd("trust", buf_head(&pem), buf_size(&pem));
	if (fd >= 0)
		kid_send(sb->term, TERM_TRUST, NULL, NULL, &fd, 1);
	else
		lifelog_add(sb->su, LOG_ERROR, sb->spec.name, "it trusts neither this host's certificates nor ours: %s", *e.msg ? e.msg : "out of memory");
	buf_release(&pem);
}

/* Takes dial. */
static int start_term_take(struct sandbox *sb, int dial, struct err *e)
{
	const struct kit *kit = kit_find(sb->spec.kit);
	struct term_start m = { .scrollback = (uint32_t)sb->su->config.scrollback, .record_cap = sb->su->config.record_cap,
				.idle_ms = kit ? kit->idle_ms : 1500 };
	AUTO_FD fd = dial, rec = -1, log = -1;

	str_copy(m.hostname, sizeof(m.hostname), sb->spec.name);
	str_copy(m.workspace, sizeof(m.workspace), sb->spec.path ? sb->spec.path : "");
	workspace_hello(sb, &m.ws);
	str_copy(m.waits_pattern, sizeof(m.waits_pattern), kit ? kit->waits_pattern : "");
	rec = openat(sb->dirfd, "rec", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (rec < 0)
		return err_errno(e, errno, "cannot open the recordings' directory of '%s'", sb->spec.name);
	if ((log = store_open_log(sb->dirfd, "term.log", VMM_LOG_CAP, e)) < 0)
		return -e->code;
	const int fds[] = { [TERM_FD_DIAL] = fd, [TERM_FD_RECDIR] = rec, [TERM_FD_LOG] = log };
	_Static_assert(ARRAY_SIZE(fds) == TERM_FD_NUM, "every descriptor of TERM_START");
	sb->term->gen = sb->spec.gen;
	if (sb->term->phase == KID_FRESH)
		sb->term->phase = KID_STARTED;
	sb->term_sent = true;
	sb->watch_ms = sb->watch_what = 0;
	kid_send(sb->term, TERM_START, pack_term_start, &m, fds, ARRAY_SIZE(fds));
	send_trust(sb);
	return 0;
}

void machine_start_term(struct sandbox *sb)
{
	struct err e = ERR_INIT;

	if (sb->term_sent || !sb->term || sb->dial < 0)
		return;
	if (start_term_take(sb, steal_fd(&sb->dial), &e))
		machine_end(sb, e.msg);
}

int machine_redial(struct sandbox *sb, enum vmm_fd which, struct err *e)
{
	const uint32_t w = which;
	int pair[2];
	const int r = fd_pair(SOCK_SEQPACKET, pair);

	if (r)
		return err_errno(e, -r, "cannot make a socket");
	kid_send(sb->vmm, VMM_DIAL, pack_u32, &w, &pair[1], 1);
	close(pair[1]);
	return pair[0];
}

int machine_replace_term(struct sandbox *sb, struct err *e)
{
	int r;

	fd_close(&sb->dial);
	if (!sb->term && (r = kid_spawn(sb, KID_TERM, e)))
		return r;
	if ((r = machine_redial(sb, VMM_FD_DIAL_TERM, e)) < 0)
		return r;
	sb->term_sent = false;
	sb->guest = (struct term_guest){ .state = GUEST_ABSENT };
	sb->dial = r;
	if (sb->machine.run != VMM_BOOTING)
		machine_start_term(sb);
	return 0;
}

void machine_end(struct sandbox *sb, const char *doom)
{
	if (doom && !*sb->doom)
		str_copy(sb->doom, sizeof(sb->doom), doom);
	kid_kill(sb->vmm, NULL);
}
