/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BULKHEAD_CLI_DIFFERS_H
#define BULKHEAD_CLI_DIFFERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * In what a sandbox that is there is not as it was asked for: "it has 2 CPUs, not 4; ..." into dst, cut at its end; false: in nothing. `p` are
 * parameters of sandbox.create, in which only what was asked for stands; `sb` is the answer of sandbox.get.
 */
bool differs(char *dst, size_t cap, const json_t *p, const json_t *sb);

#endif
