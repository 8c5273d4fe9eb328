/* SPDX-License-Identifier: Apache-2.0 */
/* Records of bulkhead-net as lines of the audit log: every field, scrubbed; synced by the clock; credentials given to sandboxes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "core/base/atomicfile.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/loop/after.h"
#include "core/supervisor/audit.h"
#include "core/supervisor/chain.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/run.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/secretlist.h"
#include "core/supervisor/super.h"

static char dir[64];
static uv_loop_t loop;
static struct super su;

static int setup(void **unused)
{
	struct err e = ERR_INIT;

	(void)unused;
	str_copy(dir, sizeof(dir), "/tmp/bulkhead-audit-XXXXXX");
	if (!mkdtemp(dir) || uv_loop_init(&loop))
		return -1;
	setenv("XDG_CONFIG_HOME", dir, 1);
	setenv("BULKHEAD_DATADIR", SOURCEDIR, 1);
	su = (struct super){ .state = dir, .loop = &loop, .sb_dirfd = -1 };
	return lifelog_init(&su, &e) || audit_open(&su, &e) || secrets_open(&su, &e) ? -1 : 0;
}

static int teardown(void **unused)
{
	(void)unused;
	while (su.sandboxes)
		sandbox_destroy(su.sandboxes);
	secrets_close(&su);
	audit_close(&su);
	uv_run(&loop, UV_RUN_DEFAULT);
	lifelog_release(&su);
	return uv_loop_close(&loop) || path_remove_tree(AT_FDCWD, dir, NULL) ? -1 : 0;
}

static void read_file(const char *name, struct buf *b)
{
	AUTO_FREE char *path = path_join(dir, name);

	buf_init(b, 1 << 24);
	assert_int_equal(atomicfile_read(AT_FDCWD, path, b, NULL), 0);
	buf_put(b, "", 1);
}

#define LOG "audit/00000000000000000001.jsonl"

/* The last line as an object. */
static json_t *last_record(void)
{
	struct buf b;

	read_file(LOG, &b);
	char *text = (char *)b.data;
	size_t n = strlen(text);
	assert_true(n > 1 && text[n - 1] == '\n');
	text[n - 1] = '\0';
	char *nl = strrchr(text, '\n');
	json_t *o = json_loads(nl ? nl + 1 : text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	buf_release(&b);
	return o;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	if (!s)
		fail_msg("'%s' is no string", key);
	return s;
}

static void a_decision_is_one_line(void **unused)
{
	struct net_record r = {
		.event = NET_E_DECIDED, .verdict = NET_ALLOW, .conn = 41, .status = 403, .in = 1, .out = 2, .ms = 3,
		.facts = { .proto = NET_P_HTTPS, .port = 443, .name = "api.example.org", .method = "GET", .path = "/v1/\x1b[31mred\n" },
		.who = { .pid = 7, .uid = 1000, .comm = "curl", .cmdline = "curl \xe2\x80\xae https://", .container = "web" },
		.rule = "allow api.example.org:443", .scope = "global",
	};
	const uint8_t v4[16] = { [10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2, [15] = 9 };

	(void)unused;
	memcpy(r.to.b, v4, sizeof(v4));
	audit_add(&su, "blue", &r);
	json_t *o = last_record();
	assert_string_equal(text_of(o, "sandbox"), "blue");
	assert_string_equal(text_of(o, "event"), "decided");
	assert_string_equal(text_of(o, "verdict"), "allow");
	assert_string_equal(text_of(o, "proto"), "https");
	assert_string_equal(text_of(o, "name"), "api.example.org");
	assert_true(json_is_null(json_object_get(o, "address")));
	assert_string_equal(text_of(o, "to"), "192.0.2.9");
	assert_string_equal(text_of(o, "rule"), "allow api.example.org:443");
	assert_null(strchr(text_of(o, "path"), '\x1b'));
	assert_null(strstr(text_of(o, "cmdline"), "\xe2\x80\xae"));
	assert_string_equal(text_of(o, "container"), "web");
	assert_int_equal(json_integer_value(json_object_get(o, "conn")), 41);
	assert_int_equal(json_integer_value(json_object_get(o, "status")), 403);
	assert_int_equal(json_integer_value(json_object_get(o, "ms")), 3);
	json_decref(o);
	/* By number, IPv6. */
	r.facts = (struct net_facts){ .proto = NET_P_TCP, .port = 22, .has_addr = true, .addr.b = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } };
	r.event = NET_E_ALARM;
	r.verdict = NET_DENY;
	str_copy(r.service, sizeof(r.service), "anthropic");
	audit_add(&su, "blue", &r);
	o = last_record();
	assert_string_equal(text_of(o, "address"), "2001:db8::1");
	assert_string_equal(text_of(o, "event"), "alarm");
	assert_string_equal(text_of(o, "service"), "anthropic");
	assert_int_equal(json_integer_value(json_object_get(o, "seq")), 2);
	json_decref(o);
}

static void a_worker_syncs(void **unused)
{
	struct net_record r = { .event = NET_E_CLOSED };
	uint64_t t = clock_ns();
	struct buf b;

	(void)unused;
	for (unsigned i = 0; i < 5000; i++)
		audit_add(&su, "blue", &r);
	print_message("%.1f us a record\n", (double)(clock_ns() - t) / 5000e3);
	uv_run(&loop, UV_RUN_DEFAULT); /* until nothing is to be synced */
	read_file("audit/head", &b);
	assert_non_null(strstr((const char *)b.data, "\"seq\": 5000"));
	buf_release(&b);
}

/* A sandbox that repeats itself does not push anything out of the log. */
static void a_flood_is_counted(void **unused)
{
	struct net_record r = { .event = NET_E_DECIDED, .verdict = NET_DENY, .facts = { .port = 443, .name = "evil.test", .path = "/a" } };
	struct buf b;

	(void)unused;
	for (unsigned i = 0; i < 100000; i++)
		audit_add(&su, "blue", &r);
	r.event = NET_E_ALARM;
	audit_add(&su, "blue", &r);
	r.event = NET_E_DECIDED;
	audit_add(&su, "red", &r);
	json_t *o = last_record();
	assert_string_equal(text_of(o, "sandbox"), "red");
	json_decref(o);
	audit_close(&su);
	o = last_record();
	assert_string_equal(text_of(o, "sandbox"), "blue");
	assert_string_equal(text_of(o, "event"), "decided");
	assert_string_equal(text_of(o, "name"), "evil.test");
	/* The bucket has gained something while this ran. */
	const json_int_t repeats = json_integer_value(json_object_get(o, "repeats")), seq = json_integer_value(json_object_get(o, "seq"));
	assert_int_equal(repeats + seq, 100000 + 3);
	assert_true(repeats > 80000);
	json_decref(o);
	read_file(LOG, &b); /* it is still the first file */
	assert_true(buf_size(&b) < 8u << 20);
	buf_release(&b);
}

/* Who deletes all of it does not make a first start. */
static void a_log_taken_away_is_missed(void **unused)
{
	struct err e = ERR_INIT;
	struct net_record r = { .event = NET_E_CLOSED };

	(void)unused;
	audit_add(&su, "blue", &r);
	audit_close(&su);
	AUTO_FREE char *log = path_join(dir, "audit");
	assert_int_equal(path_remove_tree(AT_FDCWD, log, &e), 0);
	assert_int_equal(audit_open(&su, &e), 0);
	json_t *o = last_record();
	assert_string_equal(text_of(o, "event"), "emptied");
	assert_int_equal(json_integer_value(json_object_get(o, "seq")), 1);
	json_decref(o);
	audit_close(&su);
	assert_int_equal(audit_open(&su, &e), 0); /* said once */
	audit_add(&su, "blue", &r);
	o = last_record();
	assert_string_equal(text_of(o, "event"), "closed");
	assert_int_equal(json_integer_value(json_object_get(o, "seq")), 2);
	json_decref(o);
}

/* ---- what sandboxes get --------------------------------------------------------------------------------------------------------------- */

static struct sandbox *make_sandbox(const char *name, enum sandbox_state state)
{
	struct spec spec;

	spec_init(&spec);
	str_copy(spec.name, sizeof(spec.name), name);
	spec.created_ns = 5;
	struct sandbox *sb = sandbox_create_take(&su, &spec, -1);
	assert_non_null(sb);
	sb->state = state;
	return sb;
}

static void put(const char *service, const char *sandbox, uint8_t source, const char *what)
{
	struct secret *s = calloc(1, sizeof(*s)), *old = NULL;

	s->all = su.secrets;
	s->source = source;
	str_copy(s->service, sizeof(s->service), service);
	str_copy(s->sandbox, sizeof(s->sandbox), sandbox);
	if (source == SECRET_COMMAND) {
		s->argv = json_pack("[s, s, s]", "sh", "-c", what);
		s->refresh_s = 3600;
	} else if (source == SECRET_ENV) {
		str_copy(s->env, sizeof(s->env), what);
	} else {
		memset(s->tag, 'a', 32);
		AUTO_FREE char *path = str_fmt("%s/secrets/%s.value", dir, s->tag);
		AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		assert_int_equal(fd_write_full(fd, what, strlen(what)), 0);
	}
	secret_insert(su.secrets, s, &old);
	secret_destroy(old);
}

struct seen {
	unsigned n;
	struct net_secret v[16];
};

static void on_secret(void *arg, const struct net_secret *s)
{
	struct seen *x = arg;

	assert_true(x->n < 16);
	x->v[x->n++] = *s;
}

static int on_env(void *arg, const char *name, const char *value)
{
	return json_object_set_new(arg, name, json_string(value));
}

static unsigned changes;
static struct sandbox *changed_for;

static void on_changed(struct super *s, struct sandbox *sb)
{
	(void)s;
	changes++;
	changed_for = sb;
}

static void each_sandbox_gets_its_own(void **unused)
{
	struct sandbox *blue = make_sandbox("blue", SB_RUNNING), *green = make_sandbox("green", SB_RUNNING);
	struct seen x = { 0 }, y = { 0 };
	json_t *a = json_object(), *b = json_object();

	(void)unused;
	setenv("TEST_GLOBAL_KEY", "global-value-0123", 1);
	put("anthropic", "", SECRET_ENV, "TEST_GLOBAL_KEY");
	put("anthropic", "blue", SECRET_STORED, "blue-value-0123");
	put("github", "green", SECRET_ENV, "TEST_GLOBAL_KEY");
	assert_int_equal(secrets_for(blue, on_secret, &x), 1);
	assert_int_equal(x.n, 1);
	assert_string_equal(x.v[0].value, "blue-value-0123");
	assert_string_equal(x.v[0].header, "x-api-key");
	assert_string_equal(x.v[0].hosts[0], "api.anthropic.com");
	assert_int_equal(secrets_for(green, on_secret, &y), 3); /* github has two rules */
	assert_string_equal(y.v[0].value, "global-value-0123");
	assert_string_equal(y.v[1].service, "github");
	assert_string_equal(y.v[1].format, "Bearer %s");
	assert_string_equal(y.v[2].format, "basic:x-access-token");
	assert_string_equal(y.v[1].placeholder, y.v[2].placeholder);
	assert_int_not_equal(y.v[1].id, y.v[2].id);
	assert_int_not_equal(x.v[0].id, y.v[0].id);
	assert_string_not_equal(x.v[0].placeholder, y.v[0].placeholder);
	/* The session has what bulkhead-net looks for. */
	assert_int_equal(secrets_env(blue, on_env, a), 0);
	assert_int_equal(json_object_size(a), 1);
	assert_string_equal(text_of(a, "ANTHROPIC_API_KEY"), x.v[0].placeholder);
	assert_int_equal(secrets_env(green, on_env, b), 0);
	assert_int_equal(json_object_size(b), 3);
	assert_string_equal(text_of(b, "GH_TOKEN"), y.v[1].placeholder);
	assert_string_equal(text_of(b, "GITHUB_TOKEN"), y.v[1].placeholder);
	assert_null(strstr(x.v[0].placeholder, "blue-value"));
	json_decref(a);
	json_decref(b);
	/* No machine, no value held. */
	assert_non_null(secret_find(su.secrets, "anthropic", "blue")->value);
	blue->state = green->state = SB_STOPPED;
	secrets_idle(&su);
	assert_null(secret_find(su.secrets, "anthropic", "blue")->value);
	unsetenv("TEST_GLOBAL_KEY");
}

static void a_commands_value_comes_later(void **unused)
{
	struct sandbox *blue = make_sandbox("blue", SB_RUNNING);
	struct seen x = { 0 };
	struct secret *s;

	(void)unused;
	changes = 0;
	su.secrets_changed = on_changed;
	put("openai", "blue", SECRET_COMMAND, "echo run >>\"$XDG_CONFIG_HOME/runs\"; cat \"$XDG_CONFIG_HOME/token\"");
	s = su.secrets->list;
	/* Nothing there yet: it fails, is told, and is not run again at once. */
	assert_int_equal(secrets_for(blue, on_secret, &x), 0);
	assert_int_equal(x.n, 1);
	assert_string_equal(x.v[0].value, "");
	uint32_t id = x.v[0].id;
	while (s->run)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(changes, 0);
	assert_non_null(strstr(s->why, "'sh' exited with status 1: cat:"));
	assert_non_null(s->timer);
	assert_int_equal(secrets_for(blue, on_secret, &x), 0);
	assert_null(s->run);
	/* There now: fetched and told. */
	AUTO_FD fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(atomicfile_write(fd, "token", "token-0123456789\n", 17, 0600, NULL), 0);
	after_cancel(&s->timer);
	assert_int_equal(secrets_for(blue, on_secret, &x), 0);
	while (s->run)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(changes, 1);
	assert_ptr_equal(changed_for, blue);
	assert_string_equal(s->why, "");
	x.n = 0;
	assert_int_equal(secrets_for(blue, on_secret, &x), 1);
	assert_string_equal(x.v[0].value, "token-0123456789");
	assert_int_equal(x.v[0].id, id);
	assert_non_null(s->timer); /* its refresh */
	struct buf b;
	read_file("runs", &b);
	assert_string_equal((const char *)b.data, "run\nrun\n");
	buf_release(&b);
}

/* By the clock, while a machine uses it; the same value is no change. */
static void refreshed_by_the_clock(void **unused)
{
	struct sandbox *blue = make_sandbox("blue", SB_RUNNING);
	struct seen x = { 0 };

	(void)unused;
	changes = 0;
	su.secrets_changed = on_changed;
	put("openai", "", SECRET_COMMAND, "n=$(cat \"$XDG_CONFIG_HOME/n\" 2>/dev/null || echo 0); echo $((n+1)) >\"$XDG_CONFIG_HOME/n\"; echo value-number-$((n/2))");
	struct secret *s = su.secrets->list;
	s->refresh_s = 0; /* at once, for the test */
	secrets_for(blue, on_secret, &x);
	uint64_t end = clock_ms() + 20000;
	while (changes < 3 && clock_ms() < end)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(changes, 3);
	struct buf b;
	read_file("n", &b);
	assert_true(b.data[0] >= '5'); /* runs: 1 2 | 3 4 | 5 ... */
	buf_release(&b);
	/* The machine is gone: so is the value, at the next tick. */
	blue->state = SB_STOPPED;
	end = clock_ms() + 20000;
	while ((s->value || s->run || s->timer) && clock_ms() < end)
		uv_run(&loop, UV_RUN_ONCE);
	assert_null(s->value);
	assert_null(s->timer);
}

/* ---- commands ------------------------------------------------------------------------------------------------------------------------- */

struct outcome {
	bool done;
	int status;
	char out[128];
	struct err e;
};

static void on_run(void *arg, struct held **out, int status, const struct err *e)
{
	struct outcome *o = arg;

	o->done = true;
	o->status = status;
	o->e = *e;
	str_copy(o->out, sizeof(o->out), held_text(*out));
}

static struct outcome run(const char *script, const char *in, uint64_t timeout_ms)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	struct outcome o = { 0 };
	struct run *r;
	struct err e = ERR_INIT;
	const struct run_opts ro = { .argv = argv, .in_take = in ? held_copy(in, strlen(in)) : NULL, .timeout_ms = timeout_ms };

	if (run_start(&r, &loop, &ro, on_run, &o, &e))
		fail_msg("%s", e.msg);
	while (!o.done)
		uv_run(&loop, UV_RUN_ONCE);
	assert_null(r);
	return o;
}

