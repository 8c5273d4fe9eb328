/* SPDX-License-Identifier: Apache-2.0 */
/* Field by field, in the order of the structs. Enumerations are checked here, so that who unpacks may use them as an index. */
#include "core/proto/child.h"

#include <errno.h>

static int checked(struct rbuf *r, bool legal)
{
	if (!legal)
		r->bad = true;
	return r->bad ? -EBADMSG : 0;
}

static int packed(const struct buf *b)
{
	return buf_ok(b) ? 0 : -ENOBUFS;
}

void dial_pack(uint8_t out[DIAL_MSG_SIZE], const struct dial_msg *m)
{
	const uint32_t v[] = { m->type, m->gen, m->port, m->token };

	for (size_t i = 0; i < DIAL_MSG_SIZE; i++)
		out[i] = (uint8_t)(v[i / 4] >> (8 * (i % 4)));
}

int dial_unpack(const uint8_t *p, size_t n, struct dial_msg *m)
{
	struct rbuf r;

	rbuf_init(&r, p, n);
	rbuf_u32(&r, &m->type);
	rbuf_u32(&r, &m->gen);
	rbuf_u32(&r, &m->port);
	rbuf_u32(&r, &m->token);
	if (rbuf_done(&r) < 0)
		return -EBADMSG;
	return m->type >= DIAL_OPEN && m->type <= DIAL_IN ? 0 : -EBADMSG;
}

int child_head_pack(struct buf *b, uint16_t type, uint32_t gen)
{
	buf_u16(b, type);
	buf_u16(b, 0);
	return buf_u32(b, gen);
}

int child_head_unpack(struct rbuf *r, struct child_head *h)
{
	uint16_t zero;

	rbuf_u16(r, &h->type);
	rbuf_u16(r, &zero);
	rbuf_u32(r, &h->gen);
	return checked(r, zero == 0);
}

int child_ready_pack(struct buf *b, const struct child_ready *m)
{
	buf_u16(b, m->version);
	buf_u32(b, m->pid);
	buf_str16(b, m->jail);
	return packed(b);
}

int child_ready_unpack(struct rbuf *r, struct child_ready *m)
{
	rbuf_u16(r, &m->version);
	rbuf_u32(r, &m->pid);
	rbuf_str16(r, m->jail, sizeof(m->jail));
	return rbuf_done(r);
}

int vmm_start_pack(struct buf *b, const struct vmm_start *m)
{
	buf_u32(b, m->backend);
	buf_u32(b, m->vcpus);
	buf_u32(b, m->memory_mib);
	buf_u8(b, m->kvm_usable);
	buf_u8(b, m->pages);
	buf_u8(b, m->restore);
	buf_u8(b, m->lanes);
	buf_str16(b, m->name);
	buf_str16(b, m->cmdline);
	return packed(b);
}

int vmm_start_unpack(struct rbuf *r, struct vmm_start *m)
{
	rbuf_u32(r, &m->backend);
	rbuf_u32(r, &m->vcpus);
	rbuf_u32(r, &m->memory_mib);
	rbuf_u8(r, &m->kvm_usable);
	rbuf_u8(r, &m->pages);
	rbuf_u8(r, &m->restore);
	rbuf_u8(r, &m->lanes);
	rbuf_str16(r, m->name, sizeof(m->name));
	rbuf_str16(r, m->cmdline, sizeof(m->cmdline));
	checked(r, m->backend == BACKEND_QEMU || m->backend == BACKEND_KVM);
	checked(r, m->vcpus >= 1 && m->vcpus <= 16 && m->memory_mib >= 256 && m->kvm_usable <= 1 && m->pages < VMM_PAGES_NUM && m->restore <= 1 && m->lanes <= WORKSPACES_MAX);
	return rbuf_done(r);
}

int vmm_refused_pack(struct buf *b, const struct vmm_refused *m)
{
	buf_str16(b, m->why);
	return packed(b);
}

int vmm_refused_unpack(struct rbuf *r, struct vmm_refused *m)
{
	rbuf_str16(r, m->why, sizeof(m->why));
	return rbuf_done(r);
}

int vmm_state_pack(struct buf *b, const struct vmm_state *m)
{
	buf_u8(b, m->run);
	buf_u8(b, m->end);
	buf_u32(b, m->machine_pid);
	buf_str16(b, m->why);
	return packed(b);
}

