/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked of the supervisor (docs/protocol.md). Answers come later, from client_pump(): what they concern is named (sandbox, session,
 * pane), never pointed at, because panes and viewers may be gone by then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/client/port.h"
#include "tui/app.h"
#include "tui/request.h"

struct request *request_create_for(struct app *a, const char *what, const char *sandbox)
{
	struct request *r = calloc(1, sizeof(*r));

	if (r) {
		r->a = a;
		str_copy(r->what, sizeof(r->what), what);
		str_copy(r->sandbox, sizeof(r->sandbox), sandbox ? sandbox : "");
	}
	return r;
}

void request_send(struct request *r, const char *method, json_t *params, client_answer_fn fn)
{
	if (!r || !r->a->client) {
		if (r)
			app_message(r->a, EL_ERROR, "the supervisor is away: %s was not asked", method);
		json_decref(params);
		free(r);
		return;
	}
	if (client_send(r->a->client, method, params, fn, r) < 0)
		app_message(r->a, EL_ERROR, "%s could not be asked", method);
}

bool request_failed(struct request *r, const struct client_answer *ans)
{
	if (ans->code == 0)
		return false;
	if (ans->code != CLIENT_LOST)
		app_message(r->a, EL_ERROR, "%s", ans->message);
	return true;
}

/* ---- answers -------------------------------------------------------------------------------------------------------------------------- */

static void on_simple(void *arg, const struct client_answer *ans)
{
	struct request *r = arg;
	int fd = ans->fd;

	fd_close(&fd);
	request_failed(r, ans);
	free(r);
}

static void on_subscribed(void *arg, const struct client_answer *ans)
{
	struct request *r = arg;

	if (!request_failed(r, ans)) {
		model_subscribed(r->a->model, ans->result);
		app_settle(r->a);
	} else if (ans->code != CLIENT_LOST) {
		model_not_subscribed(r->a->model, ans->message);
	}
	r->a->dirty = true;
	free(r);
}

static void on_log(void *arg, const struct client_answer *ans)
{
	struct request *r = arg;
	const json_t *records = json_object_get(ans->result, "records"), *one;
	size_t i;

	if (ans->code == 0) { /* also what came as events before this answer */
		model_log_clear(r->a->model);
		json_array_foreach(records, i, one)
			model_log_add(r->a->model, one);
	}
	r->a->dirty = true;
	free(r);
}

static void on_audit(void *arg, const struct client_answer *ans)
{
	struct request *r = arg;

	if (ans->code == 0)
		auditmodel_read(&r->a->model->audit, ans->result);
	r->a->dirty = true;
	free(r);
}

static void on_decisions(void *arg, const struct client_answer *ans)
{
	struct request *r = arg;

	if (ans->code == 0) {
		netmodel_log(&r->a->model->net, ans->result);
		r->a->net.row = 0;
	}
	r->a->dirty = true;
	free(r);
}

static struct viewer *viewer_asked(const struct app *a, uint64_t serial)
{
	for (size_t i = 0; i < a->nviewers; i++)
		if (a->viewers[i]->serial == serial && a->viewers[i]->state == VIEWER_ASKED)
			return a->viewers[i];
	return NULL;
}

static void on_attached(void *arg, const struct client_answer *ans)
{
	struct request *r = arg;
	struct app *a = r->a;
	struct viewer *v = viewer_asked(a, r->viewer);
	int fd = ans->fd;

	a->dirty = true;
	if (!v) {
		fd_close(&fd);
	} else if (ans->code || fd < 0) {
		v->state = VIEWER_GONE;
		v->used_ms = clock_ms();
		str_copy(v->why, sizeof(v->why), ans->code ? ans->message : "the supervisor gave no terminal");
		fd_close(&fd);
	} else {
		const json_t *s = json_object_get(ans->result, "session");
		const json_int_t id = json_integer_value(json_is_object(s) ? json_object_get(s, "id") : s);

		viewer_attach(v, id > 0 && id <= UINT32_MAX ? (uint32_t)id : v->session, fd);
	}
	free(r);
}

