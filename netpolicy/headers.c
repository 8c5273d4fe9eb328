/* SPDX-License-Identifier: Apache-2.0 */
#include "netpolicy/headers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void headers_init(struct headers *h)
{
	*h = (struct headers){ 0 };
}

static void free_field(struct header *f)
{
	explicit_bzero(f->value, f->vlen);
	free(f->name);
	free(f->value);
}

void headers_release(struct headers *h)
{
	for (size_t i = 0; i < h->n; i++)
		free_field(&h->v[i]);
	free(h->v);
	headers_init(h);
}

bool header_token_legal(const char *p, size_t n)
{
	static const char extra[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < n; i++) {
		const char c = p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr(extra, c))))
			return false;
	}
	return n > 0;
}

bool header_value_legal(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const unsigned char c = (unsigned char)p[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static char *copy(const char *p, size_t n)
{
	char *d = malloc(n + 1);

	if (d) {
		memcpy(d, p, n);
		d[n] = '\0';
	}
	return d;
}

int headers_add(struct headers *h, const char *name, size_t nlen, const char *value, size_t vlen)
{
	if (!header_token_legal(name, nlen) || !header_value_legal(value, vlen))
		return -EINVAL;
	if (h->n == HEADERS_MAX || nlen + vlen > HEADERS_BYTES - h->bytes)
		return -E2BIG;
	if (h->n == h->cap) {
		const size_t cap = h->cap ? h->cap * 2 : 16;
		struct header *v = realloc(h->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		h->v = v;
		h->cap = cap;
	}
	struct header f = { .name = copy(name, nlen), .value = copy(value, vlen), .nlen = nlen, .vlen = vlen };
	if (!f.name || !f.value) {
		free(f.name);
		free(f.value);
		return -ENOMEM;
	}
	h->v[h->n++] = f;
	h->bytes += nlen + vlen;
	return 0;
}

int headers_change(struct headers *h, size_t i, const char *value, size_t vlen)
{
	struct header *f = &h->v[i];

	if (!header_value_legal(value, vlen))
		return -EINVAL;
	if (vlen > HEADERS_BYTES - (h->bytes - f->vlen))
		return -E2BIG;
	char *d = copy(value, vlen);
	if (!d)
		return -ENOMEM;
	h->bytes = h->bytes - f->vlen + vlen;
	explicit_bzero(f->value, f->vlen);
	free(f->value);
	f->value = d;
	f->vlen = vlen;
	return 0;
}

bool header_is(const struct header *h, const char *name)
{
	/* Most differ in their first letter. */
	return (h->name[0] | 0x20) == (name[0] | 0x20) && strcasecmp(h->name, name) == 0;
}

void headers_remove_at(struct headers *h, size_t i)
{
	h->bytes -= h->v[i].nlen + h->v[i].vlen;
	free_field(&h->v[i]);
	memmove(&h->v[i], &h->v[i + 1], (h->n - i - 1) * sizeof(*h->v));
	h->n--;
}

size_t headers_remove(struct headers *h, const char *name)
{
	size_t gone = 0;

	for (size_t i = h->n; i-- > 0;)
		if (header_is(&h->v[i], name)) {
			headers_remove_at(h, i);
			gone++;
		}
	return gone;
}

int headers_set(struct headers *h, const char *name, const char *value)
{
	headers_remove(h, name);
	return headers_add(h, name, strlen(name), value, strlen(value));
}

const struct header *headers_get(const struct headers *h, const char *name)
{
	for (size_t i = 0; i < h->n; i++)
		if (header_is(&h->v[i], name))
			return &h->v[i];
	return NULL;
}

size_t headers_count(const struct headers *h, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < h->n; i++)
		n += header_is(&h->v[i], name);
	return n;
}

/* The next element of a list from *at on, blanks and parameters cut. False at the end. */
static bool next_token(const char *v, size_t n, size_t *at, const char **tok, size_t *len)
{
	while (*at < n && (v[*at] == ',' || v[*at] == ' ' || v[*at] == '\t'))
		(*at)++;
	if (*at >= n)
		return false;
	const size_t first = *at;
	while (*at < n && v[*at] != ',')
		(*at)++;
	size_t end = first;
	while (end < *at && v[end] != ';')
		end++;
	while (end > first && (v[end - 1] == ' ' || v[end - 1] == '\t'))
		end--;
	*tok = v + first;
	*len = end - first;
	return true;
}

bool headers_token(const struct headers *h, const char *name, const char *token)
{
	const size_t want = strlen(token);

	for (size_t i = 0; i < h->n; i++) {
		const char *tok;
		size_t at = 0, len;

		if (!header_is(&h->v[i], name))
			continue;
		while (next_token(h->v[i].value, h->v[i].vlen, &at, &tok, &len))
			if (len == want && strncasecmp(tok, token, len) == 0)
				return true;
	}
	return false;
}

static bool may_be_named(const char *name)
{
	static const char *const keep[] = { "host", "content-length", "content-type", "content-encoding", "trailer", "date", "connection" };

	for (size_t i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
		if (strcasecmp(name, keep[i]) == 0)
			return false;
	return true;
}

void headers_strip_hop(struct headers *h)
{
	static const char *const hop[] = { "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te",
					   "upgrade", "transfer-encoding", "http2-settings" };

	for (size_t i = h->n; i-- > 0;)
		if (i < h->n && may_be_named(h->v[i].name) && headers_token(h, "connection", h->v[i].name))
			headers_remove_at(h, i);
	for (size_t i = 0; i < sizeof(hop) / sizeof(hop[0]); i++)
		headers_remove(h, hop[i]);
}
