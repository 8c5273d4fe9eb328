/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens once after a turn. Handlers only mark (touch, set a state, keep a call); here events go out, waiting calls are looked at,
 * removals begin, `sync` is answered and clients are closed: so a turn's changes are one event, and order is one place.
 */
#include "core/supervisor/super.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/path.h"
#include "core/base/sock.h"
#include "core/loop/after.h"
#include "core/loop/listen.h"
#include "core/loop/seq.h"
#include "core/proto/child.h"
#include "core/supervisor/client.h"
#include "core/supervisor/events.h"
#include "core/supervisor/kid.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/secrets.h"
#include "core/supervisor/wait.h"

static void on_defer(uv_idle_t *h)
{
	super_turn(h->data);
}

void super_defer(struct super *su)
{
	if (su->deferred || su->ended)
		return;
	su->deferred = true;
	uv_idle_start(&su->defer, on_defer);
}

void super_host(struct super *su, struct host_facts *h, const struct sandbox *except)
{
	*h = (struct host_facts){ 0 };
	limits_host(h);
	for (const struct sandbox *sb = su->sandboxes; sb; sb = sb->next) {
		if (sb == except)
			continue;
		h->sandboxes++;
		if (!sandbox_state_has_machine(sb->state))
			continue;
		h->running++;
		h->memory_promised += sb->spec.memory;
	}
}

static bool any_machine(const struct super *su)
{
	for (const struct sandbox *sb = su->sandboxes; sb; sb = sb->next)
		if (sb->vmm || sandbox_state_has_machine(sb->state) || sb->removing)
			return true;
	return false;
}

void super_turn(struct super *su)
{
	bool changed = false;
	struct err e = ERR_INIT;

	su->deferred = false;
	uv_idle_stop(&su->defer);
	for (struct sandbox *sb = su->sandboxes; sb; sb = sb->next) {
		if (sb->dirty && sb->state != SB_NEW) {
			sb->dirty = false;
			changed = true;
			events_sandbox(sb);
		}
		if (sb->autoremove && !sb->removing) {
			sb->autoremove = false;
			if (life_remove(sb, NULL, &e))
				lifelog_add(su, LOG_ERROR, sb->spec.name, "not removed: %s", e.msg);
		}
	}
	if (changed) {
		events_host(su);
		secrets_idle(su);
	}
	wait_check(su);
	client_turn(su);
	if (su->shutting_down && !any_machine(su))
		super_end(su, true);
}

static void on_accept(void *arg, int fd)
{
	client_accept_take(arg, fd);
}

void super_serve(struct super *su)
{
	struct err e = ERR_INIT;
	AUTO_FREE char *path = path_join(su->runtime, "supervisor.sock");

	after_cancel(&su->adopt_deadline);
	int fd = path ? sock_listen(path, SOCK_STREAM, &e) : -ENOMEM;
	if (fd < 0 || listener_open_take(&su->listener, su->loop, fd, on_accept, su)) {
		/* stderr is still the one who started us. */
		log_error("cannot listen: %s", e.msg);
		super_end(su, false);
		return;
	}
	log_info("serving at '%s': %u sandboxes", path, su->nsandboxes);
	super_defer(su);
}

void super_end(struct super *su, bool children)
{
	if (su->ended)
		return;
	su->ended = true;
	if (su->listener) {
		AUTO_FREE char *path = path_join(su->runtime, "supervisor.sock");
		listener_close(&su->listener);
		if (path)
			unlink(path);
	}
	after_cancel(&su->adopt_deadline);
	after_cancel(&su->host_tick);
	wait_end(su);
	for (struct sandbox *sb = su->sandboxes; sb; sb = sb->next) {
		if (children && sb->term) {
			kid_send(sb->term, TERM_QUIT, NULL, NULL, NULL, 0);
			if (sb->term->seq)
				seq_drain(sb->term->seq, 200);
		}
		after_cancel(&sb->deadline);
		kid_drop(&sb->vmm);
		kid_drop(&sb->term);
		kid_drop(&sb->net);
	}
	while (su->clients) {
		client_drain(su->clients);
		client_close(su->clients);
	}
	log_info("ended%s", children ? "" : "; sandboxes go on");
	uv_stop(su->loop);
}
