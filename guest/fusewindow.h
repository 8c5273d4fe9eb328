/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory that a workspace's relay lends the host for contents (FS_WINDOW in core/proto/fs.h): a huge page, and which places in it are given to
 * requests. The kernel moves such a page only when root makes it give up that memory; the guest would be harmed, not the host. All zero is none. One owner, who
 * embeds it. Source: Linux' Documentation/admin-guide/mm/{hugetlbpage,pagemap}.rst.
 */
#ifndef BULKHEAD_GUEST_FUSEWINDOW_H
#define BULKHEAD_GUEST_FUSEWINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "core/proto/fs.h"

struct fusewindow {
	uint8_t *base;  /* NULL: none, for want of a huge page */
	uint64_t at;    /* guest-physical */
	bool lent;      /* the host has taken it */
	bool failed;    /* it is not tried again */
	bool busy[FS_PLACES + 1];
};

/* Makes it, once, and writes the sign at its start. False: there is none. */
bool fusewindow_make(struct fusewindow *w, const uint8_t sign[FS_LANE_SIGN]);
/* A free place, 0 none (or not lent). It is taken by fusewindow_take() and free again after fusewindow_free(), which takes 0 too. */
unsigned fusewindow_find(const struct fusewindow *w);
void fusewindow_take(struct fusewindow *w, unsigned place);
void fusewindow_free(struct fusewindow *w, unsigned place);
uint8_t *fusewindow_at(const struct fusewindow *w, unsigned place);
/* The host is gone, and every request with it. */
void fusewindow_lost(struct fusewindow *w);

#endif
