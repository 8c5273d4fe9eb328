/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fuzz target is one function over foreign bytes. Built with --enable-fuzzers (clang) libFuzzer drives it; in every other build
 * replay.c does, with the corpus, as a unit test. What must hold is said with MUST(): beyond "no crash" mostly "what was taken packs to
 * the very bytes it came from".
 *
 * A new target: tests/fuzz/fuzz_NAME.c, a few small files in tests/fuzz/corpus/NAME/ and two lines in Makefile.am.
 */
#ifndef BULKHEAD_TESTS_FUZZ_H
#define BULKHEAD_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define MUST(condition)                                                                    \
	do {                                                                               \
		if (!(condition)) {                                                        \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                           \
		}                                                                          \
	} while (0)

#endif
