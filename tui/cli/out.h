/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the command line says. Answers go to stdout, everything else to stderr as "bulkhead: sentence". Text that may
 * have come from a guest is scrubbed on the way to a terminal. Colour only on a terminal and without NO_COLOR, and
 * never as the only sign.
 */
#ifndef BULKHEAD_CLI_OUT_H
#define BULKHEAD_CLI_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/base/err.h"

enum style { STYLE_NONE, STYLE_GOOD, STYLE_WARN, STYLE_BAD, STYLE_DIM, STYLE_BOLD, STYLE_NUM };

bool out_color(FILE *f);
bool out_utf8(void);
/* "bulkhead: ..." to stderr, scrubbed, one line. */
void out_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Prints e's sentence; returns e's exit code: 1. */
int out_fail(const struct err *e);
/* Foreign text: scrubbed, without newline. */
void out_text(FILE *f, const char *s);
void out_styled(FILE *f, enum style style, const char *s);
/* One JSON document to stdout, indented; one a line when `compact`. */
void out_json(const json_t *j, bool compact);
/* Asks "... [y/N] " on the terminal; false unless the answer begins with y. Only with out_can_ask(). */
bool out_ask(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool out_can_ask(void); /* stdin and stderr are a terminal */
/* Flushes stdout: 0, or 1 after saying why (a full disk must not look like success). */
int out_close(void);

/* "3 minutes ago" is too long for a table: "3m"; RFC 3339 in, "-" for none. */
void out_age(char *dst, size_t cap, const char *rfc3339, uint64_t now_s);
/* Seconds since the epoch of "2026-01-02T03:04:05.678Z"; 0 when it is not one. */
uint64_t out_parse_time(const char *rfc3339);
/* $HOME shown as ~. */
void out_path(char *dst, size_t cap, const char *path);

/* ---- aligned tables ---- */

#define TABLE_COLUMNS_MAX 16

struct table {
	size_t columns, cells, cap;
	struct table_cell { char *text; enum style style; } *cell; /* owned, row by row, the heading first */
	bool right[TABLE_COLUMNS_MAX];
	bool failed; /* out of memory */
};

/* Headings separated by spaces; one that ends in '>' is aligned to the right. */
void table_init(struct table *t, const char *headings);
void table_add(struct table *t, enum style style, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void table_print(struct table *t, FILE *f); /* and releases */

#endif