static void on_shell(void *arg, const struct client_answer *ans)
{
	struct request *r = arg;
	struct app *a = r->a;
	struct desk *d = desk_of(a, r->sandbox);
	struct pane *p = d ? desk_pane(d, r->pane) : NULL;
	int fd = ans->fd;

	fd_close(&fd);
	a->dirty = true;
	if (p)
		p->asked = false;
	if (!request_failed(r, ans) && p) {
		const json_int_t id = json_integer_value(json_object_get(json_object_get(ans->result, "session"), "id"));

		if (id > 0 && id <= UINT32_MAX)
			p->session = (uint32_t)id;
		if (d->npanes > 1)
			prefs_save(a);
	}
	free(r);
}

static void on_created(void *arg, const struct client_answer *ans)
{
	struct request *r = arg;
	struct app *a = r->a;

	if (ans->code) {
		if (a->overlay == OV_FORM)
			str_copy(a->form_error, sizeof(a->form_error), ans->message);
		else
			request_failed(r, ans);
		a->dirty = true;
		free(r);
		return;
	}
	const char *name = json_string_value(json_object_get(ans->result, "name"));
	if (a->overlay == OV_FORM)
		a->overlay = OV_NONE;
	if (name) {
		str_copy(a->select_soon, sizeof(a->select_soon), name);
		str_copy(a->wait_start, sizeof(a->wait_start), name);
		app_settle(a);
		request_simple(a, "sandbox.start", name);
		app_message(a, EL_OK, "%s is made and boots", name);
	}
	free(r);
}

/* ---- questions ------------------------------------------------------------------------------------------------------------------------ */

static void request_decisions(struct app *a)
{
	request_send(request_create_for(a, "decisions", NULL), "policy.log", json_pack("{s:i}", "lines", 500), on_decisions);
}

void on_event(void *arg, const json_t *event)
{
	struct app *a = arg;

	const char *kind = json_string_value(json_object_get(event, "kind"));

	model_event(a->model, event);
	if (kind && !strcmp(kind, "resync") && !a->attach_only) /* some were not told: all rows again */
		request_decisions(a);
	/* Decisions come by the thousand: they change nothing but the rows, and those only where they are looked at. */
	if (kind && (!strcmp(kind, "decision") || !strcmp(kind, "net"))) {
		a->dirty = a->dirty || net_shown(a);
		return;
	}
	app_settle(a);
	a->dirty = true;
}

void request_subscribe(struct app *a)
{
	request_send(request_create_for(a, "subscribe", NULL), "events.subscribe", NULL, on_subscribed);
	if (a->attach_only)
		return;
	request_send(request_create_for(a, "log", NULL), "log.read", json_pack("{s:i}", "lines", 500), on_log);
	request_send(request_create_for(a, "audit", NULL), "audit.read", json_pack("{s:i}", "lines", 300), on_audit);
	request_decisions(a);
	request_send(request_create_for(a, "stats", NULL), "stats.watch",
		     json_pack("{s:i,s:[s,s,s]}", "interval_ms", 2000, "what", "stats", "top", "containers"), on_simple);
}

void request_simple(struct app *a, const char *method, const char *sandbox)
{
	request_send(request_create_for(a, method, sandbox), method, json_pack("{s:s}", "name", sandbox), on_simple);
}

void request_remove(struct app *a, const char *sandbox)
{
	request_send(request_create_for(a, "remove", sandbox), "sandbox.remove", json_pack("{s:s,s:b}", "name", sandbox, "force", 1), on_simple);
}

void request_attach(struct app *a, struct viewer *v)
{
	struct request *r = request_create_for(a, "attach", v->sandbox);
	json_t *p = json_pack("{s:s,s:i,s:i}", "name", v->sandbox, "rows", v->rows, "cols", v->cols);

	if (r)
		r->viewer = v->serial;
	if (v->session)
		json_object_set_new(p, "session", json_integer(v->session));
	request_send(r, "session.attach", p, on_attached);
}

