/* SPDX-License-Identifier: Apache-2.0 */
/* The authority's files, the leaves that were made, and what guests shall trust. */
#include "core/supervisor/signer.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include "core/base/atomicfile.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/supervisor/ca.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/super.h"

#define KEY_FILE "key.pem"
#define CERT_FILE "cert.pem"
#define PEM_FILE_MAX (64u * 1024u)
#define LEAVES 512u

struct leaf {
	uint8_t id[32];        /* SHA-256 of key and name */
	int64_t made;          /* 0 free */
	uint64_t used;         /* the turn of its last use */
	uint16_t n;
	uint8_t der[sizeof(((struct net_leaf *)0)->cert)];
};

struct signer {
	struct ca *ca;
	uint64_t turn;
	struct leaf leaves[LEAVES];
};

static int64_t now_s(void)
{
	return (int64_t)(clock_wall_ns() / 1000000000u);
}

/* ---- the authority's files ----------------------------------------------------------------------------------------------------------- */

static void who(char *dst, size_t cap)
{
	char host[65] = "", text[160];
	const char *user = getenv("USER");

	gethostname(host, sizeof(host) - 1);
	snprintf(text, sizeof(text), "%s@%s", user && *user ? user : "user", *host ? host : "host");
	scrub(dst, cap, text, strlen(text), false);
}

static int open_dir(struct super *su, struct err *e)
{
	AUTO_FREE char *path = path_join(su->state, "ca");

	if (!path)
		return err_set(e, ENOMEM, "out of memory");
	if (path_mkdirs(path, 0700, e))
		return -e->code;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_errno(e, errno, "cannot open '%s'", path) : fd;
}

/* Others could read the key: it is closed to them, and the person is told, for it may be known already. */
static int close_to_others(struct super *su, int dirfd, struct err *e)
{
	struct stat st;

	if (!fstatat(dirfd, KEY_FILE, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode) && (st.st_mode & 077)) {
		if (fchmodat(dirfd, KEY_FILE, 0600, 0))
			return err_errno(e, errno, "cannot close '%s/ca/" KEY_FILE "' to others", su->state);
		lifelog_add(su, LOG_WARN, NULL,
			    "others could read the certificate authority's key '%s/ca/" KEY_FILE "': it is closed now; remove it to have a new one made", su->state);
	}
	return 0;
}

static int save_cert(struct super *su, int dirfd, struct ca *ca, struct err *e)
{
	struct buf b;

	(void)su;
	buf_init(&b, PEM_FILE_MAX);
	int r = ca_cert_pem(ca, &b) ? err_set(e, ENOMEM, "out of memory") : atomicfile_write(dirfd, CERT_FILE, buf_head(&b), buf_size(&b), 0600, e);
	buf_release(&b);
	return r;
}

static int make(struct super *su, int dirfd, const char *name, struct ca **out, struct err *e)
{
	struct ca *ca;
	struct buf b;

	*out = NULL;
	if (ca_create(&ca, name, now_s(), e))
		return -e->code;
	buf_init(&b, PEM_FILE_MAX);
	/* The key first: a certificate is made anew for a key, never the other way round. */
	int r = ca_key_pem(ca, &b) ? err_set(e, ENOMEM, "out of memory") : atomicfile_write(dirfd, KEY_FILE, buf_head(&b), buf_size(&b), 0600, e);
	buf_wipe(&b);
	if (!r)
		r = save_cert(su, dirfd, ca, e);
	if (r) {
		ca_destroy(ca);
		return r;
	}
	lifelog_add(su, LOG_INFO, NULL, "made a certificate authority for this installation in '%s/ca'", su->state);
	*out = ca;
	return 0;
}

