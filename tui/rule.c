/* SPDX-License-Identifier: Apache-2.0 */
/* What lies over the Network view: a row's details, and the form that makes a rule of it. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/utf8.h"
#include "tui/app.h"

/* ---- details ----------------------------------------------------------------------------------------------------------------------------- */

struct lines { struct app *a; struct rect r; int row; bool measure; };

static void put(struct lines *l, const char *label, const char *text)
{
	const int width = l->r.cols - 15;

	if (!text[0] || l->row >= l->r.rows)
		return;
	if (width <= 4) { /* hardly a window: what fits on a line */
		if (!l->measure)
			canvas_textf(&l->a->canvas, l->r, l->row, 0, -1, app_style(l->a, EL_POPUP), "%s: %s", label, text);
		l->row++;
		return;
	}
	if (!l->measure)
		canvas_text(&l->a->canvas, l->r, l->row, 1, 12, app_style_on(l->a, EL_DIM, EL_POPUP), label);
	/* What is longer than a line goes on below: nothing of it is hidden here. */
	while (*text && l->row < l->r.rows) {
		char line[1024];
		size_t used = 0, cols = 0;

		while (text[used] && used + 8 < sizeof(line)) {
			uint32_t cp;
			const size_t n = utf8_decode((const uint8_t *)text + used, strlen(text + used), &cp, NULL);
			const int w = utf8_width(cp);

			if (cols + (size_t)(w > 0 ? w : 0) > (size_t)width)
				break;
			cols += (size_t)(w > 0 ? w : 0);
			used += n;
		}
		if (!used)
			break;
		memcpy(line, text, used);
		line[used] = '\0';
		if (!l->measure)
			canvas_text(&l->a->canvas, l->r, l->row, 14, -1, app_style(l->a, EL_POPUP), line);
		l->row++;
		text += used;
	}
}

static const char *verdict_sentence(const struct model_decision *d)
{
	if (d->alarm)
		return "refused: it carried a credential's placeholder to a host that is not its own";
	switch (d->verdict) {
	case MV_ALLOW: return d->asked ? "allowed after it was asked" : "allowed";
	case MV_DENY: return d->asked ? "denied after it was asked" : "denied";
	default: return "waits for an answer";
	}
}

static void detail_lines(struct lines *l, const struct model_decision *d)
{
	char text[700], in[16], out[16];
	const time_t t = (time_t)(d->at_ms / 1000);
	struct tm tm;

	put(l, "verdict", verdict_sentence(d));
	snprintf(text, sizeof(text), "%s%s%s%s", d->rule, d->scope[0] ? " (" : "", d->scope, d->scope[0] ? ")" : "");
	put(l, "rule", text);
	put(l, "sandbox", d->what.sandbox);
	snprintf(text, sizeof(text), "%s, port %u, %s", reach_host(&d->what), d->what.port, model_proto_word(d->what.proto));
	put(l, "host", text);
	if (d->what.name[0])
		put(l, "claimed", d->what.address);
	put(l, d->verdict == MV_DENY ? "it leads to" : "connected to", d->to);
	snprintf(text, sizeof(text), "%s %s", d->what.method, d->what.path);
	put(l, "request", d->what.method[0] ? text : "");
	if (d->status) {
		snprintf(text, sizeof(text), "%u", d->status);
		put(l, "status", text);
	}
	put(l, d->alarm ? "placeholder" : "credential", d->service);
	reach_who(&d->what, text, sizeof(text));
	put(l, "process", text);
	put(l, "command", d->what.cmdline);
	put(l, "container", d->what.container);
	if (d->at_ms && localtime_r(&t, &tm)) {
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
		put(l, "at", text);
	}
	str_human(out, sizeof(out), d->in); /* from the guest: sent */
	str_human(in, sizeof(in), d->out);
	if (d->in || d->out || d->closed) {
		snprintf(text, sizeof(text), "%s sent, %s received, %.1f s%s", out, in, (double)d->ms / 1000, d->closed ? "" : " so far");
		put(l, "bytes", text);
	}
}

void draw_detail(struct app *a, struct rect r)
{
	const struct model_decision *d = net_row(a);
	const int cols = r.cols > 100 ? 92 : r.cols > 8 ? r.cols - 4 : r.cols;
	struct lines l = { a, { 0, 0, 100, cols - 2 }, 0, true };

	if (d)
		detail_lines(&l, d);
	const struct rect in = draw_popup(a, r, l.row + 5, cols, "connection");
	l = (struct lines){ a, in, in.rows > l.row + 1, false };

	if (!d) {
		canvas_text(&a->canvas, in, 0, 1, in.cols - 2, app_style(a, EL_POPUP), "it is gone");
		return;
	}
	if (in.rows > 3)
		l.r.rows--;
	detail_lines(&l, d);
	canvas_text(&a->canvas, in, in.rows - 1, 1, in.cols - 2, app_style_on(a, EL_DIM, EL_POPUP), "r makes a rule of it   Up and Down go on   Esc closes");
}

void detail_key(struct app *a, const struct key *k)
{
	const struct model_decision *d = net_row(a);

	if (k->kind != KEY_PRESS)
		return;
	if (k->code == VIEW_K_UP || k->code == 'k' || k->code == VIEW_K_DOWN || k->code == 'j') {
		if (!a->net.row && d)
			a->net.row = d->row; /* what is being read stays */
		net_move(a, k->code == VIEW_K_UP || k->code == 'k' ? -1 : 1);
	} else if (d && (k->code == 'r' || k->code == 'a' || k->code == 'd')) {
		rule_open(a, k->code == 'a' ? MV_ALLOW : k->code == 'd' ? MV_DENY : -1);
	} else {
		a->overlay = OV_NONE;
	}
}

