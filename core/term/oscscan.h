/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes the string sequences out of a terminal's output before libvterm sees them (it loses the head of an OSC cut by two writes and
 * crashes on very long ones): OSC is collected, bounded, and told; DCS, APC, PM and SOS are dropped. All other bytes go on, in
 * order. One byte at a time through a table in which every state has an edge for every byte; how the input is cut changes nothing.
 */
#ifndef BULKHEAD_TERM_OSCSCAN_H
#define BULKHEAD_TERM_OSCSCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OSC_TEXT_MAX 256u
#define OSC_LINK_MAX 2048u
#define OSC_CLIP_MAX (100u * 1024u) /* bytes of text, decoded */
#define OSC_MAX (140u * 1024u)      /* of the whole sequence: a clipboard's base64 */

enum osc_state { OSC_GROUND, OSC_ESC, OSC_STRING, OSC_STRING_ESC, OSC_DROP, OSC_DROP_ESC, OSC_NUM };
enum osc_action { OSC_PASS, OSC_HOLD, OSC_PASS_HELD, OSC_BEGIN, OSC_ADD, OSC_END, OSC_END_HELD, OSC_NOTHING, OSC_ABORT, OSC_ACTION_NUM };

struct osc_ops {
	void (*on_bytes)(void *arg, const uint8_t *p, size_t n);       /* for the terminal */
	void (*on_title)(void *arg, const char *text);                  /* scrubbed, as are the next two */
	void (*on_notify)(void *arg, const char *text);
	void (*on_link)(void *arg, const char *uri);                    /* "" ends it */
	void (*on_clipboard)(void *arg, const char *text, size_t n);    /* decoded, raw, <= OSC_CLIP_MAX */
};

struct oscscan {
	uint8_t state;
	bool overflow;
	uint8_t *text; /* owned, grown up to OSC_MAX */
	size_t n, cap;
	const struct osc_ops *ops;
	void *arg;
};

void oscscan_init(struct oscscan *s, const struct osc_ops *ops, void *arg);
void oscscan_release(struct oscscan *s);
void oscscan_push(struct oscscan *s, const uint8_t *p, size_t n);
/* The edge of a state for a byte: next state and what to do. For the test that walks the table. */
void oscscan_edge(enum osc_state from, uint8_t byte, enum osc_state *to, enum osc_action *action);

#endif
