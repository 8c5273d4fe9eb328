/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sock_diag socket belongs to the network namespace it was made in: one for the guest's own, one for each container's that was seen,
 * made by stepping into the namespace and out again (this is the only thread). Which container an address belongs to is found by asking in
 * each one's namespace, and remembered with the socket; an answer "no such connection" there means that the address has moved on.
 */
#include "guest/who.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/fd.h"
#include "core/base/str.h"

#define CGROUPS "/sys/fs/cgroup"
#define KNOWN_MAX 16u
#define PIDS_MAX 256u   /* looked at in one cgroup */
#define FDS_MAX 8192u   /* of one process */
#define CGROUPS_MAX 256u /* containers' cgroups walked to find one */
#define HANDLE_KERNFS 0xfe
#define GUESSES 8u      /* descriptors behind the last one found */

struct owner { uint32_t uid, inode; uint64_t cgroup; };
struct network { struct in6_addr from; int diag; char id[65]; uint64_t used; };

static int own_diag = -1;
static struct network known[KNOWN_MAX];
static uint64_t uses;
/* Who connected last: a process that opens many connections mostly has the next one in the next descriptor. */
static struct { char pid[16]; unsigned fd; } last;

/* ---- pure -------------------------------------------------------------------------------------------------------------------- */

void who_container_id(const char *cgroup, char id[65])
{
	static const char digits[] = "0123456789abcdef";

	id[0] = '\0';
	for (const char *p = cgroup; *p;) {
		const size_t n = strspn(p, digits);

		if (n == 64) {
			memcpy(id, p, 64);
			id[64] = '\0';
			return;
		}
		p += n > 0 ? n : 1;
	}
}

void who_cmdline(const char *p, size_t n, char *dst, size_t cap)
{
	size_t at = 0;

	while (n > 0 && p[n - 1] == '\0')
		n--;
	for (; at < n && at + 1 < cap; at++)
		dst[at] = (uint8_t)p[at] < ' ' || p[at] == 0x7f ? ' ' : p[at];
	/* Not in the middle of a character. */
	while (at < n && at > 0 && ((uint8_t)p[at] & 0xc0) == 0x80)
		at--;
	dst[at] = '\0';
}

/* ---- sock_diag ------------------------------------------------------------------------------------------------------------------ */

static int diag_open(void)
{
	const struct timeval limit = { .tv_usec = 200000 };
	const int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static void put_addr(__be32 dst[4], __be16 *port, const struct sockaddr_storage *a)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	memset(dst, 0, 16);
	if (a->ss_family == AF_INET) {
		memcpy(&v4, a, sizeof(v4));
		dst[0] = v4.sin_addr.s_addr;
		*port = v4.sin_port;
	} else {
		memcpy(&v6, a, sizeof(v6));
		memcpy(dst, &v6.sin6_addr, 16);
		*port = v6.sin6_port;
	}
}

/* The one socket with these ends, in diag's namespace. */
static bool diag_ask(int diag, const struct sockaddr_storage *from, const struct sockaddr_storage *to, struct owner *o)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} q = { .h = { .nlmsg_len = sizeof(q), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST },
		.r = { .sdiag_family = (uint8_t)from->ss_family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u,
		       .id.idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } } };
	uint32_t space[1024];
	const struct nlmsghdr *h = (const struct nlmsghdr *)space;

	put_addr(q.r.id.idiag_src, &q.r.id.idiag_sport, from);
	put_addr(q.r.id.idiag_dst, &q.r.id.idiag_dport, to);
	if (diag < 0 || send(diag, &q, sizeof(q), 0) < 0)
		return false;
	const ssize_t n = recv(diag, space, sizeof(space), 0);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct inet_diag_msg)) || h->nlmsg_type != SOCK_DIAG_BY_FAMILY || h->nlmsg_len > (size_t)n)
		return false;
	const struct inet_diag_msg *m = NLMSG_DATA(h);
	*o = (struct owner){ .uid = m->idiag_uid, .inode = m->idiag_inode };
	const uint8_t *p = (const uint8_t *)(m + 1), *end = (const uint8_t *)space + h->nlmsg_len;
	for (struct rtattr a; (size_t)(end - p) >= sizeof(a); p += RTA_ALIGN((size_t)a.rta_len)) {
		memcpy(&a, p, sizeof(a));
		if (a.rta_len < sizeof(a) || RTA_ALIGN((size_t)a.rta_len) > (size_t)(end - p))
			break;
		if (a.rta_type == INET_DIAG_CGROUP_ID && a.rta_len == sizeof(a) + sizeof(o->cgroup))
			memcpy(&o->cgroup, p + sizeof(a), sizeof(o->cgroup));
	}
	return true;
}

