/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/docker.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "guest/http.h"
#include "guest/loop.h"
#include "guest/runc.h"
#include "guest/spawn.h"

#define SOCKET "/run/docker.sock"
#define LOG "/var/log/dockerd.log"
#define PING_MS 100           /* while it starts */
#define HEALTH_MS 10000       /* once it is ready */
#define SLOW_MS 60000         /* not ready for so long: said as a failure, and still waited for */
#define BACKOFF_MIN_MS 1000
#define BACKOFF_MAX_MS 30000

static struct {
	struct agent_docker state;
	void (*changed)(void);
	pid_t pid;
	uint64_t started_ms;
	unsigned backoff_ms;
	bool stopping;
	struct timer next;
	struct http_get ping, list;
	void (*list_done)(const struct agent_containers *);
} docker;

static void set(enum agent_docker_state state, const char *why)
{
	if (docker.state.state == (uint8_t)state && strcmp(docker.state.why, why) == 0)
		return;
	docker.state.state = (uint8_t)state;
	str_copy(docker.state.why, sizeof(docker.state.why), why);
	log_info("dockerd: %s%s%s", state == DOCKER_READY ? "ready" : state == DOCKER_STARTING ? "starting" : state == DOCKER_FAILED ? "failed" : "off",
		 why[0] ? ": " : "", why);
	docker.changed();
}

static _Noreturn void run(void)
{
	char *const argv[] = { (char *)"dockerd", (char *)"-H", (char *)"unix://" SOCKET, NULL };
	char *const envp[] = { (char *)"PATH=" RUNC_BIN ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", (char *)"HOME=/root", NULL };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	spawn_limits();
	const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	const int log = open(LOG, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (null >= 0)
		dup2(null, 0);
	if (log >= 0) {
		dup2(log, 1);
		dup2(log, 2);
	}
	execve("/usr/sbin/dockerd", argv, envp);
	_exit(127);
}

static void on_ping(void *arg, int status, const char *body, size_t n);

static void ping(void *arg)
{
	(void)arg;
	if (docker.pid > 0)
		http_get(&docker.ping, SOCKET, "/_ping", 5000, on_ping, NULL);
}

static void on_ping(void *arg, int status, const char *body, size_t n)
{
	(void)arg;
	(void)body;
	(void)n;
	if (docker.pid <= 0 || docker.stopping)
		return;
	if (status == 200) {
		if (docker.state.ready_ns == 0) {
			struct timespec t;

			clock_gettime(CLOCK_BOOTTIME, &t);
			docker.state.ready_ns = (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
		}
		docker.backoff_ms = BACKOFF_MIN_MS;
		set(DOCKER_READY, "");
	} else if (docker.state.state == DOCKER_READY) {
		set(DOCKER_STARTING, "it does not answer any more");
		docker.started_ms = clock_ms();
	} else if (clock_ms() - docker.started_ms > SLOW_MS) {
		set(DOCKER_FAILED, "it does not answer; " LOG " may say why");
	}
	loop_after(&docker.next, status == 200 ? HEALTH_MS : PING_MS, ping, NULL);
}

static void start(void *arg)
{
	(void)arg;
	/* A pid file of before a crash makes dockerd refuse to start when the number is taken. */
	unlink("/run/docker.pid");
	docker.pid = fork();
	if (docker.pid == 0)
		run();
	if (docker.pid < 0) {
		set(DOCKER_FAILED, "it could not be started");
		loop_after(&docker.next, BACKOFF_MAX_MS, start, NULL);
		return;
	}
	docker.started_ms = clock_ms();
	set(DOCKER_STARTING, "");
	loop_after(&docker.next, PING_MS, ping, NULL);
}

void docker_init(void (*changed)(void))
{
	docker.changed = changed;
	docker.backoff_ms = BACKOFF_MIN_MS;
	http_init(&docker.ping);
	http_init(&docker.list);
	if (access("/usr/sbin/dockerd", X_OK) < 0) {
		set(DOCKER_OFF, "there is no dockerd in this image");
		return;
	}
	set(DOCKER_STARTING, "");
}

void docker_start(void)
{
	if (docker.state.state == DOCKER_STARTING && !docker.stopping)
		start(NULL);
}

const struct agent_docker *docker_state(void)
{
	return &docker.state;
}

bool docker_running(void)
{
	return docker.pid > 0;
}

bool docker_reaped(pid_t pid, int status)
{
	char why[128];

	if (pid != docker.pid || pid <= 0)
		return false;
	docker.pid = 0;
	loop_cancel(&docker.next);
	if (docker.stopping) {
		set(DOCKER_OFF, "");
		return true;
	}
	if (WIFSIGNALED(status))
		snprintf(why, sizeof(why), "it was killed by signal %d and is started again", WTERMSIG(status));
	else
		snprintf(why, sizeof(why), "it ended with status %d (%s) and is started again", WEXITSTATUS(status), LOG);
	docker.state.restarts++;
	set(DOCKER_FAILED, why);
	loop_after(&docker.next, docker.backoff_ms, start, NULL);
	docker.backoff_ms = docker.backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : docker.backoff_ms * 2;
	return true;
}

bool docker_stop(void)
{
	docker.stopping = true;
	loop_cancel(&docker.next);
	return docker.pid > 0 && kill(docker.pid, SIGTERM) == 0;
}

/* ---- containers --------------------------------------------------------------------------------------------------------- */

static void text(char *dst, size_t cap, const json_t *v, size_t skip)
{
	const char *s = json_string_value(v);

	str_copy(dst, cap, s && strlen(s) >= skip ? s + skip : "");
}

int docker_parse_containers(const char *p, size_t n, struct agent_containers *out)
{
	json_t *list = json_loadb(p, n, 0, NULL);

	out->n = 0;
	if (!json_is_array(list)) {
		json_decref(list);
		return -EBADMSG;
	}
	for (size_t i = 0; i < json_array_size(list) && out->n < AGENT_CONTAINERS_MAX; i++) {
		const json_t *o = json_array_get(list, i);
		struct agent_container *c = &out->c[out->n++];
		const char *id = json_string_value(json_object_get(o, "Id"));

		memset(c, 0, sizeof(*c));
		snprintf(c->id, sizeof(c->id), "%.12s", id ? id : "");
		text(c->name, sizeof(c->name), json_array_get(json_object_get(o, "Names"), 0), 1);
		text(c->image, sizeof(c->image), json_object_get(o, "Image"), 0);
		text(c->state, sizeof(c->state), json_object_get(o, "State"), 0);
		text(c->status, sizeof(c->status), json_object_get(o, "Status"), 0);
	}
	json_decref(list);
	return 0;
}

static void on_list(void *arg, int status, const char *body, size_t n)
{
	static struct agent_containers c;

	(void)arg;
	c.n = 0;
	if (status == 200 && docker_parse_containers(body, n, &c) < 0)
		log_warn("docker's list of containers cannot be read");
	docker.list_done(&c);
}

bool docker_containers(void (*done)(const struct agent_containers *c))
{
	docker.list_done = done;
	return docker.state.state == DOCKER_READY && http_get(&docker.list, SOCKET, "/containers/json?all=1", 5000, on_list, NULL);
}
