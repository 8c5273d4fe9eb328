/* SPDX-License-Identifier: Apache-2.0 */
/* policy: the rules of what sandboxes may reach, and what was decided by them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/out.h"

static enum style verdict_style(const char *verdict)
{
	return strcmp(verdict, "allow") == 0 ? STYLE_GOOD : strcmp(verdict, "deny") == 0 ? STYLE_BAD : STYLE_WARN;
}

/* Parameters with the sandbox of --sandbox, when given. */
static json_t *params(const struct args *a)
{
	json_t *p = json_object();

	if (args_get(a, "sandbox"))
		json_object_set_new(p, "name", json_string(args_get(a, "sandbox")));
	return p;
}

/* Words after the verdict, joined: the shell split "example.org GET /v1/x". NULL after saying why. */
static char *rule_of(const struct args *a, const char *verdict)
{
	char line[1024];
	size_t n = (size_t)snprintf(line, sizeof(line), "%s", verdict);

	for (size_t i = 0; i < a->npos && n < sizeof(line); i++)
		n += (size_t)snprintf(line + n, sizeof(line) - n, "%s%s", n ? " " : "", a->pos[i]);
	if (n >= sizeof(line)) {
		out_say("the rule is too long");
		return NULL;
	}
	return str_dup(line);
}

static int one_call(const char *method, json_t *p, json_t **r)
{
	struct client *c = cli_connect();
	const int code = c ? cli_call(c, method, p, r) : 1;

	if (!c)
		json_decref(p);
	client_close(&c);
	return code;
}

static int add(const struct args *a, const char *verdict)
{
	AUTO_FREE char *rule = rule_of(a, verdict);
	json_t *p, *r = NULL;

	if (!rule)
		return EXIT_USAGE;
	p = params(a);
	json_object_set_new(p, "rule", json_string(rule));
	const int code = one_call("policy.add", p, &r);
	if (code == 0 && args_has(a, "json"))
		out_json(r, false);
	else if (code == 0)
		printf("%s%s%s\n", cli_str(r, "text"), args_get(a, "sandbox") ? "  in " : "", args_get(a, "sandbox") ? args_get(a, "sandbox") : "");
	json_decref(r);
	return code;
}

static int do_allow(const struct args *a)
{
	return add(a, "allow");
}

static int do_deny(const struct args *a)
{
	return add(a, "deny");
}

static int do_ask(const struct args *a)
{
	return add(a, "ask");
}

static int do_rm(const struct args *a)
{
	AUTO_FREE char *rule = rule_of(a, "");
	json_t *p;
	uint64_t id;

	if (!rule)
		return EXIT_USAGE;
	p = params(a);
	if (a->npos == 1 && str_u64(rule, 1, 100000, &id) == 0)
		json_object_set_new(p, "id", json_integer((json_int_t)id));
	else
		json_object_set_new(p, "rule", json_string(rule));
	return one_call("policy.remove", p, NULL);
}

static void table(const json_t *rules)
{
	struct table t;

	table_init(&t, "ID> SCOPE RULE NOTE");
	for (size_t i = 0; i < json_array_size(rules); i++) {
		const json_t *rule = json_array_get(rules, i);
		const json_int_t id = json_integer_value(json_object_get(rule, "id"));

		if (id)
			table_add(&t, STYLE_BOLD, "%lld", (long long)id);
		else
			table_add(&t, STYLE_DIM, "-");
		table_add(&t, STYLE_NONE, "%s", cli_str(rule, "scope"));
		table_add(&t, verdict_style(cli_str(rule, "verdict")), "%s", cli_str(rule, "text"));
		table_add(&t, STYLE_DIM, "%s", cli_str(rule, "note"));
	}
	table_print(&t, stdout);
	putchar('\n');
}

/* policy.list, all pages as one object; NULL after saying why. */
static json_t *all_rules(const struct args *a)
{
	struct client *c = cli_connect();
	json_t *all = NULL, *page = NULL;
	json_int_t from = 0;

	while (c) {
		json_t *p = params(a);
		json_object_set_new(p, "from", json_integer(from));
		if (cli_call(c, "policy.list", p, &page) != 0) {
			json_decref(all);
			all = NULL;
			break;
		}
		from = json_integer_value(json_object_get(page, "next"));
		if (all) {
			json_array_extend(json_object_get(all, "rules"), json_object_get(page, "rules"));
			json_decref(page);
		} else {
			all = page;
			json_object_del(all, "next");
		}
		page = NULL;
		if (from <= 0)
			break;
	}
	client_close(&c);
	return all;
}

