/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all TLS of this process shares: the roots it trusts, its one EC P-256 key, the leaf certificates the supervisor's signer made for that
 * key. Connections are wires (wire.h).
 *
 * Everything OpenSSL reads from files is read by tls_roots_load() and tls_env_create(), before the process seals itself. TLS 1.2 and 1.3 only,
 * no renegotiation, no compression, no tickets. The CA's key is not here. Of one thread, the loop's.
 */
#ifndef BULKHEAD_NETPOLICY_TLS_H
#define BULKHEAD_NETPOLICY_TLS_H

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "core/base/err.h"
#include "core/proto/net.h"

#define TLS_LEAVES_MAX 1024u  /* certificates kept; the one longest unused goes */
#define TLS_LEAF_ASKS_MAX 64u /* asked for at once; more fail */

struct tls_env;

/*
 * The system's roots ($SSL_CERT_FILE, else the bundle where distributions keep it) and those of ca_file (PEM; "" or NULL none).
 * 0 and *out (caller's, X509_STORE_free), -ENOENT with a sentence when there is no root at all, -EINVAL ca_file cannot be read.
 */
int tls_roots_load(X509_STORE **out, const char *ca_file, struct err *e);

/* `ask` sends NET_LEAF_ASK; its answer comes back in tls_leaf_answer(). Borrows `roots` (takes a reference). 0 or -errno with a sentence. */
int tls_env_create(struct tls_env **out, X509_STORE *roots, void (*ask)(void *arg, const struct net_leaf_ask *m), void *arg, struct err *e);
void tls_env_destroy(struct tls_env **env); /* no wire and no leaf_wait may be left */

/* One who waits for a leaf; embedded in its owner. Zeroed: waits for nothing. */
struct leaf_wait {
	void (*fn)(void *arg, X509 *leaf); /* leaf NULL: refused or no answer possible; else borrowed for the call */
	void *arg;
	struct leaf_wait *next;
	void *entry;
};
/* fn is called once, from here when the leaf is at hand, or later. */
void tls_leaf_get(struct tls_env *env, const char *name, struct leaf_wait *w, void (*fn)(void *arg, X509 *leaf), void *arg);
void tls_leaf_cancel(struct leaf_wait *w);
/* What the supervisor answered; unknown tokens and certificates that are not of our key are dropped (the waiting get NULL). */
void tls_leaf_answer(struct tls_env *env, const struct net_leaf *m);

/* For wire.c: a connection's SSL, in accept or connect state, without BIOs; NULL out of memory. */
SSL *tls_server_new(struct tls_env *env, X509 *leaf, const char *name, bool h2);
SSL *tls_client_new(struct tls_env *env, const char *name, bool literal, bool h2);

#endif
