/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/loop/after.h"
#include "core/policy/addr.h"
#include "core/policy/rules.h"
#include "core/supervisor/ask.h"
#include "core/supervisor/events.h"
#include "core/supervisor/kid.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/policy.h"
#include "core/supervisor/port.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/secrets.h"
#include "core/supervisor/super.h"

#define NET_LOG_CAP (UINT64_C(1) << 20)
#define ALARM_EVERY_NS UINT64_C(10000000000)
#define NET_END_MS 1000

static int pack_start(struct buf *b, const void *m) { return net_start_pack(b, m); }
static int pack_secret(struct buf *b, const void *m) { return net_secret_pack(b, m); }

static int pack_u32(struct buf *b, const void *m)
{
	return buf_u32(b, *(const uint32_t *)m);
}

/* ---- what it is given ---------------------------------------------------------------------------------------------------------- */

void net_rules(struct sandbox *sb)
{
	struct buf blob;
	uint32_t version = ++sb->su->rules_version;

	if (!sb->net)
		return;
	buf_init(&blob, RULES_BLOB_MAX);
	AUTO_FD fd = policy_blob(sb, &blob) ? -1 : fd_memfd("rules", buf_head(&blob), buf_size(&blob));
	if (fd < 0)
		log_error("the rules of '%s' cannot be told: it keeps the ones it has", sb->spec.name);
	else
		kid_send(sb->net, NET_RULES, pack_u32, &version, &fd, 1);
	buf_release(&blob);
}

void net_rules_changed(struct super *su, struct sandbox *of)
{
	for (struct sandbox *sb = su->sandboxes; sb; sb = sb->next)
		if (!of || of == sb)
			net_rules(sb);
}

/* ---- credentials ----------------------------------------------------------------------------------------------------------------- */

/* What its bulkhead-net holds, without the value: to take back what is not named any more, and to know which names may be opened. */
struct given {
	struct given *next;
	bool still;
	uint32_t id;
	uint16_t nhosts;
	char hosts[NET_SECRET_HOSTS][NET_NAME_MAX];
};

static void tell_secret(void *arg, const struct net_secret *s)
{
	struct sandbox *sb = arg;
	struct given *g = sb->given;

	while (g && g->id != s->id)
		g = g->next;
	if (!g) {
		if (!(g = calloc(1, sizeof(*g))))
			return;
		g->next = sb->given;
		sb->given = g;
	}
	g->still = true;
	g->id = s->id;
	g->nhosts = s->nhosts;
	memcpy(g->hosts, s->hosts, sizeof(g->hosts));
	/* Without a value it is being fetched: what was sent before stays. */
	if (*s->value)
		kid_send(sb->net, NET_SECRET, pack_secret, s, NULL, 0);
}

/* Takes back those not `still` there. */
static void take_back(struct sandbox *sb)
{
	struct given **p = &sb->given;

	while (*p) {
		struct given *g = *p;
		if (g->still) {
			p = &g->next;
			continue;
		}
		kid_send(sb->net, NET_SECRET_GONE, pack_u32, &g->id, NULL, 0);
		*p = g->next;
		free(g);
	}
}

static void tell_secrets(struct sandbox *sb)
{
	if (!sb->net)
		return;
	for (struct given *g = sb->given; g; g = g->next)
		g->still = false;
	secrets_for(sb, tell_secret, sb);
	take_back(sb);
}

void net_secrets_changed(struct super *su, struct sandbox *of)
{
	for (struct sandbox *sb = su->sandboxes; sb; sb = sb->next)
		if (!of || of == sb)
			tell_secrets(sb);
}

static void forget_secrets(struct sandbox *sb)
{
	for (struct given *g = sb->given; g; g = g->next)
		g->still = false;
	take_back(sb);
}

bool net_may_open(struct sandbox *sb, const char *name)
{
	struct net_facts plain = { .proto = NET_P_TLS, .port = 443 };
	struct rules_verdict v;
	struct host_pattern h;

	/* What is not simply let through may have to be told so, in words. */
	str_copy(plain.name, sizeof(plain.name), name);
	rules_decide(policy_rules(sb), &plain, &v);
	if (v.verdict != NET_ALLOW || policy_opens(sb, name))
		return true;
	for (const struct given *g = sb->given; g; g = g->next)
		for (uint16_t i = 0; i < g->nhosts; i++) {
			char host[NET_NAME_MAX];
			str_copy(host, sizeof(host), g->hosts[i]);
			host[strcspn(host, ":")] = '\0'; /* its port is bulkhead-net's to look at */
			if (!host_parse(host, &h, NULL) && host_match(&h, name))
				return true;
		}
	return false;
}

static const char *environment(const char *upper, const char *lower)
{
	const char *v = getenv(upper);

	return v && *v ? v : (v = getenv(lower)) ? v : "";
}

/* ---- its life ------------------------------------------------------------------------------------------------------------------- */

