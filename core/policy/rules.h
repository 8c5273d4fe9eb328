/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of egress and the decision, a pure function of (rules, facts). No I/O, no clock; one thread.
 *
 * How a decision falls:
 *   1. The administrator's rules give a bound: any deny that matches is a deny; else the most specific ask or allow; else their default
 *      (deny once they have an allow or ask rule at all, otherwise no bound).
 *   2. The person's rules (sandbox, global, preset together): any deny that matches is a deny; else an ask or allow of the sandbox's or the
 *      global file before the preset's, and of those the most specific (host exact > *. > **. (longer first) > *, then path, method, ports; at
 *      a tie the sandbox's before the global, and the later of one file); else the default.
 *   3. The stricter of both counts (deny > ask > allow): a person may narrow what the administrator says, never loosen it.
 *   4. Unattended, an ask is a deny.
 *   5. A raw address that addr_forbidden() refuses is denied unless rules_names_address().
 * A rule matches raw TCP (neither TLS nor HTTP) only with `tcp`, unless it denies; a default of allow does not cover raw TCP, it is asked for.
 * A name is matched by names only; a range (address, CIDR) that allows or asks matches what the guest addressed by number, one that denies
 * also what a name resolved to. A path is matched in its canonical form; one that hides something (.., //, encoded slashes, parameters) is
 * matched by no rule that allows by path, and by every rule that denies or asks about anything it may be taken for (path_read). Methods have
 * a case for what allows, none for what denies or asks.
 */
#ifndef BULKHEAD_POLICY_RULES_H
#define BULKHEAD_POLICY_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/proto/net.h"

#define RULES_MAX 16384u          /* rules of all scopes together */
#define RULES_BLOB_MAX (1u << 20) /* bytes of rules_pack() */
#define RULE_PORTS 16u
#define RULE_METHODS 8u
#define RULE_PATH_MAX 256u
#define RULE_NOTE_MAX 128u
#define RULE_TEXT_MAX 1024u       /* any rule as a string, with its NUL */

enum rule_scope { RULE_ADMIN, RULE_SANDBOX, RULE_GLOBAL, RULE_PRESET, RULE_PERSON /* an answer */, RULE_BUILTIN, RULE_SCOPE_NUM };
extern const char *const rule_scope_name[RULE_SCOPE_NUM];
extern const char *const rule_verdict_name[NET_VERDICT_NUM]; /* "allow" "deny" "ask" */

enum host_kind {
	HOST_EXACT, /* example.org */
	HOST_ONE,   /* *.example.org: exactly one label more */
	HOST_DEEP,  /* **.example.org: any number of labels more, none included */
	HOST_ANY,   /* *: any name and any address */
	HOST_NET,   /* an address or CIDR */
	HOST_KIND_NUM
};
struct host_pattern {
	uint8_t kind;
	uint8_t bits;            /* NET: of 128 */
	struct net_addr net;     /* NET: its first address */
	char name[NET_NAME_MAX]; /* EXACT, ONE, DEEP: without the wildcard, lower case */
};
/* "example.org", "*.example.org", "**.example.org", "*", "192.0.2.0/24", "2001:db8::/32" ("[...]" allowed). -EINVAL with a sentence. */
int host_parse(const char *s, struct host_pattern *h, struct err *e);
void host_text(const struct host_pattern *h, char *dst, size_t cap);
/* `name` as in struct net_facts: lower case, no dot at its end; a raw address has "" and only ANY matches. */
bool host_match(const struct host_pattern *h, const char *name);

/*
 * A name that means something else to everybody who looks it up: a single label, localhost, .local, .internal, .arpa and their like, a cloud's
 * metadata service. Where such a name goes is checked by its address; it is refused where somebody else resolves it. `why` gets a constant like
 * "one of the local network, by its name".
 */
bool host_is_local(const char *name, const char **why);

struct port_range { uint16_t from, to; };
struct rule {
	uint8_t verdict;  /* enum net_verdict */
	uint8_t scope;    /* enum rule_scope, up to RULE_PRESET */
	bool tcp;         /* protocols other than TLS and HTTP too */
	uint8_t nports;   /* 0: all */
	uint8_t nmethods; /* 0: all */
	struct host_pattern host;
	struct port_range ports[RULE_PORTS];
	char methods[RULE_METHODS][24];
	char path[RULE_PATH_MAX]; /* "" any; begins with a slash; * and ? within a segment, ** across */
	char note[RULE_NOTE_MAX]; /* not packed */
};
/*
 * "[allow|deny|ask] [tcp] HOST[:PORT[-PORT][,…]] [METHOD[,METHOD…]] [/PATH]". A rule without verdict keeps what r->verdict and r->scope were
 * (set them before). -EINVAL with a sentence.
 */
int rule_parse(const char *s, struct rule *r, struct err *e);
/* Fields that contradict each other (tcp with a path, allow tcp without a port, a CIDR with host bits, …). */
int rule_check(const struct rule *r, struct err *e);
/* The canonical string; with_verdict false gives what stands in a list of policy.yaml. Cut with an ellipsis when cap is short. */
void rule_text(const struct rule *r, bool with_verdict, char *dst, size_t cap);
/* Same verdict, host, ports, methods, path and tcp. */
bool rule_equal(const struct rule *a, const struct rule *b);

struct rules;
/* Empty: default ask, attended, no bound by an administrator. NULL: out of memory. */
struct rules *rules_create(void);
void rules_destroy(struct rules *rs); /* NULL is fine */
/* Appends a copy. -ENOSPC over RULES_MAX, -ENOMEM, -EINVAL. */
int rules_add(struct rules *rs, const struct rule *r, struct err *e);
/* The person's default and whose it is. */
void rules_default(struct rules *rs, enum net_verdict v, enum rule_scope scope);
/* The administrator's file says `default:`. */
void rules_admin_default(struct rules *rs, enum net_verdict v);
void rules_unattended(struct rules *rs, bool on);
/* The person's default, and whose it is. */
enum net_verdict rules_default_of(const struct rules *rs, enum rule_scope *scope);
size_t rules_count(const struct rules *rs);
const struct rule *rules_at(const struct rules *rs, size_t i);

/* 0, or -ENOBUFS over b's maximum. */
int rules_pack(const struct rules *rs, struct buf *b);
/* NULL with a sentence for anything that rules_pack() did not write. */
struct rules *rules_unpack(const void *p, size_t n, struct err *e);

struct rules_verdict {
	uint8_t verdict;         /* enum net_verdict; not final while needs_open */
	bool needs_open;         /* facts->proto is TLS and a rule for this host looks at method or path: open it, and decide every request */
	uint8_t scope;           /* enum rule_scope of what decided */
	const struct rule *by;   /* lives until the rules change; NULL: a default or a built-in reason */
	char rule[160];          /* by as text, or "default", … */
};
void rules_decide(const struct rules *rs, const struct net_facts *f, struct rules_verdict *out);
/* Some rule, for any port, looks at method or path of requests to this host. */
bool rules_opens(const struct rules *rs, const char *name);
/*
 * A rule that allows (or asks, when nothing was `resolved` but the guest itself gave the number) names this address: exactly, or as a range that lies wholly within forbidden ranges and is not wider than they
 * are. Lifts addr_forbidden(). Metadata addresses need the exact one. No rule may deny it.
 */
bool rules_names_address(const struct rules *rs, const struct net_addr *a, uint16_t port, bool resolved);
/* The same of a name: a rule that allows or asks names it exactly, with this port or without one. Lifts host_is_local(). */
bool rules_names_host(const struct rules *rs, const char *name, uint16_t port);
/* A rule that denies this address or a range with it, whatever the name was; NULL none. For what a name resolved to. */
const struct rule *rules_denied_address(const struct rules *rs, const struct net_addr *a, uint16_t port);
/*
 * The rule that remembers an answer to a question about `f`: exact host (or address) and port, tcp as f says, and method and path of the rule
 * that asked, so that it is at least as specific as that one. Without a scope.
 */
void rules_remember(const struct rules *rs, const struct net_facts *f, enum net_verdict v, struct rule *out);

#endif
