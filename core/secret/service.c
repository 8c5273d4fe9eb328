/* SPDX-License-Identifier: Apache-2.0 */
#include "core/secret/service.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "core/base/str.h"
#include "core/base/utf8.h"

/* ---- reading -------------------------------------------------------------------------------------------------------------------------- */

struct reader {
	const char *file;
	yaml_document_t doc;
	struct err *e;
};

static int bad(struct reader *r, const yaml_mark_t *m, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int bad(struct reader *r, const yaml_mark_t *m, const char *fmt, ...)
{
	char text[320];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(r->e, EINVAL, "%s:%zu:%zu: %s", r->file, m->line + 1, m->column + 1, text);
}

/* Foreign text in a sentence. */
static const char *shown(const char *s, char clean[96])
{
	scrub(clean, 96, s, strnlen(s, 64), false);
	return clean;
}

static yaml_node_t *node(struct reader *r, int id)
{
	return yaml_document_get_node(&r->doc, id);
}

static const char *scalar(const yaml_node_t *n)
{
	const char *s = n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;

	return s && strlen(s) == n->data.scalar.length ? s : NULL;
}

static int text(struct reader *r, const yaml_node_t *n, const char *key, char *dst, size_t cap)
{
	const char *s = scalar(n);

	if (!s || !utf8_clean(s))
		return bad(r, &n->start_mark, "one line of text belongs to '%s'", key);
	if (!str_copy(dst, cap, s))
		return bad(r, &n->start_mark, "'%s' has more than %zu bytes", key, cap - 1);
	return 0;
}

/* ---- the parts ------------------------------------------------------------------------------------------------------------------------ */

static bool env_ok(const char *s)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

	return *s && !(*s >= '0' && *s <= '9') && s[strspn(s, letters)] == '\0';
}

static int add_env(struct reader *r, const yaml_node_t *n, void *to)
{
	struct service *s = to;
	char clean[96];

	if (s->nenvs == SERVICE_ENVS)
		return bad(r, &n->start_mark, "a service may have %u variables", SERVICE_ENVS);
	if (text(r, n, "env", s->env[s->nenvs], sizeof(s->env[0])))
		return -EINVAL;
	if (!env_ok(s->env[s->nenvs]))
		return bad(r, &n->start_mark, "'%s' is no name of a variable", shown(s->env[s->nenvs], clean));
	s->nenvs++;
	return 0;
}

/* What is sent where may never be "everywhere": two labels must stand after a wildcard. */
static int add_host(struct reader *r, const yaml_node_t *n, void *to)
{
	struct service_rule *rule = to;
	char clean[96], name[NET_NAME_MAX];
	uint64_t port;

	if (rule->nhosts == NET_SECRET_HOSTS)
		return bad(r, &n->start_mark, "a rule may have %u hosts", NET_SECRET_HOSTS);
	char *dst = rule->hosts[rule->nhosts];
	if (text(r, n, "hosts", dst, sizeof(rule->hosts[0])))
		return -EINVAL;
	for (char *p = dst; *p; p++)
		*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
	const char *rest = str_starts(dst, "**.") ? dst + 3 : str_starts(dst, "*.") ? dst + 2 : dst;
	str_copy(name, sizeof(name), rest);
	char *colon = strchr(name, ':');
	if (colon) {
		*colon = '\0';
		if (str_u64(colon + 1, 1, 65535, &port))
			return bad(r, &n->start_mark, "'%s' has no port from 1 to 65535", shown(dst, clean));
	}
	if (!net_name_legal(name))
		return bad(r, &n->start_mark, "'%s' is no host: 'name', '*.name' or '**.name' is", shown(dst, clean));
	if (rest != dst && !strchr(name, '.'))
		return bad(r, &n->start_mark, "'%s' is too wide for a credential: name a domain of your service's own", shown(dst, clean));
	rule->nhosts++;
	return 0;
}

/* One or a list of them. */
static int each(struct reader *r, const yaml_node_t *n, const char *key, int (*add)(struct reader *, const yaml_node_t *, void *), void *to)
{
	if (n->type == YAML_SCALAR_NODE)
		return add(r, n, to);
	if (n->type != YAML_SEQUENCE_NODE)
		return bad(r, &n->start_mark, "'%s' is one word or a list of them", key);
	for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top; i++)
		if (add(r, node(r, *i), to))
			return -EINVAL;
	return 0;
}

