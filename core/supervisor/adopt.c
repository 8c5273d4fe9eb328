/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/adopt.h"

#include <errno.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/loop/after.h"
#include "core/proto/child.h"
#include "core/supervisor/kid.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/net.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/snapshot.h"
#include "core/supervisor/super.h"

static void settled(struct sandbox *sb)
{
	struct super *su = sb->su;

	sb->adopting = false;
	if (--su->adopting == 0 && !su->listener)
		super_serve(su);
}

/* No machine runs: what the recorded state has become. */
static void settle_without_machine(struct sandbox *sb, enum sandbox_state recorded, bool same_boot, const char *why)
{
	bool ran = sandbox_state_has_machine(recorded);

	kid_kill(sb->fs, NULL); /* they serve a machine that is gone */
	kid_kill(sb->review, NULL);
	if (sb->term && sb->term->phase == KID_SYNCED)
		kid_send(sb->term, TERM_MACHINE_GONE, NULL, NULL, NULL, 0);
	if (recorded == SB_FAILED) {
		sandbox_set_state(sb, SB_FAILED, sb->spec.reason);
		sb->console_tail = sandbox_console_tail(sb);
		return;
	}
	if (!ran) {
		sandbox_set_state(sb, SB_STOPPED, sb->spec.reason);
		return;
	}
	if (!same_boot) {
		sandbox_set_state(sb, SB_STOPPED, "the host was restarted while it ran");
	} else if (recorded == SB_PREPARING) {
		sandbox_set_state(sb, SB_STOPPED, "the supervisor ended while it was being started");
	} else if (recorded == SB_STARTING || recorded == SB_RUNNING || recorded == SB_PAUSED) {
		if (why && sb->machine.run == VMM_ENDED && sb->machine.end == VMM_END_POWEROFF) {
			sandbox_set_state(sb, SB_STOPPED, why);
		} else {
			sb->console_tail = sandbox_console_tail(sb);
			sandbox_set_state(sb, SB_FAILED, why ? why : "its machine ended while no supervisor was there");
		}
	} else {
		sandbox_set_state(sb, SB_STOPPED, NULL);
	}
	if (sb->state == SB_STOPPED && sb->spec.remove_on_stop)
		sb->autoremove = true;
	lifelog_add(sb->su, LOG_INFO, sb->spec.name, "found %s%s%s", sandbox_state_name(sb->state), *sb->spec.reason ? ": " : "", sb->spec.reason);
}

static void settle(struct sandbox *sb, const char *why)
{
	enum sandbox_state recorded = sb->spec.state;
	bool same_boot = !strcmp(sb->spec.boot_id, sb->su->boot_id);
	struct err e = ERR_INIT;

	settled(sb);
	if (!sb->vmm)
		net_end(sb);
	if (sb->damaged) {
		machine_end(sb, NULL);
		kid_kill(sb->term, NULL);
		kid_kill(sb->fs, NULL);
		kid_kill(sb->review, NULL);
		char reason[sizeof(sb->spec.reason)];
		str_copy(reason, sizeof(reason), sb->spec.reason);
		sandbox_set_state(sb, SB_FAILED, reason);
		lifelog_add(sb->su, LOG_ERROR, sb->spec.name, "%s", reason);
	} else if (sb->spec.intent == INTENT_REMOVE) {
		if (life_remove(sb, NULL, &e))
			log_error("%s", e.msg);
	} else if (sb->spec.intent == INTENT_RESET) {
		/* After a restart of the host nothing is started by itself. */
		sb->spec.intent_restart = sb->spec.intent_restart && same_boot;
		sandbox_set_state(sb, SB_RESETTING, NULL);
		if (sb->vmm)
			machine_end(sb, NULL);
		else
			life_finish_reset(sb);
	} else if (sb->vmm) {
		life_adopted(sb, recorded);
		lifelog_add(sb->su, LOG_INFO, sb->spec.name, "adopted: %s", sandbox_state_name(sb->state));
	} else {
		settle_without_machine(sb, recorded, same_boot, why);
	}
}

void adopt_progress(struct sandbox *sb, const char *why)
{
	if (sb->vmm && sb->vmm->phase != KID_SYNCED)
		return;
	if (sb->term && sb->term->phase != KID_SYNCED)
		return;
	if ((sb->fs && sb->fs->phase != KID_SYNCED) || (sb->net && sb->net->phase != KID_SYNCED) || (sb->review && sb->review->phase != KID_SYNCED))
		return;
	settle(sb, why);
}

static void on_late(void *arg)
{
	struct super *su = arg;

	for (struct sandbox *sb = su->sandboxes; sb; sb = sb->next) {
		if (!sb->adopting)
			continue;
		if (sb->term && sb->term->phase != KID_SYNCED)
			kid_kill(sb->term, "it did not answer the new supervisor");
		if (sb->fs && sb->fs->phase != KID_SYNCED)
			kid_kill(sb->fs, "it did not answer the new supervisor");
		if (sb->review && sb->review->phase != KID_SYNCED)
			kid_kill(sb->review, "it did not answer the new supervisor");
		if (sb->net && sb->net->phase != KID_SYNCED)
			kid_kill(sb->net, "it did not answer the new supervisor");
		if (sb->vmm && sb->vmm->phase != KID_SYNCED) {
			kid_kill(sb->vmm, "it did not answer the new supervisor");
			machine_end(sb, "its machine did not answer the new supervisor");
		}
		settle(sb, NULL);
	}
}

static int adopt_one(void *arg, const char *name)
{
	struct super *su = arg;
	struct spec spec;
	struct err e = ERR_INIT;
	AUTO_FD dirfd = store_open(&su->store, name, &e);
	bool damaged;

	if (dirfd < 0) {
		log_error("sandbox '%s' is left alone: %s", name, e.msg);
		return 0;
	}
	damaged = store_load(dirfd, name, &spec, &e);
	if (damaged) {
		str_copy(spec.name, sizeof(spec.name), name);
		str_copy(spec.reason, sizeof(spec.reason), e.msg);
		spec.state = SB_FAILED;
	}
	struct sandbox *sb = sandbox_create_take(su, &spec, dirfd);
	if (!sb) {
		spec_release(&spec);
		return -ENOMEM;
	}
	steal_fd(&dirfd);
	sb->damaged = damaged;
	/* Also after a restart of the host: a pid file names a process by its start, and what it names is ours to end. */
	kid_adopt(sb, KID_VMM, &e);
	kid_adopt(sb, KID_TERM, &e);
	kid_adopt(sb, KID_FS, &e);
	kid_adopt(sb, KID_REVIEW, &e);
	kid_adopt(sb, KID_NET, &e);
	snapshot_adopted(sb);
	sb->adopting = true;
	su->adopting++;
	return 0;
}

int adopt_all(struct super *su, struct err *e)
{
	int r;

	su->adopting = 1; /* held until all were begun */
	r = store_each(&su->store, adopt_one, su, e);
	if (r)
		return r;
	for (struct sandbox *sb = su->sandboxes; sb; sb = sb->next)
		adopt_progress(sb, NULL);
	su->adopting--;
	if (su->adopting)
		after_set(&su->adopt_deadline, su->loop, ADOPT_MS, on_late, su);
	else
		super_serve(su);
	return 0;
}
