/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot of a machine: its state file (state.h) and its memory file, written while it stands; and its devices from there. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "vmm/kvm/machine.h"

int copy_open(uint8_t **p, struct state *st, int fd, struct err *e)
{
	struct stat s;

	if (fstat(fd, &s) < 0 || s.st_size > STATE_MAX)
		return err_set(e, EBADMSG, "the snapshot is none");
	const size_t n = (size_t)s.st_size;
	*p = malloc(n + 1);
	if (!*p || pread(fd, *p, n, 0) != (ssize_t)n)
		return err_set(e, EIO, "cannot read the snapshot");
	return state_open(st, *p, n, e);
}

int copy_restore(struct machine *m, const struct state *s, struct err *e)
{
	struct rbuf r;

	for (uint32_t i = 0; i < SLOT_NUM; i++) {
		const bool is = m->dev[i] != NULL, was = state_find(s, STATE_VIRTIO, i, &r) == 0;

		if (is != was || (is && (virtio_load(m->dev[i], &r) < 0 || rbuf_done(&r) < 0)))
			return err_set(e, EBADMSG, "the snapshot's device %u is not this machine's", i);
	}
	if (state_find(s, STATE_BALLOON, 0, &r) < 0 || balloon_load(&m->balloon, &r) < 0 || state_find(s, STATE_SERIAL, 0, &r) < 0 ||
	    serial_load(&m->tty.serial, &r) < 0 || state_find(s, STATE_CONSOLE, 0, &r) < 0 || vconsole_load(&m->tty.virtio, &r) < 0)
		return err_set(e, EBADMSG, "the snapshot lacks a device");
	vsock_restored(m->vsock);
	return 0;
}

int copy_save(struct machine *m, int state, int memory, struct err *e)
{
	struct buf b, one;

	if (!machine_stands(m))
		return err_set(e, EBUSY, "a machine must be paused for a snapshot");
	buf_init(&b, STATE_MAX);
	buf_init(&one, VIRTIO_STATE_MAX);
	state_begin(&b);
	int r = vm_save(&m->vm, &b, e);
	for (uint32_t i = 0; i < SLOT_NUM; i++)
		if (m->dev[i]) {
			buf_clear(&one);
			virtio_save(m->dev[i], &one);
			state_put(&b, STATE_VIRTIO, i, buf_head(&one), buf_size(&one));
		}
	buf_clear(&one);
	balloon_save(&m->balloon, &one);
	state_put(&b, STATE_BALLOON, 0, buf_head(&one), buf_size(&one));
	buf_clear(&one);
	serial_save(&m->tty.serial, &one);
	state_put(&b, STATE_SERIAL, 0, buf_head(&one), buf_size(&one));
	buf_clear(&one);
	vconsole_save(&m->tty.virtio, &one);
	state_put(&b, STATE_CONSOLE, 0, buf_head(&one), buf_size(&one));
	state_end(&b);
	if (r == 0 && (!buf_ok(&b) || !buf_ok(&one)))
		r = err_set(e, ENOMEM, "out of memory");
	if (r == 0)
		r = ram_save(&m->vm.ram, memory, e);
	if (r == 0 && (r = ftruncate(state, 0) < 0 ? -errno : fd_pwrite_full(state, buf_head(&b), buf_size(&b), 0)) < 0)
		err_errno(e, -r, "cannot write the snapshot");
	buf_release(&b);
	buf_release(&one);
	return r;
}
