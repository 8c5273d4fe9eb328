/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-fs: files below directories it has descriptors of (Landlock holds it to those). No socket is made, nothing is executed, no path is
 * opened but the kernel's own names of descriptors; device nodes cannot be made (Landlock, and no capability).
 */
#include "core/jail/jail.h"

#include <fcntl.h>

#include "core/base/str.h"

static const struct jail_rule rules[] = {
	JAIL_ALLOW(openat2, "names below a directory, RESOLVE_BENEATH and without links"),
	JAIL_ALLOW_ARG(openat, 2, O_CREAT, 0, "a file again by its descriptor"),
	JAIL_ALLOW(statx, "attributes"),
	JAIL_ALLOW(fstatfs, "room on the file system"),
	JAIL_ALLOW(getdents64, "listing"),
	JAIL_ALLOW(readlinkat, "a link's text"),
	JAIL_ALLOW(mknodat, "files, FIFOs, sockets' names"),
	JAIL_ALLOW(mkdirat, "directories"),
	JAIL_ALLOW(symlinkat, "links"),
	JAIL_ALLOW(linkat, "names"),
	JAIL_ALLOW(unlinkat, "names"),
	JAIL_ALLOW(renameat2, "names"),
	JAIL_ALLOW(fchmodat, "modes"),
	JAIL_ALLOW(utimensat, "times"),
	JAIL_ALLOW(fgetxattr, "user attributes"),
	JAIL_ALLOW(fsetxattr, "user attributes"),
	JAIL_ALLOW(flistxattr, "user attributes"),
	JAIL_ALLOW(fremovexattr, "user attributes"),
	JAIL_ALLOW(pwritev2, "appending"),
	JAIL_ALLOW(fallocate, "room and holes"),
	JAIL_ALLOW(copy_file_range, "copies without us between"),
	JAIL_ALLOW(inotify_add_watch, "what the host changes"),
	JAIL_ALLOW(inotify_rm_watch, "what the host changes"),
	JAIL_ALLOW(eventfd2, "libfuse wants a descriptor for each session"),
};

const struct jail_profile jail_profile_fs = { .name = "fs", .rules = rules, .nrules = ARRAY_SIZE(rules) };
