/* SPDX-License-Identifier: Apache-2.0 */
/* /etc/passwd and /etc/group, read by ourselves: a static binary has no NSS. Pure parsers over text, and their use on the files. */
#ifndef BULKHEAD_GUEST_USER_H
#define BULKHEAD_GUEST_USER_H

#include <stddef.h>
#include <sys/types.h>

#define USER_GROUPS_MAX 64

struct user {
	char name[64], home[256], shell[256];
	uid_t uid;
	gid_t gid;
	gid_t groups[USER_GROUPS_MAX];
	size_t ngroups;
};

/* The entry of `name` (or of a decimal uid) in text: 0, -ENOENT. */
int user_parse_passwd(const char *text, const char *name, struct user *out);
/* Adds the supplementary groups of out->name. */
void user_parse_group(const char *text, struct user *out);
int user_find(const char *name, struct user *out);

#endif
