/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/ca.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "core/base/str.h"

#define SERIAL_BYTES 16
#define PEM_MAX (64u * 1024u)

struct ca {
	EVP_PKEY *key;
	X509 *cert;
	char who[96];
};

/* id-ecPublicKey, prime256v1, a bit string of 66 bytes, an uncompressed point: what stands before X and Y. */
static const uint8_t spki_head[CA_SPKI - 64] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
						 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04 };

static int no(struct err *e, const char *what)
{
	return err_set(e, EIO, "cannot make %s: libcrypto refused", what);
}

/* ---- pieces of a certificate --------------------------------------------------------------------------------------------------------- */

static bool set_serial(X509 *x)
{
	uint8_t b[SERIAL_BYTES];

	/* Positive and of full length (RFC 5280, 4.1.2.2: at most 20 octets). */
	if (RAND_bytes(b, sizeof(b)) != 1)
		return false;
	b[0] = (uint8_t)((b[0] & 0x7f) | 0x40);
	BIGNUM *n = BN_bin2bn(b, sizeof(b), NULL);
	bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
	BN_free(n);
	return ok;
}

static bool set_times(X509 *x, int64_t from, int64_t to)
{
	return ASN1_TIME_set(X509_getm_notBefore(x), (time_t)from) && ASN1_TIME_set(X509_getm_notAfter(x), (time_t)to);
}

static bool add_text(X509_NAME *n, const char *field, const char *text)
{
	return X509_NAME_add_entry_by_txt(n, field, MBSTRING_UTF8, (const unsigned char *)text, -1, -1, 0) == 1;
}

