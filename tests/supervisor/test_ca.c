/* SPDX-License-Identifier: Apache-2.0 */
/* The authority and its leaves, judged by OpenSSL's own verification; files, renewal, bundle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include "core/base/atomicfile.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/supervisor/ca.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/signer.h"
#include "core/supervisor/super.h"

#define NOW INT64_C(1790000000)

static size_t spki_of(EVP_PKEY *key, uint8_t *out)
{
	int n = i2d_PUBKEY(key, &out);

	assert_true(n > 0);
	return (size_t)n;
}

static X509 *leaf_of(const struct ca *ca, const char *name, int64_t now)
{
	uint8_t spki[256], der[2048];
	size_t n;
	struct err e = ERR_INIT;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	size_t nspki = spki_of(key, spki);

	assert_int_equal(nspki, CA_SPKI);
	EVP_PKEY_free(key);
	if (ca_leaf(ca, name, spki, nspki, now, der, sizeof(der), &n, &e))
		fail_msg("%s", e.msg);
	const unsigned char *p = der;
	X509 *x = d2i_X509(NULL, &p, (long)n);
	assert_non_null(x);
	assert_ptr_equal(p, der + n);
	return x;
}

static X509 *cert_of(const struct ca *ca)
{
	struct buf b;

	buf_init(&b, 65536);
	assert_int_equal(ca_cert_pem(ca, &b), 0);
	BIO *bio = BIO_new_mem_buf(buf_head(&b), (int)buf_size(&b));
	X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	assert_non_null(x);
	BIO_free(bio);
	buf_release(&b);
	return x;
}

/* As a client does: chain, purpose, name, time, all of RFC 5280 strictly. */
static int verify(X509 *root, X509 *leaf, const char *name, int64_t now)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_VERIFY_PARAM *p;

	X509_STORE_add_cert(store, root);
	X509_STORE_CTX_init(ctx, store, leaf, NULL);
	X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
	p = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_time(p, (time_t)now);
	X509_VERIFY_PARAM_set_flags(p, X509_V_FLAG_X509_STRICT);
	X509_VERIFY_PARAM_set1_host(p, name, 0);
	int r = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return r;
}

static struct ca *make(void)
{
	struct ca *ca;
	struct err e = ERR_INIT;

	if (ca_create(&ca, "ada@engine", NOW, &e))
		fail_msg("%s", e.msg);
	return ca;
}

static void a_leaf_is_trusted_for_its_name_only(void **unused)
{
	struct ca *ca = make(), *other = make();
	X509 *root = cert_of(ca), *stranger = cert_of(other);
	X509 *leaf = leaf_of(ca, "api.example.org", NOW);

	(void)unused;
	assert_int_equal(verify(root, leaf, "api.example.org", NOW), X509_V_OK);
	assert_int_equal(verify(root, leaf, "www.example.org", NOW), X509_V_ERR_HOSTNAME_MISMATCH);
	assert_int_equal(verify(root, leaf, "a.api.example.org", NOW), X509_V_ERR_HOSTNAME_MISMATCH);
	assert_int_not_equal(verify(stranger, leaf, "api.example.org", NOW), X509_V_OK);
	assert_int_equal(verify(root, leaf, "api.example.org", NOW - CA_SKEW_S - 1), X509_V_ERR_CERT_NOT_YET_VALID);
	assert_int_equal(verify(root, leaf, "api.example.org", NOW - CA_SKEW_S + 1), X509_V_OK);
	assert_int_equal(verify(root, leaf, "api.example.org", NOW + CA_LEAF_S - 1), X509_V_OK);
	assert_int_equal(verify(root, leaf, "api.example.org", NOW + CA_LEAF_S + 1), X509_V_ERR_CERT_HAS_EXPIRED);
	/* It is no authority and no client. */
	assert_int_equal(X509_check_ca(leaf), 0);
	assert_int_equal(X509_check_purpose(leaf, X509_PURPOSE_SSL_CLIENT, 0), 0);
	assert_int_equal(X509_get_key_usage(leaf), KU_DIGITAL_SIGNATURE);
	assert_int_equal(X509_get_pathlen(root), 0);
	assert_int_equal(ASN1_OCTET_STRING_cmp(X509_get0_subject_key_id(root), X509_get0_authority_key_id(leaf)), 0);
	X509_free(leaf);
	X509_free(root);
	X509_free(stranger);
	ca_destroy(ca);
	ca_destroy(other);
}

