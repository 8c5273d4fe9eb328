/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmtime TEXT GUEST_MIB PROGRAM ARG...: runs a monitor, passes its output on, and tells on stderr what it had cost when TEXT stood in it:
 *
 *   @us from its start, @exits of its vCPUs (KVM's own count, /sys/kernel/debug/kvm), @rss_kib resident but for the guest's memory
 *
 * Then it lives on until it or we are ended; SIGTERM ends both.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"

static pid_t child;

static void on_term(int signo)
{
	kill(child, signo);
}

static unsigned long long exits(void)
{
	unsigned long long n = 0, one;
	char path[512], want[32];
	DIR *d = opendir("/sys/kernel/debug/kvm");

	snprintf(want, sizeof(want), "%ld-", (long)child);
	for (const struct dirent *e; d && (e = readdir(d)) != NULL;) {
		if (strncmp(e->d_name, want, strlen(want)) != 0)
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%s/exits", e->d_name);
		FILE *f = fopen(path, "re");
		if (f && fscanf(f, "%llu", &one) == 1)
			n += one;
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return n;
}

/* KiB of every mapping that is smaller than the guest's memory. */
static unsigned long long rss(unsigned long long guest_kib)
{
	unsigned long long sum = 0, size = 0, kib;
	char path[64], line[512];

	snprintf(path, sizeof(path), "/proc/%ld/smaps", (long)child);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Size: %llu kB", &kib) == 1)
			size = kib;
		else if (sscanf(line, "Rss: %llu kB", &kib) == 1 && size < guest_kib)
			sum += kib;
	}
	if (f)
		fclose(f);
	return sum;
}

int main(int argc, char **argv)
{
	static char seen[1u << 16];
	size_t n = 0;
	int out[2], status;

	if (argc < 4 || pipe(out) < 0)
		return 2;
	const char *text = argv[1];
	const unsigned long long guest_kib = strtoull(argv[2], NULL, 10) << 10;
	const uint64_t start = clock_ns();
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out[1], 1);
		close(out[0]);
		close(out[1]);
		execvp(argv[3], argv + 3);
		_exit(127);
	}
	close(out[1]);
	signal(SIGTERM, on_term);
	for (ssize_t r; (r = read(out[0], seen + n, sizeof(seen) - 1 - n)) > 0 || (r < 0 && errno == EINTR);) {
		if (r < 0)
			continue;
		if (write(1, seen + n, (size_t)r) < 0)
			break;
		n += (size_t)r;
		seen[n] = '\0';
		if (text && memmem(seen, n, text, strlen(text))) {
			const uint64_t now = clock_ns();
			fprintf(stderr, "@us %llu\n@exits %llu\n@rss_kib %llu\n", (unsigned long long)(now - start) / 1000, exits(), rss(guest_kib));
			text = NULL;
		}
		if (!text || n > sizeof(seen) / 2)
			n = 0;
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
