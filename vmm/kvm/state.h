/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state file of a snapshot: sections of bytes, each known by its kind and a number (vCPU, slot).
 *
 *   u32 magic | u32 version | u32 sections | { u32 kind, u32 number, u32 length, bytes }... | u64 FNV-1a of all before     little endian
 *
 * It is written by this very program on this kind of host, but it may be cut, damaged or from another version: then it is refused as a whole,
 * with a sentence, before anything of it is used.
 */
#ifndef BULKHEAD_VMM_KVM_STATE_H
#define BULKHEAD_VMM_KVM_STATE_H

#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/rbuf.h"

#define STATE_MAGIC 0x4e534b42u /* "BKSN" */
#define STATE_VERSION 3u
#define STATE_MAX (4u << 20)

enum state_kind {
	STATE_MACHINE = 1, STATE_IRQCHIP, STATE_CLOCK,
	STATE_CPUID = 16, STATE_REGS, STATE_SREGS, STATE_XSAVE, STATE_XCRS, STATE_MSRS, STATE_LAPIC, STATE_EVENTS, STATE_DEBUG, STATE_MP, STATE_TSC,
	STATE_VIRTIO = 48, STATE_SERIAL, STATE_BALLOON, STATE_CONSOLE,
};

/* Writing: begin once, a section at a time, end once (buf_ok() tells). */
void state_begin(struct buf *b);
void state_put(struct buf *b, enum state_kind kind, uint32_t number, const void *p, size_t n);
void state_end(struct buf *b);

/* Reading. p is borrowed. 0 or -EBADMSG with a sentence. */
struct state {
	const uint8_t *p;
	size_t n;
};
int state_open(struct state *s, const uint8_t *p, size_t n, struct err *e);
/* The section's bytes; -ENOENT. */
int state_find(const struct state *s, enum state_kind kind, uint32_t number, struct rbuf *out);
/* A section of exactly n bytes into dst; 0 or -EBADMSG with a sentence. */
int state_get(const struct state *s, enum state_kind kind, uint32_t number, void *dst, size_t n, struct err *e);

#endif
