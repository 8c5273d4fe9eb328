/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts a terminal's output (without string sequences: oscscan.h has taken those) into text, escape sequences and control sequences, after
 * ECMA-48 and the state machine of DEC's terminals as Paul Flo Williams wrote it down (vt100.net/emu/dec_ansi_parser).
 *
 * A sequence is told when it is whole and never before, so that libvterm never sees a piece of one: its parser writes past the end of its
 * sixteen arguments, and a sequence of ours cannot be put between two halves of a foreign one. Text is well-formed UTF-8 in whole
 * characters (what is not becomes U+FFFD), with the C0 controls among it, without DEL and C1; at most SEQ_MARKS_MAX combining characters follow
 * a base, because libvterm gathers them without end. How the input is cut changes nothing.
 */
#ifndef BULKHEAD_TERM_SEQ_H
#define BULKHEAD_TERM_SEQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEQ_ARGS_MAX 32u
#define SEQ_ARG_MAX 65535
#define SEQ_MARKS_MAX 8u
#define SEQ_TEXT_MAX 4096u /* bytes of text told at once */

enum seq_state { SEQ_GROUND, SEQ_ESC, SEQ_ESC_INTERMED, SEQ_CSI, SEQ_CSI_ARGS, SEQ_CSI_INTERMED, SEQ_CSI_IGNORE, SEQ_NUM };

struct seq_csi {
	uint8_t leader;              /* one of < = > ?, else 0 */
	uint8_t intermed;            /* 0x20..0x2f, else 0 */
	uint8_t final;               /* 0x40..0x7e */
	uint8_t n;                   /* arguments, at least one */
	int32_t arg[SEQ_ARGS_MAX];   /* 0..SEQ_ARG_MAX, -1 not given */
	uint32_t sub;                /* bit i: argument i belongs to the one before it (':') */
};

struct seq_ops {
	void (*on_text)(void *arg, const uint8_t *p, size_t n);
	void (*on_escape)(void *arg, uint8_t intermed, uint8_t final);
	void (*on_csi)(void *arg, const struct seq_csi *c);
};

struct seqscan {
	uint8_t state;               /* enum seq_state */
	uint8_t intermed;
	bool many;                   /* more than one intermediate byte: no sequence of ours */
	struct seq_csi csi;
	uint8_t held[4];             /* of a character that is not whole yet */
	uint8_t nheld;
	uint8_t marks;               /* combining characters since the last base */
	const struct seq_ops *ops;
	void *arg;
};

void seqscan_init(struct seqscan *s, const struct seq_ops *ops, void *arg);
void seqscan_push(struct seqscan *s, const uint8_t *p, size_t n);
/* What libvterm adds to the character before instead of giving it a cell. */
bool seq_is_mark(uint32_t cp);

#endif
