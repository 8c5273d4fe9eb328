/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal emulator: libvterm's state layer drives our grid. Everything of libvterm is behind this file (ARCHITECTURE 7, and 9 for why
 * its screen layer is not used). Input is fed in slices; what the terminal answers comes by on_answer and is bounded by the owner.
 */
#ifndef BULKHEAD_TERM_VT_H
#define BULKHEAD_TERM_VT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/term/grid.h"

#define VT_LINKS_MAX 1024u

struct vt;

struct vt_ops {
	/* Toward the program: what a person did (`typed`), or an answer to it, which it can ask for without end. */
	void (*on_answer)(void *arg, const char *p, size_t n, bool typed);
	void (*on_title)(void *arg, const char *text);
	void (*on_bell)(void *arg);
	void (*on_notify)(void *arg, const char *text);
	void (*on_clipboard)(void *arg, const char *text, size_t n);
};

/* Sizes are clamped to 1..ROWS_MAX. NULL when out of memory. */
struct vt *vt_create(unsigned rows, unsigned cols, size_t history_max, const struct vt_ops *ops, void *arg);
void vt_destroy(struct vt *v);
void vt_feed(struct vt *v, const uint8_t *p, size_t n);
void vt_resize(struct vt *v, unsigned rows, unsigned cols);
struct grid *vt_grid(struct vt *v);
/* Cursor, modes, sizes and history of the head; gen and nrows are the caller's. */
void vt_head(const struct vt *v, struct rows_head *h);
/* Links the program has named: id 1.., NULL when there is none of that id. */
const char *vt_link(const struct vt *v, uint16_t id);
uint16_t vt_links(const struct vt *v);

/* What a viewer did, in the program's current modes. */
void vt_key(struct vt *v, uint32_t key, unsigned mods); /* code point or enum view_key; enum view_mod */
void vt_mouse(struct vt *v, unsigned row, unsigned col, unsigned button, unsigned mods, bool press);
void vt_focus(struct vt *v, bool in);
/* Begin and end of a paste; the text between is sanitised and sent by vt_paste(). */
void vt_paste(struct vt *v, const uint8_t *p, size_t n, bool first, bool last);

#endif
