/* SPDX-License-Identifier: Apache-2.0 */
/* Running the recipe: one build at a time (a lock), into a directory of another name, renamed when all of it is on the disk. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/base/environ.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/image/files.h"
#include "core/image/image.h"

/* What builds and removals that were cut off have left. The lock is held. */
static void clean(int dirfd)
{
	const int copy = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;

	if (!d && copy >= 0)
		close(copy);
	if (d)
		rewinddir(d);
	for (struct dirent *de; d && (de = readdir(d));)
		if (str_starts(de->d_name, ".build-") || str_starts(de->d_name, ".gone-"))
			path_remove_tree(dirfd, de->d_name, NULL);
	if (d)
		closedir(d);
}

/* The recipe keeps the lock: should this program die, the next build waits until the recipe has noticed and tidied up. */
static _Noreturn void run(const char *script, const char *out, const char *id, int std, int err, int lock, pid_t parent)
{
	char *const argv[] = { (char *)(uintptr_t)script, (char *)(uintptr_t)out, (char *)(uintptr_t)id, NULL };
	const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent || null < 0 || dup2(null, 0) < 0 || dup2(std, 1) < 0 || dup2(err, 2) < 0 || fd_cloexec(lock, 0) < 0)
		_exit(127);
	/* The whole environment: apt's proxy and certificate settings live there. */
	execv(script, argv);
	_exit(127);
}

/* Lines of the script to the caller; the last line of its stderr is why it failed. */
static int watch(FILE *std, FILE *err, pid_t pid, void (*progress)(void *, const char *), void *arg, struct err *e)
{
	char line[1024], shown[1024], last[400] = "";
	int status = -1;

	while (fgets(line, sizeof(line), std)) {
		line[strcspn(line, "\n")] = '\0';
		scrub(shown, sizeof(shown), line, strlen(line), false);
		progress(arg, shown);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(e, errno, "cannot wait for the image's build");
	/* The descriptor's position is shared with the writer, which has ended. */
	rewind(err);
	while (fgets(line, sizeof(line), err)) {
		line[strcspn(line, "\n")] = '\0';
		if (str_starts(line, "error: "))
			scrub(last, sizeof(last), line + 7, strlen(line + 7), false);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return err_set(e, EIO, "cannot build the guest image: %s", last[0] ? last : "the recipe ended early");
}

static int run_recipe(const char *recipe, const char *out, const char *id, int lock, void (*progress)(void *, const char *), void *arg,
		      struct err *e)
{
	AUTO_FREE char *script = path_join(recipe, "build");
	int std[2];
	/* stderr into a file: what fills a pipe that nobody reads yet would stop the build. */
	AUTO_FD errfd = memfd_create("bulkhead-build-errors", MFD_CLOEXEC);
	const pid_t parent = getpid();

	if (!script || errfd < 0 || pipe2(std, O_CLOEXEC) < 0)
		return err_errno(e, errno, "cannot build the guest image");
	const pid_t pid = fork();
	if (pid == 0)
		run(script, out, id, std[1], errfd, lock, parent);
	close(std[1]);
	if (pid < 0) {
		close(std[0]);
		return err_errno(e, errno, "cannot build the guest image");
	}
	FILE *in = fdopen(std[0], "r");
	const int dup_err = fcntl(errfd, F_DUPFD_CLOEXEC, 3);
	FILE *errs = dup_err >= 0 ? fdopen(dup_err, "r") : NULL;
	int r = -ENOMEM;
	if (in && errs) {
		r = watch(in, errs, pid, progress, arg, e);
	} else {
		kill(-pid, SIGTERM);
		waitpid(pid, NULL, 0);
		err_set(e, ENOMEM, "out of memory");
	}
	if (in)
		fclose(in);
	if (errs)
		fclose(errs);
	return r;
}

static int sync_files(int fd, struct err *e)
{
	static const char manifest[] = "manifest.json";

	for (size_t i = 0; i <= IMAGE_FILES_NUM; i++) {
		const char *name = i < IMAGE_FILES_NUM ? image_files[i] : manifest;
		AUTO_FD f = openat(fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

		if (f < 0 || fsync(f) < 0)
			return err_errno(e, errno, "the build left no good '%s'", name);
	}
	return fsync(fd) < 0 ? err_errno(e, errno, "cannot make the image durable") : 0;
}

static int build_locked(int dirfd, const char *dir, const char *recipe, const char *id, int lock, void (*progress)(void *, const char *),
			void *arg, struct err *e)
{
	AUTO_FREE char *tmp = str_fmt(".build-%s", id);
	AUTO_FREE char *path = tmp ? path_join(dir, tmp) : NULL;

	clean(dirfd);
	if (!path || mkdirat(dirfd, tmp, 0700) < 0)
		return err_errno(e, path ? errno : ENOMEM, "cannot make a directory for the image's build");
	int r = run_recipe(recipe, path, id, lock, progress, arg, e);
	AUTO_FD fd = r == 0 ? openat(dirfd, tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (r == 0)
		r = fd < 0 ? err_errno(e, errno, "cannot open the built image") : sync_files(fd, e);
	if (r == 0)
		r = image_verify(fd, id, e);
	if (r == 0) {
		AUTO_FREE char *gone = str_fmt(".gone-%s", id);

		if (gone)
			renameat(dirfd, id, dirfd, gone); /* an older one being replaced by --force */
		if (renameat(dirfd, tmp, dirfd, id) < 0 || fsync(dirfd) < 0)
			r = err_errno(e, errno, "cannot put the built image in its place");
	}
	clean(dirfd);
	return r;
}

int image_build(bool force, void (*progress)(void *arg, const char *line), void *arg, struct err *e)
{
	char id[IMAGE_ID_LEN + 1];
	AUTO_FREE char *dir = image_dir(e);
	AUTO_FREE char *recipe = dir ? image_recipe(id, e) : NULL;

	if (!recipe)
		return -e->code;
	AUTO_FD dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD lock = dirfd < 0 ? -1 : openat(dirfd, ".lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0)
		return err_errno(e, errno, "cannot use the image cache '%s'", dir);
	if (flock(lock, LOCK_EX | LOCK_NB) < 0) {
		progress(arg, "waiting for another build to end");
		while (flock(lock, LOCK_EX) < 0)
			if (errno != EINTR)
				return err_errno(e, errno, "cannot lock the image cache '%s'", dir);
	}
	AUTO_FD there = openat(dirfd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (!force && there >= 0) {
		struct err why = ERR_INIT;

		if (image_verify(there, id, &why) == 0)
			return 0;
		progress(arg, why.msg);
	}
	return build_locked(dirfd, dir, recipe, id, lock, progress, arg, e);
}