void request_shell(struct app *a, const char *sandbox, unsigned pane, int rows, int cols)
{
	struct request *r = request_create_for(a, "shell", sandbox);

	if (r)
		r->pane = pane;
	request_send(r, "session.open",
		     json_pack("{s:s,s:s,s:b,s:i,s:i,s:s}", "name", sandbox, "kind", "pty", "tty", 1, "rows", rows, "cols", cols, "label", "shell"),
		     on_shell);
}

void request_close(struct app *a, const char *sandbox, uint32_t session)
{
	request_send(request_create_for(a, "close", sandbox), "session.close",
		     json_pack("{s:s,s:i,s:b}", "name", sandbox, "session", (int)session, "forget", 1), on_simple);
}

void request_create(struct app *a, json_t *params)
{
	request_send(request_create_for(a, "create", NULL), "sandbox.create", params, on_created);
}

/* ---- the network -------------------------------------------------------------------------------------------------------------------- */

/* A rule of this dashboard's; sandbox "" every. What was done, and the key that undoes it. */
static void made(struct app *a, const char *rule, const char *sandbox, const char *text)
{
	char key[32] = "";

	str_copy(a->undo.rule, sizeof(a->undo.rule), rule);
	str_copy(a->undo.sandbox, sizeof(a->undo.sandbox), sandbox);
	keymap_show(&a->config.keys, ACT_UNDO, false, a->ascii, key, sizeof(key));
	app_message(a, EL_OK, "%s   %s takes it back", text, key);
}

static void on_answered(void *arg, const struct client_answer *ans)
{
	struct request *r = arg;

	const char *rule = ans->code ? NULL : json_string_value(json_object_get(ans->result, "rule"));

	if (request_failed(r, ans))
		r->a->asking.sent = 0;
	else if (rule)
		made(r->a, rule, r->sandbox, r->text);
	else
		app_message(r->a, EL_OK, "%s", r->text);
	free(r);
}

void request_answer(struct app *a, const struct model_ask *q, const char *verdict, const char *scope)
{
	const bool allow = !strcmp(verdict, "allow"), always = !strcmp(scope, "always");
	struct request *r = request_create_for(a, "answer", always ? NULL : q->what.sandbox);
	char what[120];

	reach_text(&q->what, what, sizeof(what), 70, a->ascii);
	if (r)
		snprintf(r->text, sizeof(r->text), "%s %s reach %s%s", always ? "every sandbox" : q->what.sandbox, allow ? "may" : "may not", what,
			 !strcmp(scope, "once") ? ", this once" : " from now on");
	request_send(r, "ask.answer", json_pack("{s:I,s:s,s:s}", "id", (json_int_t)q->id, "verdict", verdict, "scope", scope), on_answered);
}

static void on_ruled(void *arg, const struct client_answer *ans)
{
	struct request *r = arg;
	struct app *a = r->a;

	a->rule.sent = false;
	a->dirty = true;
	if (ans->code && a->overlay == OV_RULE) {
		str_copy(a->rule.error, sizeof(a->rule.error), ans->message);
	} else if (!request_failed(r, ans)) {
		char text[sizeof(r->rule) + sizeof(r->sandbox) + 16];

		if (a->overlay == OV_RULE)
			a->overlay = OV_NONE;
		snprintf(text, sizeof(text), "%s, for %s", r->rule, r->sandbox[0] ? r->sandbox : "every sandbox");
		made(a, r->rule, r->sandbox, text);
	}
	free(r);
}

void request_rule(struct app *a, const char *rule, const char *sandbox)
{
	struct request *r = request_create_for(a, "rule", sandbox);
	json_t *p = json_pack("{s:s}", "rule", rule);

	if (sandbox)
		json_object_set_new(p, "name", json_string(sandbox));
	if (r)
		str_copy(r->rule, sizeof(r->rule), rule);
	if (!a->client)
		a->rule.sent = false;
	request_send(r, "policy.add", p, on_ruled);
}

