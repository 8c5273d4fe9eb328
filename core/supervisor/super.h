/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor holds: one struct, passed everywhere; there is no file-scope state. Everything runs on the loop's thread. */
#ifndef BULKHEAD_SUPERVISOR_SUPER_H
#define BULKHEAD_SUPERVISOR_SUPER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "core/base/err.h"
#include "core/supervisor/config.h"
#include "core/supervisor/limits.h"
#include "core/supervisor/probe.h"
#include "core/supervisor/store.h"

struct after;
struct audit;
struct asks;
struct client;
struct listener;
struct policy;
struct sandbox;
struct secrets;
struct signer;
struct wait;

/* The lifecycle log: JSON lines, capped at LIFELOG_CAP and rotated once. */
#define LIFELOG_CAP (2u << 20)
struct lifelog {
	int dirfd; /* state directory; -1 before it is open */
	int fd;
	uint64_t size;
};

struct super {
	uv_loop_t *loop;
	char *runtime, *state; /* owned paths */
	int sb_dirfd;          /* runtime/sb */
	struct store store;
	struct config config;
	char config_error[512]; /* sentence when config.yaml was refused, else "" */
	char boot_id[40];
	struct sandbox *sandboxes; /* sorted by name */
	uint32_t nsandboxes;

	int lock_fd;
	struct listener *listener; /* NULL until adoption is over */
	struct client *clients;
	uint32_t nclients;
	struct wait *waits;
	uint64_t seq; /* of the last event */
	struct asks *asks; /* ask.c; NULL before the first */
	uint32_t rules_version; /* last sent to any bulkhead-net */
	uint32_t next_port;
	struct lifelog lifelog;
	struct audit *audit;     /* NULL while it cannot be opened: tried again with the next record */
	uint64_t audit_tried_ns;
	struct policy *policy;   /* from policy_open() to policy_close() */
	struct signer *signer;   /* NULL until first needed */
	struct secrets *secrets; /* NULL until they are open */
	/* A sandbox's credentials changed (NULL: everybody's): tell its bulkhead-net. May be NULL. */
	void (*secrets_changed)(struct super *su, struct sandbox *sb);

	uv_idle_t defer; /* runs once after a turn in which something asked for it: super_defer() */
	bool deferred;
	struct probe probe;      /* of this host; asked once */
	struct after *host_tick; /* while somebody watches statistics */
	uint32_t adopting;       /* sandboxes whose children have not told everything yet; no request is served before 0 */
	struct after *adopt_deadline;
	bool shutting_down; /* supervisor.shutdown: ends when no sandbox has a machine */
	bool ended;
};

/* Have super_turn() run once before the loop sleeps again. */
void super_defer(struct super *su);
/* What is done once after a turn: events of touched sandboxes, removals, waiting calls. */
void super_turn(struct super *su);
/* Adoption is over: listen. */
void super_serve(struct super *su);
/* Leave the loop. With `children`, the terminals (which hold no machine) are ended too; else children go on. */
void super_end(struct super *su, bool children);
/* limits_host() and what is promised here. `except` is not counted. */
void super_host(struct super *su, struct host_facts *h, const struct sandbox *except);

#endif
