/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person can ask of a sandbox, and what events of its processes mean: the actions on the edges of state.c.
 *
 * Requests check the state, write down the intention where something is lost by it, and begin; the end comes from life_prepared(),
 * life_progress(), life_machine_gone() and the deadline.
 */
#include "core/supervisor/sandbox.h"

#include <errno.h>
#include <fcntl.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/path.h"
#include "core/loop/after.h"
#include "core/proto/child.h"
#include "core/supervisor/client.h"
#include "core/supervisor/events.h"
#include "core/supervisor/kid.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/secrets.h"
#include "core/supervisor/net.h"
#include "core/supervisor/review.h"
#include "core/supervisor/snapshot.h"
#include "core/supervisor/super.h"

#define AGENT_LOST_MS 10000 /* the agent's end to the machine's */
#define AGENT_SILENT_MS 60000 /* a guest with too much to do, or one whose memory is being swapped, is not to be killed for that */
#define BOOTS_AGAIN 2u
#define FORCE_MS 3000       /* the deadline is the guest's; ours is a little later, so that it can end in order */
#define DEATHS_MAX 5u       /* of one kind of child, in a minute */
#define MINUTE_NS UINT64_C(60000000000)

int life_wrong_state(const struct sandbox *sb, const char *what, struct err *e)
{
	return err_set(e, EPERM, "sandbox '%s' is %s: it cannot be %s", sb->spec.name, sandbox_state_name(sb->state), what);
}

int life_usable(const struct sandbox *sb, struct err *e)
{
	if (sb->removing)
		return err_set(e, EBUSY, "sandbox '%s' is being removed", sb->spec.name);
	if (sb->damaged)
		return err_set(e, EPERM, "sandbox '%s' cannot be used: %s; it can only be removed", sb->spec.name, sb->spec.reason);
	return 0;
}

static int pack_u32(struct buf *b, const void *m)
{
	return buf_u32(b, *(const uint32_t *)m);
}

/* ---- start ---------------------------------------------------------------------------------------------------------------------- */

static void answer_start(struct sandbox *sb, const struct err *e)
{
	struct call *call = steal_ptr(&sb->start_call);

	if (call && e)
		call_error_err(call, e);
	else if (call)
		call_result_take(call, sandbox_json(sb));
}

void life_prepare(struct sandbox *sb)
{
	sb->ticket++;
	sb->boots = 0;
	sandbox_set_state(sb, SB_PREPARING, NULL);
	sb->prepare_waits = review_is_alone(sb);
	if (!sb->prepare_waits)
		machine_prepare(sb);
}

bool life_review_left(struct sandbox *sb)
{
	const bool waited = sb->prepare_waits;

	sb->prepare_waits = false;
	if (waited && sb->state == SB_PREPARING)
		machine_prepare(sb);
	return waited;
}

int life_start(struct sandbox *sb, struct call *call, struct err *e)
{
	struct host_facts h;

	if (life_usable(sb, e))
		return -e->code;
	if (sb->state != SB_STOPPED && sb->state != SB_FAILED)
		return life_wrong_state(sb, "started", e);
	if (sb->su->shutting_down)
		return err_set(e, EBUSY, "the supervisor is ending");
	super_host(sb->su, &h, sb);
	if (limits_start(&sb->su->config, &h, sb->spec.memory, e))
		return err_wrap(e, "sandbox '%s' is not started", sb->spec.name);
	sb->start_call = call;
	life_prepare(sb);
	return 0;
}

static void on_boot_late(void *arg)
{
	struct sandbox *sb = arg;
	const bool vain = machine_backend(sb) == BACKEND_KVM && !sb->su->probe.kvm_usable;
	char why[sizeof(sb->doom)];

	snprintf(why, sizeof(why), "the guest did not answer within %llu s%s%.200s", (unsigned long long)sb->su->config.boot_ms / 1000, vain ? ": its backend is kvm, but " : "",
		 vain ? sb->su->probe.sentence : "");
	machine_end(sb, why);
}

