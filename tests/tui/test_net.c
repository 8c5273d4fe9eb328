/* SPDX-License-Identifier: Apache-2.0 */
/* The Network view and the attention line: golden screens, what keys send, what must never be answered by a key that was meant for something else. */
#include "tests/tui/frames.h"

#include <poll.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/policy/rules.h"

static void box(struct app *a, const char *name)
{
	feed(a, json_pack("{s:s,s:{s:s,s:s,s:s,s:i,s:I,s:I}}", "kind", "sandbox", "sandbox", "name", name, "kit", "shell", "state", "running", "cpus", 2, "memory",
			  (json_int_t)2 << 30, "disk_used", (json_int_t)6 << 20));
}

static void ask(struct app *a, int id, const char *sandbox, const char *name, int count)
{
	feed(a, json_pack("{s:s,s:{s:i,s:s,s:i,s:s,s:s,s:s,s:i,s:i,s:s}}", "kind", "ask", "ask", "id", id, "sandbox", sandbox, "count", count, "since",
			  "2026-01-02T03:04:05.000Z", "proto", "tls", "name", name, "port", 443, "pid", 4121, "comm", "curl"));
	a->asking.drawn = a->asking.shown;
	a->asking.shown_ms = 0; /* it has stood there for long */
}

struct sample { const char *event, *verdict, *sandbox, *name, *method, *path, *rule, *service; int port, conn; json_int_t in, out, ms; };
static const struct sample samples[] = {
	{ "decided", "allow", "blue", "api.example.org", "POST", "/v1/messages", "allow **.example.org", "", 443, 1, 0, 0, 0 },
	{ "injected", "allow", "blue", "api.example.org", "POST", "/v1/messages", "", "anthropic", 443, 1, 0, 0, 0 },
	{ "closed", "allow", "blue", "api.example.org", "POST", "/v1/messages", "", "", 443, 1, 12400, 3100, 412 },
	{ "decided", "deny", "green", "", "GET", "/latest/meta-data", "link-local address", "", 80, 2, 0, 0, 0 },
	{ "decided", "ask", "blue", "registry.example.net", "", "", "default", "", 443, 3, 0, 0, 0 },
	{ "decided", "allow", "green", "a-very-long-name-that-does-not-end.and-goes-on-and-on.with-many-labels.evil.example", "", "", "preset balanced", "", 443, 4, 0, 0, 0 },
	{ "alarm", "deny", "blue", "paste.example", "POST", "/api", "placeholder", "openai", 443, 5, 0, 0, 0 },
	{ "decided", "deny", "green", "db.internal", "", "", "private address", "", 5432, 6, 0, 0, 0 },
};

static void tell(struct app *a, const struct sample *s, int n)
{
	char at[32];

	snprintf(at, sizeof(at), "2026-01-02T03:04:%02d.000Z", n % 60);
	feed(a, json_pack("{s:s,s:{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:I,s:I,s:I,s:s,s:i,s:s,s:s}}", "kind", "decision", "decision", "event", s->event, "at", at,
			  "verdict", s->verdict, "sandbox", s->sandbox, "name", s->name, "method", s->method, "path", s->path, "rule", s->rule, "service", s->service,
			  "port", s->port, "conn", s->conn, "in", s->in, "out", s->out, "ms", s->ms, "comm", "node", "pid", 77, "proto",
			  s->method[0] ? "https" : s->port == 5432 ? "tcp" : "tls", "address", s->name[0] ? "" : "169.254.169.254"));
}

static struct app *make(void)
{
	struct app *a = bare();

	box(a, "blue");
	box(a, "green");
	feed(a, json_pack("{s:s,s:s,s:i,s:i,s:i,s:i,s:i,s:i}", "kind", "net", "name", "blue", "open", 12, "held", 1, "conns", 340, "denied", 7, "in", 1 << 20, "out", 3 << 20));
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		tell(a, &samples[i], (int)i);
	feed(a, json_pack("{s:s,s:[{s:i,s:s,s:s,s:i,s:i},{s:i,s:s,s:s,s:i,s:i}]}", "kind", "ports", "ports", "id", 1, "sandbox", "blue", "host_address", "127.0.0.1",
			  "host_port", 8080, "guest_port", 3000, "id", 2, "sandbox", "green", "host_address", "0.0.0.0", "host_port", 5000, "guest_port", 5000));
	return a;
}

