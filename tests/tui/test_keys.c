/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes to keys, in any cut; names of keys; the table of bindings; config.yaml. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/proto/rows.h"
#include "tui/config.h"
#include "tui/keys.h"

static struct keyin in;

/* What bytes become, as text; fed `step` at a time. */
static const char *decode(const char *bytes, size_t n, size_t step)
{
	static char out[4096];
	size_t used = 0, room;
	struct key k;

	memset(&in, 0, sizeof(in));
	out[0] = '\0';
	for (size_t at = 0; at <= n; at += step) {
		const size_t part = n - at < step ? n - at : step;
		const bool quiet = at + part == n;

		memcpy(keys_tail(&in, &room), bytes + at, part);
		keys_grew(&in, part);
		while (keys_next(&in, &k, quiet) && used < sizeof(out) - 100) {
			char name[KEY_NAME_MAX];

			switch (k.kind) {
			case KEY_PRESS:
				key_spell(&k, name);
				used += (size_t)snprintf(out + used, 100, "%s%s", used ? " " : "", name);
				break;
			case KEY_MOUSE:
				used += (size_t)snprintf(out + used, 100, "%smouse%d:%u@%d,%d", used ? " " : "", (int)k.act, k.button, k.row, k.col);
				break;
			case KEY_PASTE:
				used += (size_t)snprintf(out + used, 100, "%s%.*s%s", k.first ? "<" : "", (int)(k.len > 80 ? 80 : k.len),
							 (const char *)k.data, k.last ? ">" : "");
				break;
			case KEY_FOCUS:
				used += (size_t)snprintf(out + used, 100, "%s%s", used ? " " : "", k.focus_in ? "in" : "out");
				break;
			}
		}
		if (quiet)
			break;
	}
	return out;
}

