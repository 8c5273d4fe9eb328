/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's roots for containers. dockerd finds this program as `runc` in front of the real one: it adds to a container's configuration
 * what makes it trust what the sandbox trusts, and becomes the real runc. Nothing of an image changes: a read-only mount below /dev
 * (which is the container's own memory) holds the container's own store with the added roots behind it, and variables that are not set
 * otherwise name it. `docker run`, `docker exec`, compose and the steps of `docker build` all pass here. Without added roots, or when
 * anything is not as expected, the container is as it would have been.
 */
#ifndef BULKHEAD_GUEST_RUNC_H
#define BULKHEAD_GUEST_RUNC_H

#include <jansson.h>

#define RUNC_BIN "/run/bulkhead/bin" /* in front of dockerd's PATH */
#define RUNC_MOUNT "/dev/.bulkhead"  /* in a container */

/* Makes RUNC_BIN. */
void runc_init(void);
/* argv as runc's. */
_Noreturn void runc_main(char **argv);

/* The parts of a command line: "create" or "run" with its bundle, "exec" with its process file; pointers into argv. Pure. */
struct runc_call { const char *command, *bundle, *process; };
void runc_parse(char *const *argv, struct runc_call *out);
/* Adds the mount of `source` and the variables to a config.json; -EINVAL when it is none. Pure. */
int runc_add(json_t *config, const char *source);
/* Adds the variables to a process (of config.json, or of exec's file); those that are there stay. Pure. */
int runc_add_env(json_t *process);

#endif
