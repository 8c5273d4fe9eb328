/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/policysource.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"

int policysource_init_take(struct policysource *s, enum rule_scope scope, char *dir)
{
	memset(s, 0, sizeof(*s));
	s->scope = scope;
	s->dir = dir;
	s->path = dir ? path_join(dir, POLICY_FILE) : NULL;
	buf_init(&s->text, POLICYFILE_MAX);
	return s->path ? 0 : -ENOMEM;
}

void policysource_release(struct policysource *s)
{
	policyfile_release(&s->good);
	policyfile_release(&s->preset);
	buf_release(&s->text);
	free(s->dir);
	free(s->path);
	memset(s, 0, sizeof(*s));
}

/* Missing is empty. */
static int slurp(const struct policysource *s, struct buf *b, struct err *e)
{
	AUTO_FD fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(e, errno, "cannot open '%s'", s->dir);
	if (faccessat(fd, POLICY_FILE, F_OK, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : err_errno(e, errno, "cannot read '%s'", s->path);
	if (atomicfile_read(fd, POLICY_FILE, b, e)) {
		buf_clear(b);
		return err_wrap(e, "cannot read '%s'", s->path);
	}
	return 0;
}

static int load_preset(struct policysource *s, const struct policyfile *pf, struct policyfile *preset, struct err *e)
{
	memset(preset, 0, sizeof(*preset));
	if (!pf->preset[0])
		return 0;
	return policypreset_load(pf->preset, s->scope == RULE_ADMIN ? RULE_ADMIN : RULE_PRESET, preset, e);
}

static int accept_text(struct policysource *s, struct err *e)
{
	struct policyfile pf, preset;

	if (policyfile_parse((const char *)buf_head(&s->text), buf_size(&s->text), s->path, s->scope, &pf, e))
		return -e->code;
	if (load_preset(s, &pf, &preset, e)) {
		policyfile_release(&pf);
		return -e->code;
	}
	policyfile_release(&s->good);
	policyfile_release(&s->preset);
	s->good = pf;
	s->preset = preset;
	s->refused = false;
	return 0;
}

bool policysource_read(struct policysource *s)
{
	struct err e = ERR_INIT;
	struct buf now;
	char before[sizeof(s->error)];

	buf_init(&now, POLICYFILE_MAX);
	const int r = slurp(s, &now, &e);
	const bool same = s->read && r == s->read_error && buf_size(&now) == buf_size(&s->text) &&
			  (buf_size(&now) == 0 || !memcmp(buf_head(&now), buf_head(&s->text), buf_size(&now)));
	if (same) {
		buf_release(&now);
		return false;
	}
	str_copy(before, sizeof(before), s->error);
	const bool first = !s->read;
	buf_release(&s->text);
	s->text = now;
	s->read = true;
	s->read_error = r;
	s->error[0] = '\0';
	if (r || accept_text(s, &e)) {
		str_copy(s->error, sizeof(s->error), e.msg);
		s->refused |= first;
		return first || strcmp(before, s->error) != 0;
	}
	return true;
}

/* The text that `edit` made in place of what is there. */
static int replace(struct policysource *s, const struct buf *out, struct err *e)
{
	if (path_mkdirs(s->dir, 0700, e))
		return -e->code;
	AUTO_FD fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "cannot open '%s'", s->dir);
	if (atomicfile_write(fd, POLICY_FILE, buf_head(out), buf_size(out), 0600, e))
		return err_wrap(e, "cannot write '%s'", s->path);
	policysource_read(s);
	return *s->error ? err_set(e, EIO, "%s", s->error) : 0;
}

enum edit { EDIT_ADD, EDIT_REMOVE, EDIT_PRESET };

static int change(struct policysource *s, enum edit what, const struct rule *r, size_t index, const char *preset, struct err *e)
{
	struct buf text, out;
	int rc;

	buf_init(&text, POLICYFILE_MAX);
	buf_init(&out, POLICYFILE_MAX);
	rc = slurp(s, &text, e);
	if (!rc && buf_size(&text) == 0)
		buf_put(&text, policyfile_head, strlen(policyfile_head));
	const char *p = rc ? NULL : (const char *)buf_head(&text);
	const size_t n = buf_size(&text);
	if (!rc && what == EDIT_ADD)
		rc = policyfile_add(p, n, s->path, r, &out, e);
	else if (!rc && what == EDIT_REMOVE)
		rc = policyfile_remove(p, n, s->path, index, &out, e);
	else if (!rc)
		rc = policyfile_set(p, n, s->path, "preset", preset, &out, e);
	if (!rc)
		rc = replace(s, &out, e);
	buf_release(&text);
	buf_release(&out);
	return rc;
}

int policysource_add(struct policysource *s, const struct rule *r, struct err *e)
{
	return change(s, EDIT_ADD, r, 0, NULL, e);
}

int policysource_remove(struct policysource *s, size_t index, struct err *e)
{
	return change(s, EDIT_REMOVE, NULL, index, NULL, e);
}

int policysource_preset(struct policysource *s, const char *preset, struct err *e)
{
	return change(s, EDIT_PRESET, NULL, 0, preset, e);
}

size_t policysource_find(const struct policysource *s, const struct rule *r, bool any_verdict)
{
	char want[RULE_TEXT_MAX], have[RULE_TEXT_MAX];

	rule_text(r, !any_verdict, want, sizeof(want));
	for (size_t i = 0; i < s->good.n; i++) {
		rule_text(&s->good.rules[i], !any_verdict, have, sizeof(have));
		if (!strcmp(want, have))
			return i;
	}
	return SIZE_MAX;
}