static bool extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	X509V3_set_ctx_nodb(&ctx);
	X509_EXTENSION *ext = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
	bool ok = ext && X509_add_ext(x, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

/* ---- the authority ------------------------------------------------------------------------------------------------------------------- */

int ca_renew(struct ca *ca, int64_t now, struct err *e)
{
	X509 *x = X509_new();
	X509_NAME *n = x ? X509_get_subject_name(x) : NULL;
	char cn[160];

	snprintf(cn, sizeof(cn), "Bulkhead CA (%s)", ca->who);
	/* Renewed under the name it has: guests that trust the old certificate go on with what the same key signs. */
	bool named = ca->cert ? X509_set_subject_name(x, X509_get_subject_name(ca->cert)) == 1 : n && add_text(n, "O", "Bulkhead") && add_text(n, "CN", cn);
	bool ok = x && named && X509_set_version(x, X509_VERSION_3) && set_serial(x) &&
		  set_times(x, now - CA_SKEW_S, now + (int64_t)CA_YEARS * 365 * 86400) && X509_set_issuer_name(x, X509_get_subject_name(x)) &&
		  X509_set_pubkey(x, ca->key) && extend(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
		  extend(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") && extend(x, x, NID_subject_key_identifier, "hash") &&
		  X509_sign(x, ca->key, EVP_sha256()) > 0;
	if (!ok) {
		X509_free(x);
		return no(e, "the authority's certificate");
	}
	X509_free(ca->cert);
	ca->cert = x;
	return 0;
}

static struct ca *empty(const char *who)
{
	struct ca *ca = calloc(1, sizeof(*ca));

	/* A name may have 64 characters (RFC 5280, ub-common-name), and ours has some of its own. */
	if (ca && !str_copy(ca->who, 48, who))
		ca->who[44] = '\0';
	return ca;
}

int ca_create(struct ca **out, const char *who, int64_t now, struct err *e)
{
	struct ca *ca = empty(who);

	*out = NULL;
	if (!ca)
		return err_set(e, ENOMEM, "out of memory");
	ca->key = EVP_EC_gen("P-256");
	int r = ca->key ? ca_renew(ca, now, e) : no(e, "a key");
	if (r)
		ca_destroy(ca);
	else
		*out = ca;
	return r;
}

static bool is_p256(const EVP_PKEY *key)
{
	char group[32] = "";

	return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 && !strcmp(group, SN_X9_62_prime256v1);
}

int ca_load(struct ca **out, const struct buf *key, const struct buf *cert, const char *who, int64_t now, struct err *e)
{
	struct ca *ca = empty(who);
	BIO *b = ca ? BIO_new_mem_buf(buf_head(key), (int)buf_size(key)) : NULL;
	int r = 0;

	*out = NULL;
	if (b)
		ca->key = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
	BIO_free(b);
	if (!ca || !ca->key || !is_p256(ca->key))
		r = err_set(e, EBADMSG, "there is no EC P-256 key in it");
	b = !r && cert ? BIO_new_mem_buf(buf_head(cert), (int)buf_size(cert)) : NULL;
	if (b)
		ca->cert = PEM_read_bio_X509(b, NULL, NULL, NULL);
	BIO_free(b);
	if (!r && ca->cert && (X509_check_private_key(ca->cert, ca->key) != 1 || X509_check_ca(ca->cert) != 1)) {
		X509_free(ca->cert);
		ca->cert = NULL;
	}
	if (!r && !ca->cert)
		r = ca_renew(ca, now, e);
	if (r)
		ca_destroy(ca);
	else
		*out = ca;
	return r;
}

static int64_t ends_at(const X509 *x)
{
	struct tm tm;

	return ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

bool ca_due(const struct ca *ca, int64_t now)
{
	return ends_at(ca->cert) - now < CA_RENEW_S;
}

static int take_bio(BIO *b, bool written, struct buf *out)
{
	char *p = NULL;
	long n = b ? BIO_get_mem_data(b, &p) : 0;
	int r = written && n > 0 ? buf_put(out, p, (size_t)n) : -ENOMEM;

	if (n > 0)
		explicit_bzero(p, (size_t)n);
	BIO_free(b);
	return r;
}

int ca_key_pem(const struct ca *ca, struct buf *out)
{
	BIO *b = BIO_new(BIO_s_secmem());

	return take_bio(b, b && PEM_write_bio_PrivateKey(b, ca->key, NULL, NULL, 0, NULL, NULL) == 1, out);
}

int ca_cert_pem(const struct ca *ca, struct buf *out)
{
	BIO *b = BIO_new(BIO_s_mem());

	return take_bio(b, b && PEM_write_bio_X509(b, ca->cert) == 1, out);
}

void ca_destroy(struct ca *ca)
{
	if (!ca)
		return;
	EVP_PKEY_free(ca->key); /* wipes the private number */
	X509_free(ca->cert);
	free(ca);
}

/* ---- leaves -------------------------------------------------------------------------------------------------------------------------- */

/* Their one encoding; then that the point lies on the curve. */
static EVP_PKEY *public_key(const uint8_t *spki, size_t n)
{
	const unsigned char *p = spki;

	if (n != CA_SPKI || memcmp(spki, spki_head, sizeof(spki_head)))
		return NULL;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &p, (long)n);
	EVP_PKEY_CTX *ctx = key ? EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL) : NULL;
	bool ok = ctx && p == spki + n && EVP_PKEY_public_check(ctx) == 1;
	EVP_PKEY_CTX_free(ctx);
	if (!ok) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

/* The name is the subject's too where it fits (64 characters); else the subject is empty and the alternative name critical. */
static bool add_name(X509 *x, const char *name)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_STRING *s = NULL;
	unsigned char ip[16];
	int nip = inet_pton(AF_INET, name, ip) == 1 ? 4 : inet_pton(AF_INET6, name, ip) == 1 ? 16 : 0;
	bool fits = strlen(name) <= 64, ok = names && g;

	if (ok) {
		s = nip ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
		ok = s && ASN1_STRING_set(s, nip ? (const void *)ip : name, nip ? nip : -1);
	}
	if (ok) {
		GENERAL_NAME_set0_value(g, nip ? GEN_IPADD : GEN_DNS, s);
		s = NULL;
		ok = sk_GENERAL_NAME_push(names, g) > 0;
		if (ok)
			g = NULL;
	}
	ok = ok && (!fits || add_text(X509_get_subject_name(x), "CN", name)) && X509_add1_ext_i2d(x, NID_subject_alt_name, names, !fits, 0) == 1;
	ASN1_STRING_free(s);
	GENERAL_NAME_free(g);
	GENERAL_NAMES_free(names);
	return ok;
}

int ca_leaf(const struct ca *ca, const char *name, const uint8_t *spki, size_t nspki, int64_t now, uint8_t *der, size_t cap, size_t *nder,
	    struct err *e)
{
	EVP_PKEY *key = public_key(spki, nspki);
	int64_t to = now + CA_LEAF_S, end = ends_at(ca->cert);

	*nder = 0;
	if (!key)
		return err_set(e, EINVAL, "the key for '%s' is no P-256 key", name);
	X509 *x = X509_new();
	bool ok = x && X509_set_version(x, X509_VERSION_3) && set_serial(x) && set_times(x, now - CA_SKEW_S, to < end ? to : end) &&
		  X509_set_issuer_name(x, X509_get_subject_name(ca->cert)) && X509_set_pubkey(x, key) && add_name(x, name) &&
		  extend(x, ca->cert, NID_basic_constraints, "critical,CA:FALSE") && extend(x, ca->cert, NID_key_usage, "critical,digitalSignature") &&
		  extend(x, ca->cert, NID_ext_key_usage, "serverAuth") && extend(x, ca->cert, NID_subject_key_identifier, "hash") &&
		  extend(x, ca->cert, NID_authority_key_identifier, "keyid:always") && X509_sign(x, ca->key, EVP_sha256()) > 0;
	int n = ok ? i2d_X509(x, NULL) : -1;
	int r = n > 0 && (size_t)n <= cap ? 0 : no(e, "a leaf certificate");
	if (!r) {
		i2d_X509(x, &der);
		*nder = (size_t)n;
	}
	X509_free(x);
	EVP_PKEY_free(key);
	return r;
}
