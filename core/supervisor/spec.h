/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept on disk about one sandbox (`sandbox.json`), and its checked form in memory. Pure: text in, struct out.
 *
 * The file is ours, but it may be cut, edited or from another version: every field is checked for type and range, an unknown
 * version is refused, and the sentence says what is wrong. Nothing here crashes or guesses.
 */
#ifndef BULKHEAD_SUPERVISOR_SPEC_H
#define BULKHEAD_SUPERVISOR_SPEC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/str.h"
#include "core/proto/fs.h"
#include "core/supervisor/state.h"

#define SPEC_VERSION 1
#define SPEC_FILE_MAX (256u * 1024u)
#define SPEC_ENVS_MAX 128u
#define SPEC_ENV_BYTES_MAX (32u * 1024u) /* names and values together */
#define SPEC_PATH_MAX 1023u              /* what fits term_start.workspace */
#define SPEC_CPUS_MAX 16u
#define IMAGE_ID_MAX 20 /* an image's id (core/image) and its NUL */

/* A published port (port.h). */
#define SPEC_PORTS_MAX 64u
struct spec_port {
	uint32_t id;             /* unique among all sandboxes */
	char address[48];        /* numeric: "127.0.0.1", "::1" */
	uint16_t host_port, guest_port;
};

/* A destructive step that was begun. Written and fsynced before the step, cleared after it, finished after a crash. */
enum spec_intent { INTENT_NONE, INTENT_RESET, INTENT_REMOVE, INTENT_NUM };

/* What the person asked for; the one that runs is machine_backend()'s choice. */
enum spec_backend { SPEC_AUTO, SPEC_QEMU, SPEC_KVM, SPEC_BACKEND_NUM };

struct spec {
	char name[NAME_MAX_LEN + 1];
	char kit[32];
	char *path;               /* owned; NULL none */
	uint32_t cpus;
	uint64_t memory, disk;    /* bytes */
	struct workspaces ws;     /* the host's directories it sees; the first is `path`, unless that is only a label (mode none) */
	char *hide;               /* owned; patterns of hidden names beside the default ones, one a line; NULL none */
	bool hide_default;        /* the default ones too */
	json_t *env;              /* owned; object of strings */
	bool remove_on_stop;
	bool unattended;          /* nobody is there to ask: what would be asked about is denied */
	enum spec_backend backend;
	struct spec_port ports[SPEC_PORTS_MAX];
	uint32_t nports;
	uint64_t created_ns, started_ns; /* wall clock; started 0 = never */
	uint32_t gen;             /* of the last machine that was started; 0 = none yet */
	char image[IMAGE_ID_MAX]; /* guest image of the last machine; "" not known */
	enum spec_backend ran;    /* what the last machine ran in; SPEC_AUTO not known */
	enum sandbox_state state; /* as last written */
	char reason[512];
	uint32_t session_floor;   /* every session number below was, or may have been, used */
	char boot_id[40];         /* of the host when the state was written */
	enum spec_intent intent;
	bool intent_restart;      /* RESET: the machine ran and shall run again */
};

void spec_init(struct spec *s);
void spec_release(struct spec *s);
/* One JSON text, allocated; NULL when out of memory. */
char *spec_to_json(const struct spec *s);
/* 0, or -EBADMSG with a sentence; then `s` is as after spec_init. `name` is the directory's: the file must agree. */
int spec_from_json(struct spec *s, const char *name, const char *text, size_t n, struct err *e);
const char *spec_backend_name(enum spec_backend b);
/* "auto", "qemu", "kvm"; -1 another word. */
int spec_backend_parse(const char *word);
/* Checks an object of environment variables (also used for requests): names, no NUL, no newline in names, count and size. */
int spec_env_check(const json_t *env, struct err *e);
/* [{"path", "mode"}] into ws, each checked, none twice or within another. -EINVAL with a sentence. */
int spec_workspaces_check(const json_t *list, struct workspaces *ws, struct err *e);
json_t *spec_workspaces_json(const struct workspaces *ws);
/* An array of patterns into lines, allocated; *out NULL when there are none. */
int spec_hide_check(const json_t *list, char **out, struct err *e);
/* And back. */
json_t *spec_hide_json(const struct spec *s);

#endif
