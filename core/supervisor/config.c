/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/config.h"

#include <errno.h>
#include <fcntl.h>
#include <yaml.h>

#include "core/base/atomicfile.h"
#include "core/base/buf.h"
#include "core/base/confkeys.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/proto/child.h"

enum kind { NUMBER, SIZE, PATH /* absolute */, TEXT };

static const struct key {
	const char *name;
	enum kind kind;
	uint64_t min, max, def;
	size_t at;
} keys[] = {
#define AT(f) offsetof(struct config, f)
	{ "scrollback", NUMBER, 0, 1000000, 10000, AT(scrollback) },
	{ "record_cap", SIZE, 0, UINT64_C(1) << 40, UINT64_C(32) << 20, AT(record_cap) },
	{ "cpus", NUMBER, 1, 16, 2, AT(cpus) },
	{ "memory", SIZE, UINT64_C(256) << 20, UINT64_C(1) << 42, UINT64_C(2) << 30, AT(memory) },
	{ "disk", SIZE, UINT64_C(1) << 30, UINT64_C(1) << 44, UINT64_C(10) << 30, AT(disk) },
	{ "max_sandboxes", NUMBER, 1, 1024, 64, AT(max_sandboxes) },
	{ "max_running", NUMBER, 1, 256, 32, AT(max_running) },
	{ "max_memory", SIZE, 0, UINT64_C(1) << 46, 0, AT(max_memory) },
	{ "hugepages", NUMBER, 0, VMM_PAGES_NUM - 1, VMM_PAGES_HINT, AT(hugepages) },
	{ "disk_reserve", SIZE, 0, UINT64_C(1) << 44, UINT64_C(2) << 30, AT(disk_reserve) },
	{ "stop_ms", NUMBER, 0, 600000, 10000, AT(stop_ms) },
	{ "boot_ms", NUMBER, 1000, 3600000, 180000, AT(boot_ms) },
	{ "ask_ms", NUMBER, 1000, 3600000, 120000, AT(ask_ms) },
	{ "dns", TEXT, 0, sizeof(((struct config *)0)->dns), 0, AT(dns) },
	{ "ca_file", PATH, 0, sizeof(((struct config *)0)->ca_file), 0, AT(ca_file) },
#undef AT
};

static uint64_t *slot(struct config *c, const struct key *k)
{
	return (uint64_t *)(void *)((char *)c + k->at);
}

void config_defaults(struct config *c)
{
	memset(c, 0, sizeof(*c)); /* padding too: two of them are compared */
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i].kind < PATH)
			*slot(c, &keys[i]) = keys[i].def;
}

static int bad(struct err *e, const yaml_mark_t *m, const char *what, const char *subject)
{
	return err_set(e, EINVAL, "line %zu, column %zu: %s%s%.64s%s", m->line + 1, m->column + 1, what, *subject ? " '" : "", subject,
		       *subject ? "'" : "");
}

static int set_value(struct config *c, const struct key *k, const yaml_node_t *v, struct err *e)
{
	const char *s = (const char *)v->data.scalar.value;
	uint64_t n;

	if (v->type != YAML_SCALAR_NODE)
		return bad(e, &v->start_mark, "one plain value belongs to", k->name);
	if (k->kind >= PATH)
		return (k->kind == PATH && *s != '/') || !str_copy((char *)slot(c, k), k->max, s) ?
			       bad(e, &v->start_mark, k->kind == PATH ? "an absolute path belongs to" : "too long is the value of", k->name) : 0;
	if (k->kind == NUMBER ? str_u64(s, k->min, k->max, &n) : (str_size(s, &n, NULL) || n < k->min || n > k->max)) {
		char lo[24], hi[24];
		if (k->kind == SIZE) {
			str_human(lo, sizeof(lo), k->min);
			str_human(hi, sizeof(hi), k->max);
		} else {
			snprintf(lo, sizeof(lo), "%llu", (unsigned long long)k->min);
			snprintf(hi, sizeof(hi), "%llu", (unsigned long long)k->max);
		}
		return err_set(e, EINVAL, "line %zu, column %zu: '%s' must be between %s and %s, not '%.64s'", v->start_mark.line + 1,
			       v->start_mark.column + 1, k->name, lo, hi, s);
	}
	*slot(c, k) = n;
	return 0;
}

/* A key that nobody knows changes nothing: the rest holds, and it is told. */
static void unknown(const yaml_node_t *name, struct err *e)
{
	struct err why = ERR_INIT;

	if (!e->code && confkey_check((const char *)name->data.scalar.value, &why))
		err_set(e, EINVAL, "line %zu, column %zu: %s", name->start_mark.line + 1, name->start_mark.column + 1, why.msg);
}

static int read_mapping(struct config *c, yaml_document_t *doc, struct err *e)
{
	yaml_node_t *root = yaml_document_get_root_node(doc);
	struct err told = ERR_INIT;

	if (!root)
		return 0;
	if (root->type != YAML_MAPPING_NODE)
		return bad(e, &root->start_mark, "the file must be a list of 'key: value' lines", "");
	for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top; p++) {
		const yaml_node_t *name = yaml_document_get_node(doc, p->key);
		const yaml_node_t *v = yaml_document_get_node(doc, p->value);
		if (!name || !v || name->type != YAML_SCALAR_NODE)
			return bad(e, name ? &name->start_mark : &root->start_mark, "a key must be one word", "");
		unknown(name, &told);
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			if (!strcmp(keys[i].name, (const char *)name->data.scalar.value) && set_value(c, &keys[i], v, e))
				return -e->code;
	}
	if (!told.code)
		return 0;
	*e = told;
	return 1;
}

int config_parse(struct config *c, const char *text, size_t n, struct err *e)
{
	struct err local = ERR_INIT;
	yaml_parser_t p;
	yaml_document_t doc;
	int r;

	if (!e)
		e = &local;
	config_defaults(c);
	if (!yaml_parser_initialize(&p))
		return err_set(e, ENOMEM, "out of memory");
	yaml_parser_set_input_string(&p, (const unsigned char *)(n > 0 ? text : ""), n);
	if (!yaml_parser_load(&p, &doc)) {
		r = bad(e, &p.problem_mark, p.problem ? p.problem : "not YAML", "");
	} else {
		r = read_mapping(c, &doc, e);
		yaml_document_delete(&doc);
	}
	yaml_parser_delete(&p);
	if (r < 0)
		config_defaults(c);
	return r;
}

int config_load(struct config *c, struct err *e)
{
	AUTO_FREE char *dir = path_config(e);
	struct buf b;
	int r = 0;

	config_defaults(c);
	if (!dir)
		return -e->code;
	AUTO_FD fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(e, errno, "cannot open '%s'", dir);
	if (faccessat(fd, "config.yaml", F_OK, 0))
		return 0;
	buf_init(&b, CONFIG_FILE_MAX);
	if (atomicfile_read(fd, "config.yaml", &b, e))
		r = err_wrap(e, "cannot read '%s/config.yaml'", dir);
	else if ((r = config_parse(c, (const char *)buf_head(&b), buf_size(&b), e)))
		err_wrap(e, "'%s/config.yaml'", dir);
	buf_release(&b);
	return r;
}
