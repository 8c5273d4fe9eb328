/* SPDX-License-Identifier: Apache-2.0 */
/* Taking a tar stream from a guest apart on the host, and making one from host files. */
#ifndef BULKHEAD_CLI_UNPACK_H
#define BULKHEAD_CLI_UNPACK_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct unpack_report {
	uint64_t files, bytes;
	uint64_t skipped;  /* entries refused one by one: devices, links that leave the target, … */
	char why[256];     /* of the first one skipped, scrubbed */
};

struct unpack_opts {
	int dirfd;         /* the target directory: nothing is made outside of it */
	const char *strip; /* every entry must be this name or lie below it … */
	const char *as;    /* … and gets this name instead; "" or NULL: what lies below lands in the target itself */
	int single_file;   /* the archive must hold exactly one regular file: `strip`, written as `as` */
	uint64_t keep_free; /* bytes of the file system to leave alone */
};

/*
 * Reads a tar archive from fd until its end. The archive is hostile:
 *   - absolute names and names with ".." fail the whole unpacking (-EBADMSG): no honest tar made them
 *   - nothing is ever opened through a symbolic link, whether the archive or somebody else made it
 *   - symbolic links whose target is absolute or could leave the target, devices, FIFOs, sockets are skipped
 *   - hard links only to regular files below the target
 *   - set-user-id, set-group-id and sticky bits are dropped, owners ignored, the umask holds
 *   - more bytes or files than the file system has free: -ENOSPC before they are written
 * What was written stays when it fails. 0 or -errno with a sentence.
 */
int unpack_tar(int fd, const struct unpack_opts *o, struct unpack_report *rep, struct err *e);

/* Normalises an entry's name in place ("./a//b/" -> "a/b", "." -> ""); -EBADMSG: absolute, "..", too long or deep. */
int unpack_name(char *name, struct err *e);
/* 1 if a symbolic link at `name` (normalised) with this target cannot leave the tree, else 0. */
int unpack_link_stays(const char *name, const char *target);

/*
 * Writes a tar archive of `path` (a file, or a directory with all below it; symbolic links as links unless `follow` and it is
 * `path` itself) to fd; entries are called `as`, `as`/…; "." for `as` gives the directory's content. 0 or -errno; what cannot
 * be read is skipped and counted. -EPIPE: the reader went first.
 */
int pack_tar(int fd, const char *path, const char *as, int follow, struct unpack_report *rep, struct err *e);

#endif
