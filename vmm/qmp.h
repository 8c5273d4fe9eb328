/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's monitor protocol (docs/interop/qmp-spec in QEMU), the little of it we need. QEMU executes guest code, so what it says is
 * treated as foreign: lines of at most QMP_LINE_MAX, unknown members ignored.
 */
#ifndef BULKHEAD_VMM_QMP_H
#define BULKHEAD_VMM_QMP_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "core/base/err.h"

#define QMP_LINE_MAX (64u * 1024u)

struct qmp;

struct qmp_ops {
	/* name "STOP", "RESUME", "SHUTDOWN", "BLOCK_IO_ERROR", ...; reason is data.reason or "" */
	void (*on_event)(void *arg, const char *name, const char *reason);
	void (*on_error)(void *arg, const char *why); /* a command was refused, or the connection is broken */
};

int qmp_open_take(struct qmp **out, uv_loop_t *loop, int fd, const struct qmp_ops *ops, void *arg);
/* A command without arguments: "stop", "cont", "quit", "system_powerdown". */
int qmp_command(struct qmp *q, const char *name);
void qmp_close(struct qmp **q);

/* One line: what it is. Pure, for tests and the fuzzer. */
enum qmp_kind { QMP_GREETING, QMP_RETURN, QMP_ERROR, QMP_EVENT, QMP_OTHER };
struct qmp_line {
	enum qmp_kind kind;
	char name[64];    /* of the event */
	char text[256];   /* reason of an event, description of an error; scrubbed */
};
/* 0 or -EBADMSG. */
int qmp_parse(const char *p, size_t n, struct qmp_line *out);

#endif
