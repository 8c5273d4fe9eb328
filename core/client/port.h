/* SPDX-License-Identifier: Apache-2.0 */
/* What a person writes to publish a port: [ADDR:]HOST:GUEST, or GUEST alone for any free port here. */
#ifndef BULKHEAD_CLIENT_PORT_H
#define BULKHEAD_CLIENT_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

struct port_spec { char address[48]; uint16_t host /* 0: any */, guest; };

/* 0, or -EINVAL with a sentence. Without ADDR it is 127.0.0.1; an IPv6 one stands in brackets. */
int port_spec_parse(const char *text, struct port_spec *p, struct err *e);
/* Only this machine reaches it. */
bool port_is_loopback(const char *address);

#endif
