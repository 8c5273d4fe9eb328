/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/patch.h"

#include <errno.h>
#include <git2.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/review/danger.h"
#include "core/review/hunks.h"

const char *patch_cannot(const struct change *c)
{
	/* Of a file whose place a directory takes a patch says that it goes; what comes is what lies in the directory. */
	const bool goes = c->kind == CHANGE_DELETED || (c->theirs.type == CHANGES_DIR && (c->ours.type == CHANGES_FILE || c->ours.type == CHANGES_SYMLINK));
	const uint8_t t = goes ? c->ours.type : c->theirs.type;

	if (danger_is_git(c->path))
		return "it is git's own";
	if (t == CHANGES_DIR)
		return "a directory by itself has no place in a patch";
	if (t != CHANGES_FILE && t != CHANGES_SYMLINK)
		return "it is no file";
	if (c->theirs.size > CONTENT_MAX || c->ours.size > CONTENT_MAX)
		return "it is too large";
	return NULL;
}

static bool needs_quotes(const char *name)
{
	if (!utf8_clean(name))
		return true;
	return strpbrk(name, "\"\\") != NULL;
}

/* prefix ("a/", "b/", "") and name, quoted when need be. */
static void put_name(struct buf *b, const char *prefix, const char *name)
{
	static const char letters[] = { '\a', '\b', '\t', '\n', '\v', '\f', '\r', '"', '\\', '\0' }, escaped[] = "abtnvfr\"\\";

	if (!needs_quotes(name)) {
		buf_printf(b, "%s%s", prefix, name);
		return;
	}
	buf_printf(b, "\"%s", prefix);
	for (const char *p = name; *p; p++) {
		const char *at = strchr(letters, *p);

		if (at)
			buf_printf(b, "\\%c", escaped[at - letters]);
		else if ((uint8_t)*p < 0x20 || (uint8_t)*p >= 0x7f)
			buf_printf(b, "\\%03o", (unsigned)(uint8_t)*p);
		else
			buf_u8(b, (uint8_t)*p);
	}
	buf_u8(b, '"');
}

static const char *mode_of(const struct content *c)
{
	return c->side.type == CHANGES_SYMLINK ? "120000" : c->side.mode & 0100 ? "100755" : "100644";
}

static bool there(const struct content *c)
{
	return c->side.type == CHANGES_FILE || c->side.type == CHANGES_SYMLINK;
}

static void put_oid(struct buf *b, const struct content *c, bool whole)
{
	git_oid oid;
	char hex[GIT_OID_HEXSZ + 1] = "0000000000000000000000000000000000000000";

	if (there(c) && git_odb_hash(&oid, c->data ? (const void *)c->data : "", c->n, GIT_OBJECT_BLOB) == 0)
		git_oid_tostr(hex, sizeof(hex), &oid);
	buf_printf(b, "%.*s", whole ? 40 : 12, hex);
}

static void put_line(struct buf *b, const struct hunk_line *l)
{
	buf_u8(b, (uint8_t)l->k);
	buf_put(b, l->text, l->n);
	buf_u8(b, '\n');
}

static bool on_hunk(void *arg, const struct hunk *h)
{
	struct buf *b = arg;

	buf_printf(b, "@@ -%u", h->old_start);
	if (h->old_lines != 1)
		buf_printf(b, ",%u", h->old_lines);
	buf_printf(b, " +%u", h->new_start);
	if (h->new_lines != 1)
		buf_printf(b, ",%u", h->new_lines);
	buf_printf(b, " @@%s", h->nsection ? " " : "");
	buf_put(b, h->section, h->nsection);
	buf_u8(b, '\n');
	return buf_ok(b);
}

static bool on_line(void *arg, const struct hunk_line *l)
{
	put_line(arg, l);
	return buf_ok(arg);
}

/* git's base 85: five letters for four bytes, lines of at most 52 bytes with their length in front. */
static void put_base85(struct buf *b, const uint8_t *p, size_t n)
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";

	while (n > 0 && buf_ok(b)) {
		const size_t line = n < 52 ? n : 52;

		buf_u8(b, (uint8_t)(line <= 26 ? 'A' + line - 1 : 'a' + line - 27));
		for (size_t i = 0; i < line; i += 4) {
			uint32_t v = 0;
			char out[5];

			for (size_t k = 0; k < 4; k++)
				v = v << 8 | (i + k < line ? p[i + k] : 0u);
			for (int k = 4; k >= 0; k--) {
				out[k] = digits[v % 85];
				v /= 85;
			}
			buf_put(b, out, sizeof(out));
		}
		buf_u8(b, '\n');
		p += line;
		n -= line;
	}
}

