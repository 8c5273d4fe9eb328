/* SPDX-License-Identifier: Apache-2.0 */
/* logs and events: what happened, and what happens. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/out.h"
#include "tui/cli/stream.h"

#define CONSOLE_LINE 4096
#define CONSOLE_EVERY_MS 200

static void record(const json_t *r, bool json)
{
	if (json) {
		out_json(r, true);
		return;
	}
	const char *level = cli_str(r, "level");
	printf("%.19s ", cli_str(r, "at"));
	out_styled(stdout, strcmp(level, "error") == 0 ? STYLE_BAD : strcmp(level, "warn") == 0 ? STYLE_WARN : STYLE_DIM, level);
	printf("%*s %s%s", (int)(5 - (strlen(level) < 5 ? strlen(level) : 5)), "", cli_str(r, "name"), cli_str(r, "name")[0] ? ": " : "");
	out_text(stdout, cli_str(r, "text"));
	putchar('\n');
}

struct follow {
	const char *name; /* NULL: all */
	bool json, events; /* events: every kind */
};

static long long num(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

/* What a connection is to: of a question or a decision. */
static void tell_target(char *dst, size_t cap, const char *verdict, const json_t *o)
{
	const char *name = cli_str(o, "name");

	snprintf(dst, cap, "%s%s%s:%lld %s", verdict, *verdict ? " " : "", *name ? name : cli_str(o, "address"), num(o, "port"), cli_str(o, "comm"));
}

/* What an event says beside its kind and its sandbox. */
static void tell(const char *kind, const json_t *ev)
{
	const json_t *sb = json_object_get(ev, "sandbox"), *s = json_object_get(ev, "session"), *d = json_object_get(ev, "decision"), *h = json_object_get(ev, "host");
	char line[1024];

	if (strcmp(kind, "sandbox") == 0)
		snprintf(line, sizeof(line), "%s %s", cli_str(sb, "state"), cli_str(sb, "reason"));
	else if (strcmp(kind, "session") == 0)
		snprintf(line, sizeof(line), "%lld %s %s", num(s, "id"), cli_str(s, "state"), cli_str(s, "title"));
	else if (strcmp(kind, "attention") == 0)
		snprintf(line, sizeof(line), "%s %s", cli_str(ev, "what"), cli_str(ev, "text"));
	else if (strcmp(kind, "ask") == 0)
		tell_target(line, sizeof(line), "", json_object_get(ev, "ask"));
	else if (strcmp(kind, "decision") == 0)
		tell_target(line, sizeof(line), *cli_str(d, "verdict") ? cli_str(d, "verdict") : cli_str(d, "event"), d);
	else if (strcmp(kind, "ask_gone") == 0)
		snprintf(line, sizeof(line), "%lld %s %s %s", num(ev, "id"), cli_str(ev, "end"), cli_str(ev, "verdict"), cli_str(ev, "by"));
	else if (strcmp(kind, "net") == 0)
		snprintf(line, sizeof(line), "%lld open, %lld held, %lld denied", num(ev, "open"), num(ev, "held"), num(ev, "denied"));
	else if (strcmp(kind, "changes") == 0)
		snprintf(line, sizeof(line), "%lld files, +%lld -%lld", num(ev, "files"), num(ev, "add"), num(ev, "del"));
	else if (strcmp(kind, "ports") == 0)
		snprintf(line, sizeof(line), "%zu published", json_array_size(json_object_get(ev, "ports")));
	else if (strcmp(kind, "host") == 0)
		snprintf(line, sizeof(line), "%lld of %lld sandboxes run", num(h, "running"), num(h, "sandboxes"));
	else
		snprintf(line, sizeof(line), "%s", strcmp(kind, "resync") == 0 ? "events were missed here" : cli_str(ev, "text"));
	out_text(stdout, line);
}

/* Whose event it is; "" nobody's. */
static const char *event_of(const json_t *ev)
{
	const char *name = cli_str(ev, "name");

	if (!*name)
		name = cli_str(json_object_get(ev, "sandbox"), "name");
	if (!*name)
		name = cli_str(json_object_get(ev, "ask"), "sandbox");
	return *name ? name : cli_str(json_object_get(ev, "decision"), "sandbox");
}

static void on_event(void *arg, const json_t *ev)
{
	const struct follow *f = arg;
	const char *kind = cli_str(ev, "kind"), *of = event_of(ev);

	if (f->name && strcmp(of, f->name) != 0)
		return;
	if (f->events && f->json) {
		out_json(ev, true);
	} else if (f->events) {
		printf("%.19s %-9s %s%s", cli_str(ev, "at"), kind, of, *of ? " " : "");
		tell(kind, ev);
		putchar('\n');
	} else if (strcmp(kind, "log") == 0) {
		record(ev, f->json);
	}
	fflush(stdout);
}

/* ---- the console's log ------------------------------------------------------------------------------------------------------------- */

struct console_tail {
	int fd;
	char line[CONSOLE_LINE];
	size_t n;
};

static void tail_line(struct console_tail *t)
{
	t->line[t->n] = '\0';
	t->n = 0;
	out_text(stdout, t->line);
	putchar('\n');
}

static void tail_read(struct console_tail *t)
{
	char piece[4096];
	struct stat st;
	ssize_t n;

	/* It begins again at its limit. */
	if (fstat(t->fd, &st) == 0 && st.st_size < lseek(t->fd, 0, SEEK_CUR))
		lseek(t->fd, 0, SEEK_SET);
	while ((n = read(t->fd, piece, sizeof(piece))) > 0)
		for (ssize_t i = 0; i < n; i++) {
			if (piece[i] == '\n' || t->n == sizeof(t->line) - 1)
				tail_line(t);
			if (piece[i] != '\n' && piece[i] != '\r' && piece[i] != '\0')
				t->line[t->n++] = piece[i];
		}
	fflush(stdout);
}

/* What is added to the file from `fd`'s place on, until a signal. The file is the guest's words: every line is scrubbed. */
static int console_follow(int fd)
{
	struct console_tail t = { .fd = fd };
	struct pollfd p = { .fd = signals_watch(), .events = POLLIN };
	int signo = 0;

	while (!signo && !ferror(stdout)) {
		tail_read(&t);
		if (poll(&p, 1, CONSOLE_EVERY_MS) > 0)
			signo = signals_next(p.fd);
	}
	return !signo || signo == SIGINT ? 0 : 128 + signo;
}

/* Takes p. */
static int console(struct client *c, const struct args *a, json_t *p)
{
	const bool follow = args_has(a, "follow");
	json_t *r = NULL, *line;
	AUTO_FD fd = -1;
	size_t i;

	/* Where it ends now; what comes while the lines are read is shown after them. */
	if (follow && cli_call(c, "console.read", json_pack("{s:s, s:i}", "name", a->pos[0], "lines", 0), &r) != 0) {
		json_decref(p);
		return 1;
	}
	if (follow && (fd = open(cli_str(r, "path"), O_RDONLY | O_NOFOLLOW | O_CLOEXEC)) >= 0)
		lseek(fd, 0, SEEK_END);
	json_decref(r);
	if (cli_call(c, "console.read", p, &r) != 0)
		return 1;
	if (args_has(a, "json"))
		out_json(r, false);
	else
		json_array_foreach(json_object_get(r, "lines"), i, line) {
			out_text(stdout, json_string_value(line));
			putchar('\n');
		}
	json_decref(r);
	if (follow && fd < 0)
		out_say("sandbox '%s' has no console yet: it was never started", a->pos[0]);
	return !follow ? 0 : fd < 0 ? 1 : console_follow(fd);
}

/* ---- commands ------------------------------------------------------------------------------------------------------------------------ */

/* One that was removed has its records still; of one that never was there is nothing to show or to wait for. */
static int show_records(struct client *c, const char *name, json_t *p, bool json)
{
	json_t *r = NULL, *one;
	size_t i;
	int code = cli_call(c, "log.read", p, &r);
	const json_t *records = json_object_get(r, "records");

	json_array_foreach(records, i, one)
		record(one, json);
	if (code == 0 && name && json_array_size(records) == 0)
		code = cli_call(c, "sandbox.get", json_pack("{s:s}", "name", name), NULL);
	json_decref(r);
	return code;
}

static int do_logs(const struct args *a)
{
	const char *name = a->pos[0];
	const bool json = args_has(a, "json");
	json_t *p = json_object();
	struct client *c = NULL;
	int code = EXIT_USAGE;

	if (args_has(a, "console") && !name)
		out_say("--console needs the name of a sandbox");
	else if (args_has(a, "console") && args_has(a, "follow") && json)
		out_say("--console -f shows lines as they come; leave --json out");
	else
		code = (c = cli_connect()) ? 0 : 1;
	if (code) {
		json_decref(p);
		return code;
	}
	if (args_has(a, "lines"))
		json_object_set_new(p, "lines", json_integer((json_int_t)args_number(a, "lines", 0)));
	if (name)
		json_object_set_new(p, "name", json_string(name));
	code = args_has(a, "console") ? console(c, a, p) : show_records(c, name, p, json);
	if (code == 0 && args_has(a, "follow") && !args_has(a, "console")) {
		struct follow f = { .name = name, .json = json };

		fflush(stdout);
		code = cli_follow(c, on_event, NULL, &f);
	}
	client_close(&c);
	return code;
}

static int do_events(const struct args *a)
{
	struct client *c = cli_connect();
	struct follow f = { .name = a->pos[0], .json = args_has(a, "json"), .events = true };
	int code = c ? 0 : 1;

	if (c && f.name)
		code = cli_call(c, "sandbox.get", json_pack("{s:s}", "name", f.name), NULL);
	if (code == 0)
		code = cli_follow(c, on_event, NULL, &f);
	client_close(&c);
	return code;
}

static const struct pos names[] = { { .name = "NAME", .complete = COMPLETE_SANDBOX, .flags = POS_OPTIONAL }, POS_END };
static const struct opt logs_options[] = {
	{ .letter = 'f', .name = "follow", .help = "go on with what happens" },
	{ .letter = 'n', .name = "lines", .arg = "N", .help = "so many of the newest, at most 2000 (default 200)", .value = VALUE_NUMBER, .min = 1, .max = 2000 },
	{ .name = "console", .help = "the console of its machine instead: the kernel's words" },
	OPT_JSON, OPT_END,
};
static const struct opt events_options[] = { OPT_JSON, OPT_END };
static const struct example logs_examples[] = {
	{ "bulkhead logs -f", "what happens to all sandboxes" }, { "bulkhead logs --console blue", "why did it not boot?" }, EXAMPLE_END,
};
static const struct example events_examples[] = { { "bulkhead events --json", "every change as a JSON line, for scripts" }, EXAMPLE_END };
const struct cmd cmd_logs = { .name = "logs", .summary = "show what happened", .group = GROUP_LOOK, .args = names, .options = logs_options, .examples = logs_examples, .exec = do_logs };
const struct cmd cmd_events = { .name = "events", .summary = "show every change as it happens", .group = GROUP_LOOK, .args = names, .options = events_options, .examples = events_examples, .exec = do_events };
