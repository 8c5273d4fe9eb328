/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources of rules and what they say together. A joined set is made when it is asked for and thrown away when one of its files changed.
 *
 * Fails closed: an administrator's file that was never read whole denies everything, and a person's file that was never read whole takes
 * the person's other rules out of force too (its denials are not known) and denies. Both are told at once; editing the file heals it.
 */
#include "core/supervisor/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/path.h"
#include "core/base/str.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/policyfiles.h"
#include "core/supervisor/policywatch.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/super.h"

#define ADMIN_DIR "/etc/bulkhead"

struct policy_of {
	struct policy_of *next;
	struct sandbox *sb;      /* NULL: of nobody in particular */
	struct policysource own; /* none for nobody */
	struct rules *joined;    /* NULL: to be made */
	char error[200];         /* why they could not be joined, "" */
};

struct policy {
	struct super *su;
	struct policysource admin, global;
	struct policywatch *watch;
	struct policy_of *sets;
	struct rules *nothing; /* denies; when there is no memory for more */
};

static bool no_admin_file(void)
{
	return access(ADMIN_DIR "/" POLICY_FILE, F_OK) && errno == ENOENT;
}

/* A test may name another directory, but only while there is no administrator's file: it cannot take one out of force. */
static char *admin_dir(void)
{
	const char *set = getenv("BULKHEAD_ADMIN_POLICY_DIR");

	return str_dup(set && set[0] == '/' && no_admin_file() ? set : ADMIN_DIR);
}

static void heed_admin(struct policy *p)
{
	struct policysource s;

	if (!strcmp(p->admin.dir, ADMIN_DIR) || no_admin_file() || policysource_init_take(&s, RULE_ADMIN, str_dup(ADMIN_DIR)))
		return;
	policysource_release(&p->admin);
	p->admin = s;
}

static void told(struct policy *p, const struct policysource *s, const char *name)
{
	if (*s->error)
		lifelog_add(p->su, LOG_ERROR, name, "%s: %s", s->refused ? "rules are not used, and nothing is allowed until they are mended" : "the change of rules is not used", s->error);
	else
		lifelog_add(p->su, LOG_INFO, name, "%zu rules of '%s' hold", s->good.n, s->path);
}

static void forget_joined(struct policy *p, const struct sandbox *sb)
{
	for (struct policy_of *o = p->sets; o; o = o->next)
		if (!sb || o->sb == sb) {
			rules_destroy(o->joined);
			o->joined = NULL;
		}
}

/* Looks at every file; tells whom it concerns. */
static void reread(struct policy *p)
{
	heed_admin(p);
	const bool admin = policysource_read(&p->admin), global = policysource_read(&p->global);

	if (admin)
		told(p, &p->admin, NULL);
	if (global)
		told(p, &p->global, NULL);
	policywatch_dir(p->watch, p->admin.dir);
	policywatch_dir(p->watch, p->global.dir);
	if (admin || global) {
		forget_joined(p, NULL);
		net_rules_changed(p->su, NULL);
	}
	for (struct policy_of *o = p->sets; o; o = o->next) {
		if (!o->sb || !policysource_read(&o->own))
			continue;
		told(p, &o->own, o->sb->spec.name);
		forget_joined(p, o->sb);
		net_rules_changed(p->su, o->sb);
	}
}

static void on_change(void *arg)
{
	reread(arg);
}

int policy_open(struct super *su, struct err *e)
{
	struct policy *p = calloc(1, sizeof(*p));
	char *global = path_config(e);

	if (!p || !global || policysource_init_take(&p->admin, RULE_ADMIN, admin_dir()) || policysource_init_take(&p->global, RULE_GLOBAL, global) ||
	    !(p->nothing = rules_create())) {
		if (p) {
			policysource_release(&p->admin);
			policysource_release(&p->global);
		}
		free(p);
		return err_set(e, ENOMEM, "out of memory");
	}
	p->su = su;
	rules_default(p->nothing, NET_DENY, RULE_BUILTIN);
	su->policy = p;
	struct err ignored = ERR_INIT;
	path_mkdirs(p->global.dir, 0700, &ignored); /* to be watched; where it cannot be made, there is nothing to read either */
	p->watch = policywatch_open(su->loop, POLICY_FILE, on_change, p);
	policysource_read(&p->admin);
	policysource_read(&p->global);
	if (*p->admin.error || p->admin.good.n)
		told(p, &p->admin, NULL);
	if (*p->global.error)
		told(p, &p->global, NULL);
	policywatch_dir(p->watch, p->admin.dir);
	policywatch_dir(p->watch, ADMIN_DIR);
	policywatch_dir(p->watch, p->global.dir);
	return 0;
}

