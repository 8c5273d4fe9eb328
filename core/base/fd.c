/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/str.h"

void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int fd_nonblock(int fd)
{
	const int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int fd_cloexec(int fd, int on)
{
	return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0 ? -errno : 0;
}

int fd_read_full(int fd, void *p, size_t n)
{
	uint8_t *at = p;

	while (n > 0) {
		const ssize_t r = read(fd, at, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -ENODATA;
		at += r;
		n -= (size_t)r;
	}
	return 0;
}

int fd_write_full(int fd, const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n > 0) {
		const ssize_t r = write(fd, at, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EPIPE;
		at += r;
		n -= (size_t)r;
	}
	return 0;
}

int fd_pwrite_full(int fd, const void *p, size_t n, off_t at)
{
	const uint8_t *from = p;

	while (n > 0) {
		const ssize_t r = pwrite(fd, from, n, at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EPIPE;
		from += r;
		at += r;
		n -= (size_t)r;
	}
	return 0;
}

union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(FD_PASS_MAX * sizeof(int))];
};

ssize_t fd_send(int sock, const void *p, size_t n, const int *fds, size_t nfds)
{
	union control c;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)p, .iov_len = n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t r;

	if (nfds > FD_PASS_MAX)
		return -EINVAL;
	if (nfds > 0) {
		memset(&c, 0, sizeof(c));
		m.msg_control = c.space;
		m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		struct cmsghdr *h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(h), fds, nfds * sizeof(int));
	}
	do
		r = sendmsg(sock, &m, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

static void close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

ssize_t fd_recv(int sock, void *p, size_t n, int *fds, size_t *nfds)
{
	union control c;
	struct iovec iov = { .iov_base = p, .iov_len = n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.space, .msg_controllen = sizeof(c.space) };
	ssize_t r;

	*nfds = 0;
	memset(&c, 0, sizeof(c));
	do
		r = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		const size_t k = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < k; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
			if (*nfds < FD_PASS_MAX)
				fds[(*nfds)++] = fd;
			else
				close(fd);
		}
	}
	if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		close_all(fds, *nfds);
		*nfds = 0;
		return -EMSGSIZE;
	}
	return r;
}

int fd_pair(int type, int out[2])
{
	return socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, out) < 0 ? -errno : 0;
}

int fd_peer(int sock, uid_t *uid, pid_t *pid)
{
	struct ucred u;
	socklen_t n = sizeof(u);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &u, &n) < 0)
		return -errno;
	*uid = u.uid;
	*pid = u.pid;
	return 0;
}

int fd_memory(const char *name, uint64_t bytes, unsigned flags)
{
	AUTO_FD fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	return steal_fd(&fd);
}

int fd_memfd(const char *name, const void *p, size_t n)
{
	AUTO_FD fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	const int r = fd_write_full(fd, p, n);
	if (r < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	return steal_fd(&fd);
}

size_t fd_watches_of_user(void)
{
	const size_t least = 8192; /* the kernel's */
	AUTO_FD fd = open("/proc/sys/fs/inotify/max_user_watches", O_RDONLY | O_CLOEXEC);
	char text[32] = "";
	uint64_t n;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return least;
	text[strcspn(text, "\n")] = '\0';
	return str_u64(text, 1, UINT32_MAX, &n) == 0 ? (size_t)n : least;
}
