/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cp: a tar stream between here and the sandbox, made and taken apart here by our own code (unpack.h says what a guest's archive may not
 * do), there by the sandbox's tar. A child process does our half, so that neither side's pipe can stop the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/out.h"
#include "tui/cli/stream.h"
#include "tui/cli/unpack.h"

#define KEEP_FREE (UINT64_C(64) << 20)

struct place {
	char name[NAME_MAX_LEN + 1]; /* "" here */
	const char *path;
};

/* "blue:/etc/hosts"; a colon after a slash or in "./a:b" belongs to a path. */
static void parse(const char *word, struct place *p)
{
	const char *colon = strchr(word, ':'), *slash = strchr(word, '/');

	*p = (struct place){ .path = word };
	if (!colon || colon == word || (slash && slash < colon) || (size_t)(colon - word) > NAME_MAX_LEN)
		return;
	memcpy(p->name, word, (size_t)(colon - word));
	p->name[colon - word] = '\0';
	p->path = colon[1] ? colon + 1 : ".";
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

/* Runs argv there with the given ends; its status, or EXIT_OURS. */
static int there(struct client *c, const char *name, json_t *argv, int in, int out)
{
	struct err e = ERR_INIT;
	int fd, code = EXIT_OURS;

	if (client_call(c, "session.open", json_pack("{s:s, s:s, s:o}", "name", name, "kind", "exec", "argv", argv), 60000, NULL, &fd, NULL, &e) < 0) {
		out_fail(&e);
		return EXIT_OURS;
	}
	const struct stream_opts o = { .in_fd = in, .out_fd = out, .err_fd = 2, .sig_fd = signals_watch() };
	if (stream_run(fd, &o, &code, &e) < 0)
		out_say("%s", e.msg);
	close(fd);
	return code;
}

/* A child of our own for the archive's other end; -1 after saying why, the pipe closed. */
static pid_t split(const int fds[2])
{
	const pid_t pid = fork();

	if (pid < 0) {
		out_say("cannot start a process: %s", strerror(errno));
		close(fds[0]);
		close(fds[1]);
	}
	return pid;
}

static int reap(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* ---- into the sandbox ------------------------------------------------------------------------------------------------------------------ */

static int copy_in(struct client *c, const char *from, const struct place *to)
{
	int fds[2];
	struct err e = ERR_INIT;

	if (strcmp(from, "-") == 0)
		return there(c, to->name, json_pack("[s,s,s,s,s]", "tar", "-x", "--warning=no-timestamp", "-C", to->path), 0, 1);
	if (access(from, R_OK) < 0) {
		out_say("cannot read '%s': %s", from, strerror(errno));
		return 1;
	}
	if (pipe2(fds, O_CLOEXEC) < 0) {
		out_say("cannot make a pipe: %s", strerror(errno));
		return 1;
	}
	const pid_t pid = split(fds);
	if (pid < 0)
		return 1;
	if (pid == 0) {
		struct unpack_report rep = { 0 };

		close(fds[0]);
		const int r = pack_tar(fds[1], from, "x", 1, &rep, &e);
		if (r < 0 && r != -EPIPE)
			out_fail(&e);
		if (rep.skipped)
			out_say("%llu files were not copied: %s", (unsigned long long)rep.skipped, rep.why);
		_exit(r < 0 || rep.skipped ? 1 : 0);
	}
	close(fds[1]);
	/* Like cp -r: into a directory that is there, else as that name. "x" is what the archive calls it. */
	static const char script[] = "set -e; t=$1; n=$2; if [ -d \"$t\" ]; then t=$t/$n; elif [ \"${t%/}\" != \"$t\" ]; then echo \"cp: '$t' is no directory\" >&2; "
				     "exit 1; fi; d=$(dirname -- \"$t\"); w=$(mktemp -d -- \"$d/.bulkhead-cp.XXXXXX\"); trap 'rm -rf -- \"$w\"' EXIT; "
				     "tar -x --warning=no-unknown-keyword --warning=no-timestamp -C \"$w\" -f -; if [ -d \"$t\" ] && [ -d \"$w/x\" ]; then cp -a -- \"$w/x/.\" \"$t/\"; else mv -f -T -- \"$w/x\" \"$t\"; fi";
	const int code = there(c, to->name, json_pack("[s,s,s,s,s,s]", "sh", "-c", script, "cp", to->path, base_name(from)), fds[0], 1);
	close(fds[0]);
	const int mine = reap(pid);
	return code ? 1 : mine;
}

/* ---- out of the sandbox ------------------------------------------------------------------------------------------------------------------ */

static int unpack_child(int fd, const char *what, const char *to)
{
	struct unpack_report rep = { 0 };
	struct err e = ERR_INIT;
	struct stat st;
	const bool into = stat(to, &st) == 0 && S_ISDIR(st.st_mode);
	AUTO_FREE char *copy = str_dup(to);
	char *slash = copy ? strrchr(copy, '/') : NULL;

	if (slash && slash != copy)
		*slash = '\0';
	const char *dir = into ? to : !slash ? "." : slash == copy ? "/" : copy;
	AUTO_FD dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0) {
		out_say("cannot open directory '%s': %s", dir, strerror(errno));
		return 1;
	}
	const struct unpack_opts o = { .dirfd = dirfd, .strip = what, .as = into ? what : base_name(to), .keep_free = KEEP_FREE };
	const int r = unpack_tar(fd, &o, &rep, &e);
	if (r < 0)
		out_fail(&e);
	/* Behind the archive's end tar pads: whoever still writes that must not meet a closed pipe. */
	char rest[65536];
	while (r == 0 && read(fd, rest, sizeof(rest)) > 0)
		;
	if (rep.skipped)
		out_say("%llu entries were not written: %s", (unsigned long long)rep.skipped, rep.why);
	return r < 0 || rep.skipped ? 1 : 0;
}

static int copy_out(struct client *c, const struct place *from, const char *to)
{
	/* What the last part of the path is called is decided here, not by the guest's archive. */
	AUTO_FREE char *path = str_dup(from->path);
	int fds[2];

	for (size_t n = path ? strlen(path) : 0; n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
	const char *what = path ? base_name(path) : "";
	if (!path || strcmp(what, "/") == 0 || strcmp(what, ".") == 0 || strcmp(what, "..") == 0) {
		out_say("'%s' names no file or directory by its own name; write its path", from->path);
		return 1;
	}
	AUTO_FREE char *dir = str_dup(path);
	char *slash = dir ? strrchr(dir, '/') : NULL;
	if (slash)
		slash[slash == dir ? 1 : 0] = '\0';
	json_t *argv = json_pack("[s,s,s,s,s,s]", "tar", "-c", "-C", slash ? dir : ".", "--", what);
	if (strcmp(to, "-") == 0)
		return there(c, from->name, argv, -1, 1);
	if (pipe2(fds, O_CLOEXEC) < 0) {
		json_decref(argv);
		out_say("cannot make a pipe: %s", strerror(errno));
		return 1;
	}
	const pid_t pid = split(fds);
	if (pid < 0) {
		json_decref(argv);
		return 1;
	}
	if (pid == 0) {
		close(fds[1]);
		_exit(unpack_child(fds[0], what, to));
	}
	close(fds[0]);
	const int code = there(c, from->name, argv, -1, fds[1]);
	close(fds[1]);
	const int mine = reap(pid);
	return code ? 1 : mine;
}

static int do_cp(const struct args *a)
{
	struct place from, to;

	parse(a->pos[0], &from);
	parse(a->pos[1], &to);
	if (!from.name[0] == !to.name[0]) {
		out_say("one of the two must be in a sandbox, written as NAME:PATH%s", from.name[0] ? ", and the other here" : "");
		return EXIT_USAGE;
	}
	struct client *c = cli_connect();
	if (!c)
		return 1;
	const int code = from.name[0] ? copy_out(c, &from, to.path) : copy_in(c, from.path, &to);
	client_close(&c);
	return code ? 1 : 0;
}

static const struct pos names[] = { { .name = "FROM", .complete = COMPLETE_COPY }, { .name = "TO", .complete = COMPLETE_COPY }, POS_END };
static const struct example examples[] = {
	{ "bulkhead cp notes.txt blue:/home/agent/", "into it" },
	{ "bulkhead cp blue:/home/agent/out ./out", "a directory out of it" },
	{ "bulkhead cp blue:/etc - | tar t", "as a tar stream" },
	EXAMPLE_END,
};
const struct cmd cmd_cp = {
	.name = "cp",
	.summary = "copy files into and out of a running sandbox",
	.about = "Directories are copied whole. What comes out of a sandbox cannot leave the target directory: links that would, devices and set-user-id bits "
		 "are left out and said. '-' is a tar stream.",
	.group = GROUP_RUN, .args = names, .examples = examples, .exec = do_cp,
};