static void commands(void **unused)
{
	struct outcome o;
	uint64_t t;

	(void)unused;
	o = run("cat; echo more", "given", 20000);
	assert_int_equal(o.e.code, 0);
	assert_string_equal(o.out, "givenmore\n");
	o = run("exit 0", "not read by anybody", 20000);
	assert_int_equal(o.e.code, 0);
	o = run("printf 'one\\ntwo \\033[1mbold\\n\\n' >&2; exit 4", NULL, 20000);
	assert_int_equal(o.status, 4);
	assert_int_equal(o.e.code, EIO);
	assert_non_null(strstr(o.e.msg, "'sh' exited with status 4: two ^["));
	assert_string_equal(o.out, "");
	o = run("exit 1", NULL, 20000);
	assert_int_equal(o.e.code, ENODATA);
	o = run("yes >&2 & yes | head -c 200000 >&2; kill %1; echo out", NULL, 20000);
	assert_string_equal(o.out, "out\n");
	t = clock_ms();
	o = run("trap '' TERM; sleep 60 & sleep 60", NULL, 200);
	assert_int_equal(o.e.code, ETIMEDOUT);
	assert_true(clock_ms() - t < 15000);
	assert_int_equal(o.status, -1);
	o = run("exec cat /dev/zero", NULL, 20000);
	assert_int_equal(o.e.code, EFBIG);
}

