/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox.json, whole and damaged; the store's steps, each repeated as after a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/supervisor/spec.h"
#include "core/supervisor/store.h"

static void fill(struct spec *s)
{
	spec_init(s);
	str_copy(s->name, sizeof(s->name), "blue");
	str_copy(s->kit, sizeof(s->kit), "shell");
	s->path = str_dup("/home/me/work \xc3\xa4");
	s->cpus = 3;
	s->memory = UINT64_C(3) << 30;
	s->disk = UINT64_C(10) << 30;
	s->env = json_pack("{s:s, s:s}", "A", "b\nc", "EMPTY", "");
	s->remove_on_stop = true;
	s->created_ns = UINT64_C(1700000000123456789);
	s->started_ns = 1;
	s->gen = 7;
	s->state = SB_PAUSED;
	str_copy(s->reason, sizeof(s->reason), "because");
	s->session_floor = 65;
	str_copy(s->boot_id, sizeof(s->boot_id), "0123");
	s->intent = INTENT_RESET;
	s->intent_restart = true;
	str_copy(s->image, sizeof(s->image), "0123456789abcdef");
	s->ran = SPEC_KVM;
	s->ws.n = 2;
	s->ws.w[0].mode = WORKSPACE_REVIEW;
	str_copy(s->ws.w[0].path, sizeof(s->ws.w[0].path), "/home/me/work \xc3\xa4");
	s->ws.w[1].mode = WORKSPACE_LIVE;
	str_copy(s->ws.w[1].path, sizeof(s->ws.w[1].path), "/srv/data/a:b");
	s->hide = str_dup("*.key\nprod/secret\n");
	s->hide_default = false;
}

static char *text_of(void)
{
	struct spec s;

	fill(&s);
	char *text = spec_to_json(&s);
	spec_release(&s);
	assert_non_null(text);
	return text;
}

static void round_trip(void **unused)
{
	struct spec a, b;
	struct err e = ERR_INIT;
	AUTO_FREE char *text = text_of();

	(void)unused;
	fill(&a);
	assert_int_equal(spec_from_json(&b, "blue", text, strlen(text), &e), 0);
	assert_string_equal(a.path, b.path);
	assert_int_equal(b.ws.n, 2);
	for (size_t i = 0; i < b.ws.n; i++) {
		assert_string_equal(a.ws.w[i].path, b.ws.w[i].path);
		assert_int_equal(a.ws.w[i].mode, b.ws.w[i].mode);
	}
	assert_string_equal(a.hide, b.hide);
	assert_false(b.hide_default);
	assert_int_equal(a.memory, b.memory);
	assert_int_equal(a.created_ns, b.created_ns);
	assert_int_equal(a.gen, b.gen);
	assert_int_equal(a.state, b.state);
	assert_int_equal(a.intent, b.intent);
	assert_int_equal(a.intent_restart, b.intent_restart);
	assert_string_equal(a.image, b.image);
	assert_int_equal(a.ran, b.ran);
	assert_int_equal(a.session_floor, b.session_floor);
	assert_string_equal(a.reason, b.reason);
	assert_true(json_equal(a.env, b.env));
	AUTO_FREE char *again = spec_to_json(&b);
	assert_string_equal(text, again);
	spec_release(&a);
	spec_release(&b);
}

static void every_beginning_is_refused(void **unused)
{
	AUTO_FREE char *text = text_of();
	struct spec s;
	struct err e;

	(void)unused;
	for (size_t n = 0; n < strlen(text); n++) {
		e = ERR_INIT;
		assert_int_equal(spec_from_json(&s, "blue", text, n, &e), -EBADMSG);
		assert_true(strlen(e.msg) > 5);
		assert_null(s.path);
		assert_null(s.env);
	}
}

