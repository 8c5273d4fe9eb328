/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry a name: asked (somebody waits, `cert` NULL) or held. A leaf near its end is asked for again. The key lives as long as the process,
 * so that a certificate once made serves every connection to its name.
 */
#include "netpolicy/tls.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/str.h"

#define RENEW_S 3600 /* a leaf that ends within so long is not used any more */

struct leaf {
	struct leaf *next;
	struct leaf_wait *waiting;
	X509 *cert;
	uint32_t token; /* of the question, 0 none is open */
	uint64_t used;
	char name[NET_NAME_MAX];
};

struct tls_env {
	SSL_CTX *server, *client;
	EVP_PKEY *key;
	uint8_t spki[256];
	uint16_t nspki;
	struct leaf *leaves;
	size_t nleaves, asked;
	uint32_t last_token;
	uint64_t clock;
	void (*ask)(void *arg, const struct net_leaf_ask *m);
	void *arg;
};

/* ---- roots -------------------------------------------------------------------------------------------------------------- */

int tls_roots_load(X509_STORE **out, const char *ca_file, struct err *e)
{
	static const char *const bundles[] = { "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
					       "/etc/ssl/cert.pem" };
	const char *named = getenv("SSL_CERT_FILE");
	X509_STORE *store = X509_STORE_new();
	bool any = false;

	*out = NULL;
	if (!store)
		return err_errno(e, ENOMEM, "cannot load roots");
	if (named && *named)
		any = X509_STORE_load_file(store, named) == 1;
	for (size_t i = 0; i < ARRAY_SIZE(bundles) && !any; i++)
		any = X509_STORE_load_file(store, bundles[i]) == 1;
	if (ca_file && *ca_file) {
		if (X509_STORE_load_file(store, ca_file) != 1) {
			X509_STORE_free(store);
			return err_set(e, EINVAL, "cannot read certificates from '%s'", ca_file);
		}
		any = true;
	}
	ERR_clear_error();
	if (!any) {
		X509_STORE_free(store);
		return err_set(e, ENOENT, "no root certificates found: install the package 'ca-certificates' or name a bundle in SSL_CERT_FILE");
	}
	*out = store;
	return 0;
}

/* ---- contexts ----------------------------------------------------------------------------------------------------------- */