int net_start_take(struct sandbox *sb, int dial, struct err *e)
{
	struct net_start m = { .ask_ms = (uint32_t)sb->su->config.ask_ms };
	AUTO_FD fd = dial, log = -1;

	if (sb->net)
		return err_set(e, EBUSY, "the network of its last machine is still ending: try again");
	if (kid_spawn(sb, KID_NET, e) || (log = store_open_log(sb->dirfd, "net.log", NET_LOG_CAP, e)) < 0)
		return -e->code;
	str_copy(m.name, sizeof(m.name), sb->spec.name);
	str_copy(m.https_proxy, sizeof(m.https_proxy), environment("HTTPS_PROXY", "https_proxy"));
	str_copy(m.no_proxy, sizeof(m.no_proxy), environment("NO_PROXY", "no_proxy"));
	str_copy(m.dns, sizeof(m.dns), sb->su->config.dns);
	str_copy(m.ca_file, sizeof(m.ca_file), sb->su->config.ca_file);
	const int fds[] = { [NET_FD_DIAL] = fd, [NET_FD_LOG] = log };
	_Static_assert(ARRAY_SIZE(fds) == NET_FD_NUM, "every descriptor of NET_START");
	sb->net->phase = KID_STARTED;
	sb->net_stats = (struct net_stats){ 0 };
	kid_send(sb->net, NET_START, pack_start, &m, fds, ARRAY_SIZE(fds));
	net_rules(sb);
	tell_secrets(sb);
	port_tell(sb);
	return 0;
}

static void on_end_late(void *arg)
{
	kid_kill(arg, NULL);
}

void net_end(struct sandbox *sb)
{
	if (!sb->net)
		return;
	kid_send(sb->net, NET_QUIT, NULL, NULL, NULL, 0);
	if (sb->net)
		after_set(&sb->net->patience, sb->su->loop, NET_END_MS, on_end_late, sb->net);
}

int net_replace(struct sandbox *sb, struct err *e)
{
	const int dial = machine_redial(sb, VMM_FD_DIAL_NET, e);

	return dial < 0 ? dial : net_start_take(sb, dial, e);
}

void net_adopted(struct sandbox *sb)
{
	struct err e = ERR_INIT;

	if (!sb->net && net_replace(sb, &e)) {
		machine_end(sb, e.msg);
		return;
	}
	net_rules(sb);
	tell_secrets(sb);
}

void net_gone(struct sandbox *sb, const char *how)
{
	ask_withdraw(sb);
	forget_secrets(sb);
	sb->net_stats = (struct net_stats){ 0 };
	if (!life_child_gone(sb))
		life_replace(sb, &sb->net_deaths, how, "its connections are lost", net_replace);
}

/* ---- alarms ---------------------------------------------------------------------------------------------------------------------- */

void net_alarm(struct sandbox *sb, const struct net_record *r)
{
	const uint64_t now = clock_ns();
	char addr[ADDR_TEXT_MAX], text[400], more[40] = "";

	sb->alarms++;
	if (sb->alarm_ns && now - sb->alarm_ns < ALARM_EVERY_NS)
		return;
	addr_text(&r->facts.addr, addr);
	if (sb->alarms > 1)
		snprintf(more, sizeof(more), ", %u more since the last alarm", sb->alarms - 1);
	snprintf(text, sizeof(text), "the placeholder of '%.60s' was on its way to %.120s:%u (%.60s) and was refused%s", r->service,
		 *r->facts.name ? r->facts.name : addr, r->facts.port, *r->who.comm ? r->who.comm : "unknown process", more);
	lifelog_add(sb->su, LOG_WARN, sb->spec.name, "ALARM: %s", text);
	events_alarm(sb, text);
	sb->alarm_ns = now;
	sb->alarms = 0;
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------------------- */

const char *net_proto_name(enum net_proto p)
{
	static const char *const names[] = { [NET_P_TCP] = "tcp", [NET_P_TLS] = "tls", [NET_P_HTTP] = "http", [NET_P_HTTPS] = "https" };
	_Static_assert(ARRAY_SIZE(names) == NET_P_NUM, "every protocol has a name");

	return (unsigned)p < NET_P_NUM ? names[p] : "?";
}

const char *net_verdict_name(enum net_verdict v)
{
	static const char *const names[] = { [NET_ALLOW] = "allow", [NET_DENY] = "deny", [NET_ASKED] = "ask" };
	_Static_assert(ARRAY_SIZE(names) == NET_VERDICT_NUM, "every verdict has a name");

	return (unsigned)v < NET_VERDICT_NUM ? names[v] : "?";
}

void net_json_facts(json_t *o, const struct net_facts *f, const struct net_who *w)
{
	char addr[48] = "";

	if (f->has_addr)
		addr_text(&f->addr, addr);
	json_t *more = json_pack("{s:s, s:s, s:s?, s:I, s:s, s:s, s:I, s:s, s:s, s:s}", "proto", net_proto_name(f->proto), "name", f->name, "address",
				 *addr ? addr : NULL, "port", (json_int_t)f->port, "method", f->method, "path", f->path, "pid", (json_int_t)w->pid,
				 "comm", w->comm, "cmdline", w->cmdline, "container", w->container);
	json_object_update(o, more);
	json_decref(more);
}
