/* SPDX-License-Identifier: Apache-2.0 */
/* guest/http.c: the head of an answer on docker's socket. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "guest/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	int status = -1;
	size_t body = SIZE_MAX;
	const int rc = http_parse((const char *)p, n, &status, &body);

	MUST(rc == 0 || rc == -EBADMSG);
	if (rc == 0)
		MUST(body <= n && status >= 0 && status <= 999);
	return 0;
}
