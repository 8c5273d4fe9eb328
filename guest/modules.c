/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "core/base/fd.h"
#include "core/base/str.h"

#define DEP_MAX (1u << 20)

/* The path's file is name.ko, with or without what it is packed with. */
static bool is_module(const char *path, size_t n, const char *name)
{
	const char *slash = memrchr(path, '/', n), *p = slash ? slash + 1 : path, *end = path + n;

	for (; *name; name++, p++)
		if (p >= end || (*p == '-' ? '_' : *p) != (*name == '-' ? '_' : *name))
			return false;
	return end - p >= 3 && strncmp(p, ".ko", 3) == 0;
}

int modules_files(const char *dep, const char *name, char *dst, size_t cap)
{
	for (const char *line = dep; *line;) {
		const size_t len = strcspn(line, "\n"), head = strcspn(line, ":\n");

		if (line[head] == ':' && is_module(line, head, name)) {
			size_t at = 0;

			/* What it needs stands behind the colon, the last one needed first. */
			for (size_t end = len; end > head + 1;) {
				size_t begin = end;

				while (begin > head + 1 && line[begin - 1] != ' ')
					begin--;
				if (end > begin) {
					if (end - begin + 2 > cap - at)
						return -ENOSPC;
					memcpy(dst + at, line + begin, end - begin);
					at += end - begin;
					dst[at++] = ' ';
				}
				end = begin > head + 1 ? begin - 1 : begin;
			}
			if (head + 1 > cap - at)
				return -ENOSPC;
			memcpy(dst + at, line, head);
			dst[at + head] = '\0';
			return 0;
		}
		line += len + (line[len] == '\n');
	}
	return -ENOENT;
}

/* A packed file is no module to the kernel: left to modprobe. */
static void load(int dir, const char *file, const char *options)
{
	AUTO_FD fd = openat(dir, file, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		syscall(SYS_finit_module, fd, options, 0);
}

void modules_load(const struct module *m, size_t n)
{
	struct utsname u;
	char path[256], files[4096];
	AUTO_FREE char *dep = malloc(DEP_MAX);

	uname(&u);
	snprintf(path, sizeof(path), "/usr/lib/modules/%s", u.release);
	AUTO_FD dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD fd = dir >= 0 ? openat(dir, "modules.dep", O_RDONLY | O_CLOEXEC) : -1;
	ssize_t k = 0, have = 0;
	while (dep && fd >= 0 && have < (ssize_t)DEP_MAX - 1 && (k = read(fd, dep + have, DEP_MAX - 1 - (size_t)have)) > 0)
		have += k;
	if (!dep || have == 0)
		return;
	dep[have] = '\0';
	for (size_t i = 0; i < n; i++) {
		if (modules_files(dep, m[i].name, files, sizeof(files)) < 0)
			continue;
		for (char *save = NULL, *f = strtok_r(files, " ", &save); f; f = strtok_r(NULL, " ", &save))
			load(dir, f, save && *save ? "" : m[i].options);
	}
}
