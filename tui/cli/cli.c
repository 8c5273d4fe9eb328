/* SPDX-License-Identifier: Apache-2.0 */
#include "tui/cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/image/image.h"
#include "tui/cli/out.h"
#include "tui/cli/stream.h"
#include "tui/dashboard.h"

#define CALL_MS 60000
#define AGAIN_MAX 5 /* supervisors that may come to their end under one wait */

struct client *cli_connect(void)
{
	struct client *c;
	struct err e = ERR_INIT;

	if (client_connect(&c, "cli", true, &e) < 0) {
		out_fail(&e);
		return NULL;
	}
	return c;
}

int cli_call(struct client *c, const char *method, json_t *params, json_t **result)
{
	struct err e = ERR_INIT;

	return client_call(c, method, params, CALL_MS, result, NULL, NULL, &e) < 0 ? out_fail(&e) : 0;
}

int cli_list(struct client *c, const char *method, const char *key, json_t **result)
{
	struct err e = ERR_INIT;

	return client_list(c, method, key, CALL_MS, result, &e) < 0 ? out_fail(&e) : 0;
}

const char *cli_str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* ---- waiting ------------------------------------------------------------------------------------------------------------------------ */

struct waited {
	bool done;
	int code;
	json_t *result;
	char message[512];
};

static void on_waited(void *arg, const struct client_answer *a)
{
	struct waited *w = arg;

	w->done = true;
	w->code = a->code;
	w->result = json_incref(a->result);
	str_copy(w->message, sizeof(w->message), a->message ? a->message : "");
}

/* again: a supervisor that is replaced meanwhile has left the sandbox to the next one, which is asked instead. */
static int wait_state(struct client *c, const char *name, const char *const *states, size_t n, bool docker, bool again, json_t **sandbox)
{
	struct waited w = { .done = false };
	struct err e = ERR_INIT;
	json_t *list = json_array();
	const bool told = isatty(2);
	const uint64_t start = clock_ms();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(states[i]));
	for (int tries = 0; tries <= AGAIN_MAX; tries++) {
		w = (struct waited){ .done = false };
		int r = client_send(c, "sandbox.wait", json_pack("{s:s, s:O, s:b, s:b}", "name", name, "states", list, "docker", docker, "settle", 1), on_waited, &w);
		while (r == 0 && !w.done) {
			r = client_wait(c, -1, 250, &e);
			if (told && !w.done && clock_ms() - start > 500)
				fprintf(stderr, "\r%s: %s … %.1f s\x1b[K", name, docker ? "waiting for docker" : states[0], (double)(clock_ms() - start) / 1000);
		}
		if ((w.done && w.code != CLIENT_LOST) || !again || client_again(c, "cli", &e) < 0)
			break;
	}
	json_decref(list);
	if (told && clock_ms() - start > 500)
		fprintf(stderr, "\r\x1b[K");
	if (!w.done || w.code) {
		out_say("%s", w.done ? w.message : e.msg[0] ? e.msg : "the supervisor is gone");
		json_decref(w.result);
		return 1;
	}
	if (sandbox)
		*sandbox = w.result;
	else
		json_decref(w.result);
	return 0;
}

int cli_wait(struct client *c, const char *name, const char *const *states, size_t n, bool docker, json_t **sandbox)
{
	return wait_state(c, name, states, n, docker, true, sandbox);
}

static void on_progress(void *arg, const char *line)
{
	(void)arg;
	fprintf(stderr, "image: %s\n", line);
}

int cli_build_image(bool force)
{
	struct err e = ERR_INIT;

	return image_build(force, on_progress, NULL, &e) < 0 ? out_fail(&e) : 0;
}

