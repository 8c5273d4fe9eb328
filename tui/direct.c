/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See direct.h; the format is term(5): header of six 16-bit numbers, names, booleans, (pad), numbers, string offsets, string table, and an
 * extended part, here with just "RGB". Numbers are 16 bits wide with magic 0432, 32 bits with 01036, which is what comes out.
 */
#include "tui/direct.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/fd.h"
#include "core/base/rbuf.h"
#include "core/base/str.h"

#define ENTRY_MAX 32768u
#define MAGIC_16 0432
#define MAGIC_32 01036
#define NUM_COLORS 13
#define NUM_PAIRS 14
#define STR_SETAF 359
#define STR_SETAB 360

#define COLOR_STRING(n) "\033[" n "8;%?%p1%{256}%<%t5;%p1%d%e2;%p1%{65536}%/%d;%p1%{256}%/%{255}%&%d;%p1%{255}%&%d%;m"

struct entry {
	uint16_t names, bools, nums, strs, table;
	const uint8_t *name, *boolean, *num, *off, *text;
	unsigned width; /* of a number */
};

static int entry_read(struct entry *t, const uint8_t *p, size_t n)
{
	struct rbuf r;
	uint16_t magic;
	const uint8_t *pad;

	rbuf_init(&r, p, n);
	rbuf_u16(&r, &magic);
	rbuf_u16(&r, &t->names);
	rbuf_u16(&r, &t->bools);
	rbuf_u16(&r, &t->nums);
	rbuf_u16(&r, &t->strs);
	if (rbuf_u16(&r, &t->table) < 0 || (magic != MAGIC_16 && magic != MAGIC_32))
		return -1;
	t->width = magic == MAGIC_32 ? 4 : 2;
	rbuf_bytes(&r, t->names, &t->name);
	rbuf_bytes(&r, t->bools, &t->boolean);
	if ((t->names + t->bools) % 2)
		rbuf_bytes(&r, 1, &pad);
	rbuf_bytes(&r, (size_t)t->nums * t->width, &t->num);
	rbuf_bytes(&r, (size_t)t->strs * 2, &t->off);
	rbuf_bytes(&r, t->table, &t->text);
	return r.bad || t->nums <= NUM_PAIRS || t->strs <= STR_SETAB ? -1 : 0;
}

static void put_numbers(struct buf *b, const struct entry *t)
{
	for (unsigned i = 0; i < t->nums; i++) {
		const uint8_t *p = t->num + i * t->width;
		uint32_t v = (uint32_t)p[0] | (uint32_t)p[1] << 8;

		if (t->width == 4)
			v |= (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
		else if (v >= 0x8000)
			v |= 0xffff0000u; /* absent, cancelled */
		buf_u32(b, i == NUM_COLORS ? 1u << 24 : i == NUM_PAIRS ? 1u << 16 : v);
	}
}

char *direct_entry(const uint8_t *entry, size_t n)
{
	static const char setaf[] = COLOR_STRING("3"), setab[] = COLOR_STRING("4");
	struct entry t;
	struct buf b;
	char *hex = NULL;

	if (entry_read(&t, entry, n) < 0 || t.table + sizeof(setaf) + sizeof(setab) > 0x7fff)
		return NULL;
	buf_init(&b, ENTRY_MAX);
	buf_u16(&b, MAGIC_32);
	buf_u16(&b, t.names);
	buf_u16(&b, t.bools);
	buf_u16(&b, t.nums);
	buf_u16(&b, t.strs);
	buf_u16(&b, (uint16_t)(t.table + sizeof(setaf) + sizeof(setab)));
	buf_put(&b, t.name, t.names);
	buf_put(&b, t.boolean, t.bools);
	if ((t.names + t.bools) % 2)
		buf_u8(&b, 0);
	put_numbers(&b, &t);
	for (unsigned i = 0; i < t.strs; i++) {
		const uint16_t at = (uint16_t)(t.off[2 * i] | t.off[2 * i + 1] << 8);

		buf_u16(&b, i == STR_SETAF ? t.table : i == STR_SETAB ? (uint16_t)(t.table + sizeof(setaf)) : at);
	}
	buf_put(&b, t.text, t.table);
	buf_put(&b, setaf, sizeof(setaf));
	buf_put(&b, setab, sizeof(setab));
	if (buf_size(&b) % 2)
		buf_u8(&b, 0);
	/* One extended boolean: counts of booleans, numbers, strings, items in the table, the table's size; the value; its name. */
	const uint16_t ext[] = { 1, 0, 0, 1, 4 };
	for (size_t i = 0; i < ARRAY_SIZE(ext); i++)
		buf_u16(&b, ext[i]);
	buf_u8(&b, 1);
	buf_u8(&b, 0);
	buf_u16(&b, 0);
	buf_put(&b, "RGB", 4);
	if (buf_ok(&b) && (hex = malloc(4 + 2 * buf_size(&b) + 1))) {
		static const char digits[] = "0123456789abcdef";
		char *p = hex;

		memcpy(p, "hex:", 4);
		p += 4;
		for (size_t i = 0; i < buf_size(&b); i++) {
			*p++ = digits[buf_head(&b)[i] >> 4];
			*p++ = digits[buf_head(&b)[i] & 15];
		}
		*p = '\0';
	}
	buf_release(&b);
	return hex;
}

char *direct_terminfo(const char *term)
{
	const char *home = getenv("HOME"), *own = getenv("TERMINFO");
	AUTO_FREE char *mine = home ? str_fmt("%s/.terminfo", home) : NULL;
	const char *const dirs[] = { own && own[0] == '/' ? own : NULL, mine, "/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo",
		"/usr/local/share/terminfo" };
	char *hex = NULL;

	if (!term[0] || strchr(term, '/') || strlen(term) > 60)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(dirs) && !hex; i++) {
		static uint8_t entry[ENTRY_MAX];
		AUTO_FREE char *path = dirs[i] ? str_fmt("%s/%c/%s", dirs[i], term[0], term) : NULL;
		AUTO_FD fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

		if (fd < 0)
			continue;
		const ssize_t n = read(fd, entry, sizeof(entry));
		if (n > 0)
			hex = direct_entry(entry, (size_t)n);
	}
	return hex;
}
