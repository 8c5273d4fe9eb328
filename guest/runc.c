/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/runc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "guest/trust.h"

#define SELF "/run/bulkhead/agent"
#define STORE_MAX (8u << 20)

static const char *const real[] = { "/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc", "/usr/local/bin/runc" };
/* Where images keep their store: Debian and most, Fedora's kin, Alpine, SUSE. */
static const char *const stores[] = { "etc/ssl/certs/ca-certificates.crt", "etc/pki/tls/certs/ca-bundle.crt", "etc/ssl/cert.pem", "etc/ssl/ca-bundle.pem" };

void runc_init(void)
{
	mkdir(RUNC_BIN, 0755);
	/* There already: fine. */
	if (symlink(SELF, RUNC_BIN "/runc") < 0 && errno != EEXIST)
		unlink(RUNC_BIN "/runc");
}

/* ---- pure -------------------------------------------------------------------------------------------------------------------- */

static const char *value_of(char *const *argv, size_t *i, const char *name, const char *brief)
{
	const char *a = argv[*i];
	const size_t n = strlen(name);

	if (strncmp(a, name, n) == 0 && a[n] == '=')
		return a + n + 1;
	if ((strcmp(a, name) == 0 || strcmp(a, brief) == 0) && argv[*i + 1])
		return argv[++*i];
	return NULL;
}

void runc_parse(char *const *argv, struct runc_call *out)
{
	static const char *const with_value[] = { "--log", "--log-format", "--root", "--criu", "--rootless" };
	size_t i = 1;

	*out = (struct runc_call){ 0 };
	for (; argv[i] && argv[i][0] == '-'; i++)
		for (size_t k = 0; k < ARRAY_SIZE(with_value); k++)
			if (value_of(argv, &i, with_value[k], with_value[k]))
				break;
	if (!argv[i])
		return;
	out->command = argv[i];
	for (i++; argv[i] && strcmp(argv[i], "--") != 0; i++) {
		const char *v = value_of(argv, &i, "--bundle", "-b");

		if (v) {
			out->bundle = v;
			continue;
		}
		v = value_of(argv, &i, "--process", "-p");
		out->process = v ? v : out->process;
		if (!argv[i])
			return;
	}
}

int runc_add_env(json_t *process)
{
	json_t *env = json_object_get(process, "env");

	if (!json_is_object(process) || (env && !json_is_array(env)))
		return -EINVAL;
	if (!env && json_object_set_new(process, "env", env = json_array()) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < trust_env_n; i++) {
		char text[256];
		const int n = snprintf(text, sizeof(text), "%s=" RUNC_MOUNT "/%s", trust_env[i].name,
				       strcmp(trust_env[i].value, TRUST_EXTRA) == 0 ? "extra.pem" : "ca-certificates.crt");
		const size_t name = strlen(trust_env[i].name) + 1;
		bool there = false;

		for (size_t k = 0; k < json_array_size(env); k++) {
			const char *s = json_string_value(json_array_get(env, k));

			there = there || (s && strncmp(s, text, name) == 0);
		}
		if (!there && (n < 0 || (size_t)n >= sizeof(text) || json_array_append_new(env, json_string(text)) < 0))
			return -ENOMEM;
	}
	return 0;
}

int runc_add(json_t *config, const char *source)
{
	json_t *mounts = json_object_get(config, "mounts");
	bool dev = false;

	if (!json_is_array(mounts))
		return -EINVAL;
	for (size_t i = 0; i < json_array_size(mounts); i++) {
		const json_t *m = json_array_get(mounts, i);
		const char *to = json_string_value(json_object_get(m, "destination")), *type = json_string_value(json_object_get(m, "type"));

		/* A /dev that is somebody else's directory is left alone. */
		dev = dev || (to && type && strcmp(to, "/dev") == 0 && strcmp(type, "tmpfs") == 0);
		if (to && strcmp(to, RUNC_MOUNT) == 0)
			return -EINVAL;
	}
	json_t *m = dev ? json_pack("{s:s, s:s, s:s, s:[s, s, s, s, s]}", "destination", RUNC_MOUNT, "type", "bind", "source", source, "options", "bind", "ro",
				    "nosuid", "nodev", "noexec") :
			  NULL;
	if (!m || json_array_append_new(mounts, m) < 0)
		return -EINVAL;
	return runc_add_env(json_object_get(config, "process"));
}

/* ---- files -------------------------------------------------------------------------------------------------------------------- */

static void append_fd(struct buf *b, int fd)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 1 || (size_t)st.st_size > buf_room(b))
		return;
	uint8_t *p = buf_reserve(b, (size_t)st.st_size);
	if (p && fd_read_full(fd, p, (size_t)st.st_size) == 0)
		buf_grew(b, (size_t)st.st_size);
}