/* ---- the rule form ------------------------------------------------------------------------------------------------------------------------- */

void rule_open(struct app *a, int verdict)
{
	const struct model_decision *d = net_row(a);

	if (!d) {
		app_message(a, EL_MESSAGE, "there is no connection to make a rule of");
		return;
	}
	if (!reach_rulable(&d->what)) {
		app_message(a, EL_MESSAGE, "this one named no proper host: no rule can be made of it");
		return;
	}
	if (verdict < 0)
		verdict = d->verdict == MV_ALLOW ? MV_DENY : MV_ALLOW;
	ruleform_init(&a->rule, &d->what, (enum model_verdict)verdict);
	a->overlay = OV_RULE;
	a->dirty = true;
}

static void value_of(const struct ruleform *f, enum rule_field field, char *dst, size_t cap)
{
	const int c = f->choice[field];

	switch (field) {
	case RF_VERDICT: str_copy(dst, cap, model_verdict_word((enum model_verdict)c)); break;
	case RF_HOST: str_copy(dst, cap, f->hosts[c]); break;
	case RF_PORT:
		if (c == 0)
			snprintf(dst, cap, "%u", f->what.port);
		else
			str_copy(dst, cap, "all ports");
		break;
	case RF_REQUEST: str_copy(dst, cap, f->requests[c][0] ? f->requests[c] : "any request"); break;
	default: snprintf(dst, cap, c == 0 ? "%s only" : "%severy sandbox", c == 0 ? f->what.sandbox : ""); break;
	}
}

void draw_rule(struct app *a, struct rect r)
{
	static const char *const labels[RF_NUM] = { "verdict", "host", "port", "request", "for" };
	const struct ruleform *f = &a->rule;
	const struct rect in = draw_popup(a, r, RF_NUM + 8, r.cols > 80 ? 76 : r.cols > 4 ? r.cols - 2 : r.cols, "rule");
	const int gap = in.rows >= RF_NUM + 5;
	/* In a window lower than the form, the fields scroll with the cursor. */
	const int top = in.rows < RF_NUM && f->field >= in.rows ? f->field - in.rows + 1 : 0;
	char text[700];

	for (int i = top; i < RF_NUM && i - top + gap < in.rows; i++) {
		const bool sel = i == f->field;
		const struct style st = app_style(a, sel ? EL_SELECTED : EL_POPUP), dim = app_style_on(a, EL_DIM, EL_POPUP);
		const int n = ruleform_choices(f, (enum rule_field)i), row = i - top + gap;

		canvas_text(&a->canvas, in, row, 1, 9, dim, labels[i]);
		value_of(f, (enum rule_field)i, text, sizeof(text));
		const int room = in.cols - 24;
		canvas_fill(&a->canvas, (struct rect){ in.row + row, in.col + 10, 1, in.cols > 12 ? in.cols - 12 : 0 }, st);
		if (sel && n > 1)
			canvas_text(&a->canvas, in, row, 10, 1, st, a->ascii ? "<" : "‹");
		const int used = canvas_text(&a->canvas, in, row, 12, room > 4 ? room : in.cols - 13, st, text);
		if (sel && n > 1) {
			canvas_text(&a->canvas, in, row, 13 + used, 1, st, a->ascii ? ">" : "›");
			if (room > 4)
				canvas_textf(&a->canvas, in, row, in.cols - 10, 8, st, "%d of %d", f->choice[i] + 1, n);
		}
	}
	if (!gap)
		return;
	ruleform_text(f, text, sizeof(text));
	canvas_text(&a->canvas, in, RF_NUM + 2, 1, in.cols - 2, app_style_on(a, EL_ACCENT, EL_POPUP), text);
	if (f->error[0])
		canvas_text(&a->canvas, in, RF_NUM + 3, 1, in.cols - 2, app_style_on(a, EL_ERROR, EL_POPUP), f->error);
	canvas_textf(&a->canvas, in, in.rows - 1, 1, in.cols - 2, app_style_on(a, EL_DIM, EL_POPUP), "%s writes it   arrows change   Esc gives up", glyph(G_ENTER, a->ascii));
}

void rule_key(struct app *a, const struct key *k)
{
	struct ruleform *f = &a->rule;
	const int n = ruleform_choices(f, (enum rule_field)f->field);
	int *c = &f->choice[f->field];

	if (k->kind != KEY_PRESS)
		return;
	a->dirty = true;
	switch (k->code) {
	case VIEW_K_UP:
	case 'k': f->field = (f->field + RF_NUM - 1) % RF_NUM; return;
	case VIEW_K_DOWN:
	case 'j': f->field = (f->field + 1) % RF_NUM; return;
	case VIEW_K_TAB: f->field = (f->field + (k->mods & VIEW_SHIFT ? RF_NUM - 1 : 1)) % RF_NUM; return;
	case VIEW_K_LEFT:
	case 'h': *c = (*c + n - 1) % n; return;
	case VIEW_K_RIGHT:
	case 'l':
	case ' ': *c = (*c + 1) % n; return;
	case VIEW_K_ENTER: {
		char text[700];

		if (f->sent)
			return;
		ruleform_text(f, text, sizeof(text));
		f->error[0] = '\0';
		f->sent = true;
		request_rule(a, text, f->choice[RF_SCOPE] == 0 ? f->what.sandbox : NULL);
		return;
	}
	default: break;
	}
	if (k->code == VIEW_K_ESCAPE || k->code == 'q' || (k->code == 'c' && k->mods == VIEW_CTRL))
		a->overlay = OV_NONE;
}
