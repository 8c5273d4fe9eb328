/* SPDX-License-Identifier: Apache-2.0 */
/* The dashboard's only entry. */
#ifndef BULKHEAD_TUI_DASHBOARD_H
#define BULKHEAD_TUI_DASHBOARD_H

#include <stdbool.h>
#include <stdint.h>

struct dashboard_opts {
	const char *sandbox; /* selected at the start; NULL = the first. Must be given with attach_only */
	uint32_t session;    /* 0 = the sandbox's first live terminal */
	bool attach_only;    /* just that terminal, full screen, until `prefix d` or the session's end */
};

/*
 * Runs until the person leaves. Returns an exit code: 0 after detaching, the session's own code when attach_only and it ended,
 * 1 when it could not start (the sentence is on stderr). The terminal is restored on every way out.
 */
int dashboard_run(const struct dashboard_opts *o);

#endif
