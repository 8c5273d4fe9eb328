/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate before libfuse. libfuse trusts the kernel that speaks to it: it reads a request's struct, name and data without looking at how many
 * bytes came. Ours comes from a guest. So every request is first measured here against what its opcode must look like, to the byte;
 * what does not fit is answered with an error and libfuse never sees it. Pure. Source: linux/fuse.h, protocol 7.31 to 7.38.
 */
#ifndef BULKHEAD_WORKSPACE_CHECK_H
#define BULKHEAD_WORKSPACE_CHECK_H

#include <stddef.h>
#include <stdint.h>

#define CHECK_DATA_MAX (512u * 1024u)            /* of one read or write: what INIT promises the guest's kernel */
#define CHECK_REQUEST_MAX (CHECK_DATA_MAX + 4096u)
#define CHECK_REPLY_MAX (CHECK_DATA_MAX + 4096u)
#define CHECK_HEAD 40u                           /* sizeof(struct fuse_in_header) */
#define CHECK_NAME_MAX 255u
#define CHECK_FORGETS_MAX ((CHECK_REQUEST_MAX - CHECK_HEAD - 8) / 16) /* as many as a request holds: the kernel fills it */

enum check {
	CHECK_PASS,   /* hand it on */
	CHECK_DROP,   /* nothing to do and nothing to answer (INTERRUPT: everything is answered at once; DESTROY) */
	CHECK_REFUSE, /* answer with an error: *error */
	CHECK_SETXATTR /* whole and well-formed; the caller handles it (libfuse 3.14 misreads it) */
};

struct check_setxattr { const char *name; const uint8_t *value; uint32_t size, flags; };

/* Length of the request that begins at p: 0 more bytes are needed to know, -EBADMSG not a possible one, else CHECK_HEAD..CHECK_REQUEST_MAX. */
long check_length(const uint8_t *p, size_t n);
/*
 * p[0..n) is one request, n = its length, p aligned to 8; an INIT is rewritten to what we speak. `began`: INIT was seen.
 * `beside`: a WRITE's contents are not in the request but elsewhere, where so many fit; 0 they are in it. *error is a positive errno.
 */
enum check check_request(uint8_t *p, size_t n, int began, size_t beside, int *error, struct check_setxattr *x);

#endif
