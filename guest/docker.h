/* SPDX-License-Identifier: Apache-2.0 */
/* dockerd's keeper: starts it in the background, asks for its health, starts it again when it dies, and tells of every change. */
#ifndef BULKHEAD_GUEST_DOCKER_H
#define BULKHEAD_GUEST_DOCKER_H

#include <stdbool.h>
#include <sys/types.h>

#include "core/proto/agent.h"

/* `changed` is called on every change of *docker_state(), from now on. */
void docker_init(void (*changed)(void));
/* Once, when its network is there. */
void docker_start(void);
const struct agent_docker *docker_state(void);
bool docker_reaped(pid_t pid, int status);
/* SIGTERM and no restart; true when there was one to end. */
bool docker_stop(void);
bool docker_running(void);
/* Asks for the containers; `done` is called later with the answer (empty when docker is not ready). One question at a time: else false. */
bool docker_containers(void (*done)(const struct agent_containers *c));
/* The answer of GET /containers/json?all=1. Pure; what does not fit is cut. 0, -EBADMSG. */
int docker_parse_containers(const char *p, size_t n, struct agent_containers *out);

#endif