static int write_new(const char *dir, const char *name, const struct buf *b)
{
	AUTO_FREE char *path = str_fmt("%s/%s", dir, name);
	AUTO_FD fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644) : -1;

	return fd < 0 ? -errno : fd_write_full(fd, buf_head(b), buf_size(b));
}

/* The container's own store, whatever links the image has made of it: they lead nowhere but into the image. */
static void append_store(struct buf *b, const char *rootfs)
{
	AUTO_FD root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; root >= 0 && i < ARRAY_SIZE(stores) && buf_size(b) == 0; i++) {
		const struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
		AUTO_FD fd = (int)syscall(SYS_openat2, root, stores[i], &how, sizeof(how));

		append_fd(b, fd);
	}
}

/* The directory to be mounted, made in the bundle, which dies with the container. 0 or -errno. */
static int make_trust(const char *bundle, const json_t *config, char **dir)
{
	const char *root = json_string_value(json_object_get(json_object_get(config, "root"), "path"));
	AUTO_FREE char *rootfs = root ? (root[0] == '/' ? str_dup(root) : str_fmt("%s/%s", bundle, root)) : NULL;
	AUTO_FD extra_fd = open(TRUST_EXTRA, O_RDONLY | O_CLOEXEC);
	AUTO_FD whole_fd = open(TRUST_BUNDLE, O_RDONLY | O_CLOEXEC);
	AUTO_FD at = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct buf extra, all;
	char real_bundle[4096], proc[64];
	int r = -EINVAL;

	buf_init(&extra, STORE_MAX);
	buf_init(&all, 2 * STORE_MAX);
	append_fd(&extra, extra_fd);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", at);
	const ssize_t n = at >= 0 && rootfs && buf_size(&extra) > 0 ? readlink(proc, real_bundle, sizeof(real_bundle) - 1) : -1;
	if (n > 0) {
		real_bundle[n] = '\0';
		*dir = str_fmt("%s/bulkhead-trust", real_bundle);
		append_store(&all, rootfs);
		if (buf_size(&all) == 0)
			append_fd(&all, whole_fd); /* an image without one: all that the sandbox trusts, the added roots included */
		else
			buf_u8(&all, '\n');
		buf_put(&all, buf_head(&extra), buf_size(&extra));
		r = !*dir || !buf_ok(&all) ? -ENOMEM : mkdir(*dir, 0755) < 0 && errno != EEXIST ? -errno : 0;
		if (r == 0)
			r = write_new(*dir, "extra.pem", &extra);
		if (r == 0)
			r = write_new(*dir, "ca-certificates.crt", &all);
	}
	buf_release(&extra);
	buf_release(&all);
	return r;
}

/* Replaced whole or not at all. */
static void save(json_t *j, const char *path)
{
	AUTO_FREE char *tmp = str_fmt("%s.bulkhead", path);
	struct stat st;

	if (!tmp || stat(path, &st) < 0 || json_dump_file(j, tmp, JSON_COMPACT) < 0)
		return;
	if (chmod(tmp, st.st_mode & 07777) < 0 || chown(tmp, st.st_uid, st.st_gid) < 0 || rename(tmp, path) < 0)
		unlink(tmp);
}

static void change_container(const char *bundle)
{
	AUTO_FREE char *path = str_fmt("%s/config.json", bundle);
	AUTO_FREE char *dir = NULL;
	json_t *config = path ? json_load_file(path, 0, NULL) : NULL;

	if (config && make_trust(bundle, config, &dir) == 0 && runc_add(config, dir) == 0)
		save(config, path);
	json_decref(config);
}

/* docker's own configuration of an exec knows nothing of the container's; only where the mount was made may the variables name it. */
static void change_exec(const char *process)
{
	json_t *config = json_load_file("config.json", 0, NULL), *p = NULL; /* the shim works in the bundle */
	const json_t *mounts = json_object_get(config, "mounts");

	for (size_t i = 0; i < json_array_size(mounts); i++) {
		const char *to = json_string_value(json_object_get(json_array_get(mounts, i), "destination"));

		if (to && strcmp(to, RUNC_MOUNT) == 0 && !p)
			p = json_load_file(process, 0, NULL);
	}
	if (p && runc_add_env(p) == 0)
		save(p, process);
	json_decref(p);
	json_decref(config);
}

_Noreturn void runc_main(char **argv)
{
	struct runc_call c;

	runc_parse(argv, &c);
	if (c.command && (strcmp(c.command, "create") == 0 || strcmp(c.command, "run") == 0))
		change_container(c.bundle ? c.bundle : ".");
	else if (c.command && strcmp(c.command, "exec") == 0 && c.process)
		change_exec(c.process);
	for (size_t i = 0; i < ARRAY_SIZE(real); i++)
		execv(real[i], argv);
	fprintf(stderr, "runc: not found in this sandbox\n");
	_exit(127);
}
