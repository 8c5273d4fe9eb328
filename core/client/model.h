/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state tree a dashboard draws from: what the supervisor told, nothing more. Fed with the answer of `events.subscribe` and
 * with every event; everything is copied, bounded and scrubbed again on the way in (names and titles come from guests). Lookup
 * pointers live until the next model_* call that changes it.
 */
#ifndef BULKHEAD_CLIENT_MODEL_H
#define BULKHEAD_CLIENT_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/str.h"
#include "core/client/auditmodel.h"
#include "core/client/diffmodel.h"
#include "core/client/netmodel.h"

#define MODEL_HISTORY 240  /* samples of statistics kept a sandbox */
#define MODEL_LOG_MAX 2000 /* log lines kept */
#define MODEL_TOP_MAX 32
#define MODEL_CONTAINERS_MAX 64
#define MODEL_TAIL_MAX 20

enum model_state { MS_NEW, MS_PREPARING, MS_STARTING, MS_RUNNING, MS_PAUSED, MS_RESETTING, MS_STOPPING, MS_STOPPED, MS_FAILED, MS_NUM };
enum model_session_state { MSS_OPENING, MSS_BUSY, MSS_IDLE, MSS_WAITS, MSS_EXITED, MSS_FAILED, MSS_NUM };
enum model_docker { MD_OFF, MD_STARTING, MD_READY, MD_FAILED, MD_NUM };

enum model_noticed { NOTICED_NOT, NOTICED_CALM, NOTICED_WAITS };

struct model_session {
	uint32_t id;
	bool pty;
	enum model_session_state state;
	uint16_t rows, cols, viewers;
	uint32_t pid, code, signo;
	uint64_t bytes_out;
	char label[64], title[256];
};

struct model_stats {
	double cpu;       /* 0..1 of the sandbox's vCPUs */
	double host_cpu;  /* cores */
	double load1;
	uint64_t mem_total, mem_used, mem_cache, disk_total, disk_used, io_read, io_written, host_rss, given_back, channel_in, channel_out;
	uint32_t pids;
};

struct model_proc { uint32_t pid, uid; double cpu; uint64_t rss; char comm[64], container[16]; };
struct model_container { char id[16], name[128], image[256], state[16], status[64]; };

struct model_sandbox {
	char name[NAME_MAX_LEN + 1], kit[32];
	char *path;               /* NULL none */
	enum model_state state;
	uint32_t generation, cpus;
	uint64_t memory, disk, disk_used;
	char reason[512], created[32], started[32], backend[16];
	bool remove_on_stop, waits;
	char asks_text[256];      /* the client's: what it said last when it asked for the person; "" nothing */
	enum model_noticed noticed; /* the client's: whether the person was told that it waits */
	struct model_net net;
	struct model_changes changes;
	enum model_docker docker;
	char docker_why[256], kernel[128], agent[64];
	struct model_session *sessions; /* owned, by id */
	size_t nsessions;
	bool has_stats;
	struct model_stats stats;
	float cpu_history[MODEL_HISTORY], mem_history[MODEL_HISTORY], in_history[MODEL_HISTORY], out_history[MODEL_HISTORY]; /* 0..1; in/out bytes a second */
	size_t nhistory;          /* newest is [nhistory - 1] */
	struct model_proc top[MODEL_TOP_MAX];
	size_t ntop;
	struct model_container containers[MODEL_CONTAINERS_MAX];
	size_t ncontainers;
	char *tail[MODEL_TAIL_MAX]; /* console's last lines when FAILED */
	size_t ntail;
};

struct model_log { uint64_t at_ms; int level; /* enum log_level */ char name[NAME_MAX_LEN + 1]; char *text; };

struct model_host { uint32_t cpus, sandboxes, running; uint64_t memory_total, memory_available, memory_promised; };

struct model_attention { uint64_t n; /* counts up; 0 none yet */ char name[NAME_MAX_LEN + 1]; uint32_t session; char what[16]; char text[256]; };

struct model {
	struct model_sandbox **sandboxes; /* owned, by name */
	size_t nsandboxes;
	struct model_host host;
	struct model_log log[MODEL_LOG_MAX]; /* ring */
	size_t log_first, nlog;
	struct model_attention attention;    /* the last */
	struct netmodel net;
	struct diffmodel diff;
	char trouble[256];                   /* why the state could not be had; "" it was */
	struct auditmodel audit;
	uint64_t seq;
	uint64_t version;                    /* counts every change: nothing to draw when equal */
};

struct model *model_create(void);
void model_destroy(struct model *m);
/* The answer of events.subscribe: replaces the sandboxes and the host (histories of those that stay are kept). */
void model_subscribed(struct model *m, const json_t *result);
/* It was refused: what is there says nothing about what is. */
void model_not_subscribed(struct model *m, const char *why);
/* One event; unknown kinds and ill-formed ones are ignored. */
void model_event(struct model *m, const json_t *event);
/* A record of log.read is taken like a `log` event. */
void model_log_add(struct model *m, const json_t *record);
void model_log_clear(struct model *m);
struct model_sandbox *model_find(const struct model *m, const char *name);
const struct model_session *model_session_find(const struct model_sandbox *sb, uint32_t id);
const char *model_state_word(enum model_state s);
const char *model_session_word(enum model_session_state s);

#endif
