/* SPDX-License-Identifier: Apache-2.0 */
/* The dashboard's loop: the only place that waits, reads keys and lets ncurses write. */
#ifndef BULKHEAD_TUI_LOOP_H
#define BULKHEAD_TUI_LOOP_H

#include "tui/app.h"

/* Runs until a->quit. The screen is open, the supervisor connected (or being looked for). */
void loop_run(struct app *a);

#endif
