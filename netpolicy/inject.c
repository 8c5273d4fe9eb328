/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A secret is counted: a mask at work keeps the values it looks for even when they are replaced meanwhile. Bytes that must not leak lie in
 * `page`; the rest of a secret is ordinary memory.
 */
#include "netpolicy/inject.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/str.h"
#include "netpolicy/pattern.h"

struct secret {
	unsigned refs;
	uint32_t id;
	char service[64], header[64], placeholder[128];
	uint16_t nhosts;
	char (*hosts)[NET_NAME_MAX];
	char *page;       /* locked: value, formatted */
	size_t npage;
	char *value, *formatted, *basic; /* into page, NUL-terminated; formatted NULL without header; basic: the base64 in formatted, or NULL */
	bool locked;
};

struct inject {
	struct secret *v[INJECT_SECRETS_MAX];
	size_t n;
};

/* ---- base64 ------------------------------------------------------------------------------------------------------------- */

static const char digits64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static size_t base64_put(char *dst, const char *p, size_t n)
{
	char *d = dst;

	for (size_t i = 0; i < n; i += 3) {
		const size_t left = n - i;
		const uint32_t v = (uint32_t)(uint8_t)p[i] << 16 | (left > 1 ? (uint32_t)(uint8_t)p[i + 1] << 8 : 0) | (left > 2 ? (uint8_t)p[i + 2] : 0);

		*d++ = digits64[v >> 18];
		*d++ = digits64[v >> 12 & 63];
		*d++ = left > 1 ? digits64[v >> 6 & 63] : '=';
		*d++ = left > 2 ? digits64[v & 63] : '=';
	}
	*d = '\0';
	return (size_t)(d - dst);
}

/* Lenient: stops at the first character that is none of base64's (both alphabets). dst has room for n. */
static size_t base64_get(char *dst, const char *p, size_t n)
{
	uint32_t v = 0;
	size_t bits = 0, out = 0;

	for (size_t i = 0; i < n; i++) {
		const char c = p[i] == '-' ? '+' : p[i] == '_' ? '/' : p[i];
		const char *at = c ? strchr(digits64, c) : NULL;

		if (!at)
			break;
		v = v << 6 | (uint32_t)(at - digits64);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			dst[out++] = (char)(v >> bits);
		}
	}
	return out;
}

/* ---- secrets ------------------------------------------------------------------------------------------------------------ */

