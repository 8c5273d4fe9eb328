/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sandbox trusts: the host's bundle of root certificates (agent.h, AGENT_TRUST) becomes the system's.
 *
 *   /etc/ssl/certs/ca-certificates.crt             the bundle and the sandbox's own additions: openssl, gnutls, git, curl, python, go, docker
 *   /usr/local/share/ca-certificates/bulkhead/     those that Debian's package has not: update-ca-certificates keeps them, java's hook takes them
 *   TRUST_EXTRA                                    the same in one file: node's NODE_EXTRA_CA_CERTS, and what containers get (runc.h)
 *   trust_env[]                                    variables every session has, for programs that bring a store of their own
 */
#ifndef BULKHEAD_GUEST_TRUST_H
#define BULKHEAD_GUEST_TRUST_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/rbuf.h"

#define TRUST_DIR "/run/bulkhead/trust"
#define TRUST_EXTRA TRUST_DIR "/extra.pem"
#define TRUST_BUNDLE "/etc/ssl/certs/ca-certificates.crt"

struct trust_var { const char *name, *value; };
extern const struct trust_var trust_env[];
extern const size_t trust_env_n;

/* The files that sessions' variables name are there from now on. */
void trust_init(void);
/* A piece of the host's; the last one installs what came. */
void trust_piece(struct rbuf *r);

/*
 * The next certificate of a PEM text from *at on: its begin (with the armor) and length, *at behind it; false when there is none. Pure.
 * Text between certificates is passed over.
 */
bool trust_next(const char *p, size_t n, size_t *at, size_t *begin, size_t *len);

#endif
