/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate authority for tests: what the supervisor's signer does for bulkhead-net. */
#ifndef BULKHEAD_TESTS_NETPOLICY_CA_H
#define BULKHEAD_TESTS_NETPOLICY_CA_H

#include <openssl/x509.h>

#include "core/proto/net.h"

struct test_ca {
	EVP_PKEY *key;
	X509 *cert;
	long serial;
};

void test_ca_init(struct test_ca *ca);
void test_ca_release(struct test_ca *ca);
/* For `name`, signed by ca; the caller's. */
X509 *test_ca_sign(struct test_ca *ca, EVP_PKEY *key, const char *name);
/* The answer to a question; without certificate when `refuse`. */
void test_ca_answer(struct test_ca *ca, const struct net_leaf_ask *m, bool refuse, struct net_leaf *answer);

#endif
