/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/stats.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "guest/boot.h"

#define TICK_NS UINT64_C(10000000) /* USER_HZ is 100 in every Linux ABI */
#define KNOWN_MAX 4096

static const char *slurp(const char *path, char *text, size_t cap)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	const ssize_t n = fd >= 0 ? read(fd, text, cap - 1) : 0;

	text[n > 0 ? n : 0] = '\0';
	return text;
}

void stats_parse_cpu(const char *p, struct agent_stats *s)
{
	unsigned long long v[8] = { 0 };

	s->cpu_busy_ns = s->cpu_total_ns = 0;
	s->vcpus = 0;
	if (sscanf(p, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]) < 4)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		s->cpu_total_ns += v[i] * TICK_NS;
		if (i != 3 && i != 4) /* idle, iowait */
			s->cpu_busy_ns += v[i] * TICK_NS;
	}
	for (const char *at = strstr(p, "\ncpu"); at && at[4] >= '0' && at[4] <= '9'; at = strstr(at + 1, "\ncpu"))
		s->vcpus++;
}

static uint64_t mem_line(const char *p, const char *name)
{
	const char *at = strstr(p, name);

	return at ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

void stats_parse_mem(const char *p, struct agent_stats *s)
{
	const uint64_t available = mem_line(p, "MemAvailable:");

	s->mem_total = mem_line(p, "MemTotal:");
	s->mem_used = s->mem_total > available ? s->mem_total - available : 0;
	s->mem_cache = mem_line(p, "\nCached:") + mem_line(p, "\nBuffers:");
}

void stats_parse_load(const char *p, struct agent_stats *s)
{
	unsigned whole = 0, part = 0, running = 0, total = 0;

	if (sscanf(p, "%u.%u %*s %*s %u/%u", &whole, &part, &running, &total) >= 2)
		s->load1_milli = whole * 1000 + part * 10;
	s->pids = total;
}

void stats_collect(struct agent_stats *s)
{
	static char text[32768];
	struct timespec t;
	struct statvfs v;

	memset(s, 0, sizeof(*s));
	clock_gettime(CLOCK_BOOTTIME, &t);
	s->up_ns = (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
	stats_parse_cpu(slurp("/proc/stat", text, sizeof(text)), s);
	stats_parse_mem(slurp("/proc/meminfo", text, sizeof(text)), s);
	stats_parse_load(slurp("/proc/loadavg", text, sizeof(text)), s);
	if (statvfs(BOOT_DISK_PATH, &v) == 0) {
		s->disk_total = (uint64_t)v.f_blocks * v.f_frsize;
		s->disk_used = (uint64_t)(v.f_blocks - v.f_bfree) * v.f_frsize;
	}
	AUTO_FREE char *path = str_fmt("/sys/block/%s/stat", boot_disk_name());
	unsigned long long rd = 0, wr = 0;
	/* Fields 3 and 7: sectors of 512 bytes (Documentation/block/stat.rst). */
	if (path && sscanf(slurp(path, text, sizeof(text)), "%*u %*u %llu %*u %*u %*u %llu", &rd, &wr) == 2) {
		s->io_read = rd * 512;
		s->io_written = wr * 512;
	}
}

/* ---- processes -------------------------------------------------------------------------------------------------------------- */

struct known {
	uint32_t pid;
	uint64_t ticks, seen; /* seen: number of the round */
};

static struct known known[KNOWN_MAX];
static uint64_t round_no, last_ns;

void stats_parse_container(const char *p, char dst[16])
{
	const char *at = strstr(p, "/docker/");

	dst[0] = '\0';
	if (!at)
		return;
	at += strlen("/docker/");
	if (strspn(at, "0123456789abcdef") < 12)
		return;
	memcpy(dst, at, 12);
	dst[12] = '\0';
}

/* Ticks since the last round; the table is open-addressed and forgets whoever it has no place for. */
static uint64_t since_last(uint32_t pid, uint64_t ticks)
{
	for (uint32_t i = 0; i < 16; i++) {
		struct known *k = &known[(pid * 2654435761u + i) % KNOWN_MAX];
		const bool same = k->pid == pid && k->seen + 1 == round_no;

		if (!same && k->seen + 1 >= round_no && k->pid != 0)
			continue;
		const uint64_t before = same && k->ticks <= ticks ? k->ticks : ticks;

		*k = (struct known){ .pid = pid, .ticks = ticks, .seen = round_no };
		return ticks - before;
	}
	return 0;
}

static bool read_proc(uint32_t pid, struct agent_proc *p, uint64_t *ticks)
{
	char path[64], text[1024];
	unsigned long long utime, stime, rss;
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	const char *stat_text = slurp(path, text, sizeof(text));
	const char *open_ = strchr(stat_text, '('), *close_ = strrchr(stat_text, ')');
	if (!open_ || !close_ || sscanf(close_ + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %*u %*u %llu",
					&utime, &stime, &rss) != 3)
		return false;
	memset(p, 0, sizeof(*p));
	p->pid = pid;
	p->rss = rss * 4096;
	*ticks = utime + stime;
	snprintf(p->comm, sizeof(p->comm), "%.*s", (int)(close_ - open_ - 1), open_ + 1);
	snprintf(path, sizeof(path), "/proc/%u", pid);
	if (stat(path, &st) == 0)
		p->uid = st.st_uid;
	return p->rss > 0; /* a kernel thread has none, and is nobody's business here */
}

static void insert(struct agent_top *t, const struct agent_proc *p)
{
	size_t at = t->n;

	while (at > 0 && (t->proc[at - 1].cpu_milli < p->cpu_milli ||
			  (t->proc[at - 1].cpu_milli == p->cpu_milli && t->proc[at - 1].rss < p->rss)))
		at--;
	if (at >= AGENT_TOP_MAX)
		return;
	const size_t last = t->n < AGENT_TOP_MAX ? t->n : AGENT_TOP_MAX - 1;
	memmove(&t->proc[at + 1], &t->proc[at], (last - at) * sizeof(*p));
	t->proc[at] = *p;
	if (t->n < AGENT_TOP_MAX)
		t->n++;
}

void stats_top(struct agent_top *t)
{
	const uint64_t now = clock_ns(), elapsed = last_ns ? now - last_ns : 0;
	DIR *d = opendir("/proc");
	uint64_t pid, ticks;

	t->n = 0;
	round_no++;
	last_ns = now;
	for (struct dirent *de; d && (de = readdir(d));) {
		struct agent_proc p;

		if (str_u64(de->d_name, 1, UINT32_MAX, &pid) < 0 || !read_proc((uint32_t)pid, &p, &ticks))
			continue;
		const uint64_t used = since_last((uint32_t)pid, ticks);
		p.cpu_milli = elapsed ? (uint32_t)(used * TICK_NS * 1000 / elapsed) : 0;
		insert(t, &p);
	}
	if (d)
		closedir(d);
	for (size_t i = 0; i < t->n; i++) {
		char path[64], text[1024];

		snprintf(path, sizeof(path), "/proc/%u/cgroup", t->proc[i].pid);
		stats_parse_container(slurp(path, text, sizeof(text)), t->proc[i].container);
	}
}
