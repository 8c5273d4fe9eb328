/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret: credentials that the host adds to requests on their way out, and audit. A value is never an argument (others see those) and never
 * printed: it is typed without echo, read from stdin, or named by where it comes from.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "core/base/str.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/out.h"

#define VALUE_MAX 8192

/* ---- the value --------------------------------------------------------------------------------------------------------------------------- */

/* All of stdin, without one newline at its end. Its length, or -errno. */
static ssize_t read_stdin(char *dst, size_t cap)
{
	size_t n = 0;

	for (;;) {
		const ssize_t r = read(STDIN_FILENO, dst + n, cap - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		n += (size_t)r;
		if (n == cap)
			return -EFBIG;
	}
	if (n && dst[n - 1] == '\n')
		n--;
	if (n && dst[n - 1] == '\r')
		n--;
	return (ssize_t)n;
}

static volatile sig_atomic_t caught;

static void on_signal(int n)
{
	caught = n;
}

/* A line from the terminal that is not shown. A signal that ends us finds the terminal as it was. */
static ssize_t read_hidden(const char *service, char *dst, size_t cap)
{
	static const int all[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };
	struct sigaction sa = { .sa_handler = on_signal }, before[ARRAY_SIZE(all)]; /* without SA_RESTART */
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	struct termios was, quiet;
	sigset_t ours, mask;
	ssize_t n = -1;

	if (tcgetattr(STDIN_FILENO, &was) < 0)
		return -errno;
	quiet = was;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
	sigemptyset(&ours);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		sigaction(all[i], &sa, &before[i]);
		sigaddset(&ours, all[i]);
	}
	sigprocmask(SIG_BLOCK, &ours, &mask); /* they come while waiting, never just before it */
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) < 0)
		return -errno;
	fprintf(stderr, "value of %s (it is not shown): ", service);
	fflush(stderr);
	while (!caught && ppoll(&in, 1, NULL, &mask) < 0 && errno == EINTR)
		;
	if (!caught)
		n = read(STDIN_FILENO, dst, cap);
	const int wrong = errno;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
	fputc('\n', stderr);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		sigaction(all[i], &before[i], NULL);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	if (n < 0 && caught)
		raise(caught == SIGTSTP ? SIGINT : caught);
	if (n < 0)
		return -wrong;
	while (n > 0 && (dst[n - 1] == '\n' || dst[n - 1] == '\r'))
		n--;
	return n;
}

/* What cannot stand in a header is no credential: most likely a wrong file was given. */
static bool usable(const char *p, size_t n)
{
	if (n == 0) {
		out_say("the value is empty: nothing was changed");
		return false;
	}
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f) {
			out_say("the value holds a line break or another control character: nothing was changed");
			return false;
		}
	return true;
}

static bool add_value(const struct args *a, json_t *params)
{
	char value[VALUE_MAX];
	bool ok = false;

	prctl(PR_SET_DUMPABLE, 0); /* a crash leaves no copy */
	if (!args_has(a, "stdin") && !isatty(STDIN_FILENO)) {
		out_say("where is the value? type it on a terminal, or say --stdin, --from-env or --from-command");
		return false;
	}
	const ssize_t n = args_has(a, "stdin") ? read_stdin(value, sizeof(value)) : read_hidden(a->pos[0], value, sizeof(value));
	if (n == -EFBIG)
		out_say("the value is longer than %d bytes", VALUE_MAX - 1);
	else if (n < 0)
		out_say("the value cannot be read: %s", strerror((int)-n));
	else if (usable(value, (size_t)n) && !(ok = json_object_set_new(params, "value", json_stringn(value, (size_t)n)) == 0))
		out_say("the value is no UTF-8 text");
	explicit_bzero(value, sizeof(value));
	return ok;
}