static void on_undone(void *arg, const struct client_answer *ans)
{
	struct request *r = arg;

	if (!request_failed(r, ans))
		app_message(r->a, EL_OK, "taken back: %s", r->rule);
	free(r);
}

void request_undo(struct app *a)
{
	struct request *r = request_create_for(a, "undo", a->undo.sandbox);
	json_t *p = json_pack("{s:s}", "rule", a->undo.rule);

	if (a->undo.sandbox[0])
		json_object_set_new(p, "name", json_string(a->undo.sandbox));
	if (r)
		str_copy(r->rule, sizeof(r->rule), a->undo.rule);
	a->undo.rule[0] = '\0';
	request_send(r, "policy.remove", p, on_undone);
}

static void on_published(void *arg, const struct client_answer *ans)
{
	struct request *r = arg;

	if (!request_failed(r, ans)) {
		const json_t *o = ans->result;
		const char *address = json_string_value(json_object_get(o, "host_address"));

		app_message(r->a, EL_OK, "%s:%lld is port %lld of %s", address ? address : "", (long long)json_integer_value(json_object_get(o, "host_port")),
			    (long long)json_integer_value(json_object_get(o, "guest_port")), r->sandbox);
	}
	free(r);
}

void request_publish(struct app *a, const char *sandbox, const char *text)
{
	struct port_spec spec;
	struct err e = ERR_INIT;

	if (port_spec_parse(text, &spec, &e) < 0) {
		app_message(a, EL_ERROR, "%s", e.msg);
		return;
	}
	request_send(request_create_for(a, "publish", sandbox), "port.publish",
		     json_pack("{s:s,s:i,s:i,s:s}", "name", sandbox, "guest_port", spec.guest, "host_port", spec.host, "address", spec.address), on_published);
}

void request_unpublish(struct app *a, const struct model_port *p)
{
	request_send(request_create_for(a, "unpublish", p->sandbox), "port.unpublish", json_pack("{s:I}", "id", (json_int_t)p->id), on_simple);
}

/* ---- the connection -------------------------------------------------------------------------------------------------------------------- */

void on_lost(struct app *a, const char *why)
{
	client_close(&a->client);
	for (size_t i = 0; i < a->nviewers;)
		if (a->viewers[i]->state == VIEWER_ASKED)
			viewer_drop(a, a->viewers[i]);
		else
			i++;
	for (size_t i = 0; i < a->ndesks; i++)
		for (size_t k = 0; k < a->desks[i]->npanes; k++)
			a->desks[i]->panes[k].asked = false;
	for (size_t i = 0; i < a->model->diff.nlists; i++)
		a->model->diff.lists[i]->asking = a->model->diff.lists[i]->text_asking = false;
	a->retries = 0;
	a->retry_ms = clock_ms();
	app_message(a, EL_WARN, "the supervisor is away (%s); terminals go on, looking for it", why);
}

static void not_reached(struct app *a, const struct err *e)
{
	connecting_end(&a->connecting);
	a->retries++;
	a->retry_ms = clock_ms() + (a->retries < 8 ? 250 : 2000);
	if (a->retries >= 8 || e->code == ETIMEDOUT)
		app_message(a, EL_ERROR, "%s", e->msg);
}

/* The first tries leave it time to come back by itself, later ones start it. */
void request_connect(struct app *a, bool start)
{
	struct err e = ERR_INIT;

	if (!a->connecting && connecting_begin(&a->connecting, "dashboard", start, &e) < 0) {
		not_reached(a, &e);
		return;
	}
	const int r = connecting_step(a->connecting, &a->client, &e);
	if (r < 0)
		not_reached(a, &e);
	if (r <= 0)
		return;
	connecting_end(&a->connecting);
	app_message(a, EL_OK, "the supervisor is back");
	a->retries = 0;
	client_on_event(a->client, on_event, a);
	request_subscribe(a);
	a->dirty = true;
}
