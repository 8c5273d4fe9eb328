/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the chain back: the tail, and the whole with every link checked.
 *
 * Which record was altered? The one whose hash its follower does not name: unless the follower is at odds with the record after it too,
 * for then it is the follower itself.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/supervisor/chainfile.h"

#define FILE_READ_MAX (256u << 20)
#define BLOCK (256u * 1024u)

void chain_name(char name[CHAIN_NAME], uint64_t first)
{
	snprintf(name, CHAIN_NAME, "%020llu.jsonl", (unsigned long long)first);
}

void chain_hash(const void *p, size_t n, char hex[CHAIN_HEX])
{
	unsigned char d[EVP_MAX_MD_SIZE] = { 0 };
	unsigned len = 0;

	EVP_Digest(p, n, d, &len, EVP_sha256(), NULL);
	for (size_t i = 0; i < (CHAIN_HEX - 1) / 2; i++)
		snprintf(hex + 2 * i, 3, "%02x", d[i]);
}

static int by_number(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

static bool number_of(const char *name, uint64_t *first)
{
	char digits[21];

	if (strlen(name) != 26 || !str_ends(name, ".jsonl"))
		return false;
	memcpy(digits, name, 20);
	digits[20] = '\0';
	return !str_u64(digits, 1, INT64_MAX, first);
}

size_t chain_files(int dirfd, uint64_t *firsts, size_t max)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	size_t n = 0;
	uint64_t v;

	if (!d) {
		fd_close(&fd);
		return 0;
	}
	for (struct dirent *de; (de = readdir(d));) {
		if (!number_of(de->d_name, &v))
			continue;
		if (n < max) {
			firsts[n++] = v;
			continue;
		}
		size_t least = 0;
		for (size_t i = 1; i < n; i++)
			if (firsts[i] < firsts[least])
				least = i;
		if (v > firsts[least])
			firsts[least] = v;
	}
	closedir(d);
	qsort(firsts, n, sizeof(*firsts), by_number);
	return n;
}