static void screens(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct app *a = make();
		const int rows = sizes[i][0], cols = sizes[i][1];

		ask(a, 5, "blue", "registry.example.net", 3);
		golden(a, "net-overview", rows, cols);
		press(a, "3");
		golden(a, "net", rows, cols);
		press(a, "Up");
		press(a, "Up");
		press(a, "Up");
		press(a, "Enter");
		golden(a, "net-details", rows, cols);
		press(a, "r");
		golden(a, "net-rule", rows, cols);
		press(a, "Right");
		press(a, "Right");
		press(a, "Esc");
		press(a, "v");
		press(a, "v");
		golden(a, "net-denied", rows, cols);
		press(a, "v");
		press(a, "v");
		press(a, "P");
		golden(a, "net-publish", rows, cols);
		press(a, "Esc");
		done(a);
	}
}

static void line_of(struct app *a, int rows, int cols, char *dst, size_t cap)
{
	struct buf b;
	char *text;

	draw_frame(a, rows, cols);
	buf_init(&b, 1 << 20);
	as_text(a, &b);
	buf_u8(&b, 0);
	text = (char *)buf_head(&b);
	for (int i = 0; i < a->layout.attention.row && text; i++)
		text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL;
	assert_non_null(text);
	snprintf(dst, cap, "%.*s", (int)strcspn(text, "\n"), text);
	buf_release(&b);
}

/* At every width the line names who asks, and of a host too long the end that says whose it is. */
static void the_line_names_the_host(void **state)
{
	struct app *a = make();
	char line[2000];

	(void)state;
	ask(a, 9, "blue", "api.example.org.looks-right-but-is-not.and-is-long.so-that-nobody-reads.it.evil.example", 1);
	for (int cols = 60; cols <= 220; cols += 4) {
		for (int typing = 0; typing < 2; typing++) {
			a->typing = typing;
			line_of(a, 30, cols, line, sizeof(line));
			if (!strstr(line, "evil.example:443") || !strstr(line, "blue asks"))
				fail_msg("%d: %s", cols, line);
			if (cols >= 80 && (!strstr(line, "deny") || (typing && !strstr(line, "C-\\"))))
				fail_msg("%d has no keys: %s", cols, line);
		}
	}
	done(a);
}

/* ---- what keys send: a client whose other end is here --------------------------------------------------------------------------------- */

static bool message_has(const struct app *a, const char *part)
{
	return strstr(a->message, part) != NULL;
}

/* An alarm rings, is on the attention line (after questions, which have keys) and stays until somebody looks. */
static void an_alarm_is_told(void **state)
{
	struct app *a = make();
	char line[512];

	(void)state;
	a->config.notify = true;
	a->notify[0] = '\0';
	feed(a, json_pack("{s:s,s:s,s:i,s:s,s:s}", "kind", "attention", "name", "blue", "session", 0, "what", "alarm", "text",
			  "the placeholder of 'openai' was on its way to paste.example:443 (curl) and was refused"));
	app_settle(a);
	assert_true(a->ring);
	assert_non_null(strstr(a->notify, "ALARM: blue: the placeholder of 'openai'"));
	line_of(a, 30, 140, line, sizeof(line));
	assert_non_null(strstr(line, "ALARM  blue: the placeholder of 'openai' was on its way to paste.example:443"));
	assert_non_null(strstr(line, "3 look"));
	ask(a, 5, "blue", "api.example.org", 1);
	line_of(a, 30, 140, line, sizeof(line));
	assert_null(strstr(line, "ALARM"));
	feed(a, json_pack("{s:s,s:i,s:s}", "kind", "ask_gone", "id", 5, "end", "withdrawn"));
	line_of(a, 30, 140, line, sizeof(line));
	assert_non_null(strstr(line, "ALARM"));
	press(a, "3");
	draw_frame(a, 30, 140);
	assert_int_equal(a->layout.attention.rows, 0);
	done(a);
}

/* A question whose client gave up stays: it is said, and answered as any other. */
static void who_left_is_told(void **state)
{
	struct app *a = make();
	char line[512];

	(void)state;
	ask(a, 5, "blue", "api.example.org", 1);
	line_of(a, 30, 200, line, sizeof(line));
	assert_non_null(strstr(line, "(curl)"));
	ask(a, 5, "blue", "api.example.org", 0);
	line_of(a, 30, 200, line, sizeof(line));
	assert_non_null(strstr(line, "(curl, left)"));
	done(a);
}

