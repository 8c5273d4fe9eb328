/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of the channel multiplexer (core/proto/mux.h): one byte stream to the guest on one side, up to MUX_STREAMS_MAX
 * sockets on the other. The guest is hostile: what breaks the protocol ends the channel with a sentence, what breaks a stream's credit
 * ends that stream. A reader that does not read stops only its own stream: its credit is not renewed.
 */
#ifndef BULKHEAD_VMM_MUXHOST_H
#define BULKHEAD_VMM_MUXHOST_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "core/proto/mux.h"
#include "vmm/channel.h"

/* Takes fd, the machine's end of the port. The result is a channel (vmm/channel.h). */
int muxhost_open_take(struct channel **out, uv_loop_t *loop, int fd, uint32_t gen, const struct channel_events *ev, void *arg);

#endif
