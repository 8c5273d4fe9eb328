/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/doctor.h"

#include <stdarg.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <uv.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/image/image.h"
#include "core/loop/proc.h"
#include "core/proto/version.h"
#include "core/supervisor/client.h"
#include "core/supervisor/kid.h"
#include "core/supervisor/policyfiles.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/secretlist.h"
#include "core/supervisor/super.h"

enum status { OK, WARN, FAIL };

static void add(json_t *list, const char *name, enum status s, const char *advice, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
static void add(json_t *list, const char *name, enum status s, const char *advice, const char *fmt, ...)
{
	static const char *const words[] = { [OK] = "ok", [WARN] = "warn", [FAIL] = "fail" };
	char detail[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "name", name, "status", words[s], "detail", detail, "advice", advice));
}

static void check_machine(json_t *list, const struct probe *p)
{
	if (!p->known)
		add(list, "kvm", FAIL, "look whether bulkhead is installed whole", "%s", p->sentence);
	else if (p->kvm_usable)
		add(list, "kvm", OK, "", "%s: sandboxes run in bulkhead's own machine (kvm)", p->sentence);
	else
		add(list, "kvm", WARN,
		    !strcmp(p->kvm, "denied") ? "let your user open /dev/kvm: join the group 'kvm' and log in again" :
						"nothing needs to be done; on a host with hardware virtualisation sandboxes are much faster",
		    "%s: the processor is emulated (TCG)", p->sentence);
	if (*p->qemu)
		add(list, "qemu", OK, "", "QEMU %s", p->qemu);
	else if (p->kvm_usable)
		add(list, "qemu", OK, "", "there is no QEMU; it is not needed here");
	else
		add(list, "qemu", FAIL, "apt install qemu-system-x86", "there is no QEMU that tells its version, no sandbox can start");
}

static void check_image(json_t *list)
{
	struct image_info *v = NULL;
	struct err e = ERR_INIT;
	size_t n = 0;
	char size[16];

	if (image_list(&v, &n, &e)) {
		add(list, "image", FAIL, "bulkhead image build", "%s", e.msg);
		return;
	}
	const struct image_info *cur = NULL;
	for (size_t i = 0; i < n; i++)
		if (v[i].current)
			cur = &v[i];
	if (!cur) {
		add(list, "image", FAIL, "bulkhead image build", "there is no guest image of this version");
	} else {
		str_human(size, sizeof(size), cur->bytes);
		add(list, "image", OK, "", "%s, kernel %s, %s, built %s%s", cur->id, cur->kernel, size, cur->built,
		    cur->verified ? "" : "; it is checked at the next start");
	}
	free(v);
}

static void check_host(json_t *list, struct super *su)
{
	struct host_facts h;
	struct statvfs v;
	struct stat st;
	char a[16], b[16], c[16];

	super_host(su, &h, NULL);
	str_human(a, sizeof(a), h.memory_available);
	str_human(b, sizeof(b), h.memory_total);
	str_human(c, sizeof(c), su->config.memory);
	if (h.memory_available < su->config.memory)
		add(list, "memory", WARN, "stop something, or set a smaller 'memory' in config.yaml", "%s of %s are free; a sandbox wants %s", a, b, c);
	else
		add(list, "memory", OK, "", "%s of %s are free; a sandbox wants %s", a, b, c);
	if (!fstatvfs(su->store.dirfd, &v)) {
		uint64_t avail = (uint64_t)v.f_bavail * v.f_frsize;
		str_human(a, sizeof(a), avail);
		str_human(b, sizeof(b), su->config.disk_reserve);
		if (avail < su->config.disk_reserve)
			add(list, "disk", FAIL, "remove sandboxes (bulkhead prune) or other files", "%s are free in %s, %s must be", a, su->store.path, b);
		else
			add(list, "disk", OK, "", "%s are free in %s", a, su->store.path);
	}
	if (!stat(su->runtime, &st) && (st.st_mode & 077))
		add(list, "runtime", FAIL, "chmod 700 it", "%s is open to others", su->runtime);
	else
		add(list, "runtime", OK, "", "%s", su->runtime);
	if (*su->config_error)
		add(list, "config", FAIL, "correct the file and start the supervisor again (bulkhead(5))", "%s", su->config_error);
	else
		add(list, "config", OK, "", "in order");
	add(list, "supervisor", OK, "", "bulkhead %s, pid %ld, %u sandboxes, %u running", BULKHEAD_VERSION, (long)getpid(), h.sandboxes, h.running);
}

