/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch: commits made in a sandbox become remote-tracking branches of the host's repository, refs/remotes/bulkhead/NAME/<branch>.
 *
 *   guest: git upload-pack --exec session--> this process --two pipes--> git (fd:: transport), in an empty repository of our own
 *   that repository --git fetch--> the host's
 *
 * The guest's end of git's protocol may say anything. So it is heard by a git that writes into a repository made for that (its objects are the
 * host's and new ones), with a limit of bytes, memory and time, and with every object checked; only what came through that whole is fetched
 * from there, by names that branches.h let pass. Nothing else of the host's repository is written: no work tree, index, HEAD, FETCH_HEAD, branch or tag.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "tui/cli/branches.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/git.h"
#include "tui/cli/out.h"
#include "tui/cli/stream.h"

#define ADVERT_MAX (UINT64_C(4) << 20) /* the list of references */
#define SIZE_DEFAULT (UINT64_C(4) << 30)
#define SILENCE_MS 120000u
#define TEXT_MAX (4u << 20)
#define OBJECTS_MAX_PATH 4096u

struct fetch {
	struct client *c;
	const char *name, *path;     /* the sandbox; the workspace, which is where the host's work tree is */
	char *common;                /* owned: the host's repository */
	char *tmp;                   /* owned: ours; NULL none yet */
	char prefix[NAME_MAX_LEN + 32]; /* "refs/remotes/bulkhead/NAME/" */
	uint64_t most;
	int sig_fd;
	struct branches *offered, *known; /* owned: the guest's; those of ours that are there from before */
	json_t *came;                /* borrowed: told to the person */
};

/* ---- a git in the sandbox, one of ours before it ------------------------------------------------------------------------------------- */

static json_t *serve_params(const struct fetch *f)
{
	return json_pack("{s:s, s:s, s:s, s:[s,s,s,s,s,s]}", "name", f->name, "kind", "exec", "cwd", "/", "argv", "git", "-c", "safe.directory=*", "upload-pack",
			 "--timeout=600", f->path);
}

/* What the guest's git complained of, scrubbed; "" nothing. */
static void complaint(int fd, char *dst, size_t cap)
{
	char text[2048];
	const ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	scrub(dst, cap, text, strlen(text), false);
}

/* Runs `argv` in our repository, the sandbox's git on its descriptors 3 and 4. */
static int converse(struct fetch *f, const char *const *argv, const char *in, uint64_t most, struct buf *out, struct err *e)
{
	struct err ge = ERR_INIT, se = ERR_INIT;
	struct git_started g;
	char why[300];
	int session, code = 0, to[2], from[2];

	if (client_call(f->c, "session.open", serve_params(f), 60000, NULL, &session, NULL, e) < 0)
		return -e->code;
	AUTO_FD sock = session, errors = memfd_create("errors", MFD_CLOEXEC);
	if (errors < 0 || pipe2(to, O_CLOEXEC) < 0)
		return err_errno(e, errno, "cannot make a pipe");
	AUTO_FD git_in = to[0], our_out = to[1];
	if (pipe2(from, O_CLOEXEC) < 0)
		return err_errno(e, errno, "cannot make a pipe");
	AUTO_FD our_in = from[0], git_out = from[1];
	const struct git_run r = GIT_RUN(f->tmp, argv, .transport = "fd", .plain = true, .in = in, .most = most, );
	struct git_run run = r;
	run.from = git_in;
	run.to = git_out;
	if (git_start(&g, &run, e) < 0)
		return -e->code;
	fd_close(&git_in);
	fd_close(&git_out);
	const struct stream_opts o = { .in_fd = our_in, .out_fd = our_out, .err_fd = errors, .sig_fd = f->sig_fd, .most = most, .idle_ms = SILENCE_MS };
	const int s = stream_run(sock, &o, &code, &se);
	fd_close(&our_in);
	fd_close(&our_out);
	const int status = git_finish(&g, out, &ge);
	if (status == 0 && s == 0)
		return 0;
	complaint(errors, why, sizeof(why));
	if (s < 0)
		return err_set(e, se.code ? se.code : EIO, "%s", se.msg);
	if (code == EXIT_NOT_FOUND)
		return err_set(e, ENOENT, "there is no git in the sandbox");
	return err_set(e, EIO, "%.250s%s%.200s", ge.msg, *why ? "; the sandbox's git: " : "", why);
}

/* ---- our repository ---------------------------------------------------------------------------------------------------------------------- */

static int git_here(const struct fetch *f, const char *const *argv, struct buf *out, struct err *e)
{
	const struct git_run r = GIT_RUN(f->path, argv, .transport = NULL);

	return git_run(&r, out, e);
}

static int write_at(const char *dir, const char *name, const char *text, size_t n, struct err *e)
{
	AUTO_FREE char *path = path_join(dir, name);
	AUTO_FD fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
	const int r = fd >= 0 ? fd_write_full(fd, text, n) : -errno;

	return r < 0 ? err_errno(e, -r, "cannot write '%s'", path ? path : name) : 0;
}

/* A shallow repository's is shallow too, or the host's history would seem to have holes. */
static int copy_shallow(const struct fetch *f, struct err *e)
{
	AUTO_FREE char *path = path_join(f->common, "shallow");
	struct buf b;
	int r;

	buf_init(&b, TEXT_MAX);
	r = path ? atomicfile_read(AT_FDCWD, path, &b, e) : -ENOMEM;
	if (r == 0)
		r = write_at(f->tmp, "shallow", (const char *)buf_head(&b), buf_size(&b), e);
	buf_release(&b);
	return r == -ENOENT ? 0 : r;
}

static int make_tmp(struct fetch *f, const char *format, struct err *e)
{
	AUTO_FREE char *state = path_state(e);
	AUTO_FREE char *tmp = state ? path_join(state, "fetch.XXXXXX") : NULL, *objects = path_join(f->common, "objects\n");
	AUTO_FREE char *kind = str_fmt("--object-format=%s", format);

	if (!tmp || !objects || !kind || !mkdtemp(tmp))
		return e->code ? -e->code : err_errno(e, errno, "cannot make a directory in '%s'", state ? state : "?");
	f->tmp = steal_ptr(&tmp);
	const char *const argv[] = { "init", "-q", "--bare", "--template=", kind, ".", NULL };
	const struct git_run r = GIT_RUN(f->tmp, argv, .plain = true);
	AUTO_FREE char *info = path_join(f->tmp, "objects/info");
	if (git_run(&r, NULL, e))
		return -EIO;
	if (!info || (mkdir(info, 0700) < 0 && errno != EEXIST))
		return err_errno(e, errno, "cannot make a directory in '%s'", f->tmp);
	if (write_at(info, "alternates", objects, strlen(objects), e))
		return -e->code;
	return copy_shallow(f, e);
}

static void remove_tmp(struct fetch *f)
{
	if (f->tmp && path_remove_tree(AT_FDCWD, f->tmp, NULL) < 0)
		out_say("cannot remove '%s'", f->tmp);
	free(f->tmp);
	f->tmp = NULL;
}

/* Where the host's repository is, and of what kind. */
static int find_host(struct fetch *f, char format[16], struct err *e)
{
	static const char *const argv[] = { "rev-parse", "--path-format=absolute", "--git-common-dir", "--show-object-format", "--show-toplevel", NULL };
	struct buf b;

	buf_init(&b, 3 * OBJECTS_MAX_PATH);
	int r = git_here(f, argv, &b, e);
	if (r == 0)
		buf_put(&b, "", 1);
	AUTO_FREE char *text = r == 0 && buf_ok(&b) ? str_dup((const char *)buf_head(&b)) : NULL;
	buf_release(&b);
	if (r)
		return -EIO;
	char *rest = text, *line[3];
	for (size_t i = 0; i < ARRAY_SIZE(line); i++)
		line[i] = rest ? strsep(&rest, "\n") : NULL;
	if (!rest || *rest || !str_copy(format, 16, line[1]) || line[0][0] != '/')
		return err_set(e, EIO, "git says something unexpected of '%s'", f->path);
	if (strcmp(line[2], f->path) != 0)
		return err_set(e, EINVAL, "it lies within the git work tree '%s': nothing of its repository is in the sandbox", line[2]);
	f->common = str_dup(line[0]);
	return f->common ? 0 : err_set(e, ENOMEM, "out of memory");
}

/* A symbolic reference among ours would have git write what it points to: a branch of the person's. */
static int refuse_symbolic(const struct fetch *f, struct err *e)
{
	const char *const argv[] = { "for-each-ref", "--format=%(if)%(symref)%(then)%(refname)%(end)", f->prefix, NULL };
	struct buf b;
	bool found = false;

	buf_init(&b, TEXT_MAX);
	const int r = git_here(f, argv, &b, e);
	for (size_t i = 0; r == 0 && i < buf_size(&b); i++)
		found |= buf_head(&b)[i] != '\n';
	buf_release(&b);
	if (found)
		return err_set(e, EINVAL, "there are symbolic references below '%s': remove them first", f->prefix);
	return r ? -EIO : 0;
}

static int list_known(struct fetch *f, struct err *e)
{
	const char *const argv[] = { "for-each-ref", "--format=%(objectname) %(refname)", f->prefix, NULL };
	struct buf b;

	buf_init(&b, TEXT_MAX);
	const int r = git_here(f, argv, &b, e);
	if (r == 0)
		branches_parse((const char *)buf_head(&b), buf_size(&b), f->prefix, f->known);
	buf_release(&b);
	return r ? -EIO : 0;
}

static int list_offered(struct fetch *f, struct err *e)
{
	static const char *const argv[] = { "ls-remote", "-q", "--heads", "--refs", "fd::3,4", NULL };
	struct buf b;

	buf_init(&b, 2 * ADVERT_MAX);
	const int r = converse(f, argv, NULL, ADVERT_MAX, &b, e);
	if (r == 0)
		branches_parse((const char *)buf_head(&b), buf_size(&b), "refs/heads/", f->offered);
	buf_release(&b);
	return r;
}

/* ---- what is new -------------------------------------------------------------------------------------------------------------------------- */

/* How many commits of `oid` no reference of the host has; -1: its objects are not here. */
static long count_new(const struct fetch *f, const char *oid, const char *objects)
{
	const char *const argv[] = { "rev-list", "--count", oid, "--not", "--all", NULL };
	struct git_run r = GIT_RUN(f->path, argv, .transport = NULL);
	uint64_t n = 0;
	struct buf b;

	buf_init(&b, 64);
	r.objects = objects;
	int rc = git_run(&r, &b, NULL);
	if (rc == 0)
		rc = buf_put(&b, "", 1);
	if (rc == 0) {
		char *text = (char *)(uintptr_t)buf_head(&b);

		text[strcspn(text, "\n")] = '\0';
		rc = str_u64(text, 0, INT32_MAX, &n);
	}
	buf_release(&b);
	return rc == 0 ? (long)n : -1;
}

static bool is_ancestor(const struct fetch *f, const char *old, const char *oid, const char *objects)
{
	const char *const argv[] = { "merge-base", "--is-ancestor", old, oid, NULL };
	struct git_run r = GIT_RUN(f->path, argv, .transport = NULL);

	r.objects = objects;
	return git_run(&r, NULL, NULL) == 0;
}

/* Only what is to be fetched stays in f->offered. */
static void choose(struct fetch *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->offered->n; i++) {
		const struct branch *b = &f->offered->b[i], *old = branches_find(f->known, b->name);

		if (old ? strcmp(old->oid, b->oid) == 0 : count_new(f, b->oid, NULL) == 0)
			continue;
		/* It was a branch there once: what it holds may be had nowhere else, so it is not for us to delete. */
		if ((old = branches_clash(f->known, b->name))) {
			out_say("'%s' is left out: bulkhead/%s/%s of before stands in its way; 'git branch -rd bulkhead/%s/%s' deletes that", b->name, f->name, old->name, f->name,
				old->name);
			continue;
		}
		if (n != i)
			f->offered->b[n] = *b;
		n++;
	}
	f->offered->n = n;
}