int inject_create(struct inject **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

static void unref(struct secret *s)
{
	if (!s || --s->refs > 0)
		return;
	if (s->page) {
		explicit_bzero(s->page, s->npage);
		munmap(s->page, s->npage);
	}
	free(s->hosts);
	free(s);
}

void inject_destroy(struct inject **inp)
{
	struct inject *in = *inp;

	if (!in)
		return;
	*inp = NULL;
	for (size_t i = 0; i < in->n; i++)
		unref(in->v[i]);
	free(in);
}

void inject_drop(struct inject *in, uint32_t id)
{
	for (size_t i = 0; i < in->n; i++)
		if (in->v[i]->id == id) {
			unref(in->v[i]);
			in->v[i] = in->v[--in->n];
			return;
		}
}

/* "basic:user" or text with one %s. Writes the field's value behind the secret's own in its page. */
static int format(struct secret *s, const char *how, size_t vlen)
{
	const char *at = strstr(how, "%s");
	char *d = s->value + vlen + 1;

	if (str_starts(how, "basic:")) {
		const size_t ulen = strlen(how + 6);
		char *plain = d + 8 + 4 * ((ulen + 1 + vlen + 2) / 3) + 1; /* behind the result */

		memcpy(plain, how + 6, ulen);
		plain[ulen] = ':';
		memcpy(plain + ulen + 1, s->value, vlen);
		memcpy(d, "Basic ", 6);
		base64_put(d + 6, plain, ulen + 1 + vlen);
		explicit_bzero(plain, ulen + 1 + vlen);
		s->basic = d + 6;
	} else if (at && !strchr(at + 2, '%') && memchr(how, '%', (size_t)(at - how)) == NULL) {
		const size_t pre = (size_t)(at - how), post = strlen(at + 2);

		memcpy(d, how, pre);
		memcpy(d + pre, s->value, vlen);
		memcpy(d + pre + vlen, at + 2, post + 1);
	} else {
		return -EINVAL;
	}
	s->formatted = d;
	return header_value_legal(d, strlen(d)) ? 0 : -EINVAL;
}

static int fill(struct secret *s, const struct net_secret *m)
{
	const size_t vlen = strnlen(m->value, sizeof(m->value)), page = (size_t)sysconf(_SC_PAGESIZE);
	/* Value, formatted (at most a third longer than user and value), the plain text of Basic. */
	const size_t need = (vlen + 1) + 2 * (vlen + sizeof(m->format) + 16) + (vlen + sizeof(m->format)) / 3 + 64;

	if (vlen == 0 || vlen == sizeof(m->value) || !header_value_legal(m->value, vlen) || m->nhosts == 0 || m->nhosts > NET_SECRET_HOSTS)
		return -EINVAL;
	if (m->header[0] && !header_token_legal(m->header, strlen(m->header)))
		return -EINVAL;
	s->hosts = calloc(m->nhosts, sizeof(*s->hosts));
	s->npage = (need + page - 1) / page * page;
	char *p = mmap(NULL, s->npage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	s->page = p == MAP_FAILED ? NULL : p;
	if (!s->hosts || !s->page)
		return -ENOMEM;
	s->locked = mlock(s->page, s->npage) == 0;
	madvise(s->page, s->npage, MADV_DONTDUMP);
	madvise(s->page, s->npage, MADV_WIPEONFORK);
	s->nhosts = m->nhosts;
	memcpy(s->hosts, m->hosts, m->nhosts * sizeof(*s->hosts));
	s->value = s->page;
	memcpy(s->value, m->value, vlen);
	return m->header[0] ? format(s, m->format, vlen) : 0;
}

int inject_set(struct inject *in, const struct net_secret *m)
{
	inject_drop(in, m->id);
	if (in->n == INJECT_SECRETS_MAX)
		return -ENOSPC;
	struct secret *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->refs = 1;
	s->id = m->id;
	str_copy(s->service, sizeof(s->service), m->service);
	str_copy(s->header, sizeof(s->header), m->header);
	str_copy(s->placeholder, sizeof(s->placeholder), m->placeholder);
	const int r = fill(s, m);
	if (r < 0) {
		unref(s);
		return r;
	}
	in->v[in->n++] = s;
	return 0;
}

bool inject_locked(const struct inject *in)
{
	for (size_t i = 0; i < in->n; i++)
		if (!in->v[i]->locked)
			return false;
	return true;
}

static bool goes_to(const struct secret *s, const char *host, uint16_t port)
{
	for (size_t i = 0; i < s->nhosts; i++)
		if (pattern_matches(s->hosts[i], host, port))
			return true;
	return false;
}

bool inject_wants(const struct inject *in, const char *host, uint16_t port)
{
	for (size_t i = 0; i < in->n; i++)
		if (goes_to(in->v[i], host, port))
			return true;
	return false;
}

bool inject_placeholder(const struct inject *in, size_t i, const char **placeholder, const char **service)
{
	if (i >= in->n)
		return false;
	*placeholder = in->v[i]->placeholder;
	*service = in->v[i]->service;
	return true;
}

/* ---- requests ----------------------------------------------------------------------------------------------------------- */

/* The base64 part of a Basic field's value, decoded into a new buffer (*n bytes, wiped by the caller); NULL when it is none. */
static char *basic_plain(const struct header *f, size_t *n, const char **blob)
{
	const char *v = f->value;

	if (f->vlen < 7 || strncasecmp(v, "basic", 5) != 0 || (v[5] != ' ' && v[5] != '\t'))
		return NULL;
	for (v += 6; *v == ' ' || *v == '\t';)
		v++;
	char *d = malloc(f->vlen + 1);
	if (d)
		*n = base64_get(d, v, strlen(v));
	*blob = v;
	return d;
}

static bool holds(const struct header *f, const char *placeholder)
{
	const size_t plen = strlen(placeholder);
	const char *blob;
	size_t n = 0;

	if (plen == 0)
		return false;
	if (memmem(f->value, f->vlen, placeholder, plen) || memmem(f->name, f->nlen, placeholder, plen))
		return true;
	char *plain = basic_plain(f, &n, &blob);
	const bool yes = plain && memmem(plain, n, placeholder, plen);
	if (plain)
		explicit_bzero(plain, n);
	free(plain);
	return yes;
}

/* All occurrences of what in [p, p + n) replaced; a new string, or NULL out of memory or over the bound. No copy is left behind. */
static char *replaced(const char *p, size_t n, const char *what, const char *by, size_t *len)
{
	const size_t wlen = strlen(what), blen = strlen(by);
	size_t total = n;

	for (const char *at = p, *hit; (hit = memmem(at, n - (size_t)(at - p), what, wlen)) != NULL; at = hit + wlen)
		total += blen - wlen;
	/* Unsigned all the way: a shorter value takes away. */
	char *out = total <= HEADERS_BYTES ? malloc(total + 1) : NULL, *d = out;
	if (!out)
		return NULL;
	for (const char *hit; (hit = memmem(p, n, what, wlen)) != NULL;) {
		memcpy(d, p, (size_t)(hit - p));
		d += hit - p;
		memcpy(d, by, blen);
		d += blen;
		n -= (size_t)(hit - p) + wlen;
		p = hit + wlen;
	}
	memcpy(d, p, n);
	out[total] = '\0';
	*len = total;
	return out;
}

static int swap_plain(struct headers *h, size_t i, const struct secret *s)
{
	size_t n = 0;
	char *v = replaced(h->v[i].value, h->v[i].vlen, s->placeholder, s->value, &n);
	const int r = v ? headers_change(h, i, v, n) : -E2BIG;

	if (v)
		explicit_bzero(v, n);
	free(v);
	return r;
}

static int swap_basic(struct headers *h, size_t i, const struct secret *s)
{
	const char *blob;
	size_t n = 0, len = 0;
	char *plain = basic_plain(&h->v[i], &n, &blob);
	char *v = plain ? replaced(plain, n, s->placeholder, s->value, &len) : NULL;
	char *all = v ? malloc(6 + 4 * ((len + 2) / 3) + 1) : NULL;
	int r = -E2BIG;

	if (all) {
		memcpy(all, "Basic ", 6);
		const size_t total = 6 + base64_put(all + 6, v, len);
		r = headers_change(h, i, all, total);
		explicit_bzero(all, total);
	}
	if (v)
		explicit_bzero(v, len);
	if (plain)
		explicit_bzero(plain, n);
	free(plain);
	free(v);
	free(all);
	return r;
}

/* Percent-encoded, in the query only: a path is where it goes, not what it says. */
static int swap_target(char **target, const struct secret *s)
{
	char *query = strchr(*target, '?');
	const size_t vlen = strlen(s->value);
	char *enc = malloc(3 * vlen + 1);
	size_t k = 0, n = 0;

	if (!query || !strstr(query, s->placeholder) || !enc) {
		free(enc);
		return query ? -ENOMEM : -EINVAL;
	}
	for (size_t i = 0; i < vlen; i++) {
		const unsigned char c = (unsigned char)s->value[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c))
			enc[k++] = (char)c;
		else
			k += (size_t)snprintf(enc + k, 4, "%%%02X", c);
	}
	enc[k] = '\0';
	char *fresh = replaced(*target, strlen(*target), s->placeholder, enc, &n);
	explicit_bzero(enc, k);
	free(enc);
	if (!fresh)
		return -ENOMEM;
	explicit_bzero(*target, strlen(*target)); /* another credential may stand in it already */
	free(*target);
	*target = fresh;
	return 0;
}

static void alarm_at(struct inject_report *rep, const struct secret *s, const char *where)
{
	rep->alarm = true;
	str_copy(rep->service, sizeof(rep->service), s->service);
	str_copy(rep->where, sizeof(rep->where), where);
}

static bool search(const struct secret *s, const struct headers *h, const char *target, struct inject_report *rep)
{
	if (!s->placeholder[0])
		return false;
	for (size_t i = 0; i < h->n; i++)
		if (holds(&h->v[i], s->placeholder)) {
			alarm_at(rep, s, h->v[i].name);
			return true;
		}
	if (target && strstr(target, s->placeholder)) {
		alarm_at(rep, s, "target");
		return true;
	}
	return false;
}

/* A service with several rules has one placeholder in several secrets: it is at home where one of them goes. */
static bool at_home(const struct inject *in, const struct secret *s, const char *host, uint16_t port)
{
	for (size_t i = 0; i < in->n; i++)
		if (goes_to(in->v[i], host, port) && (in->v[i] == s || !strcmp(in->v[i]->placeholder, s->placeholder)))
			return true;
	return false;
}

bool inject_alarm(const struct inject *in, const char *host, uint16_t port, bool secure, const struct headers *h, const char *target,
		  struct inject_report *rep)
{
	memset(rep, 0, sizeof(*rep));
	for (size_t i = 0; i < in->n; i++)
		if (!(secure && at_home(in, in->v[i], host, port)) && search(in->v[i], h, target, rep))
			return true;
	return false;
}

static int put_one(const struct secret *s, struct headers *h, char **target, bool *did)
{
	int r = 0;

	for (size_t i = 0; i < h->n && s->placeholder[0] && r == 0; i++) {
		if (!holds(&h->v[i], s->placeholder))
			continue;
		if (strstr(h->v[i].name, s->placeholder))
			return -EINVAL;
		r = strstr(h->v[i].value, s->placeholder) ? swap_plain(h, i, s) : swap_basic(h, i, s);
		h->v[i].secret = true;
		*did = true;
	}
	if (r == 0 && s->placeholder[0] && strstr(*target, s->placeholder)) {
		r = swap_target(target, s);
		*did = true;
	}
	if (r < 0 || !s->formatted)
		return r;
	headers_remove(h, s->header);
	r = headers_add(h, s->header, strlen(s->header), s->formatted, strlen(s->formatted));
	if (r == 0)
		h->v[h->n - 1].secret = true;
	*did = true;
	return r;
}

int inject_request(const struct inject *in, const char *host, uint16_t port, bool secure, struct headers *h, char **target, struct inject_report *rep)
{
	int r = 0;

	/* First all that could refuse, so that a refused request is left as it came. */
	if (inject_alarm(in, host, port, secure, h, *target, rep))
		return 0;
	for (size_t i = 0; i < in->n && secure && r == 0; i++) {
		const struct secret *s = in->v[i];
		bool did = false;

		if (!goes_to(s, host, port))
			continue;
		r = put_one(s, h, target, &did);
		if (did && rep->ndone < INJECT_SERVICES)
			str_copy(rep->done[rep->ndone++], sizeof(rep->done[0]), s->service);
	}
	if (r == 0 && rep->ndone > 0 && headers_get(h, "accept-encoding"))
		r = headers_set(h, "Accept-Encoding", "identity");
	return r;
}

/* ---- masks -------------------------------------------------------------------------------------------------------------- */

struct mask {
	struct secret *v[INJECT_SECRETS_MAX];
	size_t n;
	const char *pat[2 * INJECT_SECRETS_MAX]; /* into the secrets' pages */
	size_t plen[2 * INJECT_SECRETS_MAX], npat;
	size_t least;    /* shorter ones are not looked for in the body */
	struct buf work; /* held back: a proper beginning of a pattern */
};
#define MASK_SLICE 4096u

int mask_create(struct mask **out, const struct inject *in, const char *host, uint16_t port)
{
	struct mask *m = NULL;

	*out = NULL;
	for (size_t i = 0; i < in->n; i++) {
		struct secret *s = in->v[i];

		if (!goes_to(s, host, port) || strlen(s->value) < INJECT_VALUE_MIN)
			continue;
		if (!m) {
			m = calloc(1, sizeof(*m));
			if (!m)
				return -ENOMEM;
			buf_init(&m->work, SIZE_MAX / 2);
		}
		s->refs++;
		m->v[m->n++] = s;
		m->pat[m->npat] = s->value;
		m->plen[m->npat++] = strlen(s->value);
		if (s->basic) {
			/* Without the padding: another text may follow in the same blob. */
			m->pat[m->npat] = s->basic;
			m->plen[m->npat++] = strcspn(s->basic, "=");
		}
	}
	/* Held bytes stay below the longest pattern; they are moved down while they are less than half. */
	size_t longest = 0;
	for (size_t k = 0; m && k < m->npat; k++)
		longest = m->plen[k] > longest ? m->plen[k] : longest;
	if (m && !buf_reserve(&m->work, 2 * (longest + MASK_SLICE))) {
		mask_destroy(&m);
		return -ENOMEM;
	}
	*out = m;
	return 0;
}

void mask_destroy(struct mask **mp)
{
	struct mask *m = *mp;

	if (!m)
		return;
	*mp = NULL;
	for (size_t i = 0; i < m->n; i++)
		unref(m->v[i]);
	buf_wipe(&m->work);
	free(m);
}

static void blot(const struct mask *m, size_t least, char *p, size_t n)
{
	for (size_t k = 0; k < m->npat; k++) {
		char *at = p;
		size_t left = m->plen[k] < least ? 0 : n;

		while ((at = memmem(at, left, m->pat[k], m->plen[k])) != NULL) {
			memset(at, '*', m->plen[k]);
			at += m->plen[k];
			left = n - (size_t)(at - p);
		}
	}
}

void mask_coded(struct mask *m)
{
	m->least = INJECT_CODED_MIN;
}

void mask_headers(const struct mask *m, struct headers *h)
{
	for (size_t i = 0; i < h->n; i++) {
		blot(m, 0, h->v[i].value, h->v[i].vlen);
		blot(m, 0, h->v[i].name, h->v[i].nlen);
	}
}

/* Bytes at the end of [p, p + n) that may be the beginning of a value. */
static size_t beginning(const struct mask *m, const uint8_t *p, size_t n)
{
	size_t best = 0;

	for (size_t k = 0; k < m->npat; k++) {
		size_t len = m->plen[k] < m->least ? 0 : m->plen[k] - 1 < n ? m->plen[k] - 1 : n;

		for (; len > best; len--)
			if (p[n - len] == (uint8_t)m->pat[k][0] && memcmp(p + n - len, m->pat[k], len) == 0)
				best = len;
	}
	return best;
}

/* In slices, through a buffer that never grows: growing would leave copies of an echo behind. */
int mask_feed(struct mask *m, const uint8_t *p, size_t n, struct buf *out)
{
	while (n > 0) {
		const size_t slice = n < MASK_SLICE ? n : MASK_SLICE;

		if (buf_put(&m->work, p, slice) < 0)
			return -ENOMEM;
		p += slice;
		n -= slice;
		const size_t have = buf_size(&m->work);
		blot(m, m->least, (char *)(uintptr_t)buf_head(&m->work), have);
		const size_t keep = beginning(m, buf_head(&m->work), have);
		if (buf_put(out, buf_head(&m->work), have - keep) < 0)
			return -ENOBUFS;
		buf_consume(&m->work, have - keep);
	}
	return 0;
}

int mask_end(struct mask *m, struct buf *out)
{
	const size_t have = buf_size(&m->work);

	if (have > 0 && buf_put(out, buf_head(&m->work), have) < 0)
		return -ENOBUFS;
	buf_consume(&m->work, have);
	return 0;
}

size_t mask_held(const struct mask *m)
{
	return m ? buf_size(&m->work) : 0;
}