static int open_file(int dirfd, uint64_t first)
{
	char name[CHAIN_NAME];

	chain_name(name, first);
	return openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

int chain_first_prev(int dirfd, uint64_t first, char prev[CHAIN_HEX])
{
	AUTO_FD fd = open_file(dirfd, first);
	AUTO_FREE char *p = malloc(CHAIN_LINE_MAX + 1);
	ssize_t n = fd >= 0 && p ? pread(fd, p, CHAIN_LINE_MAX + 1, 0) : -1;
	const char *nl = n > 0 ? memchr(p, '\n', (size_t)n) : NULL;
	json_t *o = nl ? json_loadb(p, (size_t)(nl - p), JSON_REJECT_DUPLICATES, NULL) : NULL;
	const char *v = json_string_value(json_object_get(o, "prev"));
	bool ok = v && strlen(v) == CHAIN_HEX - 1;

	memset(prev, '0', CHAIN_HEX - 1);
	prev[CHAIN_HEX - 1] = '\0';
	if (ok)
		str_copy(prev, CHAIN_HEX, v);
	json_decref(o);
	return ok ? 0 : -EBADMSG;
}

/* ---- verifying ----------------------------------------------------------------------------------------------------------------------- */

struct walk {
	const struct chain_ends *ends;
	struct chain_verdict *v;
	struct chain_mark at;  /* the record before */
	uint64_t suspect;      /* record whose follower names another hash; 0 none */
	bool done;
};

static void problem(struct walk *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void problem(struct walk *w, const char *fmt, ...)
{
	va_list ap;

	if (!w->v->ok)
		return;
	w->v->ok = false;
	va_start(ap, fmt);
	vsnprintf(w->v->problem, sizeof(w->v->problem), fmt, ap);
	va_end(ap);
}

static void settle_suspect(struct walk *w, bool follower_linked)
{
	if (w->suspect)
		problem(w, "record %llu was altered", (unsigned long long)(follower_linked ? w->suspect : w->suspect + 1));
	w->suspect = 0;
}

/* One line, without its newline. */
static void step(struct walk *w, const char *line, size_t n, const char *file, size_t number)
{
	json_t *o = json_loadb(line, n, JSON_REJECT_DUPLICATES, NULL);
	json_int_t seq = json_integer_value(json_object_get(o, "seq"));
	const char *prev = json_string_value(json_object_get(o, "prev")), *event = json_string_value(json_object_get(o, "event"));
	uint64_t want = w->at.seq + 1;

	if (seq <= 0 || !prev) {
		settle_suspect(w, true);
		problem(w, "record %llu was altered: line %zu of '%s' is no record", (unsigned long long)want, number, file);
		w->at.seq = want;
	} else if ((uint64_t)seq != want) {
		if ((uint64_t)seq < want)
			w->suspect = 0; /* a stranger in between explains the broken link */
		settle_suspect(w, true);
		if ((uint64_t)seq < want)
			problem(w, "record %llu stands after record %llu: line %zu of '%s' was put there or moved", (unsigned long long)seq,
				(unsigned long long)w->at.seq, number, file);
		else if ((uint64_t)seq == want + 1)
			problem(w, "record %llu is missing", (unsigned long long)want);
		else
			problem(w, "records %llu to %llu are missing", (unsigned long long)want, (unsigned long long)seq - 1);
		w->at.seq = (uint64_t)seq;
	} else {
		bool linked = !strcmp(prev, w->at.hash);
		settle_suspect(w, linked);
		if (!linked && w->v->ok)
			w->suspect = w->at.seq;
		w->at.seq = want;
	}
	if (event && !strcmp(event, "headless"))
		problem(w, "the log's head was gone when record %llu was written: records before it may be missing", (unsigned long long)w->at.seq);
	w->v->records++;
	chain_hash(line, n, w->at.hash);
	json_decref(o);
}

static void walk_file(struct walk *w, int dirfd, uint64_t first)
{
	char name[CHAIN_NAME];
	struct err e = ERR_INIT;
	struct buf b;
	size_t number = 0;

	chain_name(name, first);
	buf_init(&b, FILE_READ_MAX);
	if (atomicfile_read(dirfd, name, &b, &e)) {
		problem(w, "%s", e.msg);
		buf_release(&b);
		return;
	}
	const char *p = (const char *)buf_head(&b), *end = p + buf_size(&b);
	if (p < end && first != w->at.seq + 1)
		problem(w, first > w->at.seq + 1 ? "records %llu to %llu are missing" : "record %llu stands again in a file after record %llu",
			(unsigned long long)(first > w->at.seq + 1 ? w->at.seq + 1 : first),
			(unsigned long long)(first > w->at.seq + 1 ? first - 1 : w->at.seq));
	while (p < end && !w->done) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		step(w, p, (size_t)((nl ? nl : end) - p), name, ++number);
		p = nl ? nl + 1 : end;
		/* What was added since the question was asked is not looked at. */
		w->done = w->at.seq >= w->ends->last.seq;
	}
	buf_release(&b);
}

void chain_verify(int dirfd, const struct chain_ends *ends, struct chain_verdict *v)
{
	uint64_t firsts[CHAIN_FILES_MAX];
	size_t n = chain_files(dirfd, firsts, CHAIN_FILES_MAX);
	struct walk w = { .ends = ends, .v = v };

	*v = (struct chain_verdict){ .ok = true };
	w.at.seq = ends->base - 1;
	str_copy(w.at.hash, sizeof(w.at.hash), ends->base_prev);
	w.done = ends->last.seq < ends->base;
	for (size_t i = 0; i < n && !w.done; i++)
		if (firsts[i] >= ends->base)
			walk_file(&w, dirfd, firsts[i]);
	if (ends->last.seq < ends->base)
		return;
	bool last = w.at.seq == ends->last.seq && !strcmp(w.at.hash, ends->last.hash);
	settle_suspect(&w, last);
	if (w.at.seq + 1 == ends->last.seq)
		problem(&w, "record %llu is missing at the end", (unsigned long long)ends->last.seq);
	else if (w.at.seq < ends->last.seq)
		problem(&w, "records %llu to %llu are missing at the end", (unsigned long long)w.at.seq + 1, (unsigned long long)ends->last.seq);
	else if (w.at.seq == ends->last.seq && !last)
		problem(&w, "record %llu was altered", (unsigned long long)ends->last.seq);
}

/* ---- the tail ------------------------------------------------------------------------------------------------------------------------ */

struct tail {
	bool (*want)(void *arg, const json_t *o);
	void *arg;
	size_t lines, room; /* room: bytes of records that may still be taken */
	uint64_t budget;
	bool full;
	json_t *list; /* newest first */
};

static bool full(const struct tail *t)
{
	return t->full || json_array_size(t->list) >= t->lines;
}

static void offer(struct tail *t, const char *p, size_t n)
{
	json_t *o = n && !full(t) ? json_loadb(p, n, JSON_REJECT_DUPLICATES, NULL) : NULL;

	if (json_is_object(o) && t->want(t->arg, o)) {
		t->full = n > t->room;
		if (!t->full && !json_array_append(t->list, o))
			t->room -= n;
	}
	json_decref(o);
}

/* Blocks from the end; `keep` bytes at the buffer's start are the beginning of a line whose head is in the block before. */
static void tail_file(struct tail *t, int dirfd, uint64_t first)
{
	AUTO_FD fd = open_file(dirfd, first);
	AUTO_FREE char *p = malloc(BLOCK + CHAIN_LINE_MAX + 2);
	struct stat st;
	size_t keep = 0;

	if (fd < 0 || !p || fstat(fd, &st))
		return;
	off_t at = st.st_size;
	while ((at > 0 || keep) && t->budget > 0 && !full(t)) {
		size_t n = at > (off_t)BLOCK ? BLOCK : (size_t)at;
		if (keep > CHAIN_LINE_MAX + 1)
			keep = 0; /* no line is that long: damage, left out */
		memmove(p + n, p, keep);
		at -= (off_t)n;
		if (n && pread(fd, p, n, at) != (ssize_t)n)
			return;
		t->budget -= n < t->budget ? n : t->budget;
		size_t end = n + keep;
		while (end > 0) {
			const char *nl = memrchr(p, '\n', end);
			if (!nl && at > 0)
				break;
			size_t from = nl ? (size_t)(nl - p) + 1 : 0;
			offer(t, p + from, end - from);
			end = nl ? (size_t)(nl - p) : 0;
		}
		keep = end;
		if (at == 0)
			break;
	}
}

json_t *chain_tail(int dirfd, bool (*want)(void *arg, const json_t *o), void *arg, size_t lines, size_t room, uint64_t max_bytes)
{
	uint64_t firsts[CHAIN_FILES_MAX];
	size_t n = chain_files(dirfd, firsts, CHAIN_FILES_MAX);
	struct tail t = { .want = want, .arg = arg, .lines = lines, .room = room, .budget = max_bytes, .list = json_array() };
	json_t *list = json_array();

	while (n > 0 && t.budget > 0 && !full(&t))
		tail_file(&t, dirfd, firsts[--n]);
	for (size_t i = json_array_size(t.list); i > 0; i--)
		json_array_append(list, json_array_get(t.list, i - 1));
	json_decref(t.list);
	return list;
}
