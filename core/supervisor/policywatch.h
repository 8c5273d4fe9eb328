/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of one name in any number of directories, watched with inotify: written and closed, moved here, removed. Not each write: a sandbox's
 * directory holds its disk. What happens is told once things were quiet for a moment, since editors move files about.
 */
#ifndef BULKHEAD_SUPERVISOR_POLICYWATCH_H
#define BULKHEAD_SUPERVISOR_POLICYWATCH_H

#include <uv.h>

struct policywatch;

/* NULL: the kernel grants none; then only policy.reload reads files. */
struct policywatch *policywatch_open(uv_loop_t *loop, const char *name, void (*fn)(void *arg), void *arg);
void policywatch_close(struct policywatch *w); /* NULL is fine */
/* Watches a directory (again), or while it is missing its parent; twice is once. */
void policywatch_dir(struct policywatch *w, const char *dir);

#endif
