/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives a fuzz target where there is no libFuzzer: every file of its corpus, every prefix of it, every file with one bit flipped, and
 * a fixed sequence of random bytes. TAP, one case a file. With file names: those alone. The corpus lies in tests/fuzz/corpus/NAME for program fuzz_NAME.
 */
#include "tests/fuzz/fuzz.h"

#ifndef BULKHEAD_LIBFUZZER

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/str.h"

#define INPUT_MAX (1u << 20)
#define FLIPS_MAX 2048u  /* bytes of a file that are flipped bit by bit */
#define CUTS_MAX 8192u   /* prefixes tried */
#define RANDOM_ROUNDS 20000

/* From a heap block of just that size: a read beyond is seen by AddressSanitizer. */
static void feed(const uint8_t *p, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	MUST(copy);
	if (n > 0)
		memcpy(copy, p, n);
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

static void feed_variants(uint8_t *p, size_t n)
{
	feed(p, n);
	for (size_t cut = 0; cut < n && cut < CUTS_MAX; cut++)
		feed(p, cut);
	for (size_t bit = 0; bit < 8 * n && bit < 8 * FLIPS_MAX; bit++) {
		p[bit / 8] ^= (uint8_t)(1u << bit % 8);
		feed(p, n);
		p[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

/* fuzz_NAME FILE...: just these, as they are (what a fuzzer found). */
static int feed_files(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct err e = ERR_INIT;
		struct buf b;

		buf_init(&b, INPUT_MAX);
		if (atomicfile_read(AT_FDCWD, argv[i], &b, &e) < 0) {
			fprintf(stderr, "%s\n", e.msg);
			return 1;
		}
		feed(b.data, buf_size(&b));
		buf_release(&b);
	}
	return 0;
}

static void feed_random(void)
{
	uint32_t seed = 1;

	for (int round = 0; round < RANDOM_ROUNDS; round++) {
		uint8_t p[64];

		for (size_t i = 0; i < sizeof(p); i++) {
			seed = seed * 1664525 + 1013904223;
			p[i] = (uint8_t)(seed >> 24);
		}
		feed(p, seed % (sizeof(p) + 1));
	}
}

int main(int argc, char **argv)
{
	const char *base = strrchr(argv[0], '/');
	const char *name = base ? base + 1 : argv[0];
	struct dirent **files;
	int failed = 0;

	if (argc > 1)
		return feed_files(argc, argv);
	AUTO_FREE char *dir = str_fmt("%s/tests/fuzz/corpus/%s", SOURCEDIR, str_starts(name, "fuzz_") ? name + 5 : name);
	const int n = dir ? scandir(dir, &files, NULL, alphasort) : -1;
	AUTO_FD dirfd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (n < 3 || dirfd < 0) {
		printf("1..1\nnot ok 1 - no corpus in %s\n", dir ? dir : "?");
		return 1;
	}
	printf("1..%d\n", n - 1);
	for (int i = 2, k = 1; i < n; i++, k++) { /* behind "." and ".." */
		struct err e = ERR_INIT;
		struct buf b;

		buf_init(&b, INPUT_MAX);
		if (atomicfile_read(dirfd, files[i]->d_name, &b, &e) < 0) {
			printf("not ok %d - %s: %s\n", k, files[i]->d_name, e.msg);
			failed = 1;
		} else {
			feed_variants(b.data, buf_size(&b));
			printf("ok %d - %s, every prefix and bit of it\n", k, files[i]->d_name);
		}
		fflush(stdout);
		buf_release(&b);
	}
	feed_random();
	printf("ok %d - random bytes\n", n - 1);
	for (int i = 0; i < n; i++)
		free(files[i]);
	free(files);
	return failed;
}

#endif
