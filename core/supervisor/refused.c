/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/refused.h"

#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/jail/jail.h"

#define TAIL 4096u
#define PROFILE_CHARS "abcdefghijklmnopqrstuvwxyz-"

/* The last place of the phrase; NULL none. */
static const char *last(const char *text)
{
	const char *found = NULL;

	for (const char *p = text; (p = strstr(p, JAIL_REFUSED)); p++)
		found = p;
	return found;
}

bool refused_call(int dirfd, const char *log, char *dst, size_t cap)
{
	char text[TAIL + 1], profile[24];
	struct stat st;
	AUTO_FD fd = openat(dirfd, log, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	dst[0] = '\0';
	if (fd < 0 || fstat(fd, &st) < 0)
		return false;
	const ssize_t n = pread(fd, text, TAIL, st.st_size > (off_t)TAIL ? st.st_size - (off_t)TAIL : 0);
	text[n > 0 ? n : 0] = '\0';
	const char *p = last(text);
	if (!p)
		return false;
	p += strlen(JAIL_REFUSED);
	const size_t digits = strspn(p, "0123456789");
	if (digits == 0 || digits > 6 || !str_starts(p + digits, " to "))
		return false;
	int nr = 0;
	for (size_t i = 0; i < digits; i++)
		nr = nr * 10 + (p[i] - '0');
	const size_t len = strspn(p + digits + 4, PROFILE_CHARS);
	snprintf(profile, sizeof(profile), "%.*s", (int)len, p + digits + 4);
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);
	snprintf(dst, cap, "seccomp refused system call '%s' (%d) to %s", name ? name : "?", nr, profile);
	free(name);
	return true;
}