int cli_start(struct client *c, const char *name, bool leased)
{
	static const char *const running[] = { "running" }, *const rest[] = { "stopped", "failed" };
	json_t *sb = NULL;
	struct err e = ERR_INIT;
	int code;

	if (cli_call(c, "sandbox.get", json_pack("{s:s}", "name", name), &sb) != 0)
		return 1;
	if (strcmp(cli_str(sb, "state"), "stopping") == 0) { /* somebody's stop is let finish */
		json_decref(sb);
		if (cli_wait(c, name, rest, 2, false, &sb) != 0)
			return 1;
	}
	const char *state = cli_str(sb, "state");
	const bool needed = strcmp(state, "stopped") == 0 || strcmp(state, "failed") == 0;
	const bool paused = strcmp(state, "paused") == 0;
	json_decref(sb);
	if (paused && cli_call(c, "sandbox.resume", json_pack("{s:s}", "name", name), NULL) != 0)
		return 1;
	if (needed && client_call(c, "sandbox.start", json_pack("{s:s}", "name", name), CALL_MS, NULL, NULL, &code, &e) < 0) {
		if (code != CLIENT_NO_IMAGE)
			return out_fail(&e);
		if (cli_build_image(false) != 0 || cli_call(c, "sandbox.start", json_pack("{s:s}", "name", name), NULL) != 0)
			return 1;
	}
	return wait_state(c, name, running, 1, false, !leased, NULL);
}

int cli_follow(struct client *c, client_event_fn fn, void (*first)(void *arg, const json_t *state), void *arg)
{
	const int sig = signals_watch();
	struct err e = ERR_INIT;
	json_t *state = NULL;

	client_on_event(c, fn, arg);
	if (cli_call(c, "events.subscribe", NULL, &state) != 0)
		return 1;
	if (first)
		first(arg, state);
	json_decref(state);
	fflush(stdout);
	for (;;) {
		const int r = client_wait(c, sig, -1, &e);

		if (r < 0)
			return out_fail(&e);
		if (r == 1) {
			const int signo = signals_next(sig);

			if (signo)
				return signo == SIGINT ? 0 : 128 + signo;
		}
		if (ferror(stdout))
			return 0;
	}
}

/* ---- options ---------------------------------------------------------------------------------------------------------------------------- */

json_t *cli_env(const struct args *a)
{
	json_t *env = json_object();
	const char *v;

	for (size_t i = 0; (v = args_nth(a, "env", i)); i++) {
		const char *eq = strchr(v, '=');
		AUTO_FREE char *key = eq ? strndup(v, (size_t)(eq - v)) : str_dup(v);
		const char *value = eq ? eq + 1 : getenv(v);

		if (key && value && json_object_set_new(env, key, json_string(value)) < 0) { /* of this program's own environment */
			out_say("the value of '%s' is not UTF-8", key);
			json_decref(env);
			return NULL;
		}
	}
	return env;
}

int cli_exec(struct client *c, json_t *params)
{
	struct err e = ERR_INIT;
	int fd, code = EXIT_OURS;

	if (client_call(c, "session.open", params, CALL_MS, NULL, &fd, NULL, &e) < 0) {
		out_fail(&e);
		return EXIT_OURS;
	}
	if (fd < 0) {
		out_say("the supervisor gave no connection to the command");
		return EXIT_OURS;
	}
	const struct stream_opts o = { .in_fd = 0, .out_fd = 1, .err_fd = 2, .sig_fd = signals_watch() };
	if (stream_run(fd, &o, &code, &e) < 0)
		out_say("%s", e.msg);
	close(fd);
	return code;
}

/* Why the session's command was never run; nothing when it was. */
static void say_failure(struct client *c, const char *name, json_int_t id)
{
	json_t *sb = NULL, *s;
	size_t i;

	if (client_call(c, "sandbox.get", json_pack("{s:s}", "name", name), CALL_MS, &sb, NULL, NULL, NULL) < 0)
		return;
	json_array_foreach(json_object_get(sb, "sessions"), i, s)
		if (json_integer_value(json_object_get(s, "id")) == id && strcmp(cli_str(s, "state"), "failed") == 0)
			out_say("%s", cli_str(s, "title"));
	json_decref(sb);
}

