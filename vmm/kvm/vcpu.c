/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stopping a vCPU: `want` is set first, then the thread gets a signal whose handler sets immediate_exit, so that a KVM_RUN that is just
 * about to begin returns at once too. The thread clears immediate_exit before it looks at `want`.
 *
 * What the guest left for (a port, a register) ends only in the next KVM_RUN: until then neither what it read nor its next instruction is
 * in any state that can be saved. So a thread that is to stand first ends it, by a KVM_RUN that runs nothing (Linux' api.rst says so of port accesses).
 */
#include "vmm/kvm/vcpu.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/base/str.h"

#define KICK SIGUSR1

enum want { WANT_RUN, WANT_PAUSE, WANT_STOP };

struct one {
	struct vcpus *v;
	unsigned id;
	pthread_t thread;
	bool unfinished; /* its thread's own: the last KVM_RUN left with something that the next one ends */
	atomic_uint_fast64_t exits[VMM_EXIT_NUM];
};

struct vcpus {
	struct vm *m;
	const struct vcpu_ops *ops;
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum want want;
	unsigned started, standing, through; /* threads */
	bool failed;
	struct err fault; /* of a thread that could not seal itself */
	atomic_int end;   /* enum vmm_end */
	char why[256];
	struct one one[MACHINE_VCPUS_MAX];
};

static __thread struct kvm_run *volatile my_run;

static void on_kick(int signo)
{
	(void)signo;
	if (my_run)
		my_run->immediate_exit = 1;
}

void vcpus_end(struct vcpus *v, enum vmm_end end, const char *why)
{
	pthread_mutex_lock(&v->lock);
	if (atomic_load(&v->end) == VMM_END_NONE) {
		str_copy(v->why, sizeof(v->why), why);
		atomic_store(&v->end, (int)end);
		v->want = WANT_STOP;
		for (unsigned i = 0; i < v->started; i++)
			pthread_kill(v->one[i].thread, KICK);
		pthread_cond_broadcast(&v->changed);
	}
	pthread_mutex_unlock(&v->lock);
	v->ops->wake(v->arg);
}

static void count(struct one *o, enum vmm_exit kind)
{
	atomic_fetch_add_explicit(&o->exits[kind], 1, memory_order_relaxed);
}

static void on_serial(void *arg, unsigned reg, bool write_, uint8_t *v)
{
	struct vcpus *vs = arg;

	vs->ops->serial(vs->arg, reg, write_, v);
}

static void on_end(void *arg, enum vmm_end end, const char *why)
{
	vcpus_end(arg, end, why);
}

static const struct arch_bus bus = { .serial = on_serial, .end = on_end };

static void end_with(struct vcpus *v, const char *what, unsigned long long code)
{
	char why[200];

	snprintf(why, sizeof(why), "%s (%llu)", what, code);
	vcpus_end(v, VMM_END_CRASH, why);
}

/* One exit of the guest. */
static void on_exit_(struct one *o, struct kvm_run *run)
{
	struct vcpus *v = o->v;

	if (arch_exit(run, &bus, v)) {
		count(o, VMM_EXIT_PORT);
		return;
	}
	switch (run->exit_reason) {
	case KVM_EXIT_MMIO:
		count(o, VMM_EXIT_MMIO);
		v->ops->mmio(v->arg, run->mmio.phys_addr, run->mmio.is_write, run->mmio.data, run->mmio.len);
		break;
	case KVM_EXIT_HLT:
		count(o, VMM_EXIT_HALT);
		break;
	case KVM_EXIT_SHUTDOWN: /* a triple fault: how a kernel told reboot=t restarts */
		vcpus_end(v, VMM_END_REBOOT, "the guest restarted itself");
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		vcpus_end(v, run->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN ? VMM_END_POWEROFF : VMM_END_REBOOT, "the guest asked for its end");
		break;
	case KVM_EXIT_FAIL_ENTRY:
		end_with(v, "the CPU refused to enter the guest; 'bulkhead doctor' says whether it runs any, --backend qemu goes without it: reason", run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		end_with(v, "KVM could not go on with the guest; 'bulkhead doctor' says whether it runs any, --backend qemu goes without it: internal error", run->internal.suberror);
		break;
	default:
		count(o, VMM_EXIT_OTHER);
		end_with(v, "the guest left by an exit that is not handled", run->exit_reason);
		break;
	}
}

/* Ends what the last exit began. A register that lies across two pages makes another exit of it, which is served as any. */
static void complete(struct one *o)
{
	struct kvm_run *run = o->v->m->run[o->id];

	while (o->unfinished) {
		run->immediate_exit = 1;
		o->unfinished = ioctl(o->v->m->vcpu[o->id], KVM_RUN, 0) == 0;
		if (o->unfinished)
			on_exit_(o, run);
	}
	run->immediate_exit = 0; /* before `want` is looked at again */
	atomic_signal_fence(memory_order_seq_cst);
}

/* Waits out a pause. False: stop. */
static bool may_run(struct one *o)
{
	struct vcpus *v = o->v;
	bool told = false;

	pthread_mutex_lock(&v->lock);
	while (v->want == WANT_PAUSE && o->unfinished) {
		pthread_mutex_unlock(&v->lock);
		complete(o);
		pthread_mutex_lock(&v->lock);
	}
	if (v->want == WANT_PAUSE) {
		v->standing++;
		while (v->want == WANT_PAUSE) {
			if (!told && v->standing == v->m->nvcpus)
				v->ops->wake(v->arg);
			told = true;
			pthread_cond_wait(&v->changed, &v->lock);
		}
		v->standing--;
	}
	const bool run = v->want == WANT_RUN;
	pthread_mutex_unlock(&v->lock);
	return run;
}

/* Each thread says so once, sealed or not. */
static bool seal(struct vcpus *v)
{
	struct err e = ERR_INIT;
	const int r = v->ops->seal ? v->ops->seal(v->arg, &e) : 0;

	pthread_mutex_lock(&v->lock);
	if (r < 0 && !v->failed) {
		v->failed = true;
		v->fault = e;
	}
	v->through++; /* counts up to nvcpus: all are through here */
	pthread_cond_broadcast(&v->changed);
	pthread_mutex_unlock(&v->lock);
	return r == 0;
}

static void *run_thread(void *arg)
{
	struct one *o = arg;
	struct vcpus *v = o->v;
	struct kvm_run *run = v->m->run[o->id];
	const int fd = v->m->vcpu[o->id];

	my_run = run;
	if (!seal(v))
		return NULL;
	for (;;) {
		run->immediate_exit = 0;
		atomic_signal_fence(memory_order_seq_cst);
		if (!may_run(o))
			break;
		const int r = ioctl(fd, KVM_RUN, 0);
		if (r < 0 && (errno == EINTR || errno == EAGAIN)) {
			count(o, VMM_EXIT_SIGNAL);
			o->unfinished = false;
			continue;
		}
		o->unfinished = r == 0;
		if (r < 0)
			end_with(v, "the machine does not run any more", (unsigned long long)errno);
		else
			on_exit_(o, run);
	}
	my_run = NULL;
	return NULL;
}

static int start_threads(struct vcpus *v, struct err *e)
{
	sigset_t all, old;

	/* Our signals are the main thread's; a vCPU has the kick alone, and a forbidden call's (jail.h). */
	sigfillset(&all);
	sigdelset(&all, KICK);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = 0;
	for (unsigned i = 0; i < v->m->nvcpus && r == 0; i++) {
		v->one[i].v = v;
		v->one[i].id = i;
		r = pthread_create(&v->one[i].thread, NULL, run_thread, &v->one[i]);
		v->started += r == 0;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0)
		return err_errno(e, r, "cannot start the vCPUs' threads");
	pthread_mutex_lock(&v->lock);
	while (v->through < v->started)
		pthread_cond_wait(&v->changed, &v->lock);
	const bool failed = v->failed;
	pthread_mutex_unlock(&v->lock);
	if (failed) {
		*e = v->fault;
		return -e->code;
	}
	return 0;
}

int vcpus_start(struct vcpus **out, struct vm *m, const struct vcpu_ops *ops, void *arg, struct err *e)
{
	const struct sigaction sa = { .sa_handler = on_kick };
	struct vcpus *v = calloc(1, sizeof(*v));

	*out = NULL;
	if (!v)
		return err_set(e, ENOMEM, "out of memory");
	v->m = m;
	v->ops = ops;
	v->arg = arg;
	v->want = WANT_PAUSE;
	pthread_mutex_init(&v->lock, NULL);
	pthread_cond_init(&v->changed, NULL);
	sigaction(KICK, &sa, NULL);
	const int r = start_threads(v, e);
	if (r < 0) {
		vcpus_destroy(&v);
		return r;
	}
	*out = v;
	return 0;
}

static void set_want(struct vcpus *v, enum want want)
{
	pthread_mutex_lock(&v->lock);
	if (v->want != WANT_STOP)
		v->want = want;
	for (unsigned i = 0; i < v->started && want != WANT_RUN; i++)
		pthread_kill(v->one[i].thread, KICK);
	pthread_cond_broadcast(&v->changed);
	pthread_mutex_unlock(&v->lock);
}

void vcpus_pause(struct vcpus *v)
{
	set_want(v, WANT_PAUSE);
}

void vcpus_resume(struct vcpus *v)
{
	set_want(v, WANT_RUN);
}

bool vcpus_stand(struct vcpus *v)
{
	pthread_mutex_lock(&v->lock);
	const bool all = v->want == WANT_PAUSE && v->standing == v->m->nvcpus;
	pthread_mutex_unlock(&v->lock);
	return all;
}

enum vmm_end vcpus_ended(struct vcpus *v, const char **why)
{
	const enum vmm_end end = (enum vmm_end)atomic_load(&v->end);

	*why = v->why;
	return end;
}

void vcpus_exits(const struct vcpus *v, uint64_t out[VMM_EXIT_NUM])
{
	memset(out, 0, VMM_EXIT_NUM * sizeof(out[0]));
	for (unsigned i = 0; i < v->started; i++)
		for (unsigned k = 0; k < VMM_EXIT_NUM; k++)
			out[k] += atomic_load_explicit(&v->one[i].exits[k], memory_order_relaxed);
}

void vcpus_destroy(struct vcpus **vp)
{
	struct vcpus *v = *vp;

	if (!v)
		return;
	*vp = NULL;
	set_want(v, WANT_STOP);
	for (unsigned i = 0; i < v->started; i++)
		pthread_join(v->one[i].thread, NULL);
	pthread_cond_destroy(&v->changed);
	pthread_mutex_destroy(&v->lock);
	free(v);
}
