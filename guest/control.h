/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control stream (AGENT_* of core/proto/agent.h): the host says hello first, and nothing else is done before. There is one;
 * a new one replaces the old.
 */
#ifndef BULKHEAD_GUEST_CONTROL_H
#define BULKHEAD_GUEST_CONTROL_H

#include <stdbool.h>

#include "guest/mux.h"

bool control_accept(struct gstream *st, const struct gstream_ops **ops, void **arg);
/* dockerd's state has changed. */
void control_docker_changed(void);
/* The network is as it will be: the host's hello may be answered. */
void control_network_ready(void);
/* The machine is going down. */
void control_going_down(void);

#endif