/* Nobody who asked for KVM gets something else without a word. Where it only emulates a machine can be tried, with patience. */
static int check_backend(const struct sandbox *sb, struct err *e)
{
	const struct probe *p = &sb->su->probe;

	if (machine_backend(sb) == BACKEND_QEMU && p->known && !*p->qemu)
		return err_set(e, ENOENT, "QEMU is missing, or 'qemu-system-x86_64 --version' tells none; on Debian: apt install qemu-system-x86");
	if (sb->spec.backend != SPEC_KVM || p->kvm_usable)
		return 0;
	if (strcmp(p->kvm, "emulates"))
		return err_set(e, ENODEV, "its backend is kvm, but %s (with --backend auto or qemu it would run here)", p->sentence);
	lifelog_add(sb->su, LOG_WARN, sb->spec.name, "its backend is kvm, but %s; it will be very slow (--backend auto would take QEMU)", p->sentence);
	return 0;
}

void life_prepared(struct sandbox *sb, struct prepared *p)
{
	struct err e = ERR_INIT;
	bool asked = sb->start_call;

	if (sb->state != SB_PREPARING)
		return;
	if (p->code)
		err_set(&e, p->code, "%s", p->msg);
	else if (!check_backend(sb, &e) && !snapshot_accept(sb, &e) && !machine_start_take(sb, p, &e)) {
		sandbox_set_state(sb, SB_STARTING, NULL);
		after_set(&sb->deadline, sb->su->loop, sb->su->config.boot_ms, on_boot_late, sb);
		answer_start(sb, NULL);
		return;
	}
	err_wrap(&e, "sandbox '%s' cannot start", sb->spec.name);
	/* What was spawned ends; a vmm that lives makes it STARTING, so that its end is waited for. */
	if (sb->vmm) {
		sandbox_set_state(sb, SB_STARTING, NULL);
		machine_end(sb, e.msg);
	} else {
		net_end(sb);
		if (snapshot_give_up(sb))
			snapshot_unprepare(sb->dirfd, sb->ticket);
		sandbox_set_state(sb, asked ? SB_STOPPED : SB_FAILED, e.msg);
	}
	answer_start(sb, &e);
}

/* ---- running ---------------------------------------------------------------------------------------------------------------------- */

static void on_agent_lost(void *arg)
{
	const struct sandbox *sb = arg;
	char why[sizeof(sb->doom)];

	snprintf(why, sizeof(why), "the guest agent is lost (%.200s) and the machine went on without it", *sb->guest.why ? sb->guest.why : "it ended");
	machine_end(arg, why);
}

/* Nothing can be run in it, or ended in order: it is of no use to anybody. */
static void agent_refused(struct sandbox *sb)
{
	char why[sizeof(sb->doom)];

	snprintf(why, sizeof(why), "the guest agent is not listened to any more: %.200s", *sb->guest.why ? sb->guest.why : "it broke the protocol");
	machine_end(sb, why);
}

static void on_stop_late(void *arg)
{
	struct sandbox *sb = arg;

	sb->forced = true;
	machine_end(sb, NULL);
}

/* Why it paused without being asked; NULL when it was. */
static const char *paused_why(const struct sandbox *sb)
{
	return sb->machine.why[0] ? sb->machine.why : NULL;
}

static void progress_starting(struct sandbox *sb)
{
	if (sb->machine.run == VMM_PAUSED) {
		after_cancel(&sb->deadline);
		sandbox_set_state(sb, SB_PAUSED, paused_why(sb));
	} else if (sb->guest.state == GUEST_REFUSED) {
		machine_end(sb, *sb->guest.why ? sb->guest.why : "the guest agent does not fit this version");
	} else if (sb->guest.state == GUEST_READY) {
		after_cancel(&sb->deadline);
		sb->boots = 0;
		sandbox_set_state(sb, SB_RUNNING, NULL);
	}
}