static void keys_answer_what_is_shown(void **state)
{
	struct app *a = make();

	(void)state;
	draw_frame(a, 40, 120);
	press(a, "a");
	assert_true(message_has(a, "nobody asks"));
	ask(a, 5, "blue", "one.example", 1);
	assert_int_equal(a->asking.shown, 5);
	ask(a, 6, "green", "two.example", 1);
	assert_int_equal(a->asking.shown, 5); /* the one being read stays */
	press(a, "a");
	assert_int_equal(a->asking.sent, 5);
	a->asking.sent = 0; /* the supervisor is away here: nothing came of it */
	/* It goes; the next one takes its place and must be read first. */
	feed(a, json_pack("{s:s,s:i,s:s,s:s,s:s}", "kind", "ask_gone", "id", 5, "end", "answered", "verdict", "allow", "by", "another client"));
	assert_int_equal(a->asking.shown, 6);
	assert_true(message_has(a, "allowed by another client"));
	press(a, "A");
	assert_int_equal(a->asking.sent, 0);
	assert_true(message_has(a, "read it"));
	draw_frame(a, 30, 120);
	press(a, "A"); /* drawn, but only just */
	assert_int_equal(a->asking.sent, 0);
	a->asking.shown_ms = 0;
	press(a, "D");
	assert_int_equal(a->asking.sent, 6);
	a->asking.sent = 0;
	/* The last one went: a key that was meant for it does nothing else. */
	feed(a, json_pack("{s:s,s:i,s:s}", "kind", "ask_gone", "id", 6, "end", "timeout"));
	assert_true(message_has(a, "nobody answered"));
	a->typing = true;
	press(a, "C-\\");
	press(a, "d");
	assert_false(a->quit);
	a->asking.gone_ms = 0;
	a->asking.gone_ms -= 10 * ASK_GONE_MS;
	press(a, "C-\\");
	press(a, "d");
	assert_true(a->quit);
	done(a);
}

static void the_prefix_answers_while_typing(void **state)
{
	static const struct { const char *key; } keys[] = { { "a" }, { "s" }, { "A" }, { "d" }, { "D" } };
	struct app *a = make();

	(void)state;
	ask(a, 5, "blue", "one.example", 1);
	a->typing = true;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		a->asking.sent = 0;
		press(a, keys[i].key); /* without the prefix it is the terminal's */
		assert_int_equal(a->asking.sent, 0);
		press(a, "C-\\");
		press(a, keys[i].key);
		assert_int_equal(a->asking.sent, 5);
		assert_false(a->quit);
	}
	a->asking.sent = 0;
	a->attach_only = true; /* and in a terminal alone on the screen */
	ask(a, 9, "green", "not-here.example", 1);
	a->asking.newest = 0;
	press(a, "C-\\");
	press(a, "s");
	assert_int_equal(a->asking.sent, 5);
	char line[600];
	a->layout.attention.row = 0;
	line_of(a, 24, 80, line, sizeof(line));
	assert_non_null(strstr(line, "one.example:443"));
	done(a);
}

static void the_cursor_stays(void **state)
{
	struct app *a = make();

	(void)state;
	press(a, "3");
	draw_frame(a, 40, 120);
	const uint64_t newest = a->model->net.rows;
	assert_int_equal(net_row(a)->row, newest);
	press(a, "Up");
	assert_int_equal(net_row(a)->row, newest - 1);
	for (int i = 0; i < 100; i++)
		tell(a, &samples[7], i);
	draw_frame(a, 40, 120);
	assert_int_equal(net_row(a)->row, newest - 1);
	assert_true(a->net.newer > 0);
	press(a, "End");
	draw_frame(a, 40, 120);
	assert_int_equal(net_row(a)->row, newest + 100);
	assert_int_equal(a->net.newer, 0);
	press(a, "Home");
	assert_int_equal(net_row(a)->row, 1);
	/* Its row was overwritten: the oldest that is left. */
	for (int i = 0; i < MODEL_DECISIONS_MAX; i++)
		tell(a, &samples[7], i);
	draw_frame(a, 40, 120);
	assert_non_null(net_row(a));
	press(a, "End");
	press(a, "/");
	for (const char *p = "paste"; *p; p++)
		press(a, (char[]){ *p, 0 });
	press(a, "Enter");
	draw_frame(a, 40, 120);
	assert_null(net_row(a));
	assert_string_equal(a->filter, ""); /* the list of sandboxes has its own */
	press(a, "Esc");
	assert_non_null(net_row(a));
	done(a);
}

