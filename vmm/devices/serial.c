/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/serial.h"

#include <string.h>
#include <unistd.h>

enum { R_DATA, R_IER, R_IIR, R_LCR, R_MCR, R_LSR, R_MSR, R_SCR };
enum { IER_RX = 1, IER_THRE = 2 };
enum { IIR_NONE = 1, IIR_THRE = 2, IIR_RX = 4, IIR_FIFO = 0xc0 };
enum { LSR_RX = 1, LSR_THRE = 0x20, LSR_IDLE = 0x40 };
enum { LCR_DLAB = 0x80, MCR_LOOP = 0x10 };

void serial_init(struct serial *s, int irq, void (*wake)(void *arg), void *arg)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	s->dll = 1;
	s->irq = irq;
	s->wake = wake;
	s->arg = arg;
}

void serial_release(struct serial *s)
{
	pthread_mutex_destroy(&s->lock);
}

static uint8_t pending(const struct serial *s)
{
	if ((s->ier & IER_RX) && s->in_n > 0)
		return IIR_RX;
	if ((s->ier & IER_THRE) && s->thre_due)
		return IIR_THRE;
	return IIR_NONE;
}

/* The line is an edge: whenever there is cause, and again when a cause remains after one was served. */
static void interrupt(struct serial *s)
{
	const uint64_t one = 1;

	if (s->irq >= 0 && pending(s) != IIR_NONE && write(s->irq, &one, sizeof(one)) < 0)
		return; /* the counter is full: the interrupt is due anyway */
}

static bool put_in(struct serial *s, uint8_t c)
{
	if (s->in_n == SERIAL_IN_MAX)
		return false;
	s->in[(s->in_at + s->in_n++) % SERIAL_IN_MAX] = c;
	return true;
}

/* True: somebody is to be woken. */
static bool transmit(struct serial *s, uint8_t c)
{
	bool first = false;

	if (s->mcr & MCR_LOOP) {
		put_in(s, c);
	} else if (s->out_n < SERIAL_OUT_MAX) {
		first = s->out_n == 0;
		s->out[s->out_n++] = c;
	} else {
		s->dropped++;
	}
	s->thre_due = true;
	interrupt(s);
	return first;
}

void serial_write(struct serial *s, unsigned reg, uint8_t v)
{
	bool wake = false;

	pthread_mutex_lock(&s->lock);
	switch (reg) {
	case R_DATA:
		if (s->lcr & LCR_DLAB)
			s->dll = v;
		else
			wake = transmit(s, v);
		break;
	case R_IER:
		if (s->lcr & LCR_DLAB) {
			s->dlm = v;
			break;
		}
		if ((v & IER_THRE) && !(s->ier & IER_THRE))
			s->thre_due = true;
		s->ier = v & 0xf;
		interrupt(s);
		break;
	case R_IIR: /* FIFO control */
		if (v & 2)
			s->in_n = 0;
		break;
	case R_LCR:
		s->lcr = v;
		break;
	case R_MCR:
		s->mcr = v & 0x1f;
		break;
	case R_SCR:
		s->scr = v;
		break;
	default: /* LSR and MSR cannot be written */
		break;
	}
	pthread_mutex_unlock(&s->lock);
	if (wake && s->wake)
		s->wake(s->arg);
}

static uint8_t receive(struct serial *s)
{
	uint8_t c = 0;

	if (s->in_n > 0) {
		c = s->in[s->in_at];
		s->in_at = (s->in_at + 1) % SERIAL_IN_MAX;
		s->in_n--;
	}
	interrupt(s);
	return c;
}

static uint8_t read_iir(struct serial *s)
{
	const uint8_t v = pending(s);

	if (v == IIR_THRE)
		s->thre_due = false;
	return v | IIR_FIFO;
}

static uint8_t read_msr(const struct serial *s)
{
	/* Looped back: DTR, RTS, OUT1, OUT2 appear as DSR, CTS, RI, DCD. Else a terminal is there and ready. */
	if (s->mcr & MCR_LOOP)
		return (uint8_t)((s->mcr & 1) << 5 | (s->mcr & 2) << 3 | (s->mcr & 4) << 4 | (s->mcr & 8) << 4);
	return 0xb0;
}

uint8_t serial_read(struct serial *s, unsigned reg)
{
	uint8_t v = 0;

	pthread_mutex_lock(&s->lock);
	switch (reg) {
	case R_DATA:
		v = s->lcr & LCR_DLAB ? s->dll : receive(s);
		break;
	case R_IER:
		v = s->lcr & LCR_DLAB ? s->dlm : s->ier;
		break;
	case R_IIR:
		v = read_iir(s);
		break;
	case R_LCR:
		v = s->lcr;
		break;
	case R_MCR:
		v = s->mcr;
		break;
	case R_LSR:
		v = LSR_THRE | LSR_IDLE | (s->in_n > 0 ? LSR_RX : 0);
		break;
	case R_MSR:
		v = read_msr(s);
		break;
	default:
		v = s->scr;
		break;
	}
	pthread_mutex_unlock(&s->lock);
	return v;
}

size_t serial_take(struct serial *s, uint8_t *dst, size_t n)
{
	pthread_mutex_lock(&s->lock);
	n = n < s->out_n ? n : s->out_n;
	memcpy(dst, s->out, n);
	memmove(s->out, s->out + n, s->out_n - n);
	s->out_n -= n;
	pthread_mutex_unlock(&s->lock);
	return n;
}

size_t serial_give(struct serial *s, const uint8_t *p, size_t n)
{
	size_t i = 0;

	pthread_mutex_lock(&s->lock);
	while (i < n && put_in(s, p[i]))
		i++;
	interrupt(s);
	pthread_mutex_unlock(&s->lock);
	return i;
}

void serial_save(struct serial *s, struct buf *b)
{
	pthread_mutex_lock(&s->lock);
	const uint8_t regs[] = { s->ier, s->lcr, s->mcr, s->scr, s->dll, s->dlm, s->thre_due };
	pthread_mutex_unlock(&s->lock);
	buf_put(b, regs, sizeof(regs));
}

int serial_load(struct serial *s, struct rbuf *r)
{
	uint8_t thre_due = 0;

	rbuf_u8(r, &s->ier);
	rbuf_u8(r, &s->lcr);
	rbuf_u8(r, &s->mcr);
	rbuf_u8(r, &s->scr);
	rbuf_u8(r, &s->dll);
	rbuf_u8(r, &s->dlm);
	rbuf_u8(r, &thre_due);
	s->thre_due = thre_due != 0;
	const int rc = rbuf_done(r);
	if (rc == 0)
		interrupt(s);
	return rc;
}