void life_progress(struct sandbox *sb)
{
	if (sb->adopting) {
		adopt_progress(sb, NULL);
		return;
	}
	if (!sb->vmm || sb->vmm->phase != KID_SYNCED || sb->removing)
		return;
	snapshot_commit(sb);
	if (sb->machine.run == VMM_RUNNING || sb->machine.run == VMM_PAUSED)
		machine_start_term(sb);
	switch (sb->state) {
	case SB_STARTING:
		progress_starting(sb);
		break;
	case SB_RUNNING:
		if (sb->machine.run == VMM_PAUSED)
			sandbox_set_state(sb, SB_PAUSED, paused_why(sb));
		else if (sb->guest.state == GUEST_REFUSED && !sb->going_down)
			agent_refused(sb);
		else if ((sb->guest.state == GUEST_LOST || sb->guest.state == GUEST_SILENT) && !sb->going_down && !sb->deadline)
			after_set(&sb->deadline, sb->su->loop, sb->guest.state == GUEST_LOST ? AGENT_LOST_MS : AGENT_SILENT_MS, on_agent_lost, sb);
		else if (sb->guest.state == GUEST_READY)
			after_cancel(&sb->deadline);
		break;
	case SB_PAUSED:
		if (sb->machine.run == VMM_RUNNING) {
			sandbox_set_state(sb, SB_RUNNING, NULL);
			kid_send(sb->term, TERM_TIME, NULL, NULL, NULL, 0);
		}
		break;
	default:
		break;
	}
	snapshot_progress(sb);
}

void life_adopted(struct sandbox *sb, enum sandbox_state recorded)
{
	struct err e = ERR_INIT;

	if (recorded == SB_STOPPING) {
		/* Asked for by somebody who is gone: what time is left is not known. */
		sandbox_set_state(sb, SB_STOPPING, NULL);
		after_set(&sb->deadline, sb->su->loop, sb->su->config.stop_ms, on_stop_late, sb);
		return;
	}
	sandbox_set_state(sb, SB_STARTING, NULL);
	after_set(&sb->deadline, sb->su->loop, sb->su->config.boot_ms, on_boot_late, sb);
	sb->term_sent = sb->term && sb->term->told_gen == sb->spec.gen;
	if ((!sb->term_sent && machine_replace_term(sb, &e)) || (!sb->fs && machine_start_fs(sb, &e)) ||
	    (!sb->review && machine_start_review(sb, &e)))
		machine_end(sb, e.msg);
	net_adopted(sb);
	life_progress(sb);
}

/* ---- ending ------------------------------------------------------------------------------------------------------------------------ */

/* PREPARING has no process: it ends at once. */
static void cancel_prepare(struct sandbox *sb)
{
	struct err e = ERR_INIT;

	err_set(&e, EPERM, "sandbox '%s' was ended before it began", sb->spec.name);
	sb->ticket++;
	sb->prepare_waits = false;
	snapshot_give_up(sb);
	sandbox_set_state(sb, SB_STOPPED, NULL);
	answer_start(sb, &e);
}

int life_stop(struct sandbox *sb, uint64_t deadline_ms, struct err *e)
{
	uint32_t ms = (uint32_t)deadline_ms;

	if (life_usable(sb, e))
		return -e->code;
	switch (sb->state) {
	case SB_PREPARING:
		cancel_prepare(sb);
		return 0;
	case SB_STARTING:
		/* Nobody is there who could go down in order. */
		sandbox_set_state(sb, SB_STOPPING, NULL);
		machine_end(sb, NULL);
		return 0;
	case SB_PAUSED:
		kid_send(sb->vmm, VMM_RESUME, NULL, NULL, NULL, 0);
		/* fall through */
	case SB_RUNNING:
		sandbox_set_state(sb, SB_STOPPING, NULL);
		kid_send(sb->term, TERM_SHUTDOWN, pack_u32, &ms, NULL, 0);
		after_set(&sb->deadline, sb->su->loop, deadline_ms ? deadline_ms + FORCE_MS : 0, on_stop_late, sb);
		return 0;
	case SB_STOPPING:
	case SB_STOPPED:
		return 0;
	default:
		return life_wrong_state(sb, "stopped", e);
	}
}

