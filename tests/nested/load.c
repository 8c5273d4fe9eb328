/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams over vsock that check themselves, and a disk's speed, for the nested test and the machine's bench.
 *
 *   load serve PORT            in the guest: answers what is below
 *   load give|take ADDR BYTES  numbered bytes to the guest or from it, each checked by the one who reads it; prints "BYTES MICROSECONDS"
 *   load hold ADDR             a connection that stays until it ends; then the guest's `serve` prints "@held ERRNO"; prints "held" when it stands
 *   load ping ADDR N           N messages of 64 bytes there and back, one after the other; prints "N MICROSECONDS"
 *   load disk DEVICE MIB       in the guest: prints "@read US @write US @seek US": MIB MiB in order each, and 1,000 times 4 KiB anywhere
 *   load rpc SOCKET LINE...    sends lines, prints as many answers
 *   load mark NAME             prints "@NAME NANOSECONDS" of this kernel's life
 *
 * ADDR is SOCKET:PORT by the hybrid convention, or vsock:CID:PORT.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/proto/vsock.h"

#define CHUNK 65536u
#define MESSAGE 64u

struct ask {
	uint64_t op, n;
};

static uint64_t chunk[CHUNK / 8];

static _Noreturn int die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int full(int fd, void *p, size_t n, bool out)
{
	for (size_t at = 0; at < n;) {
		const ssize_t r = out ? write(fd, (uint8_t *)p + at, n - at) : read(fd, (uint8_t *)p + at, n - at);

		if (r <= 0)
			return -1;
		at += (size_t)r;
	}
	return 0;
}

/* The word at an offset; any that is lost, doubled or moved is seen. */
static uint64_t word(uint64_t at)
{
	return (at + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static int send_numbered(int fd, uint64_t n)
{
	for (uint64_t at = 0; at < n;) {
		const size_t part = n - at < CHUNK ? (size_t)(n - at) : CHUNK;

		for (size_t i = 0; i < (part + 7) / 8; i++)
			chunk[i] = word(at / 8 + i);
		if (full(fd, chunk, part, true) < 0)
			return -1;
		at += part;
	}
	return 0;
}

static int take_numbered(int fd, uint64_t n)
{
	for (uint64_t at = 0; at < n;) {
		const size_t part = n - at < CHUNK ? (size_t)(n - at) : CHUNK;

		if (full(fd, chunk, part, false) < 0)
			return -1;
		for (size_t i = 0; i < part / 8; i++)
			if (chunk[i] != word(at / 8 + i))
				return -1;
		at += part;
	}
	return 0;
}

static void serve_one(int fd)
{
	struct ask a;
	uint8_t message[MESSAGE];
	uint64_t yes = 1;

	if (full(fd, &a, sizeof(a), false) < 0)
		return;
	if (a.op == 'g' && take_numbered(fd, a.n) == 0)
		full(fd, &yes, sizeof(yes), true);
	if (a.op == 't')
		send_numbered(fd, a.n);
	if (a.op == 'h' && full(fd, &yes, sizeof(yes), true) == 0) {
		const ssize_t n = read(fd, message, MESSAGE);

		printf("@held %d\n", n < 0 ? errno : 0);
		fflush(stdout);
	}
	if (a.op == 'p')
		while (full(fd, message, MESSAGE, false) == 0 && full(fd, message, MESSAGE, true) == 0)
			;
}

/* Our machine lets nobody in before the guest has said so (core/proto/vsock.h), also after a restore; to QEMU it means nothing. */
static _Noreturn void stay_up(void)
{
	const struct sockaddr_vm host = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = VSOCK_PORT_UP };
	char c;

	for (;; usleep(20000)) {
		const int up = socket(AF_VSOCK, SOCK_STREAM, 0);

		if (up >= 0 && connect(up, (const struct sockaddr *)&host, sizeof(host)) == 0)
			while (read(up, &c, 1) > 0)
				;
		close(up);
	}
}

static int serve(unsigned port)
{
	const struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port };
	const int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	signal(SIGCHLD, SIG_IGN);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 16) < 0)
		die("cannot listen");
	if (fork() == 0)
		stay_up();
	for (;;) {
		const int s = accept(fd, NULL, NULL);

		if (s < 0)
			continue;
		if (fork() == 0) {
			serve_one(s);
			_exit(0);
		}
		close(s);
	}
}