static void tell(struct fetch *f, const struct branch *b, const char *objects)
{
	const struct branch *old = branches_find(f->known, b->name);
	const long n = count_new(f, b->oid, objects);
	const char *what = !old ? "new" : is_ancestor(f, old->oid, b->oid, objects) ? "updated" : "rewritten";

	json_array_append_new(f->came, json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:i}", "workspace", f->path, "branch", b->name, "ref",
						 json_sprintf("%s%s", f->prefix, b->name), "tip", b->oid, "was", old ? old->oid : "", "state", what,
						 "commits", n < 0 ? 0 : (int)n));
}

/* ---- fetching -------------------------------------------------------------------------------------------------------------------------------- */

/* "+refs/heads/X:<prefix>X" a line; the caller's. */
static char *refspecs(const struct branches *b, const char *prefix)
{
	struct buf text;

	buf_init(&text, BRANCHES_MAX * (2 * BRANCH_NAME_MAX + 128));
	for (size_t i = 0; i < b->n; i++)
		buf_printf(&text, "+refs/heads/%s:%s%s\n", b->b[i].name, prefix, b->b[i].name);
	buf_put(&text, "", 1);
	char *s = buf_ok(&text) ? str_dup((const char *)buf_head(&text)) : NULL;
	buf_release(&text);
	return s;
}