static int load(struct super *su, int dirfd, const char *name, struct ca **out, struct err *e)
{
	struct buf key, cert;
	bool has_cert = !faccessat(dirfd, CERT_FILE, F_OK, AT_SYMLINK_NOFOLLOW);

	buf_init(&key, PEM_FILE_MAX);
	buf_init(&cert, PEM_FILE_MAX);
	int r = close_to_others(su, dirfd, e);
	if (!r)
		r = atomicfile_read(dirfd, KEY_FILE, &key, e);
	if (!r && has_cert && atomicfile_read(dirfd, CERT_FILE, &cert, NULL))
		has_cert = false;
	if (!r && ca_load(out, &key, has_cert ? &cert : NULL, name, now_s(), e))
		r = err_wrap(e, "cannot use '%s/ca/" KEY_FILE "' (remove it to have a new one made)", su->state);
	/* What the file holds and what is used now may differ: a certificate that was missing or of another key. */
	if (!r) {
		struct buf now;
		buf_init(&now, PEM_FILE_MAX);
		if (!ca_cert_pem(*out, &now) && (buf_size(&now) != buf_size(&cert) || memcmp(buf_head(&now), buf_head(&cert), buf_size(&now))))
			r = save_cert(su, dirfd, *out, e);
		buf_release(&now);
	}
	buf_wipe(&key);
	buf_release(&cert);
	return r;
}

static int ready(struct super *su, struct err *e)
{
	struct signer *s = su->signer;
	char name[96];

	if (s && s->ca && !ca_due(s->ca, now_s()))
		return 0;
	if (!s && !(s = su->signer = calloc(1, sizeof(*s))))
		return err_set(e, ENOMEM, "out of memory");
	AUTO_FD dirfd = open_dir(su, e);
	if (dirfd < 0)
		return -e->code;
	who(name, sizeof(name));
	if (!s->ca) {
		int r = faccessat(dirfd, KEY_FILE, F_OK, AT_SYMLINK_NOFOLLOW) ? make(su, dirfd, name, &s->ca, e) : load(su, dirfd, name, &s->ca, e);
		if (r) {
			ca_destroy(s->ca);
			s->ca = NULL;
			return r;
		}
	}
	if (ca_due(s->ca, now_s())) {
		if (ca_renew(s->ca, now_s(), e) || save_cert(su, dirfd, s->ca, e))
			return -e->code;
		memset(s->leaves, 0, sizeof(s->leaves));
		lifelog_add(su, LOG_INFO, NULL, "renewed the certificate of this installation's authority");
	}
	return 0;
}

void signer_release(struct super *su)
{
	if (su->signer)
		ca_destroy(su->signer->ca);
	free(su->signer);
	su->signer = NULL;
}

/* ---- leaves -------------------------------------------------------------------------------------------------------------------------- */

/* The one that is there, or the place for a new one: a free or the longest unused. */
static struct leaf *place(struct signer *s, const uint8_t id[32], int64_t now)
{
	struct leaf *best = &s->leaves[0];

	for (size_t i = 0; i < LEAVES; i++) {
		struct leaf *l = &s->leaves[i];
		if (l->made && !memcmp(l->id, id, sizeof(l->id))) {
			if (now < l->made || now > l->made + CA_LEAF_S / 2)
				l->made = 0;
			return l;
		}
		if (best->made && (!l->made || l->used < best->used))
			best = l;
	}
	best->made = 0;
	return best;
}

int signer_leaf(struct super *su, const struct net_leaf_ask *ask, struct net_leaf *out, struct err *e)
{
	uint8_t text[sizeof(ask->key) + sizeof(ask->name)], id[EVP_MAX_MD_SIZE];
	int64_t now = now_s();
	size_t n = 0;

	*out = (struct net_leaf){ .token = ask->token };
	if (ask->nkey > sizeof(ask->key) || !net_name_legal(ask->name))
		return err_set(e, EINVAL, "a certificate was asked for no host name");
	if (ready(su, e))
		return -e->code;
	struct signer *s = su->signer;
	memcpy(text, ask->key, ask->nkey);
	memcpy(text + ask->nkey, ask->name, strlen(ask->name));
	EVP_Digest(text, ask->nkey + strlen(ask->name), id, NULL, EVP_sha256(), NULL);
	struct leaf *l = place(s, id, now);
	if (!l->made) {
		int r = ca_leaf(s->ca, ask->name, ask->key, ask->nkey, now, l->der, sizeof(l->der), &n, e);
		if (r)
			return r;
		l->n = (uint16_t)n;
		l->made = now;
		memcpy(l->id, id, sizeof(l->id));
	}
	l->used = ++s->turn;
	out->ncert = l->n;
	memcpy(out->cert, l->der, l->n);
	return 0;
}

