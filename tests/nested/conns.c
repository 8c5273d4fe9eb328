/* SPDX-License-Identifier: Apache-2.0 */
/* conns SOCKET PORT N: N connections to a guest port by the hybrid convention, all open at once; prints how many there were, and how long one took. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/str.h"

static int dial(const char *path, const char *port)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const struct timeval patience = { .tv_sec = 30 };
	const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char line[64];

	str_copy(a.sun_path, sizeof(a.sun_path), path);
	const int n = snprintf(line, sizeof(line), "CONNECT %s\n", port);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 || connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 ||
	    write(fd, line, (size_t)n) != n || read(fd, line, 3) != 3 || memcmp(line, "OK ", 3) != 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

int main(int argc, char **argv)
{
	const struct rlimit most = { .rlim_cur = 8192, .rlim_max = 8192 };
	int open_ = 0;

	if (argc != 4)
		return 2;
	setrlimit(RLIMIT_NOFILE, &most);
	const int n = (int)strtol(argv[3], NULL, 10);
	const uint64_t start = clock_ns();
	while (open_ < n && dial(argv[1], argv[2]) >= 0)
		open_++;
	printf("%d %llu\n", open_, (unsigned long long)(clock_ns() - start) / 1000 / (unsigned)(open_ ? open_ : 1));
	return open_ == n ? 0 : 1;
}
