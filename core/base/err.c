/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Ends a message that was cut with an ellipsis, not inside a UTF-8 sequence. */
static void mark_cut(char *msg, size_t cap)
{
	static const char dots[] = "...";
	size_t at = cap - sizeof(dots);

	while (at > 0 && ((unsigned char)msg[at] & 0xc0) == 0x80)
		at--;
	memcpy(msg + at, dots, sizeof(dots));
}

__attribute__((format(printf, 2, 0))) static void format(struct err *e, const char *fmt, va_list ap)
{
	int n = vsnprintf(e->msg, sizeof(e->msg), fmt, ap);

	if (n < 0)
		e->msg[0] = '\0';
	else if ((size_t)n >= sizeof(e->msg))
		mark_cut(e->msg, sizeof(e->msg));
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -code;
	e->code = code;
	va_start(ap, fmt);
	format(e, fmt, ap);
	va_end(ap);
	return -code;
}

int err_errno(struct err *e, int code, const char *fmt, ...)
{
	struct err inner;
	const char *why = strerrordesc_np(code);
	char text[64];
	va_list ap;

	if (!e)
		return -code;
	va_start(ap, fmt);
	format(&inner, fmt, ap);
	va_end(ap);
	if (!why) {
		snprintf(text, sizeof(text), "error %d", code);
		why = text;
	}
	/* The house grammar is lower case. */
	const int lower = why[0] >= 'A' && why[0] <= 'Z' && why[1] >= 'a' && why[1] <= 'z';
	return err_set(e, code, "%s: %c%s", inner.msg, lower ? why[0] - 'A' + 'a' : why[0], why + 1);
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	struct err outer;
	va_list ap;

	if (!e)
		return -1;
	va_start(ap, fmt);
	format(&outer, fmt, ap);
	va_end(ap);
	const struct err inner = *e;
	return err_set(e, inner.code, "%s: %s", outer.msg, inner.msg);
}
