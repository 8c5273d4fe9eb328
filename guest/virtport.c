/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/virtport.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"

int virtport_open(const char *name)
{
	static const char dir[] = "/sys/class/virtio-ports";
	DIR *d = opendir(dir);
	int fd = -ENOENT;

	for (struct dirent *de; d && fd == -ENOENT && (de = readdir(d));) {
		AUTO_FREE char *path = str_fmt("%s/%s/name", dir, de->d_name);
		AUTO_FREE char *dev = str_fmt("/dev/%s", de->d_name);
		char has[64] = "";
		AUTO_FD nfd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

		if (nfd < 0 || !dev || read(nfd, has, sizeof(has) - 1) <= 0)
			continue;
		has[strcspn(has, "\n")] = '\0';
		if (strcmp(has, name) == 0) {
			fd = open(dev, O_RDWR | O_CLOEXEC | O_NONBLOCK);
			fd = fd < 0 ? -errno : fd;
		}
	}
	if (d)
		closedir(d);
	return fd;
}
