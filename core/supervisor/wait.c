/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/wait.h"

#include "core/base/str.h"
#include "core/loop/after.h"
#include "core/supervisor/client.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/super.h"

struct wait {
	struct wait *next;
	struct super *su;
	struct call *call;
	char name[NAME_MAX_LEN + 1];
	uint32_t states;
	bool docker, settle;
	struct after *deadline;
};

/* Unlinks and frees; the call is the caller's. */
static struct call *end(struct wait *w)
{
	struct call *call = w->call;

	for (struct wait **p = &w->su->waits; *p; p = &(*p)->next)
		if (*p == w) {
			*p = w->next;
			break;
		}
	after_cancel(&w->deadline);
	free(w);
	return call;
}

static void on_late(void *arg)
{
	struct wait *w = arg;
	struct sandbox *sb = sandbox_find(w->su, w->name);
	const char *state = sb ? sandbox_state_name(sb->state) : "gone";
	const char *docker = sb && w->docker && (w->states & (1u << sb->state)) ? " and Docker is not ready" : "";

	char name[sizeof(w->name)];

	str_copy(name, sizeof(name), w->name);
	call_error(end(w), RPC_FAILED, "sandbox '%s' is still %s%s: the time to wait is over", name, state, docker);
}

void wait_add(struct sandbox *sb, struct call *call, uint32_t states, bool docker, bool settle, uint64_t timeout_ms)
{
	struct wait *w = calloc(1, sizeof(*w));

	if (!w) {
		call_error(call, RPC_FAILED, "out of memory");
		return;
	}
	w->su = sb->su;
	w->call = call;
	w->states = states;
	w->docker = docker;
	w->settle = settle;
	str_copy(w->name, sizeof(w->name), sb->spec.name);
	w->next = sb->su->waits;
	sb->su->waits = w;
	if (timeout_ms)
		after_set(&w->deadline, sb->su->loop, timeout_ms, on_late, w);
	super_defer(sb->su);
}

static bool reached(const struct wait *w, const struct sandbox *sb)
{
	if (!(w->states & (1u << sb->state)))
		return false;
	return !w->docker || sb->state != SB_RUNNING || sb->docker.state == DOCKER_READY || sb->docker.state == DOCKER_FAILED;
}

/* It stays as it is until somebody asks for something else. */
static bool rests(const struct sandbox *sb)
{
	return (sb->state == SB_STOPPED || sb->state == SB_RUNNING || sb->state == SB_PAUSED) && sb->wish == SB_NEW && !sb->removing;
}

static void elsewhere(struct wait *w, const struct sandbox *sb)
{
	const char *why = *sb->refused ? sb->refused : sb->spec.reason;
	char wanted[160] = "";
	size_t at = 0;

	for (int s = 0; s < SB_NUM; s++)
		if (w->states & (1u << s) && at < sizeof(wanted))
			at += (size_t)snprintf(wanted + at, sizeof(wanted) - at, "%s%s", at ? " or " : "", sandbox_state_name((enum sandbox_state)s));
	call_error(end(w), RPC_FAILED, "sandbox '%s' is %s, not %s%s%s", sb->spec.name, sandbox_state_name(sb->state), wanted, *why ? ": " : "", why);
}

static void gone(struct wait *w)
{
	char name[sizeof(w->name)];

	str_copy(name, sizeof(name), w->name);
	call_error(end(w), RPC_NOT_FOUND, "sandbox '%s' was removed", name);
}

void wait_check(struct super *su)
{
	for (struct wait *w = su->waits, *next; w; w = next) {
		struct sandbox *sb = sandbox_find(su, w->name);
		next = w->next;
		if (!w->call->client)
			call_result_take(end(w), json_null());
		else if (!sb)
			gone(w);
		else if (reached(w, sb))
			call_result_take(end(w), sandbox_json_whole(sb));
		else if (sb->state == SB_FAILED)
			call_error(end(w), RPC_FAILED, "sandbox '%s' has failed: %s", sb->spec.name, sb->spec.reason);
		else if (w->settle && !(w->states & (1u << sb->state)) && rests(sb))
			elsewhere(w, sb);
	}
}

void wait_end(struct super *su)
{
	while (su->waits)
		call_error(end(su->waits), RPC_FAILED, "the supervisor ends");
}
