/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a sandbox and the edges between them: pure data, no I/O. Who changes a state is sandbox_set_state()
 * (sandbox.h) and nobody else.
 */
#ifndef BULKHEAD_SUPERVISOR_STATE_H
#define BULKHEAD_SUPERVISOR_STATE_H

#include <stdbool.h>

enum sandbox_state {
	/* Being created or, after a supervisor's start, not yet looked at. No child is known, nobody is told of it. Left within the
	 * same request (create) or when adoption has decided what still runs. */
	SB_NEW,
	/* A start was asked for: a worker thread verifies and opens the image; no child of this generation exists. The call that
	 * asked is held. Ends when the worker answers, or at once by stop, kill and remove (the worker's answer carries a ticket
	 * and is then thrown away). */
	SB_PREPARING,
	/* vmm and term run; waiting for the machine's channel and the guest agent. A timer (config.boot_ms) runs. */
	SB_STARTING,
	/* The guest agent has answered in this generation. Sessions may be opened. */
	SB_RUNNING,
	/* The vCPUs stand still. Screens can be looked at; nothing can be opened. */
	SB_PAUSED,
	/* The old machine was told to die, the intention is on disk. Left when its process is gone: fresh disk, then PREPARING when
	 * the machine ran before, else STOPPED. A supervisor killed here finishes it at its next start. */
	SB_RESETTING,
	/* Going down: orderly (guest asked, timer runs) or at once. Left only when the vmm process is gone. */
	SB_STOPPING,
	/* No machine. bulkhead-term may still live and show the last screens. */
	SB_STOPPED,
	/* No machine, and `reason` says why; the console's last lines are kept. start, reset and remove lead out. */
	SB_FAILED,
	SB_NUM
};

const char *sandbox_state_name(enum sandbox_state s);
/* -1 when there is no such state. */
int sandbox_state_parse(const char *name);
bool sandbox_edge_legal(enum sandbox_state from, enum sandbox_state to);
/* A machine of this sandbox may exist: its memory is promised. */
bool sandbox_state_has_machine(enum sandbox_state s);

#endif
