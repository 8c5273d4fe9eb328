/* SPDX-License-Identifier: Apache-2.0 */
/* Field by field, in the order of the structs; counts are checked before they are used as one. */
#include "core/proto/agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint32_t sess_failed_status(uint32_t code)
{
	return code == ENOENT ? 127 : code == EACCES || code == ENOEXEC || code == EISDIR ? 126 : 125;
}

static int fail(struct rbuf *r)
{
	r->bad = true;
	return -EBADMSG;
}

static int done(const struct rbuf *r)
{
	return r->bad ? -EBADMSG : 0;
}

static int packed(const struct buf *b)
{
	return buf_ok(b) ? 0 : -ENOBUFS;
}

static int too_many(struct buf *b)
{
	b->failed = true;
	return -EINVAL;
}

int agent_hello_host_pack(struct buf *b, const struct agent_hello_host *m)
{
	buf_u16(b, m->version);
	buf_u32(b, m->gen);
	buf_u64(b, m->wall_ns);
	buf_put(b, m->entropy, sizeof(m->entropy));
	buf_str16(b, m->hostname);
	buf_str16(b, m->workspace);
	workspaces_put(b, &m->ws);
	return packed(b);
}

int agent_hello_host_unpack(struct rbuf *r, struct agent_hello_host *m)
{
	rbuf_u16(r, &m->version);
	rbuf_u32(r, &m->gen);
	rbuf_u64(r, &m->wall_ns);
	rbuf_copy(r, m->entropy, sizeof(m->entropy));
	rbuf_str16(r, m->hostname, sizeof(m->hostname));
	rbuf_str16(r, m->workspace, sizeof(m->workspace));
	workspaces_get(r, &m->ws);
	return done(r);
}

int agent_hello_guest_pack(struct buf *b, const struct agent_hello_guest *m)
{
	buf_u16(b, m->version);
	buf_u32(b, m->gen);
	buf_u64(b, m->up_ns);
	buf_str16(b, m->kernel);
	buf_str16(b, m->agent);
	return packed(b);
}

int agent_hello_guest_unpack(struct rbuf *r, struct agent_hello_guest *m)
{
	rbuf_u16(r, &m->version);
	rbuf_u32(r, &m->gen);
	rbuf_u64(r, &m->up_ns);
	rbuf_str16(r, m->kernel, sizeof(m->kernel));
	rbuf_str16(r, m->agent, sizeof(m->agent));
	return done(r);
}

int agent_stats_pack(struct buf *b, const struct agent_stats *m)
{
	const uint64_t v[] = { m->up_ns, m->cpu_busy_ns, m->cpu_total_ns, m->mem_total, m->mem_used, m->mem_cache,
			       m->disk_total, m->disk_used, m->io_read, m->io_written };

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		buf_u64(b, v[i]);
	buf_u32(b, m->pids);
	buf_u32(b, m->vcpus);
	buf_u32(b, m->load1_milli);
	buf_u32(b, m->zero);
	return packed(b);
}

int agent_stats_unpack(struct rbuf *r, struct agent_stats *m)
{
	uint64_t *const v[] = { &m->up_ns, &m->cpu_busy_ns, &m->cpu_total_ns, &m->mem_total, &m->mem_used, &m->mem_cache,
				&m->disk_total, &m->disk_used, &m->io_read, &m->io_written };

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		rbuf_u64(r, v[i]);
	rbuf_u32(r, &m->pids);
	rbuf_u32(r, &m->vcpus);
	rbuf_u32(r, &m->load1_milli);
	rbuf_u32(r, &m->zero);
	return done(r);
}

int agent_top_pack(struct buf *b, const struct agent_top *m)
{
	if (m->n > AGENT_TOP_MAX)
		return too_many(b);
	buf_u16(b, m->n);
	for (size_t i = 0; i < m->n; i++) {
		const struct agent_proc *p = &m->proc[i];

		buf_u32(b, p->pid);
		buf_u32(b, p->uid);
		buf_u32(b, p->cpu_milli);
		buf_u64(b, p->rss);
		buf_str16(b, p->comm);
		buf_str16(b, p->container);
	}
	return packed(b);
}

int agent_top_unpack(struct rbuf *r, struct agent_top *m)
{
	if (rbuf_u16(r, &m->n) < 0 || m->n > AGENT_TOP_MAX) {
		m->n = 0;
		return fail(r);
	}
	for (size_t i = 0; i < m->n; i++) {
		struct agent_proc *p = &m->proc[i];

		rbuf_u32(r, &p->pid);
		rbuf_u32(r, &p->uid);
		rbuf_u32(r, &p->cpu_milli);
		rbuf_u64(r, &p->rss);
		rbuf_str16(r, p->comm, sizeof(p->comm));
		rbuf_str16(r, p->container, sizeof(p->container));
	}
	return done(r);
}

