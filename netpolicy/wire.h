/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte stream in clear or inside TLS, the same to its user: bounded both ways, back-pressure through and through, each direction ending by
 * itself. TLS works on the stream's own buffers; OpenSSL never sees a socket.
 *
 * In: on_read sees all that is there and consumes what it can; what it leaves is offered again when more comes or after wire_kick(). Out:
 * append to wire_out() at most wire_room() bytes (a head of up to 128 KiB may go beyond), then wire_flush(); wire_want_room() asks for on_room. Callbacks come from the loop
 * only, one at a time, and may call anything here, wire_close() included.
 */
#ifndef BULKHEAD_NETPOLICY_WIRE_H
#define BULKHEAD_NETPOLICY_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "core/loop/stream.h"
#include "netpolicy/tls.h"

#define WIRE_BUFFER (64u * 1024u) /* least in_max and out_max of a stream given here; bytes of a direction */

struct wire;

struct wire_ops {
	void (*on_open)(void *arg);                   /* TLS is established; in clear on the first turn */
	void (*on_read)(void *arg, struct buf *in);
	void (*on_eof)(void *arg, bool clean);        /* nothing more will come (what was left in `in` stays); clean: not cut off */
	void (*on_room)(void *arg);
	void (*on_closed)(void *arg, int why, const char *text); /* 0 both directions ended, else -errno and a phrase; once; nothing follows */
};

/* All take the stream in any case. 0 or -ENOMEM. */
int wire_open_clear(struct wire **out, uv_loop_t *loop, struct stream **s, const struct wire_ops *ops, void *arg);
/* Toward the guest, as `name`. `h2`: offer it. */
int wire_open_server(struct wire **out, uv_loop_t *loop, struct stream **s, struct tls_env *env, X509 *leaf, const char *name, bool h2,
		     const struct wire_ops *ops, void *arg);
/* Toward upstream: verified against the roots for `name` (a literal address: for that). What is written is wiped behind itself. */
int wire_open_client(struct wire **out, uv_loop_t *loop, struct stream **s, struct tls_env *env, const char *name, bool literal, bool h2,
		     const struct wire_ops *ops, void *arg);
bool wire_is_h2(const struct wire *w);
struct buf *wire_in(struct wire *w);
struct buf *wire_out(struct wire *w);
size_t wire_room(const struct wire *w);
size_t wire_pending(const struct wire *w); /* bytes not sent yet */
void wire_flush(struct wire *w);
void wire_want_room(struct wire *w);
void wire_reading(struct wire *w, bool on);
void wire_kick(struct wire *w);
/* Gives back what empty buffers hold: for a connection that will be quiet for long. */
void wire_rest(struct wire *w);
/* Sends the rest, says goodbye, ends our direction. */
void wire_shutdown(struct wire *w);
/* As that, but inside TLS without the goodbye: the peer must not take what it has for the whole. */
void wire_cut(struct wire *w);
/* At once, no callback; *w = NULL; NULL is fine. */
void wire_close(struct wire **w);

#endif