/* The words of a command; one that needs a shell gets it. */
static json_t *command_words(const char *text)
{
	json_t *argv = json_array();

	if (text[strcspn(text, "|&;<>()$`\\\"'*?[#~=%{}\n")]) {
		json_array_append_new(argv, json_string("/bin/sh"));
		json_array_append_new(argv, json_string("-c"));
		json_array_append_new(argv, json_string(text));
		return argv;
	}
	for (const char *p = text + strspn(text, " \t"); *p; p += strspn(p, " \t")) {
		const size_t n = strcspn(p, " \t");

		json_array_append_new(argv, json_stringn(p, n));
		p += n;
	}
	return argv;
}

static bool env_name(const char *s)
{
	if (!*s || (*s >= '0' && *s <= '9'))
		return false;
	return s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")] == '\0';
}

static bool add_source(const struct args *a, json_t *params)
{
	const char *env = args_get(a, "from-env"), *command = args_get(a, "from-command");
	const bool refresh = args_has(a, "refresh");

	if (!!env + !!command + args_has(a, "stdin") > 1) {
		out_say("a value has one source: --from-env, --from-command or --stdin");
		return false;
	}
	if (refresh && !command) {
		out_say("--refresh is for --from-command");
		return false;
	}
	if (refresh)
		json_object_set_new(params, "refresh", json_integer((json_int_t)args_number(a, "refresh", 0)));
	if (env && !env_name(env)) {
		out_say("--from-env takes the name of a variable, not a value");
		return false;
	}
	if (env) {
		const char *here = getenv(env);

		json_object_set_new(params, "env", json_string(env));
		/* The supervisor was started from a smaller environment: what stands here is held there until it ends. */
		if (here && *here && (!usable(here, strlen(here)) || json_object_set_new(params, "value", json_string(here)) != 0))
			return false;
		return true;
	}
	if (!command)
		return add_value(a, params);
	json_t *argv = command_words(command);
	const bool any = json_array_size(argv) > 0;
	json_object_set_new(params, "command", argv);
	if (!any)
		out_say("--from-command: the command is empty");
	return any;
}

/* ---- commands ---------------------------------------------------------------------------------------------------------------------------- */

static void add_sandbox(const struct args *a, json_t *params)
{
	if (args_has(a, "sandbox"))
		json_object_set_new(params, "name", json_string(args_get(a, "sandbox")));
}

static int do_set(const struct args *a)
{
	json_t *params = json_pack("{s:s}", "service", a->pos[0]), *r = NULL;

	add_sandbox(a, params);
	if (!params || !add_source(a, params)) {
		json_decref(params);
		return EXIT_USAGE;
	}
	struct client *c = cli_connect();
	if (!c) {
		json_decref(params);
		return 1;
	}
	const int code = cli_call(c, "secret.set", params, &r);
	if (code == 0) {
		printf("%s is set for %s (%s)\n", a->pos[0], args_has(a, "sandbox") ? args_get(a, "sandbox") : "every sandbox", cli_str(r, "source"));
		if (cli_str(r, "notice")[0])
			fprintf(stderr, "note: %s\n", cli_str(r, "notice"));
	}
	json_decref(r);
	client_close(&c);
	return code;
}

static void secret_row(struct table *t, const json_t *s)
{
	const char *sandbox = cli_str(s, "sandbox"), *detail = cli_str(s, "detail"), *masked = cli_str(s, "masked");
	char age[16];

	out_age(age, sizeof(age), cli_str(s, "updated"), (uint64_t)time(NULL));
	table_add(t, STYLE_BOLD, "%s", cli_str(s, "service"));
	table_add(t, STYLE_NONE, "%s", sandbox[0] ? sandbox : "(all)");
	table_add(t, STYLE_NONE, "%s", cli_str(s, "source"));
	table_add(t, STYLE_DIM, "%s", detail[0] ? detail : "-");
	table_add(t, STYLE_NONE, "%s", masked[0] ? masked : "-");
	table_add(t, STYLE_NONE, "%s", age);
}

