/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/qmp.c: a line of QEMU's monitor. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#include "core/base/utf8.h"
#include "vmm/qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct qmp_line line;

	memset(&line, 0xa5, sizeof(line));
	const int rc = qmp_parse((const char *)p, n, &line);
	MUST(rc == 0 || rc == -EBADMSG);
	if (rc < 0)
		return 0;
	MUST(line.kind <= QMP_OTHER);
	MUST(memchr(line.name, 0, sizeof(line.name)) && memchr(line.text, 0, sizeof(line.text)));
	MUST(utf8_clean(line.name) && utf8_clean(line.text));
	return 0;
}