static int dial(const char *where)
{
	char path[100], line[32];
	const char *colon = strrchr(where, ':');
	unsigned cid;

	if (!colon)
		return die("no port");
	const unsigned port = (unsigned)strtoul(colon + 1, NULL, 10);
	if (sscanf(where, "vsock:%u:", &cid) == 1) {
		const struct sockaddr_vm v = { .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port };
		const int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
		return fd >= 0 && connect(fd, (const struct sockaddr *)&v, sizeof(v)) == 0 ? fd : die(where);
	}
	struct sockaddr_un u = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(path, sizeof(path), "%.*s", (int)(colon - where), where);
	str_copy(u.sun_path, sizeof(u.sun_path), path);
	const int n = snprintf(line, sizeof(line), "CONNECT %u\n", port);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&u, sizeof(u)) < 0 || write(fd, line, (size_t)n) != n)
		return die(where);
	for (char c = 0; c != '\n';)
		if (read(fd, &c, 1) != 1)
			return die("refused");
	return fd;
}

static int drive(char op, const char *where, uint64_t n)
{
	struct ask a = { .op = (uint64_t)op, .n = n };
	uint8_t message[MESSAGE] = { 0 };
	uint64_t yes = 0;
	const int fd = dial(where);
	const uint64_t start = clock_ns();

	if (full(fd, &a, sizeof(a), true) < 0)
		return die("cannot ask");
	if (op == 'g' && (send_numbered(fd, n) < 0 || full(fd, &yes, sizeof(yes), false) < 0 || yes != 1))
		return die("the guest did not get what was sent");
	if (op == 't' && take_numbered(fd, n) < 0)
		return die("what came is not what the guest sent");
	if (op == 'h') {
		if (full(fd, &yes, sizeof(yes), false) < 0 || yes != 1)
			return die("nobody holds it");
		puts("held");
		fflush(stdout);
		return read(fd, message, MESSAGE) <= 0 ? 0 : 1;
	}
	for (uint64_t i = 0; op == 'p' && i < n; i++)
		if (full(fd, message, MESSAGE, true) < 0 || full(fd, message, MESSAGE, false) < 0)
			return die("no answer");
	printf("%llu %llu\n", (unsigned long long)n, (unsigned long long)(clock_ns() - start) / 1000);
	close(fd);
	return 0;
}

static void rw(int fd, uint8_t *p, uint64_t at, size_t n, bool out)
{
	if ((out ? pwrite(fd, p, n, (off_t)at) : pread(fd, p, n, (off_t)at)) != (ssize_t)n)
		die("disk");
}

static int disk(const char *path, uint64_t mib)
{
	const size_t part = 1u << 17;
	const int fd = open(path, O_RDWR | O_DIRECT);
	uint64_t when[4], seed = 1;
	uint8_t *p = NULL;

	if (fd < 0 || posix_memalign((void **)&p, 4096, part) != 0)
		die(path);
	memset(p, 0x5a, part);
	when[0] = clock_ns();
	for (int out = 1; out >= 0; out--) {
		for (uint64_t at = 0; at < mib << 20; at += part)
			rw(fd, p, at, part, out);
		when[2 - out] = clock_ns();
	}
	for (int i = 0; i < 1000; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1;
		rw(fd, p, (seed >> 33) % (mib << 8) << 12, 4096, false);
	}
	when[3] = clock_ns();
	printf("@write %llu\n@read %llu\n@seek %llu\n", (unsigned long long)(when[1] - when[0]) / 1000, (unsigned long long)(when[2] - when[1]) / 1000,
	       (unsigned long long)(when[3] - when[2]) / 1000);
	return 0;
}

static int rpc(const char *path, char **lines, int n)
{
	struct sockaddr_un u = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	str_copy(u.sun_path, sizeof(u.sun_path), path);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&u, sizeof(u)) < 0)
		die(path);
	for (int i = 0; i < n; i++)
		if (full(fd, lines[i], strlen(lines[i]), true) < 0 || full(fd, (char[]){ '\n' }, 1, true) < 0)
			die(path);
	for (char c; n > 0 && read(fd, &c, 1) == 1; putchar(c))
		n -= c == '\n';
	return n == 0 ? 0 : 1;
}

static int mark(const char *name)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	printf("@%s %llu\n", name, (unsigned long long)t.tv_sec * 1000000000u + (unsigned long long)t.tv_nsec);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "serve") && argc == 3)
		return serve((unsigned)strtoul(argv[2], NULL, 10));
	if ((!strcmp(what, "give") || !strcmp(what, "take") || !strcmp(what, "ping")) && argc == 4)
		return drive(what[0], argv[2], strtoull(argv[3], NULL, 10));
	if (!strcmp(what, "hold") && argc == 3)
		return drive('h', argv[2], 0);
	if (!strcmp(what, "disk") && argc == 4)
		return disk(argv[2], strtoull(argv[3], NULL, 10));
	if (!strcmp(what, "rpc") && argc > 3)
		return rpc(argv[2], argv + 3, argc - 3);
	if (!strcmp(what, "mark") && argc == 3)
		return mark(argv[2]);
	fprintf(stderr, "usage: load serve|give|take|ping|disk|mark ...\n");
	return 2;
}