static void set_destroy(struct policy_of *o)
{
	if (o->sb)
		policysource_release(&o->own);
	rules_destroy(o->joined);
	free(o);
}

void policy_close(struct super *su)
{
	struct policy *p = su->policy;

	if (!p)
		return;
	su->policy = NULL;
	policywatch_close(p->watch);
	while (p->sets) {
		struct policy_of *o = p->sets;
		p->sets = o->next;
		set_destroy(o);
	}
	policysource_release(&p->admin);
	policysource_release(&p->global);
	rules_destroy(p->nothing);
	free(p);
}

void policy_forget(struct sandbox *sb)
{
	struct policy *p = sb->su->policy;

	for (struct policy_of **at = p ? &p->sets : NULL; at && *at; at = &(*at)->next)
		if ((*at)->sb == sb) {
			struct policy_of *o = *at;
			*at = o->next;
			set_destroy(o);
			return;
		}
}

static struct policy_of *set_of(struct policy *p, struct sandbox *sb)
{
	for (struct policy_of *o = p->sets; o; o = o->next)
		if (o->sb == sb)
			return o;
	struct policy_of *o = calloc(1, sizeof(*o));
	if (!o)
		return NULL;
	if (sb && policysource_init_take(&o->own, RULE_SANDBOX, path_join(p->su->store.path, sb->spec.name))) {
		policysource_release(&o->own);
		free(o);
		return NULL;
	}
	o->sb = sb;
	o->next = p->sets;
	p->sets = o;
	if (sb) {
		policysource_read(&o->own);
		if (*o->own.error)
			told(p, &o->own, sb->spec.name);
		policywatch_dir(p->watch, o->own.dir);
	}
	return o;
}

static int add_all(struct rules *rs, const struct policyfile *pf, struct err *e)
{
	for (size_t i = 0; i < pf->n; i++)
		if (rules_add(rs, &pf->rules[i], e))
			return -e->code;
	return 0;
}

static int add_person(struct rules *rs, const struct policy *p, const struct policy_of *o, struct err *e)
{
	const struct policysource *own = o->sb ? &o->own : NULL;
	const struct policyfile *preset = own && own->good.preset[0] ? &own->preset : &p->global.preset;

	if (p->global.refused || (own && own->refused)) {
		rules_default(rs, NET_DENY, own && own->refused ? RULE_SANDBOX : RULE_GLOBAL);
		return 0;
	}
	if (own && own->good.has_default)
		rules_default(rs, own->good.def, RULE_SANDBOX);
	else if (own && own->preset.has_default)
		rules_default(rs, own->preset.def, RULE_PRESET);
	else if (p->global.good.has_default)
		rules_default(rs, p->global.good.def, RULE_GLOBAL);
	else if (p->global.preset.has_default)
		rules_default(rs, p->global.preset.def, RULE_PRESET);
	if ((own && add_all(rs, &own->good, e)) || add_all(rs, &p->global.good, e))
		return -e->code;
	return add_all(rs, preset, e);
}

static struct rules *join(const struct policy *p, struct policy_of *o)
{
	struct rules *rs = rules_create();
	struct err e = ERR_INIT;
	struct buf blob;

	if (!rs)
		return NULL;
	if (p->admin.refused)
		rules_admin_default(rs, NET_DENY);
	else if (p->admin.good.has_default)
		rules_admin_default(rs, p->admin.good.def);
	else if (p->admin.preset.has_default)
		rules_admin_default(rs, p->admin.preset.def);
	if (o->sb && o->sb->spec.unattended)
		rules_unattended(rs, true);
	o->error[0] = '\0';
	buf_init(&blob, RULES_BLOB_MAX);
	if (add_all(rs, &p->admin.good, &e) || add_all(rs, &p->admin.preset, &e) || add_person(rs, p, o, &e) || rules_pack(rs, &blob)) {
		snprintf(o->error, sizeof(o->error), "nothing is allowed: %.150s",
			 e.code ? e.msg : "all rules together are larger than 1 MiB");
		lifelog_add(p->su, LOG_ERROR, o->sb ? o->sb->spec.name : NULL, "%s", o->error);
		rules_destroy(rs);
		rs = NULL;
	}
	buf_release(&blob);
	return rs;
}

