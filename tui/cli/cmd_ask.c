/* SPDX-License-Identifier: Apache-2.0 */
/* asks and answer: the questions of sandboxes that want to reach something, from a shell. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/str.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/out.h"

static uint64_t number(const json_t *o, const char *key)
{
	const json_int_t v = json_integer_value(json_object_get(o, key));

	return v > 0 ? (uint64_t)v : 0;
}

/* "POST api.example.org:443/v1/x" of an ask. */
static void target(char *dst, size_t cap, const json_t *q)
{
	const char *name = cli_str(q, "name"), *address = cli_str(q, "address"), *method = cli_str(q, "method");
	const char *host = name[0] ? name : address;
	const bool v6 = strchr(host, ':') != NULL;

	snprintf(dst, cap, "%s%s%s%s%s:%u%s", method, method[0] ? " " : "", v6 ? "[" : "", host, v6 ? "]" : "", (unsigned)number(q, "port"), cli_str(q, "path"));
}

static void who(char *dst, size_t cap, const json_t *q)
{
	const uint64_t pid = number(q, "pid");
	const char *in = cli_str(q, "container");

	if (pid)
		snprintf(dst, cap, "%s (%llu)%s%.12s", cli_str(q, "comm"), (unsigned long long)pid, in[0] ? " in " : "", in);
	else
		str_copy(dst, cap, cli_str(q, "comm"));
}

/* Seconds until it is denied by itself. */
static void left(char *dst, size_t cap, const json_t *q)
{
	const uint64_t until = out_parse_time(cli_str(q, "until")), now = (uint64_t)time(NULL);

	str_age(dst, cap, until > now ? until - now : 0);
}

static void table(const json_t *asks)
{
	struct table t;
	char text[1200], process[128], time_left[16];

	table_init(&t, "ID> SANDBOX WANTS PROCESS CONNS> LEFT>");
	for (size_t i = 0; i < json_array_size(asks); i++) {
		const json_t *q = json_array_get(asks, i);

		target(text, sizeof(text), q);
		who(process, sizeof(process), q);
		left(time_left, sizeof(time_left), q);
		table_add(&t, STYLE_BOLD, "%llu", (unsigned long long)number(q, "id"));
		table_add(&t, STYLE_NONE, "%s", cli_str(q, "sandbox"));
		table_add(&t, STYLE_WARN, "%s", text);
		table_add(&t, STYLE_NONE, "%s", process[0] ? process : "-");
		if (number(q, "count") > 0)
			table_add(&t, STYLE_NONE, "%llu", (unsigned long long)number(q, "count"));
		else
			table_add(&t, STYLE_DIM, "left"); /* it will come again, and the answer holds for it */
		table_add(&t, STYLE_NONE, "%s", time_left);
	}
	table_print(&t, stdout);
}

/* ---- asks -f ---------------------------------------------------------------------------------------------------------------------- */

struct follow { bool json; };

static void line(const json_t *q)
{
	char text[1200], process[128];

	target(text, sizeof(text), q);
	who(process, sizeof(process), q);
	printf("%6llu  asks  ", (unsigned long long)number(q, "id"));
	out_text(stdout, cli_str(q, "sandbox"));
	fputs(": ", stdout);
	out_text(stdout, text);
	if (process[0]) {
		fputs("  ", stdout);
		out_text(stdout, process);
	}
	if (number(q, "count") > 1)
		printf("  %llu connections", (unsigned long long)number(q, "count"));
	else if (number(q, "count") == 0)
		fputs("  left, will be tried again", stdout);
	putchar('\n');
}

static void on_event(void *arg, const json_t *ev)
{
	const struct follow *f = arg;
	const char *kind = cli_str(ev, "kind");
	const bool ask = strcmp(kind, "ask") == 0, gone = strcmp(kind, "ask_gone") == 0;

	if (!ask && !gone)
		return;
	if (f->json) {
		out_json(ev, true);
	} else if (ask) {
		line(json_object_get(ev, "ask"));
	} else {
		const char *by = cli_str(ev, "by"), *verdict = cli_str(ev, "verdict");

		printf("%6llu  %s  %s%s", (unsigned long long)number(ev, "id"), cli_str(ev, "end"), verdict, by[0] ? " by " : "");
		out_text(stdout, by);
		putchar('\n');
	}
	fflush(stdout);
}

static void on_first(void *arg, const json_t *state)
{
	const struct follow *f = arg;
	const json_t *asks = json_object_get(state, "asks");

	for (size_t i = 0; i < json_array_size(asks); i++) {
		if (f->json) {
			json_t *o = json_pack("{s:s, s:O}", "kind", "ask", "ask", json_array_get(asks, i));

			out_json(o, true);
			json_decref(o);
		} else {
			line(json_array_get(asks, i));
		}
	}
}