static void the_mouse_finds_rows(void **state)
{
	struct app *a = make();

	(void)state;
	press(a, "3");
	draw_frame(a, 40, 120);
	const int first = a->net.first_row, col = a->layout.main.col + 20;
	click(a, MOUSE_PRESS, first + 1, col);
	assert_int_equal(net_row(a)->row, a->net.at[1]);
	assert_int_equal(a->overlay, OV_NONE);
	click(a, MOUSE_RELEASE, first + 1, col);
	click(a, MOUSE_PRESS, first + 1, col); /* again: what it is */
	assert_int_equal(a->overlay, OV_DETAIL);
	press(a, "Esc");
	click(a, MOUSE_WHEEL_UP, first + 3, col);
	assert_int_equal(net_row(a)->row, a->net.at[0]);
	click(a, MOUSE_WHEEL_DOWN, first + 3, col);
	assert_int_equal(net_row(a)->row, a->net.at[3]);
	ask(a, 5, "green", "one.example", 1);
	draw_frame(a, 40, 120);
	click(a, MOUSE_PRESS, a->layout.attention.row, a->layout.attention.cols - 5); /* a click answers nothing */
	assert_int_equal(a->asking.sent, 0);
	assert_string_equal(a->selected, "green");
	press(a, "1");
	draw_frame(a, 40, 120);
	click(a, MOUSE_PRESS, a->layout.lower.row, a->layout.lower.col + 3 + (int)strlen(" Network "));
	assert_int_equal(a->lower, LOWER_DIFF);
	click(a, MOUSE_PRESS, a->layout.lower.row, a->layout.lower.col + 4);
	assert_int_equal(a->lower, LOWER_NET);
	done(a);
}

static void rules_of_a_row(void **state)
{
	static const struct { const char *name, *address; int proto, port; const char *method, *path; int host, request; const char *want; } all[] = {
		{ "api.example.org", "", MP_TLS, 443, "", "", 0, 0, "allow api.example.org:443" },
		{ "api.example.org", "", MP_TLS, 443, "", "", 1, 0, "allow *.example.org:443" },
		{ "api.example.org", "", MP_TLS, 443, "", "", 2, 0, "allow **.example.org:443" },
		{ "a.b.example.org", "", MP_HTTPS, 443, "GET", "/v1/x", 4, 3, "allow **.example.org:443 GET /v1/**" },
		{ "example.org", "", MP_HTTP, 80, "POST", "/a", 1, 2, "allow **.example.org:80 POST /a" },
		{ "localhost", "", MP_TCP, 22, "", "", 0, 0, "allow tcp localhost:22" },
		{ "", "192.0.2.7", MP_TLS, 443, "", "", 0, 0, "allow 192.0.2.7:443" },
		{ "", "2001:db8::1", MP_TCP, 22, "", "", 0, 0, "allow tcp [2001:db8::1]:22" },
	};
	struct ruleform f;
	char text[700];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct model_reach w = { .proto = (enum model_proto)all[i].proto, .port = (uint16_t)all[i].port };

		str_copy(w.name, sizeof(w.name), all[i].name);
		str_copy(w.address, sizeof(w.address), all[i].address);
		str_copy(w.method, sizeof(w.method), all[i].method);
		str_copy(w.path, sizeof(w.path), all[i].path);
		ruleform_init(&f, &w, MV_ALLOW);
		assert_true(all[i].host < ruleform_choices(&f, RF_HOST));
		assert_true(all[i].request < ruleform_choices(&f, RF_REQUEST));
		f.choice[RF_HOST] = all[i].host;
		f.choice[RF_REQUEST] = all[i].request;
		ruleform_text(&f, text, sizeof(text));
		assert_string_equal(text, all[i].want);
		/* Whatever is chosen in the form, the supervisor can read it. */
		for (f.choice[RF_VERDICT] = 0; f.choice[RF_VERDICT] < MV_NUM; f.choice[RF_VERDICT]++)
			for (f.choice[RF_HOST] = 0; f.choice[RF_HOST] < f.nhosts; f.choice[RF_HOST]++)
				for (f.choice[RF_PORT] = 0; f.choice[RF_PORT] < ruleform_choices(&f, RF_PORT); f.choice[RF_PORT]++)
					for (f.choice[RF_REQUEST] = 0; f.choice[RF_REQUEST] < f.nrequests; f.choice[RF_REQUEST]++) {
						struct err e = ERR_INIT;
						struct rule r = { 0 };

						ruleform_text(&f, text, sizeof(text));
						if (rule_parse(text, &r, &e) < 0)
							fail_msg("%s: %s", text, e.msg);
						assert_int_equal(r.verdict, (int)f.choice[RF_VERDICT]);
					}
	}
	static const char *const bad[] = { "", "a b.example", "x.example GET /", "*.example.org", "a.example,b", "\xe2\x80\xae.example", "a/b" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct model_reach b = { .port = 1 };

		str_copy(b.name, sizeof(b.name), bad[i]);
		assert_false(reach_rulable(&b));
	}
	/* Nothing that covers a whole top-level domain is offered; a path that is a glob is not either. */
	struct model_reach w = { .proto = MP_HTTPS, .port = 443, .name = "a.b.c.d.example", .method = "GET", .path = "/x*y" };
	ruleform_init(&f, &w, MV_DENY);
	for (int i = 0; i < f.nhosts; i++)
		assert_true(strcmp(f.hosts[i], "*.example") && strcmp(f.hosts[i], "**.example"));
	assert_int_equal(f.nrequests, 2);
}