int life_kill(struct sandbox *sb, struct err *e)
{
	if (life_usable(sb, e))
		return -e->code;
	switch (sb->state) {
	case SB_PREPARING:
		cancel_prepare(sb);
		return 0;
	case SB_STARTING:
	case SB_RUNNING:
	case SB_PAUSED:
		after_cancel(&sb->deadline);
		sandbox_set_state(sb, SB_STOPPING, NULL);
		machine_end(sb, NULL);
		return 0;
	case SB_STOPPING:
		machine_end(sb, NULL);
		return 0;
	case SB_STOPPED:
		return 0;
	default:
		return life_wrong_state(sb, "killed", e);
	}
}

int life_reset(struct sandbox *sb, struct err *e)
{
	bool restart = sb->state == SB_STARTING || sb->state == SB_RUNNING || sb->state == SB_PAUSED;

	if (life_usable(sb, e))
		return -e->code;
	if (!restart && sb->state != SB_STOPPED && sb->state != SB_FAILED)
		return life_wrong_state(sb, "reset", e);
	sb->spec.intent = INTENT_RESET;
	sb->spec.intent_restart = restart;
	if (sandbox_save(sb, e)) {
		sb->spec.intent = INTENT_NONE;
		return -e->code;
	}
	after_cancel(&sb->deadline);
	snapshot_give_up(sb);
	sandbox_set_state(sb, SB_RESETTING, NULL);
	if (sb->vmm)
		machine_end(sb, NULL);
	else
		life_finish_reset(sb);
	return 0;
}

void life_finish_reset(struct sandbox *sb)
{
	struct err e = ERR_INIT;
	bool restart = sb->spec.intent_restart;

	if (sb->restoring && !sb->su->shutting_down) { /* not a clean disk, but the snapshot's */
		life_prepare(sb);
		return;
	}
	if (snapshot_give_up(sb) || sb->spec.intent != INTENT_RESET) { /* no disk is thrown away but by who asked for that */
		sandbox_set_state(sb, SB_STOPPED, NULL);
		return;
	}
	if (store_make_disk(sb->dirfd, sb->spec.disk, sb->su->config.disk_reserve, &e)) {
		/* The intention stays: the next start of the supervisor, or the next reset, tries again. */
		sandbox_set_state(sb, SB_FAILED, e.msg);
		return;
	}
	sb->spec.intent = INTENT_NONE;
	sb->spec.intent_restart = false;
	snapshot_remove(sb);
	lifelog_add(sb->su, LOG_INFO, sb->spec.name, "reset: the disk is a clean one");
	if (!restart || sb->su->shutting_down) {
		sandbox_set_state(sb, SB_STOPPED, NULL);
		return;
	}
	life_prepare(sb);
}

/* ---- removing ---------------------------------------------------------------------------------------------------------------------- */

struct removal {
	uv_work_t req;
	struct super *su;
	struct store store;
	char name[NAME_MAX_LEN + 1];
	struct err e;
};

static void on_remove_work(uv_work_t *req)
{
	struct removal *r = req->data;

	store_remove(&r->store, r->name, &r->e);
}

static void on_removed(uv_work_t *req, int status)
{
	struct removal *r = req->data;
	struct super *su = r->su;
	struct sandbox *sb = sandbox_find(su, r->name);
	struct call *call = sb ? steal_ptr(&sb->remove_call) : NULL;

	(void)status;
	if (r->e.code && sb) {
		sb->removing = false;
		lifelog_add(su, LOG_ERROR, r->name, "not removed: %s", r->e.msg);
		if (call)
			call_error(call, RPC_FAILED, "%s", r->e.msg);
		sandbox_touch(sb);
	} else if (sb) {
		path_remove_tree(su->sb_dirfd, r->name, NULL);
		secrets_forget(su, r->name);
		sandbox_destroy(sb);
		lifelog_add(su, LOG_INFO, r->name, "removed");
		events_removed(su, r->name);
		if (call)
			call_result_take(call, json_object());
		events_host(su);
		super_defer(su);
	}
	free(r);
}

