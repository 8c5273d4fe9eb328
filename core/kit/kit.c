/* SPDX-License-Identifier: Apache-2.0 */
#include "core/kit/kit.h"

#include <string.h>

#include "core/base/str.h"

/*
 * What programs ask with when they stand still on the line: "Proceed? [Y/n] ", "Overwrite 'x'? ", "Are you sure (yes/no)? ", "[sudo] password for agent: ",
 * "Enter passphrase for key: ", "Press Enter to continue". A shell's own prompt is none of these.
 */
#define ASKS_IN_WORDS \
	"(\\[[Yy](es)?/[Nn]o?\\]|\\([Yy](es)?(/[Nn]o?[^)]*)?\\)|\\?|[Pp]assword[^:]*:|[Pp]assphrase[^:]*:|[Pp]ress .*(key|Enter|ENTER|RETURN).*)[] :.]*$"

const struct kit kits[] = {
	{
		.name = "shell",
		.summary = "a login shell, Docker and build tools",
		.label = "shell",
		.argv = NULL,
		.login = true,
		.waits_pattern = ASKS_IN_WORDS,
		.idle_ms = 1500,
	},
};
const size_t kits_num = ARRAY_SIZE(kits);

const struct kit *kit_find(const char *name)
{
	for (size_t i = 0; i < kits_num; i++)
		if (!strcmp(kits[i].name, name))
			return &kits[i];
	return NULL;
}

const char *kit_suggest(const char *name)
{
	const char *best = NULL;
	unsigned least = 4;

	for (size_t i = 0; i < kits_num; i++) {
		unsigned d = str_distance(kits[i].name, name);
		if (d < least) {
			least = d;
			best = kits[i].name;
		}
	}
	return best;
}
