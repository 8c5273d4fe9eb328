/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/escape.h"

#include <errno.h>
#include <string.h>

#include "core/base/utf8.h"

/* Bytes at p that may stay (a whole character), 0: the first one is to be escaped. */
static size_t plain(const uint8_t *p, size_t n, bool line)
{
	uint32_t cp;

	if (p[0] < 0x80)
		return (p[0] >= 0x20 && p[0] != 0x7f) || (line && p[0] == '\t');
	const size_t used = utf8_decode(p, n, &cp, NULL);
	/* U+FFFD itself is three bytes; a decoder's answer to bytes that are none has them different. */
	if (cp == 0xfffd && !(used == 3 && p[0] == 0xef && p[1] == 0xbf && p[2] == 0xbd))
		return 0;
	return cp < 0xa0 || utf8_is_format(cp) ? 0 : used;
}

static void octal(struct buf *b, uint8_t c)
{
	const char text[4] = { '\\', (char)('0' + (c >> 6)), (char)('0' + (c >> 3 & 7)), (char)('0' + (c & 7)) };

	buf_put(b, text, sizeof(text));
}

static void escape(struct buf *b, const uint8_t *p, size_t n, bool line)
{
	for (size_t i = 0, used; i < n; i += used) {
		used = p[i] == '\\' ? 0 : plain(p + i, n - i, line);
		if (used > 0) {
			buf_put(b, p + i, used);
		} else {
			octal(b, p[i]);
			used = 1;
		}
	}
}

bool escape_bytes(struct buf *b, const void *p, size_t n)
{
	escape(b, p, n, false);
	return buf_ok(b);
}

bool escape_line(struct buf *b, const void *p, size_t n)
{
	const uint8_t *bytes = p;

	for (size_t i = 0, used; i < n; i += used)
		if ((used = plain(bytes + i, n - i, true)) == 0) {
			escape(b, bytes, n, true);
			return true;
		}
	buf_put(b, p, n);
	return false;
}

bool escape_text(char *dst, size_t cap, const void *p, size_t n)
{
	struct buf b;

	buf_init(&b, 4 * n + 1);
	escape(&b, p, n, false);
	size_t len = buf_ok(&b) ? buf_size(&b) : 0;
	const bool fits = buf_ok(&b) && len < cap;
	if (len >= cap)
		len = cap - 1;
	if (len > 0)
		memcpy(dst, buf_head(&b), len);
	dst[len] = '\0';
	buf_release(&b);
	return fits;
}

int escape_undo(char *dst, size_t cap, const char *text)
{
	size_t at = 0;

	for (const char *p = text; *p; at++) {
		if (at + 1 >= cap)
			return -ENAMETOOLONG;
		if (*p != '\\') {
			dst[at] = *p++;
			continue;
		}
		if (p[1] < '0' || p[1] > '3' || p[2] < '0' || p[2] > '7' || p[3] < '0' || p[3] > '7')
			return -EINVAL;
		dst[at] = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
		p += 4;
	}
	dst[at] = '\0';
	return (int)at;
}
