/* SPDX-License-Identifier: Apache-2.0 */
/* The XDG base directories, our own programs and data; where each comes from stands in path.h. */
#include "core/base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"

#define REMOVE_DEPTH_MAX 256

char *path_join(const char *a, const char *b)
{
	return str_fmt("%s%s%s", a, *a && a[strlen(a) - 1] == '/' ? "" : "/", b);
}

static char *no_memory(struct err *e)
{
	err_set(e, ENOMEM, "out of memory");
	return NULL;
}

int path_mkdirs(const char *path, unsigned mode, struct err *e)
{
	AUTO_FREE char *p = str_dup(path);

	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	for (char *at = p + 1;; at++) {
		if (*at != '/' && *at != '\0')
			continue;
		const char kept = *at;
		*at = '\0';
		if (mkdir(p, mode) < 0 && errno != EEXIST)
			return err_errno(e, errno, "cannot make directory '%s'", p);
		if (kept == '\0')
			return 0;
		*at = kept;
	}
}

/* A directory of ours that nobody else can enter. Takes path; NULL with e. */
static char *own_dir(char *path, struct err *e)
{
	struct stat st;
	AUTO_FD fd = -1;

	if (!path)
		return no_memory(e);
	if (path_mkdirs(path, 0700, e) < 0)
		goto fail;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0) {
		err_errno(e, errno, "cannot use directory '%s'", path);
		goto fail;
	}
	if (st.st_uid != geteuid()) {
		err_set(e, EPERM, "directory '%s' belongs to another user: remove it or set another with XDG_RUNTIME_DIR or XDG_STATE_HOME", path);
		goto fail;
	}
	if ((st.st_mode & 077) && fchmod(fd, 0700) < 0) {
		err_errno(e, errno, "cannot close directory '%s' to others", path);
		goto fail;
	}
	return path;
fail:
	free(path);
	return NULL;
}

/* $variable/bulkhead when it is absolute (the XDG specification: relative ones are ignored), else $HOME/fallback/bulkhead. */
static char *xdg(const char *variable, const char *fallback, struct err *e)
{
	const char *v = getenv(variable);
	const char *home = getenv("HOME");
	char *p;

	if (v && v[0] == '/')
		p = path_join(v, "bulkhead");
	else if (home && home[0] == '/')
		p = str_fmt("%s/%s/bulkhead", home, fallback);
	else {
		err_set(e, ENOENT, "neither %s nor HOME is set to an absolute path", variable);
		return NULL;
	}
	return p ? p : no_memory(e);
}

char *path_runtime(struct err *e)
{
	const char *v = getenv("XDG_RUNTIME_DIR");
	const char *tmp = getenv("TMPDIR");
	AUTO_FREE char *user = str_fmt("/run/user/%u", (unsigned)geteuid());
	struct stat st;

	if (v && v[0] == '/')
		return own_dir(path_join(v, "bulkhead"), e);
	if (user && stat(user, &st) == 0 && st.st_uid == geteuid())
		return own_dir(path_join(user, "bulkhead"), e);
	return own_dir(str_fmt("%s/bulkhead-%u", tmp && tmp[0] == '/' ? tmp : "/tmp", (unsigned)geteuid()), e);
}

char *path_state(struct err *e)
{
	char *p = xdg("XDG_STATE_HOME", ".local/state", e);

	return p ? own_dir(p, e) : NULL;
}

char *path_config(struct err *e)
{
	return xdg("XDG_CONFIG_HOME", ".config", e);
}

char *path_cache(struct err *e)
{
	char *p = xdg("XDG_CACHE_HOME", ".cache", e);

	return p ? own_dir(p, e) : NULL;
}

/* The directory this program lies in. */
static char *own_place(struct err *e)
{
	char exe[PATH_MAX];
	const ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (n <= 0) {
		err_errno(e, n < 0 ? errno : ENOENT, "cannot find out where this program lies");
		return NULL;
	}
	exe[n] = '\0';
	char *slash = strrchr(exe, '/');
	*slash = '\0';
	char *p = str_dup(exe);
	return p ? p : no_memory(e);
}

/* A build tree is known by configure's own file. */
static bool is_build_tree(const char *dir)
{
	AUTO_FREE char *mark = path_join(dir, "config.status");

	return mark && access(mark, R_OK) == 0;
}

