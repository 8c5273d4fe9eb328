/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams with descriptors, queues with an end, and processes watched by pidfd: all with the kernel's real thing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/loop/after.h"
#include "core/loop/proc.h"
#include "core/loop/seq.h"

struct peer {
	struct seq *s;
	size_t messages, bytes;
	uint8_t last[SEQ_MSG_MAX];
	size_t last_n;
	int kept; /* a descriptor taken */
	int ends, why;
};

static void on_msg(void *arg, const uint8_t *p, size_t n, int *fds, size_t nfds)
{
	struct peer *x = arg;

	x->messages++;
	x->bytes += n;
	memcpy(x->last, p, n);
	x->last_n = n;
	if (nfds > 0) {
		fd_close(&x->kept);
		x->kept = steal_fd(&fds[0]);
	}
}

static void on_end(void *arg, int why)
{
	struct peer *x = arg;

	x->ends++;
	x->why = why;
}

static const struct seq_ops ops = { .on_msg = on_msg, .on_end = on_end };

static uv_loop_t loop;
static struct peer peer;
static int raw;

static int setup(void **state)
{
	int fds[2];

	(void)state;
	memset(&peer, 0, sizeof(peer));
	peer.kept = -1;
	uv_loop_init(&loop);
	assert_int_equal(fd_pair(SOCK_SEQPACKET, fds), 0);
	raw = fds[0];
	assert_int_equal(seq_open_take(&peer.s, &loop, fds[1], &ops, &peer), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	seq_close(&peer.s);
	fd_close(&raw);
	fd_close(&peer.kept);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

static void messages_keep_borders_and_descriptors(void **state)
{
	int p[2];
	char c = 0;

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(fd_send(raw, "one", 3, NULL, 0), 3);
	assert_int_equal(fd_send(raw, "three", 5, &p[1], 1), 5);
	while (peer.messages < 2)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(peer.last_n, 5);
	close(p[1]);
	assert_int_equal(write(peer.kept, "!", 1), 1);
	assert_int_equal(read(p[0], &c, 1), 1);
	assert_int_equal(c, '!');
	close(p[0]);
}

/* Who goes with something unread resets the connection; the kernel tells that before what it had sent, and once. */
static void last_words_are_heard(void **state)
{
	(void)state;
	assert_int_equal(seq_send(peer.s, "unread", 6, NULL, 0), 0);
	assert_int_equal(fd_send(raw, "last", 4, NULL, 0), 4);
	assert_int_equal(fd_send(raw, "words", 5, NULL, 0), 5);
	fd_close(&raw);
	while (peer.ends == 0)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(peer.messages, 2);
	assert_memory_equal(peer.last, "words", 5);
	assert_int_equal(peer.why, 0);
}

static void what_rests_reads_nothing(void **state)
{
	(void)state;
	seq_reading(peer.s, false);
	assert_int_equal(fd_send(raw, "one", 3, NULL, 0), 3);
	fd_close(&raw);
	assert_false(uv_run(&loop, UV_RUN_NOWAIT));
	assert_int_equal(peer.messages + (size_t)peer.ends, 0);
	seq_reading(peer.s, true);
	while (peer.ends == 0)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(peer.messages, 1);
}

static void a_full_queue_refuses_and_then_drains(void **state)
{
	static uint8_t msg[32768];
	size_t sent = 0, got = 0;
	int r, null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	while ((r = seq_send(peer.s, msg, sizeof(msg), &null, 1)) == 0)
		sent++;
	assert_int_equal(r, -ENOBUFS);
	assert_true(seq_pending(peer.s) <= SEQ_QUEUE_MAX);
	close(null);
	while (got < sent) {
		int fds[FD_PASS_MAX];
		size_t nfds;
		ssize_t n = fd_recv(raw, msg, sizeof(msg), fds, &nfds);

		if (n == -EAGAIN) {
			uv_run(&loop, UV_RUN_NOWAIT);
			continue;
		}
		assert_int_equal(n, sizeof(msg));
		assert_int_equal(nfds, 1);
		close(fds[0]);
		got++;
	}
	assert_int_equal(seq_pending(peer.s), 0);
}

static void an_end_is_told_once(void **state)
{
	(void)state;
	assert_int_equal(fd_send(raw, "last words", 10, NULL, 0), 10);
	fd_close(&raw);
	while (peer.ends == 0)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(peer.messages, 1);
	assert_int_equal(peer.why, 0);
	assert_int_equal(seq_send(peer.s, "x", 1, NULL, 0), -EPIPE);
	for (int i = 0; i < 5; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(peer.ends, 1);
}

/* ---- processes ------------------------------------------------------------------------------------------------------------- */

static int exits, exit_status;

static void on_exit_(void *arg, int status)
{
	(void)arg;
	exits++;
	exit_status = status;
}

static void run_shell_as(const char *script, const int *fds, size_t nfds, bool own_pids)
{
	char *const argv[] = { (char *)"sh", (char *)"-c", (char *)script, NULL };
	const struct proc_opts o = { .path = "/bin/sh", .argv = argv, .fds = fds, .nfds = nfds, .out_fd = -1, .own_pids = own_pids };
	struct proc *p;
	struct err e;

	exits = 0;
	assert_int_equal(proc_spawn(&p, &loop, &o, on_exit_, NULL, &e), 0);
	while (exits == 0)
		uv_run(&loop, UV_RUN_ONCE);
	proc_release(&p);
}

static void run_shell(const char *script, const int *fds, size_t nfds)
{
	run_shell_as(script, fds, nfds, false);
}

/* May this user make the namespace? Asked of a child, which ends with the answer. */
static bool may_have_pids(void)
{
	int status = -1;
	const pid_t pid = fork();

	if (pid == 0)
		_exit(unshare(CLONE_NEWPID) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status == 0;
}

/* 0, or what was wrong: also for a process of its own, which has no assertions. */
static int run_alone(bool may)
{
	char script[128];

	snprintf(script, sizeof(script), "test $(id -u) = %u || exit 9; test $$ = 1 || exit 5; kill -0 %ld && exit 6; exit 0", geteuid(), (long)getpid());
	run_shell_as(script, NULL, 0, true);
	if (!WIFEXITED(exit_status) || WEXITSTATUS(exit_status) != (may ? 0 : 5))
		return 1;
	run_shell_as("kill -9 $$; exit 3", NULL, 0, true); /* the first of a namespace is not to be killed from inside */
	return may ? !WIFEXITED(exit_status) || WEXITSTATUS(exit_status) != 3 : !WIFSIGNALED(exit_status);
}

static void a_child_alone_sees_no_other(void **state)
{
	(void)state;
	assert_int_equal(run_alone(may_have_pids()), 0);
}

static void nor_does_an_ordinary_users(void **state)
{
	int status = -1;

	(void)state;
	if (geteuid() != 0)
		skip();
	const pid_t pid = fork();
	if (pid == 0) {
		if (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0 || prctl(PR_SET_DUMPABLE, 1) < 0 || uv_loop_init(&loop) != 0)
			_exit(7);
		const bool may = may_have_pids();
		_exit(run_alone(may));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_child_gets_its_descriptors_and_nothing_else(void **state)
{
	int p[2], stray;
	char text[64] = "";

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	stray = dup(p[0]); /* without CLOEXEC */
	const int fds[] = { raw, p[1] };
	run_shell("test -e /proc/self/fd/3 && printf yes >&4; test -e /proc/self/fd/5 && printf no >&4; exit 7", fds, 2);
	assert_true(WIFEXITED(exit_status));
	assert_int_equal(WEXITSTATUS(exit_status), 7);
	close(p[1]);
	assert_int_equal(read(p[0], text, sizeof(text)), 3);
	assert_string_equal(text, "yes");
	close(p[0]);
	close(stray);
}

static void a_program_that_is_missing_is_said_at_once(void **state)
{
	char *const argv[] = { (char *)"x", NULL };
	const struct proc_opts o = { .path = "/nonexistent/program", .argv = argv, .out_fd = -1 };
	struct proc *p;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(proc_spawn(&p, &loop, &o, on_exit_, NULL, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "/nonexistent/program"));
	assert_null(p);
}

static void another_ones_child_is_adopted_by_pid_and_start(void **state)
{
	struct proc *p;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		pause();
		_exit(0);
	}
	exits = 0;
	assert_int_equal(proc_adopt(&p, &loop, pid, proc_start_time(pid) + 1, on_exit_, NULL), -ESRCH);
	assert_int_equal(proc_adopt(&p, &loop, pid, proc_start_time(pid), on_exit_, NULL), 0);
	assert_int_equal(proc_kill(p, SIGKILL), 0);
	while (exits == 0)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(exit_status, -1);
	proc_release(&p);
	waitpid(pid, NULL, 0);
}

static int fired;
static void on_after(void *arg)
{
	(void)arg;
	fired++;
}

static void timers_fire_once_and_can_be_cancelled(void **state)
{
	struct after *a = NULL, *b = NULL;

	(void)state;
	fired = 0;
	assert_int_equal(after_set(&a, &loop, 1, on_after, NULL), 0);
	assert_int_equal(after_set(&b, &loop, 1, on_after, NULL), 0);
	after_cancel(&b);
	after_cancel(&b);
	while (!fired)
		uv_run(&loop, UV_RUN_ONCE);
	assert_null(a);
	assert_int_equal(fired, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(messages_keep_borders_and_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(last_words_are_heard, setup, teardown),
		cmocka_unit_test_setup_teardown(what_rests_reads_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_queue_refuses_and_then_drains, setup, teardown),
		cmocka_unit_test_setup_teardown(an_end_is_told_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_child_gets_its_descriptors_and_nothing_else, setup, teardown),
		cmocka_unit_test_setup_teardown(a_child_alone_sees_no_other, setup, teardown),
		cmocka_unit_test_setup_teardown(nor_does_an_ordinary_users, setup, teardown),
		cmocka_unit_test_setup_teardown(a_program_that_is_missing_is_said_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(another_ones_child_is_adopted_by_pid_and_start, setup, teardown),
		cmocka_unit_test_setup_teardown(timers_fire_once_and_can_be_cancelled, setup, teardown),
	};

	return cmocka_run_group_tests_name("loop/seq", tests, NULL, NULL);
}
