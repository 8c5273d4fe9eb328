/* SPDX-License-Identifier: Apache-2.0 */
/* Histories as pictures: bars of one row ("▁▂▅▇"), and braille areas of any size. */
#ifndef BULKHEAD_TUI_SPARK_H
#define BULKHEAD_TUI_SPARK_H

#include <stddef.h>

#include "tui/canvas.h"

/* The newest `cols` of v[0..n), one column each, scaled to `max` (> 0), newest at the right. */
void spark_row(struct canvas *c, struct rect r, int row, int col, int cols, struct style st, const float *v, size_t n, float max);
/* Two samples a column, four steps a row, newest at the right. ASCII: one sample a column. */
void spark_area(struct canvas *c, struct rect r, struct style st, const float *v, size_t n, float max);
/* A gauge "████░░░" of cols columns. */
void spark_gauge(struct canvas *c, struct rect r, int row, int col, int cols, struct style full, struct style empty, double part);

#endif
