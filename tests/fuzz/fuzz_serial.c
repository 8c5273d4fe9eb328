/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/devices/serial.c: any access in any order, input and output in between; the scratch register holds to the end. */
#include "vmm/devices/serial.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct serial s;
	uint8_t out[64];

	serial_init(&s, -1, NULL, NULL);
	for (size_t i = 0; i + 1 < n; i += 2) {
		if (p[i] & 0x80)
			serial_give(&s, p + i, n - i < 40 ? n - i : 40);
		else if (p[i] & 0x40)
			MUST(serial_take(&s, out, sizeof(out)) <= sizeof(out));
		else if (p[i] & 0x20)
			serial_read(&s, p[i] & 7);
		else
			serial_write(&s, p[i] & 7, p[i + 1]);
		MUST(s.in_n <= SERIAL_IN_MAX && s.out_n <= SERIAL_OUT_MAX);
	}
	serial_write(&s, 7, 0x5a);
	MUST(serial_read(&s, 7) == 0x5a && (serial_read(&s, 5) & 0x60) == 0x60);
	serial_release(&s);
	return 0;
}