static int do_secrets(const struct args *a)
{
	struct client *c = cli_connect();
	json_t *r = NULL;
	struct table t;

	if (!c || cli_call(c, "secret.list", NULL, &r) != 0) {
		client_close(&c);
		return 1;
	}
	const json_t *list = json_object_get(r, "secrets");
	if (args_has(a, "json")) {
		out_json(r, false);
	} else if (json_array_size(list) == 0) {
		fprintf(stderr, "no credentials are kept; 'bulkhead secret set anthropic' asks for one\n");
	} else {
		table_init(&t, "SERVICE SANDBOX SOURCE DETAIL VALUE AGE>");
		for (size_t i = 0; i < json_array_size(list); i++)
			secret_row(&t, json_array_get(list, i));
		table_print(&t, stdout);
	}
	json_decref(r);
	client_close(&c);
	return 0;
}

static void joined(struct table *t, const json_t *words)
{
	char line[512] = "";
	size_t n = 0;

	for (size_t i = 0; i < json_array_size(words) && n < sizeof(line) - 1; i++) {
		const int w = snprintf(line + n, sizeof(line) - n, "%s%s", i ? " " : "", json_string_value(json_array_get(words, i)));
		n = w < 0 || (size_t)w >= sizeof(line) - n ? sizeof(line) - 1 : n + (size_t)w;
	}
	table_add(t, STYLE_NONE, "%s", line);
}

static int do_services(const struct args *a)
{
	struct client *c = cli_connect();
	json_t *r = NULL;
	struct table t;

	if (!c || cli_call(c, "secret.list", NULL, &r) != 0) {
		client_close(&c);
		return 1;
	}
	const json_t *list = json_object_get(r, "services"), *errors = json_object_get(r, "errors");
	if (args_has(a, "json")) {
		out_json(r, false);
	} else {
		table_init(&t, "SERVICE VARIABLE HOSTS");
		for (size_t i = 0; i < json_array_size(list); i++) {
			const json_t *v = json_array_get(list, i);

			table_add(&t, STYLE_BOLD, "%s", cli_str(v, "name"));
			joined(&t, json_object_get(v, "env"));
			joined(&t, json_object_get(v, "hosts"));
		}
		table_print(&t, stdout);
	}
	for (size_t i = 0; i < json_array_size(errors); i++)
		out_say("%s", json_string_value(json_array_get(errors, i)));
	const int code = json_array_size(errors) > 0;
	json_decref(r);
	client_close(&c);
	return code;
}

static int do_forget(const struct args *a)
{
	struct client *c = cli_connect();
	int code = c ? 0 : 1;

	for (size_t i = 0; c && i < a->npos; i++) {
		json_t *params = json_pack("{s:s}", "service", a->pos[i]);

		add_sandbox(a, params);
		code |= cli_call(c, "secret.remove", params, NULL);
	}
	client_close(&c);
	return code;
}

static int do_verify(const struct args *a)
{
	struct client *c = cli_connect();
	json_t *r = NULL;

	if (!c || cli_call(c, "audit.verify", NULL, &r) != 0) {
		client_close(&c);
		return 1;
	}
	const bool ok = json_is_true(json_object_get(r, "ok"));
	const json_int_t n = json_integer_value(json_object_get(r, "records"));
	if (args_has(a, "json")) {
		out_json(r, false);
	} else if (ok) {
		out_styled(stdout, STYLE_GOOD, "whole");
		printf(": %lld records, none altered, missing or moved\n", (long long)n);
	} else {
		out_styled(stdout, STYLE_BAD, "broken");
		printf(" after %lld records: ", (long long)n);
		out_text(stdout, cli_str(r, "problem"));
		putchar('\n');
	}
	json_decref(r);
	client_close(&c);
	return ok ? 0 : 1;
}

/* ---- tables -------------------------------------------------------------------------------------------------------------------------------- */

#define OPT_SANDBOX { .letter = 's', .name = "sandbox", .arg = "NAME", .help = "for this sandbox only", .complete = COMPLETE_SANDBOX }

