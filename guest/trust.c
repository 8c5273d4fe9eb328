/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates are compared by a number made of the base64 between their armor, line ends left out: the same one is written in the same way everywhere. */
#include "guest/trust.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/proto/agent.h"

#define DEBIAN "/usr/share/ca-certificates/mozilla"
#define LOCAL "/usr/local/share/ca-certificates"
#define OURS LOCAL "/bulkhead"
#define JAVA_HOOK "/etc/ca-certificates/update.d/jks-keystore"
#define CERTS_MAX 4096u
#define KNOWN_MAX (4u << 20) /* bytes of Debian's */

const struct trust_var trust_env[] = {
	{ "NODE_EXTRA_CA_CERTS", TRUST_EXTRA }, { "SSL_CERT_FILE", TRUST_BUNDLE }, { "REQUESTS_CA_BUNDLE", TRUST_BUNDLE },
	{ "PIP_CERT", TRUST_BUNDLE }, { "CURL_CA_BUNDLE", TRUST_BUNDLE }, { "GIT_SSL_CAINFO", TRUST_BUNDLE },
	{ "CARGO_HTTP_CAINFO", TRUST_BUNDLE }, { "AWS_CA_BUNDLE", TRUST_BUNDLE }, { "DENO_CERT", TRUST_BUNDLE },
};
const size_t trust_env_n = ARRAY_SIZE(trust_env);

static struct buf coming; /* the bundle, as far as it is here */

/* ---- PEM ---------------------------------------------------------------------------------------------------------------------- */

bool trust_next(const char *p, size_t n, size_t *at, size_t *begin, size_t *len)
{
	static const char head[] = "-----BEGIN CERTIFICATE-----", tail[] = "-----END CERTIFICATE-----";
	const char *b = *at < n ? memmem(p + *at, n - *at, head, sizeof(head) - 1) : NULL;
	const char *e = b ? memmem(b, n - (size_t)(b - p), tail, sizeof(tail) - 1) : NULL;

	if (!e)
		return false;
	*begin = (size_t)(b - p);
	*len = (size_t)(e - b) + sizeof(tail) - 1;
	*at = *begin + *len;
	return true;
}

/* FNV-1a. Nobody gains by a collision: a root of the host's would be missing in one list, and everything here is the guest's own anyway. */
static uint64_t number_of(const char *cert, size_t len)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (size_t i = 27; i + 25 < len; i++) /* between the armor's lines */
		if (cert[i] > ' ')
			h = (h ^ (uint8_t)cert[i]) * UINT64_C(1099511628211);
	return h;
}

/* ---- files -------------------------------------------------------------------------------------------------------------------- */

static void append_file(struct buf *b, const char *path)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 1 || (size_t)st.st_size > buf_room(b))
		return;
	uint8_t *p = buf_reserve(b, (size_t)st.st_size);
	if (p && fd_read_full(fd, p, (size_t)st.st_size) == 0)
		buf_grew(b, (size_t)st.st_size);
}

static void append_dir(struct buf *b, const char *path)
{
	DIR *d = opendir(path);

	for (struct dirent *e; d && (e = readdir(d));) {
		AUTO_FREE char *file = str_ends(e->d_name, ".crt") ? str_fmt("%s/%s", path, e->d_name) : NULL;

		if (!file)
			continue;
		append_file(b, file);
		buf_u8(b, '\n');
	}
	if (d)
		closedir(d);
}

/* All of it or nothing of it, for who reads it at this very moment. */
static void write_file(const char *path, const void *p, size_t n)
{
	AUTO_FREE char *tmp = str_fmt("%s.new", path);
	AUTO_FD fd = tmp ? open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644) : -1;

	if (fd < 0 || fd_write_full(fd, p, n) < 0 || rename(tmp, path) < 0)
		log_warn("cannot write %s: %s", path, strerror(errno));
}

static void forget_ours(void)
{
	DIR *d = opendir(OURS);

	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

/* ---- installing ------------------------------------------------------------------------------------------------------------------ */

/* Those that Debian has not: a file each, and all of them in one. Their number. */
static unsigned install_extra(const char *p, size_t n)
{
	static uint64_t known[CERTS_MAX];
	struct buf debian, extra;
	unsigned found = 0, n_known = 0;
	size_t at = 0, begin, len;

	buf_init(&debian, KNOWN_MAX);
	buf_init(&extra, AGENT_TRUST_MAX + CERTS_MAX);
	append_dir(&debian, DEBIAN);
	while (n_known < CERTS_MAX && buf_size(&debian) > 0 && trust_next((const char *)buf_head(&debian), buf_size(&debian), &at, &begin, &len))
		known[n_known++] = number_of((const char *)buf_head(&debian) + begin, len);
	forget_ours();
	mkdir(LOCAL, 0755);
	mkdir(OURS, 0755);
	at = 0;
	for (unsigned i = 0; i < CERTS_MAX && trust_next(p, n, &at, &begin, &len); i++) {
		const uint64_t number = number_of(p + begin, len);
		unsigned k = 0;

		while (k < n_known && known[k] != number)
			k++;
		if (k < n_known)
			continue;
		AUTO_FREE char *path = str_fmt(OURS "/%03u.crt", found++);
		const size_t from = buf_size(&extra);
		buf_put(&extra, p + begin, len);
		buf_u8(&extra, '\n');
		if (path)
			write_file(path, buf_head(&extra) + from, buf_size(&extra) - from);
	}
	write_file(TRUST_EXTRA, buf_size(&extra) > 0 ? (const char *)buf_head(&extra) : "", buf_size(&extra));
	buf_release(&debian);
	buf_release(&extra);
	return found;
}

/* java keeps a store of its own, which Debian's hook makes from the others. */
static void tell_java(void)
{
	char *const argv[] = { (char *)"/usr/sbin/update-ca-certificates", NULL };
	char *const envp[] = { (char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	sigset_t none;

	if (access(JAVA_HOOK, X_OK) < 0 || fork() != 0)
		return;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	execve(argv[0], argv, envp);
	_exit(127);
}

static void install(const char *p, size_t n)
{
	struct buf all;
	size_t at = 0, begin, len;
	unsigned count = 0;

	while (trust_next(p, n, &at, &begin, &len))
		count++;
	if (count == 0) {
		log_warn("the host's roots hold no certificate: the sandbox keeps its own");
		return;
	}
	const unsigned extra = install_extra(p, n);
	buf_init(&all, AGENT_TRUST_MAX + KNOWN_MAX);
	buf_put(&all, p, n);
	buf_u8(&all, '\n');
	append_dir(&all, LOCAL);
	write_file(TRUST_BUNDLE, buf_head(&all), buf_size(&all));
	buf_release(&all);
	log_info("%u roots of the host's are trusted, %u of them not Debian's", count, extra);
	tell_java();
}

void trust_init(void)
{
	mkdir(TRUST_DIR, 0755);
	write_file(TRUST_EXTRA, "", 0); /* node takes an empty one in silence */
	buf_init(&coming, AGENT_TRUST_MAX);
}

void trust_piece(struct rbuf *r)
{
	struct agent_trust m;

	const int rc = agent_trust_unpack(r, &m);
	if (rc == 0 && m.offset == 0)
		buf_clear(&coming);
	if (rc < 0 || m.offset != buf_size(&coming) || buf_put(&coming, m.p, m.n) < 0) {
		log_error("the host's roots came in pieces that do not fit");
		buf_release(&coming);
		return;
	}
	if (buf_size(&coming) < m.total)
		return;
	install((const char *)buf_head(&coming), buf_size(&coming));
	buf_release(&coming);
}
