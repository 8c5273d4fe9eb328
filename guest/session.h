/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process (and what it starts) for one stream of AGENT_PORT_SESSION: a pty or three pipes (core/proto/agent.h, SESS_*).
 *
 * It ends when its process has ended and its output is out: for a pty once what the terminal holds has been read; for pipes at
 * their end, or QUIET_MS after the process ended when a child of it keeps them open without writing. What it started in the
 * background lives on, as after any shell.
 *
 * When the host drops the stream before that, it has hung up: a terminal is closed (the kernel then sends SIGHUP), a piped process's
 * group gets SIGHUP and the end of its pipes. A process that has not ended HANGUP_MS later is killed with all it started.
 */
#ifndef BULKHEAD_GUEST_SESSION_H
#define BULKHEAD_GUEST_SESSION_H

#include <stdbool.h>
#include <sys/types.h>

#include "guest/mux.h"

/* For gmux_accept. */
bool session_accept(struct gstream *st, const struct gstream_ops **ops, void **arg);
/* A process was reaped; true if it was a session's. */
bool session_reaped(pid_t pid, int status);
/* No new ones: the machine is going down. */
void session_refuse(void);
/* The directory in which a session starts when it asks for none ("" = home). */
void session_workspace(const char *path);

#endif