#define FETCH_OPTIONS "fetch", "-q", "--no-tags", "--no-prune", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance", "--no-show-forced-updates", \
	"--refmap=", "--atomic", "--stdin"

static int bring(struct fetch *f, struct err *e)
{
	static const char *const take[] = { "-c", "fetch.unpackLimit=1", "-c", "core.bigFileThreshold=64m", FETCH_OPTIONS, "fd::3,4", NULL };
	const char *const give[] = { FETCH_OPTIONS, f->tmp, NULL };
	AUTO_FREE char *first = refspecs(f->offered, "refs/heads/"), *second = refspecs(f->offered, f->prefix), *objects = path_join(f->tmp, "objects");
	struct git_run r = GIT_RUN(f->path, give, .transport = "file");
	struct buf b;

	if (!first || !second || !objects)
		return err_set(e, ENOMEM, "out of memory");
	if (converse(f, take, first, f->most, NULL, e))
		return -e->code;
	/* What is told is what came, which need not be what was said at first. */
	static const char *const list[] = { "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/", NULL };
	const struct git_run lr = GIT_RUN(f->tmp, list, .plain = true);
	buf_init(&b, TEXT_MAX);
	int rc = git_run(&lr, &b, e);
	if (rc == 0)
		branches_parse((const char *)buf_head(&b), buf_size(&b), "refs/heads/", f->offered);
	buf_release(&b);
	if (rc)
		return -EIO;
	for (size_t i = 0; i < f->offered->n; i++)
		tell(f, &f->offered->b[i], objects);
	r.in = second;
	if (git_run(&r, NULL, e)) {
		json_array_clear(f->came);
		return -EIO;
	}
	return 0;
}

