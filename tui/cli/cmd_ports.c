/* SPDX-License-Identifier: Apache-2.0 */
/* ports: what of a sandbox can be reached from here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/client/port.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/out.h"

static void where(char *dst, size_t cap, const json_t *p)
{
	const char *address = cli_str(p, "host_address");
	const bool v6 = strchr(address, ':') != NULL;

	snprintf(dst, cap, "%s%s%s:%lld", v6 ? "[" : "", address, v6 ? "]" : "", (long long)json_integer_value(json_object_get(p, "host_port")));
}

static void told(const json_t *p)
{
	char text[96];

	where(text, sizeof(text), p);
	printf("%s -> %s:%lld\n", text, cli_str(p, "sandbox"), (long long)json_integer_value(json_object_get(p, "guest_port")));
	if (!port_is_loopback(cli_str(p, "host_address")))
		fprintf(stderr, "note: other machines on your network can reach it there\n");
}

static int list(struct client *c, const char *name, bool json)
{
	json_t *r = NULL;
	struct table t;
	char text[96];

	if (cli_call(c, "port.list", name ? json_pack("{s:s}", "name", name) : NULL, &r) != 0)
		return 1;
	const json_t *ports = json_object_get(r, "ports");
	if (json) {
		out_json(r, false);
	} else if (json_array_size(ports) == 0) {
		fprintf(stderr, "no ports are published%s%s; 'bulkhead ports NAME --publish 8080:3000' does\n", name ? " of " : "", name ? name : "");
	} else {
		table_init(&t, "ID> SANDBOX HERE INSIDE>");
		for (size_t i = 0; i < json_array_size(ports); i++) {
			const json_t *p = json_array_get(ports, i);

			where(text, sizeof(text), p);
			table_add(&t, STYLE_BOLD, "%lld", (long long)json_integer_value(json_object_get(p, "id")));
			table_add(&t, STYLE_NONE, "%s", cli_str(p, "sandbox"));
			table_add(&t, port_is_loopback(cli_str(p, "host_address")) ? STYLE_NONE : STYLE_WARN, "%s", text);
			table_add(&t, STYLE_NONE, "%lld", (long long)json_integer_value(json_object_get(p, "guest_port")));
		}
		table_print(&t, stdout);
	}
	json_decref(r);
	return 0;
}

static int publish_all(struct client *c, const struct args *a, const struct port_spec *all, size_t n)
{
	int code = 0;

	for (size_t i = 0; i < n; i++) {
		json_t *r = NULL;

		if (cli_call(c, "port.publish", json_pack("{s:s, s:i, s:i, s:s}", "name", a->pos[0], "guest_port", all[i].guest, "host_port", all[i].host, "address",
							  all[i].address), &r) != 0)
			code = 1;
		else if (args_has(a, "json"))
			out_json(r, true);
		else
			told(r);
		json_decref(r);
	}
	return code;
}

#define PUBLISH_MAX 32

static int do_ports(const struct args *a)
{
	struct port_spec all[PUBLISH_MAX];
	uint64_t gone[PUBLISH_MAX];
	size_t n = 0, ngone = 0;
	const char *v;
	struct err e = ERR_INIT;

	while ((v = args_nth(a, "publish", n))) {
		if (n == PUBLISH_MAX || port_spec_parse(v, &all[n], &e) < 0) {
			out_say("%s", n == PUBLISH_MAX ? "that is more than can be done at once" : e.msg);
			return EXIT_USAGE;
		}
		n++;
	}
	while ((v = args_nth(a, "unpublish", ngone))) {
		if (ngone == PUBLISH_MAX || str_u64(v, 1, INT64_MAX, &gone[ngone]) < 0) {
			out_say("--unpublish takes the number that 'bulkhead ports' shows, not '%s'", v);
			return EXIT_USAGE;
		}
		ngone++;
	}
	if (n && !a->npos) {
		out_say("--publish needs the name of a sandbox");
		return EXIT_USAGE;
	}
	struct client *c = cli_connect();
	int code = c ? 0 : 1;
	for (size_t i = 0; c && i < ngone; i++)
		code |= cli_call(c, "port.unpublish", json_pack("{s:I}", "id", (json_int_t)gone[i]), NULL);
	if (c && n)
		code |= publish_all(c, a, all, n);
	if (c && !n && !ngone)
		code = list(c, a->pos[0], args_has(a, "json"));
	client_close(&c);
	return code;
}

static const struct pos names[] = { { .name = "NAME", .complete = COMPLETE_SANDBOX, .flags = POS_OPTIONAL }, POS_END };
static const struct opt options[] = {
	{ .letter = 'p', .name = "publish", .arg = "[ADDR:]HOST:GUEST", .help = "make the guest's port reachable here; on 127.0.0.1 unless ADDR is given" },
	{ .name = "unpublish", .arg = "ID", .help = "end that" },
	OPT_JSON, OPT_END,
};
static const struct example examples[] = {
	{ "bulkhead ports blue --publish 8080:3000", "its port 3000 is http://127.0.0.1:8080 here" },
	{ "bulkhead ports blue --publish 3000", "on any free port" },
	{ "bulkhead ports", "what is published" },
	{ "bulkhead ports --unpublish 2", "no longer" },
	EXAMPLE_END,
};
const struct cmd cmd_ports = {
	.name = "ports", .summary = "publish a sandbox's ports here, list and remove them", .group = GROUP_NET, .args = names, .options = options, .examples = examples,
	.exec = do_ports,
	.about = "Nothing of a sandbox listens on this machine until its port is published. A published port is on the loopback address unless another is "
		 "given: then whoever reaches this machine reaches the sandbox.",
};
