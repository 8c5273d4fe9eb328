/* SPDX-License-Identifier: Apache-2.0 */
/* See gitdir.h. Sources: gitrepository-layout(5), git-config(1), git-worktree(1). */
#include "core/supervisor/gitdir.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "core/base/buf.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"

#define POINTER_MAX 4096u /* of a .git file, a gitdir or commondir */

/* ---- the configuration's text ------------------------------------------------------------------------------------------------------ */

struct line { const char *p, *end; };

static void trim(struct line *l)
{
	while (l->p < l->end && isspace((unsigned char)*l->p))
		l->p++;
	while (l->end > l->p && isspace((unsigned char)l->end[-1]))
		l->end--;
}

static bool is_word(const struct line *l, const char *word)
{
	return (size_t)(l->end - l->p) == strlen(word) && strncasecmp(l->p, word, strlen(word)) == 0;
}

/* The value of a line up to a comment, its quotes taken off. What does not fit is "". */
static void value(struct line v, char *dst, size_t cap)
{
	bool quoted = false;
	size_t n = 0;

	trim(&v);
	for (const char *p = v.p; p < v.end && n < cap; p++) {
		if (*p == '"') {
			quoted = !quoted;
			continue;
		}
		if (!quoted && (*p == '#' || *p == ';'))
			break;
		if (*p == '\\' && ++p == v.end)
			break;
		dst[n++] = *p;
	}
	while (n > 0 && n < cap && isspace((unsigned char)dst[n - 1]))
		n--;
	dst[n < cap ? n : 0] = '\0';
}

/* Of a URL what another machine can use and may see: no path of this host, no password, no token in a query. */
static void origin_of(const char *url, char dst[WORKSPACE_ORIGIN_MAX + 1])
{
	const char *scheme = strstr(url, "://"), *at;

	dst[0] = '\0';
	for (const char *p = url; *p; p++)
		if (*p <= ' ' || *p > '~' || strchr("?#;\"\\", *p))
			return;
	if (strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0) {
		const size_t host = strcspn(scheme + 3, "/");

		at = memrchr(scheme + 3, '@', host);
		snprintf(dst, WORKSPACE_ORIGIN_MAX + 1, "%.*s%s", (int)(scheme + 3 - url), url, at ? at + 1 : scheme + 3);
	} else if (strncasecmp(url, "ssh://", 6) == 0 || strncasecmp(url, "git://", 6) == 0) {
		const size_t host = strcspn(scheme + 3, "/");

		at = memrchr(scheme + 3, '@', host);
		if (!at || !memchr(scheme + 3, ':', (size_t)(at - scheme - 3)))
			snprintf(dst, WORKSPACE_ORIGIN_MAX + 1, "%s", url);
	} else if (!scheme && isalnum((unsigned char)*url) && !strstr(url, "::")) {
		const size_t host = strcspn(url, ":/"); /* "git@host:path" */

		if (url[host] == ':')
			snprintf(dst, WORKSPACE_ORIGIN_MAX + 1, "%s", url);
	}
}

static void take(struct git_facts *out, const struct line *section, const struct line *key, const struct line *v)
{
	char text[WORKSPACE_ORIGIN_MAX + 1];

	if (is_word(section, "extensions") && is_word(key, "objectformat")) {
		value(*v, out->format, sizeof(out->format));
	} else if (is_word(section, "extensions") && is_word(key, "refstorage")) {
		value(*v, out->refs, sizeof(out->refs));
	} else if (is_word(section, "extensions") && is_word(key, "partialclone")) {
		out->partial = true;
	} else if (is_word(section, "remote \"origin\"") && is_word(key, "url") && !out->origin[0]) {
		value(*v, text, sizeof(text));
		origin_of(text, out->origin);
	}
}

void git_facts_parse(const char *text, size_t n, struct git_facts *out)
{
	struct line section = { text, text };
	const char *end = text + n;

	*out = (struct git_facts){ .partial = false };
	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		struct line l = { text, nl ? nl : end };

		text = nl ? nl + 1 : end;
		trim(&l);
		if (l.p == l.end || *l.p == '#' || *l.p == ';')
			continue;
		if (*l.p == '[') {
			const char *close = memchr(l.p, ']', (size_t)(l.end - l.p));

			section = (struct line){ l.p + 1, close ? close : l.p + 1 };
			trim(&section);
			continue;
		}
		const char *eq = memchr(l.p, '=', (size_t)(l.end - l.p));
		struct line key = { l.p, eq ? eq : l.end }, v = { eq ? eq + 1 : l.end, l.end };
		trim(&key);
		take(out, &section, &key, &v);
	}
}

/* ---- its files ------------------------------------------------------------------------------------------------------------------------ */

/* A small regular file's text into dst, terminated; -errno. */
static ssize_t read_small(int dir, const char *name, char *dst, size_t cap)
{
	AUTO_FD fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	size_t n = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	while (n < cap) {
		const ssize_t r = read(fd, dst + n, cap - n);

		if (r < 0)
			return -errno;
		if (r == 0) {
			dst[n] = '\0';
			return strlen(dst) == n ? (ssize_t)n : -EINVAL;
		}
		n += (size_t)r;
	}
	return -EFBIG;
}

