/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Did you mean: the nearest word by optimal string alignment, as git does it, but quiet when the nearest is far: a
 * third of the word's letters may differ, at least one. A word that only goes on (`sta` for `start`) counts as near.
 */
#include <string.h>

#include "core/base/str.h"
#include "tui/cli/cmd.h"

const char *suggest(const char *word, const char *const *words, size_t n)
{
	size_t len = strlen(word);
	const char *best = NULL;
	unsigned best_distance = 0;

	if (len == 0)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		unsigned d = str_distance(word, words[i]);
		size_t most = len > 3 ? len / 3 : 1;

		if (len >= 3 && str_starts(words[i], word))
			d = 1;
		if (d > most || d >= strlen(words[i]))
			continue;
		if (!best || d < best_distance) {
			best = words[i];
			best_distance = d;
		}
	}
	return best;
}
