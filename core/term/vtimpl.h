/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the three parts of the emulator share: vt.c (libvterm's callbacks, strings, sizes), vtseq.c (what a program's sequences do), vtkey.c (what a
 * person's keys send). Nobody else includes this.
 */
#ifndef BULKHEAD_CORE_TERM_VTIMPL_H
#define BULKHEAD_CORE_TERM_VTIMPL_H

#include <vterm.h>

#include "core/term/oscscan.h"
#include "core/term/seq.h"
#include "core/term/sgr.h"
#include "core/term/vt.h"

struct saved_cursor {
	VTermPos pos;
	struct pen pen;
	bool origin;
	uint8_t gl, charset[4];
};

struct vt {
	VTerm *vt;
	VTermState *state;
	struct grid grid;
	struct oscscan osc;
	struct seqscan seq;
	struct pen pen;
	const struct vt_ops *ops;
	void *arg;
	bool typed;        /* what comes out now is a person's input, not an answer */
	bool visible, blink, reverse;
	uint8_t shape;
	uint32_t mouse;    /* MODE_MOUSE_* */
	bool edge;
	VTermPos edge_pos;
	bool origin, sides, paste, focus;      /* DECOM, DECLRMM, bracketed paste, focus reports */
	int top, bottom, left, right;          /* margins: [top, bottom), [left, right); bottom and right -1: the screen's */
	uint8_t gl, charset[4];                /* '0', 'A' or 'B' */
	struct saved_cursor saved[2];          /* of the primary and of the alternate screen */
	uint32_t last_cp;  /* the character printed last, for REP; 0 none */
	char *link[VT_LINKS_MAX]; /* owned; id - 1 */
	uint32_t link_hash[VT_LINKS_MAX];
	uint16_t nlinks;
};

/* ---- vt.c ---- */
VTermPos vt_where(const struct vt *v);
/* Bytes to the program: an answer, or typed when v->typed. */
void vt_output(const char *p, size_t n, void *user);

/* ---- vtseq.c ---- */
extern const struct seq_ops vtseq_ops; /* their argument is the struct vt */
/* The size changes: margins end with the size they were made for; the library would keep some of them. */
void vtseq_resizing(struct vt *v);
void vtseq_no_saved(struct saved_cursor *s);

#endif
