/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the credentials share: secrets.c the list and what is given to sandboxes, secretvalue.c where values come from and
 * where they are kept, api_secret.c what a person asks.
 *
 *   STATE/secrets/secrets.json   the list, no values; replaced atomically
 *   STATE/secrets/TAG.value      a value that no Secret Service took, mode 0600
 *   STATE/secrets/env            names of variables that values come from, one a line
 *   STATE/secrets/key            what placeholders are derived from
 */
#ifndef BULKHEAD_SUPERVISOR_SECRETLIST_H
#define BULKHEAD_SUPERVISOR_SECRETLIST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/str.h"
#include "core/secret/held.h"
#include "core/secret/service.h"
#include "core/supervisor/secrets.h"

#define SECRETS_MAX 512u
#define SECRET_ARGS_MAX 32u
#define SECRET_REFRESH_S 3600u
#define SECRET_REFRESH_MIN_S 10u
#define SECRET_REFRESH_MAX_S 86400u

struct after;
struct call;
struct run;

enum secret_source { SECRET_STORED, SECRET_ENV, SECRET_COMMAND, SECRET_SOURCE_NUM };
extern const char *const secret_source_name[SECRET_SOURCE_NUM];

struct secret {
	struct secret *next;
	struct secrets *all;
	uint32_t id;
	char service[64];
	char sandbox[NAME_MAX_LEN + 1]; /* "" every one */
	uint8_t source;
	bool in_service;         /* STORED: the Secret Service has it, not a file */
	char tag[33];            /* random: names the file or the item; STORED only */
	char env[64];
	json_t *argv;            /* COMMAND: array of strings; owned */
	uint32_t refresh_s;
	uint64_t updated_ns;
	char masked[24];
	/* Not on disk: */
	struct held *value;      /* NULL: not fetched */
	struct run *run;         /* fetching */
	struct after *timer;     /* of the next fetch */
	unsigned failures;
	char why[320];           /* the last fetch failed with this; "" */
};

/* A request under way: a value is being tried, stored or deleted. */
struct op {
	struct op *next;
	struct secrets *all;
	struct secret *secret;   /* new, not in the list yet; owned; NULL for a deletion */
	struct call *call;       /* NULL: nobody waits */
	struct run *run;
	char notice[512];
	void (*probed)(struct op *o);
	void (*then)(struct op *o, const struct err *e); /* after storing or trying */
};

enum keeper { KEEPER_UNKNOWN, KEEPER_SERVICE, KEEPER_FILE };

struct secrets {
	struct super *su;
	int dirfd;
	char broken[400];        /* the list cannot be read: nothing is given, nothing changed; "" */
	uint8_t key[32];
	uint32_t next_id;
	struct secret *list;     /* in the order of id */
	struct services services;
	uint64_t services_mtime_ns; /* of the person's services.yaml; 0 none */
	char services_error[512];
	enum keeper keeper;
	uint64_t keeper_until_ms;
	char keeper_why[256];    /* why there is no Secret Service */
	struct op *ops;
};

/* secrets.c */
struct secret *secret_find(struct secrets *all, const char *service, const char *sandbox);
int secrets_save(struct secrets *all, struct err *e);
void secret_destroy(struct secret *s);
/* Puts it into the list under the id of the one it replaces (unlinked and returned in *old), or a new id. */
void secret_insert(struct secrets *all, struct secret *s, struct secret **old);
void secret_unlink(struct secret *s);
void secrets_tell(struct secrets *all, const char *sandbox);
/* Reads the person's services.yaml again when it changed. */
void secrets_reload(struct secrets *all);
bool secret_applies(const struct secret *s, const struct sandbox *sb);
/* Some sandbox with a machine has a use for it. */
bool secret_used(const struct secret *s);

/* secretvalue.c */
/* Has the value ready (true) or begins to fetch it, unless it failed lately. Never calls secrets_tell() itself. */
bool secret_ready(struct secret *s);
void secret_plan(struct secret *s); /* a command's value was fetched just now: the next time by the clock */
void secret_drop(struct secret *s); /* wipes the value, forgets what is planned */
/* Finds out where values are kept (all->keeper), then calls `probed`. */
void keeper_probe(struct op *o, void (*probed)(struct op *o));
/* Keeps o->secret->value, then calls `then` (perhaps at once); e->code tells. The Secret Service first; a file with o->notice set where that is not to be had. */
void keeper_store(struct op *o, void (*then)(struct op *o, const struct err *e));
void keeper_delete(struct secrets *all, const struct secret *s);
/* Runs a command to see whether it gives a value, which becomes o->secret->value. */
void command_try(struct op *o, void (*then)(struct op *o, const struct err *e));
struct op *op_create(struct secrets *all);
void op_destroy(struct op *o); /* cancels what runs; the call is answered as failed when it still waits */

#endif
