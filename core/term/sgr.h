/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SGR (CSI … m) into a pen, after ECMA-48 8.3.117, ISO 8613-6 for colours and kitty's underline styles. Ours, because libvterm 0.1.4 knows
 * neither dim nor concealed and reads past the arguments of a colour that is cut short.
 */
#ifndef BULKHEAD_TERM_SGR_H
#define BULKHEAD_TERM_SGR_H

#include "core/term/grid.h"
#include "core/term/seq.h"

/* The pen's link is left as it is. */
void sgr_apply(struct pen *pen, const struct seq_csi *c);

#endif
