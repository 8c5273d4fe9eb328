/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services: to which hosts a credential goes, in which header, and what the guest has instead. Data: services.yaml beside this file, and
 * the person's own in the configuration directory, which add to it and replace by name.
 *
 *   name:
 *     summary: one line
 *     env: VARIABLE or [VARIABLE, ...]     what the guest finds the placeholder in
 *     placeholder: sk-                     how it begins (clients look at that); the rest is random
 *     hosts: host or [host, ...]           exact, "*.host" one label before it, "**.host" any number; ":port"
 *     header: Authorization                set on requests to these hosts
 *     format: "Bearer %s" | basic:USER     default "%s"
 *     rules: [{hosts, header, format}...]  where there is more than one
 */
#ifndef BULKHEAD_SECRET_SERVICE_H
#define BULKHEAD_SECRET_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/proto/net.h"

#define SERVICES_MAX 128u
#define SERVICES_FILE_MAX (256u * 1024u)
#define SERVICE_RULES 4u
#define SERVICE_ENVS 4u
#define PLACEHOLDER_RANDOM 40u /* characters of A-Za-z0-9 after the prefix */

struct service_rule {
	uint16_t nhosts;
	char hosts[NET_SECRET_HOSTS][NET_NAME_MAX];
	char header[64];
	char format[128];
};

struct service {
	char name[64];
	char summary[128];
	unsigned nenvs, nrules;
	char env[SERVICE_ENVS][64];
	char prefix[48];
	struct service_rule rules[SERVICE_RULES];
};

struct services {
	struct service **v; /* owned; sorted by name */
	size_t n;
};

void services_release(struct services *s);
/* Adds what the text describes, replacing by name; all of it or, on -EINVAL with "FILE:LINE:COLUMN: sentence", nothing. */
int services_parse(struct services *s, const char *file, const char *text, size_t n, struct err *e);
const struct service *services_find(const struct services *s, const char *name);
/* The name nearest to a mistyped one; NULL when none is near. */
const char *services_near(const struct services *s, const char *name);
/*
 * The placeholder of a service in a sandbox: the same as long as key, sandbox and its birth are, unlike for any other. `out` holds 128.
 * 0 or -EIO.
 */
int service_placeholder(const struct service *s, const uint8_t key[32], const char *sandbox, uint64_t born_ns, char out[128]);

#endif
