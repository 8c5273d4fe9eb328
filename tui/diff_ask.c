/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the Diff view asks of the supervisor: lists (a page at a time, one request under way of each sandbox, so that one that is slow to answer keeps no
 * other waiting), the text of the file at the cursor (one under way of each: who moves fast asks for the last), and apply, discard, undo.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "tui/request.h"

#define PAGE_ENTRIES 1000
#define LOOK_AGAIN_MS 8000

static struct request *request_for(struct app *a, const char *what, const char *sandbox, const char *workspace, const char *path)
{
	struct request *r = request_create_for(a, what, sandbox);

	if (r) {
		r->workspace = workspace ? str_dup(workspace) : NULL;
		r->path = path ? str_dup(path) : NULL;
	}
	return r;
}

static void request_free(struct request *r)
{
	free(r->workspace);
	free(r->path);
	free(r);
}

/* ---- lists ------------------------------------------------------------------------------------------------------------------------ */

static void on_list(void *arg, const struct client_answer *ans)
{
	struct request *r = arg;
	struct app *a = r->a;
	struct difflist *l = diffmodel_find(&a->model->diff, r->sandbox);
	size_t ws;
	uint64_t from;

	a->dirty = true;
	if (l)
		l->asking = false;
	/* A page of a list that was forgotten meanwhile is none. */
	if (!l || ans->code == CLIENT_LOST || (r->workspace && !l->coming.nws)) {
		if (l)
			l->asked = false;
	} else if (ans->code) {
		difflist_failed(l, ans->message);
	} else if (difflist_page(l, ans->result, !r->workspace, &ws, &from)) {
		request_list(a, l->sandbox, l->coming.ws[ws].path, from);
	} else {
		const size_t gone = diffmark_settle(&a->diff, l, &a->model->diff.text);

		if (gone)
			app_message(a, EL_WARN, "the file changed: its marked hunks are no longer marked");
	}
	request_free(r);
}

void request_list(struct app *a, const char *sandbox, const char *workspace, uint64_t from)
{
	struct difflist *l = diffmodel_find(&a->model->diff, sandbox);
	struct request *r;
	json_t *p;

	if (!a->client || !l || !(r = request_for(a, "changes", sandbox, workspace, NULL)))
		return;
	p = json_pack("{s:s,s:I,s:i}", "name", sandbox, "from", (json_int_t)from, "limit", PAGE_ENTRIES);
	if (workspace)
		json_object_set_new(p, "workspace", json_string(workspace));
	l->asking = true;
	request_send(r, "changes.list", p, on_list);
}

static void want_list(struct app *a, const struct model_sandbox *sb)
{
	struct difflist *l = diffmodel_list(&a->model->diff, sb->name);

	/* No event tells what the host changed: it is looked at again after a while. */
	const bool old = l && clock_ms() - l->asked_ms > LOOK_AGAIN_MS && sb->state == MS_RUNNING;
	if (!l || l->asking || (l->asked && !old && l->version == sb->changes.version && l->state == (uint32_t)sb->state && l->generation == sb->generation))
		return;
	l->asked = true;
	l->asked_ms = clock_ms();
	l->version = sb->changes.version;
	l->state = (uint32_t)sb->state;
	l->generation = sb->generation;
	request_list(a, sb->name, NULL, 0);
}

/* ---- the text ---------------------------------------------------------------------------------------------------------------------- */