static int fetch_one(struct fetch *f, struct err *e)
{
	char format[16];
	int r = find_host(f, format, e);

	if (!r)
		r = make_tmp(f, format, e);
	if (!r)
		r = refuse_symbolic(f, e);
	if (!r)
		r = list_known(f, e);
	if (!r)
		r = list_offered(f, e);
	if (!r) {
		choose(f);
		if (f->offered->refused)
			out_say("%zu branches of '%s' have names that no branch may have here: left out", f->offered->refused, f->name);
		if (f->offered->cut)
			out_say("'%s' has more than %u branches: the rest is left out", f->name, BRANCHES_MAX);
	}
	if (!r && f->offered->n > 0)
		r = bring(f, e);
	remove_tmp(f);
	free(f->common);
	f->common = NULL;
	return r;
}

/* ---- the command -------------------------------------------------------------------------------------------------------------------------------- */

static bool is_tree(const char *path)
{
	AUTO_FREE char *git = path_join(path, ".git");
	struct stat st;

	return git && lstat(git, &st) == 0;
}

static void show(const json_t *came, const char *name)
{
	size_t i;
	json_t *o;

	if (json_array_size(came) == 0)
		printf("nothing new in '%s'\n", name);
	json_array_foreach((json_t *)(uintptr_t)came, i, o) {
		const char *branch = cli_str(o, "branch"), *state = cli_str(o, "state");
		const json_int_t n = json_integer_value(json_object_get(o, "commits"));
		char place[4096];

		printf("bulkhead/%s/", name);
		out_text(stdout, branch);
		printf("  %lld new commit%s%s\n", (long long)n, n == 1 ? "" : "s", strcmp(state, "rewritten") == 0 ? ", its history was rewritten" : "");
		out_path(place, sizeof(place), cli_str(o, "workspace"));
		if (branch_name_plain(branch))
			printf("  git log HEAD..bulkhead/%s/%s   in %s\n", name, branch, place);
	}
}

