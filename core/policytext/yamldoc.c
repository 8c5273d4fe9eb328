/* SPDX-License-Identifier: Apache-2.0 */
#include "core/policytext/yamldoc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/base/utf8.h"

int yamldoc_bad(const struct yamldoc *d, const yaml_mark_t *m, struct err *e, const char *fmt, ...)
{
	char text[400], shown[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	scrub(shown, sizeof(shown), text, strlen(text), false);
	return err_set(e, EINVAL, "%s:%zu:%zu: %s", d->name, m->line + 1, m->column + 1, shown);
}

/* A pattern that is not quoted is an alias to YAML: the one mistake everybody makes. */
static bool at_a_star(const struct yamldoc *d, const yaml_mark_t *m)
{
	const char *p = d->text, *end = d->text + d->n;

	for (size_t line = 0; line < m->line && p < end; p++)
		line += *p == '\n';
	const char *eol = memchr(p, '\n', (size_t)(end - p));
	if (!eol)
		eol = end;
	const char *star = memchr(p, '*', (size_t)(eol - p));
	return star && (star == p || star[-1] == ' ' || star[-1] == '[' || star[-1] == ',' || star[-1] == '\t');
}

static int syntax(const struct yamldoc *d, const yaml_parser_t *p, struct err *e)
{
	const yaml_mark_t *m = p->error == YAML_READER_ERROR ? &p->mark : &p->problem_mark;

	if (p->error == YAML_MEMORY_ERROR)
		return err_set(e, ENOMEM, "out of memory");
	if (at_a_star(d, m) && (p->error == YAML_COMPOSER_ERROR || (p->context && strstr(p->context, "alias"))))
		return yamldoc_bad(d, m, e, "a pattern that begins with '*' stands in quotes: \"*.example.org\"");
	return yamldoc_bad(d, m, e, "%s", p->problem ? p->problem : "not YAML");
}

/* The only document; an empty one is fine. */
static int load(struct yamldoc *d, yaml_parser_t *p, struct err *e)
{
	yaml_document_t more;

	if (!yaml_parser_load(p, &d->doc))
		return syntax(d, p, e);
	d->root = yaml_document_get_root_node(&d->doc);
	if (!d->root)
		return 0;
	int r = 0;
	if (!yaml_parser_load(p, &more)) {
		r = syntax(d, p, e);
	} else {
		const yaml_node_t *second = yaml_document_get_root_node(&more);
		if (second)
			r = yamldoc_bad(d, &second->start_mark, e, "a second document in one file");
		yaml_document_delete(&more);
	}
	if (!r && yamldoc_is_null(d->root))
		d->root = NULL;
	else if (!r && d->root->type != YAML_MAPPING_NODE)
		r = yamldoc_bad(d, &d->root->start_mark, e, "the file must be lines of 'key: value'");
	if (r)
		yaml_document_delete(&d->doc);
	return r;
}

int yamldoc_load(struct yamldoc *d, const char *text, size_t n, const char *name, struct err *e)
{
	yaml_parser_t p;

	memset(d, 0, sizeof(*d));
	d->name = name;
	d->text = text;
	d->n = n;
	if (!yaml_parser_initialize(&p))
		return err_set(e, ENOMEM, "out of memory");
	yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p, (const unsigned char *)(n ? text : ""), n);
	const int r = load(d, &p, e);
	yaml_parser_delete(&p);
	return r;
}

void yamldoc_release(struct yamldoc *d)
{
	yaml_document_delete(&d->doc);
	d->root = NULL;
}

yaml_node_t *yamldoc_node(struct yamldoc *d, int id)
{
	return yaml_document_get_node(&d->doc, id);
}

const char *yamldoc_text(const yaml_node_t *v)
{
	if (v->type != YAML_SCALAR_NODE || memchr(v->data.scalar.value, '\0', v->data.scalar.length))
		return NULL;
	return (const char *)v->data.scalar.value;
}

int yamldoc_is_null(const yaml_node_t *v)
{
	return v->type == YAML_SCALAR_NODE && v->data.scalar.length == 0 && v->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

yaml_node_t *yamldoc_get(struct yamldoc *d, const yaml_node_t *map, const char *key, yaml_node_t **key_node)
{
	if (!map)
		return NULL;
	for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
		yaml_node_t *k = yamldoc_node(d, p->key);
		const char *s = k ? yamldoc_text(k) : NULL;
		if (s && !strcmp(s, key)) {
			if (key_node)
				*key_node = k;
			return yamldoc_node(d, p->value);
		}
	}
	return NULL;
}

int yamldoc_check_keys(struct yamldoc *d, const yaml_node_t *map, const char *const *known, struct err *e)
{
	for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
		const yaml_node_t *k = yamldoc_node(d, p->key);
		const char *s = k ? yamldoc_text(k) : NULL;
		if (!s)
			return yamldoc_bad(d, k ? &k->start_mark : &map->start_mark, e, "a key must be one word");
		size_t i = 0;
		while (known[i] && strcmp(known[i], s))
			i++;
		if (!known[i]) {
			char list[128] = "";
			for (size_t w = 0, at = 0; known[w] && at < sizeof(list); w++)
				at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s", w ? ", " : "", known[w]);
			return yamldoc_bad(d, &k->start_mark, e, "'%.64s' is not known here: there are %s", s, list);
		}
		for (const yaml_node_pair_t *q = map->data.mapping.pairs.start; q < p; q++) {
			const yaml_node_t *other = yamldoc_node(d, q->key);
			if (other && other->type == YAML_SCALAR_NODE && !strcmp((const char *)other->data.scalar.value, s))
				return yamldoc_bad(d, &k->start_mark, e, "'%s' stands here for the second time", s);
		}
	}
	return 0;
}
