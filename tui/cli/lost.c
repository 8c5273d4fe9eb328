/* SPDX-License-Identifier: Apache-2.0 */
#include "tui/cli/lost.h"

#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "tui/cli/cli.h"

#define CONTAINERS_MS 1000 /* a guest that does not tell by then is not waited for */

struct containers {
	const char *name;
	bool told;
	size_t running;
};

static void on_event(void *arg, const json_t *ev)
{
	struct containers *k = arg;
	json_t *one;
	size_t i;

	if (strcmp(cli_str(ev, "kind"), "containers") != 0 || strcmp(cli_str(ev, "name"), k->name) != 0)
		return;
	k->told = true;
	k->running = 0;
	json_array_foreach(json_object_get(ev, "containers"), i, one)
		k->running += strcmp(cli_str(one, "state"), "running") == 0;
}

static size_t containers(struct client *c, const char *name)
{
	struct containers k = { .name = name };
	const uint64_t until = clock_ms() + CONTAINERS_MS;

	client_on_event(c, on_event, &k);
	if (client_call(c, "stats.watch", json_pack("{s:i, s:[s], s:s}", "interval_ms", 250, "what", "containers", "name", name), CONTAINERS_MS, NULL, NULL, NULL, NULL) == 0)
		for (uint64_t now; !k.told && (now = clock_ms()) < until;)
			if (client_wait(c, -1, (int)(until - now), NULL) < 0)
				break;
	client_on_event(c, NULL, NULL);
	client_call(c, "stats.watch", json_pack("{s:i}", "interval_ms", 0), CONTAINERS_MS, NULL, NULL, NULL, NULL);
	return k.running;
}

static void add(char *dst, size_t cap, size_t n, const char *one, const char *many)
{
	const size_t at = strlen(dst);

	if (n)
		snprintf(dst + at, cap - at, "%s%zu %s", at ? ", " : "", n, n == 1 ? one : many);
}

int lost(struct client *c, const char *name, char *dst, size_t cap)
{
	json_t *sb = NULL, *s;
	char disk[16];
	size_t i, live = 0;

	dst[0] = '\0';
	if (cli_call(c, "sandbox.get", json_pack("{s:s}", "name", name), &sb) != 0)
		return 1;
	json_array_foreach(json_object_get(sb, "sessions"), i, s)
		live += strcmp(cli_str(s, "state"), "exited") != 0 && strcmp(cli_str(s, "state"), "failed") != 0;
	const json_int_t files = json_integer_value(json_object_get(json_object_get(sb, "changes"), "files"));

	add(dst, cap, files > 0 ? (size_t)files : 0, "changed file not applied", "changed files not applied");
	if (strcmp(cli_str(sb, "state"), "running") == 0) {
		add(dst, cap, containers(c, name), "running container", "running containers");
		add(dst, cap, live, "running session", "running sessions");
	}
	str_human(disk, sizeof(disk), (uint64_t)json_integer_value(json_object_get(sb, "disk_used")));
	const size_t at = strlen(dst);
	snprintf(dst + at, cap - at, "%severything on its disk (%s)", at ? ", " : "", disk);
	json_decref(sb);
	return 0;
}
