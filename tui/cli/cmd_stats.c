/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/client/model.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/out.h"
#include "tui/cli/stream.h"

#define FIRST_MS 3000     /* two samples make a CPU's use */
#define PATIENCE_MS 15000 /* so long a running sandbox may leave us without any */

static void on_event(void *arg, const json_t *ev)
{
	model_event(arg, ev);
}

static void print_table(const struct model *m, const char *name)
{
	struct table t;

	table_init(&t, "NAME STATE CPU> MEMORY> OF> DISK> PIDS> LOAD> HOST-CPU> HOST-RSS> IN> OUT>");
	for (size_t i = 0; i < m->nsandboxes; i++) {
		const struct model_sandbox *sb = m->sandboxes[i];
		const struct model_stats *s = &sb->stats;
		const uint64_t sizes[] = { s->mem_used, s->mem_total, s->disk_used, s->host_rss, s->channel_in, s->channel_out };
		char h[6][16];

		if (name && strcmp(sb->name, name) != 0)
			continue;
		table_add(&t, STYLE_BOLD, "%s", sb->name);
		table_add(&t, STYLE_NONE, "%s", model_state_word(sb->state));
		if (!sb->has_stats) {
			for (int k = 0; k < 10; k++)
				table_add(&t, STYLE_DIM, "-");
			continue;
		}
		for (size_t k = 0; k < 6; k++)
			str_human(h[k], sizeof(h[k]), sizes[k]);
		table_add(&t, STYLE_NONE, "%.0f%%", s->cpu * 100);
		table_add(&t, STYLE_NONE, "%s", h[0]);
		table_add(&t, STYLE_NONE, "%s", h[1]);
		table_add(&t, STYLE_NONE, "%s", h[2]);
		table_add(&t, STYLE_NONE, "%u", s->pids);
		table_add(&t, STYLE_NONE, "%.2f", s->load1);
		table_add(&t, STYLE_NONE, "%.2f", s->host_cpu);
		table_add(&t, STYLE_NONE, "%s", h[3]);
		table_add(&t, STYLE_NONE, "%s", h[4]);
		table_add(&t, STYLE_NONE, "%s", h[5]);
	}
	table_print(&t, stdout);
	fflush(stdout);
}

static int print_json(struct client *c, const char *name)
{
	json_t *r = NULL, *out = json_array(), *sb;
	size_t i;

	if (cli_list(c, "sandbox.list", "sandboxes", &r) != 0) {
		json_decref(out);
		return 1;
	}
	json_array_foreach(json_object_get(r, "sandboxes"), i, sb) {
		json_t *stats = json_object_get(sb, "stats");

		if (!name || strcmp(cli_str(sb, "name"), name) == 0)
			json_array_append_new(out, json_pack("{s:s, s:s, s:O}", "name", cli_str(sb, "name"), "state", cli_str(sb, "state"), "stats", stats ? stats : json_null()));
	}
	json_decref(r);
	out_json(out, false);
	json_decref(out);
	return 0;
}

/* Pumps until the time has passed or a signal comes; its number, 0, or -1 when the supervisor is gone. */
static int pump(struct client *c, int sig, uint64_t ms)
{
	struct err e = ERR_INIT;
	const uint64_t until = clock_ms() + ms;

	for (uint64_t now; (now = clock_ms()) < until;) {
		int r = client_wait(c, sig, (int)(until - now), &e);

		if (r < 0) {
			out_fail(&e);
			return -1;
		}
		if (r == 1 && (r = signals_next(sig)) != 0)
			return r;
	}
	return 0;
}

static bool all_told(const struct model *m, const char *name)
{
	for (size_t i = 0; i < m->nsandboxes; i++)
		if (m->sandboxes[i]->state == MS_RUNNING && !m->sandboxes[i]->has_stats && (!name || strcmp(m->sandboxes[i]->name, name) == 0))
			return false;
	return true;
}

static int do_stats(const struct args *a)
{
	const bool once = args_has(a, "no-stream") || args_has(a, "json") || !isatty(1);
	struct model *m = model_create();
	struct client *c = m ? cli_connect() : NULL;
	json_t *r = NULL, *p = json_pack("{s:i, s:[s]}", "interval_ms", 1000, "what", "stats");
	int code = 1;

	if (a->pos[0])
		json_object_set_new(p, "name", json_string(a->pos[0]));
	if (!c || (a->pos[0] && cli_call(c, "sandbox.get", json_pack("{s:s}", "name", a->pos[0]), NULL) != 0)) {
		json_decref(p);
		goto out;
	}
	client_on_event(c, on_event, m);
	if (cli_call(c, "stats.watch", p, NULL) != 0 || cli_call(c, "events.subscribe", NULL, &r) != 0)
		goto out;
	model_subscribed(m, r);
	const int sig = signals_watch();
	int got = pump(c, sig, once ? FIRST_MS : 1200);
	for (unsigned waited = FIRST_MS; once && got == 0 && waited < PATIENCE_MS && !all_told(m, a->pos[0]); waited += 500)
		got = pump(c, sig, 500);
	while (got == 0) {
		if (args_has(a, "json")) {
			code = print_json(c, a->pos[0]);
			goto out;
		}
		if (!once)
			printf("\x1b[H\x1b[2J");
		print_table(m, a->pos[0]);
		if (once)
			break;
		got = pump(c, sig, 1000);
	}
	code = got < 0 ? 1 : got == 0 || got == SIGINT ? 0 : 128 + got;
out:
	json_decref(r);
	client_close(&c);
	model_destroy(m);
	return code;
}

static const struct pos names[] = { { .name = "NAME", .complete = COMPLETE_SANDBOX, .flags = POS_OPTIONAL }, POS_END };
static const struct opt options[] = { { .name = "no-stream", .help = "print once and end: after 3 seconds, after up to 15 when a guest is slow to tell" }, OPT_JSON, OPT_END };
static const struct example examples[] = { { "bulkhead stats", "what all use, once a second; ctrl-c ends it" }, EXAMPLE_END };
const struct cmd cmd_stats = { .name = "stats", .summary = "show what sandboxes use", .group = GROUP_LOOK, .args = names, .options = options, .examples = examples, .exec = do_stats };
