/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's serial console into its log, with a cap; the last lines are kept, and a kernel's panic is noticed. */
#ifndef BULKHEAD_VMM_CONSOLE_H
#define BULKHEAD_VMM_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define CONSOLE_CAP (8u << 20) /* bytes of the log; then it starts over with a line that says so */
#define CONSOLE_LINE_MAX 512u

struct console;

/* Takes both descriptors: the machine's end of the serial line and the log. */
int console_open_take(struct console **out, uv_loop_t *loop, int line_fd, int log_fd);
/* Reads what is still there (the machine has ended). */
void console_finish(struct console *c);
/* The panic's sentence, scrubbed, or NULL when the kernel did not panic. */
/* fn is called once, from the loop, when a panic's line was read. */
void console_on_panic(struct console *c, void (*fn)(void *arg), void *arg);
const char *console_panic(const struct console *c);
/* The last line that is not empty, scrubbed; "" when there was none. */
const char *console_last(const struct console *c);
void console_close(struct console **c);

#endif