static void on_text(void *arg, const struct client_answer *ans)
{
	struct request *r = arg;
	struct app *a = r->a;
	struct difftext *t = &a->model->diff.text;
	const bool same = r->workspace && r->path && difftext_is(t, r->sandbox, r->workspace, r->path);
	struct difflist *l = diffmodel_find(&a->model->diff, r->sandbox);
	const char *workspace;
	const struct change *c = diff_change(a, &workspace);

	if (l)
		l->text_asking = false;
	a->dirty = true;
	/* What came late is not put in place of what is looked at now. */
	const bool late = c && r->workspace && r->path && (strcmp(a->selected, r->sandbox) != 0 || strcmp(workspace, r->workspace) != 0 || strcmp(c->path, r->path) != 0);
	if (ans->code != CLIENT_LOST && r->workspace && r->path && !late) {
		if (!same)
			a->diff.line = a->diff.line_top = 0, a->diff.left = 0;
		a->diff.text_valid = a->diff.text_valid && same;
		if (ans->code)
			difftext_failed(t, r->sandbox, r->workspace, r->path, ans->message);
		else
			difftext_take(t, r->sandbox, r->workspace, r->path, ans->result);
		a->diff.text_context = r->context;
		a->diff.text_conflict = r->conflict;
		t->version = r->from;
		if (l && diffmark_settle(&a->diff, l, t))
			app_message(a, EL_WARN, "the file changed: its marked hunks are no longer marked");
	}
	request_free(r);
}

void request_text(struct app *a, const char *sandbox, const char *workspace, const char *path, uint64_t version)
{
	struct difflist *l = diffmodel_find(&a->model->diff, sandbox);
	struct request *r;
	json_t *p;

	if (!a->client || !l || !(r = request_for(a, "diff", sandbox, workspace, path)))
		return;
	r->from = version;
	r->context = a->diff.context;
	r->conflict = a->diff.conflict;
	p = json_pack("{s:s,s:s,s:s}", "name", sandbox, "workspace", workspace, "path", path);
	if (a->diff.context)
		json_object_set_new(p, "context", json_integer(a->diff.context));
	if (a->diff.conflict)
		json_object_set_new(p, "view", json_string("conflict"));
	l->text_asking = true;
	request_send(r, "changes.diff", p, on_text);
}

static void want_text(struct app *a, const struct model_sandbox *sb)
{
	const struct difftext *t = &a->model->diff.text;
	const struct difflist *l = diff_list(a);
	const char *workspace;
	const struct change *c = diff_change(a, &workspace);

	if (!c || !l || l->text_asking)
		return;
	if (difftext_is(t, sb->name, workspace, c->path) && t->version == sb->changes.version && a->diff.text_conflict == a->diff.conflict &&
	    a->diff.text_context == a->diff.context)
		return;
	request_text(a, sb->name, workspace, c->path, sb->changes.version);
}

void diff_look_again(struct app *a)
{
	for (size_t i = 0; i < a->model->diff.nlists; i++)
		a->model->diff.lists[i]->asked = false;
	a->dirty = true;
}

void diff_settle(struct app *a)
{
	const struct model_sandbox *sb = app_selected(a);
	size_t peers = 0;

	if (!a->client || !sb)
		return;
	want_list(a, sb);
	/* Others on the same directory: what both changed is shown. */
	for (size_t i = 0; i < a->model->nsandboxes && peers < DIFF_PEERS_MAX; i++) {
		const struct model_sandbox *o = a->model->sandboxes[i];

		if (o == sb || !o->path || !sb->path || strcmp(o->path, sb->path) != 0 || !o->changes.known)
			continue;
		want_list(a, o);
		peers++;
	}
	if (a->page == PAGE_DIFF) {
		diffview_rows(&a->diff, diff_list(a), false); /* the cursor's file is that of the list as it is now */
		want_text(a, sb);
	}
}

/* ---- apply, discard, undo ------------------------------------------------------------------------------------------------------------- */

/* How many files an answer is about: it may name fewer. */
static unsigned long long files_of(const json_t *result, const char *key)
{
	const json_t *n = json_object_get(result, "files");

	return json_is_integer(n) && json_integer_value(n) >= 0 ? (unsigned long long)json_integer_value(n) : json_array_size(json_object_get(result, key));
}