/* The connection's own choice hangs on the SSL: "h2" may be spoken or not. */
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen, const unsigned char *in, unsigned int inlen, void *arg)
{
	static const unsigned char both[] = "\x02h2\x08http/1.1";
	const bool h2 = SSL_get_app_data(ssl) != NULL;
	unsigned char *picked;

	(void)arg;
	if (SSL_select_next_proto(&picked, outlen, h2 ? both : both + 3, h2 ? sizeof(both) - 1 : sizeof(both) - 4, in, inlen) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = picked;
	return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *context(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (!ctx)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return ctx;
}

static int make_key(struct tls_env *env)
{
	uint8_t *p = env->spki;

	env->key = EVP_EC_gen("P-256");
	if (!env->key)
		return -EIO;
	const int n = i2d_PUBKEY(env->key, NULL);
	if (n <= 0 || (size_t)n > sizeof(env->spki))
		return -EIO;
	env->nspki = (uint16_t)i2d_PUBKEY(env->key, &p);
	return 0;
}

int tls_env_create(struct tls_env **out, X509_STORE *roots, void (*ask)(void *arg, const struct net_leaf_ask *m), void *arg, struct err *e)
{
	struct tls_env *env = calloc(1, sizeof(*env));

	*out = NULL;
	if (!env)
		return err_errno(e, ENOMEM, "cannot set up TLS");
	env->ask = ask;
	env->arg = arg;
	env->server = context(TLS_server_method());
	env->client = context(TLS_client_method());
	if (!env->server || !env->client || make_key(env) < 0) {
		const unsigned long why = ERR_get_error();

		tls_env_destroy(&env);
		return err_set(e, EIO, "cannot set up TLS: %s", why ? ERR_reason_error_string(why) : "out of memory");
	}
	SSL_CTX_set_alpn_select_cb(env->server, select_alpn, NULL);
	SSL_CTX_set_options(env->client, SSL_OP_CLEANSE_PLAINTEXT); /* a server may echo a credential */
	SSL_CTX_set1_cert_store(env->client, roots);
	SSL_CTX_set_verify(env->client, SSL_VERIFY_PEER, NULL);
	*out = env;
	return 0;
}

static void free_leaf(struct tls_env *env, struct leaf **at)
{
	struct leaf *l = *at;

	*at = l->next;
	env->nleaves--;
	X509_free(l->cert);
	free(l);
}

void tls_env_destroy(struct tls_env **envp)
{
	struct tls_env *env = *envp;

	if (!env)
		return;
	*envp = NULL;
	while (env->leaves)
		free_leaf(env, &env->leaves);
	SSL_CTX_free(env->server);
	SSL_CTX_free(env->client);
	EVP_PKEY_free(env->key);
	free(env);
}

/* ---- leaves ------------------------------------------------------------------------------------------------------------- */

static bool fresh(const X509 *cert)
{
	time_t limit = time(NULL) + RENEW_S;

	return cert && X509_cmp_time(X509_get0_notAfter(cert), &limit) > 0;
}

static void make_room(struct tls_env *env)
{
	struct leaf **oldest = NULL;

	if (env->nleaves < TLS_LEAVES_MAX)
		return;
	for (struct leaf **at = &env->leaves; *at; at = &(*at)->next)
		if (!(*at)->token && (!oldest || (*at)->used < (*oldest)->used))
			oldest = at;
	if (oldest)
		free_leaf(env, oldest);
}

static struct leaf *leaf_of(struct tls_env *env, const char *name)
{
	for (struct leaf *l = env->leaves; l; l = l->next)
		if (strcmp(l->name, name) == 0)
			return l;
	make_room(env);
	struct leaf *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	str_copy(l->name, sizeof(l->name), name);
	l->next = env->leaves;
	env->leaves = l;
	env->nleaves++;
	return l;
}

void tls_leaf_get(struct tls_env *env, const char *name, struct leaf_wait *w, void (*fn)(void *arg, X509 *leaf), void *arg)
{
	struct leaf *l = net_name_legal(name) ? leaf_of(env, name) : NULL;

	if (l)
		l->used = ++env->clock;
	if (l && fresh(l->cert)) {
		fn(arg, l->cert);
		return;
	}
	if (!l || (!l->token && env->asked >= TLS_LEAF_ASKS_MAX)) {
		fn(arg, NULL);
		return;
	}
	*w = (struct leaf_wait){ .fn = fn, .arg = arg, .next = l->waiting, .entry = l };
	l->waiting = w;
	if (l->token)
		return;
	struct net_leaf_ask m = { .nkey = env->nspki };
	do
		m.token = ++env->last_token;
	while (m.token == 0);
	str_copy(m.name, sizeof(m.name), name);
	memcpy(m.key, env->spki, env->nspki);
	l->token = m.token;
	env->asked++;
	env->ask(env->arg, &m);
}

void tls_leaf_cancel(struct leaf_wait *w)
{
	struct leaf *l = w->entry;

	for (struct leaf_wait **at = l ? &l->waiting : NULL; at && *at; at = &(*at)->next)
		if (*at == w) {
			*at = w->next;
			break;
		}
	*w = (struct leaf_wait){ 0 };
}

void tls_leaf_answer(struct tls_env *env, const struct net_leaf *m)
{
	struct leaf *l = env->leaves;
	const unsigned char *p = m->cert;

	while (l && (l->token == 0 || l->token != m->token))
		l = l->next;
	if (!l)
		return;
	l->token = 0;
	env->asked--;
	X509 *cert = m->ncert && m->ncert <= sizeof(m->cert) ? d2i_X509(NULL, &p, m->ncert) : NULL;
	if (cert && (X509_check_private_key(cert, env->key) != 1 || X509_check_host(cert, l->name, 0, 0, NULL) != 1)) {
		X509_free(cert);
		cert = NULL;
	}
	ERR_clear_error();
	X509_free(l->cert);
	l->cert = cert;
	/* A waiting one may ask again, cancel others or make this entry go: hold the certificate, take them off one by one. */
	if (cert)
		X509_up_ref(cert);
	struct leaf_wait *list = l->waiting;
	l->waiting = NULL;
	struct leaf here = { .waiting = list };
	for (struct leaf_wait *w = list; w; w = w->next)
		w->entry = &here;
	while (here.waiting) {
		struct leaf_wait *w = here.waiting;
		void (*fn)(void *, X509 *) = w->fn;
		void *arg = w->arg;

		tls_leaf_cancel(w);
		fn(arg, cert);
	}
	X509_free(cert);
}

/* ---- connections -------------------------------------------------------------------------------------------------------- */

SSL *tls_server_new(struct tls_env *env, X509 *leaf, const char *name, bool h2)
{
	SSL *ssl = SSL_new(env->server);

	(void)name;
	if (!ssl || SSL_use_certificate(ssl, leaf) != 1 || SSL_use_PrivateKey(ssl, env->key) != 1) {
		SSL_free(ssl);
		return NULL;
	}
	SSL_set_app_data(ssl, h2 ? env : NULL);
	SSL_set_accept_state(ssl);
	return ssl;
}

SSL *tls_client_new(struct tls_env *env, const char *name, bool literal, bool h2)
{
	static const unsigned char both[] = "\x02h2\x08http/1.1";
	SSL *ssl = SSL_new(env->client);
	bool ok = ssl != NULL;

	if (ok && literal) {
		ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
	} else if (ok) {
		SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
		ok = SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
	}
	ok = ok && SSL_set_alpn_protos(ssl, h2 ? both : both + 3, h2 ? sizeof(both) - 1 : sizeof(both) - 4) == 0;
	if (!ok) {
		SSL_free(ssl);
		return NULL;
	}
	SSL_set_connect_state(ssl);
	return ssl;
}