static void check_rules(json_t *list, struct super *su)
{
	json_t *errors = policy_errors(su);
	const size_t n = json_array_size(errors);

	if (n)
		add(list, "policy", FAIL, "correct it: 'bulkhead policy edit'", "%s%s", json_string_value(json_array_get(errors, 0)), n > 1 ? " (and others)" : "");
	else
		add(list, "policy", OK, "", "%zu rules for every sandbox, preset %s", rules_count(policy_rules_of(su, NULL)),
		    policy_preset(su, NULL) ? policy_preset(su, NULL) : "none");
	json_decref(errors);
}

static void check_records(json_t *list, struct super *su)
{
	if (!su->audit)
		add(list, "audit", FAIL, "look at the supervisor's log; free space where its state lies", "nothing is recorded: the audit log cannot be opened");
	else
		add(list, "audit", OK, "", "decisions are recorded in %s/audit", su->state);
	if (su->secrets && *su->secrets->broken)
		add(list, "credentials", FAIL, "mend the file, or move it away and set them again", "%s", su->secrets->broken);
	else if (su->secrets && *su->secrets->services_error)
		add(list, "credentials", FAIL, "correct the file (bulkhead(5))", "%s; what was good before is used", su->secrets->services_error);
	else if (!held_locked())
		add(list, "credentials", WARN, "raise the limit of locked memory (ulimit -l)", "the kernel does not lock the memory of values: they may be written to swap");
	else
		add(list, "credentials", OK, "", "values are held in locked memory, and only while a sandbox runs");
}

/* A minus sign before a word is a part of the jail the kernel did not give. */
static void check_jails(json_t *list, struct super *su)
{
	unsigned n = 0;
	char name[80];

	for (struct sandbox *sb = su->sandboxes; sb; sb = sb->next) {
		struct kid *const kids[] = { sb->vmm, sb->term, sb->fs, sb->review, sb->net };
		static const char *const programs[] = { "bulkhead-vmm", "bulkhead-term", "bulkhead-fs", "bulkhead-review", "bulkhead-net" };
		_Static_assert(ARRAY_SIZE(kids) == ARRAY_SIZE(programs), "every child has its program");
		for (size_t i = 0; i < ARRAY_SIZE(kids); i++) {
			if (!kids[i] || !*kids[i]->jail)
				continue;
			bool less = kids[i]->jail[0] == '-' || strstr(kids[i]->jail, " -");
			snprintf(name, sizeof(name), "jail of %s (%s)", programs[i], sb->spec.name);
			add(list, name, less ? WARN : OK, less ? "a newer kernel, or fewer limits around this session, would give the parts with a minus" : "",
			    "%s", kids[i]->jail);
			n++;
		}
	}
	if (!n)
		add(list, "jail", OK, "", "nothing runs; start a sandbox to see what its processes got");
}

struct visit {
	uv_work_t req;
	struct call *call;
	struct probe probe;
};

static void on_work(uv_work_t *req)
{
	struct visit *v = req->data;

	probe_run(&v->probe);
}

static void on_worked(uv_work_t *req, int status)
{
	struct visit *v = req->data;
	struct super *su = v->call->su;
	json_t *list = json_array();

	(void)status;
	if (v->probe.known)
		su->probe = v->probe;
	check_machine(list, &v->probe);
	check_image(list);
	check_host(list, su);
	check_rules(list, su);
	check_records(list, su);
	check_jails(list, su);
	call_result_take(v->call, json_pack("{s:o}", "checks", list));
	free(v);
}

void doctor_run(struct call *call)
{
	struct visit *v = calloc(1, sizeof(*v));

	if (v) {
		v->req.data = v;
		v->call = call;
		if (!uv_queue_work(call->su->loop, &v->req, on_work, on_worked))
			return;
	}
	free(v);
	call_error(call, RPC_FAILED, "out of memory");
}
