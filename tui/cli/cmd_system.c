/* SPDX-License-Identifier: Apache-2.0 */
/* doctor, image, version. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/image/image.h"
#include "core/proto/version.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/out.h"

static int do_doctor(const struct args *a)
{
	struct client *c = cli_connect();
	json_t *r = NULL;
	int code = 0;

	if (!c || cli_call(c, "doctor", NULL, &r) != 0) {
		client_close(&c);
		return 1;
	}
	const json_t *list = json_object_get(r, "checks");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *k = json_array_get(list, i);
		const char *status = cli_str(k, "status");
		const bool fail = strcmp(status, "fail") == 0;

		code |= fail;
		if (args_has(a, "json"))
			continue;
		out_styled(stdout, fail ? STYLE_BAD : strcmp(status, "warn") == 0 ? STYLE_WARN : STYLE_GOOD, status);
		printf("%*s %s: ", (int)(4 - (strlen(status) < 4 ? strlen(status) : 4)), "", cli_str(k, "name"));
		out_text(stdout, cli_str(k, "detail"));
		putchar('\n');
		if (cli_str(k, "advice")[0])
			printf("     -> %s\n", cli_str(k, "advice"));
	}
	if (args_has(a, "json"))
		out_json(r, false);
	json_decref(r);
	client_close(&c);
	return code;
}

static int do_version(const struct args *a)
{
	if (args_has(a, "json")) {
		json_t *j = json_pack("{s:s}", "version", BULKHEAD_VERSION);

		out_json(j, false);
		json_decref(j);
	} else {
		printf("bulkhead %s\n", BULKHEAD_VERSION);
	}
	return 0;
}

static int do_build(const struct args *a)
{
	const int r = cli_build_image(args_has(a, "force"));

	if (r == 0)
		fprintf(stderr, "the guest image is ready\n");
	return r;
}

static int do_images(const struct args *a)
{
	AUTO_FREE struct image_info *list = NULL;
	struct err e = ERR_INIT;
	struct table t;
	size_t n;

	if (image_list(&list, &n, &e) < 0)
		return out_fail(&e);
	if (args_has(a, "json")) {
		json_t *out = json_array();

		for (size_t i = 0; i < n; i++)
			json_array_append_new(out, json_pack("{s:s, s:s, s:I, s:s, s:b, s:b}", "id", list[i].id, "created", list[i].built, "bytes",
							     (json_int_t)list[i].bytes, "kernel", list[i].kernel, "current", list[i].current, "verified", list[i].verified));
		out_json(out, false);
		json_decref(out);
		return 0;
	}
	if (n == 0) {
		fprintf(stderr, "no guest image yet; 'bulkhead image build' makes one\n");
		return 0;
	}
	table_init(&t, "ID KERNEL SIZE> AGE> CURRENT VERIFIED");
	for (size_t i = 0; i < n; i++) {
		char size[16], age[16];

		str_human(size, sizeof(size), list[i].bytes);
		out_age(age, sizeof(age), list[i].built, (uint64_t)time(NULL));
		table_add(&t, STYLE_BOLD, "%s", list[i].id);
		table_add(&t, STYLE_NONE, "%s", list[i].kernel);
		table_add(&t, STYLE_NONE, "%s", size);
		table_add(&t, STYLE_NONE, "%s", age);
		table_add(&t, list[i].current ? STYLE_GOOD : STYLE_DIM, "%s", list[i].current ? "yes" : "no");
		table_add(&t, STYLE_NONE, "%s", list[i].verified ? "yes" : "at its next use");
	}
	table_print(&t, stdout);
	return 0;
}

static int do_image_rm(const struct args *a)
{
	int code = 0;

	for (size_t i = 0; i < a->npos; i++) {
		struct err e = ERR_INIT;

		if (image_remove(a->pos[i], &e) < 0)
			code = out_fail(&e);
	}
	return code;
}

static const struct opt json_only[] = { OPT_JSON, OPT_END };
static const struct opt build_options[] = { { .letter = 'f', .name = "force", .help = "build it even if it is there" }, OPT_END };
static const struct pos image_ids[] = { { .name = "ID", .complete = COMPLETE_IMAGE, .flags = POS_MANY }, POS_END };
static const struct example build_examples[] = { { "bulkhead image build", "a few minutes, once; needs the Debian mirror" }, EXAMPLE_END };
static const struct example ls_examples[] = { { "bulkhead image ls", "what is in the cache" }, EXAMPLE_END };
static const struct example rm_examples[] = { { "bulkhead image rm 3fa1", "the beginning of an id is enough" }, EXAMPLE_END };
static const struct cmd image_build_cmd = { .name = "build", .summary = "build the guest image", .group = GROUP_SYSTEM, .options = build_options, .examples = build_examples, .exec = do_build };
static const struct cmd image_ls_cmd = { .name = "ls", .summary = "list guest images", .group = GROUP_SYSTEM, .options = json_only, .examples = ls_examples, .exec = do_images };
static const struct cmd image_rm_cmd = { .name = "rm", .summary = "remove guest images", .group = GROUP_SYSTEM, .args = image_ids, .examples = rm_examples, .exec = do_image_rm };
static const struct cmd *const image_sub[] = { &image_build_cmd, &image_ls_cmd, &image_rm_cmd, NULL };
const struct cmd cmd_image = { .name = "image", .summary = "build, list and remove guest images", .group = GROUP_SYSTEM, .examples = ls_examples, .sub = image_sub };

static const struct example doctor_examples[] = { { "bulkhead doctor", "is this machine fit, and what would make it better?" }, EXAMPLE_END };
const struct cmd cmd_doctor = { .name = "doctor", .summary = "check this machine", .about = "Exits with 1 when something must be mended before sandboxes can run.", .group = GROUP_SYSTEM, .options = json_only, .examples = doctor_examples, .exec = do_doctor };
static const struct example version_examples[] = { { "bulkhead version", "of this program" }, EXAMPLE_END };
const struct cmd cmd_version = { .name = "version", .summary = "print the version", .group = GROUP_SYSTEM, .options = json_only, .examples = version_examples, .exec = do_version };
