/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where things lie. Every returned string is allocated and owned by the caller; NULL only with e set.
 *
 *   runtime  $XDG_RUNTIME_DIR/bulkhead, else /run/user/UID/bulkhead, else $TMPDIR|/tmp + /bulkhead-UID   sockets, pid file
 *   state    $XDG_STATE_HOME/bulkhead    (~/.local/state)     sandboxes: configuration, disks, logs, recordings
 *   config   $XDG_CONFIG_HOME/bulkhead   (~/.config)          config.yaml, themes/
 *   cache    $XDG_CACHE_HOME/bulkhead    (~/.cache)           guest images
 *   data     $BULKHEAD_DATADIR, else the source of the build tree the program lies in, else DATADIR    themes, image recipe
 *
 * Programs and data of an installation are found below the root the running program lies in: what `make install DESTDIR=...` wrote
 * works where it is.
 */
#ifndef BULKHEAD_BASE_PATH_H
#define BULKHEAD_BASE_PATH_H

#include <stdbool.h>

#include "core/base/err.h"

/* Created (0700) if missing; refused if not a directory, not ours, or open to others. */
char *path_runtime(struct err *e);
char *path_state(struct err *e);
char *path_config(struct err *e); /* not created */
char *path_cache(struct err *e);
/* "themes/default-dark.theme" -> where it lies. */
char *path_data(const char *rel, struct err *e);
/* A sibling program ("bulkhead-supervisor"): beside /proc/self/exe, else in the libexec directory. */
char *path_program(const char *name, struct err *e);
char *path_join(const char *a, const char *b);
int path_mkdirs(const char *path, unsigned mode, struct err *e);
/* realpath() of an existing directory, with sentences for missing, not a directory, not readable. */
char *path_real_dir(const char *path, struct err *e);
/* A directory by its real path, O_PATH, or -errno with a sentence: where a link has come into the path since, it is refused. */
int path_open_real(const char *path, struct err *e);
/* rm -r below dirfd/name without following symlinks or leaving the file system; 0 or -errno. Missing is 0. */
int path_remove_tree(int dirfd, const char *name, struct err *e);

#endif
