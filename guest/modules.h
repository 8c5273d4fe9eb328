/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel modules without modprobe: what nft and ip would have the kernel ask a program for one by one, each a start of that program, which
 * in an emulated machine is most of what they take. Sources: modules.dep(5), finit_module(2).
 */
#ifndef BULKHEAD_GUEST_MODULES_H
#define BULKHEAD_GUEST_MODULES_H

#include <stddef.h>

struct module { const char *name, *options; /* "" none */ };

/* Loads them and what they need, from the running kernel's directory. What fails is left to modprobe. */
void modules_load(const struct module *m, size_t n);
/*
 * In the text of a modules.dep: the line of module `name` ('-' and '_' are the same), as the files to load, in order, separated by blanks,
 * into dst. 0, -ENOENT, -ENOSPC. Pure.
 */
int modules_files(const char *dep, const char *name, char *dst, size_t cap);

#endif
