/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netpolicy/inject.c: fields and a target of a guest, then an echo cut at will. Input: a byte whose low bits cut the echo; "name: value" lines;
 * an empty line; the target; a new line; the body echoed. The value reaches no foreign host and never comes back.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "core/base/str.h"
#include "netpolicy/inject.h"

#define PLACE "PLACE-1"
#define VALUE "sekret-9"

static struct inject *secrets(void)
{
	struct inject *in = NULL;
	struct net_secret m = { .id = 1, .nhosts = 1, .service = "s", .header = "Authorization", .format = "basic:u", .placeholder = PLACE, .value = VALUE };

	MUST(inject_create(&in) == 0);
	str_copy(m.hosts[0], sizeof(m.hosts[0]), "own.example");
	MUST(inject_set(in, &m) == 0);
	return in;
}

static bool has(const struct headers *h, const char *what)
{
	for (size_t i = 0; i < h->n; i++)
		if (memmem(h->v[i].value, h->v[i].vlen, what, strlen(what)))
			return true;
	return false;
}

static const uint8_t *fields(const uint8_t *p, const uint8_t *end, struct headers *h)
{
	while (p < end) {
		const uint8_t *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl ? nl : end, *colon = memchr(p, ':', (size_t)(stop - p));

		if (stop == p)
			return nl ? nl + 1 : end;
		if (colon)
			(void)!headers_add(h, (const char *)p, (size_t)(colon - p), (const char *)colon + 1, (size_t)(stop - colon) - 1);
		p = nl ? nl + 1 : end;
	}
	return end;
}

static void echo(const struct inject *in, const uint8_t *p, size_t n, size_t step)
{
	struct mask *m = NULL;
	struct buf out;

	MUST(mask_create(&m, in, "own.example", 443) == 0 && m);
	buf_init(&out, n + 64);
	for (size_t at = 0; at < n; at += step)
		MUST(mask_feed(m, p + at, n - at < step ? n - at : step, &out) == 0);
	MUST(mask_held(m) < 64 && mask_end(m, &out) == 0);
	MUST(buf_size(&out) == n && (n == 0 || !memmem(buf_head(&out), n, VALUE, strlen(VALUE))));
	buf_release(&out);
	mask_destroy(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct inject *in;
	struct inject_report rep;
	struct headers h;

	if (n == 0)
		return 0;
	if (!in)
		in = secrets();
	for (int own = 0; own < 2; own++) {
		headers_init(&h);
		const uint8_t *at = fields(p + 1, p + n, &h), *nl = memchr(at, '\n', (size_t)(p + n - at)), *stop = nl ? nl : p + n;
		char *target = strndup((const char *)at, (size_t)(stop - at));
		const bool guessed = has(&h, VALUE) || strstr(target, VALUE);

		const int r = inject_request(in, own ? "own.example" : "other.example", 443, true, &h, &target, &rep);
		if (!own)
			MUST(r == 0 && rep.ndone == 0 && (guessed || (!has(&h, VALUE) && !strstr(target, VALUE))) && (rep.alarm || !has(&h, PLACE)));
		else if (r == 0)
			MUST(!rep.alarm && rep.ndone == 1 && headers_count(&h, "authorization") == 1 && !has(&h, PLACE));
		echo(in, stop, (size_t)(p + n - stop), p[0] % 16u + 1u);
		headers_release(&h);
		free(target);
	}
	return 0;
}