/* Every field gone, of another type, or out of range is named in the sentence. */
static void every_field_is_checked(void **unused)
{
	static const struct {
		const char *key, *value;
	} bad[] = {
		{ "version", "2" }, { "version", "\"1\"" }, { "name", "\"other\"" }, { "name", "7" }, { "kit", "null" }, { "path", "\"relative\"" },
		{ "path", "3" }, { "cpus", "0" }, { "cpus", "17" }, { "cpus", "2.5" }, { "memory", "-1" }, { "memory", "1" }, { "disk", "\"10G\"" },
		{ "env", "[]" }, { "env", "{\"A=B\": \"x\"}" }, { "env", "{\"A\": 1}" }, { "remove_on_stop", "0" }, { "created_ns", "-5" },
		{ "generation", "4294967295" }, { "state", "\"flying\"" }, { "state", "1" }, { "reason", "[]" }, { "session_floor", "0" },
		{ "backend", "\"xen\"" }, { "backend", "1" }, { "ran", "\"xen\"" }, { "image", "7" }, { "image", "\"01234567890123456789\"" }, { "session_floor", "4294967295" }, { "boot_id", "null" }, { "intent", "\"explode\"" }, { "intent_restart", "\"yes\"" },
	};
	AUTO_FREE char *text = text_of();
	struct spec s;

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e = ERR_INIT;
		json_t *o = json_loads(text, 0, NULL);
		json_object_set_new(o, bad[i].key, json_loads(bad[i].value, JSON_DECODE_ANY, NULL));
		AUTO_FREE char *damaged = json_dumps(o, 0);
		json_decref(o);
		if (spec_from_json(&s, "blue", damaged, strlen(damaged), &e) != -EBADMSG)
			fail_msg("%s = %s was taken", bad[i].key, bad[i].value);
		assert_true(*e.msg);
	}
	static const char *const needed[] = { "version", "name", "kit", "cpus", "memory", "disk", "remove_on_stop", "created_ns", "started_ns",
					      "generation", "state", "reason", "session_floor", "boot_id", "intent", "intent_restart" };
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		struct err e = ERR_INIT;
		json_t *o = json_loads(text, 0, NULL);
		assert_int_equal(json_object_del(o, needed[i]), 0);
		AUTO_FREE char *damaged = json_dumps(o, 0);
		json_decref(o);
		if (spec_from_json(&s, "blue", damaged, strlen(damaged), &e) != -EBADMSG)
			fail_msg("it was taken without '%s'", needed[i]);
	}
}

static void flipped_bytes_never_crash(void **unused)
{
	AUTO_FREE char *text = text_of();
	size_t n = strlen(text);
	struct spec s;

	(void)unused;
	for (size_t i = 0; i < n; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			text[i] = (char)((unsigned char)text[i] ^ (1u << bit));
			if (!spec_from_json(&s, "blue", text, n, NULL)) {
				assert_string_equal(s.name, "blue");
				assert_in_range(s.cpus, 1, SPEC_CPUS_MAX);
			}
			spec_release(&s);
			text[i] = (char)((unsigned char)text[i] ^ (1u << bit));
		}
}

static void duplicates_are_refused(void **unused)
{
	static const char twice[] = "{\"version\": 1, \"version\": 1}";
	struct err e = ERR_INIT;
	struct spec s;

	(void)unused;
	assert_int_equal(spec_from_json(&s, "blue", twice, sizeof(twice) - 1, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "line 1"));
}

static void environments(void **unused)
{
	struct err e = ERR_INIT;
	json_t *o = json_object();
	char key[16];

	(void)unused;
	for (unsigned i = 0; i < SPEC_ENVS_MAX; i++) {
		snprintf(key, sizeof(key), "K%u", i);
		json_object_set_new(o, key, json_string("v"));
	}
	assert_int_equal(spec_env_check(o, &e), 0);
	json_object_set_new(o, "ONE_MORE", json_string("v"));
	assert_int_equal(spec_env_check(o, &e), -EINVAL);
	json_object_clear(o);
	AUTO_FREE char *large = calloc(1, SPEC_ENV_BYTES_MAX + 1);
	memset(large, 'x', SPEC_ENV_BYTES_MAX);
	json_object_set_new(o, "A", json_string(large));
	assert_int_equal(spec_env_check(o, &e), -EINVAL);
	static const char *const names[] = { "", "1A", "A-B", "A B", "A=B", "\xc3\xa4" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		json_object_clear(o);
		json_object_set_new(o, names[i], json_string("v"));
		assert_int_equal(spec_env_check(o, &e), -EINVAL);
	}
	json_object_clear(o);
	json_object_set_new(o, "A", json_stringn("a\0b", 3));
	assert_int_equal(spec_env_check(o, &e), -EINVAL);
	json_decref(o);
}