int agent_containers_pack(struct buf *b, const struct agent_containers *m)
{
	if (m->n > AGENT_CONTAINERS_MAX)
		return too_many(b);
	buf_u16(b, m->n);
	for (size_t i = 0; i < m->n; i++) {
		const struct agent_container *c = &m->c[i];

		buf_str16(b, c->id);
		buf_str16(b, c->name);
		buf_str16(b, c->image);
		buf_str16(b, c->state);
		buf_str16(b, c->status);
	}
	return packed(b);
}

int agent_containers_unpack(struct rbuf *r, struct agent_containers *m)
{
	if (rbuf_u16(r, &m->n) < 0 || m->n > AGENT_CONTAINERS_MAX) {
		m->n = 0;
		return fail(r);
	}
	for (size_t i = 0; i < m->n; i++) {
		struct agent_container *c = &m->c[i];

		rbuf_str16(r, c->id, sizeof(c->id));
		rbuf_str16(r, c->name, sizeof(c->name));
		rbuf_str16(r, c->image, sizeof(c->image));
		rbuf_str16(r, c->state, sizeof(c->state));
		rbuf_str16(r, c->status, sizeof(c->status));
	}
	return done(r);
}

int agent_docker_pack(struct buf *b, const struct agent_docker *m)
{
	buf_u8(b, m->state);
	buf_u32(b, m->restarts);
	buf_u64(b, m->ready_ns);
	buf_str16(b, m->why);
	return packed(b);
}

int agent_docker_unpack(struct rbuf *r, struct agent_docker *m)
{
	rbuf_u8(r, &m->state);
	rbuf_u32(r, &m->restarts);
	rbuf_u64(r, &m->ready_ns);
	rbuf_str16(r, m->why, sizeof(m->why));
	return m->state < DOCKER_NUM ? done(r) : fail(r);
}

int agent_trust_pack(struct buf *b, const struct agent_trust *m)
{
	buf_u32(b, m->total);
	buf_u32(b, m->offset);
	buf_put(b, m->p, m->n);
	return packed(b);
}

int agent_trust_unpack(struct rbuf *r, struct agent_trust *m)
{
	rbuf_u32(r, &m->total);
	rbuf_u32(r, &m->offset);
	m->n = r->n <= AGENT_TRUST_PIECE ? (uint32_t)r->n : 0;
	if (rbuf_bytes(r, m->n, &m->p) < 0 || m->n == 0 || m->total > AGENT_TRUST_MAX || m->offset > m->total || m->n > m->total - m->offset)
		return -EBADMSG;
	return 0;
}

int sess_open_pack(struct buf *b, const struct sess_open *m)
{
	if (m->argc > SESS_ARGS_MAX || m->envc > SESS_ENVS_MAX)
		return too_many(b);
	buf_u8(b, m->flags);
	buf_u16(b, m->rows);
	buf_u16(b, m->cols);
	buf_str16(b, m->user);
	buf_str16(b, m->cwd);
	buf_str16(b, m->term);
	buf_u16(b, m->argc);
	for (uint16_t i = 0; i < m->argc; i++)
		buf_str16(b, m->argv[i]);
	buf_u16(b, m->envc);
	for (uint16_t i = 0; i < m->envc; i++)
		buf_str16(b, m->envv[i]);
	return packed(b);
}

/* Count, then that many strings: an owned, NULL-terminated array. */
static char **unpack_strings(struct rbuf *r, uint16_t max, uint16_t *count)
{
	uint16_t n;

	*count = 0;
	if (rbuf_u16(r, &n) < 0 || n > max || r->n < 2 * (size_t)n) {
		r->bad = true;
		return NULL;
	}
	char **v = calloc((size_t)n + 1, sizeof(*v));
	if (!v) {
		r->bad = true;
		return NULL;
	}
	for (uint16_t i = 0; i < n; i++) {
		const uint8_t *p;
		size_t len;

		if (rbuf_blob16(r, &p, &len) < 0 || memchr(p, 0, len)) {
			r->bad = true;
			break;
		}
		v[i] = strndup((const char *)p, len);
		if (!v[i]) {
			r->bad = true;
			break;
		}
		*count = (uint16_t)(i + 1);
	}
	return v;
}

int sess_open_unpack(struct rbuf *r, struct sess_open *m)
{
	*m = (struct sess_open){ 0 };
	rbuf_u8(r, &m->flags);
	rbuf_u16(r, &m->rows);
	rbuf_u16(r, &m->cols);
	rbuf_str16(r, m->user, sizeof(m->user));
	rbuf_str16(r, m->cwd, sizeof(m->cwd));
	rbuf_str16(r, m->term, sizeof(m->term));
	m->argv = unpack_strings(r, SESS_ARGS_MAX, &m->argc);
	m->envv = unpack_strings(r, SESS_ENVS_MAX, &m->envc);
	if (!r->bad)
		return 0;
	sess_open_release(m);
	return -EBADMSG;
}

void sess_open_release(struct sess_open *m)
{
	for (uint16_t i = 0; i < m->argc; i++)
		free(m->argv[i]);
	for (uint16_t i = 0; i < m->envc; i++)
		free(m->envv[i]);
	free(m->argv);
	free(m->envv);
	m->argv = m->envv = NULL;
	m->argc = m->envc = 0;
}
