/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics: each client says how often it wants what of whom; a guest is asked for the union. The samples' rates are made here, from
 * two samples and our own clock.
 */
#include "core/supervisor/events.h"

#include <fcntl.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/loop/after.h"
#include "core/loop/proc.h"
#include "core/supervisor/client.h"
#include "core/supervisor/kid.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/super.h"

#define HOST_EVERY_MS 2000

struct every {
	uint32_t ms, what;
};

static int pack_every(struct buf *b, const void *m)
{
	const struct every *v = m;

	buf_u32(b, v->ms);
	return buf_u32(b, v->what);
}

void stats_rewatch_one(struct sandbox *sb)
{
	struct every v = { 0 };

	for (const struct client *c = sb->su->clients; c; c = c->next) {
		if (!client_watches(c, sb->spec.name, AGENT_WHAT_STATS | AGENT_WHAT_TOP | AGENT_WHAT_CONTAINERS))
			continue;
		if (!v.ms || c->watch_ms < v.ms)
			v.ms = c->watch_ms;
		v.what |= c->watch_what;
	}
	if (sb->state != SB_RUNNING) {
		sb->watch_ms = sb->watch_what = 0;
		return;
	}
	if (v.ms == sb->watch_ms && v.what == sb->watch_what)
		return;
	sb->watch_ms = v.ms;
	sb->watch_what = v.what;
	kid_send(sb->term, TERM_STATS_EVERY, pack_every, &v, NULL, 0);
	if (!v.ms) {
		/* Old numbers are nobody's business: the object's `stats` is null until somebody watches again. */
		sb->stats_at_ns = sb->stats_before_at_ns = sb->vmm_at_ns = sb->vmm_before_at_ns = 0;
		sb->stats_due = false;
	}
}

static void on_host_tick(void *arg)
{
	struct super *su = arg;

	events_host(su);
	stats_rewatch(su);
}

void stats_rewatch(struct super *su)
{
	bool any = false;

	for (const struct client *c = su->clients; c; c = c->next)
		any = any || c->watch_ms;
	for (struct sandbox *sb = su->sandboxes; sb; sb = sb->next)
		stats_rewatch_one(sb);
	if (!any)
		after_cancel(&su->host_tick);
	else if (!su->host_tick)
		after_set(&su->host_tick, su->loop, HOST_EVERY_MS, on_host_tick, su);
}

static double ratio(uint64_t a, uint64_t b)
{
	return b ? (double)a / (double)b : 0;
}

static uint64_t grown(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

/* Resident bytes of one process; other users' (and sealed ones') statm may be read too. */
static uint64_t rss_of(const struct kid *k)
{
	char path[64], text[128];
	unsigned long long size, resident;

	if (!k || !k->proc)
		return 0;
	snprintf(path, sizeof(path), "/proc/%ld/statm", (long)proc_pid(k->proc));
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	if (n <= 0)
		return 0;
	text[n] = '\0';
	return sscanf(text, "%llu %llu", &size, &resident) == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* Our own machine's counters; null for QEMU's. */
static json_t *machine_json(const struct vmm_stats *s)
{
	static const char *const exits[] = { "port", "mmio", "signal", "halt", "other" };
	static const char *const devices[] = { "base", "disk", "rng", "vsock", "balloon", "console" };
	_Static_assert(ARRAY_SIZE(exits) == VMM_EXIT_NUM && ARRAY_SIZE(devices) == VMM_DEVICE_NUM, "a name each");
	json_t *e = json_object(), *d = json_object();

	if (!s->detail) {
		json_decref(e);
		json_decref(d);
		return json_null();
	}
	for (size_t i = 0; i < VMM_EXIT_NUM; i++)
		json_object_set_new(e, exits[i], json_integer((json_int_t)s->exits[i]));
	for (size_t i = 0; i < VMM_DEVICE_NUM; i++)
		json_object_set_new(d, devices[i],
				    json_pack("{s:I, s:I}", "requests", (json_int_t)s->requests[i], "interrupts", (json_int_t)s->interrupts[i]));
	return json_pack("{s:o, s:o, s:{s:I, s:I, s:I, s:I}, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I}}", "exits", e, "devices", d, "disk", "read",
			 (json_int_t)s->disk_read, "written", (json_int_t)s->disk_written, "flushes", (json_int_t)s->disk_flushes, "failed",
			 (json_int_t)s->disk_failed, "memory", "target", (json_int_t)s->balloon_target, "actual", (json_int_t)s->balloon_actual, "given",
			 (json_int_t)s->given, "reported", (json_int_t)s->reported, "hinted", (json_int_t)s->hinted, "guest_free", (json_int_t)s->guest_free,
			 "guest_available", (json_int_t)s->guest_available);
}

json_t *sandbox_stats_json(const struct sandbox *sb)
{
	const struct agent_stats *s = &sb->stats, *b = &sb->stats_before;
	char at[32];
	double cpu = 0, host_cpu = 0;

	if (!sb->stats_at_ns)
		return json_null();
	if (sb->stats_before_at_ns)
		cpu = ratio(grown(s->cpu_busy_ns, b->cpu_busy_ns), grown(s->cpu_total_ns, b->cpu_total_ns));
	else
		cpu = ratio(s->cpu_busy_ns, s->cpu_total_ns);
	if (sb->vmm_before_at_ns)
		host_cpu = ratio(grown(sb->vmm_stats.cpu_ns, sb->vmm_stats_before.cpu_ns), grown(sb->vmm_at_ns, sb->vmm_before_at_ns));
	clock_rfc3339(at, sb->stats_wall_ns);
	return json_pack("{s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:I, s:I, s:I, s:o, s:s}", "cpu", cpu > 1 ? 1.0 : cpu, "mem_total",
			 (json_int_t)s->mem_total, "mem_used", (json_int_t)s->mem_used, "mem_cache", (json_int_t)s->mem_cache, "disk_total",
			 (json_int_t)s->disk_total, "disk_used", (json_int_t)s->disk_used, "io_read", (json_int_t)s->io_read, "io_written",
			 (json_int_t)s->io_written, "pids", (json_int_t)s->pids, "load1", s->load1_milli / 1000.0, "host_cpu", host_cpu,
			 "host_rss", (json_int_t)(sb->vmm_stats.rss + rss_of(sb->term) + rss_of(sb->net)), "given_back",
			 (json_int_t)(sb->vmm_stats.given + sb->vmm_stats.reported), "channel_in", (json_int_t)sb->vmm_stats.channel_in, "channel_out",
			 (json_int_t)sb->vmm_stats.channel_out, "machine", machine_json(&sb->vmm_stats), "at", at);
}
