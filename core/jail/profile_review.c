/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-review: files below the workspaces and its own state (Landlock holds it to those). No socket is made, nothing is executed, no node,
 * no name of a file but relative to a directory it has.
 */
#include "core/jail/jail.h"

#include <fcntl.h>

#include "core/base/str.h"

static const struct jail_rule rules[] = {
	JAIL_ALLOW(openat2, "names below a directory, RESOLVE_BENEATH and without links"),
	JAIL_ALLOW(openat, "names in a directory it has; Landlock holds it below the workspaces and its state"),
	JAIL_ALLOW(newfstatat, "attributes"),
	JAIL_ALLOW(statx, "attributes"),
	JAIL_ALLOW(sysinfo, "glibc sorts: how much memory there is"),
	JAIL_ALLOW(fstatfs, "room on the file system"),
	JAIL_ALLOW(getdents64, "listing"),
	JAIL_ALLOW(readlinkat, "a link's text"),
	JAIL_ALLOW(mkdirat, "directories"),
	JAIL_ALLOW(symlinkat, "links"),
	JAIL_ALLOW(linkat, "a file without a name gets one"),
	JAIL_ALLOW(unlinkat, "names"),
	JAIL_ALLOW(renameat, "names"),
	JAIL_ALLOW(renameat2, "names"),
	JAIL_ALLOW(fchmod, "modes"),
	JAIL_ALLOW_ARG(fchown, 1, 0xffffffff, 0xffffffff, "a file keeps its group; never another owner"),
	JAIL_ALLOW(memfd_create, "contents on their way to a file"),
	JAIL_ALLOW_ARG(fcntl, 1, ~UINT64_C(0), F_ADD_SEALS, "such contents stay what they are"),
	JAIL_ALLOW(fchmodat, "modes"),
	JAIL_ALLOW(utimensat, "times"),
	JAIL_ALLOW(fallocate, "room"),
	JAIL_ALLOW(sysinfo, "glibc's qsort of much asks how much memory there is"),
	JAIL_ALLOW(copy_file_range, "copies without us between"),
	JAIL_ALLOW(inotify_add_watch, "what the host changes"),
	JAIL_ALLOW(inotify_rm_watch, "what the host changes"),
};

const struct jail_profile jail_profile_review = { .name = "review", .rules = rules, .nrules = ARRAY_SIZE(rules) };
