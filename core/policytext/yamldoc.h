/* SPDX-License-Identifier: Apache-2.0 */
/* Inside core/policytext: one YAML document with its text. */
#ifndef BULKHEAD_POLICYTEXT_YAMLDOC_H
#define BULKHEAD_POLICYTEXT_YAMLDOC_H

#include <stddef.h>
#include <yaml.h>

#include "core/base/err.h"

struct yamldoc {
	const char *name, *text; /* borrowed */
	size_t n;
	yaml_document_t doc;
	yaml_node_t *root; /* mapping, or NULL: the file is empty */
};

/* 0, or -EINVAL/-ENOMEM and nothing to release. Refuses a second document, a root that is no mapping, keys given twice. */
int yamldoc_load(struct yamldoc *d, const char *text, size_t n, const char *name, struct err *e);
void yamldoc_release(struct yamldoc *d);
yaml_node_t *yamldoc_node(struct yamldoc *d, int id);
/* Value of a key of a mapping; NULL none. `key_node` (may be NULL) gets the key's. */
yaml_node_t *yamldoc_get(struct yamldoc *d, const yaml_node_t *map, const char *key, yaml_node_t **key_node);
/* The text of a scalar; NULL when it is none, or holds a NUL. */
const char *yamldoc_text(const yaml_node_t *v);
/* `key:` and nothing. */
int yamldoc_is_null(const yaml_node_t *v);
/* "name:line:column: …"; -EINVAL. */
int yamldoc_bad(const struct yamldoc *d, const yaml_mark_t *m, struct err *e, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* No key twice, all plain words; a mapping. */
int yamldoc_check_keys(struct yamldoc *d, const yaml_node_t *map, const char *const *known, struct err *e);

#endif