static int do_ls(const struct args *a)
{
	json_t *r = all_rules(a);

	if (!r)
		return 1;
	const json_t *rules = json_object_get(r, "rules"), *errors = json_object_get(r, "errors");
	if (args_has(a, "json")) {
		out_json(r, false);
	} else {
		const bool unattended = json_is_true(json_object_get(r, "unattended")) && strcmp(cli_str(r, "default"), "ask") == 0;
		const char *preset = cli_str(r, "preset");

		if (json_array_size(rules))
			table(rules);
		printf("everything else: %s%s%s\n", unattended ? "deny (nobody is there to ask)" : cli_str(r, "default"), preset[0] ? ", preset " : "", preset);
	}
	for (size_t i = 0; i < json_array_size(errors); i++)
		out_say("%s", json_string_value(json_array_get(errors, i)));
	const int code = json_array_size(errors) ? 1 : 0;
	json_decref(r);
	return code;
}

/* "example.org", "example.org:8443", "[2001:db8::1]:443", "2001:db8::1" -> host and port parameters; false after saying why. */
static bool split_target(const char *s, json_t *p)
{
	const char *colon = strrchr(s, ':');
	const bool many = colon && strchr(s, ':') != colon;
	uint64_t port;

	if (*s == '[')
		colon = colon && colon > s && colon[-1] == ']' ? colon : NULL;
	else if (many)
		colon = NULL;
	if (colon) {
		if (str_u64(colon + 1, 1, 65535, &port) < 0) {
			out_say("'%s' is no port", colon + 1);
			return false;
		}
		json_object_set_new(p, "port", json_integer((json_int_t)port));
	}
	AUTO_FREE char *host = str_dup(s);
	if (!host)
		return false;
	if (colon)
		host[colon - s] = '\0';
	json_object_set_new(p, "host", json_string(host));
	return true;
}

/* Exit status 0 allow, 1 deny or failure, 3 ask: for scripts. */
#define EXIT_ASK 3

static int do_check(const struct args *a)
{
	json_t *p = params(a), *r = NULL;

	if (!split_target(a->pos[0], p)) {
		json_decref(p);
		return EXIT_USAGE;
	}
	for (size_t i = 1; i < a->npos; i++)
		json_object_set_new(p, a->pos[i][0] == '/' ? "path" : "method", json_string(a->pos[i]));
	if (args_has(a, "tcp"))
		json_object_set_new(p, "tcp", json_true());
	if (one_call("policy.check", p, &r) != 0)
		return 1;
	const char *verdict = cli_str(r, "verdict");
	if (args_has(a, "json")) {
		out_json(r, false);
	} else {
		out_styled(stdout, verdict_style(verdict), verdict);
		printf(": %s\n", cli_str(r, "why"));
	}
	const int code = strcmp(verdict, "allow") == 0 ? 0 : strcmp(verdict, "ask") == 0 ? EXIT_ASK : 1;
	json_decref(r);
	return code;
}

static int do_preset(const struct args *a)
{
	json_t *p = params(a), *r = NULL;

	if (a->npos) {
		json_object_set_new(p, "preset", json_string(a->pos[0]));
		return one_call("policy.preset", p, NULL);
	}
	const int code = one_call("policy.list", p, &r);
	if (code == 0)
		printf("%s\n", cli_str(r, "preset")[0] ? cli_str(r, "preset") : "none");
	json_decref(r);
	return code;
}

/* ---- edit ---------------------------------------------------------------------------------------------------------------------------- */

