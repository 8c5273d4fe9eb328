/* SPDX-License-Identifier: Apache-2.0 */
/*
 * X.509 of the signer, without files (RFC 5280): an authority of one EC P-256 key, leaves for names. Nothing foreign is parsed but the
 * authority's own two PEM texts. Not thread-safe.
 */
#ifndef BULKHEAD_SUPERVISOR_CA_H
#define BULKHEAD_SUPERVISOR_CA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

#define CA_YEARS 5
#define CA_RENEW_S (INT64_C(120) * 86400)  /* renewed when less than this is left */
#define CA_LEAF_S (INT64_C(7) * 86400)
#define CA_SKEW_S INT64_C(3600)            /* a certificate begins so long before now */
#define CA_SPKI 91u                        /* bytes of a P-256 SubjectPublicKeyInfo with an uncompressed point */

struct ca; /* key and certificate */

/* All return 0 or -errno with a sentence. `now` is seconds since the epoch. */
int ca_create(struct ca **out, const char *who, int64_t now, struct err *e); /* who: "user@host", becomes part of its name */
/* -EBADMSG when the texts are no key and certificate of ours that belong together; cert may be NULL: made anew for the key. */
int ca_load(struct ca **out, const struct buf *key, const struct buf *cert, const char *who, int64_t now, struct err *e);
/* A new certificate for the same key under the same name. */
int ca_renew(struct ca *ca, int64_t now, struct err *e);
bool ca_due(const struct ca *ca, int64_t now);
int ca_key_pem(const struct ca *ca, struct buf *out);   /* wipe it */
int ca_cert_pem(const struct ca *ca, struct buf *out);
/* DER of a leaf for `name` (checked by the caller: net_name_legal() or an address' text) over that key; -EINVAL for another kind of key. */
int ca_leaf(const struct ca *ca, const char *name, const uint8_t *spki, size_t nspki, int64_t now, uint8_t *der, size_t cap, size_t *nder,
	    struct err *e);
void ca_destroy(struct ca *ca); /* NULL is fine; the key is wiped */

#endif