static int set_header(struct reader *r, const yaml_node_t *n, struct service_rule *rule)
{
	static const char *const framing[] = { "host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect",
					       "keep-alive", "proxy-connection" };
	char clean[96];

	if (text(r, n, "header", rule->header, sizeof(rule->header)))
		return -EINVAL;
	const char *h = rule->header;
	if (!*h || h[strspn(h, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~")])
		return bad(r, &n->start_mark, "'%s' is no name of a header", shown(h, clean));
	for (size_t i = 0; i < ARRAY_SIZE(framing); i++)
		if (!strcasecmp(h, framing[i]))
			return bad(r, &n->start_mark, "'%s' frames a request and is no place for a credential", framing[i]);
	return 0;
}

static int set_format(struct reader *r, const yaml_node_t *n, struct service_rule *rule)
{
	if (text(r, n, "format", rule->format, sizeof(rule->format)))
		return -EINVAL;
	const char *f = rule->format, *at = strchr(f, '%');
	if (str_starts(f, "basic:"))
		return f[6] && !strchr(f + 6, ':') && !at ? 0 : bad(r, &n->start_mark, "a user name without ':' stands after 'basic:'");
	if (!at || at[1] != 's' || strchr(at + 1, '%'))
		return bad(r, &n->start_mark, "a format holds %%s once, for the value, or is basic:USER");
	return 0;
}

/* 1 when the key is one of a rule. */
static int rule_key(struct reader *r, const char *key, const yaml_node_t *v, struct service_rule *rule)
{
	if (!strcmp(key, "hosts"))
		return each(r, v, key, add_host, rule) ? -EINVAL : 1;
	if (!strcmp(key, "header"))
		return set_header(r, v, rule) ? -EINVAL : 1;
	if (!strcmp(key, "format"))
		return set_format(r, v, rule) ? -EINVAL : 1;
	return 0;
}

/* ---- mappings ------------------------------------------------------------------------------------------------------------------------- */

/* Calls fn for every pair; keys are words, and stand once. */
static int pairs(struct reader *r, const yaml_node_t *map, const char *what, int (*fn)(struct reader *, const char *, const yaml_node_t *, const yaml_node_t *, void *),
		 void *arg)
{
	char clean[96];

	if (map->type != YAML_MAPPING_NODE)
		return bad(r, &map->start_mark, "%s is a list of 'key: value' lines", what);
	for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
		const yaml_node_t *k = node(r, p->key), *v = node(r, p->value);
		const char *key = k ? scalar(k) : NULL;
		if (!key || !v)
			return bad(r, k ? &k->start_mark : &map->start_mark, "a key must be one word");
		for (yaml_node_pair_t *q = map->data.mapping.pairs.start; q < p; q++) {
			const char *other = scalar(node(r, q->key));
			if (other && !strcmp(other, key))
				return bad(r, &k->start_mark, "'%s' stands here twice", shown(key, clean));
		}
		if (fn(r, key, k, v, arg))
			return -EINVAL;
	}
	return 0;
}

static int in_rule(struct reader *r, const char *key, const yaml_node_t *k, const yaml_node_t *v, void *arg)
{
	char clean[96];
	int is = rule_key(r, key, v, arg);

	return is < 0 ? is : is ? 0 : bad(r, &k->start_mark, "a rule has 'hosts', 'header' and 'format', no '%s'", shown(key, clean));
}

static int check_rule(struct reader *r, const yaml_mark_t *m, struct service_rule *rule)
{
	if (!rule->nhosts)
		return bad(r, m, "a rule needs 'hosts'");
	if (*rule->format && !*rule->header)
		return bad(r, m, "a 'format' belongs to a 'header'");
	if (*rule->header && !*rule->format)
		str_copy(rule->format, sizeof(rule->format), "%s");
	return 0;
}

static int add_rule(struct reader *r, const yaml_node_t *n, void *to)
{
	struct service *s = to;

	if (s->nrules == SERVICE_RULES)
		return bad(r, &n->start_mark, "a service may have %u rules", SERVICE_RULES);
	if (pairs(r, n, "a rule", in_rule, &s->rules[s->nrules]) || check_rule(r, &n->start_mark, &s->rules[s->nrules]))
		return -EINVAL;
	s->nrules++;
	return 0;
}

struct building {
	struct service *s;
	struct service_rule own; /* of the keys that stand in the service itself */
	bool has_own;
};

static int in_service(struct reader *r, const char *key, const yaml_node_t *k, const yaml_node_t *v, void *arg)
{
	struct building *b = arg;
	char clean[96];

	if (!strcmp(key, "summary"))
		return text(r, v, key, b->s->summary, sizeof(b->s->summary));
	if (!strcmp(key, "env"))
		return each(r, v, key, add_env, b->s);
	if (!strcmp(key, "placeholder")) {
		if (text(r, v, key, b->s->prefix, sizeof(b->s->prefix)))
			return -EINVAL;
		const char *p = b->s->prefix;
		if (p[strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")])
			return bad(r, &v->start_mark, "a placeholder begins with letters, digits, '-', '_' and '.' only");
		return 0;
	}
	if (!strcmp(key, "rules")) {
		if (v->type != YAML_SEQUENCE_NODE)
			return bad(r, &v->start_mark, "'rules' is a list");
		return each(r, v, key, add_rule, b->s);
	}
	int is = rule_key(r, key, v, &b->own);
	if (!is)
		return bad(r, &k->start_mark, "a service has 'summary', 'env', 'placeholder', 'hosts', 'header', 'format' and 'rules', no '%s'", shown(key, clean));
	b->has_own = true;
	return is < 0 ? is : 0;
}

static bool name_ok(const char *s)
{
	return *s && !strchr("._-", *s) && s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789._-")] == '\0';
}

/* Takes s. */
static int insert_take(struct services *all, struct service *s)
{
	size_t i = 0;

	while (i < all->n && strcmp(all->v[i]->name, s->name) < 0)
		i++;
	if (i < all->n && !strcmp(all->v[i]->name, s->name)) {
		free(all->v[i]);
		all->v[i] = s;
		return 0;
	}
	struct service **v = all->n < SERVICES_MAX ? realloc(all->v, (all->n + 1) * sizeof(*v)) : NULL;
	if (!v) {
		free(s);
		return -ENOSPC;
	}
	memmove(v + i + 1, v + i, (all->n - i) * sizeof(*v));
	v[i] = s;
	all->v = v;
	all->n++;
	return 0;
}

static int in_file(struct reader *r, const char *key, const yaml_node_t *k, const yaml_node_t *v, void *arg)
{
	struct building b = { .s = calloc(1, sizeof(*b.s)) };
	char clean[96];
	int ret = 0;

	if (!b.s)
		return err_set(r->e, ENOMEM, "out of memory");
	if (!name_ok(key) || !str_copy(b.s->name, sizeof(b.s->name), key))
		ret = bad(r, &k->start_mark, "'%s' is no name of a service: lower case letters, digits, '-', '_' and '.', at most 63", shown(key, clean));
	if (!ret)
		ret = pairs(r, v, "a service", in_service, &b);
	if (!ret && b.has_own) {
		ret = check_rule(r, &v->start_mark, &b.own);
		if (!ret && b.s->nrules == SERVICE_RULES)
			ret = bad(r, &v->start_mark, "a service may have %u rules", SERVICE_RULES);
		if (!ret)
			b.s->rules[b.s->nrules++] = b.own;
	}
	if (!ret && !b.s->nrules)
		ret = bad(r, &k->start_mark, "service '%s' says no hosts", b.s->name);
	if (ret)
		free(b.s);
	else if ((ret = insert_take(arg, b.s)))
		bad(r, &k->start_mark, "there are more than %u services", SERVICES_MAX);
	return ret ? -EINVAL : 0;
}

void services_release(struct services *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i]);
	free(s->v);
	*s = (struct services){ 0 };
}

int services_parse(struct services *s, const char *file, const char *input, size_t n, struct err *e)
{
	struct err local = ERR_INIT;
	struct services fresh = { 0 };
	struct reader r = { .file = file, .e = e ? e : &local };
	yaml_parser_t p;
	char clean[96];
	int ret = 0;

	if (!yaml_parser_initialize(&p))
		return err_set(r.e, ENOMEM, "out of memory");
	yaml_parser_set_input_string(&p, (const unsigned char *)(n > 0 ? input : ""), n);
	if (!yaml_parser_load(&p, &r.doc)) {
		ret = bad(&r, &p.problem_mark, "%s", shown(p.problem ? p.problem : "not YAML", clean));
	} else {
		const yaml_node_t *root = yaml_document_get_root_node(&r.doc);
		if (root)
			ret = pairs(&r, root, "the file", in_file, &fresh);
		yaml_document_delete(&r.doc);
	}
	yaml_parser_delete(&p);
	if (!ret && s->n + fresh.n > SERVICES_MAX)
		ret = err_set(r.e, EINVAL, "%s:1:1: there are more than %u services", file, SERVICES_MAX);
	for (size_t i = 0; i < fresh.n && !ret; i++) {
		struct service *one = fresh.v[i];
		fresh.v[i] = NULL;
		if (insert_take(s, one))
			ret = err_set(r.e, ENOMEM, "out of memory");
	}
	services_release(&fresh);
	return ret;
}

const struct service *services_find(const struct services *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->v[i]->name, name))
			return s->v[i];
	return NULL;
}

