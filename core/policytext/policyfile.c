/* SPDX-License-Identifier: Apache-2.0 */
/* policy.yaml -> rules. */
#include "core/policytext/policyfile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/policytext/yamldoc.h"

static const char *const root_keys[] = { "default", "preset", "allow", "deny", "ask", NULL };
static const char *const rule_keys[] = { "host", "port", "ports", "method", "methods", "path", "tcp", "note", NULL };

void policyfile_release(struct policyfile *pf)
{
	free(pf->rules);
	memset(pf, 0, sizeof(*pf));
}

static int append(struct policyfile *pf, const struct rule *r, struct err *e)
{
	if (pf->n == pf->cap) {
		const size_t cap = pf->cap ? pf->cap * 2 : 16;
		struct rule *v = reallocarray(pf->rules, cap, sizeof(*v));
		if (!v)
			return err_set(e, ENOMEM, "out of memory");
		pf->rules = v;
		pf->cap = cap;
	}
	pf->rules[pf->n++] = *r;
	return 0;
}

/* Puts a scalar, or the scalars of a list with commas between, behind `sep`. */
static int join(struct yamldoc *d, const yaml_node_t *v, const char *sep, struct buf *b, struct err *e)
{
	const yaml_node_item_t *it = v->type == YAML_SEQUENCE_NODE ? v->data.sequence.items.start : NULL;
	const yaml_node_item_t *top = it ? v->data.sequence.items.top : NULL;

	if (v->type == YAML_MAPPING_NODE || (it && it == top))
		return yamldoc_bad(d, &v->start_mark, e, "one value, or a list of values, belongs here");
	do {
		const yaml_node_t *one = it ? yamldoc_node(d, *it) : v;
		const char *s = one ? yamldoc_text(one) : NULL;
		if (!s || !*s || strpbrk(s, " \t\r\n"))
			return yamldoc_bad(d, one ? &one->start_mark : &v->start_mark, e, "one word without blanks belongs here");
		buf_printf(b, "%s%s", sep, s);
		sep = ",";
	} while (it && ++it < top);
	return 0;
}

static int read_bool(struct yamldoc *d, const yaml_node_t *v, bool *out, struct err *e)
{
	const char *s = yamldoc_text(v);

	if (s && (!strcmp(s, "true") || !strcmp(s, "yes") || !strcmp(s, "on")))
		*out = true;
	else if (s && (!strcmp(s, "false") || !strcmp(s, "no") || !strcmp(s, "off")))
		*out = false;
	else
		return yamldoc_bad(d, &v->start_mark, e, "true or false belongs here");
	return 0;
}

/* The string that the fields of a mapping stand for. */
static int compose(struct yamldoc *d, yaml_node_t *map, struct buf *b, struct err *e)
{
	const yaml_node_t *host = yamldoc_get(d, map, "host", NULL), *v;
	const char *s = host ? yamldoc_text(host) : NULL;
	bool tcp = false;

	if (!s || !*s || strpbrk(s, " \t\r\n"))
		return yamldoc_bad(d, host ? &host->start_mark : &map->start_mark, e, "a rule needs a 'host': a name, a pattern or an address");
	if ((v = yamldoc_get(d, map, "tcp", NULL)) && read_bool(d, v, &tcp, e))
		return -e->code;
	if (yamldoc_get(d, map, "port", NULL) && yamldoc_get(d, map, "ports", NULL))
		return yamldoc_bad(d, &map->start_mark, e, "either 'port' or 'ports'");
	if (yamldoc_get(d, map, "method", NULL) && yamldoc_get(d, map, "methods", NULL))
		return yamldoc_bad(d, &map->start_mark, e, "either 'method' or 'methods'");
	if (!(v = yamldoc_get(d, map, "port", NULL)))
		v = yamldoc_get(d, map, "ports", NULL);
	const bool brackets = v && strchr(s, ':') != strrchr(s, ':') && *s != '[';
	buf_printf(b, "%s%s%s%s", tcp ? "tcp " : "", brackets ? "[" : "", s, brackets ? "]" : "");
	if (v && join(d, v, ":", b, e))
		return -e->code;
	if (!(v = yamldoc_get(d, map, "method", NULL)))
		v = yamldoc_get(d, map, "methods", NULL);
	if (v && join(d, v, " ", b, e))
		return -e->code;
	if ((v = yamldoc_get(d, map, "path", NULL))) {
		s = yamldoc_text(v);
		if (!s || *s != '/' || strpbrk(s, " \t\r\n"))
			return yamldoc_bad(d, &v->start_mark, e, "a path begins with a slash and holds no blanks");
		buf_printf(b, " %s", s);
	}
	return 0;
}

static int read_note(struct yamldoc *d, yaml_node_t *map, struct rule *r, struct err *e)
{
	const yaml_node_t *v = yamldoc_get(d, map, "note", NULL);
	const char *s = v ? yamldoc_text(v) : "";

	if (!s)
		return yamldoc_bad(d, &v->start_mark, e, "a note is one line of text");
	scrub(r->note, sizeof(r->note), s, strlen(s), false);
	return 0;
}

