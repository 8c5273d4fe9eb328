/* SPDX-License-Identifier: Apache-2.0 */
/* See config.h. The document is loaded as a tree by libyaml; every node knows its line. */
#include "tui/config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <yaml.h>

#include "core/base/atomicfile.h"
#include "core/base/confkeys.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/base/utf8.h"

#define CONFIG_MAX 262144u

void config_init(struct config *c)
{
	memset(c, 0, sizeof(*c));
	keymap_init(&c->keys);
	c->notify = c->mouse = true;
}

static const char *scalar(const yaml_node_t *n)
{
	return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
}

/* Keeps the first complaint. */
static int complain(struct err *e, const yaml_node_t *at, const char *why)
{
	if (e && e->code)
		return -EINVAL;
	return err_set(e, EINVAL, "config.yaml line %zu: %s", at->start_mark.line + 1, why);
}

static int take_bool(const yaml_node_t *n, bool *out, struct err *e)
{
	const char *s = scalar(n);

	if (s && (!strcmp(s, "true") || !strcmp(s, "yes") || !strcmp(s, "on")))
		*out = true;
	else if (s && (!strcmp(s, "false") || !strcmp(s, "no") || !strcmp(s, "off")))
		*out = false;
	else
		return complain(e, n, "true or false is wanted");
	return 0;
}

static int take_clipboard(const yaml_node_t *n, enum clip_rule *out, struct err *e)
{
	static const char *const words[] = { "ask", "always", "never" };
	const char *s = scalar(n);

	for (size_t i = 0; s && i < ARRAY_SIZE(words); i++)
		if (!strcmp(s, words[i])) {
			*out = (enum clip_rule)i;
			return 0;
		}
	return complain(e, n, "clipboard is ask, always or never");
}

static int take_binding(struct config *c, yaml_document_t *d, const yaml_node_t *key, const yaml_node_t *value, struct err *e)
{
	const char *keys[2 * KEYMAP_PER_ACTION];
	const char *name = scalar(key);
	size_t n = 0;
	struct err why = ERR_INIT;

	if (!name)
		return complain(e, key, "an action's name is wanted");
	if (scalar(value)) {
		keys[n++] = scalar(value);
	} else if (value && value->type == YAML_SEQUENCE_NODE) {
		for (yaml_node_item_t *i = value->data.sequence.items.start; i < value->data.sequence.items.top; i++) {
			const char *s = scalar(yaml_document_get_node(d, *i));

			if (!s || n == ARRAY_SIZE(keys))
				return complain(e, value, "a key or a short list of keys is wanted");
			keys[n++] = s;
		}
	} else {
		return complain(e, key, "a key or a list of keys is wanted");
	}
	if (keymap_bind(&c->keys, name, keys, n, &why) < 0) {
		char clean[256];

		scrub(clean, sizeof(clean), why.msg, strlen(why.msg), false);
		return complain(e, key, clean);
	}
	return 0;
}

static int take(struct config *c, yaml_document_t *d, const yaml_node_t *key, const yaml_node_t *value, struct err *e)
{
	const char *name = scalar(key), *text = scalar(value);
	int r = 0;

	if (!name || !value)
		return complain(e, key, "a name is wanted");
	if (!strcmp(name, "theme")) {
		if (!text || !text[0] || strlen(text) >= sizeof(c->theme) || !utf8_clean(text))
			return complain(e, value, "a theme's name is wanted");
		str_copy(c->theme, sizeof(c->theme), text);
	} else if (!strcmp(name, "prefix")) {
		struct key k;

		if (!text || key_parse(text, &k) < 0)
			return complain(e, value, "the prefix is no key");
		c->keys.prefix = k;
	} else if (!strcmp(name, "ascii")) {
		return take_bool(value, &c->ascii, e);
	} else if (!strcmp(name, "notify")) {
		return take_bool(value, &c->notify, e);
	} else if (!strcmp(name, "mouse")) {
		return take_bool(value, &c->mouse, e);
	} else if (!strcmp(name, "clipboard")) {
		return take_clipboard(value, &c->clipboard, e);
	} else if (!strcmp(name, "keys")) {
		if (value->type != YAML_MAPPING_NODE)
			return complain(e, value, "keys is a mapping of actions to keys");
		for (yaml_node_pair_t *p = value->data.mapping.pairs.start; p < value->data.mapping.pairs.top; p++) {
			const int one = take_binding(c, d, yaml_document_get_node(d, p->key), yaml_document_get_node(d, p->value), e);

			r = r < 0 ? r : one;
		}
	} else {
		struct err why = ERR_INIT;

		return confkey_check(name, &why) ? complain(e, key, why.msg) : 0;
	}
	return r;
}

int config_parse(struct config *c, const char *text, size_t n, struct err *e)
{
	yaml_parser_t p;
	yaml_document_t d;
	int r = 0;

	if (!yaml_parser_initialize(&p))
		return err_set(e, ENOMEM, "out of memory");
	yaml_parser_set_input_string(&p, (const unsigned char *)(n > 0 ? text : ""), n);
	if (!yaml_parser_load(&p, &d)) {
		err_set(e, EINVAL, "config.yaml line %zu: %s", p.problem_mark.line + 1, p.problem ? p.problem : "is no YAML");
		yaml_parser_delete(&p);
		return -EINVAL;
	}
	const yaml_node_t *root = yaml_document_get_root_node(&d);
	if (root && root->type == YAML_MAPPING_NODE) {
		for (yaml_node_pair_t *i = root->data.mapping.pairs.start; i < root->data.mapping.pairs.top; i++) {
			const int one = take(c, &d, yaml_document_get_node(&d, i->key), yaml_document_get_node(&d, i->value), e);

			r = r < 0 ? r : one;
		}
	} else if (root && !(root->type == YAML_SCALAR_NODE && !scalar(root)[0])) {
		r = complain(e, root, "names with values are wanted");
	}
	yaml_document_delete(&d);
	yaml_parser_delete(&p);
	return r;
}

int config_load(struct config *c, struct err *e)
{
	struct buf b;
	AUTO_FREE char *dir = path_config(e);
	struct err none = ERR_INIT;
	int r;

	if (!dir)
		return -EINVAL;
	AUTO_FD fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(e, errno, "cannot open '%s'", dir);
	buf_init(&b, CONFIG_MAX);
	r = atomicfile_read(fd, "config.yaml", &b, &none);
	if (r == 0)
		r = config_parse(c, (const char *)buf_head(&b), buf_size(&b), e);
	else if (r == -ENOENT) /* the directory may hold rules only */
		r = 0;
	else
		r = err_set(e, -r, "%s", none.msg);
	buf_release(&b);
	return r;
}