/* ---- what guests trust --------------------------------------------------------------------------------------------------------------- */

/* Only whole certificates: comments, keys and what else stands in a person's file stays here. */
static unsigned put_certificates(struct buf *out, const struct buf *in)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----", end[] = "-----END CERTIFICATE-----";
	const char *p = (const char *)buf_head(in), *stop = p + buf_size(in);
	unsigned n = 0;

	while (p < stop) {
		const char *from = memmem(p, (size_t)(stop - p), begin, sizeof(begin) - 1);
		const char *to = from ? memmem(from, (size_t)(stop - from), end, sizeof(end) - 1) : NULL;
		if (!to)
			break;
		to += sizeof(end) - 1;
		if (buf_put(out, from, (size_t)(to - from)) || buf_put(out, "\n", 1))
			break;
		p = to;
		n++;
	}
	return n;
}

/* Where systems keep it: Debian and Alpine, Fedora, openSUSE. /etc itself may be links. */
/* How many of a file's certificates were put; 0 when it cannot be read. */
static unsigned put_file(struct buf *out, const char *path)
{
	AUTO_FREE char *real = realpath(path, NULL);
	unsigned n = 0;
	struct buf b;

	buf_init(&b, SIGNER_BUNDLE_MAX - PEM_FILE_MAX);
	if (real && !atomicfile_read(AT_FDCWD, real, &b, NULL))
		n = put_certificates(out, &b);
	buf_release(&b);
	return n;
}

static unsigned host_store(struct buf *out)
{
	static const char *const files[] = { "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
					     "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem" };
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(files) && n == 0; i++)
		n = put_file(out, files[i]);
	return n;
}

/* The person's own roots, of config.yaml. */
static void more_roots(struct super *su, struct buf *out)
{
	struct err e = ERR_INIT;
	struct buf b;

	if (!*su->config.ca_file)
		return;
	AUTO_FREE char *real = realpath(su->config.ca_file, NULL);
	buf_init(&b, SIGNER_BUNDLE_MAX / 4);
	if (!real)
		lifelog_add(su, LOG_WARN, NULL, "the certificates of 'ca_file' are not trusted: cannot open '%s': %s", su->config.ca_file, strerror(errno));
	else if (atomicfile_read(AT_FDCWD, real, &b, &e) || !put_certificates(out, &b))
		lifelog_add(su, LOG_WARN, NULL, "the certificates of 'ca_file' are not trusted: %s", e.code ? e.msg : "there is none in it");
	buf_release(&b);
}

int signer_ca_pem(struct super *su, struct buf *out, struct err *e)
{
	if (ready(su, e))
		return -e->code;
	return ca_cert_pem(su->signer->ca, out) ? err_set(e, ENOBUFS, "the certificate does not fit") : 0;
}

int signer_bundle(struct super *su, struct buf *out, struct err *e)
{
	if (host_store(out) == 0)
		lifelog_add(su, LOG_WARN, NULL, "no certificates are trusted on this host: is ca-certificates installed? Guests trust Bulkhead's authority only");
	more_roots(su, out);
	if (*su->config.ca_file && put_file(out, su->config.ca_file) == 0)
		lifelog_add(su, LOG_WARN, NULL, "'%s' ('ca_file' in config.yaml) holds no certificate", su->config.ca_file);
	return signer_ca_pem(su, out, e);
}
