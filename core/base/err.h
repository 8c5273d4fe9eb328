/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors with a sentence.
 *
 * A function that can fail for a reason a person must read takes `struct err *e` last and returns a
 * negative errno. The caller owns the struct (on its stack: nothing is allocated on a failure path).
 * Context is added upward with err_wrap(); only main(), the command line and the JSON layer print.
 *
 * Grammar of a message: lower case, what failed first, the subject in single quotes, then why and,
 * where it helps, what to do next: "cannot open 'disk.img': permission denied".
 */
#ifndef BULKHEAD_BASE_ERR_H
#define BULKHEAD_BASE_ERR_H

struct err {
	int code;      /* positive errno, 0 when nothing failed */
	char msg[512]; /* NUL-terminated, cut with an ellipsis when longer */
};

#define ERR_INIT ((struct err){ 0 })

/* Set code and message; returns -code so that `return err_set(e, EINVAL, "...")` is one line. `e` may be NULL. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* As err_set, with ": <strerror(code)>" after the message. */
int err_errno(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Put "<context>: " in front of the message that is there; returns -e->code. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
