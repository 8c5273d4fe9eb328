/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor's part of config.yaml (bulkhead(5)): one mapping of keys to plain values. A file with a wrong value is refused as a whole, with
 * one sentence that names line and column, and the defaults stay in force. Keys of the dashboard are skipped; one that nobody knows is told and
 * the rest is used.
 */
#ifndef BULKHEAD_SUPERVISOR_CONFIG_H
#define BULKHEAD_SUPERVISOR_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

#define CONFIG_FILE_MAX (256u * 1024u)

struct config {
	uint64_t scrollback;    /* lines a terminal */
	uint64_t record_cap;    /* bytes a session; 0 = no recordings */
	uint64_t cpus, memory, disk; /* of a sandbox that does not say */
	uint64_t max_sandboxes, max_running;
	uint64_t max_memory;    /* bytes promised to running sandboxes together; 0 = nine tenths of the host's */
	uint64_t hugepages;     /* enum vmm_pages: 0 none, 1 where the host likes to, 2 of the host's pool */
	uint64_t disk_reserve;  /* bytes that must be free before a disk is made */
	uint64_t stop_ms;       /* orderly stop, then forced */
	uint64_t boot_ms;       /* from start to the guest agent's answer */
	uint64_t ask_ms;        /* how long a connection waits for a person */
	char dns[256];          /* resolvers for sandboxes' names, "address:port,..."; "" the host's */
	char ca_file[1024];     /* PEM: more roots that upstream servers are checked against; "" none */
};

void config_defaults(struct config *c);
/* 0; 1 with a sentence about a key that is none; or -EINVAL and c is as config_defaults() leaves it. */
int config_parse(struct config *c, const char *text, size_t n, struct err *e);
/* Reads $XDG_CONFIG_HOME/bulkhead/config.yaml; a missing file is 0. */
int config_load(struct config *c, struct err *e);

#endif