/* The workspaces that are meant: true for one of them. */
static bool wanted(const json_t *w, const char *only, size_t *refused)
{
	const char *path = cli_str(w, "path"), *mode = cli_str(w, "mode");

	if (only && strcmp(path, only) != 0)
		return false;
	if (strcmp(mode, "review") == 0 || strcmp(mode, "clone") == 0) {
		if (is_tree(path))
			return true;
		if (only)
			out_say("'%s' is not the top of a git work tree", path);
	} else if (only) {
		out_say("workspace '%s' is %s: %s", path, mode, strcmp(mode, "live") == 0 ? "what is committed in it is on the host already" : "nothing is committed in it");
	}
	*refused += only != NULL;
	return false;
}

static int fetch_all(struct fetch *f, const json_t *sb, const char *only)
{
	const json_t *list = json_object_get(sb, "workspaces"), *w;
	size_t i, tried = 0, refused = 0;
	int code = 0;

	json_array_foreach(list, i, w) {
		struct err e = ERR_INIT;

		if (!wanted(w, only, &refused))
			continue;
		tried++;
		f->path = cli_str(w, "path");
		const int r = strcmp(cli_str(w, "state"), "mounted") == 0 ? fetch_one(f, &e) : err_set(&e, EIO, "it is not there: %s", cli_str(w, "why"));
		if (r) {
			out_say("cannot fetch from '%s', workspace '%s': %s", f->name, f->path, e.msg);
			code = 1;
		}
	}
	if (tried || refused)
		return tried ? code : 1;
	out_say(only ? "'%s' has no workspace '%s'" : "'%s' has no workspace that is a git work tree", f->name, only);
	return 1;
}

static int do_fetch(const struct args *a)
{
	struct fetch f = { .name = a->pos[0], .came = json_array(), .sig_fd = signals_watch(), .most = args_number(a, "max-size", SIZE_DEFAULT) };
	const char *only = args_get(a, "workspace");
	struct err e = ERR_INIT;
	AUTO_FREE char *real = only ? path_real_dir(only, &e) : NULL;
	json_t *sb = NULL;
	int code = 1;

	if (name_check(f.name, &e) || (only && !real))
		return out_fail(&e);
	snprintf(f.prefix, sizeof(f.prefix), "refs/remotes/bulkhead/%s/", f.name);
	f.offered = calloc(1, sizeof(*f.offered));
	f.known = calloc(1, sizeof(*f.known));
	f.c = cli_connect();
	if (f.offered && f.known && f.c && cli_call(f.c, "sandbox.get", json_pack("{s:s}", "name", f.name), &sb) == 0) {
		if (strcmp(cli_str(sb, "state"), "running") == 0)
			code = fetch_all(&f, sb, real);
		else
			out_say("sandbox '%s' does not run: 'bulkhead start %s' first", f.name, f.name);
		if (args_has(a, "json"))
			out_json(f.came, false);
		else if (code == 0 || json_array_size(f.came) > 0)
			show(f.came, f.name);
	}
	json_decref(sb);
	json_decref(f.came);
	free(f.offered);
	free(f.known);
	client_close(&f.c);
	return code;
}

static const struct pos fetch_args[] = { { .name = "NAME", .complete = COMPLETE_SANDBOX }, POS_END };
static const struct opt fetch_options[] = {
	{ .letter = 'w', .name = "workspace", .arg = "PATH", .help = "only of this workspace (default: all that are git work trees)", .complete = COMPLETE_DIR },
	{ .name = "max-size", .arg = "SIZE", .help = "take no more than this from the sandbox (default: 4G)", .value = VALUE_SIZE },
	OPT_JSON,
	OPT_END,
};
static const struct example fetch_examples[] = {
	{ "bulkhead fetch blue", "its branches, as bulkhead/blue/..." },
	{ "git merge bulkhead/blue/feature", "take one" },
	EXAMPLE_END,
};
const struct cmd cmd_fetch = {
	.name = "fetch",
	.summary = "bring the commits made in a sandbox as remote-tracking branches",
	.about = "What was committed inside, in a workspace of mode 'clone' or 'review', becomes refs/remotes/bulkhead/NAME/BRANCH of the host's repository. Work tree, "
		 "index, HEAD, branches and tags stay as they are; look at it with git log or git diff, take it with git merge or git cherry-pick.\n\nGit's own "
		 "transfer brings objects only and checks every one of them, first in a repository of its own; configuration and hooks never come along.",
	.group = GROUP_CHANGE, .args = fetch_args, .options = fetch_options, .examples = fetch_examples, .exec = do_fetch,
};
