/* SPDX-License-Identifier: Apache-2.0 */
/* The presets that come with the program. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/policytext/policyfile.h"

const char *const policypreset_names[] = { "open", "balanced", "locked", "none", NULL };

int policypreset_load(const char *name, enum rule_scope scope, struct policyfile *pf, struct err *e)
{
	size_t i = 0;
	struct buf b;

	memset(pf, 0, sizeof(*pf));
	while (policypreset_names[i] && strcmp(policypreset_names[i], name))
		i++;
	if (!policypreset_names[i])
		return err_set(e, ENOENT, "there is no preset of that name: open, balanced, locked or none");
	if (!strcmp(name, "none"))
		return 0;
	AUTO_FREE char *dir = path_data("presets", e);
	AUTO_FREE char *file = str_fmt("%s.yaml", name);
	if (!dir || !file)
		return dir ? err_set(e, ENOMEM, "out of memory") : -e->code;
	AUTO_FD fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "cannot open '%s'", dir);
	buf_init(&b, POLICYFILE_MAX);
	int r = atomicfile_read(fd, file, &b, e);
	if (r)
		err_wrap(e, "cannot read the preset '%s'", name);
	else
		r = policyfile_parse((const char *)buf_head(&b), buf_size(&b), file, RULE_PRESET, pf, e);
	buf_release(&b);
	for (size_t k = 0; k < pf->n; k++)
		pf->rules[k].scope = (uint8_t)scope;
	return r;
}
