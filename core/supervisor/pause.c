/* SPDX-License-Identifier: Apache-2.0 */
/* pause and resume, which the machine may refuse or not answer, and the memory it is asked to give up. */
#include <errno.h>

#include "core/base/str.h"
#include "core/loop/after.h"
#include "core/proto/child.h"
#include "core/supervisor/kid.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/snapshot.h"
#include "core/supervisor/super.h"

#define WISH_MS 10000       /* until a machine that was asked to pause or go on has done so */

static void on_wish_late(void *arg)
{
	life_refused(arg, "its machine does not answer");
}

/* Comes true by life_progress(), or not: life_refused(). */
static void wish(struct sandbox *sb, enum sandbox_state to)
{
	sb->wish = to;
	sb->refused[0] = '\0';
	after_set(&sb->wish_late, sb->su->loop, WISH_MS, on_wish_late, sb);
	kid_send(sb->vmm, to == SB_PAUSED ? VMM_PAUSE : VMM_RESUME, NULL, NULL, NULL, 0);
}

void life_refused(struct sandbox *sb, const char *why)
{
	const bool pause = sb->wish == SB_PAUSED;

	if (sb->wish == SB_NEW)
		return;
	after_cancel(&sb->wish_late);
	sb->wish = SB_NEW;
	snprintf(sb->refused, sizeof(sb->refused), "it was not %s: %s", pause ? "paused" : "resumed", why);
	lifelog_add(sb->su, LOG_WARN, sb->spec.name, "%s", sb->refused);
	sandbox_touch(sb);
}

int life_pause(struct sandbox *sb, struct err *e)
{
	if (life_usable(sb, e))
		return -e->code;
	if (sb->state == SB_PAUSED)
		return 0;
	if (sb->state != SB_RUNNING)
		return life_wrong_state(sb, "paused", e);
	if (snapshot_busy(sb))
		return err_set(e, EBUSY, "a snapshot of sandbox '%s' is being made", sb->spec.name);
	wish(sb, SB_PAUSED);
	return 0;
}

int life_resume(struct sandbox *sb, struct err *e)
{
	if (life_usable(sb, e))
		return -e->code;
	if (sb->state == SB_RUNNING)
		return 0;
	if (sb->state != SB_PAUSED)
		return life_wrong_state(sb, "resumed", e);
	if (snapshot_busy(sb))
		return err_set(e, EBUSY, "a snapshot of sandbox '%s' is being made", sb->spec.name);
	wish(sb, SB_RUNNING);
	return 0;
}

static int pack_u64(struct buf *b, const void *m)
{
	return buf_u64(b, *(const uint64_t *)m);
}

int life_balloon(struct sandbox *sb, uint64_t bytes, struct err *e)
{
	if (life_usable(sb, e))
		return -e->code;
	if (sb->state != SB_RUNNING)
		return life_wrong_state(sb, "squeezed", e);
	if (machine_backend(sb) != BACKEND_KVM)
		return err_set(e, EPERM, "sandbox '%s' runs in QEMU, whose machine has no balloon", sb->spec.name);
	if (bytes > sb->spec.memory / 4 * 3)
		return err_set(e, EINVAL, "sandbox '%s' cannot give up more than three quarters of its memory", sb->spec.name);
	kid_send(sb->vmm, VMM_BALLOON, pack_u64, &bytes, NULL, 0);
	return 0;
}
