/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/api.h"

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/image/image.h"
#include "core/kit/kit.h"
#include "core/proto/agent.h"
#include "core/proto/version.h"
#include "core/supervisor/doctor.h"
#include "core/supervisor/events.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/super.h"

#define PROTOCOL_VERSION 1
#define WATCH_MIN_MS 250u
#define WATCH_MAX_MS 60000u

static void on_hello(struct call *c, struct args *a)
{
	uint64_t version = arg_num(a, "version", 0, UINT32_MAX, 0);

	const char *client = arg_str(a, "client", 256, false), *class = arg_str(a, "class", 32, false);
	char raw[sizeof(c->client->name)];

	if (args_bad(a, c))
		return;
	if (version != PROTOCOL_VERSION) {
		call_error(c, RPC_VERSION, "this supervisor (bulkhead %s, pid %ld) speaks protocol %d, not %llu: stop it ('kill %ld'; sandboxes go on) and try again",
			   BULKHEAD_VERSION, (long)getpid(), PROTOCOL_VERSION, (unsigned long long)version, (long)getpid());
		return;
	}
	snprintf(raw, sizeof(raw), "%s%s%s%s", class ? class : "", class && client ? " (" : "", client ? client : "", class && client ? ")" : "");
	scrub(c->client->name, sizeof(c->client->name), raw, strlen(raw), false);
	c->client->greeted = true;
	call_result_take(c, json_pack("{s:i, s:s, s:I}", "version", PROTOCOL_VERSION, "supervisor", "bulkhead " BULKHEAD_VERSION, "pid",
				      (json_int_t)getpid()));
}

static void on_subscribe(struct call *c, struct args *a)
{
	struct client *client = c->client;
	struct state_rest rest;

	(void)a;
	client->subscribed = true;
	call_result_take(c, events_state(c->su, &rest));
	events_rest(client, &rest);
}

static void on_sync(struct call *c, struct args *a)
{
	(void)a;
	c->sync = true;
	super_defer(c->su);
}

static void on_watch(struct call *c, struct args *a)
{
	uint64_t ms = arg_num(a, "interval_ms", 0, UINT32_MAX, 1000);
	const json_t *list = arg_list(a, "what", 3), *v;
	const char *name = arg_str(a, "name", NAME_MAX_LEN, false);
	static const char *const words[] = { "stats", "top", "containers" };
	static const uint32_t bits[] = { AGENT_WHAT_STATS, AGENT_WHAT_TOP, AGENT_WHAT_CONTAINERS };
	uint32_t what = list ? 0 : AGENT_WHAT_STATS;
	size_t i;

	if (args_bad(a, c) || (name && !arg_sandbox(a, c)))
		return;
	json_array_foreach(list, i, v) {
		size_t k = 0;
		while (k < ARRAY_SIZE(words) && strcmp(words[k], json_string_value(v)))
			k++;
		if (k == ARRAY_SIZE(words)) {
			call_error(c, RPC_PARAMS, "parameter 'what' may hold 'stats', 'top' and 'containers'");
			return;
		}
		what |= bits[k];
	}
	if (ms && ms < WATCH_MIN_MS)
		ms = WATCH_MIN_MS;
	c->client->watch_ms = ms > WATCH_MAX_MS ? WATCH_MAX_MS : (uint32_t)ms;
	c->client->watch_what = what;
	str_copy(c->client->watch_name, sizeof(c->client->watch_name), name ? name : "");
	stats_rewatch(c->su);
	call_result_take(c, json_object());
}

static void on_log(struct call *c, struct args *a)
{
	const char *name = arg_str(a, "name", NAME_MAX_LEN, false);
	uint64_t lines = arg_num(a, "lines", 0, 2000, 200);

	/* Also of sandboxes that were removed. */
	if (!args_bad(a, c))
		call_result_take(c, json_pack("{s:o}", "records", lifelog_read(c->su, name, (size_t)lines)));
}

static void on_doctor(struct call *c, struct args *a)
{
	(void)a;
	doctor_run(c);
}

static void on_kits(struct call *c, struct args *a)
{
	json_t *list = json_array();

	(void)a;
	for (size_t i = 0; i < kits_num; i++) {
		json_t *command = json_array();
		for (const char *const *p = kits[i].argv; p && *p; p++)
			json_array_append_new(command, json_string(*p));
		json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "name", kits[i].name, "summary", kits[i].summary, "command", command));
	}
	call_result_take(c, json_pack("{s:o}", "kits", list));
}

static void on_images(struct call *c, struct args *a)
{
	struct image_info *v = NULL;
	size_t n = 0;

	if (image_list(&v, &n, &a->e)) {
		call_error(c, RPC_FAILED, "%s", a->e.msg);
		return;
	}
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:s, s:b, s:b}", "id", v[i].id, "created", v[i].built, "bytes",
						      (json_int_t)v[i].bytes, "kernel", v[i].kernel, "current", (int)v[i].current, "verified",
						      (int)v[i].verified));
	free(v);
	call_result_take(c, json_pack("{s:o}", "images", list));
}

static void on_shutdown(struct call *c, struct args *a)
{
	bool stop = arg_bool(a, "stop_sandboxes");
	struct super *su = c->su;
	unsigned running = 0;

	if (args_bad(a, c))
		return;
	for (const struct sandbox *sb = su->sandboxes; sb; sb = sb->next)
		running += sandbox_state_has_machine(sb->state);
	if (running && !stop) {
		call_error(c, RPC_STATE, "%u %s: stop %s first, or tell the shutdown to stop sandboxes", running,
			   running == 1 ? "sandbox runs" : "sandboxes run", running == 1 ? "it" : "them");
		return;
	}
	su->shutting_down = true;
	for (struct sandbox *sb = su->sandboxes; sb; sb = sb->next)
		if (sandbox_state_has_machine(sb->state) && sb->state != SB_RESETTING && life_stop(sb, su->config.stop_ms, &a->e))
			lifelog_add(su, LOG_WARN, sb->spec.name, "%s", a->e.msg);
	super_defer(su);
	call_result_take(c, json_object());
}

static const struct method rows[] = {
	{ "hello", " version client class ", on_hello },
	{ "events.subscribe", "", on_subscribe },
	{ "sync", "", on_sync },
	{ "stats.watch", " interval_ms what name ", on_watch },
	{ "log.read", " name lines ", on_log },
	{ "doctor", "", on_doctor },
	{ "kit.list", "", on_kits },
	{ "image.list", "", on_images },
	{ "supervisor.shutdown", " stop_sandboxes ", on_shutdown },
};

const struct method_table api_system = { rows, ARRAY_SIZE(rows) };
