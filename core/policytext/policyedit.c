/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes to the text of policy.yaml: a place is found through the marks of the parsed document (lines, and columns in characters), the text
 * around it is kept byte for byte, and the outcome is read again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/policytext/policyfile.h"
#include "core/policytext/yamldoc.h"

const char policyfile_head[] = "# Rules for what sandboxes may reach: bulkhead(5). 'bulkhead policy' edits this file and keeps your comments.\n";

#define QUOTED_MAX (2 * RULE_TEXT_MAX + 3)

static int by_hand(struct err *e, const char *name)
{
	return err_set(e, EINVAL, "'%s' is written in a way that cannot be changed safely: edit it by hand", name);
}

/* Byte offset of line `line` (from 0), at most n. */
static size_t line_at(const struct yamldoc *d, size_t line)
{
	size_t at = 0;

	while (line && at < d->n)
		line -= d->text[at++] == '\n';
	return at;
}

static size_t offset(const struct yamldoc *d, const yaml_mark_t *m)
{
	size_t at = line_at(d, m->line);

	for (size_t c = 0; c < m->column && at < d->n; c++) {
		uint32_t cp;
		at += utf8_decode((const uint8_t *)d->text + at, d->n - at, &cp, NULL);
	}
	return at;
}

/* Plain or double-quoted so that nothing in it means anything to YAML. */
static void quote(const char *s, char out[static QUOTED_MAX])
{
	size_t n = 0;

	out[n++] = '"';
	for (; *s && n < QUOTED_MAX - 3; s++) {
		if (*s == '"' || *s == '\\')
			out[n++] = '\\';
		out[n++] = *s;
	}
	out[n++] = '"';
	out[n] = '\0';
}

/* text with [from, to) replaced. */
static int splice(const struct yamldoc *d, size_t from, size_t to, const char *with, struct buf *out)
{
	buf_put(out, d->text, from);
	buf_put(out, with, strlen(with));
	buf_put(out, d->text + to, d->n - to);
	return buf_ok(out) ? 0 : -ENOBUFS;
}

/* The column of the dash in front of an item of a block list, in bytes from its line's begin; -1 when it is not on the item's line. */
static ssize_t dash(const struct yamldoc *d, const yaml_node_t *item)
{
	size_t at = line_at(d, item->start_mark.line), k = 0;

	while (at + k < d->n && d->text[at + k] == ' ')
		k++;
	return at + k < d->n && d->text[at + k] == '-' && k < 64 && item->start_mark.column > k ? (ssize_t)k : -1;
}

/* The last line a node has text on. */
static size_t last_line(struct yamldoc *d, const yaml_node_t *v)
{
	size_t last = v->start_mark.line;

	if (v->type == YAML_SCALAR_NODE || (v->type == YAML_MAPPING_NODE && v->data.mapping.style == YAML_FLOW_MAPPING_STYLE) ||
	    (v->type == YAML_SEQUENCE_NODE && v->data.sequence.style == YAML_FLOW_SEQUENCE_STYLE)) {
		/* a block scalar ends where the next line begins */
		return v->end_mark.column == 0 && v->end_mark.line > last ? v->end_mark.line - 1 : v->end_mark.line;
	}
	const yaml_node_t *end = NULL;
	if (v->type == YAML_MAPPING_NODE && v->data.mapping.pairs.top > v->data.mapping.pairs.start)
		end = yamldoc_node(d, v->data.mapping.pairs.top[-1].value);
	else if (v->type == YAML_SEQUENCE_NODE && v->data.sequence.items.top > v->data.sequence.items.start)
		end = yamldoc_node(d, v->data.sequence.items.top[-1]);
	/* One level is all a rule has; an alias may lead back, and is no deeper than that. */
	if (end && end->type == YAML_SCALAR_NODE && end->end_mark.line > last)
		last = end->end_mark.line;
	else if (end && end->type == YAML_SEQUENCE_NODE && end->data.sequence.items.top > end->data.sequence.items.start) {
		const yaml_node_t *leaf = yamldoc_node(d, end->data.sequence.items.top[-1]);
		const size_t line = end->data.sequence.style == YAML_FLOW_SEQUENCE_STYLE ? end->end_mark.line : leaf ? leaf->end_mark.line : last;
		last = line > last ? line : last;
	}
	return last;
}

/* Inserts `line` (without LF) as line number `at`, in front of what is there. */
static int insert_line(const struct yamldoc *d, size_t at, size_t indent, const char *line, struct buf *out)
{
	const size_t pos = line_at(d, at);
	char text[QUOTED_MAX + 128];

	snprintf(text, sizeof(text), "%s%*s%s\n", pos && d->text[pos - 1] != '\n' ? "\n" : "", (int)indent, "", line);
	return splice(d, pos, pos, text, out);
}

