/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets by path. A long path is reached through its directory's descriptor, because sun_path holds 107 bytes. */
#include "core/base/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "core/base/fd.h"

/* Fills `sa`; *dir is the directory's descriptor (kept open until the call is done) or -1. */
static int address(const char *path, struct sockaddr_un *sa, int *dir, struct err *e)
{
	const char *base = strrchr(path, '/');
	char text[sizeof(sa->sun_path)];

	*dir = -1;
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	if (strlen(path) < sizeof(sa->sun_path)) {
		memcpy(sa->sun_path, path, strlen(path) + 1);
		return 0;
	}
	char *parent = base && base != path ? strndup(path, (size_t)(base - path)) : NULL;
	if (!parent)
		return err_set(e, ENAMETOOLONG, "cannot use socket '%s': its path is too long", path);
	*dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(parent);
	if (*dir < 0)
		return err_errno(e, errno, "cannot open the directory of socket '%s'", path);
	int n = snprintf(text, sizeof(text), "/proc/self/fd/%d/%s", *dir, base + 1);
	if (n < 0 || (size_t)n >= sizeof(text)) {
		fd_close(dir);
		return err_set(e, ENAMETOOLONG, "cannot use socket '%s': its name is too long", path);
	}
	memcpy(sa->sun_path, text, (size_t)n + 1);
	return 0;
}

int sock_listen(const char *path, int type, struct err *e)
{
	struct sockaddr_un sa;
	struct stat st;
	AUTO_FD dir = -1;
	AUTO_FD fd = -1;
	int r = address(path, &sa, &dir, e);

	if (r < 0)
		return r;
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return err_set(e, EEXIST, "cannot listen at '%s': something that is no socket lies there", path);
		if (unlink(path) < 0 && errno != ENOENT)
			return err_errno(e, errno, "cannot replace socket '%s'", path);
	}
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, errno, "cannot make a socket");
	/* On Linux the mode of the socket's inode decides who may bind its name next: set before bind() there is no moment in between. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_errno(e, errno, "cannot bind socket '%s'", path);
	if (chmod(path, 0600) < 0 || listen(fd, 64) < 0)
		return err_errno(e, errno, "cannot listen at '%s'", path);
	return steal_fd(&fd);
}

int sock_connect(const char *path, int type, struct err *e)
{
	struct sockaddr_un sa;
	AUTO_FD dir = -1;
	AUTO_FD fd = -1;
	int r = address(path, &sa, &dir, e);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, errno, "cannot make a socket");
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_errno(e, errno, "cannot connect to '%s'", path);
	return steal_fd(&fd);
}

int sock_accept(int listener)
{
	for (;;) {
		uid_t uid;
		pid_t pid;
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			return -errno;
		}
		if (fd_peer(fd, &uid, &pid) == 0 && uid == geteuid())
			return fd;
		close(fd);
	}
}
