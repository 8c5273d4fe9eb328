/* SPDX-License-Identifier: Apache-2.0 */
/* ask.* and port.* of docs/protocol.md. */
#include "core/supervisor/api.h"

#include <errno.h>
#include <string.h>

#include "core/base/str.h"
#include "core/supervisor/ask.h"
#include "core/supervisor/port.h"
#include "core/supervisor/sandbox.h"

/* The place of `word` in the list; -1 after having answered. */
static int choose(struct call *c, const char *key, const char *word, const char *const *words, size_t n)
{
	char text[128] = "";
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		if (!strcmp(words[i], word))
			return (int)i;
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s'%s'", i == 0 ? "" : i + 1 == n ? " or " : ", ", words[i]);
	}
	call_error(c, RPC_PARAMS, "parameter '%s' must be %s", key, text);
	return -1;
}

static void on_asks(struct call *c, struct args *a)
{
	const uint32_t from = (uint32_t)arg_num(a, "from", 0, UINT32_MAX, 0);
	uint32_t next;

	if (args_bad(a, c))
		return;
	json_t *list = ask_list(c->su, from, &next);
	call_result_take(c, json_pack("{s:o, s:o}", "asks", list, "next", next ? json_integer(next) : json_null()));
}

static void on_answer(struct call *c, struct args *a)
{
	static const char *const verdicts[] = { "allow", "deny" }, *const scopes[] = { [ASK_ONCE] = "once", [ASK_SANDBOX] = "sandbox", [ASK_ALWAYS] = "always" };
	_Static_assert(ARRAY_SIZE(scopes) == ASK_SCOPES, "every scope has a name");
	const uint32_t id = (uint32_t)arg_num(a, "id", 1, UINT32_MAX, 0);
	const char *verdict = arg_str(a, "verdict", 16, true), *scope = arg_str(a, "scope", 16, false);
	char rule[ASK_RULE_TEXT];
	struct err e = ERR_INIT;

	if (args_bad(a, c))
		return;
	const int v = choose(c, "verdict", verdict, verdicts, ARRAY_SIZE(verdicts));
	const int s = v < 0 ? -1 : choose(c, "scope", scope ? scope : "once", scopes, ARRAY_SIZE(scopes));
	if (s < 0)
		return;
	const int r = ask_answer(c->su, id, v == 0 ? NET_ALLOW : NET_DENY, (enum ask_scope)s, *c->client->name ? c->client->name : "another client", rule,
			       &e);
	if (r == -EALREADY)
		call_error(c, RPC_STATE, "%s", e.msg);
	else if (r)
		call_error_err(c, &e);
	else
		call_result_take(c, *rule ? json_pack("{s:s}", "rule", rule) : json_object());
}

static void on_publish(struct call *c, struct args *a)
{
	const char *address = arg_str(a, "address", 47, false);
	const uint16_t guest = (uint16_t)arg_num(a, "guest_port", 1, UINT16_MAX, 0), host = (uint16_t)arg_num(a, "host_port", 0, UINT16_MAX, 0);
	struct sandbox *sb = arg_sandbox(a, c);
	const struct spec_port *p;
	struct err e = ERR_INIT;

	if (!sb)
		return;
	if (!guest)
		call_error(c, RPC_PARAMS, "parameter 'guest_port' is missing");
	else if (port_publish(sb, address ? address : "127.0.0.1", host, guest, &p, &e))
		call_error_err(c, &e);
	else
		call_result_take(c, port_json(sb, p));
}

static void on_ports(struct call *c, struct args *a)
{
	const char *name = arg_str(a, "name", 4096, false);
	struct sandbox *sb = name ? arg_sandbox(a, c) : NULL;

	if (!name && args_bad(a, c))
		return;
	if (!name || sb)
		call_result_take(c, json_pack("{s:o}", "ports", port_list(c->su, sb)));
}

static void on_unpublish(struct call *c, struct args *a)
{
	const uint32_t id = (uint32_t)arg_num(a, "id", 1, UINT32_MAX, 0);
	struct err e = ERR_INIT;

	if (args_bad(a, c))
		return;
	if (port_unpublish(c->su, id, &e))
		call_error_err(c, &e);
	else
		call_result_take(c, json_object());
}

static const struct method rows[] = {
	{ "ask.list", " from ", on_asks },
	{ "ask.answer", " id verdict scope ", on_answer },
	{ "port.publish", " name guest_port host_port address ", on_publish },
	{ "port.list", " name ", on_ports },
	{ "port.unpublish", " id ", on_unpublish },
};
const struct method_table api_net = { rows, ARRAY_SIZE(rows) };
