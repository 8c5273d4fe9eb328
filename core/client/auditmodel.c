/* SPDX-License-Identifier: Apache-2.0 */
/* See auditmodel.h. Names and paths in records come from guests: field_text() scrubs and bounds them. */
#include "core/client/auditmodel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/client/fields.h"

enum event { E_APPLY, E_DISCARD, E_UNDO, E_SECRET, E_ALARM, E_INJECTED, E_NUM };
static const char *const event_words[] = { "apply", "discard", "undo", "secret", "alarm", "injected" };
_Static_assert(ARRAY_SIZE(event_words) == E_NUM, "a word for every event");

void auditmodel_release(struct auditmodel *m)
{
	free(m->lines);
	*m = (struct auditmodel){ 0 };
}

const struct model_audit *auditmodel_at(const struct auditmodel *m, size_t i)
{
	return i < m->n ? &m->lines[(m->first + i) % MODEL_AUDIT_MAX] : NULL;
}

static void files_text(const json_t *o, const char *verb, const char *rest, struct model_audit *l)
{
	char where[200];
	const unsigned long long files = field_u64(o, "files");

	field_text(o, "workspace", where, sizeof(where));
	snprintf(l->text, sizeof(l->text), "%s %llu file%s%s%s", verb, files, files == 1 ? "" : "s", where[0] ? rest : "", where);
}

static void reach_text_of(const json_t *o, char *dst, size_t cap)
{
	char host[140];

	field_text(o, "name", host, sizeof(host));
	if (!host[0])
		field_text(o, "address", host, sizeof(host));
	snprintf(dst, cap, "%s:%u", host, (unsigned)field_u16(o, "port"));
}

static void say(enum event ev, const json_t *o, struct model_audit *l)
{
	char service[64], where[160], what[32], rule[160];

	field_text(o, "service", service, sizeof(service));
	reach_text_of(o, where, sizeof(where));
	l->level = LOG_INFO;
	switch (ev) {
	case E_APPLY: files_text(o, "applied", " to ", l); break;
	case E_DISCARD: files_text(o, "discarded", " of ", l); break;
	case E_UNDO: files_text(o, "took an apply back:", " of ", l); break;
	case E_SECRET:
		field_text(o, "what", what, sizeof(what));
		snprintf(l->text, sizeof(l->text), "credential %s: %s", service, what);
		break;
	case E_ALARM:
		l->level = LOG_ERROR;
		field_text(o, "rule", rule, sizeof(rule));
		snprintf(l->text, sizeof(l->text), "alarm: %s, %s: refused", rule, where);
		break;
	default:
		snprintf(l->text, sizeof(l->text), "credential %s put in for %s", service, where);
		break;
	}
	l->repeats = ev == E_ALARM || ev == E_INJECTED;
}

/* The line that counts this one too: among the newest, so that two sandboxes at once make two lines and not a hundred. */
static struct model_audit *same(struct auditmodel *m, const struct model_audit *l)
{
	for (size_t k = 0; l->repeats && k < m->n && k < 16; k++) {
		struct model_audit *old = &m->lines[(m->first + m->n - 1 - k) % MODEL_AUDIT_MAX];

		if (old->repeats && !strcmp(old->name, l->name) && !strcmp(old->text, l->text))
			return old;
	}
	return NULL;
}

static void add(struct auditmodel *m, const struct model_audit *l)
{
	if (!m->lines)
		m->lines = calloc(MODEL_AUDIT_MAX, sizeof(*m->lines));
	if (!m->lines)
		return;
	if (m->n == MODEL_AUDIT_MAX)
		m->first = (m->first + 1) % MODEL_AUDIT_MAX;
	else
		m->n++;
	m->lines[(m->first + m->n - 1) % MODEL_AUDIT_MAX] = *l;
}

void auditmodel_take(struct auditmodel *m, const json_t *o)
{
	const enum event ev = (enum event)field_word(o, "event", event_words, E_NUM, E_NUM);
	const uint64_t seq = field_u64(o, "seq");
	struct model_audit l = { .at_ms = field_time_ms(o, "at"), .count = 1 };

	if (ev == E_NUM || (seq && seq <= m->last_seq))
		return;
	if (seq)
		m->last_seq = seq;
	field_text(o, "sandbox", l.name, sizeof(l.name));
	say(ev, o, &l);
	struct model_audit *old = same(m, &l);
	if (!old) {
		add(m, &l);
		return;
	}
	/* It is the newest now. */
	struct model_audit *newest = &m->lines[(m->first + m->n - 1) % MODEL_AUDIT_MAX], moved = *old;
	moved.at_ms = l.at_ms;
	moved.count++;
	for (struct model_audit *p = old; p != newest;) {
		struct model_audit *next = p + 1 == m->lines + MODEL_AUDIT_MAX ? m->lines : p + 1;

		*p = *next;
		p = next;
	}
	*newest = moved;
}

void auditmodel_read(struct auditmodel *m, const json_t *result)
{
	const json_t *list = json_object_get(result, "records");

	m->first = m->n = 0;
	m->last_seq = 0;
	for (size_t i = 0; i < json_array_size(list); i++)
		auditmodel_take(m, json_array_get(list, i));
}
