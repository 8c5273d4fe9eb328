/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/netpolicy/ca.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>

static X509 *certificate(struct test_ca *ca, EVP_PKEY *key, const char *name, bool root)
{
	X509 *c = X509_new();
	X509V3_CTX ctx;
	char san[300];
	X509_NAME *subject = X509_NAME_new();

	X509_set_version(c, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(c), ++ca->serial);
	X509_gmtime_adj(X509_getm_notBefore(c), -60);
	X509_gmtime_adj(X509_getm_notAfter(c), 86400);
	X509_set_pubkey(c, key);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_subject_name(c, subject);
	X509_set_issuer_name(c, root ? subject : X509_get_subject_name(ca->cert));
	X509_NAME_free(subject);
	X509V3_set_ctx(&ctx, root ? c : ca->cert, c, NULL, NULL, 0);
	snprintf(san, sizeof(san), "DNS:%s", name);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, root ? NID_basic_constraints : NID_subject_alt_name, root ? "critical,CA:TRUE" : san);
	X509_add_ext(c, e, -1);
	X509_EXTENSION_free(e);
	X509_sign(c, ca->key, EVP_sha256());
	return c;
}

void test_ca_init(struct test_ca *ca)
{
	ca->serial = 0;
	ca->key = EVP_EC_gen("P-256");
	ca->cert = certificate(ca, ca->key, "a test's CA", true);
}

void test_ca_release(struct test_ca *ca)
{
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
}

X509 *test_ca_sign(struct test_ca *ca, EVP_PKEY *key, const char *name)
{
	return certificate(ca, key, name, false);
}

void test_ca_answer(struct test_ca *ca, const struct net_leaf_ask *m, bool refuse, struct net_leaf *answer)
{
	const unsigned char *p = m->key;
	unsigned char *d = answer->cert;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &p, m->nkey);

	memset(answer, 0, sizeof(*answer));
	answer->token = m->token;
	if (key && !refuse) {
		X509 *c = test_ca_sign(ca, key, m->name);

		if (i2d_X509(c, NULL) <= (int)sizeof(answer->cert))
			answer->ncert = (uint16_t)i2d_X509(c, &d);
		X509_free(c);
	}
	EVP_PKEY_free(key);
}