static int append_text(const struct yamldoc *d, const char *text, struct buf *out)
{
	buf_put(out, d->text, d->n);
	if (d->n && d->text[d->n - 1] != '\n')
		buf_u8(out, '\n');
	buf_put(out, text, strlen(text));
	return buf_ok(out) ? 0 : -ENOBUFS;
}

static int add_flow(struct yamldoc *d, const yaml_node_t *list, const char *quoted, struct buf *out, struct err *e)
{
	size_t close = offset(d, &list->end_mark), before;
	char text[QUOTED_MAX + 4];

	if (close == 0 || d->text[--close] != ']')
		return by_hand(e, d->name);
	before = close;
	while (before && strchr(" \t\r\n", d->text[before - 1]))
		before--;
	const char last = before ? d->text[before - 1] : '\0';
	snprintf(text, sizeof(text), "%s%s", last == '[' ? "" : last == ',' ? " " : ", ", quoted);
	return splice(d, before, before, text, out);
}

static int add_block(struct yamldoc *d, const yaml_node_t *list, const char *quoted, struct buf *out, struct err *e)
{
	const yaml_node_t *item = yamldoc_node(d, list->data.sequence.items.top[-1]);
	const ssize_t indent = item ? dash(d, item) : -1;
	char line[QUOTED_MAX + 4];

	if (indent < 0)
		return by_hand(e, d->name);
	snprintf(line, sizeof(line), "- %s", quoted);
	return insert_line(d, last_line(d, item) + 1, (size_t)indent, line, out);
}

static int add(struct yamldoc *d, const struct rule *r, struct buf *out, struct err *e)
{
	const char *key = rule_verdict_name[r->verdict];
	yaml_node_t *key_node = NULL, *list = yamldoc_get(d, d->root, key, &key_node);
	char text[RULE_TEXT_MAX], quoted[QUOTED_MAX], line[QUOTED_MAX + 32];

	rule_text(r, false, text, sizeof(text));
	quote(text, quoted);
	if (!list) {
		snprintf(line, sizeof(line), "%s:\n  - %s\n", key, quoted);
		return append_text(d, line, out);
	}
	if (yamldoc_is_null(list)) {
		snprintf(line, sizeof(line), "- %s", quoted);
		return insert_line(d, key_node->end_mark.line + 1, key_node->start_mark.column + 2, line, out);
	}
	if (list->type != YAML_SEQUENCE_NODE)
		return by_hand(e, d->name);
	if (list->data.sequence.style == YAML_FLOW_SEQUENCE_STYLE)
		return add_flow(d, list, quoted, out, e);
	return list->data.sequence.items.top > list->data.sequence.items.start ? add_block(d, list, quoted, out, e) : by_hand(e, d->name);
}

/* `before` without rules[skip] (SIZE_MAX none) and with `more` (NULL none) says the same as `after`, list by list. */
static bool same(const struct policyfile *before, size_t skip, const struct rule *more, const struct policyfile *after)
{
	if (before->has_default != after->has_default || before->def != after->def || strcmp(before->preset, after->preset) ||
	    after->n != before->n - (skip < before->n) + (more != NULL))
		return false;
	for (uint8_t v = 0; v < NET_VERDICT_NUM; v++) {
		size_t j = 0;
		for (size_t i = 0; i <= before->n; i++) {
			const struct rule *want = i == before->n ? more : i == skip ? NULL : &before->rules[i];
			if (!want || want->verdict != v)
				continue;
			while (j < after->n && after->rules[j].verdict != v)
				j++;
			if (j == after->n || !rule_equal(want, &after->rules[j]) || strcmp(i == before->n ? "" : want->note, after->rules[j].note))
				return false;
			j++;
		}
	}
	return true;
}

static int verify(const struct policyfile *before, size_t skip, const struct rule *more, const char *name, struct buf *out, struct err *e)
{
	struct policyfile after;
	int r = buf_ok(out) ? policyfile_parse((const char *)buf_head(out), buf_size(out), name, RULE_GLOBAL, &after, NULL) : -ENOBUFS;

	if (!r) {
		r = same(before, skip, more, &after) ? 0 : -EINVAL;
		policyfile_release(&after);
	}
	if (r) {
		buf_clear(out);
		return by_hand(e, name);
	}
	return 0;
}