static void long_names_and_addresses(void **unused)
{
	struct ca *ca = make();
	X509 *root = cert_of(ca), *x;
	char name[254] = "";

	(void)unused;
	/* 253 characters: over what a subject's name may hold. */
	for (size_t i = 0; i < 253; i++)
		name[i] = i % 50 == 49 ? '.' : 'a';
	x = leaf_of(ca, name, NOW);
	assert_int_equal(verify(root, x, name, NOW), X509_V_OK);
	assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(x)), 0);
	X509_free(x);
	x = leaf_of(ca, "192.0.2.7", NOW);
	assert_int_equal(X509_check_ip_asc(x, "192.0.2.7", 0), 1);
	assert_int_equal(X509_check_ip_asc(x, "192.0.2.8", 0), 0);
	X509_free(x);
	x = leaf_of(ca, "2001:db8::1", NOW);
	assert_int_equal(X509_check_ip_asc(x, "2001:db8::1", 0), 1);
	X509_free(x);
	X509_free(root);
	ca_destroy(ca);
}

static void serials_differ(void **unused)
{
	struct ca *ca = make();
	X509 *a = leaf_of(ca, "a.example", NOW), *b = leaf_of(ca, "a.example", NOW);
	const ASN1_INTEGER *s = X509_get0_serialNumber(a);

	(void)unused;
	assert_int_not_equal(ASN1_INTEGER_cmp(s, X509_get0_serialNumber(b)), 0);
	assert_int_equal(ASN1_STRING_length(s), 16);
	assert_int_equal(ASN1_STRING_type(s), V_ASN1_INTEGER);
	X509_free(a);
	X509_free(b);
	ca_destroy(ca);
}

static void only_p256_keys(void **unused)
{
	struct ca *ca = make();
	uint8_t spki[1024], der[2048];
	size_t n, out;
	struct err e;

	(void)unused;
	EVP_PKEY *bad[] = { EVP_EC_gen("P-384"), EVP_EC_gen("secp256k1"), EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048),
			    EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_non_null(bad[i]);
		n = spki_of(bad[i], spki);
		e = ERR_INIT;
		assert_int_equal(ca_leaf(ca, "a.example", spki, n, NOW, der, sizeof(der), &out, &e), -EINVAL);
		assert_int_equal(out, 0);
		EVP_PKEY_free(bad[i]);
	}
	EVP_PKEY *good = EVP_EC_gen("P-256");
	n = spki_of(good, spki);
	EVP_PKEY_free(good);
	assert_int_equal(ca_leaf(ca, "a.example", spki, n, NOW, der, sizeof(der), &out, NULL), 0);
	assert_int_equal(ca_leaf(ca, "a.example", spki, n - 1, NOW, der, sizeof(der), &out, NULL), -EINVAL);
	assert_int_equal(ca_leaf(ca, "a.example", spki, n + 1, NOW, der, sizeof(der), &out, NULL), -EINVAL);
	assert_int_equal(ca_leaf(ca, "a.example", spki, 0, NOW, der, sizeof(der), &out, NULL), -EINVAL);
	/* Every byte of the head counts, and the point must lie on the curve. */
	for (size_t i = 0; i < n - 64; i++) {
		spki[i] ^= 1;
		assert_int_equal(ca_leaf(ca, "a.example", spki, n, NOW, der, sizeof(der), &out, NULL), -EINVAL);
		spki[i] ^= 1;
	}
	spki[n - 1] ^= 1;
	assert_int_equal(ca_leaf(ca, "a.example", spki, n, NOW, der, sizeof(der), &out, NULL), -EINVAL);
	memset(spki + n - 64, 0, 64);
	assert_int_equal(ca_leaf(ca, "a.example", spki, n, NOW, der, sizeof(der), &out, NULL), -EINVAL);
	ca_destroy(ca);
}