int cli_exec_tty(struct client *c, json_t *params)
{
	AUTO_FREE char *name = str_dup(cli_str(params, "name"));
	json_t *r = NULL;

	if (!name || cli_call(c, "session.open", params, &r) != 0)
		return EXIT_OURS;
	const json_int_t id = json_integer_value(json_object_get(json_object_get(r, "session"), "id"));
	const struct dashboard_opts o = { .sandbox = name, .attach_only = true, .session = (uint32_t)id };

	json_decref(r);
	const int code = dashboard_run(&o);
	if (code >= EXIT_OURS && code <= EXIT_NOT_FOUND)
		say_failure(c, name, id);
	return code;
}

/* ---- dispatch ------------------------------------------------------------------------------------------------------------------------------ */

static int no_command(const struct cmd *const *list, const char *word, const char *what)
{
	const char *names[64];
	size_t n = 0;

	for (; list[n] && n < ARRAY_SIZE(names); n++)
		names[n] = list[n]->name;
	const char *near = suggest(word, names, n);
	if (near)
		out_say("there is no %s '%s'; did you mean '%s'?", what, word, near);
	else
		out_say("there is no %s '%s'; 'bulkhead --help' lists them", what, word);
	return EXIT_USAGE;
}

static int run(const struct cmd *cmd, const struct cmd *parent, int argc, char **argv)
{
	struct args a;
	struct err e = ERR_INIT;

	if (args_parse(&a, cmd, argc, argv, &e) < 0) {
		out_say("%s", e.msg);
		fprintf(stderr, "'bulkhead %s%s%s --help' shows how it is used\n", parent ? parent->name : "", parent ? " " : "", cmd->name);
		return EXIT_USAGE;
	}
	a.parent = parent;
	int code = 0;
	if (a.help)
		help_print(cmd, parent);
	else
		code = cmd->exec(&a);
	args_release(&a);
	const int closed = out_close();
	return code ? code : closed;
}

/* For the shells' completions: names of sandboxes, silently; starts nothing. */
static int print_names(void)
{
	struct client *c;
	json_t *r = NULL;

	if (client_connect(&c, "cli", false, NULL) < 0)
		return 1;
	if (client_list(c, "sandbox.list", "sandboxes", 2000, &r, NULL) == 0)
		for (size_t i = 0; i < json_array_size(json_object_get(r, "sandboxes")); i++)
			printf("%s\n", cli_str(json_array_get(json_object_get(r, "sandboxes"), i), "name"));
	json_decref(r);
	client_close(&c);
	return 0;
}

/* The same of guest images. */
static int print_images(void)
{
	struct image_info *v = NULL;
	size_t n = 0;

	if (image_list(&v, &n, NULL) < 0)
		return 1;
	for (size_t i = 0; i < n; i++)
		printf("%s\n", v[i].id);
	free(v);
	return 0;
}

int cli_main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "--help";

	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || (strcmp(word, "help") == 0 && argc == 2)) {
		help_print_all();
		return out_close();
	}
	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
		word = "version";
	if (strcmp(word, "__names") == 0)
		return print_names();
	if (strcmp(word, "__images") == 0)
		return print_images();
	if (strcmp(word, "__man") == 0) {
		man_print();
		return out_close();
	}
	if (strcmp(word, "help") == 0) {
		const struct cmd *c = cmd_find(cmds, argv[2]);

		if (!c)
			return no_command(cmds, argv[2], "command");
		help_print(c, NULL);
		return out_close();
	}
	if (word[0] == '-') {
		out_say("there is no option '%s'; 'bulkhead --help' shows what there is", word);
		return EXIT_USAGE;
	}
	const struct cmd *c = cmd_find(cmds, word);
	if (!c)
		return no_command(cmds, word, "command");
	if (!c->sub)
		return run(c, NULL, argc - 2, argv + 2);
	if (argc < 3 || strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0) {
		help_print(c, NULL);
		return argc < 3 ? EXIT_USAGE : out_close();
	}
	const struct cmd *s = cmd_find(c->sub, argv[2]);
	return s ? run(s, c, argc - 3, argv + 3) : no_command(c->sub, argv[2], "command of that group called");
}