static void a_cancelled_command_is_dead(void **unused)
{
	const char *argv[] = { "sh", "-c", "echo $$ >\"$XDG_CONFIG_HOME/pid\"; exec sleep 60", NULL };
	struct outcome o = { 0 };
	struct run *r;
	AUTO_FREE char *path = path_join(dir, "pid");
	const struct run_opts ro = { .argv = argv, .timeout_ms = 60000 };
	struct stat st;

	(void)unused;
	assert_int_equal(run_start(&r, &loop, &ro, on_run, &o, NULL), 0);
	uint64_t end = clock_ms() + 20000;
	while ((stat(path, &st) || st.st_size == 0) && clock_ms() < end)
		uv_run(&loop, UV_RUN_NOWAIT);
	struct buf b;
	read_file("pid", &b);
	uint64_t pid;
	b.data[strcspn((char *)b.data, "\n")] = '\0';
	assert_int_equal(str_u64((const char *)b.data, 1, INT32_MAX, &pid), 0);
	buf_release(&b);
	run_cancel(&r);
	assert_null(r);
	assert_int_equal(kill((pid_t)pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	uv_run(&loop, UV_RUN_NOWAIT);
	assert_false(o.done);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_decision_is_one_line), T(a_worker_syncs), T(a_flood_is_counted), T(a_log_taken_away_is_missed), T(each_sandbox_gets_its_own), T(a_commands_value_comes_later), T(refreshed_by_the_clock),
		T(commands), T(a_cancelled_command_is_dead),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
