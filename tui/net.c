/* SPDX-License-Identifier: Apache-2.0 */
/* What is said about a connection, and the rules that can be made of it. See net.h. */
#include "tui/net.h"

#include <stdio.h>
#include <string.h>

#include "core/base/utf8.h"
#include "tui/canvas.h"

const char *reach_host(const struct model_reach *r)
{
	return r->name[0] ? r->name : r->address[0] ? r->address : "?";
}

size_t fit_end(char *dst, size_t cap, const char *s, size_t columns, bool ascii)
{
	size_t wide = utf8_columns(s);

	if (wide <= columns) {
		str_copy(dst, cap, s);
		return wide;
	}
	if (!columns) {
		dst[0] = '\0';
		return 0;
	}
	while (*s && wide > columns - 1) {
		uint32_t cp;
		const size_t used = utf8_decode((const uint8_t *)s, strlen(s), &cp, NULL);
		const int w = utf8_width(cp);

		s += used;
		wide -= w > 0 ? (size_t)w : 0;
	}
	snprintf(dst, cap, "%s%s", glyph(G_ELLIPSIS, ascii), s);
	return wide + 1;
}

void reach_text(const struct model_reach *r, char *dst, size_t cap, int columns, bool ascii)
{
	const char *host = reach_host(r);
	const bool v6 = strchr(host, ':') != NULL;
	char method[32] = "", tail[16], cut[300], path[600];
	int room;

	if (r->method[0])
		snprintf(method, sizeof(method), "%s ", r->method);
	snprintf(tail, sizeof(tail), "%s:%u", v6 ? "]" : "", r->port);
	room = columns - (int)(utf8_columns(method) + strlen(tail)) - v6;
	const size_t used = fit_end(cut, sizeof(cut), host, room > 1 ? (size_t)room : 1, ascii);
	room -= (int)used;
	path[0] = '\0';
	if (r->path[0] && room > 1)
		utf8_fit(path, sizeof(path), r->path, (size_t)room, ascii);
	snprintf(dst, cap, "%s%s%s%s%s", method, v6 ? "[" : "", cut, tail, path);
}

void reach_who(const struct model_reach *r, char *dst, size_t cap)
{
	const char *comm = r->comm[0] ? r->comm : r->pid ? "?" : "";
	int n = r->pid ? snprintf(dst, cap, "%s (%u)", comm, r->pid) : snprintf(dst, cap, "%s", comm);

	if (r->container[0] && n > 0 && (size_t)n < cap)
		snprintf(dst + n, cap - (size_t)n, " in %.12s", r->container);
}

/* ---- rules ------------------------------------------------------------------------------------------------------------------------- */

static void host_add(struct ruleform *f, const char *prefix, const char *host)
{
	if (f->nhosts < RULE_HOSTS)
		snprintf(f->hosts[f->nhosts++], sizeof(f->hosts[0]), "%s%s", prefix, host);
}

/* The name itself, then wildcards over it and over its parents down to two labels: nobody means everything under a top-level domain. */
static void hosts_of(struct ruleform *f, const char *name)
{
	const char *parent = name;

	host_add(f, "", name);
	while ((parent = strchr(parent, '.')) && strchr(++parent, '.')) {
		host_add(f, "*.", parent);
		host_add(f, "**.", parent);
	}
	if (f->nhosts == 1 && strchr(name, '.'))
		host_add(f, "**.", name);
}

static void requests_of(struct ruleform *f)
{
	const struct model_reach *w = &f->what;
	const char *slash;

	f->requests[f->nrequests++][0] = '\0';
	if (!w->method[0] || w->method[strspn(w->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")])
		return;
	snprintf(f->requests[f->nrequests++], sizeof(f->requests[0]), "%s", w->method);
	/* A path with what means something in a glob, or a blank, is not offered: the rule would be another one. */
	if (w->path[0] != '/' || strpbrk(w->path, " *?[]\\%\"'#") || strlen(w->path) > 200)
		return;
	snprintf(f->requests[f->nrequests++], sizeof(f->requests[0]), "%s %s", w->method, w->path);
	slash = strrchr(w->path, '/');
	snprintf(f->requests[f->nrequests++], sizeof(f->requests[0]), "%s %.*s**", w->method, (int)(slash - w->path) + 1, w->path);
}

bool reach_rulable(const struct model_reach *r)
{
	const char *host = r->name[0] ? r->name : r->address;

	return host[0] && !host[strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:_-")];
}

void ruleform_init(struct ruleform *f, const struct model_reach *what, enum model_verdict verdict)
{
	memset(f, 0, sizeof(*f));
	f->what = *what;
	f->choice[RF_VERDICT] = (int)verdict;
	if (what->name[0])
		hosts_of(f, what->name);
	else
		host_add(f, "", reach_host(what));
	requests_of(f);
	f->field = RF_HOST;
}

int ruleform_choices(const struct ruleform *f, enum rule_field field)
{
	switch (field) {
	case RF_VERDICT: return MV_NUM;
	case RF_HOST: return f->nhosts;
	case RF_REQUEST: return f->nrequests;
	case RF_PORT: return f->what.proto == MP_TCP ? 1 : 2; /* raw TCP is allowed by port only */
	default: return 2;
	}
}

void ruleform_text(const struct ruleform *f, char *dst, size_t cap)
{
	const char *host = f->hosts[f->choice[RF_HOST]], *request = f->requests[f->choice[RF_REQUEST]];
	const bool v6 = strchr(host, ':') != NULL;
	char port[8] = "";

	if (f->choice[RF_PORT] == 0 && f->what.port)
		snprintf(port, sizeof(port), ":%u", f->what.port);
	snprintf(dst, cap, "%s %s%s%s%s%s%s%s", model_verdict_word((enum model_verdict)f->choice[RF_VERDICT]),
		 f->what.proto == MP_TCP && !request[0] ? "tcp " : "", v6 ? "[" : "", host, v6 ? "]" : "", port, request[0] ? " " : "", request);
}
