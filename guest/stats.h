/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tells of the machine and its processes: /proc, /sys/block, statvfs. The parsers are pure. */
#ifndef BULKHEAD_GUEST_STATS_H
#define BULKHEAD_GUEST_STATS_H

#include <stddef.h>

#include "core/proto/agent.h"

void stats_collect(struct agent_stats *s);
/* The busiest processes since the last call (first call: since each began). */
void stats_top(struct agent_top *t);

void stats_parse_cpu(const char *proc_stat, struct agent_stats *s);
void stats_parse_mem(const char *meminfo, struct agent_stats *s);
void stats_parse_load(const char *loadavg, struct agent_stats *s);
/* "0::/docker/<64 hex>" -> the first 12 digits; "" otherwise. */
void stats_parse_container(const char *cgroup, char dst[16]);

#endif
