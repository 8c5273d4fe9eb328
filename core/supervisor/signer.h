/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificate authority of this installation and the leaves it makes. Its key (EC P-256) lies in STATE/ca/key.pem, mode 0600, and is
 * nowhere else: bulkhead-net sends the public key it made and gets a certificate. No foreign ASN.1 is parsed: the one form of a P-256
 * SubjectPublicKeyInfo is compared byte by byte. The loop's thread only; a leaf takes some tenths of a millisecond.
 */
#ifndef BULKHEAD_SUPERVISOR_SIGNER_H
#define BULKHEAD_SUPERVISOR_SIGNER_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/proto/net.h"

struct signer;
struct super;

#define SIGNER_BUNDLE_MAX (2u << 20)

/*
 * A leaf for ask->name over ask->key, good for some days; the same again for the same key and name while it has half its life. The key and
 * certificate of the authority are made at the first call ever, the certificate renewed (same key, same name: guests go on trusting)
 * before its end. The caller limits the rate. 0; -EINVAL for a key or name that is none; -errno with a sentence. `out` has the token always.
 */
int signer_leaf(struct super *su, const struct net_leaf_ask *ask, struct net_leaf *out, struct err *e);
/*
 * What a guest shall trust, appended as PEM: the certificates of the host's own store (roots added there included), those of
 * config.yaml's ca_file, and ours last. `out`
 * needs a maximum of SIGNER_BUNDLE_MAX. A host without a store is told in the lifecycle log; ours is given alone then.
 */
int signer_bundle(struct super *su, struct buf *out, struct err *e);
/* Ours alone, as PEM: for tools. */
int signer_ca_pem(struct super *su, struct buf *out, struct err *e);
/* Wipes the key. NULL is fine. */
void signer_release(struct super *su);

#endif
