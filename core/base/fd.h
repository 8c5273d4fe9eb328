/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File descriptors: -1 is "none", ownership moves by steal_fd(), everything is close-on-exec.
 */
#ifndef BULKHEAD_BASE_FD_H
#define BULKHEAD_BASE_FD_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#define FD_PASS_MAX 20 /* most descriptors in one message */

static inline void fd_cleanup(int *fd) { if (*fd >= 0) close(*fd); }
static inline void free_cleanup(void *p) { free(*(void **)p); }
#define AUTO_FD __attribute__((cleanup(fd_cleanup))) int
#define AUTO_FREE __attribute__((cleanup(free_cleanup)))

static inline int steal_fd(int *fd) { int v = *fd; *fd = -1; return v; }
#define steal_ptr(pp) __extension__({ __typeof__(*(pp)) v_ = *(pp); *(pp) = NULL; v_; })

void fd_close(int *fd);                  /* closes if >= 0, sets -1 */
int fd_nonblock(int fd);                 /* 0 or -errno */
int fd_cloexec(int fd, int on);
/* All n bytes or -errno (-EPIPE / -ENODATA for an early end). Retries EINTR; for blocking descriptors. */
int fd_read_full(int fd, void *p, size_t n);
int fd_write_full(int fd, const void *p, size_t n);
int fd_pwrite_full(int fd, const void *p, size_t n, off_t at);
/*
 * One sendmsg()/recvmsg() with descriptors (SCM_RIGHTS), MSG_NOSIGNAL. fd_send returns bytes or -errno.
 * fd_recv returns bytes (0 = end), -EMSGSIZE if the datagram or its descriptors were cut (all received
 * ones are closed), or -errno. fds[] has room for FD_PASS_MAX; *nfds is set; received with CLOEXEC.
 */
ssize_t fd_send(int sock, const void *p, size_t n, const int *fds, size_t nfds);
ssize_t fd_recv(int sock, void *p, size_t n, int *fds, size_t *nfds);
/* Socketpair, CLOEXEC and non-blocking; type SOCK_STREAM or SOCK_SEQPACKET. 0 or -errno. */
int fd_pair(int type, int out[2]);
/* The connected peer's uid and pid (SO_PEERCRED). 0 or -errno. */
int fd_peer(int sock, uid_t *uid, pid_t *pid);
/* Directories that this user may watch with inotify(7), all processes together. */
size_t fd_watches_of_user(void);
/* A machine's memory: a memfd of so many zero bytes that neither grows nor shrinks; `flags` beside MFD_CLOEXEC and MFD_ALLOW_SEALING. fd or -errno. */
int fd_memory(const char *name, uint64_t bytes, unsigned flags);
/* A sealed memfd that holds the bytes, positioned at 0; fd or -errno. */
int fd_memfd(const char *name, const void *p, size_t n);

#endif