static const struct pos one_service[] = { { .name = "SERVICE", .complete = COMPLETE_NONE }, POS_END };
static const struct pos services[] = { { .name = "SERVICE", .complete = COMPLETE_NONE, .flags = POS_MANY }, POS_END };
static const struct opt set_options[] = {
	OPT_SANDBOX,
	{ .name = "from-env", .arg = "VARIABLE", .help = "the value of an environment variable" },
	{ .name = "from-command", .arg = "CMD", .help = "what a command prints, run by the supervisor when it is needed" },
	{ .name = "refresh", .arg = "SECONDS", .help = "run the command again after so long", .value = VALUE_NUMBER, .min = 10, .max = 86400 },
	{ .name = "stdin", .help = "read it from stdin" },
	OPT_END,
};
static const struct opt rm_options[] = { OPT_SANDBOX, OPT_END };
static const struct opt json_only[] = { OPT_JSON, OPT_END };
static const struct example set_examples[] = {
	{ "bulkhead secret set anthropic", "asks for the key and does not show it" },
	{ "bulkhead secret set github --from-command 'gh auth token'", "whatever that prints" },
	{ "pass show openai | bulkhead secret set openai --stdin --sandbox blue", "for one sandbox" },
	EXAMPLE_END,
};
static const struct example ls_examples[] = { { "bulkhead secret ls", "what is kept; never the values" }, EXAMPLE_END };
static const struct example services_examples[] = { { "bulkhead secret services", "their variables and hosts" }, EXAMPLE_END };
static const struct example rm_examples[] = { { "bulkhead secret rm anthropic", "running sandboxes lose it at once" }, EXAMPLE_END };
static const struct cmd set_cmd = {
	.name = "set", .summary = "keep a credential for a service", .group = GROUP_NET, .args = one_service, .options = set_options, .examples = set_examples, .exec = do_set,
	.about = "The value is typed without echo, or comes from where an option says; it is never an argument.",
};
static const struct cmd ls_cmd = { .name = "ls", .summary = "list the credentials, masked", .group = GROUP_NET, .options = json_only, .examples = ls_examples, .exec = do_secrets };
static const struct cmd rm_cmd = { .name = "rm", .summary = "forget credentials", .group = GROUP_NET, .args = services, .options = rm_options, .examples = rm_examples, .exec = do_forget };
static const struct cmd services_cmd = { .name = "services", .summary = "list the services a credential may be for, yours included", .group = GROUP_NET, .options = json_only, .examples = services_examples, .exec = do_services };
static const struct cmd *const secret_sub[] = { &set_cmd, &ls_cmd, &rm_cmd, &services_cmd, NULL };
const struct cmd cmd_secret = {
	.name = "secret", .summary = "credentials that the host adds to requests", .group = GROUP_NET, .examples = set_examples, .sub = secret_sub,
	.about = "A sandbox never holds the credential itself, only a placeholder in the service's variable. The host puts the real one into requests to the "
		 "service's own hosts, and refuses a placeholder on its way to any other and raises an alarm, where it can see it: in HTTP, and in TLS that "
		 "is opened because a credential goes there or a rule looks at methods or paths ('policy allow HOST /**' is enough). Other TLS is passed on unread.",
};

static const struct example verify_examples[] = { { "bulkhead audit verify", "exit 1 and the place when the log was touched" }, EXAMPLE_END };
static const struct cmd verify_cmd = {
	.name = "verify", .summary = "check that no record was altered, removed or moved", .group = GROUP_NET, .options = json_only, .examples = verify_examples, .exec = do_verify,
};
static const struct cmd *const audit_sub[] = { &verify_cmd, NULL };
const struct cmd cmd_audit = {
	.name = "audit", .summary = "the log of every decision", .group = GROUP_NET, .examples = verify_examples, .sub = audit_sub,
	.about = "Every decision and every use of a credential is one record, each holding the hash of the one before.",
};
