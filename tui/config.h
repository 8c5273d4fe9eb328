/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dashboard's part of config.yaml (the supervisor reads its own): `theme`, `prefix`, `keys` (action: key or list of keys, "prefix k" for
 * one after the prefix), `ascii`, `clipboard` (ask, always, never), `notify`, `mouse`. A file that cannot be read as it should leaves the
 * defaults where it is wrong and gives one sentence with the line.
 */
#ifndef BULKHEAD_TUI_CONFIG_H
#define BULKHEAD_TUI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"
#include "tui/keymap.h"

enum clip_rule { CLIP_ASK, CLIP_ALWAYS, CLIP_NEVER };

struct config {
	char theme[64]; /* "" = choose */
	struct keymap keys;
	enum clip_rule clipboard;
	bool ascii, notify, mouse;
};

void config_init(struct config *c);
/* Text of a config.yaml into c (after config_init). 0, or -EINVAL with "config.yaml line N: …": the first thing wrong; the rest is taken. */
int config_parse(struct config *c, const char *text, size_t n, struct err *e);
/* Reads the person's; a missing file is no error. */
int config_load(struct config *c, struct err *e);

#endif