static void a_renewed_certificate_and_the_old_one_both_serve(void **unused)
{
	struct ca *ca = make();
	X509 *old = cert_of(ca);
	int64_t later = NOW + (int64_t)CA_YEARS * 365 * 86400 - CA_RENEW_S;

	(void)unused;
	assert_false(ca_due(ca, NOW));
	assert_false(ca_due(ca, later - 10));
	assert_true(ca_due(ca, later + 10));
	X509 *before = leaf_of(ca, "a.example", later);
	assert_int_equal(ca_renew(ca, later + 10, NULL), 0);
	assert_false(ca_due(ca, later + 10));
	X509 *fresh = cert_of(ca), *after = leaf_of(ca, "a.example", later + 10);
	assert_int_not_equal(X509_cmp(old, fresh), 0);
	assert_int_equal(verify(old, after, "a.example", later + 20), X509_V_OK);
	assert_int_equal(verify(fresh, after, "a.example", later + 20), X509_V_OK);
	assert_int_equal(verify(fresh, before, "a.example", later + 20), X509_V_OK);
	X509_free(before);
	X509_free(after);
	X509_free(old);
	X509_free(fresh);
	ca_destroy(ca);
}

/* ---- the signer: files --------------------------------------------------------------------------------------------------------------- */

static char dir[64];
static struct super su;
static struct net_leaf_ask ask;

static int setup(void **unused)
{
	struct err e = ERR_INIT;
	EVP_PKEY *key = EVP_EC_gen("P-256");

	(void)unused;
	str_copy(dir, sizeof(dir), "/tmp/bulkhead-ca-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	su = (struct super){ .state = dir };
	ask = (struct net_leaf_ask){ .token = 7, .name = "api.example.org" };
	ask.nkey = (uint16_t)spki_of(key, ask.key);
	EVP_PKEY_free(key);
	return lifelog_init(&su, &e);
}

static int teardown(void **unused)
{
	(void)unused;
	signer_release(&su);
	lifelog_release(&su);
	return path_remove_tree(AT_FDCWD, dir, NULL);
}

static unsigned mode_of(const char *name)
{
	AUTO_FREE char *path = path_join(dir, name);
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 0777;
}

static void made_once_and_kept(void **unused)
{
	struct net_leaf a, b;
	struct err e = ERR_INIT;
	struct buf one, two;

	(void)unused;
	buf_init(&one, 65536);
	buf_init(&two, 65536);
	assert_int_equal(signer_leaf(&su, &ask, &a, &e), 0);
	assert_int_equal(a.token, 7);
	assert_int_equal(mode_of("ca"), 0700);
	assert_int_equal(mode_of("ca/key.pem"), 0600);
	assert_int_equal(signer_ca_pem(&su, &one, &e), 0);
	/* The same again, and another for another name or key. */
	ask.token = 8;
	assert_int_equal(signer_leaf(&su, &ask, &b, &e), 0);
	assert_int_equal(b.token, 8);
	assert_int_equal(b.ncert, a.ncert);
	assert_memory_equal(a.cert, b.cert, a.ncert);
	str_copy(ask.name, sizeof(ask.name), "www.example.org");
	assert_int_equal(signer_leaf(&su, &ask, &b, &e), 0);
	assert_true(b.ncert != a.ncert || memcmp(a.cert, b.cert, a.ncert));
	/* After a restart it is the same authority; a lost certificate is made again for the key. */
	signer_release(&su);
	assert_int_equal(signer_ca_pem(&su, &two, &e), 0);
	assert_int_equal(buf_size(&one), buf_size(&two));
	assert_memory_equal(buf_head(&one), buf_head(&two), buf_size(&one));
	signer_release(&su);
	AUTO_FREE char *cert = path_join(dir, "ca/cert.pem");
	assert_int_equal(unlink(cert), 0);
	assert_int_equal(signer_leaf(&su, &ask, &b, &e), 0);
	assert_int_equal(mode_of("ca/cert.pem"), 0600);
	buf_release(&one);
	buf_release(&two);
}

static void what_is_no_question(void **unused)
{
	static const char *const names[] = { "", "UPPER.example", "a..b", ".a", "*.example.org", "a b", "a/b", "1.2.3.4", "a\nb" };
	struct net_leaf l;
	struct err e;

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		str_copy(ask.name, sizeof(ask.name), names[i]);
		e = ERR_INIT;
		assert_int_equal(signer_leaf(&su, &ask, &l, &e), -EINVAL);
		assert_int_equal(l.token, 7);
		assert_int_equal(l.ncert, 0);
	}
}

