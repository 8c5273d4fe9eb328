/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-supervisor: one per user, started by the first client (core/client/start.c) or by systemd.
 *
 * Order: lock (who does not get it leaves at once: another one runs), state, adoption of what still runs, and only then the socket:
 * who can connect sees the whole truth. SIGTERM, SIGINT and SIGHUP end this process; sandboxes go on and the next one adopts them.
 * Until it serves, what goes wrong is said on stderr to whoever started it; afterwards in supervisor.log.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <malloc.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/path.h"
#include "core/base/sock.h"
#include "core/base/str.h"
#include "core/loop/after.h"
#include "core/loop/listen.h"
#include "core/proto/version.h"
#include "core/supervisor/adopt.h"
#include "core/supervisor/ask.h"
#include "core/supervisor/audit.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/net.h"
#include "core/supervisor/policy.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/secrets.h"
#include "core/supervisor/signer.h"
#include "core/supervisor/super.h"

#define LOG_CAP (4u << 20)

#define LOCK_TRIES 20
#define LOCK_PAUSE_US 50000

/* One that answers is not about to end: who waited for its lock would only come when nobody needs him. */
static bool another_answers(const char *path)
{
	AUTO_FD fd = sock_connect(path, SOCK_STREAM, NULL);

	return fd >= 0;
}

static int lock(struct super *su, struct err *e)
{
	AUTO_FREE char *path = path_join(su->runtime, "supervisor.lock"), *socket_path = path_join(su->runtime, "supervisor.sock");
	int r = 0;

	if (!path || !socket_path)
		return err_set(e, ENOMEM, "out of memory");
	su->lock_fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (su->lock_fd < 0)
		return err_errno(e, errno, "cannot open '%s'", path);
	/* One that was just killed holds it a little longer. */
	for (int i = 0; i < LOCK_TRIES && (r = flock(su->lock_fd, LOCK_EX | LOCK_NB)) && errno == EWOULDBLOCK; i++) {
		if (another_answers(socket_path)) {
			errno = EWOULDBLOCK;
			break;
		}
		usleep(LOCK_PAUSE_US);
	}
	if (r)
		return errno == EWOULDBLOCK ? err_set(e, EEXIST, "a supervisor runs already") : err_errno(e, errno, "cannot lock '%s'", path);
	return 0;
}

static int write_pid(struct super *su, struct err *e)
{
	AUTO_FD dirfd = open(su->runtime, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char text[32];
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	return dirfd < 0 ? err_errno(e, errno, "cannot open '%s'", su->runtime) : atomicfile_write(dirfd, "supervisor.pid", text, (size_t)n, 0600, e);
}

static int open_sb_dir(struct super *su, struct err *e)
{
	AUTO_FREE char *path = path_join(su->runtime, "sb");

	if (!path)
		return err_set(e, ENOMEM, "out of memory");
	if (path_mkdirs(path, 0700, e))
		return -e->code;
	su->sb_dirfd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return su->sb_dirfd < 0 ? err_errno(e, errno, "cannot open '%s'", path) : 0;
}

static void read_boot_id(struct super *su)
{
	AUTO_FD fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, su->boot_id, sizeof(su->boot_id) - 1) : 0;

	su->boot_id[n > 0 ? n : 0] = '\0';
	su->boot_id[strcspn(su->boot_id, "\n")] = '\0';
}

/* Two descriptors a viewer and some a sandbox add up. */
static void raise_limits(void)
{
	struct rlimit r;

	if (!getrlimit(RLIMIT_NOFILE, &r) && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

static int open_log(struct super *su, struct err *e)
{
	int fd = store_open_log(su->lifelog.dirfd, "supervisor.log", LOG_CAP, e);

	if (fd < 0)
		return fd;
	log_to(fd);
	return 0;
}

static int init(struct super *su, uv_loop_t *loop, struct err *e)
{
	su->loop = loop;
	su->sb_dirfd = su->lock_fd = su->lifelog.dirfd = su->lifelog.fd = su->store.dirfd = -1;
	if (!(su->runtime = path_runtime(e)) || !(su->state = path_state(e)))
		return -e->code;
	if (lock(su, e) || open_sb_dir(su, e) || lifelog_init(su, e) || store_init(&su->store, su->state, e) || write_pid(su, e))
		return -e->code;
	struct err ce = ERR_INIT;
	const int r = config_load(&su->config, &ce);
	if (r)
		snprintf(su->config_error, sizeof(su->config_error), "%.470s; %s", ce.msg, r > 0 ? "the rest is used" : "defaults are used");
	read_boot_id(su);
	raise_limits();
	su->secrets_changed = net_secrets_changed;
	uv_idle_init(loop, &su->defer);
	su->defer.data = su;
	return open_log(su, e);
}

static void on_signal(uv_signal_t *h, int signo)
{
	log_info("signal %d", signo);
	super_end(h->data, false);
}

static int run(struct super *su, struct err *e)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	uv_signal_t handles[ARRAY_SIZE(signals)];

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		uv_signal_init(su->loop, &handles[i]);
		handles[i].data = su;
		uv_signal_start(&handles[i], on_signal, signals[i]);
	}
	lifelog_add(su, LOG_INFO, NULL, "supervisor %s started, pid %ld", BULKHEAD_VERSION, (long)getpid());
	if (*su->config_error)
		lifelog_add(su, LOG_ERROR, NULL, "the configuration is wrong: %s", su->config_error);
	struct err ae = ERR_INIT;
	if (audit_open(su, &ae))
		lifelog_add(su, LOG_ERROR, NULL, "nothing is recorded: %s", ae.msg);
	ae = ERR_INIT;
	if (secrets_open(su, &ae))
		lifelog_add(su, LOG_ERROR, NULL, "%s", ae.msg);
	if (policy_open(su, e) || adopt_all(su, e))
		return -e->code;
	if (!su->ended)
		uv_run(su->loop, UV_RUN_DEFAULT);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		uv_close((uv_handle_t *)&handles[i], NULL);
	uv_close((uv_handle_t *)&su->defer, NULL);
	ask_release(su);
	while (su->sandboxes)
		sandbox_destroy(su->sandboxes);
	secrets_close(su);
	policy_close(su);
	/* Close callbacks, and workers that were under way. */
	uv_run(su->loop, UV_RUN_DEFAULT);
	return 0;
}

/* Requests may hold credentials: no JSON text or string is freed as it is. */
static void wipe_and_free(void *p)
{
	if (p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

int main(int argc, char **argv)
{
	struct super su = { 0 };
	struct err e = ERR_INIT;
	uv_loop_t loop;
	int r;

	if (argc == 2 && !strcmp(argv[1], "--version")) {
		printf("bulkhead-supervisor %s\n", BULKHEAD_VERSION);
		return 0;
	}
	if (argc != 1) {
		fprintf(stderr, "bulkhead-supervisor: takes no arguments; it is started by the first 'bulkhead' command\n");
		return 2;
	}
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	log_init("bulkhead-supervisor");
	json_set_alloc_funcs(malloc, wipe_and_free);
	if ((r = uv_loop_init(&loop)))
		err_set(&e, -r, "cannot start: %s", uv_strerror(r));
	else if (!(r = init(&su, &loop, &e)))
		r = run(&su, &e);
	if (r)
		fprintf(stderr, "bulkhead-supervisor: %s\n", e.msg);
	uv_loop_close(&loop);
	signer_release(&su);
	audit_close(&su);
	lifelog_release(&su);
	store_release(&su.store);
	fd_close(&su.sb_dirfd);
	fd_close(&su.lock_fd);
	free(su.runtime);
	free(su.state);
	return r ? 1 : 0;
}