const char *services_near(const struct services *s, const char *name)
{
	const char *near = NULL;
	unsigned least = 4;

	for (size_t i = 0; i < s->n; i++) {
		unsigned d = str_distance(s->v[i]->name, name);
		if (d < least && d < strlen(name)) {
			least = d;
			near = s->v[i]->name;
		}
	}
	return near;
}

/* ---- placeholders --------------------------------------------------------------------------------------------------------------------- */

int service_placeholder(const struct service *s, const uint8_t key[32], const char *sandbox, uint64_t born_ns, char out[128])
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	char what[256];
	unsigned char d[EVP_MAX_MD_SIZE];
	size_t n = (size_t)snprintf(out, 128, "%s", s->prefix), done = 0;

	for (unsigned block = 0; done < PLACEHOLDER_RANDOM; block++) {
		unsigned len = 0;
		int m = snprintf(what, sizeof(what), "placeholder\n%s\n%llu\n%s\n%u", sandbox, (unsigned long long)born_ns, s->name, block);
		if (m < 0 || (size_t)m >= sizeof(what) || !HMAC(EVP_sha256(), key, 32, (const unsigned char *)what, (size_t)m, d, &len))
			return -EIO;
		/* Only bytes that spread evenly over 62 letters. */
		for (unsigned i = 0; i < len && done < PLACEHOLDER_RANDOM; i++)
			if (d[i] < 62 * 4)
				out[n + done++] = letters[d[i] % 62];
	}
	out[n + done] = '\0';
	return 0;
}
