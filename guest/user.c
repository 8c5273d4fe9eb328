/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/atomicfile.h"
#include "core/base/str.h"

#define FILE_MAX (1u << 20)

/* The next field up to `end` (':' or the line's end) into dst; false when it does not fit. Moves *p behind the separator. */
static bool field(const char **p, const char *end, char *dst, size_t cap)
{
	const char *at = *p;
	size_t n = 0;

	while (at + n < end && at[n] != ':')
		n++;
	*p = at + n < end ? at + n + 1 : end;
	if (n >= cap)
		return false;
	memcpy(dst, at, n);
	dst[n] = '\0';
	return true;
}

static const char *line_end(const char *p)
{
	const char *nl = strchr(p, '\n');

	return nl ? nl : p + strlen(p);
}

int user_parse_passwd(const char *text, const char *name, struct user *out)
{
	char pass[128], uid[16], gid[16], gecos[256];
	uint64_t u, g;

	for (const char *p = text; *p;) {
		const char *end = line_end(p), *at = p;
		struct user x = { .ngroups = 0 };

		p = *end ? end + 1 : end;
		if (!field(&at, end, x.name, sizeof(x.name)) || !field(&at, end, pass, sizeof(pass)) || !field(&at, end, uid, sizeof(uid)) ||
		    !field(&at, end, gid, sizeof(gid)) || !field(&at, end, gecos, sizeof(gecos)) || !field(&at, end, x.home, sizeof(x.home)) ||
		    !field(&at, end, x.shell, sizeof(x.shell)))
			continue;
		if (strcmp(x.name, name) != 0 && strcmp(uid, name) != 0)
			continue;
		if (str_u64(uid, 0, UINT32_MAX - 1, &u) < 0 || str_u64(gid, 0, UINT32_MAX - 1, &g) < 0)
			continue;
		x.uid = (uid_t)u;
		x.gid = (gid_t)g;
		if (!x.shell[0])
			str_copy(x.shell, sizeof(x.shell), "/bin/sh");
		if (!x.home[0])
			str_copy(x.home, sizeof(x.home), "/");
		*out = x;
		return 0;
	}
	return -ENOENT;
}

static bool is_member(const char *list, const char *end, const char *name)
{
	const size_t n = strlen(name);

	while (list < end) {
		const char *comma = memchr(list, ',', (size_t)(end - list));
		const size_t k = (size_t)((comma ? comma : end) - list);

		if (k == n && memcmp(list, name, n) == 0)
			return true;
		list += k + 1;
	}
	return false;
}

void user_parse_group(const char *text, struct user *out)
{
	char group[64], pass[64], gid[16];
	uint64_t g;

	for (const char *p = text; *p;) {
		const char *end = line_end(p), *at = p;

		p = *end ? end + 1 : end;
		if (!field(&at, end, group, sizeof(group)) || !field(&at, end, pass, sizeof(pass)) || !field(&at, end, gid, sizeof(gid)))
			continue;
		if (!is_member(at, end, out->name) || str_u64(gid, 0, UINT32_MAX - 1, &g) < 0 || out->ngroups == USER_GROUPS_MAX)
			continue;
		out->groups[out->ngroups++] = (gid_t)g;
	}
}

static int read_text(const char *path, struct buf *b)
{
	buf_init(b, FILE_MAX);
	int r = atomicfile_read(AT_FDCWD, path, b, NULL);
	if (r == 0)
		r = buf_put(b, "", 1);
	/* A NUL inside would only cut the text short, which parses as a shorter file. */
	if (r < 0)
		buf_release(b);
	return r;
}

int user_find(const char *name, struct user *out)
{
	struct buf b;
	int r = read_text("/etc/passwd", &b);

	if (r < 0)
		return r;
	r = user_parse_passwd((const char *)buf_head(&b), name, out);
	buf_release(&b);
	if (r == 0 && read_text("/etc/group", &b) == 0) {
		user_parse_group((const char *)buf_head(&b), out);
		buf_release(&b);
	}
	return r;
}