/* ---- processes ------------------------------------------------------------------------------------------------------------------ */

static size_t read_text(int dir, const char *path, char *dst, size_t cap)
{
	AUTO_FD fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	const ssize_t n = fd >= 0 ? read(fd, dst, cap - 1) : -1;

	dst[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

/* The cgroup with this number (its file handle is just that). */
static int open_cgroup(uint64_t id)
{
	union {
		struct file_handle h;
		uint8_t space[sizeof(struct file_handle) + sizeof(id)];
	} u = { .h = { .handle_bytes = sizeof(id), .handle_type = HANDLE_KERNFS } };
	AUTO_FD top = open(CGROUPS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	memcpy(u.space + offsetof(struct file_handle, f_handle), &id, sizeof(id));
	return top < 0 ? -1 : open_by_handle_at(top, &u.h, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool is_socket(const char *pid, unsigned fd, uint32_t inode)
{
	char path[64], want[64], link[64];

	snprintf(path, sizeof(path), "/proc/%s/fd/%u", pid, fd);
	snprintf(want, sizeof(want), "socket:[%u]", inode);
	const ssize_t n = readlink(path, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = '\0';
	return strcmp(link, want) == 0;
}

static bool has_socket(const char *pid, uint32_t inode)
{
	static uint16_t fds[FDS_MAX];
	char path[64];
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	DIR *d = opendir(path);
	for (struct dirent *e; d && n < FDS_MAX && (e = readdir(d));) {
		uint64_t v;

		if (str_u64(e->d_name, 0, UINT16_MAX, &v) == 0)
			fds[n++] = (uint16_t)v;
	}
	if (d)
		closedir(d);
	/* They come in rising order, and what just connected is mostly the last. */
	while (n > 0)
		if (is_socket(pid, fds[--n], inode)) {
			str_copy(last.pid, sizeof(last.pid), pid);
			last.fd = fds[n];
			return true;
		}
	return false;
}

/* The process in the cgroup that holds the socket: newest first, for whoever connects has mostly just begun. "" when there is none. */
static void find_process(int cgroup, uint32_t inode, char pid[16])
{
	char text[PIDS_MAX * 8];
	const size_t n = read_text(cgroup, "cgroup.procs", text, sizeof(text));
	size_t end = n;

	pid[0] = '\0';
	for (unsigned i = 0; i < GUESSES && last.pid[0]; i++)
		if (is_socket(last.pid, last.fd + i, inode)) {
			last.fd += i;
			str_copy(pid, 16, last.pid);
			return;
		}
	for (unsigned i = 0; i < PIDS_MAX && end > 0; i++) {
		size_t at = end - (text[end - 1] == '\n');

		text[at] = '\0';
		while (at > 0 && text[at - 1] != '\n')
			at--;
		end = at;
		if (strlen(text + at) < 12 && has_socket(text + at, inode)) {
			str_copy(pid, 16, text + at);
			return;
		}
	}
}

static void fill_process(struct netconn_open *m, const char *pid)
{
	char path[64], text[512];

	m->pid = (uint32_t)strtoul(pid, NULL, 10);
	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	size_t n = read_text(AT_FDCWD, path, text, sizeof(text));
	text[strcspn(text, "\n")] = '\0';
	str_copy(m->comm, sizeof(m->comm), text);
	snprintf(path, sizeof(path), "/proc/%s/cmdline", pid);
	n = read_text(AT_FDCWD, path, text, sizeof(text));
	who_cmdline(text, n, m->cmdline, sizeof(m->cmdline));
}

/* The container's name as docker keeps it; the short id when it has none (a step of docker build). */
static void fill_container(struct netconn_open *m, const char *id)
{
	AUTO_FREE char *path = str_fmt("/var/lib/docker/containers/%s/config.v2.json", id);
	json_t *j = path ? json_load_file(path, 0, NULL) : NULL;
	const char *name = json_string_value(json_object_get(j, "Name"));

	if (name && name[0] == '/' && name[1])
		str_copy(m->container, sizeof(m->container), name + 1);
	else
		snprintf(m->container, sizeof(m->container), "%.12s", id);
	json_decref(j);
}

static void fill(struct netconn_open *m, const struct owner *o, const char *container)
{
	char proc[64], path[512], id[65] = "", pid[16];

	m->uid = o->uid;
	AUTO_FD cgroup = o->cgroup ? open_cgroup(o->cgroup) : -1;
	if (cgroup >= 0) {
		snprintf(proc, sizeof(proc), "/proc/self/fd/%d", cgroup);
		const ssize_t n = readlink(proc, path, sizeof(path) - 1);
		path[n > 0 ? n : 0] = '\0';
		who_container_id(path, id);
		find_process(cgroup, o->inode, pid);
		if (pid[0])
			fill_process(m, pid);
	}
	if (id[0] || container[0])
		fill_container(m, id[0] ? id : container);
}

/* ---- containers' networks --------------------------------------------------------------------------------------------------------- */

static int diag_in(const char *pid)
{
	char path[64];
	int fd = -1;

	snprintf(path, sizeof(path), "/proc/%s/ns/net", pid);
	AUTO_FD own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	AUTO_FD theirs = open(path, O_RDONLY | O_CLOEXEC);
	if (own < 0 || theirs < 0 || setns(theirs, CLONE_NEWNET) < 0)
		return -1;
	fd = diag_open();
	if (setns(own, CLONE_NEWNET) < 0)
		abort(); /* cannot be: it is our own; and everything after would be somebody else's network */
	return fd;
}

static void remember_take(const struct in6_addr *from, int diag, const char *id)
{
	struct network *oldest = &known[0];

	for (size_t i = 1; i < KNOWN_MAX; i++)
		if (known[i].used < oldest->used)
			oldest = &known[i];
	if (oldest->used)
		close(oldest->diag);
	*oldest = (struct network){ .from = *from, .diag = diag, .used = ++uses };
	str_copy(oldest->id, sizeof(oldest->id), id);
}

/* Asks in the namespaces of dir's cgroup and of those below it, one process of each. */
static bool search(int dir, unsigned depth, unsigned *budget, const struct sockaddr_storage *from, const struct sockaddr_storage *to,
		   const struct in6_addr *key, const char *id, struct owner *o, char found_id[65])
{
	char pid[32];
	bool found = false;

	if (*budget == 0)
		return false;
	--*budget;
	if (id[0] && read_text(dir, "cgroup.procs", pid, sizeof(pid)) > 0) {
		pid[strcspn(pid, "\n")] = '\0';
		int diag = diag_in(pid);

		if (diag >= 0 && diag_ask(diag, from, to, o)) {
			remember_take(key, diag, id);
			str_copy(found_id, 65, id);
			return true;
		}
		fd_close(&diag);
	}
	DIR *d = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	for (struct dirent *e; d && depth > 0 && !found && (e = readdir(d));) {
		char below[65];
		AUTO_FD sub = e->d_type == DT_DIR && e->d_name[0] != '.' ? openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

		if (sub < 0)
			continue;
		who_container_id(e->d_name, below);
		/* buildkit's steps have names of their own */
		found = search(sub, depth - 1, budget, from, to, key, below[0] ? below : id[0] ? id : e->d_name, o, found_id);
	}
	if (d)
		closedir(d);
	return found;
}

static bool in_containers(const struct sockaddr_storage *from, const struct sockaddr_storage *to, struct owner *o, char id[65])
{
	struct in6_addr key;
	__be16 port;
	unsigned budget = CGROUPS_MAX;

	put_addr((__be32 *)&key, &port, from);
	for (size_t i = 0; i < KNOWN_MAX; i++) {
		struct network *k = &known[i];

		if (!k->used || memcmp(&k->from, &key, sizeof(key)) != 0)
			continue;
		if (diag_ask(k->diag, from, to, o)) {
			k->used = ++uses;
			str_copy(id, 65, k->id);
			return true;
		}
		close(k->diag);
		k->used = 0;
	}
	AUTO_FD top = open(CGROUPS "/docker", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return top >= 0 && search(top, 3, &budget, from, to, &key, "", o, id);
}

void who_fill(const struct sockaddr_storage *from, const struct sockaddr_storage *to, struct netconn_open *m)
{
	struct owner o = { 0 };
	char id[65] = "";

	if (own_diag < 0)
		own_diag = diag_open();
	if (diag_ask(own_diag, from, to, &o) || in_containers(from, to, &o, id))
		fill(m, &o, id);
}

bool who_closed(const struct sockaddr_storage *from, const struct sockaddr_storage *to)
{
	struct owner o = { 0 };
	struct in6_addr key;
	__be16 port;

	if (diag_ask(own_diag, from, to, &o))
		return o.inode == 0;
	put_addr((__be32 *)&key, &port, from);
	for (size_t i = 0; i < KNOWN_MAX; i++)
		if (known[i].used && memcmp(&known[i].from, &key, sizeof(key)) == 0)
			return !diag_ask(known[i].diag, from, to, &o) || o.inode == 0;
	return false;
}