/* ---- the store ------------------------------------------------------------------------------------------------------------------- */

static char dir[64];

static int make_dir(void **unused)
{
	(void)unused;
	str_copy(dir, sizeof(dir), "/tmp/bh-store-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **unused)
{
	(void)unused;
	return path_remove_tree(AT_FDCWD, dir, NULL);
}

static int count(void *arg, const char *name)
{
	(void)name;
	++*(int *)arg;
	return 0;
}

/* store_create() of a whole sandbox of that name. */
static int make(struct store *st, const char *name, struct err *e)
{
	struct spec s;

	fill(&s);
	str_copy(s.name, sizeof(s.name), name);
	const int r = store_create(st, &s, e);
	spec_release(&s);
	return r;
}

static void a_sandbox_on_disk(void **unused)
{
	struct store st;
	struct err e = ERR_INIT;
	struct spec s, back;
	struct stat sb;
	int n = 0;

	(void)unused;
	assert_int_equal(store_init(&st, dir, &e), 0);
	int fd = make(&st, "blue", &e);
	assert_true(fd >= 0);
	/* It was whole as it got its name. */
	assert_int_equal(store_load(fd, "blue", &back, &e), 0);
	spec_release(&back);
	assert_int_equal(make(&st, "blue", &e), -EEXIST);
	assert_int_equal(fstatat(st.dirfd, ".new-blue", &sb, 0), -1);
	fill(&s);
	assert_int_equal(store_save(fd, &s, &e), 0);
	assert_int_equal(store_load(fd, "blue", &back, &e), 0);
	assert_int_equal(back.gen, 7);
	spec_release(&s);
	spec_release(&back);
	/* A disk is sparse; a new one in its place holds nothing of the old, and one that is too short is refused. */
	int disk = store_open_disk(fd, UINT64_C(1) << 30, 0, &e);
	assert_true(disk >= 0);
	assert_int_equal(pwrite(disk, "x", 1, 4096), 1);
	close(disk);
	assert_true(store_disk_used(fd) < 1 << 20);
	assert_int_equal(store_make_disk(fd, UINT64_C(1) << 30, 0, &e), 0);
	disk = store_open_disk(fd, UINT64_C(1) << 30, 0, &e);
	char c = 1;
	assert_int_equal(pread(disk, &c, 1, 4096), 1);
	assert_int_equal(c, 0);
	close(disk);
	assert_int_equal(store_open_disk(fd, UINT64_C(2) << 30, 0, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "reset"));
	assert_int_equal(store_make_disk(fd, UINT64_C(1) << 30, UINT64_MAX, &e), -ENOSPC);
	assert_non_null(strstr(e.msg, "prune"));
	/* What is no sandbox is left alone. */
	assert_int_equal(mkdirat(st.dirfd, "Not A Name", 0700), 0);
	assert_int_equal(store_each(&st, count, &n, &e), 0);
	assert_int_equal(n, 1);
	close(fd);
	assert_int_equal(store_remove(&st, "blue", &e), 0);
	assert_int_equal(store_remove(&st, "blue", &e), 0);
	assert_int_equal(fstatat(st.dirfd, "blue", &sb, 0), -1);
	store_release(&st);
}

static void a_removal_cut_off_is_finished(void **unused)
{
	struct store st;
	struct err e = ERR_INIT;
	struct stat sb;

	(void)unused;
	assert_int_equal(store_init(&st, dir, &e), 0);
	close(make(&st, "half", &e));
	assert_int_equal(renameat(st.dirfd, "half", st.dirfd, ".gone-half"), 0);
	close(make(&st, "half", &e));
	assert_int_equal(renameat(st.dirfd, "half", st.dirfd, ".new-half"), 0);
	store_release(&st);
	assert_int_equal(store_init(&st, dir, &e), 0);
	assert_int_equal(fstatat(st.dirfd, ".gone-half", &sb, 0), -1);
	assert_int_equal(fstatat(st.dirfd, ".new-half", &sb, 0), -1);
	store_release(&st);
}

static void damaged_state_files(void **unused)
{
	struct store st;
	struct err e = ERR_INIT;
	struct spec s;

	(void)unused;
	assert_int_equal(store_init(&st, dir, &e), 0);
	int fd = make(&st, "hurt", &e);
	assert_int_equal(unlinkat(fd, "sandbox.json", 0), 0);
	assert_int_equal(store_load(fd, "hurt", &s, &e), -EBADMSG);
	assert_int_equal(symlinkat("/etc/passwd", fd, "sandbox.json"), 0);
	assert_int_equal(store_load(fd, "hurt", &s, &e), -EBADMSG);
	assert_int_equal(unlinkat(fd, "sandbox.json", 0), 0);
	assert_int_equal(symlinkat("/etc/passwd", fd, "disk.img"), 0);
	assert_true(store_open_disk(fd, 1 << 30, 0, &e) < 0);
	close(fd);
	store_release(&st);
}

/* 0, or -EINVAL: `json` with ' for ". */
static int take(const char *json, struct workspaces *ws, char **hide)
{
	struct err e = ERR_INIT;
	char text[1024];
	size_t n = 0;

	for (; json[n]; n++)
		text[n] = json[n] == '\'' ? '"' : json[n];
	json_t *list = json_loadb(text, n, 0, NULL);
	assert_non_null(list);
	const int r = hide ? spec_hide_check(list, hide, &e) : spec_workspaces_check(list, ws, &e);
	assert_true(r == 0 || (r == -EINVAL && e.msg[0]));
	json_decref(list);
	return r;
}

static void workspaces_of_a_sandbox(void **unused)
{
	static const char *const bad[] = {
		"[{'path': '/usr/lib'}]", "[{'path': '/'}]", "[{'path': '/etc'}]", "[{'path': '/home'}]", "[{'path': '/tmp'}]", "[{'path': '/proc/self'}]", "[{'path': 'a'}]",
		"[{'path': '/a/../b'}]", "[{'path': '/a', 'mode': 'rw'}]", "[{'path': '/a', 'mode': 'none'}]", "[{'mode': 'live'}]", "[7]",
		"[{'path': '/a'}, {'path': '/a'}]", "[{'path': '/a/b'}, {'path': '/a'}]", "[{'path': '/a'}, {'path': '/a/b/c'}]",
		"[{'path':'/a1'},{'path':'/a2'},{'path':'/a3'},{'path':'/a4'},{'path':'/a5'},{'path':'/a6'},{'path':'/a7'},{'path':'/a8'},{'path':'/a9'}]",
	};
	static const char *const no_patterns[] = { "['']", "['a\\nb']", "['../x']", "['a//b']", "[7]", "{}" };
	struct workspaces ws;
	char *hide;

	(void)unused;
	assert_int_equal(take("[]", &ws, NULL), 0);
	assert_int_equal(ws.n, 0);
	assert_int_equal(take("[{'path': '/home/me/ab'}, {'path': '/home/me/a', 'mode': 'ro'}, {'path': '/usr/src/x', 'mode': 'live'}]", &ws, NULL), 0);
	assert_int_equal(ws.n, 3);
	assert_int_equal(ws.w[0].mode, WORKSPACE_REVIEW);
	assert_int_equal(ws.w[1].mode, WORKSPACE_RO);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(take(bad[i], &ws, NULL), -EINVAL);
	assert_int_equal(take("['*.key', 'prod/secret']", NULL, &hide), 0);
	assert_string_equal(hide, "*.key\nprod/secret\n");
	free(hide);
	for (size_t i = 0; i < ARRAY_SIZE(no_patterns); i++)
		assert_int_equal(take(no_patterns[i], NULL, &hide), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(every_beginning_is_refused),
		cmocka_unit_test(every_field_is_checked),
		cmocka_unit_test(flipped_bytes_never_crash),
		cmocka_unit_test(duplicates_are_refused),
		cmocka_unit_test(environments),
		cmocka_unit_test(workspaces_of_a_sandbox),
		cmocka_unit_test_setup_teardown(a_sandbox_on_disk, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(a_removal_cut_off_is_finished, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(damaged_state_files, make_dir, drop_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
