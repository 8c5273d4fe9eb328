/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/proto/net.h"
#include "core/supervisor/events.h"
#include "core/supervisor/kid.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/super.h"

#define BACKLOG 128

/* A listening socket, and the port it got. */
static int listen_at(const char *address, uint16_t port, uint16_t *got, struct err *e)
{
	union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } a = { 0 };
	socklen_t n;
	const int on = 1;

	if (inet_pton(AF_INET, address, &a.v4.sin_addr) == 1) {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons(port);
		n = sizeof(a.v4);
	} else if (inet_pton(AF_INET6, address, &a.v6.sin6_addr) == 1) {
		a.v6.sin6_family = AF_INET6;
		a.v6.sin6_port = htons(port);
		n = sizeof(a.v6);
	} else {
		return err_set(e, EINVAL, "'%.64s' is not an address of this host: 127.0.0.1 is the usual one, 0.0.0.0 lets others in", address);
	}
	AUTO_FD fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, errno, "cannot make a socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a.any.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, &a.any, n) || listen(fd, BACKLOG) || getsockname(fd, &a.any, &n))
		return err_errno(e, errno, "cannot listen at port %u of %s", port, address);
	*got = ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
	return steal_fd(&fd);
}

static int pack_publish(struct buf *b, const void *m)
{
	const struct spec_port *p = m;

	buf_u32(b, p->id);
	return buf_u16(b, p->guest_port);
}

static int pack_u32(struct buf *b, const void *m)
{
	return buf_u32(b, *(const uint32_t *)m);
}

static uint32_t next_id(struct super *su)
{
	uint32_t max = su->next_port;

	for (const struct sandbox *sb = su->sandboxes; sb; sb = sb->next)
		for (uint32_t i = 0; i < sb->spec.nports; i++)
			if (sb->spec.ports[i].id > max)
				max = sb->spec.ports[i].id;
	return su->next_port = max + 1;
}

int port_publish(struct sandbox *sb, const char *address, uint16_t host_port, uint16_t guest_port, const struct spec_port **out, struct err *e)
{
	struct spec_port *p = &sb->spec.ports[sb->spec.nports];

	if (sb->spec.nports == SPEC_PORTS_MAX)
		return err_set(e, EDQUOT, "sandbox '%s' has %u published ports already", sb->spec.name, SPEC_PORTS_MAX);
	AUTO_FD fd = listen_at(address, host_port, &host_port, e);
	if (fd < 0)
		return -e->code;
	*p = (struct spec_port){ .id = next_id(sb->su), .host_port = host_port, .guest_port = guest_port };
	str_copy(p->address, sizeof(p->address), address);
	sb->spec.nports++;
	if (sandbox_save(sb, e)) {
		sb->spec.nports--;
		return -e->code;
	}
	kid_send(sb->net, NET_PUBLISH, pack_publish, p, &fd, 1);
	lifelog_add(sb->su, LOG_INFO, sb->spec.name, "port %u of %s leads to its port %u", p->host_port, p->address, p->guest_port);
	events_ports(sb->su);
	*out = p;
	return 0;
}

int port_unpublish(struct super *su, uint32_t id, struct err *e)
{
	for (struct sandbox *sb = su->sandboxes; sb; sb = sb->next)
		for (uint32_t i = 0; i < sb->spec.nports; i++) {
			const struct spec_port was = sb->spec.ports[i];
			if (was.id != id)
				continue;
			memmove(&sb->spec.ports[i], &sb->spec.ports[i + 1], (sb->spec.nports - i - 1) * sizeof(was));
			sb->spec.nports--;
			kid_send(sb->net, NET_UNPUBLISH, pack_u32, &id, NULL, 0);
			lifelog_add(su, LOG_INFO, sb->spec.name, "port %u of %s is closed", was.host_port, was.address);
			events_ports(su);
			return sandbox_save(sb, e);
		}
	return err_set(e, ENOENT, "there is no published port with number %u", id);
}

void port_tell(struct sandbox *sb)
{
	for (uint32_t i = 0; i < sb->spec.nports; i++) {
		const struct spec_port *p = &sb->spec.ports[i];
		struct err e = ERR_INIT;
		uint16_t got;
		AUTO_FD fd = listen_at(p->address, p->host_port, &got, &e);
		if (fd < 0)
			lifelog_add(sb->su, LOG_ERROR, sb->spec.name, "its published port is not there: %s", e.msg);
		else
			kid_send(sb->net, NET_PUBLISH, pack_publish, p, &fd, 1);
	}
}

json_t *port_json(const struct sandbox *sb, const struct spec_port *p)
{
	return json_pack("{s:I, s:s, s:s, s:i, s:i}", "id", (json_int_t)p->id, "sandbox", sb->spec.name, "host_address", p->address, "host_port",
			 p->host_port, "guest_port", p->guest_port);
}

json_t *port_list(struct super *su, const struct sandbox *of)
{
	json_t *list = json_array();
	size_t n = 0;

	for (const struct sandbox *sb = su->sandboxes; sb; sb = sb->next)
		for (uint32_t i = 0; (!of || of == sb) && i < sb->spec.nports; i++) {
			json_t *o = port_json(sb, &sb->spec.ports[i]);

			n += json_dumpb(o, NULL, 0, JSON_COMPACT) + 1;
			if (n > EVENTS_PORTS_MAX) {
				json_decref(o);
				return list;
			}
			json_array_append_new(list, o);
		}
	return list;
}