void life_finish_remove(struct sandbox *sb)
{
	struct removal *r;

	if (sb->vmm || sb->term || sb->fs || sb->review || sb->net || snapshot_busy(sb))
		return;
	if (!(r = calloc(1, sizeof(*r))))
		return; /* the intention is on disk: the next supervisor finishes it */
	r->req.data = r;
	r->su = sb->su;
	r->store = sb->su->store;
	str_copy(r->name, sizeof(r->name), sb->spec.name);
	if (uv_queue_work(sb->su->loop, &r->req, on_remove_work, on_removed))
		free(r);
}

int life_remove(struct sandbox *sb, struct call *call, struct err *e)
{
	if (sb->removing)
		return err_set(e, EBUSY, "sandbox '%s' is being removed already", sb->spec.name);
	if (sb->state == SB_PREPARING)
		cancel_prepare(sb);
	sb->spec.intent = INTENT_REMOVE;
	if (sandbox_save(sb, e)) {
		sb->spec.intent = INTENT_NONE;
		return -e->code;
	}
	snapshot_abort(sb, "it is being removed");
	sb->removing = true;
	sb->remove_call = call;
	after_cancel(&sb->deadline);
	machine_end(sb, NULL);
	kid_kill(sb->term, NULL);
	kid_kill(sb->fs, NULL);
	kid_kill(sb->review, NULL);
	if (!sb->vmm)
		net_end(sb);
	life_finish_remove(sb);
	return 0;
}

/* ---- processes end ------------------------------------------------------------------------------------------------------------------ */

static void fail(struct sandbox *sb, const char *reason)
{
	json_decref(sb->console_tail);
	sb->console_tail = sandbox_console_tail(sb);
	sandbox_set_state(sb, SB_FAILED, reason);
}

/*
 * QEMU's emulation loses a race now and then when a kernel patches its own code while it boots (seen with 7.2: one boot in about a hundred panics in
 * sched_clock_tick). Nothing ran yet that a person could miss, so it is begun again.
 */
static bool boots_again(struct sandbox *sb, const struct vmm_state *m, const char *reason)
{
	if (*sb->doom || m->run != VMM_ENDED || m->end != VMM_END_PANIC || sb->su->probe.kvm_usable || sb->su->shutting_down || ++sb->boots > BOOTS_AGAIN)
		return false;
	lifelog_add(sb->su, LOG_WARN, sb->spec.name, "it did not get through its emulated boot and is started again: %s", reason);
	sb->ticket++;
	sandbox_set_state(sb, SB_PREPARING, NULL);
	machine_prepare(sb);
	return true;
}