/*
 * `dir` of the installation this program belongs to. Installed below another root (DESTDIR, a package being made, an image) the place of
 * the program ends in a directory configure named; what stands before it goes before `dir` too.
 */
static char *installed(const char *place, const char *dir)
{
	static const char *const homes[] = { BINDIR, PKGLIBEXECDIR };

	for (size_t i = 0; i < ARRAY_SIZE(homes); i++)
		if (str_ends(place, homes[i]))
			return str_fmt("%.*s%s", (int)(strlen(place) - strlen(homes[i])), place, dir);
	return str_dup(dir);
}

char *path_data(const char *rel, struct err *e)
{
	const char *set = getenv("BULKHEAD_DATADIR");
	AUTO_FREE char *place = NULL;
	AUTO_FREE char *dir = NULL;
	char *p;

	if (set && set[0] == '/') {
		p = path_join(set, rel);
		return p ? p : no_memory(e);
	}
	place = own_place(e);
	if (!place)
		return NULL;
	dir = is_build_tree(place) ? str_dup(SOURCEDIR) : installed(place, DATADIR);
	p = dir ? path_join(dir, rel) : NULL;
	return p ? p : no_memory(e);
}

char *path_program(const char *name, struct err *e)
{
	AUTO_FREE char *place = own_place(e);
	AUTO_FREE char *dir = NULL;
	char *p;

	if (!place)
		return NULL;
	p = path_join(place, name);
	if (p && access(p, X_OK) == 0)
		return p;
	free(p);
	dir = installed(place, PKGLIBEXECDIR);
	p = dir ? path_join(dir, name) : NULL;
	if (p && access(p, X_OK) == 0)
		return p;
	free(p);
	if (!dir)
		return no_memory(e);
	err_set(e, ENOENT, "cannot find program '%s' in '%s' or '%s': is the installation whole?", name, place, dir);
	return NULL;
}

char *path_real_dir(const char *path, struct err *e)
{
	struct stat st;
	AUTO_FREE char *real = realpath(path, NULL);

	if (!real) {
		if (errno == ENOENT)
			err_set(e, ENOENT, "directory '%s' does not exist", path);
		else
			err_errno(e, errno, "cannot use directory '%s'", path);
		return NULL;
	}
	if (stat(real, &st) < 0) {
		err_errno(e, errno, "cannot look at '%s'", path);
		return NULL;
	}
	if (!S_ISDIR(st.st_mode)) {
		err_set(e, ENOTDIR, "'%s' is not a directory", path);
		return NULL;
	}
	if (access(real, R_OK | X_OK) < 0) {
		err_errno(e, errno, "cannot read directory '%s'", path);
		return NULL;
	}
	return steal_ptr(&real);
}

int path_open_real(const char *path, struct err *e)
{
	const struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	const long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

	if (fd < 0 && errno == ELOOP)
		return err_set(e, ELOOP, "'%s' leads through a symbolic link, which it did not when it was given: what it leads to is not opened", path);
	return fd < 0 ? err_errno(e, errno, "cannot open directory '%s'", path) : (int)fd;
}

static int remove_below(int fd, dev_t dev, int depth);

static int remove_entry(int dirfd, const char *name, dev_t dev, int depth)
{
	struct stat st;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	AUTO_FD fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (dev != 0 && st.st_dev != dev)
		return -EXDEV;
	if (depth > REMOVE_DEPTH_MAX)
		return -ELOOP;
	const int r = remove_below(fd, st.st_dev, depth + 1);
	if (r < 0)
		return r;
	return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

static int remove_below(int fd, dev_t dev, int depth)
{
	const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *de;
	int r = 0;

	if (!d) {
		r = -errno;
		if (copy >= 0)
			close(copy);
		return r;
	}
	while (r == 0 && (de = readdir(d)))
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			r = remove_entry(fd, de->d_name, dev, depth);
	closedir(d);
	return r;
}

int path_remove_tree(int dirfd, const char *name, struct err *e)
{
	const int r = remove_entry(dirfd, name, 0, 0);

	return r < 0 ? err_errno(e, -r, "cannot remove '%s'", name) : 0;
}
