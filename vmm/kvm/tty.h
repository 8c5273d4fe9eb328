/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's console toward the host: one stream socket, behind it the 16550 (from the first moment on) and virtio-console (once a driver is
 * there). Both print to the socket; what is typed goes to virtio-console when it takes it, else to the 16550. Loop thread; its devices
 * lock themselves.
 */
#ifndef BULKHEAD_VMM_KVM_TTY_H
#define BULKHEAD_VMM_KVM_TTY_H

#include <uv.h>

#include "vmm/devices/console.h"
#include "vmm/devices/serial.h"

#define TTY_CHUNK 4096u

struct tty {
	struct serial serial;
	struct vconsole virtio;
	int fd;          /* -1 before tty_init() */
	uv_poll_t *poll; /* freed by its close */
	int events;
	uint8_t line[TTY_CHUNK]; /* on its way to the socket */
	size_t n;
};

/* Takes fd. Interrupt lines are borrowed eventfds; wake(arg), any thread: tty_flush() is due. 0 or -errno. */
int tty_init(struct tty *t, uv_loop_t *loop, const struct ram *ram, int fd, int serial_irq, int virtio_irq, void (*wake)(void *arg), void *arg);
/* What the guest printed goes to the socket as far as it takes it. */
void tty_flush(struct tty *t);
void tty_release(struct tty *t);

#endif