void life_machine_gone(struct sandbox *sb, const char *how)
{
	const struct vmm_state m = sb->machine;
	char reason[sizeof(sb->spec.reason)];

	after_cancel(&sb->deadline);
	/* Its bulkhead-fs, -review and -net go with it; life_fs_gone(), review_gone() and net_gone() come back here. */
	if (sb->fs || sb->review || sb->net) {
		str_copy(sb->gone, sizeof(sb->gone), *how ? how : "it ended");
		kid_kill(sb->fs, NULL);
		kid_kill(sb->review, NULL);
		net_end(sb);
		return;
	}
	sb->machine.run = VMM_ENDED;
	sb->guest.state = GUEST_ABSENT;
	sb->docker.state = DOCKER_OFF;
	sb->stats_at_ns = sb->stats_before_at_ns = sb->vmm_at_ns = sb->vmm_before_at_ns = 0;
	fd_close(&sb->dial);
	kid_send(sb->term, TERM_MACHINE_GONE, NULL, NULL, NULL, 0);
	if (!sb->term || !sb->term_sent)
		session_fail_all(sb, "the machine has ended");
	if (sb->removing) {
		life_finish_remove(sb);
		return;
	}
	const bool lost = sb->state != SB_RESETTING && snapshot_give_up(sb);
	snprintf(reason, sizeof(reason), "%s%.450s", lost ? "it was not restored, its disk is as it was: " : "",
		 *sb->doom ? sb->doom : m.run == VMM_ENDED && *m.why ? m.why : how);
	if (sb->adopting) {
		adopt_progress(sb, reason);
		return;
	}
	switch (sb->state) {
	case SB_STOPPING:
		sandbox_set_state(sb, SB_STOPPED, sb->forced ? "it did not go down in time and was ended" : NULL);
		break;
	case SB_RESETTING:
		life_finish_reset(sb);
		break;
	case SB_STARTING:
		if (boots_again(sb, &m, reason))
			break;
		/* fall through */
	case SB_RUNNING:
	case SB_PAUSED:
		if (!*sb->doom && m.run == VMM_ENDED && (m.end == VMM_END_POWEROFF || m.end == VMM_END_REBOOT) && sb->state != SB_STARTING)
			sandbox_set_state(sb, SB_STOPPED, m.end == VMM_END_REBOOT ? "the guest restarted itself: start it again" : reason);
		else
			fail(sb, reason);
		break;
	default:
		break;
	}
}

/* It is being removed or adopted: that goes on, nothing is replaced. */
static bool gone_elsewhere(struct sandbox *sb)
{
	const bool elsewhere = sb->removing || sb->adopting;

	if (sb->removing)
		life_finish_remove(sb);
	else if (sb->adopting)
		adopt_progress(sb, NULL);
	return elsewhere;
}

bool life_child_gone(struct sandbox *sb)
{
	char gone[sizeof(sb->gone)];

	if (*sb->gone) { /* the machine's end waited for this one's */
		str_copy(gone, sizeof(gone), sb->gone);
		sb->gone[0] = '\0';
		life_machine_gone(sb, gone);
		return true;
	}
	return gone_elsewhere(sb);
}

void life_replace(struct sandbox *sb, struct deaths *d, const char *how, const char *lost, int (*replace)(struct sandbox *sb, struct err *e))
{
	const struct kid *v = sb->vmm;
	const uint64_t now = clock_ns();
	struct err e = ERR_INIT;

	if (sb->su->ended || !v || !v->seq || !v->proc || v->phase == KID_ENDED ||
	    (sb->state != SB_STARTING && sb->state != SB_RUNNING && sb->state != SB_PAUSED))
		return;
	lifelog_add(sb->su, LOG_ERROR, sb->spec.name, "%s; %s", how, lost);
	if (now - d->since_ns > MINUTE_NS)
		*d = (struct deaths){ .since_ns = now };
	if (++d->n > DEATHS_MAX) {
		char doom[sizeof(sb->doom)];
		snprintf(doom, sizeof(doom), "%.200s, again and again", how);
		machine_end(sb, doom);
	} else if (replace(sb, &e)) {
		machine_end(sb, e.msg);
	}
}

void life_term_gone(struct sandbox *sb, const char *how)
{
	char why[200];

	if (gone_elsewhere(sb))
		return;
	snprintf(why, sizeof(why), "its terminal is lost: %s", how);
	session_fail_all(sb, why);
	sb->term_sent = false;
	life_replace(sb, &sb->term_deaths, how, "its sessions are lost", machine_replace_term);
}

void life_fs_gone(struct sandbox *sb, const char *how)
{
	if (!life_child_gone(sb))
		life_replace(sb, &sb->fs_deaths, how, "its workspaces answer with errors until another is there", machine_start_fs);
}
