/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead-term: everything of a terminal is bytes on descriptors; only recordings need names, in their own directory (Landlock holds it to that). */
#include "core/jail/jail.h"

#include <fcntl.h>

#include "core/base/str.h"

static const struct jail_rule rules[] = {
	JAIL_ALLOW_ARG(openat, 2, O_NOFOLLOW, O_NOFOLLOW, "recordings, below their directory's descriptor; never through a link"),
	JAIL_ALLOW(renameat, "rotation of recordings"),
};

const struct jail_profile jail_profile_term = { .name = "term", .rules = rules, .nrules = ARRAY_SIZE(rules) };