const struct rules *policy_rules_of(struct super *su, struct sandbox *sb)
{
	struct policy *p = su->policy;
	struct policy_of *o = set_of(p, sb);

	if (!o)
		return p->nothing;
	if (!o->joined)
		o->joined = join(p, o);
	return o->joined ? o->joined : p->nothing;
}

const char *policy_joined_error(struct super *su, struct sandbox *sb)
{
	struct policy_of *o = set_of(su->policy, sb);

	policy_rules_of(su, sb);
	return o ? o->error : "";
}

const struct rules *policy_rules(struct sandbox *sb)
{
	return policy_rules_of(sb->su, sb);
}

int policy_blob(struct sandbox *sb, struct buf *out)
{
	return rules_pack(policy_rules(sb), out);
}

bool policy_opens(struct sandbox *sb, const char *name)
{
	return rules_opens(policy_rules(sb), name);
}

void policy_reread(struct super *su)
{
	reread(su->policy);
}

struct policysource *policy_source(struct super *su, struct sandbox *sb)
{
	struct policy_of *o = sb ? set_of(su->policy, sb) : NULL;

	return sb ? o ? &o->own : NULL : &su->policy->global;
}

const struct policysource *policy_admin(struct super *su)
{
	return &su->policy->admin;
}

const char *policy_preset(struct super *su, struct sandbox *sb)
{
	const struct policysource *own = sb ? policy_source(su, sb) : NULL;
	const char *of = own && own->good.preset[0] ? own->good.preset : su->policy->global.good.preset;

	return *of && strcmp(of, "none") ? of : NULL;
}

/* A change that we made ourselves: the file was read again in it. */
static void changed(struct super *su, struct sandbox *of, bool tell)
{
	forget_joined(su->policy, of);
	if (tell)
		net_rules_changed(su, of);
}

int policy_add(struct super *su, struct sandbox *of, const struct rule *r, struct err *e)
{
	struct policysource *s = policy_source(su, of);
	const int rc = s ? policysource_add(s, r, e) : err_set(e, ENOMEM, "out of memory");

	changed(su, of, rc == 0);
	return rc;
}

int policy_remove(struct super *su, struct sandbox *of, size_t index, struct err *e)
{
	struct policysource *s = policy_source(su, of);
	const int rc = s ? policysource_remove(s, index, e) : err_set(e, ENOMEM, "out of memory");

	changed(su, of, rc == 0);
	return rc;
}

int policy_set_preset(struct super *su, struct sandbox *of, const char *preset, struct err *e)
{
	struct policysource *s = policy_source(su, of);
	const int rc = s ? policysource_preset(s, preset, e) : err_set(e, ENOMEM, "out of memory");

	changed(su, of, rc == 0);
	return rc;
}

static int remember_in(struct super *su, struct sandbox *of, const struct rule *r, struct err *e)
{
	struct policysource *s = policy_source(su, of);
	const int rc = s ? policysource_add(s, r, e) : err_set(e, ENOMEM, "out of memory");

	changed(su, of, false);
	return rc == -EEXIST ? 0 : rc;
}

int policy_remember(struct super *su, struct sandbox *of, struct sandbox *asked, const struct net_facts *f, enum net_verdict v, struct err *e)
{
	struct rules_verdict now;
	struct rule r;

	rules_remember(policy_rules(asked), f, v, &r);
	if (remember_in(su, of, &r, e))
		return -e->code;
	if (of)
		return 0;
	/* A rule of the sandbox that asks for just this goes before the global answer. */
	rules_decide(policy_rules(asked), f, &now);
	if (now.by && now.by->verdict == NET_ASKED && now.scope == RULE_SANDBOX)
		return remember_in(su, asked, &r, e);
	return 0;
}