int vmm_state_unpack(struct rbuf *r, struct vmm_state *m)
{
	rbuf_u8(r, &m->run);
	rbuf_u8(r, &m->end);
	rbuf_u32(r, &m->machine_pid);
	rbuf_str16(r, m->why, sizeof(m->why));
	checked(r, m->run < VMM_RUN_NUM && m->end < VMM_END_NUM);
	return rbuf_done(r);
}

int vmm_snapped_pack(struct buf *b, const struct vmm_snapped *m)
{
	buf_u32(b, m->token);
	buf_u32(b, m->code);
	buf_str16(b, m->why);
	return packed(b);
}

int vmm_snapped_unpack(struct rbuf *r, struct vmm_snapped *m)
{
	rbuf_u32(r, &m->token);
	rbuf_u32(r, &m->code);
	rbuf_str16(r, m->why, sizeof(m->why));
	return rbuf_done(r);
}

int vmm_stats_pack(struct buf *b, const struct vmm_stats *m)
{
	buf_u64(b, m->cpu_ns);
	buf_u64(b, m->rss);
	buf_u64(b, m->channel_in);
	buf_u64(b, m->channel_out);
	buf_u32(b, m->streams);
	buf_u32(b, m->detail);
	for (size_t i = 0; i < VMM_EXIT_NUM; i++)
		buf_u64(b, m->exits[i]);
	for (size_t i = 0; i < VMM_DEVICE_NUM; i++)
		buf_u64(b, m->requests[i]);
	for (size_t i = 0; i < VMM_DEVICE_NUM; i++)
		buf_u64(b, m->interrupts[i]);
	buf_u64(b, m->disk_read);
	buf_u64(b, m->disk_written);
	buf_u64(b, m->disk_flushes);
	buf_u64(b, m->disk_failed);
	buf_u64(b, m->memory);
	buf_u64(b, m->balloon_target);
	buf_u64(b, m->balloon_actual);
	buf_u64(b, m->given);
	buf_u64(b, m->reported);
	buf_u64(b, m->hinted);
	buf_u64(b, m->guest_free);
	buf_u64(b, m->guest_available);
	return packed(b);
}

int vmm_stats_unpack(struct rbuf *r, struct vmm_stats *m)
{
	rbuf_u64(r, &m->cpu_ns);
	rbuf_u64(r, &m->rss);
	rbuf_u64(r, &m->channel_in);
	rbuf_u64(r, &m->channel_out);
	rbuf_u32(r, &m->streams);
	rbuf_u32(r, &m->detail);
	for (size_t i = 0; i < VMM_EXIT_NUM; i++)
		rbuf_u64(r, &m->exits[i]);
	for (size_t i = 0; i < VMM_DEVICE_NUM; i++)
		rbuf_u64(r, &m->requests[i]);
	for (size_t i = 0; i < VMM_DEVICE_NUM; i++)
		rbuf_u64(r, &m->interrupts[i]);
	rbuf_u64(r, &m->disk_read);
	rbuf_u64(r, &m->disk_written);
	rbuf_u64(r, &m->disk_flushes);
	rbuf_u64(r, &m->disk_failed);
	rbuf_u64(r, &m->memory);
	rbuf_u64(r, &m->balloon_target);
	rbuf_u64(r, &m->balloon_actual);
	rbuf_u64(r, &m->given);
	rbuf_u64(r, &m->reported);
	rbuf_u64(r, &m->hinted);
	rbuf_u64(r, &m->guest_free);
	rbuf_u64(r, &m->guest_available);
	checked(r, m->detail <= 1);
	return rbuf_done(r);
}

int term_start_pack(struct buf *b, const struct term_start *m)
{
	buf_u32(b, m->scrollback);
	buf_u64(b, m->record_cap);
	buf_u32(b, m->flags);
	buf_u32(b, m->idle_ms);
	buf_str16(b, m->hostname);
	buf_str16(b, m->workspace);
	workspaces_put(b, &m->ws);
	buf_str16(b, m->waits_pattern);
	return packed(b);
}

