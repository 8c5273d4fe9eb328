/* SPDX-License-Identifier: Apache-2.0 */
/* What writing and reading the chain share: names, hashes. Any thread. */
#ifndef BULKHEAD_SUPERVISOR_CHAINFILE_H
#define BULKHEAD_SUPERVISOR_CHAINFILE_H

#include <stddef.h>
#include <stdint.h>

#include "core/supervisor/chain.h"

#define CHAIN_NAME 32u

void chain_name(char name[CHAIN_NAME], uint64_t first);
void chain_hash(const void *p, size_t n, char hex[CHAIN_HEX]);
/* First numbers of the files that are there, ascending; the newest when there are more than `max`. */
size_t chain_files(int dirfd, uint64_t *firsts, size_t max);
/* `prev` of a file's first record; 0 or -EBADMSG (then zeros). */
int chain_first_prev(int dirfd, uint64_t first, char prev[CHAIN_HEX]);

#endif
