/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the state tree share: JSON with ' for ", and events. */
#ifndef BULKHEAD_TESTS_CLIENT_EVENTS_H
#define BULKHEAD_TESTS_CLIENT_EVENTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/client/model.h"

static inline json_t *parse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static inline json_t *parse(const char *fmt, ...)
{
	char text[8192];
	va_list ap;
	json_error_t je;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	json_t *j = json_loads(text, 0, &je);
	if (!j)
		fail_msg("%s: %s", je.text, text);
	return j;
}

static inline void event(struct model *m, json_t *j)
{
	model_event(m, j);
	json_decref(j);
}

#endif
