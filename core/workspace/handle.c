/* SPDX-License-Identifier: Apache-2.0 */
/* Open files and directories: a table of numbers with a generation, so that one that was closed is not mistaken for its successor. */
#include "core/workspace/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fd.h"

static int make_table(struct share *s)
{
	if (s->handle)
		return 0;
	if (!(s->handle = calloc(HANDLES_MAX, sizeof(*s->handle))))
		return -ENOMEM;
	for (uint32_t i = 0; i < HANDLES_MAX; i++)
		s->handle[i].fd = -1;
	return 0;
}

int handle_open_take(struct share *s, struct node *n, int fd, bool dir, bool writable, uint64_t *fh)
{
	if (make_table(s) < 0 || s->nhandles >= HANDLES_MAX) {
		close(fd);
		return -EMFILE;
	}
	while (s->handle[s->free_handle].gen)
		s->free_handle = (s->free_handle + 1) % HANDLES_MAX;
	struct handle *h = &s->handle[s->free_handle];
	*h = (struct handle){ .gen = ++s->handle_gen ? s->handle_gen : ++s->handle_gen, .node = n, .fd = fd, .dir = dir, .writable = writable };
	n->refs++;
	n->handles++;
	s->nhandles++;
	*fh = (uint64_t)h->gen << 32 | s->free_handle;
	return 0;
}

struct handle *handle_get(struct share *s, uint64_t fh, bool dir)
{
	const uint32_t at = (uint32_t)fh;

	if (!s->handle || at >= HANDLES_MAX || s->handle[at].gen == 0 || s->handle[at].gen != fh >> 32 || s->handle[at].dir != dir)
		return NULL;
	return &s->handle[at];
}

static void release(struct share *s, struct handle *h)
{
	struct node *n = h->node;

	fd_close(&h->fd);
	free(h->buf);
	h->buf = NULL;
	h->gen = 0;
	s->nhandles--;
	n->handles--;
	node_unref(s, n);
}

void handle_close(struct share *s, uint64_t fh, bool dir)
{
	struct handle *h = handle_get(s, fh, dir);

	if (h)
		release(s, h);
}

struct handle *handle_listing(struct share *s, struct node *n, int *error)
{
	uint32_t at = 0;
	struct handle *h;

	while (at < LISTINGS && s->listing[at].id != n->id)
		at++;
	/* A guest that guesses its number may have closed it. */
	if (at < LISTINGS && (h = handle_get(s, s->listing[at].fh, true)))
		return h;
	const int fd = node_open(s, n, O_RDONLY | O_DIRECTORY);
	uint64_t fh;
	*error = fd < 0 ? fd : handle_open_take(s, n, fd, true, false, &fh);
	if (*error < 0)
		return NULL;
	at = at < LISTINGS ? at : s->next_listing++ % LISTINGS;
	if (s->listing[at].id)
		handle_close(s, s->listing[at].fh, true);
	s->listing[at].id = n->id;
	s->listing[at].fh = fh;
	return handle_get(s, fh, true);
}

void handle_listed(struct share *s, const struct node *n)
{
	for (uint32_t at = 0; at < LISTINGS; at++)
		if (s->listing[at].id == n->id) {
			s->listing[at].id = 0;
			handle_close(s, s->listing[at].fh, true); /* n may be gone */
			return;
		}
}

struct handle *handle_reader(struct share *s, struct node *n, int *error)
{
	const uint32_t at = n->id % READERS;
	struct handle *h = s->reader[at].id == n->id ? handle_get(s, s->reader[at].fh, false) : NULL;

	if (h)
		return h;
	const int fd = node_open(s, n, O_RDONLY);
	uint64_t fh;
	*error = fd < 0 ? fd : handle_open_take(s, n, fd, false, false, &fh);
	if (*error < 0)
		return NULL;
	if (s->reader[at].id)
		handle_close(s, s->reader[at].fh, false);
	s->reader[at].id = n->id;
	s->reader[at].fh = fh;
	return handle_get(s, fh, false);
}

void handles_clear(struct share *s)
{
	for (uint32_t i = 0; s->handle && i < HANDLES_MAX; i++)
		if (s->handle[i].gen)
			release(s, &s->handle[i]);
	free(s->handle);
	s->handle = NULL;
	s->nhandles = s->free_handle = 0;
	memset(s->listing, 0, sizeof(s->listing));
	memset(s->reader, 0, sizeof(s->reader));
}

int node_open(struct share *s, struct node *n, int flags)
{
	char text[16];

	if (n->type != S_IFREG && n->type != S_IFDIR)
		return n->type == S_IFLNK ? -ELOOP : -ENXIO;
	const int path = node_fd(s, n);
	if (path < 0)
		return path;
	/* The descriptor stands for the very file, so following the kernel's link to it leads nowhere else. */
	snprintf(text, sizeof(text), "%d", path);
	const int fd = openat(s->proc, text, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}