static void a_damaged_or_open_key(void **unused)
{
	struct net_leaf l;
	struct err e = ERR_INIT;
	AUTO_FREE char *path = path_join(dir, "ca/key.pem");

	(void)unused;
	assert_int_equal(signer_leaf(&su, &ask, &l, &e), 0);
	signer_release(&su);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(signer_leaf(&su, &ask, &l, &e), 0);
	assert_int_equal(mode_of("ca/key.pem"), 0600);
	signer_release(&su);
	/* Never replaced behind the person's back: guests trust the old one. */
	assert_int_equal(truncate(path, 20), 0);
	assert_int_not_equal(signer_leaf(&su, &ask, &l, &e), 0);
	assert_non_null(strstr(e.msg, "ca/key.pem"));
	assert_non_null(strstr(e.msg, "remove it"));
	assert_int_equal(unlink(path), 0);
	e = ERR_INIT;
	assert_int_equal(signer_leaf(&su, &ask, &l, &e), 0);
}

static void many_leaves(void **unused)
{
	struct net_leaf l;
	struct err e = ERR_INIT;
	uint64_t t = clock_ns();

	(void)unused;
	for (unsigned i = 0; i < 1200; i++) {
		snprintf(ask.name, sizeof(ask.name), "h%u.example.org", i);
		if (signer_leaf(&su, &ask, &l, &e))
			fail_msg("%s", e.msg);
		assert_true(l.ncert > 0);
	}
	print_message("%.3f ms a leaf\n", (double)(clock_ns() - t) / 1e6 / 1200);
}

static unsigned count(const struct buf *b, const char *what)
{
	unsigned n = 0;
	const char *p = (const char *)buf_head(b), *end = p + buf_size(b);

	while (p < end && (p = memmem(p, (size_t)(end - p), what, strlen(what)))) {
		n++;
		p++;
	}
	return n;
}

static void the_bundle_has_the_hosts_roots_and_ours_last(void **unused)
{
	struct buf b, ca, host;
	struct err e = ERR_INIT;
	static const char *const store = "/etc/ssl/certs/ca-certificates.crt";

	(void)unused;
	buf_init(&b, SIGNER_BUNDLE_MAX);
	buf_init(&ca, 65536);
	buf_init(&host, SIGNER_BUNDLE_MAX);
	assert_int_equal(signer_bundle(&su, &b, &e), 0);
	assert_int_equal(signer_ca_pem(&su, &ca, &e), 0);
	assert_true(buf_size(&b) >= buf_size(&ca));
	assert_memory_equal(buf_head(&b) + buf_size(&b) - buf_size(&ca), buf_head(&ca), buf_size(&ca));
	unsigned n = count(&b, "-----BEGIN CERTIFICATE-----");
	assert_int_equal(n, count(&b, "-----END CERTIFICATE-----"));
	assert_int_equal(count(&b, "PRIVATE"), 0);
	if (!atomicfile_read(AT_FDCWD, store, &host, NULL))
		assert_int_equal(n, count(&host, "-----BEGIN CERTIFICATE-----") + 1);
	/* Each of them is one. */
	BIO *bio = BIO_new_mem_buf(buf_head(&b), (int)buf_size(&b));
	for (unsigned i = 0; i < n; i++) {
		X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
		assert_non_null(x);
		X509_free(x);
	}
	BIO_free(bio);
	buf_release(&b);
	buf_release(&ca);
	buf_release(&host);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_leaf_is_trusted_for_its_name_only), cmocka_unit_test(long_names_and_addresses), cmocka_unit_test(serials_differ),
		cmocka_unit_test(only_p256_keys), cmocka_unit_test(a_renewed_certificate_and_the_old_one_both_serve), T(made_once_and_kept),
		T(what_is_no_question), T(a_damaged_or_open_key), T(many_leaves), T(the_bundle_has_the_hosts_roots_and_ours_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
