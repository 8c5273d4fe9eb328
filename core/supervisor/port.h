/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published ports: a listening socket of the host whose connections go to a port inside. Kept in the sandbox's spec; bound when a machine
 * begins (an address that is taken then is told in the lifecycle log, the rest goes on). bulkhead-net holds the socket and accepts.
 */
#ifndef BULKHEAD_SUPERVISOR_PORT_H
#define BULKHEAD_SUPERVISOR_PORT_H

#include <jansson.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/supervisor/spec.h"

struct sandbox;
struct super;

/*
 * Binds (host_port 0: any free), writes it down and tells a running bulkhead-net; *out lives in the spec. -EINVAL (address), -EDQUOT, or
 * bind()'s with a sentence.
 */
int port_publish(struct sandbox *sb, const char *address, uint16_t host_port, uint16_t guest_port, const struct spec_port **out, struct err *e);
/* -ENOENT, or the file's. */
int port_unpublish(struct super *su, uint32_t id, struct err *e);
/* All of them to a bulkhead-net that has just begun. */
void port_tell(struct sandbox *sb);
json_t *port_json(const struct sandbox *sb, const struct spec_port *p);
/* Of one sandbox (NULL: of all), as many as fit EVENTS_PORTS_MAX. */
json_t *port_list(struct super *su, const struct sandbox *of);

#endif
