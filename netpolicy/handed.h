/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that conn.c hands on: TLS to be opened, HTTP in clear, and refusals in words. This file joins what conn.c knows (rules, questions,
 * upstream, records) with opened.h, which knows HTTP and TLS and nothing of these.
 */
#ifndef BULKHEAD_NETPOLICY_HANDED_H
#define BULKHEAD_NETPOLICY_HANDED_H

#include <stdbool.h>

#include "core/base/err.h"
#include "core/proto/net.h"

struct conn;
struct handed;
struct net;

/* Roots, key, credentials' store: before the process is sealed. */
int handed_init(struct net *n, struct err *e);
void handed_release(struct net *n);
/* A credential is for this connection's name: TLS is opened for it. */
bool handed_wants(const struct conn *c);
/* Takes the connection over, guest's stream and all; what it does further it does by conn_record() and ends in conn_end(). 0 or -errno (nothing done). */
int handed_open(struct conn *c);
/* The same, to answer every request with a refusal (c->verdict says why). */
int handed_deny(struct conn *c);
/* The rules have changed: of its connections to the server those end whose address is refused now. */
void handed_ruled(struct handed *h);
/* Decisions that waited for the brake are made, on the next turn. */
void handed_unbraked(struct handed *h);
void handed_close(struct handed **h);
/* Bytes from and to the guest so far. */
void handed_count(const struct handed *h, uint64_t *in, uint64_t *out);
/* What the supervisor sends. */
void handed_secret(struct net *n, const struct net_secret *s);
void handed_secret_gone(struct net *n, uint32_t id);
void handed_leaf(struct net *n, const struct net_leaf *l);

#endif