static int read_rule(struct yamldoc *d, yaml_node_t *v, struct rule *r, struct err *e)
{
	const uint8_t verdict = r->verdict;
	struct err why = ERR_INIT;
	const char *s = yamldoc_text(v);
	char line[RULE_TEXT_MAX];

	if (v->type == YAML_MAPPING_NODE) {
		struct buf b;
		buf_init(&b, sizeof(line) - 1);
		int rc = yamldoc_check_keys(d, v, rule_keys, e);
		if (!rc)
			rc = compose(d, v, &b, e);
		if (!rc && !buf_ok(&b))
			rc = yamldoc_bad(d, &v->start_mark, e, "the rule is too long");
		const size_t n = rc ? 0 : buf_size(&b);
		if (n)
			memcpy(line, buf_head(&b), n);
		line[n] = '\0';
		buf_release(&b);
		if (rc)
			return rc;
		s = line;
	}
	if (!s || yamldoc_is_null(v))
		return yamldoc_bad(d, &v->start_mark, e, "a rule is one line of text, or a mapping with 'host'");
	if (rule_parse(s, r, &why))
		return yamldoc_bad(d, &v->start_mark, e, "%s", why.msg);
	if (r->verdict != verdict)
		return yamldoc_bad(d, &v->start_mark, e, "a rule that says '%s' stands in the list '%s'", rule_verdict_name[r->verdict], rule_verdict_name[verdict]);
	return v->type == YAML_MAPPING_NODE ? read_note(d, v, r, e) : 0;
}

static int read_list(struct yamldoc *d, yaml_node_t *v, uint8_t verdict, enum rule_scope scope, struct policyfile *pf, struct err *e)
{
	if (yamldoc_is_null(v))
		return 0;
	if (v->type != YAML_SEQUENCE_NODE)
		return yamldoc_bad(d, &v->start_mark, e, "'%s' must be a list: lines that begin with '- '", rule_verdict_name[verdict]);
	for (const yaml_node_item_t *it = v->data.sequence.items.start; it < v->data.sequence.items.top; it++) {
		yaml_node_t *item = yamldoc_node(d, *it);
		struct rule r = { .verdict = verdict, .scope = (uint8_t)scope };
		if (!item)
			return yamldoc_bad(d, &v->start_mark, e, "not a rule");
		if (read_rule(d, item, &r, e))
			return -e->code;
		if (pf->n == POLICYFILE_RULES_MAX)
			return yamldoc_bad(d, &item->start_mark, e, "more than %u rules in one file", POLICYFILE_RULES_MAX);
		if (append(pf, &r, e))
			return -e->code;
	}
	return 0;
}

static int read_word(struct yamldoc *d, const char *key, const yaml_node_t *v, enum rule_scope scope, struct policyfile *pf, struct err *e)
{
	const char *s = yamldoc_text(v);

	if (!strcmp(key, "preset")) {
		if (scope == RULE_PRESET)
			return yamldoc_bad(d, &v->start_mark, e, "a preset names no other");
		size_t i = 0;
		while (s && policypreset_names[i] && strcmp(s, policypreset_names[i]))
			i++;
		if (!s || !policypreset_names[i])
			return yamldoc_bad(d, &v->start_mark, e, "'preset' is open, balanced, locked or none");
		str_copy(pf->preset, sizeof(pf->preset), s);
		return 0;
	}
	for (uint8_t i = 0; s && i < NET_VERDICT_NUM; i++)
		if (!strcmp(s, rule_verdict_name[i])) {
			pf->has_default = true;
			pf->def = i;
			return 0;
		}
	return yamldoc_bad(d, &v->start_mark, e, "'default' is allow, deny or ask");
}

static int read_root(struct yamldoc *d, enum rule_scope scope, struct policyfile *pf, struct err *e)
{
	if (!d->root)
		return 0;
	if (yamldoc_check_keys(d, d->root, root_keys, e))
		return -e->code;
	for (const yaml_node_pair_t *p = d->root->data.mapping.pairs.start; p < d->root->data.mapping.pairs.top; p++) {
		const char *key = yamldoc_text(yamldoc_node(d, p->key));
		yaml_node_t *v = yamldoc_node(d, p->value);
		int r = 0;
		if (!v)
			return yamldoc_bad(d, &d->root->start_mark, e, "a value is missing");
		uint8_t list = 0;
		while (list < NET_VERDICT_NUM && strcmp(key, rule_verdict_name[list]))
			list++;
		r = list < NET_VERDICT_NUM ? read_list(d, v, list, scope, pf, e) : read_word(d, key, v, scope, pf, e);
		if (r)
			return r;
	}
	return 0;
}

int policyfile_parse(const char *text, size_t n, const char *name, enum rule_scope scope, struct policyfile *pf, struct err *e)
{
	struct err local = ERR_INIT;
	struct yamldoc d;

	if (!e)
		e = &local;
	memset(pf, 0, sizeof(*pf));
	if (n > POLICYFILE_MAX)
		return err_set(e, EINVAL, "%s:1:1: the file is larger than %u bytes", name, POLICYFILE_MAX);
	if (yamldoc_load(&d, text, n, name, e))
		return -e->code;
	const int r = read_root(&d, scope, pf, e);
	yamldoc_release(&d);
	if (r)
		policyfile_release(pf);
	return r;
}