int policyfile_add(const char *text, size_t n, const char *name, const struct rule *r, struct buf *out, struct err *e)
{
	struct policyfile before;
	struct yamldoc d;

	if (rule_check(r, e))
		return -EINVAL;
	if (policyfile_parse(text, n, name, RULE_GLOBAL, &before, e))
		return -EINVAL;
	for (size_t i = 0; i < before.n; i++)
		if (rule_equal(&before.rules[i], r)) {
			char line[RULE_TEXT_MAX];
			rule_text(r, true, line, sizeof(line));
			policyfile_release(&before);
			return err_set(e, EEXIST, "the rule '%s' is there already", line);
		}
	int rc = yamldoc_load(&d, text, n, name, e);
	if (!rc) {
		rc = add(&d, r, out, e);
		yamldoc_release(&d);
		if (!rc || rc == -ENOBUFS)
			rc = verify(&before, SIZE_MAX, r, name, out, e);
	}
	policyfile_release(&before);
	return rc;
}

static int remove_flow(struct yamldoc *d, const yaml_node_t *item, struct buf *out)
{
	size_t from = offset(d, &item->start_mark), to = offset(d, &item->end_mark), k = to;

	while (k < d->n && strchr(" \t\r\n", d->text[k]))
		k++;
	if (k < d->n && d->text[k] == ',') {
		to = k + 1;
		while (to < d->n && (d->text[to] == ' ' || d->text[to] == '\t'))
			to++;
	} else {
		while (from && strchr(" \t\r\n", d->text[from - 1]))
			from--;
		if (from && d->text[from - 1] == ',')
			from--;
	}
	return splice(d, from, to, "", out);
}

/* The item that became rule `index`: lists stand in the order of their keys. */
static int take_away(struct yamldoc *d, size_t index, struct buf *out, struct err *e)
{
	for (const yaml_node_pair_t *p = d->root->data.mapping.pairs.start; p < d->root->data.mapping.pairs.top; p++) {
		const yaml_node_t *list = yamldoc_node(d, p->value);
		if (!list || list->type != YAML_SEQUENCE_NODE)
			continue;
		const size_t n = (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
		if (index >= n) {
			index -= n;
			continue;
		}
		const yaml_node_t *item = yamldoc_node(d, list->data.sequence.items.start[index]);
		if (!item)
			break;
		if (list->data.sequence.style == YAML_FLOW_SEQUENCE_STYLE)
			return remove_flow(d, item, out);
		if (dash(d, item) < 0)
			break;
		return splice(d, line_at(d, item->start_mark.line), line_at(d, last_line(d, item) + 1), "", out);
	}
	return by_hand(e, d->name);
}

int policyfile_remove(const char *text, size_t n, const char *name, size_t index, struct buf *out, struct err *e)
{
	struct policyfile before;
	struct yamldoc d;

	if (policyfile_parse(text, n, name, RULE_GLOBAL, &before, e))
		return -EINVAL;
	int rc = index < before.n ? yamldoc_load(&d, text, n, name, e) : err_set(e, ENOENT, "there is no rule %zu", index + 1);
	if (!rc) {
		rc = take_away(&d, index, out, e);
		yamldoc_release(&d);
		if (!rc || rc == -ENOBUFS)
			rc = verify(&before, index, NULL, name, out, e);
	}
	policyfile_release(&before);
	return rc;
}

static int set(struct yamldoc *d, const char *key, const char *value, struct buf *out)
{
	yaml_node_t *key_node = NULL;
	const yaml_node_t *v = yamldoc_get(d, d->root, key, &key_node);
	char line[96];

	if (!v) {
		snprintf(line, sizeof(line), "%s: %s\n", key, value);
		return d->root ? insert_line(d, d->root->start_mark.line, 0, (line[strlen(line) - 1] = '\0', line), out) : append_text(d, line, out);
	}
	return splice(d, offset(d, &v->start_mark), offset(d, &v->end_mark), value, out);
}

int policyfile_set(const char *text, size_t n, const char *name, const char *key, const char *value, struct buf *out, struct err *e)
{
	struct policyfile before;
	struct yamldoc d;

	if (policyfile_parse(text, n, name, RULE_GLOBAL, &before, e))
		return -EINVAL;
	const bool preset = !strcmp(key, "preset");
	if (preset) {
		str_copy(before.preset, sizeof(before.preset), value);
	} else {
		before.has_default = true;
		for (uint8_t v = 0; v < NET_VERDICT_NUM; v++)
			if (!strcmp(value, rule_verdict_name[v]))
				before.def = v;
	}
	int rc = yamldoc_load(&d, text, n, name, e);
	if (!rc) {
		rc = set(&d, key, value, out);
		yamldoc_release(&d);
		rc = verify(&before, SIZE_MAX, NULL, name, out, e);
	}
	policyfile_release(&before);
	return rc;
}
