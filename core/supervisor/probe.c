/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "core/base/clock.h"
#include "core/base/environ.h"
#include "core/base/err.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/base/utf8.h"

#define PROBE_MS 15000
#define PROBE_TEXT_MAX 4096

static int launch(pid_t *pid, int *out, struct err *e)
{
	AUTO_FREE char *path = path_program("bulkhead-vmm", e);
	AUTO_FREE char **envp = environ_small();
	char *const argv[] = { (char *)(uintptr_t)"bulkhead-vmm", (char *)(uintptr_t)"--probe", NULL };
	posix_spawn_file_actions_t fa;
	int p[2];

	if (!path)
		return -e->code;
	if (!envp || pipe2(p, O_CLOEXEC))
		return err_errno(e, envp ? errno : ENOMEM, "cannot run the probe");
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&fa, p[1], 1);
	posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
	int r = posix_spawn(pid, path, &fa, NULL, argv, envp);
	posix_spawn_file_actions_destroy(&fa);
	close(p[1]);
	*out = p[0];
	if (r) {
		fd_close(out);
		return err_errno(e, r, "cannot run '%s'", path);
	}
	return 0;
}

/* All it prints until its end, its limit or the deadline. */
static size_t gather(int fd, char *text, size_t cap)
{
	uint64_t until = clock_ms() + PROBE_MS;
	size_t n = 0;

	for (uint64_t now; n < cap && (now = clock_ms()) < until;) {
		struct pollfd pf = { .fd = fd, .events = POLLIN };
		if (poll(&pf, 1, (int)(until - now)) <= 0)
			break;
		ssize_t got = read(fd, text + n, cap - n);
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	return n;
}

static void take_word(char *dst, size_t cap, const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	scrub(dst, cap, json_is_string(v) ? json_string_value(v) : "", json_string_length(v), false);
}

void probe_run(struct probe *out)
{
	char text[PROBE_TEXT_MAX];
	struct err e = ERR_INIT;
	AUTO_FD fd = -1;
	pid_t pid;

	*out = (struct probe){ 0 };
	if (launch(&pid, &fd, &e)) {
		str_copy(out->sentence, sizeof(out->sentence), e.msg);
		return;
	}
	size_t n = gather(fd, text, sizeof(text));
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(o)) {
		take_word(out->kvm, sizeof(out->kvm), o, "kvm");
		take_word(out->sentence, sizeof(out->sentence), o, "sentence");
		take_word(out->qemu, sizeof(out->qemu), o, "qemu");
		out->known = *out->kvm;
		out->kvm_usable = !strcmp(out->kvm, "usable");
	}
	if (!out->known)
		str_copy(out->sentence, sizeof(out->sentence), "bulkhead-vmm --probe gave no answer");
	json_decref(o);
}
