/* SPDX-License-Identifier: Apache-2.0 */
/* tui/theme.c, config.c, keys.c, direct.c, lineedit.c: a person's files and the bytes of their terminal. The first byte chooses. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "tui/config.h"
#include "tui/direct.h"
#include "tui/lineedit.h"
#include "tui/theme.h"

static void keys(const uint8_t *p, size_t n)
{
	static struct keyin in;
	static struct lineedit line;
	struct key k;
	size_t room;

	memset(&in, 0, sizeof(in));
	lineedit_set(&line, "");
	while (n) {
		uint8_t *tail = keys_tail(&in, &room);
		const size_t part = n < 7 ? n : 7;

		MUST(room >= part);
		memcpy(tail, p, part);
		keys_grew(&in, part);
		p += part;
		n -= part;
		while (keys_next(&in, &k, n == 0)) {
			char name[KEY_NAME_MAX];

			if (k.kind == KEY_PASTE)
				MUST(k.data >= in.buf && k.data + k.len <= in.buf + KEYIN_MAX);
			key_spell(&k, name);
			lineedit_key(&line, &k);
			MUST(line.cur <= line.len && line.len < LINEEDIT_MAX && strlen(line.text) == line.len);
		}
	}
	MUST(!keys_pending(&in) || in.pasting);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct theme t;
	static struct config c;
	struct err e = ERR_INIT;

	if (n < 1)
		return 0;
	switch (p[0] % 4) {
	case 0:
		if (theme_parse(&t, (const char *)p + 1, n - 1, &e) < 0)
			MUST(e.msg[0]);
		for (int d = DEPTH_MONO; d <= DEPTH_TRUE; d++)
			theme_resolve(&t, (enum depth)d);
		break;
	case 1:
		config_init(&c);
		if (config_parse(&c, (const char *)p + 1, n - 1, &e) < 0)
			MUST(strncmp(e.msg, "config.yaml line ", 17) == 0);
		break;
	case 2:
		keys(p + 1, n - 1);
		break;
	default:
		free(direct_entry(p + 1, n - 1));
		break;
	}
	return 0;
}