static int run_editor(const char *path)
{
	const char *editor = getenv("VISUAL");
	int status;

	if (!editor || !*editor)
		editor = getenv("EDITOR");
	if (!editor || !*editor)
		editor = "vi";
	fflush(stdout);
	const pid_t pid = fork();
	if (pid == 0) {
		/* The shell splits what a person put into the variable, as git and others do. */
		AUTO_FREE char *line = str_fmt("%s \"$1\"", editor);
		if (line)
			execl("/bin/sh", "sh", "-c", line, "sh", path, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0) {
		out_say("cannot start '%s'", editor);
		return 1;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		out_say("'%s' failed", editor);
		return 1;
	}
	return 0;
}

static int do_edit(const struct args *a)
{
	struct err e = ERR_INIT;
	const char *name = args_get(a, "sandbox");
	AUTO_FREE char *top = name ? path_state(&e) : path_config(&e);
	AUTO_FREE char *dir = !top ? NULL : name ? str_fmt("%s/sandboxes/%s", top, name) : str_dup(top);
	AUTO_FREE char *path = dir ? path_join(dir, "policy.yaml") : NULL;
	json_t *r = NULL;
	int code = 1;

	if (!path)
		return top ? 1 : out_fail(&e);
	struct client *c = cli_connect();
	if (!c || (name && cli_call(c, "sandbox.get", json_pack("{s:s}", "name", name), NULL) != 0))
		goto out;
	if (!name && path_mkdirs(dir, 0700, &e)) {
		code = out_fail(&e);
		goto out;
	}
	if (run_editor(path) != 0 || cli_call(c, "policy.reload", NULL, &r) != 0)
		goto out;
	code = 0;
	const json_t *errors = json_object_get(r, "errors");
	for (size_t i = 0; i < json_array_size(errors); i++) {
		out_say("%s", json_string_value(json_array_get(errors, i)));
		code = 1;
	}
	if (code)
		out_say("what was in force stays so until that is mended");
out:
	json_decref(r);
	client_close(&c);
	return code;
}

/* ---- log ------------------------------------------------------------------------------------------------------------------------------ */

struct follow {
	const char *name, *verdict; /* NULL: all */
	bool json;
	uint64_t lines;
	json_int_t last; /* seq of the last one printed */
	int code;
};

/* "12:00:00 deny  blue: GET example.org:443/x  curl (17)  deny example.org (global)" */
static void decision(const json_t *d, bool json)
{
	char text[1400];

	if (json) {
		out_json(d, true);
		return;
	}
	const char *event = cli_str(d, "event"), *verdict = cli_str(d, "verdict"), *name = cli_str(d, "name"), *method = cli_str(d, "method");
	const char *host = name[0] ? name : cli_str(d, "address"), *service = cli_str(d, "service"), *rule = cli_str(d, "rule");
	const char *word = strcmp(event, "decided") == 0 ? verdict : event;
	/* Because of where the name leads, and of no rule. */
	const char *to = strcmp(word, "deny") == 0 && strcmp(cli_str(d, "scope"), "built-in") == 0 ? cli_str(d, "to") : "";
	const bool v6 = strchr(host, ':') != NULL;

	printf("%.19s ", cli_str(d, "at"));
	out_styled(stdout, strcmp(event, "alarm") == 0 ? STYLE_BAD : strcmp(event, "decided") == 0 ? verdict_style(verdict) : STYLE_DIM, word);
	printf("%*s ", (int)(8 - (strlen(word) < 8 ? strlen(word) : 8)), "");
	snprintf(text, sizeof(text), "%s: %s%s%s%s%s:%lld%s", cli_str(d, "sandbox"), method, method[0] ? " " : "", v6 ? "[" : "", host, v6 ? "]" : "",
		 (long long)json_integer_value(json_object_get(d, "port")), cli_str(d, "path"));
	out_text(stdout, text);
	snprintf(text, sizeof(text), "%s%s%s%s%s%s%s%s", cli_str(d, "comm")[0] ? "  " : "", cli_str(d, "comm"), service[0] ? "  " : "", service, rule[0] ? "  " : "", rule,
		 to[0] ? ": " : "", to);
	out_text(stdout, text);
	if (cli_str(d, "scope")[0])
		printf(" (%s)", cli_str(d, "scope"));
	if (strcmp(event, "closed") == 0)
		printf("  %lld in, %lld out, %lld ms", (long long)json_integer_value(json_object_get(d, "in")), (long long)json_integer_value(json_object_get(d, "out")),
		       (long long)json_integer_value(json_object_get(d, "ms")));
	if (json_integer_value(json_object_get(d, "repeats")))
		printf("  (and %lld alike)", (long long)json_integer_value(json_object_get(d, "repeats")));
	putchar('\n');
}

static void on_event(void *arg, const json_t *ev)
{
	const struct follow *f = arg;
	const json_t *d = json_object_get(ev, "decision");

	if (strcmp(cli_str(ev, "kind"), "decision") != 0 || (f->name && strcmp(cli_str(d, "sandbox"), f->name) != 0) ||
	    (f->verdict && strcmp(cli_str(d, "verdict"), f->verdict) != 0) || json_integer_value(json_object_get(d, "seq")) <= f->last)
		return;
	decision(d, f->json);
	fflush(stdout);
}

static void print_past(struct follow *f)
{
	json_t *p = json_pack("{s:I}", "lines", (json_int_t)f->lines), *r = NULL;

	if (f->name)
		json_object_set_new(p, "name", json_string(f->name));
	if (f->verdict)
		json_object_set_new(p, "verdict", json_string(f->verdict));
	f->code = one_call("policy.log", p, &r);
	const json_t *list = json_object_get(r, "decisions");
	for (size_t i = 0; i < json_array_size(list); i++) {
		decision(json_array_get(list, i), f->json);
		f->last = json_integer_value(json_object_get(json_array_get(list, i), "seq"));
	}
	fflush(stdout);
	json_decref(r);
}

/* Events are subscribed to before the past is read, so that nothing between both is missed; what is in both is printed once. */
static void on_first(void *arg, const json_t *state)
{
	(void)state;
	print_past(arg);
}

static int do_log(const struct args *a)
{
	struct follow f = { .name = args_get(a, "sandbox"), .verdict = args_get(a, "verdict"), .json = args_has(a, "json"), .lines = args_number(a, "lines", 200) };

	if (!args_has(a, "follow")) {
		print_past(&f);
		return f.code;
	}
	struct client *c = cli_connect();
	const int code = c ? cli_follow(c, on_event, on_first, &f) : 1;
	client_close(&c);
	return code ? code : f.code;
}

/* ---- tables --------------------------------------------------------------------------------------------------------------------------- */

#define OPT_SANDBOX { .letter = 's', .name = "sandbox", .arg = "NAME", .help = "of this sandbox alone", .complete = COMPLETE_SANDBOX }

static const struct pos rule_args[] = { { .name = "HOST[:PORT]", .complete = COMPLETE_NONE }, { .name = "METHOD-OR-PATH", .flags = POS_OPTIONAL | POS_MANY }, POS_END };
static const struct opt rule_options[] = { OPT_SANDBOX, OPT_JSON, OPT_END };
static const struct opt sandbox_options[] = { OPT_SANDBOX, OPT_END };
static const char rule_about[] =
	"HOST is a name, '*.example.org' (one label more), '**.example.org' (it and everything below), '*', an address or a CIDR. Quote patterns. PORT may "
	"be a list (80,443) or a range (8000-8010). With methods (GET,POST) or a path (/v1/**) the host's TLS is opened to look at requests; * in a path stays "
	"within a segment. Before the host 'tcp' allows protocols other than TLS and HTTP.\n\n"
	"A rule holds at once, for running sandboxes and connections that wait. Deny wins over everything; of ask and allow yours count before the "
	"preset's, and of yours the more specific.";

static const struct example allow_examples[] = {
	{ "bulkhead policy allow '**.example.org:443'", "a domain and all below it, for every sandbox" },
	{ "bulkhead policy allow -s blue api.example.com GET /v1/**", "some requests, for one sandbox" },
	{ "bulkhead policy allow tcp db.example.org:5432", "a protocol that is neither TLS nor HTTP" },
	EXAMPLE_END,
};
static const struct cmd policy_allow = { .name = "allow", .summary = "allow a host", .about = rule_about, .args = rule_args, .options = rule_options, .examples = allow_examples, .exec = do_allow };
static const struct example deny_examples[] = { { "bulkhead policy deny '**.example.net'", "never, whatever else allows it" }, EXAMPLE_END };
static const struct cmd policy_deny = { .name = "deny", .summary = "deny a host", .about = rule_about, .args = rule_args, .options = rule_options, .examples = deny_examples, .exec = do_deny };
static const struct example ask_examples[] = { { "bulkhead policy ask api.example.com POST", "a person decides about each change" }, EXAMPLE_END };
static const struct cmd policy_ask = { .name = "ask", .summary = "ask a person about a host", .about = rule_about, .args = rule_args, .options = rule_options, .examples = ask_examples, .exec = do_ask };

static const struct example ls_examples[] = { { "bulkhead policy ls", "what holds for every sandbox" }, { "bulkhead policy ls -s blue", "what holds for one" }, EXAMPLE_END };
static const struct cmd policy_ls = { .name = "ls", .summary = "list the rules in force, and what is wrong in their files", .options = rule_options, .examples = ls_examples, .exec = do_ls };

static const struct pos rm_args[] = { { .name = "ID-OR-RULE", .complete = COMPLETE_NONE, .flags = POS_MANY }, POS_END };
static const struct example rm_examples[] = { { "bulkhead policy rm 3", "by the number that 'policy ls' shows" }, { "bulkhead policy rm allow example.org:443", "or by what it says" }, EXAMPLE_END };
static const struct cmd policy_rm = { .name = "rm", .summary = "remove a rule", .args = rm_args, .options = sandbox_options, .examples = rm_examples, .exec = do_rm };

static const struct pos check_args[] = { { .name = "HOST[:PORT]", .complete = COMPLETE_NONE }, { .name = "METHOD-OR-PATH", .flags = POS_OPTIONAL | POS_MANY }, POS_END };
static const struct opt check_options[] = { OPT_SANDBOX, { .name = "tcp", .help = "as a protocol that is neither TLS nor HTTP" }, OPT_JSON, OPT_END };
static const struct example check_examples[] = { { "bulkhead policy check example.org:443", "and by which rule" }, { "bulkhead policy check -s blue api.example.com POST /v1/x", "one request of one sandbox" }, EXAMPLE_END };
static const struct cmd policy_check = {
	.name = "check", .summary = "say what would happen to a connection, and why", .args = check_args, .options = check_options, .examples = check_examples, .exec = do_check,
	.about = "Nothing is connected to and no name is resolved. The exit status is 0 for allow, 1 for deny and 3 for ask.",
};

static const struct pos preset_args[] = { { .name = "PRESET", .complete = COMPLETE_WORDS, .words = "open balanced locked none", .flags = POS_OPTIONAL }, POS_END };
static const struct example preset_examples[] = { { "bulkhead policy preset balanced", "model providers, package registries and code hosts; ask about the rest" }, EXAMPLE_END };
static const struct cmd policy_preset = {
	.name = "preset", .summary = "choose the rules below your own, or say which", .args = preset_args, .options = sandbox_options, .examples = preset_examples, .exec = do_preset,
	.about = "open allows what speaks TLS or HTTP; balanced allows what most agents need and asks about the rest; locked denies what no rule of yours allows; none is just your own rules, for a sandbox whatever the global preset is.",
};

static const struct example edit_examples[] = { { "bulkhead policy edit", "the global rules, in $VISUAL or $EDITOR" }, EXAMPLE_END };
static const struct cmd policy_edit = { .name = "edit", .summary = "edit the file of rules and say what is wrong in it", .options = sandbox_options, .examples = edit_examples, .exec = do_edit };

static const struct opt log_options[] = {
	OPT_SANDBOX,
	{ .letter = 'f', .name = "follow", .help = "go on with what is decided" },
	{ .letter = 'n', .name = "lines", .arg = "N", .help = "so many of the newest (default 200)", .value = VALUE_NUMBER, .min = 1, .max = 5000 },
	{ .name = "verdict", .arg = "VERDICT", .help = "allow, deny or ask alone", .complete = COMPLETE_WORDS, .words = "allow deny ask" },
	OPT_JSON, OPT_END,
};
static const struct example log_examples[] = { { "bulkhead policy log -f --verdict deny", "what is refused, as it happens" }, { "bulkhead policy log --json", "JSON lines" }, EXAMPLE_END };
static const struct cmd policy_log = { .name = "log", .summary = "show what was decided", .options = log_options, .examples = log_examples, .exec = do_log };

static const struct cmd *const policy_sub[] = { &policy_allow, &policy_deny, &policy_ask, &policy_ls, &policy_rm, &policy_check, &policy_preset, &policy_edit, &policy_log, NULL };
const struct cmd cmd_policy = {
	.name = "policy", .summary = "rules for what sandboxes may reach", .group = GROUP_NET, .examples = allow_examples, .sub = policy_sub,
	.about = "What no rule decides is asked about (bulkhead asks). Rules stand in policy.yaml, see bulkhead(5); the administrator's in /etc/bulkhead/policy.yaml "
		 "can be narrowed by them, never loosened.",
};