static int do_asks(const struct args *a)
{
	struct follow f = { .json = args_has(a, "json") };
	struct client *c = cli_connect();
	json_t *r = NULL;
	int code = 1;

	if (!c)
		return 1;
	if (args_has(a, "follow")) {
		code = cli_follow(c, on_event, on_first, &f);
	} else if ((code = cli_list(c, "ask.list", "asks", &r)) == 0) {
		const json_t *asks = json_object_get(r, "asks");

		if (f.json)
			out_json(r, false);
		else if (json_array_size(asks) == 0)
			fprintf(stderr, "nobody asks for anything\n");
		else
			table(asks);
	}
	json_decref(r);
	client_close(&c);
	return code;
}

/* ---- answer -------------------------------------------------------------------------------------------------------------------------- */

static const char *one_of(const char *word, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(word, words[i]) == 0)
			return words[i];
	return NULL;
}

static int do_answer(const struct args *a)
{
	static const char *const verdicts[] = { "allow", "deny" };
	const char *scope = args_has(a, "scope") ? args_get(a, "scope") : "once", *sandbox = "";
	json_t *r = NULL;
	uint64_t id;
	char text[1200] = "";
	int code = 1;

	if (str_u64(a->pos[0], 1, INT64_MAX, &id) < 0) {
		out_say("'%s' is no number of a question; 'bulkhead asks' lists them", a->pos[0]);
		return EXIT_USAGE;
	}
	if (!one_of(a->pos[1], verdicts, ARRAY_SIZE(verdicts))) {
		out_say("the answer is allow or deny, not '%s'", a->pos[1]);
		return EXIT_USAGE;
	}
	struct client *c = cli_connect();
	if (!c || cli_list(c, "ask.list", "asks", &r) != 0)
		goto out;
	for (size_t i = 0; i < json_array_size(json_object_get(r, "asks")); i++) {
		const json_t *q = json_array_get(json_object_get(r, "asks"), i);

		if (number(q, "id") != id)
			continue;
		target(text, sizeof(text), q);
		sandbox = cli_str(q, "sandbox");
	}
	code = cli_call(c, "ask.answer", json_pack("{s:I, s:s, s:s}", "id", (json_int_t)id, "verdict", a->pos[1], "scope", scope), NULL);
	if (code == 0 && text[0]) {
		const bool allow = strcmp(a->pos[1], "allow") == 0, always = strcmp(scope, "always") == 0;

		out_text(stdout, always ? "every sandbox" : sandbox);
		fputs(allow ? " may reach " : " may not reach ", stdout);
		out_text(stdout, text);
		printf("%s\n", strcmp(scope, "once") == 0 ? ", this once" : " from now on");
	}
out:
	json_decref(r);
	client_close(&c);
	return code;
}

static const struct opt asks_options[] = { { .letter = 'f', .name = "follow", .help = "go on with what is asked and answered" }, OPT_JSON, OPT_END };
static const struct example asks_examples[] = {
	{ "bulkhead asks", "what waits for a person" }, { "bulkhead asks -f", "and what comes, until Ctrl-C" }, EXAMPLE_END,
};
const struct cmd cmd_asks = {
	.name = "asks", .summary = "list the connections that wait for your answer", .group = GROUP_NET, .options = asks_options, .examples = asks_examples, .exec = do_asks,
	.about = "A sandbox that wants to reach a host no rule decides about is held until somebody answers, here, in the dashboard or in any other client: "
		 "the first answer counts. Without one it is denied after a while.",
};

static const struct pos answer_args[] = {
	{ .name = "ID", .complete = COMPLETE_NONE }, { .name = "ANSWER", .complete = COMPLETE_WORDS, .words = "allow deny" }, POS_END,
};
static const struct opt answer_options[] = {
	{ .name = "scope", .arg = "SCOPE", .help = "once (default), sandbox (a rule for it), always (a rule for all)", .complete = COMPLETE_WORDS, .words = "once sandbox always" },
	OPT_END,
};
static const struct example answer_examples[] = {
	{ "bulkhead answer 12 allow", "this once" }, { "bulkhead answer 12 deny --scope always", "and never again, for no sandbox" }, EXAMPLE_END,
};
const struct cmd cmd_answer = {
	.name = "answer", .summary = "allow or deny a connection that waits", .group = GROUP_NET, .args = answer_args, .options = answer_options,
	.examples = answer_examples, .exec = do_answer,
	.about = "ANSWER is allow or deny. With --scope sandbox or always a rule is written first, and every connection it covers goes on or ends at once.",
};
