/* SPDX-License-Identifier: Apache-2.0 */
#include "core/secret/held.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/str.h"

#define MASK_FROM 12u /* shorter values show nothing of themselves */

/* Heads its own pages. */
struct held {
	size_t pages, cap, n;
	char text[];
};

/* A fact about the process, not about a value. */
static atomic_bool unlocked;

struct held *held_create(size_t cap)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), need = sizeof(struct held) + cap + 1;
	size_t n = (need + page - 1) / page * page;

	if (need < cap)
		return NULL;
	struct held *h = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (h == MAP_FAILED)
		return NULL;
	if (mlock(h, n))
		atomic_store(&unlocked, true);
	madvise(h, n, MADV_DONTDUMP);
	madvise(h, n, MADV_DONTFORK);
	h->pages = n;
	h->cap = cap;
	return h;
}

void held_destroy(struct held **hp)
{
	struct held *h = *hp;

	if (!h)
		return;
	*hp = NULL;
	size_t n = h->pages;
	explicit_bzero(h, n);
	munmap(h, n);
}

struct held *held_copy(const void *p, size_t n)
{
	struct held *h = held_create(n);

	if (h && n) {
		memcpy(h->text, p, n);
		h->n = n;
	}
	return h;
}

const char *held_text(const struct held *h)
{
	return h ? h->text : "";
}

size_t held_size(const struct held *h)
{
	return h ? h->n : 0;
}

char *held_tail(struct held *h, size_t *room)
{
	*room = h->cap - h->n;
	return h->text + h->n;
}

void held_grew(struct held *h, size_t n)
{
	h->n += n < h->cap - h->n ? n : h->cap - h->n;
	h->text[h->n] = '\0';
}

void held_chomp(struct held *h)
{
	if (h->n && h->text[h->n - 1] == '\n')
		h->text[--h->n] = '\0';
	if (h->n && h->text[h->n - 1] == '\r')
		h->text[--h->n] = '\0';
}

bool held_equal(const struct held *a, const struct held *b)
{
	return held_size(a) == held_size(b) && !memcmp(held_text(a), held_text(b), held_size(a));
}

int held_check(const struct held *h, const char **why)
{
	const char *p = held_text(h);
	size_t n = held_size(h);

	*why = n == 0 ? "it is empty" : n > HELD_MAX ? "it is longer than 8191 bytes" : NULL;
	for (size_t i = 0; i < n && !*why; i++)
		if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
			*why = p[i] == '\n' || p[i] == '\r' ? "it has more than one line" : "it holds a control character";
	return *why ? -EINVAL : 0;
}

void held_mask(const struct held *h, char *dst, size_t cap)
{
	const char *p = held_text(h);
	size_t n = held_size(h);

	/* Bytes over 127 may be half a character. */
	bool plain = n >= MASK_FROM;
	for (size_t i = 0; i < 3 && plain; i++)
		plain = (p[i] & 0x80) == 0 && (p[n - 1 - i] & 0x80) == 0;
	if (plain)
		snprintf(dst, cap, "%.3s\xe2\x80\xa6%.2s", p, p + n - 2);
	else
		str_copy(dst, cap, n ? "\xe2\x80\xa6" : "");
}

bool held_locked(void)
{
	return !atomic_load(&unlocked);
}