/* What was left out, and why, on lines of its own when it is more than one. */
static void tell_skipped(struct app *a, const json_t *skipped, const char *done)
{
	const size_t n = json_array_size(skipped);
	char path[300], why[200];
	struct buf b;

	buf_init(&b, 256 * 1024);
	for (size_t i = 0; i < n; i++) {
		const json_t *o = json_array_get(skipped, i);
		const char *p = json_string_value(json_object_get(o, "path")), *w = json_string_value(json_object_get(o, "reason"));
		char line[520];

		diff_show_path(path, sizeof(path), p ? p : "?", strlen(p ? p : "?"));
		scrub(why, sizeof(why), w ? w : "not said why", strlen(w ? w : "not said why"), false);
		const int len = snprintf(line, sizeof(line), "%s: %s\n", path, why);
		if (n == 1)
			app_message(a, EL_WARN, "%s; left out: %s: %s", done, path, why);
		if (buf_put(&b, line, (size_t)len) < 0)
			break;
	}
	if (n > 1 && a->overlay == OV_NONE && a->output.pid <= 0) {
		output_close(a);
		a->output.text = malloc(buf_size(&b));
		if (a->output.text) {
			a->output.len = buf_size(&b);
			memcpy(a->output.text, buf_head(&b), a->output.len);
			snprintf(a->output.title, sizeof(a->output.title), "%s; left out", done);
			a->output.top = 0;
			a->overlay = OV_OUTPUT;
		}
	} else if (n > 1) {
		app_message(a, EL_WARN, "%s, %zu left out", done, n);
	}
	buf_release(&b);
}

static void on_changed(void *arg, const struct client_answer *ans)
{
	struct request *r = arg;
	struct app *a = r->a;
	const bool discard = !strcmp(r->what, "discard");
	char done[120], key[32] = "";

	diff_look_again(a);
	if (!request_failed(r, ans)) {
		const json_t *skipped = json_object_get(ans->result, "skipped");
		const unsigned long long n = files_of(ans->result, discard ? "discarded" : "applied");

		snprintf(done, sizeof(done), "%llu file%s %s", n, n == 1 ? "" : "s", discard ? "discarded" : "applied");
		keymap_show(&a->config.keys, ACT_UNDO, false, a->ascii, key, sizeof(key));
		if (json_array_size(skipped))
			tell_skipped(a, skipped, done);
		else if (discard)
			app_message(a, EL_OK, "%s in %s", done, r->sandbox);
		else
			app_message(a, EL_OK, "%s from %s   %s takes it back", done, r->sandbox, key);
	}
	request_free(r);
}

void request_changes(struct app *a, const struct diffask *q)
{
	for (size_t i = 0; i < q->nparts; i++) {
		json_t *p = json_pack("{s:s,s:s,s:O}", "name", q->sandbox, "workspace", q->part[i].workspace, "items", q->part[i].items);

		if (q->hunks && q->context) /* as they were numbered */
			json_object_set_new(p, "context", json_integer(q->context));
		request_send(request_for(a, q->discard ? "discard" : "apply", q->sandbox, NULL, NULL), q->discard ? "changes.discard" : "changes.apply", p, on_changed);
	}
}

static void on_unapplied(void *arg, const struct client_answer *ans)
{
	struct request *r = arg;
	char done[80];

	diff_look_again(r->a);
	if (!request_failed(r, ans)) {
		const json_t *skipped = json_object_get(ans->result, "skipped");
		const unsigned long long n = files_of(ans->result, "undone");

		snprintf(done, sizeof(done), "%llu file%s as before the apply", n, n == 1 ? "" : "s");
		if (json_array_size(skipped))
			tell_skipped(r->a, skipped, done);
		else
			app_message(r->a, EL_OK, "%s", done);
	}
	request_free(r);
}

void request_unapply(struct app *a, const char *sandbox)
{
	request_send(request_for(a, "unapply", sandbox, NULL, NULL), "changes.undo", json_pack("{s:s}", "name", sandbox), on_unapplied);
}
