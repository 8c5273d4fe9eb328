/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors, sockets, files that are replaced, the places of things. Each test works in a directory of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/atomicfile.h"
#include "core/base/environ.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/sock.h"
#include "core/base/str.h"

struct place {
	char dir[64];
	int fd;
};

static int set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	if (!p)
		return -1;
	memcpy(p->dir, "/tmp/bh-files-XXXXXX", 21);
	if (!mkdtemp(p->dir))
		return -1;
	p->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = p;
	return p->fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	struct place *p = *state;
	struct err e;

	close(p->fd);
	const int rc = path_remove_tree(AT_FDCWD, p->dir, &e);
	free(p);
	return rc;
}

/* Open descriptors of this process. */
static int open_count(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void touch(int dirfd, const char *name, const char *text)
{
	AUTO_FD fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
}

static void descriptors_travel(void **state)
{
	const int before = open_count();
	int pair[2], fds[FD_PASS_MAX], sent[FD_PASS_MAX];
	size_t nfds = 99;
	char text[8];

	(void)state;
	assert_int_equal(fd_pair(SOCK_SEQPACKET, pair), 0);
	assert_true(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(pair[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(fd_recv(pair[1], text, sizeof(text), fds, &nfds), -EAGAIN);
	assert_int_equal(nfds, 0);
	for (size_t i = 0; i < FD_PASS_MAX; i++)
		assert_true((sent[i] = open("/dev/null", O_RDONLY)) >= 0); /* without CLOEXEC */
	assert_int_equal(fd_send(pair[0], "hi", 2, sent, FD_PASS_MAX), 2);
	assert_int_equal(fd_send(pair[0], "hi", 2, sent, FD_PASS_MAX + 1), -EINVAL);
	assert_int_equal(fd_recv(pair[1], text, sizeof(text), fds, &nfds), 2);
	assert_int_equal(nfds, FD_PASS_MAX);
	for (size_t i = 0; i < nfds; i++) {
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		fd_close(&fds[i]);
		assert_int_equal(fds[i], -1);
	}
	/* A datagram that was cut takes its descriptors with it. */
	const int here = open_count();
	assert_int_equal(fd_send(pair[0], "longer than it", 14, sent, 3), 14);
	assert_int_equal(fd_recv(pair[1], text, 4, fds, &nfds), -EMSGSIZE);
	assert_int_equal(nfds, 0);
	assert_int_equal(open_count(), here);
	fd_close(&pair[0]);
	assert_int_equal(fd_recv(pair[1], text, sizeof(text), fds, &nfds), 0);
	assert_int_equal(fd_send(pair[1], "x", 1, NULL, 0), -EPIPE); /* and no SIGPIPE */
	fd_close(&pair[1]);
	for (size_t i = 0; i < FD_PASS_MAX; i++)
		close(sent[i]);
	assert_int_equal(open_count(), before);
}

static void full_reads_and_writes(void **state)
{
	struct place *p = *state;
	char text[8] = { 0 };
	int pipes[2];

	AUTO_FD fd = openat(p->fd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, "abcdef", 6), 0);
	assert_int_equal(fd_pwrite_full(fd, "XY", 2, 1), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(fd_read_full(fd, text, 6), 0);
	assert_string_equal(text, "aXYdef");
	assert_int_equal(fd_read_full(fd, text, 1), -ENODATA);
	assert_int_equal(fd_write_full(-1, "a", 1), -EBADF);
	/* Both directions through a pipe that holds less than what is written. */
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	const size_t n = 1 << 20;
	uint8_t *big = calloc(1, n);
	assert_non_null(big);
	const pid_t child = fork();
	if (child == 0)
		_exit(fd_write_full(pipes[1], big, n) == 0 ? 0 : 1);
	close(pipes[1]);
	assert_int_equal(fd_read_full(pipes[0], big, n), 0);
	assert_int_equal(fd_read_full(pipes[0], big, 1), -ENODATA);
	close(pipes[0]);
	free(big);
}

static void memfds_are_sealed(void **state)
{
	char text[4] = { 0 };

	(void)state;
	AUTO_FD fd = fd_memfd("m", "abc", 3);
	assert_true(fd >= 0);
	assert_int_equal(fd_read_full(fd, text, 3), 0);
	assert_string_equal(text, "abc");
	assert_int_equal(fd_pwrite_full(fd, "x", 1, 0), -EPERM);
	assert_int_equal(ftruncate(fd, 0), -1);
}

static void files_are_replaced_whole(void **state)
{
	struct place *p = *state;
	struct buf b;
	struct err e;
	struct stat st;

	buf_init(&b, 10);
	assert_int_equal(atomicfile_write(p->fd, "s.json", "first", 5, 0640, &e), 0);
	assert_int_equal(fstatat(p->fd, "s.json", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	const ino_t was = st.st_ino;
	assert_int_equal(atomicfile_write(p->fd, "s.json", "0123456789", 10, 0600, &e), 0);
	assert_int_equal(fstatat(p->fd, "s.json", &st, 0), 0);
	assert_int_not_equal(st.st_ino, was);
	assert_int_equal(atomicfile_read(p->fd, "s.json", &b, &e), 0); /* as large as the buffer may be */
	assert_int_equal(buf_size(&b), 10);
	assert_memory_equal(buf_head(&b), "0123456789", 10);
	buf_clear(&b);
	assert_int_equal(atomicfile_write(p->fd, "s.json", "01234567890", 11, 0600, &e), 0);
	assert_int_equal(atomicfile_read(p->fd, "s.json", &b, &e), -EFBIG);
	buf_release(&b);
	buf_init(&b, 1 << 20);
	assert_int_equal(atomicfile_read(p->fd, "none", &b, &e), -ENOENT);
	assert_string_equal(e.msg, "cannot open 'none': no such file or directory");
	assert_int_equal(symlinkat("s.json", p->fd, "link"), 0);
	assert_int_equal(atomicfile_read(p->fd, "link", &b, &e), -ELOOP);
	assert_int_equal(mkfifoat(p->fd, "fifo", 0600), 0);
	assert_int_equal(atomicfile_read(p->fd, "fifo", &b, &e), -EINVAL); /* and does not wait for a writer */
	assert_int_equal(atomicfile_read(p->fd, ".", &b, &e), -EINVAL);
	/* A link at the name is replaced, not followed. */
	assert_int_equal(atomicfile_write(p->fd, "link", "new", 3, 0600, &e), 0);
	assert_int_equal(atomicfile_read(p->fd, "s.json", &b, &e), 0);
	assert_int_equal(buf_size(&b), 11);
	/* What fails leaves nothing behind. */
	assert_int_equal(mkdirat(p->fd, "dir", 0700), 0);
	touch(p->fd, "dir/in", "x");
	assert_true(atomicfile_write(p->fd, "dir", "x", 1, 0600, &e) < 0);
	buf_release(&b);
	assert_int_equal(unlinkat(p->fd, "dir/in", 0), 0);
	assert_int_equal(unlinkat(p->fd, "dir", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(p->fd, "fifo", 0), 0);
	assert_int_equal(unlinkat(p->fd, "link", 0), 0);
	assert_int_equal(unlinkat(p->fd, "s.json", 0), 0);
	assert_int_equal(rmdir(p->dir), 0); /* empty: no temporary is left */
	assert_int_equal(mkdir(p->dir, 0700), 0);
}

static void sockets_by_path(void **state)
{
	struct place *p = *state;
	struct err e;
	struct stat st;
	char path[512];

	/* Short, and longer than an address can hold. */
	for (int i = 0; i < 2; i++) {
		AUTO_FREE char *deep = str_fmt("%s/%0*d/%0*d", p->dir, i ? 90 : 1, 7, i ? 90 : 1, 8);
		assert_non_null(deep);
		assert_int_equal(path_mkdirs(deep, 0700, &e), 0);
		snprintf(path, sizeof(path), "%s/s.sock", deep);
		assert_int_equal(sock_connect(path, SOCK_STREAM, &e), -ENOENT);
		AUTO_FD l = sock_listen(path, SOCK_STREAM, &e);
		if (l < 0)
			fail_msg("%s", e.msg);
		assert_int_equal(lstat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
		assert_int_equal(sock_accept(l), -EAGAIN);
		AUTO_FD c = sock_connect(path, SOCK_STREAM, &e);
		assert_true(c >= 0);
		AUTO_FD a = sock_accept(l);
		assert_true(a >= 0);
		uid_t uid;
		pid_t pid;
		assert_int_equal(fd_peer(a, &uid, &pid), 0);
		assert_int_equal(uid, geteuid());
		assert_int_equal(pid, getpid());
		fd_close(&l);
		assert_int_equal(sock_connect(path, SOCK_STREAM, &e), -ECONNREFUSED);
		l = sock_listen(path, SOCK_SEQPACKET, &e); /* a stale one is replaced */
		assert_true(l >= 0);
		fd_close(&l);
		assert_int_equal(unlink(path), 0);
		touch(AT_FDCWD, path, "keep me");
		assert_int_equal(sock_listen(path, SOCK_STREAM, &e), -EEXIST);
		assert_int_equal(lstat(path, &st), 0);
		assert_int_equal(st.st_size, 7);
	}
}

static void trees_are_removed_but_not_what_links_point_to(void **state)
{
	struct place *p = *state;
	struct err e;
	char outside[128];

	snprintf(outside, sizeof(outside), "%s/outside/kept", p->dir);
	assert_int_equal(path_mkdirs(outside, 0700, &e), 0);
	touch(p->fd, "outside/file", "x");
	assert_int_equal(mkdirat(p->fd, "t", 0700), 0);
	assert_int_equal(symlinkat("../outside", p->fd, "t/link"), 0);
	assert_int_equal(symlinkat("nowhere", p->fd, "t/dangling"), 0);
	/* As deep as a guest may have made it, in pieces because a path is shorter. */
	int fd = openat(p->fd, "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(mkdirat(fd, "a-directory-with-a-longer-name", 0700), 0);
		touch(fd, "f", "x");
		const int next = openat(fd, "a-directory-with-a-longer-name", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	close(fd);
	const int before = open_count();
	assert_int_equal(path_remove_tree(p->fd, "t", &e), 0);
	assert_int_equal(open_count(), before);
	assert_int_equal(faccessat(p->fd, "t", F_OK, 0), -1);
	assert_int_equal(faccessat(p->fd, "outside/kept", F_OK, 0), 0);
	assert_int_equal(faccessat(p->fd, "outside/file", F_OK, 0), 0);
	assert_int_equal(path_remove_tree(p->fd, "t", &e), 0); /* missing is fine */
	assert_int_equal(symlinkat("outside", p->fd, "l"), 0);
	assert_int_equal(path_remove_tree(p->fd, "l", &e), 0);
	assert_int_equal(faccessat(p->fd, "outside/file", F_OK, 0), 0);
}

static void a_directory_is_not_opened_through_a_link(void **state)
{
	struct place *p = *state;
	char path[128];
	struct err e;

	assert_int_equal(mkdirat(p->fd, "project", 0700), 0);
	assert_int_equal(mkdirat(p->fd, "project/sub", 0700), 0);
	assert_int_equal(mkdirat(p->fd, "elsewhere", 0700), 0);
	snprintf(path, sizeof(path), "%s/project/sub", p->dir);
	AUTO_FREE char *real = path_real_dir(path, &e);
	assert_non_null(real);
	AUTO_FD fd = path_open_real(real, &e);
	assert_true(fd >= 0);
	assert_int_equal(unlinkat(p->fd, "project/sub", AT_REMOVEDIR), 0);
	assert_int_equal(path_open_real(real, &e), -ENOENT);
	assert_int_equal(symlinkat("../elsewhere", p->fd, "project/sub"), 0);
	assert_int_equal(path_open_real(real, &e), -ELOOP);
	assert_non_null(strstr(e.msg, "symbolic link"));
	/* A directory above it, too. */
	assert_int_equal(mkdirat(p->fd, "elsewhere/sub", 0700), 0);
	assert_int_equal(renameat(p->fd, "project", p->fd, "was"), 0);
	assert_int_equal(symlinkat("elsewhere", p->fd, "project"), 0);
	assert_int_equal(path_open_real(real, &e), -ELOOP);
	touch(p->fd, "file", "x");
	snprintf(path, sizeof(path), "%s/file", p->dir);
	assert_int_equal(path_open_real(path, &e), -ENOTDIR);
}

static void our_directories(void **state)
{
	struct place *p = *state;
	struct err e;
	struct stat st;
	char want[128];

	setenv("XDG_RUNTIME_DIR", p->dir, 1);
	setenv("XDG_STATE_HOME", "relative/is/ignored", 1);
	setenv("HOME", p->dir, 1);
	unsetenv("XDG_CONFIG_HOME");
	AUTO_FREE char *run = path_runtime(&e);
	snprintf(want, sizeof(want), "%s/bulkhead", p->dir);
	assert_string_equal(run, want);
	assert_int_equal(stat(run, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	AUTO_FREE char *st_dir = path_state(&e);
	snprintf(want, sizeof(want), "%s/.local/state/bulkhead", p->dir);
	assert_string_equal(st_dir, want);
	AUTO_FREE char *conf = path_config(&e);
	snprintf(want, sizeof(want), "%s/.config/bulkhead", p->dir);
	assert_string_equal(conf, want);
	assert_int_equal(access(conf, F_OK), -1); /* not made */
	/* Open to others: closed. A link in its place, a file in its place: refused. */
	assert_int_equal(chmod(run, 0755), 0);
	AUTO_FREE char *again = path_runtime(&e);
	assert_non_null(again);
	assert_int_equal(stat(run, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(rmdir(run), 0);
	assert_int_equal(symlink("/tmp", run), 0);
	assert_null(path_runtime(&e));
	assert_int_equal(unlink(run), 0);
	touch(AT_FDCWD, run, "");
	assert_null(path_runtime(&e));
	assert_non_null(strstr(e.msg, run));
	unsetenv("HOME");
	unsetenv("XDG_STATE_HOME");
	assert_null(path_state(&e));
	assert_string_equal(e.msg, "neither XDG_STATE_HOME nor HOME is set to an absolute path");
}

static void directories_of_a_person(void **state)
{
	struct place *p = *state;
	struct err e;
	char path[128];

	AUTO_FREE char *real = path_real_dir(p->dir, &e);
	assert_string_equal(real, p->dir);
	snprintf(path, sizeof(path), "%s/./../%s", p->dir, strrchr(p->dir, '/') + 1);
	AUTO_FREE char *same = path_real_dir(path, &e);
	assert_string_equal(same, p->dir);
	snprintf(path, sizeof(path), "%s/none", p->dir);
	assert_null(path_real_dir(path, &e));
	assert_int_equal(e.code, ENOENT);
	touch(p->fd, "file", "x");
	snprintf(path, sizeof(path), "%s/file", p->dir);
	assert_null(path_real_dir(path, &e));
	assert_int_equal(e.code, ENOTDIR);
	snprintf(path, sizeof(path), "%s/file/below", p->dir);
	assert_true(path_mkdirs(path, 0700, &e) < 0);
	AUTO_FREE char *j1 = path_join("/a", "b"), *j2 = path_join("/", "b");
	assert_string_equal(j1, "/a/b");
	assert_string_equal(j2, "/b");
}

static void programs_and_data(void **state)
{
	struct place *p = *state;
	struct err e;
	char want[128];

	setenv("BULKHEAD_DATADIR", p->dir, 1);
	AUTO_FREE char *d = path_data("themes/x", &e);
	snprintf(want, sizeof(want), "%s/themes/x", p->dir);
	assert_string_equal(d, want);
	unsetenv("BULKHEAD_DATADIR");
	AUTO_FREE char *me = path_program("test_files", &e);
	assert_non_null(me);
	assert_int_equal(access(me, X_OK), 0);
	assert_null(path_program("no-such-program", &e));
	assert_non_null(strstr(e.msg, "'no-such-program'"));
}

static void a_small_environment(void **state)
{
	bool path = false, secret = false, xdg = false;

	(void)state;
	setenv("AWS_SECRET_ACCESS_KEY", "x", 1);
	setenv("XDG_RUNTIME_DIR", "/x", 1);
	AUTO_FREE char **v = environ_small();
	assert_non_null(v);
	for (size_t i = 0; v[i]; i++) {
		path |= str_starts(v[i], "PATH=");
		xdg |= strcmp(v[i], "XDG_RUNTIME_DIR=/x") == 0;
		secret |= strstr(v[i], "SECRET") != NULL;
	}
	assert_true(path && xdg && !secret);
}

int main(void)
{
#define IN_PLACE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptors_travel),
		IN_PLACE(full_reads_and_writes),
		cmocka_unit_test(memfds_are_sealed),
		IN_PLACE(files_are_replaced_whole),
		IN_PLACE(sockets_by_path),
		IN_PLACE(trees_are_removed_but_not_what_links_point_to),
		IN_PLACE(a_directory_is_not_opened_through_a_link),
		IN_PLACE(our_directories),
		IN_PLACE(directories_of_a_person),
		IN_PLACE(programs_and_data),
		cmocka_unit_test(a_small_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
