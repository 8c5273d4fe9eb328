/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/review/ground.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/review/undo.h"

void ground_make(struct ground *g)
{
	char at[96];

	/* In memory where there is such a place: hundreds of applies, each of which waits for its disk several times. */
	snprintf(g->dir, sizeof(g->dir), "%s/bulkhead-apply-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(g->dir));
	snprintf(at, sizeof(at), "%s/ws", g->dir);
	assert_int_equal(mkdir(at, 0755), 0);
	g->root = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
	g->rw = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(at, sizeof(at), "%s/undo", g->dir);
	assert_int_equal(mkdir(at, 0700), 0);
	g->store = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(g->root >= 0 && g->rw >= 0 && g->store >= 0);
}

void ground_remove(struct ground *g)
{
	close(g->root);
	close(g->rw);
	close(g->store);
	path_remove_tree(AT_FDCWD, g->dir, NULL);
}

void ground_put(const struct ground *g, const char *path, const char *text, unsigned mode)
{
	AUTO_FD fd = openat(g->rw, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
}

bool ground_has(const struct ground *g, const char *path, const char *text, unsigned mode)
{
	char have[4096];
	struct stat st;
	AUTO_FD fd = openat(g->rw, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	const ssize_t n = fd < 0 ? -1 : read(fd, have, sizeof(have));

	return n == (ssize_t)strlen(text) && memcmp(have, text, strlen(text)) == 0 && fstat(fd, &st) == 0 && (mode == 0 || (st.st_mode & 07777) == mode);
}

bool ground_absent(const struct ground *g, const char *path)
{
	struct stat st;

	return fstatat(g->rw, path, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

size_t ground_count(const struct ground *g, const char *path)
{
	DIR *d = fdopendir(openat(g->rw, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	size_t n = 0;

	assert_non_null(d);
	for (const struct dirent *de; (de = readdir(d));)
		n += strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0;
	closedir(d);
	return n;
}

void ground_look(const struct ground *g, const char *path, struct look *out)
{
	struct place p;

	assert_int_equal(place_open(g->root, path, &p), 0);
	assert_int_equal(place_look(&p, out, NULL), 0);
	place_close(&p);
}

int ground_content(const char *text)
{
	const int fd = fd_memfd("content", text, strlen(text));

	assert_true(fd >= 0);
	return fd;
}

struct apply *ground_begin(const struct ground *g, bool dry)
{
	const struct record_head h = { .kind = RECORD_APPLY, .at_ms = 1, .workspace = "/ws" };
	struct apply *a;

	assert_int_equal(apply_begin(&a, g->root, g->store, &h, dry, NULL), 0);
	return a;
}

enum apply_result ground_apply(const struct ground *g, const struct apply_change *c, struct apply_told *told)
{
	struct apply *a = ground_begin(g, false);
	const enum apply_result r = apply_change(a, c, told);

	apply_end(&a);
	return r;
}

enum apply_result ground_write(const struct ground *g, const char *path, const char *text, unsigned mode, const struct look *expect, struct apply_told *told)
{
	AUTO_FD fd = ground_content(text);
	const struct apply_change c = { .path = path, .to = LOOK_FILE, .mode = (uint16_t)mode, .content = fd, .expect = expect };

	return ground_apply(g, &c, told);
}

uint32_t ground_newest(const struct ground *g)
{
	return undo_newest(g->store, "/ws");
}