static void put_binary(struct buf *b, const git_diff_binary_file *f)
{
	buf_printf(b, "%s %zu\n", f->type == GIT_DIFF_BINARY_DELTA ? "delta" : "literal", f->inflatedlen);
	put_base85(b, (const uint8_t *)f->data, f->datalen);
	buf_u8(b, '\n');
}

static int on_binary(const git_diff_delta *d, const git_diff_binary *bin, void *arg)
{
	(void)d;
	buf_printf(arg, "GIT binary patch\n");
	put_binary(arg, &bin->new_file);
	put_binary(arg, &bin->old_file);
	return buf_ok(arg) ? 0 : GIT_EUSER;
}

static int put_contents(struct buf *b, const char *from, const char *path, const struct content *old, const struct content *new_, unsigned context)
{
	static const struct hunk_ops ops = { .on_hunk = on_hunk, .on_line = on_line };
	const bool binary = content_binary(old) || content_binary(new_);

	buf_printf(b, "index ");
	put_oid(b, old, binary);
	buf_printf(b, "..");
	put_oid(b, new_, binary);
	if (there(old) && there(new_) && strcmp(mode_of(old), mode_of(new_)) == 0)
		buf_printf(b, " %s", mode_of(new_));
	buf_u8(b, '\n');
	if (binary) {
		git_diff_options o;

		git_diff_options_init(&o, GIT_DIFF_OPTIONS_VERSION);
		o.flags = GIT_DIFF_FORCE_BINARY | GIT_DIFF_SHOW_BINARY;
		o.max_size = CONTENT_MAX;
		const int r = git_diff_buffers(there(old) && old->data ? (const void *)old->data : "", old->n, NULL, there(new_) && new_->data ? (const void *)new_->data : "", new_->n,
					       NULL, &o, NULL, on_binary, NULL, NULL, b);
		return r < 0 && buf_ok(b) ? -EIO : 0;
	}
	if (old->n == 0 && new_->n == 0)
		return 0;
	/* A name with blanks ends with a tab, so that it is seen where it ends. */
	buf_printf(b, "--- ");
	if (there(old))
		put_name(b, "a/", from);
	else
		buf_printf(b, "/dev/null");
	buf_printf(b, "%s\n+++ ", there(old) && strchr(from, ' ') ? "\t" : "");
	if (there(new_))
		put_name(b, "b/", path);
	else
		buf_printf(b, "/dev/null");
	buf_printf(b, "%s\n", there(new_) && strchr(path, ' ') ? "\t" : "");
	return hunks_each(old, new_, context, &ops, b) < 0 ? -EIO : 0;
}

static int put_one(struct buf *b, const char *from, const char *path, const struct content *old, const struct content *new_, unsigned context)
{
	const bool moved = strcmp(from, path) != 0;
	const bool equal = old->n == new_->n && (old->n == 0 || memcmp(old->data, new_->data, old->n) == 0);

	buf_printf(b, "diff --git ");
	put_name(b, "a/", from);
	buf_u8(b, ' ');
	put_name(b, "b/", path);
	buf_u8(b, '\n');
	if (!there(old))
		buf_printf(b, "new file mode %s\n", mode_of(new_));
	else if (!there(new_))
		buf_printf(b, "deleted file mode %s\n", mode_of(old));
	else if (strcmp(mode_of(old), mode_of(new_)) != 0)
		buf_printf(b, "old mode %s\nnew mode %s\n", mode_of(old), mode_of(new_));
	if (moved && there(old) && there(new_)) {
		if (equal)
			buf_printf(b, "similarity index 100%%\n");
		buf_printf(b, "rename from ");
		put_name(b, "", from);
		buf_printf(b, "\nrename to ");
		put_name(b, "", path);
		buf_u8(b, '\n');
	}
	return equal && there(old) && there(new_) ? 0 : put_contents(b, from, path, old, new_, context);
}

int patch_put(struct buf *b, const char *from, const char *path, const struct content *old, const struct content *new_, unsigned context)
{
	static const struct content none = { .side = { .type = CHANGES_WHITEOUT } };

	/* A file that became a link, or the other way: one goes, one comes. */
	if (there(old) && there(new_) && old->side.type != new_->side.type) {
		const int r = put_one(b, from, from, old, &none, context);

		return r < 0 ? r : put_one(b, path, path, &none, new_, context);
	}
	return put_one(b, from, path, there(old) ? old : &none, there(new_) ? new_ : &none, context);
}
