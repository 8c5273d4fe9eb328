/* SPDX-License-Identifier: Apache-2.0 */
/* Published ports: the host connects to a port of the guest's loopback (core/proto/netconn.h, NETC_TO). */
#ifndef BULKHEAD_GUEST_FORWARD_H
#define BULKHEAD_GUEST_FORWARD_H

#include <stdbool.h>

#include "guest/mux.h"

#define FORWARD_MAX 512u /* at once */

/* For gmux_accept. */
bool forward_accept(struct gstream *st, const struct gstream_ops **ops, void **arg);

#endif