/* Every overlay and page with the network in it, at many sizes: the cursor is inside and no wide character is cut. */
static void every_size(void **state)
{
	static const char *const keys[] = { "3", "Up", "Enter", "Down", "r", "Tab", "Right", "Tab", "Right", "Esc", "v", "v", "o", "Tab", "P", "8", "Esc", "1", "Tab", "Tab", "Tab", "Tab", "2", "Enter" };
	struct app *a = make();

	(void)state;
	ask(a, 5, "blue", "registry.example.net", 3);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		press(a, keys[i]);
		all_sizes(a, keys[i]);
	}
	done(a);
}

/* A guest chooses names, paths and commands: nothing of them is drawn that is no plain text. */
static void hostile_text(void **state)
{
	static const struct sample bad = { "decided", "allow", "blue", "\xe2\x80\xae\x1b[2Jx.example", "GET\x1b]52;c;A\x07", "/\xc2\x9b" "31m\xf0\x9f\x98\x80\xe6\xbc\xa2", "r\nule", "", 443, 50, 1, 1, 1 };
	static const char *const keys[] = { "3", "Enter", "r", "Esc" };
	struct app *a = make();

	(void)state;
	tell(a, &bad, 1);
	ask(a, 8, "blue", "\x1b[31mred\xe2\x80\xae.example", 2);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		press(a, keys[i]);
		for (int cols = 10; cols < 210; cols += 7) {
			draw_frame(a, 40, cols);
			sound(a, keys[i]);
			for (int n = 0; n < a->canvas.rows * a->canvas.cols; n++) {
				const struct cell *p = &a->canvas.cells[n];

				assert_true(p->len != 3 || memcmp(p->text, "\xe2\x80\xae", 3) != 0);
			}
		}
	}
	done(a);
}

/* A thousand decisions and a frame cost far less than the time they come in. */
static void floods_are_cheap(void **state)
{
	struct app *a = make();
	json_t *ev[1000];

	(void)state;
	press(a, "3");
	for (int i = 0; i < 1000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "h%d.example.org", i);
		ev[i] = json_pack("{s:s,s:{s:s,s:s,s:s,s:s,s:i,s:i}}", "kind", "decision", "decision", "event", "decided", "verdict", "allow", "sandbox", "blue", "name", name,
				  "port", 443, "conn", i + 100);
	}
	const clock_t start = clock();
	for (int i = 0; i < 1000; i++) {
		on_event(a, ev[i]);
		json_decref(ev[i]);
		if (i % 20 == 0) {
			a->net.filter[0] = 'h';
			draw_frame(a, 60, 200);
		}
	}
	const double s = (double)(clock() - start) / CLOCKS_PER_SEC;
	print_message("1000 decisions and 50 frames: %.3f s\n", s);
	assert_true(s < 1.0); /* of a second they may take; sanitizers included */
	done(a);
}

int main(void)
{
	setenv("TZ", "UTC", 1);
	setenv("HOME", "/home/me", 1);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(screens), cmocka_unit_test(the_line_names_the_host), cmocka_unit_test(an_alarm_is_told), cmocka_unit_test(who_left_is_told), cmocka_unit_test(keys_answer_what_is_shown),
		cmocka_unit_test(the_prefix_answers_while_typing), cmocka_unit_test(the_cursor_stays), cmocka_unit_test(the_mouse_finds_rows), cmocka_unit_test(rules_of_a_row), cmocka_unit_test(every_size),
		cmocka_unit_test(hostile_text), cmocka_unit_test(floods_are_cheap),
	};

	return cmocka_run_group_tests_name("tui/net", tests, NULL, NULL);
}
