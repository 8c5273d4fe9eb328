/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel and the docker daemon say, read by pure functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "guest/docker.h"
#include "guest/http.h"
#include "guest/stats.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void cpu(void **state)
{
	struct agent_stats s = { 0 };

	(void)state;
	stats_parse_cpu("cpu  10 1 4 100 5 0 2 3 0 0\ncpu0 5 0 2 50 2 0 1 1 0 0\ncpu1 5 1 2 50 3 0 1 2 0 0\nintr 1\nctxt 2\n", &s);
	assert_int_equal(s.vcpus, 2);
	assert_int_equal(s.cpu_total_ns, 125 * UINT64_C(10000000));
	assert_int_equal(s.cpu_busy_ns, 20 * UINT64_C(10000000));
	stats_parse_cpu("nothing of it", &s);
	assert_int_equal(s.cpu_total_ns, 0);
	assert_int_equal(s.vcpus, 0);
}

static void memory(void **state)
{
	struct agent_stats s = { 0 };

	(void)state;
	stats_parse_mem("MemTotal:  1000 kB\nMemFree: 10 kB\nMemAvailable:   600 kB\nBuffers: 50 kB\nCached: 200 kB\nSwapCached: 7 kB\n", &s);
	assert_int_equal(s.mem_total, 1000 * 1024);
	assert_int_equal(s.mem_used, 400 * 1024);
	assert_int_equal(s.mem_cache, 250 * 1024);
	stats_parse_mem("MemTotal: 1 kB\nMemAvailable: 2 kB\n", &s);
	assert_int_equal(s.mem_used, 0);
}

static void load(void **state)
{
	struct agent_stats s = { 0 };

	(void)state;
	stats_parse_load("1.07 0.50 0.25 3/142 999\n", &s);
	assert_int_equal(s.load1_milli, 1070);
	assert_int_equal(s.pids, 142);
	stats_parse_load("", &s);
	assert_int_equal(s.pids, 0);
}

static void container_of_a_cgroup(void **state)
{
	char id[16];

	(void)state;
	stats_parse_container("0::/docker/" ID "\n", id);
	assert_string_equal(id, "0123456789ab");
	stats_parse_container("0::/docker/" ID "/inner/docker/x\n", id);
	assert_string_equal(id, "0123456789ab");
	static const char *const none[] = { "0::/\n", "", "0::/sessions/s1\n", "0::/docker/\n", "0::/docker/0123\n", "0::/docker/buildx-worker\n" };
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		stats_parse_container(none[i], id);
		assert_string_equal(id, "");
	}
}

static void http_answers(void **state)
{
	static const char ok[] = "HTTP/1.0 200 OK\r\nContent-Type: x\r\n\r\nbody";
	static const char *const bad[] = { "", "HTTP/1.0 200 OK\r\n", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.0 20", "\r\n\r\n" };
	int status;
	size_t body;

	(void)state;
	assert_int_equal(http_parse(ok, sizeof(ok) - 1, &status, &body), 0);
	assert_int_equal(status, 200);
	assert_string_equal(ok + body, "body");
	for (size_t n = 0; n < strlen(ok) - 4; n++)
		assert_int_equal(http_parse(ok, n, &status, &body), -EBADMSG);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(http_parse(bad[i], strlen(bad[i]), &status, &body), -EBADMSG);
}

static void containers(void **state)
{
	static const char text[] = "[{\"Id\":\"" ID "\",\"Names\":[\"/web\"],\"Image\":\"nginx\",\"State\":\"running\",\"Status\":\"Up 3 seconds\"},"
				   "{\"Id\":7,\"Names\":[],\"Image\":null},{}, 3]";
	static struct agent_containers c;

	(void)state;
	assert_int_equal(docker_parse_containers(text, strlen(text), &c), 0);
	assert_int_equal(c.n, 4);
	assert_string_equal(c.c[0].id, "0123456789ab");
	assert_string_equal(c.c[0].name, "web");
	assert_string_equal(c.c[0].image, "nginx");
	assert_string_equal(c.c[0].state, "running");
	assert_string_equal(c.c[0].status, "Up 3 seconds");
	for (int i = 1; i < 4; i++)
		assert_string_equal(c.c[i].id, "");
	for (size_t n = 0; n < strlen(text); n++)
		assert_int_equal(docker_parse_containers(text, n, &c), -EBADMSG);
	assert_int_equal(docker_parse_containers("{}", 2, &c), -EBADMSG);
}

static void containers_are_bounded(void **state)
{
	static struct agent_containers c;
	static char text[1 << 20];
	size_t n = 0;

	(void)state;
	text[n++] = '[';
	for (int i = 0; i < 300; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s{\"Id\":\"%d\",\"Names\":[\"/%0400d\"],\"Image\":\"%0500d\"}", i ? "," : "", i, i, i);
	text[n++] = ']';
	assert_int_equal(docker_parse_containers(text, n, &c), 0);
	assert_int_equal(c.n, AGENT_CONTAINERS_MAX);
	for (int i = 0; i < c.n; i++)
		assert_true(strlen(c.c[i].name) < sizeof(c.c[i].name) && strlen(c.c[i].image) < sizeof(c.c[i].image));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cpu), cmocka_unit_test(memory), cmocka_unit_test(load), cmocka_unit_test(container_of_a_cgroup),
		cmocka_unit_test(http_answers), cmocka_unit_test(containers), cmocka_unit_test(containers_are_bounded),
	};

	return cmocka_run_group_tests_name("guest/stats", tests, NULL, NULL);
}
