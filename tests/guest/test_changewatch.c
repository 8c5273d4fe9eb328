/* SPDX-License-Identifier: Apache-2.0 */
/* The upper layer that is followed: what is told after very many changes of a few files. With a bound of 8 entries; nothing is mounted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "core/base/path.h"
#include "core/base/str.h"
#include "core/proto/changes.h"
#include "core/proto/frame.h"
#include "guest/workspace.h"

#undef CHANGES_ENTRIES_MAX
#define CHANGES_ENTRIES_MAX 8u
/* What is written in the overlay is not heard here; without it everything would be looked at every second. */
#define fanotify_init(flags, open) eventfd(0, EFD_CLOEXEC)
#define fanotify_mark(fd, flags, mask, at, path) ((void)(mask), 0)
#include "guest/changewatch.c"

static char top[32];

void workspace_layer(const char *path, char dst[64])
{
	str_copy(dst, 64, path);
}

int changes_look(const char *root, struct changes_entry *m)
{
	AUTO_FREE char *full = str_fmt("%s/%s", root, m->path);
	struct stat st;

	assert_non_null(full);
	if (lstat(full, &st) < 0)
		return -errno;
	m->type = S_ISDIR(st.st_mode) ? CHANGES_DIR : CHANGES_FILE;
	m->mode = st.st_mode & 07777;
	m->nlink = 1;
	m->size = (uint64_t)st.st_size;
	m->opaque = 0;
	m->redirect[0] = m->link[0] = '\0';
	return 0;
}

static void touch(const char *name, unsigned size)
{
	char at[96];

	snprintf(at, sizeof(at), "%s/upper/%s", top, name);
	AUTO_FD fd = open(at, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
}

struct host { int fd; struct buf in; };

/* Until an entry of this name and size is told, or `ms` are over. */
static bool hears(struct host *h, const char *name, uint64_t size, unsigned ms)
{
	static struct changes_entry e;
	const uint64_t until = clock_ms() + ms;
	struct pollfd p = { .fd = h->fd, .events = POLLIN };
	struct frame f;
	struct rbuf r;
	size_t used;

	for (;;) {
		while (frame_parse(buf_head(&h->in), buf_size(&h->in), CHANGES_FRAME_MAX, &f, &used) == 0) {
			rbuf_init(&r, f.payload, f.len);
			const bool is = f.type == CHANGES_ENTRY && changes_entry_unpack(&r, &e) == 0 && strcmp(e.path, name) == 0 && e.size == size;

			buf_consume(&h->in, used);
			if (is)
				return true;
		}
		const uint64_t now = clock_ms();
		uint8_t *to = buf_reserve(&h->in, 4096);
		if (now >= until || !to || poll(&p, 1, (int)(until - now)) <= 0)
			return false;
		const ssize_t n = read(h->fd, to, 4096);
		if (n <= 0)
			return false;
		buf_grew(&h->in, (size_t)n);
	}
}

static void a_few_files_changed_very_often(void **state)
{
	struct workspace w = { .mode = WORKSPACE_REVIEW };
	struct host h;
	char at[64];
	int pair[2];

	(void)state;
	snprintf(top, sizeof(top), "/tmp/bh-watch-XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(at, sizeof(at), "%s/upper", top);
	assert_int_equal(mkdir(at, 0755), 0);
	snprintf(w.path, sizeof(w.path), "%s", top);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	const pid_t pid = fork();
	if (pid == 0) {
		close(pair[0]);
		changes_watch(pair[1], &w);
		_exit(0);
	}
	close(pair[1]);
	h.fd = pair[0];
	buf_init(&h.in, 1 << 20);
	/* More often than there may be entries, each told before the next: then still, and something new too. */
	for (unsigned i = 1; i <= CHANGES_ENTRIES_MAX + 4; i++) {
		touch("same", i);
		assert_true(hears(&h, "same", i, 10000));
	}
	touch("new", 7);
	assert_true(hears(&h, "new", 7, 10000));
	close(h.fd);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	buf_release(&h.in);
	path_remove_tree(AT_FDCWD, top, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_few_files_changed_very_often) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
