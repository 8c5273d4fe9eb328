/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/limits.h"

#include <errno.h>
#include <sched.h>

#include "core/base/str.h"
#include "core/supervisor/spec.h"

void limits_host(struct host_facts *h)
{
	FILE *f = fopen("/proc/meminfo", "re");
	char line[128];
	unsigned long long kib;
	cpu_set_t set;

	h->cpus = sched_getaffinity(0, sizeof(set), &set) ? 1 : (uint32_t)CPU_COUNT(&set);
	h->memory_total = h->memory_available = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "MemTotal: %llu kB", &kib) == 1)
			h->memory_total = kib * 1024;
		else if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			h->memory_available = kib * 1024;
	}
	if (f)
		fclose(f);
}

int limits_create(const struct config *c, const struct host_facts *h, uint64_t cpus, uint64_t memory, uint64_t disk, struct err *e)
{
	char a[16], b[16];

	if (h->sandboxes >= c->max_sandboxes)
		return err_set(e, EDQUOT, "there are %u sandboxes already, the limit is %llu: remove one, or raise 'max_sandboxes' in "
			       "config.yaml", h->sandboxes, (unsigned long long)c->max_sandboxes);
	if (cpus < 1 || cpus > SPEC_CPUS_MAX)
		return err_set(e, EDQUOT, "a sandbox has 1 to %u CPUs, not %llu", SPEC_CPUS_MAX, (unsigned long long)cpus);
	str_human(a, sizeof(a), memory);
	if (memory < LIMITS_MEMORY_MIN)
		return err_set(e, EDQUOT, "%s of memory are too little: the guest needs at least 256M", a);
	if (memory > h->memory_total) {
		str_human(b, sizeof(b), h->memory_total);
		return err_set(e, EDQUOT, "%s of memory are more than this machine has (%s)", a, b);
	}
	str_human(a, sizeof(a), disk);
	if (disk < LIMITS_DISK_MIN)
		return err_set(e, EDQUOT, "a disk of %s is too small: the guest needs at least 1G", a);
	if (disk > LIMITS_DISK_MAX)
		return err_set(e, EDQUOT, "a disk of %s is too large: at most 16T are possible", a);
	return 0;
}

int limits_start(const struct config *c, const struct host_facts *h, uint64_t memory, struct err *e)
{
	uint64_t most = c->max_memory ? c->max_memory : h->memory_total / 10 * 9;
	char a[16], b[16], d[16];

	if (h->running >= c->max_running)
		return err_set(e, EDQUOT, "%u sandboxes run already, the limit is %llu: stop one, or raise 'max_running' in config.yaml",
			       h->running, (unsigned long long)c->max_running);
	str_human(a, sizeof(a), memory);
	if (memory > h->memory_available) {
		str_human(b, sizeof(b), h->memory_available);
		return err_set(e, EDQUOT, "it wants %s of memory and only %s are available now: stop something else, or give it less", a,
			       b);
	}
	if (h->memory_promised > most || memory > most - h->memory_promised) {
		str_human(b, sizeof(b), h->memory_promised);
		str_human(d, sizeof(d), most);
		return err_set(e, EDQUOT, "it wants %s of memory, running sandboxes were promised %s and together they may have %s: stop "
			       "one, or raise 'max_memory' in config.yaml", a, b, d);
	}
	return 0;
}