int term_start_unpack(struct rbuf *r, struct term_start *m)
{
	rbuf_u32(r, &m->scrollback);
	rbuf_u64(r, &m->record_cap);
	rbuf_u32(r, &m->flags);
	rbuf_u32(r, &m->idle_ms);
	rbuf_str16(r, m->hostname, sizeof(m->hostname));
	rbuf_str16(r, m->workspace, sizeof(m->workspace));
	workspaces_get(r, &m->ws);
	rbuf_str16(r, m->waits_pattern, sizeof(m->waits_pattern));
	checked(r, m->scrollback <= 1000000);
	return rbuf_done(r);
}

int term_open_pack(struct buf *b, const struct term_open *m)
{
	buf_u32(b, m->session);
	buf_u8(b, m->kind);
	buf_str16(b, m->label);
	return sess_open_pack(b, &m->open);
}

int term_open_unpack(struct rbuf *r, struct term_open *m)
{
	*m = (struct term_open){ 0 };
	rbuf_u32(r, &m->session);
	rbuf_u8(r, &m->kind);
	rbuf_str16(r, m->label, sizeof(m->label));
	checked(r, m->kind < TERM_KIND_NUM);
	if (sess_open_unpack(r, &m->open) < 0)
		return -EBADMSG;
	if (rbuf_done(r) < 0) {
		sess_open_release(&m->open);
		return -EBADMSG;
	}
	return 0;
}

void term_open_release(struct term_open *m)
{
	sess_open_release(&m->open);
}

int term_attach_pack(struct buf *b, const struct term_attach *m)
{
	buf_u32(b, m->session);
	return buf_u8(b, m->readonly);
}

int term_attach_unpack(struct rbuf *r, struct term_attach *m)
{
	rbuf_u32(r, &m->session);
	rbuf_u8(r, &m->readonly);
	checked(r, m->readonly <= 1);
	return rbuf_done(r);
}

int term_guest_pack(struct buf *b, const struct term_guest *m)
{
	buf_u8(b, m->state);
	buf_u64(b, m->up_ns);
	buf_str16(b, m->kernel);
	buf_str16(b, m->agent);
	buf_str16(b, m->why);
	return packed(b);
}

int term_guest_unpack(struct rbuf *r, struct term_guest *m)
{
	rbuf_u8(r, &m->state);
	rbuf_u64(r, &m->up_ns);
	rbuf_str16(r, m->kernel, sizeof(m->kernel));
	rbuf_str16(r, m->agent, sizeof(m->agent));
	rbuf_str16(r, m->why, sizeof(m->why));
	checked(r, m->state < GUEST_NUM);
	return rbuf_done(r);
}

int term_session_pack(struct buf *b, const struct term_session *m)
{
	buf_u32(b, m->session);
	buf_u8(b, m->kind);
	buf_u8(b, m->state);
	buf_u16(b, m->rows);
	buf_u16(b, m->cols);
	buf_u16(b, m->viewers);
	buf_u32(b, m->pid);
	buf_u32(b, m->code);
	buf_u32(b, m->signo);
	buf_u64(b, m->bytes_out);
	buf_u64(b, m->last_output_ms);
	buf_str16(b, m->label);
	buf_str16(b, m->title);
	return packed(b);
}

int term_session_unpack(struct rbuf *r, struct term_session *m)
{
	rbuf_u32(r, &m->session);
	rbuf_u8(r, &m->kind);
	rbuf_u8(r, &m->state);
	rbuf_u16(r, &m->rows);
	rbuf_u16(r, &m->cols);
	rbuf_u16(r, &m->viewers);
	rbuf_u32(r, &m->pid);
	rbuf_u32(r, &m->code);
	rbuf_u32(r, &m->signo);
	rbuf_u64(r, &m->bytes_out);
	rbuf_u64(r, &m->last_output_ms);
	rbuf_str16(r, m->label, sizeof(m->label));
	rbuf_str16(r, m->title, sizeof(m->title));
	checked(r, m->kind < TERM_KIND_NUM && m->state < SESSION_NUM);
	return rbuf_done(r);
}

int term_attention_pack(struct buf *b, const struct term_attention *m)
{
	buf_u32(b, m->session);
	buf_u8(b, m->kind);
	buf_str16(b, m->text);
	return packed(b);
}

int term_attention_unpack(struct rbuf *r, struct term_attention *m)
{
	rbuf_u32(r, &m->session);
	rbuf_u8(r, &m->kind);
	rbuf_str16(r, m->text, sizeof(m->text));
	checked(r, m->kind < ATTENTION_NUM);
	return rbuf_done(r);
}
