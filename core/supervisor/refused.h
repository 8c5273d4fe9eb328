/* SPDX-License-Identifier: Apache-2.0 */
/* Which system call a child's seccomp filter killed it for: its last line in its own log (core/jail/jail.h). */
#ifndef BULKHEAD_SUPERVISOR_REFUSED_H
#define BULKHEAD_SUPERVISOR_REFUSED_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Reads the end of the file `log` below dirfd. True: dst is "seccomp refused system call 'socket' (41) to vmm-vcpu". False: no such line there; dst
 * is "". The child wrote it and is not believed: a number and a short plain name, nothing else of it, are taken over.
 */
bool refused_call(int dirfd, const char *log, char *dst, size_t cap);

#endif
