/* SPDX-License-Identifier: Apache-2.0 */
/* The orderly end: everyone gets SIGTERM (dockerd first stops its containers), then SIGKILL, then the disk is made clean. */
#ifndef BULKHEAD_GUEST_SHUTDOWN_H
#define BULKHEAD_GUEST_SHUTDOWN_H

#include <stdbool.h>
#include <stdint.h>

enum shutdown_kind { SHUTDOWN_POWEROFF, SHUTDOWN_REBOOT };

/* Begins it; a second call changes nothing. */
void shutdown_begin(enum shutdown_kind kind, uint32_t deadline_ms);
/* A process was reaped: perhaps that was the last. */
void shutdown_look(void);

#endif
