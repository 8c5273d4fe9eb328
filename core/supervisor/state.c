/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/state.h"

#include <assert.h>
#include <string.h>

#include "core/base/str.h"

static const char *const names[] = {
	[SB_NEW] = "new",
	[SB_PREPARING] = "preparing",
	[SB_STARTING] = "starting",
	[SB_RUNNING] = "running",
	[SB_PAUSED] = "paused",
	[SB_RESETTING] = "resetting",
	[SB_STOPPING] = "stopping",
	[SB_STOPPED] = "stopped",
	[SB_FAILED] = "failed",
};
static_assert(ARRAY_SIZE(names) == SB_NUM, "every sandbox state has a name");

#define TO(s) (1u << (s))

/* edges[from] is the set of states that may follow. */
static const unsigned edges[] = {
	/* NEW: created, or adopted into what the children tell; a vmm that lives is STARTING first, whatever it does. */
	[SB_NEW] = TO(SB_STOPPED) | TO(SB_FAILED) | TO(SB_STARTING) | TO(SB_STOPPING) | TO(SB_RESETTING),
	[SB_PREPARING] = TO(SB_STARTING) | TO(SB_STOPPED) | TO(SB_FAILED),
	/* PAUSED: a machine adopted while it was paused. PREPARING: an emulated boot that panicked is tried again. */
	[SB_STARTING] = TO(SB_PREPARING) | TO(SB_RUNNING) | TO(SB_PAUSED) | TO(SB_STOPPING) | TO(SB_RESETTING) | TO(SB_STOPPED) |
			TO(SB_FAILED),
	[SB_RUNNING] = TO(SB_PAUSED) | TO(SB_STOPPING) | TO(SB_RESETTING) | TO(SB_STOPPED) | TO(SB_FAILED),
	[SB_PAUSED] = TO(SB_RUNNING) | TO(SB_STOPPING) | TO(SB_RESETTING) | TO(SB_STOPPED) | TO(SB_FAILED),
	[SB_RESETTING] = TO(SB_PREPARING) | TO(SB_STOPPED) | TO(SB_FAILED),
	[SB_STOPPING] = TO(SB_STOPPED) | TO(SB_FAILED),
	[SB_STOPPED] = TO(SB_PREPARING) | TO(SB_RESETTING) | TO(SB_FAILED),
	[SB_FAILED] = TO(SB_PREPARING) | TO(SB_RESETTING),
};
static_assert(ARRAY_SIZE(edges) == SB_NUM, "every sandbox state has its edges");

const char *sandbox_state_name(enum sandbox_state s)
{
	return (unsigned)s < SB_NUM ? names[s] : "?";
}

int sandbox_state_parse(const char *name)
{
	for (int i = 0; i < SB_NUM; i++)
		if (!strcmp(names[i], name))
			return i;
	return -1;
}

bool sandbox_edge_legal(enum sandbox_state from, enum sandbox_state to)
{
	return (unsigned)from < SB_NUM && (unsigned)to < SB_NUM && (edges[from] & TO(to));
}

bool sandbox_state_has_machine(enum sandbox_state s)
{
	return s == SB_PREPARING || s == SB_STARTING || s == SB_RUNNING || s == SB_PAUSED || s == SB_RESETTING ||
	       s == SB_STOPPING;
}