static void sequences(void **state)
{
	static const struct { const char *bytes, *want; } t[] = {
		{ "a", "a" }, { "A", "A" }, { "\r", "Enter" }, { "\t", "Tab" }, { "\177", "Backspace" }, { "\001", "C-a" }, { "\n", "C-j" },
		{ "\034", "C-\\" }, { "\037", "C-_" }, { "\033", "Esc" }, { "\033x", "M-x" }, { "\033\001", "C-M-a" }, { "\033[A", "Up" },
		{ "\033OA", "Up" }, { "\033[1;5C", "C-Right" }, { "\033[1;2A", "S-Up" }, { "\033[1;3D", "M-Left" }, { "\033[1;8B", "C-M-S-Down" },
		{ "\033OP", "F1" }, { "\033[15~", "F5" }, { "\033[15;2~", "S-F5" }, { "\033[24;5~", "C-F12" }, { "\033[1;5P", "C-F1" },
		{ "\033[[A", "F1" }, { "\033[Z", "S-Tab" }, { "\033[3~", "Del" }, { "\033[5~", "PgUp" }, { "\033[H", "Home" }, { "\033[4~", "End" },
		{ "\033[27;5;105~", "C-i" }, { "\033[105;6u", "C-S-i" }, { "\033[13;5u", "C-Enter" }, { "\033[I", "in" }, { "\033[O", "out" },
		{ "\xc3\xa4", "ä" }, { "\xf0\x9f\x98\x80", "😀" }, { "\033\xc3\xa4", "M-ä" }, { " ", "Space" },
		{ "\033[<0;5;7M", "mouse0:1@6,4" }, { "\033[<0;5;7m", "mouse1:1@6,4" }, { "\033[<32;5;7M", "mouse2:1@6,4" },
		{ "\033[<64;1;1M", "mouse4:0@0,0" }, { "\033[<65;1;1M", "mouse5:0@0,0" }, { "\033[<35;2;2M", "mouse3:0@1,1" },
		{ "\033[200~hello\033[201~x", "<hello> x" }, { "\033[200~a\033[20b\033[201~", "<a\033[20b>" }, { "\033[200~\033[201~", "<>" },
		{ "\033[999Xq", "q" }, { "\033\033[A", "Esc Up" }, { "\033[<0;0;0Mq", "q" }, { "\033[1;5", "" }, { "\033O", "M-O" }, { "\033[", "M-[" },
		{ "abc", "a b c" }, { "\xff", "\xef\xbf\xbd" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		const char *got = decode(t[i].bytes, strlen(t[i].bytes), 1000);

		if (strcmp(got, t[i].want))
			print_message("case %zu: got '%s', want '%s'\n", i, got, t[i].want);
		assert_string_equal(got, t[i].want);
		if (strncmp(t[i].bytes, "\033[200~", 6)) /* in bytes: the same; a paste may come in parts */
			assert_string_equal(decode(t[i].bytes, strlen(t[i].bytes), 1), t[i].want);
	}
	assert_string_equal(decode("\033[200~hello\033[201~x", 18, 1), "<hello> x");
}

static void any_bytes(void **state)
{
	static uint8_t bytes[20000];
	uint32_t x = 12345;

	(void)state;
	for (int round = 0; round < 50; round++) {
		for (size_t i = 0; i < sizeof(bytes); i++) {
			x = x * 1664525u + 1013904223u;
			bytes[i] = (x >> 24) % 3 ? (uint8_t)"\033[<;0123456789~Mm?OIuA"[(x >> 16) % 22] : (uint8_t)(x >> 16);
		}
		size_t at = 0, room;
		memset(&in, 0, sizeof(in));
		while (at < sizeof(bytes)) {
			struct key k;
			uint8_t *tail = keys_tail(&in, &room);
			const size_t part = sizeof(bytes) - at < 300 ? sizeof(bytes) - at : 300;

			assert_true(room >= part); /* what is unfinished stays short */
			memcpy(tail, bytes + at, part);
			keys_grew(&in, part);
			at += part;
			while (keys_next(&in, &k, false))
				assert_true(k.kind != KEY_PASTE || (k.data >= in.buf && k.data + k.len <= in.buf + KEYIN_MAX));
		}
	}
}

static void names(void **state)
{
	static const char *const all[] = { "C-\\", "M-x", "Enter", "S-Tab", "F12", "C-Left", "g", "Space", "|", "-", "C-M-S-Up", "ä", "C-Space" };
	static const char *const bad[] = { "", "C-", "Foo", "F25", "X-a", "ab", "\xff" };
	struct key k;
	char name[KEY_NAME_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		assert_int_equal(key_parse(all[i], &k), 0);
		key_spell(&k, name);
		assert_string_equal(name, all[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(key_parse(bad[i], &k) < 0);
}

/* No key means two things in one place, every binding has its words, everything in the table can be typed. */
static void table_is_sound(void **state)
{
	struct keymap m;

	(void)state;
	keymap_init(&m);
	for (int a = 1; a < ACT_NUM; a++) {
		const struct binding *b = binding_of((enum action)a);

		assert_non_null(b->text);
		assert_true(b->name[0] && b->ctx);
		assert_int_equal(action_named(b->name), a);
		assert_true(m.act[a].n + m.act[a].np > 0 || a == ACT_SEND_PREFIX);
		for (uint8_t i = 0; i < m.act[a].n; i++)
			for (unsigned ctx = CTX_LIST; ctx <= CTX_PORTS; ctx <<= 1)
				if (b->ctx & ctx && ctx != CTX_HELP && ctx != CTX_TYPING) {
					const enum action found = keymap_find(&m, ctx, false, &m.act[a].keys[i]);

					if ((int)found != a)
						print_message("%s: its key does %s\n", b->name, binding_of(found)->name);
					assert_int_equal(found, a);
				}
		for (uint8_t i = 0; i < m.act[a].np; i++)
			assert_int_equal(keymap_find(&m, CTX_TYPING, true, &m.act[a].prefix_keys[i]), a);
	}
}

/* While something is asked its answers come first: the footer names a key that is free. */
static void a_key_beside_the_questions(void **state)
{
	struct keymap m;
	char key[KEY_NAME_MAX];

	(void)state;
	keymap_init(&m);
	assert_true(keymap_show_reaching(&m, ACT_APPLY, CTX_DIFF, false, key, sizeof(key)));
	assert_string_equal(key, "W");
	assert_true(keymap_show_reaching(&m, ACT_DISCARD, CTX_FILES, false, key, sizeof(key)));
	assert_string_equal(key, "X");
	for (int a = 1; a < ACT_NUM; a++) { /* and every action that a view has a key for has one that reaches it there */
		const struct binding *b = binding_of((enum action)a);

		for (unsigned ctx = CTX_LIST; ctx <= CTX_DIFF; ctx <<= 1)
			if (m.act[a].n && b->ctx & ctx && ctx != CTX_HELP && ctx != CTX_TYPING)
				assert_true(keymap_show_reaching(&m, (enum action)a, ctx, false, key, sizeof(key)));
	}
}

static void configuration(void **state)
{
	struct config c;
	struct err e = ERR_INIT;
	struct key k;
	static const char good[] = "theme: nord\nprefix: C-a\nascii: true\nclipboard: never\nnotify: off\nmax_sandboxes: 3\n"
				   "keys:\n  new-sandbox: [N, F2]\n  kill: prefix k\n  grid: ''\n";
	static const struct { const char *text, *want; } bad[] = {
		{ "theme: [a]\n", "line 1" }, { "cpus: 1\nprefix: nokey\n", "line 2" }, { "cpus: 1\nteme: nord\n", "line 2: there is no key 'teme'; did you mean 'theme'?" }, { "keys: 5\n", "line 1" },
		{ "keys:\n  fly: F1\n", "there is no action 'fly'" }, { "keys:\n  new-sandbox: Foo\n", "'Foo' is no key" },
		{ "theme: nord\nkeys: {\n", "line" }, { "- a\n", "line 1" }, { "ascii: maybe\n", "true or false" }, { "\t\x01", "line" },
		{ "clipboard: x\n", "ask, always or never" },
	};

	(void)state;
	config_init(&c);
	assert_int_equal(config_parse(&c, good, strlen(good), &e), 0);
	assert_string_equal(c.theme, "nord");
	assert_true(c.ascii && !c.notify && c.clipboard == CLIP_NEVER && c.mouse);
	key_parse("C-a", &k);
	assert_true(key_same(&k, &c.keys.prefix));
	key_parse("F2", &k);
	assert_int_equal(keymap_find(&c.keys, CTX_LIST, false, &k), ACT_NEW);
	key_parse("n", &k);
	assert_int_equal(keymap_find(&c.keys, CTX_LIST, false, &k), ACT_NONE);
	key_parse("k", &k);
	assert_int_equal(keymap_find(&c.keys, CTX_TYPING, true, &k), ACT_KILL);
	key_parse("g", &k);
	assert_int_equal(keymap_find(&c.keys, CTX_LIST, false, &k), ACT_NONE);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err why = ERR_INIT;

		config_init(&c);
		assert_true(config_parse(&c, bad[i].text, strlen(bad[i].text), &why) < 0);
		if (!strstr(why.msg, bad[i].want))
			print_message("got: %s\n", why.msg);
		assert_non_null(strstr(why.msg, bad[i].want));
		assert_non_null(strstr(why.msg, "config.yaml line "));
	}
	/* What is right beside what is wrong is taken. */
	config_init(&c);
	assert_true(config_parse(&c, "ascii: x\ntheme: nord\n", 21, &e) < 0);
	assert_string_equal(c.theme, "nord");
	config_init(&c);
	assert_int_equal(config_parse(&c, "", 0, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(sequences), cmocka_unit_test(any_bytes), cmocka_unit_test(names),
		cmocka_unit_test(table_is_sound), cmocka_unit_test(a_key_beside_the_questions),
		cmocka_unit_test(configuration) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