/* "<dir>/<name>" holds a path, absolute or from dir: the real one, the caller's. NULL: it does not. */
static char *pointed(const char *dir, const char *name, const char *prefix)
{
	AUTO_FD fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char text[POINTER_MAX];

	if (fd < 0 || read_small(fd, name, text, sizeof(text)) < 0 || !str_starts(text, prefix))
		return NULL;
	text[strcspn(text, "\r\n")] = '\0';
	const char *to = text + strlen(prefix);
	AUTO_FREE char *full = *to == '/' ? str_dup(to) : path_join(dir, to);
	return full && *to ? realpath(full, NULL) : NULL;
}

/* A linked worktree's `.git` file: the common directory, if that knows of this work tree. */
static int linked(const char *path, struct workspace *w, int *fd, struct err *e)
{
	AUTO_FREE char *git = pointed(path, ".git", "gitdir: ");
	AUTO_FREE char *common = git ? pointed(git, "commondir", "") : NULL;
	AUTO_FREE char *back = git ? pointed(git, "gitdir", "") : NULL;
	AUTO_FREE char *mine = path_join(path, ".git");

	if (git && !common)
		return err_set(e, EINVAL, "'%s' is a submodule's work tree: mode clone takes the repository it belongs to, or a clone of its own", path);
	if (!git || !mine || !back || strcmp(back, mine) != 0)
		return err_set(e, EINVAL, "'%s/.git' names a repository that does not name it: 'git worktree repair' mends that", path);
	const size_t n = strlen(common);
	if (strncmp(git, common, n) != 0 || git[n] != '/' || !git[n + 1] || !workspace_head_legal(git + n + 1))
		return err_set(e, EINVAL, "'%s/.git' names '%s', which is no worktree of a repository", path, git);
	str_copy(w->head, sizeof(w->head), git + n + 1);
	if ((*fd = open(common, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return err_errno(e, errno, "cannot open the repository '%s'", common);
	return 0;
}

static bool is_kind(int dir, const char *name, mode_t kind)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & S_IFMT) == kind;
}

static bool is_repository(int dir)
{
	return is_kind(dir, "HEAD", S_IFREG) && is_kind(dir, "objects", S_IFDIR) && is_kind(dir, "refs", S_IFDIR);
}

static int find(const char *path, struct workspace *w, int *fd, struct err *e)
{
	AUTO_FD top = path_open_real(path, e);
	struct stat st;

	if (top < 0)
		return top;
	if (fstatat(top, ".git", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return is_repository(top) ? err_set(e, EINVAL, "'%s' is a bare repository: mode clone takes a work tree", path) :
					    err_set(e, EINVAL, "'%s' is not the top of a git work tree: mode clone needs one, 'git init' makes it", path);
	if (S_ISREG(st.st_mode))
		return linked(path, w, fd, e);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, EINVAL, "'%s/.git' is neither a directory nor a file: mode clone follows no symbolic link", path);
	if ((*fd = openat(top, ".git", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return err_errno(e, errno, "cannot open '%s/.git'", path);
	return 0;
}

static int look(const char *path, struct workspace *w, int fd, struct err *e)
{
	AUTO_FREE char *text = malloc(GIT_CONFIG_MAX);
	char alternates[POINTER_MAX];
	struct git_facts f;

	if (!text)
		return err_set(e, ENOMEM, "out of memory");
	if (!is_repository(fd) || (w->head[0] && !is_kind(fd, "worktrees", S_IFDIR)))
		return err_set(e, EINVAL, "'%s' has a .git, but that is no git repository", path);
	const ssize_t n = read_small(fd, "config", text, GIT_CONFIG_MAX);
	git_facts_parse(text, n > 0 ? (size_t)n : 0, &f);
	if (f.format[0] && strcasecmp(f.format, "sha1") != 0)
		return err_set(e, EINVAL, "the repository of '%s' has %s objects, which mode clone does not know: take review", path, f.format);
	if (f.refs[0] && strcasecmp(f.refs, "files") != 0)
		return err_set(e, EINVAL, "the repository of '%s' keeps its branches as '%s', which mode clone does not know: take review", path, f.refs);
	if (f.partial)
		return err_set(e, EINVAL, "the repository of '%s' is a partial clone: objects are missing in it", path);
	const ssize_t k = read_small(fd, "objects/info/alternates", alternates, sizeof(alternates));
	if (k != -ENOENT && k != 0)
		return err_set(e, EINVAL, "the repository of '%s' has objects elsewhere (objects/info/alternates): 'git repack -ad' and no such file make it whole", path);
	str_copy(w->origin, sizeof(w->origin), f.origin);
	return 0;
}

int gitdir_open(const char *path, struct workspace *w, int *fd, struct err *e)
{
	int r;

	*fd = -1;
	w->head[0] = w->origin[0] = '\0';
	r = find(path, w, fd, e);
	if (!r)
		r = look(path, w, *fd, e);
	if (r)
		fd_close(fd);
	return r;
}
