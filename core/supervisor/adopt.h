/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At the supervisor's start: what is on disk and what still runs become sandboxes again. Children are found by their sockets and pid
 * files in runtime/sb/NAME; each tells its whole state; then the recorded state, the intention on disk and what runs decide. No
 * client is served before all have settled (or ADOPT_MS have passed: who has not answered by then is ended).
 */
#ifndef BULKHEAD_SUPERVISOR_ADOPT_H
#define BULKHEAD_SUPERVISOR_ADOPT_H

#include "core/base/err.h"

#define ADOPT_MS 8000

struct super;
int adopt_all(struct super *su, struct err *e);

#endif
