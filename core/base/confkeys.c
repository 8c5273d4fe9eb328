/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/confkeys.h"

#include <errno.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"

static const char *const keys[] = {
	/* core/supervisor/config.c */
	"scrollback", "record_cap", "cpus", "memory", "disk", "max_sandboxes", "max_running", "max_memory", "hugepages", "disk_reserve", "stop_ms", "boot_ms",
	"ask_ms", "dns", "ca_file",
	/* tui/config.c */
	"theme", "prefix", "keys", "ascii", "notify", "mouse", "clipboard",
};

int confkey_check(const char *name, struct err *e)
{
	const char *near = NULL;
	unsigned least = 3; /* the most that is a slip of the fingers */
	char clean[96];

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const unsigned d = str_distance(keys[i], name);

		if (d == 0)
			return 0;
		if (d < least && d < strlen(keys[i]) / 2) {
			least = d;
			near = keys[i];
		}
	}
	scrub(clean, sizeof(clean), name, strlen(name), false);
	return near ? err_set(e, EINVAL, "there is no key '%s'; did you mean '%s'?", clean, near) :
		      err_set(e, EINVAL, "there is no key '%s' (bulkhead(5) lists them)", clean);
}
