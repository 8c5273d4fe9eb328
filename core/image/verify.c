/* SPDX-License-Identifier: Apache-2.0 */
/* Is what lies in the cache what was built? Every file against the manifest; the answer is remembered in a stamp. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/image/files.h"
#include "core/image/hash.h"
#include "core/image/image.h"

#define MANIFEST_MAX (256u * 1024u)
#define STAMP "verified"

const char *const image_files[IMAGE_FILES_NUM] = { "vmlinuz", "base.img", "modules.cpio" };

json_t *image_manifest(int dirfd, struct err *e)
{
	struct buf b;
	json_error_t je;

	buf_init(&b, MANIFEST_MAX);
	if (atomicfile_read(dirfd, "manifest.json", &b, e) < 0) {
		buf_release(&b);
		return NULL;
	}
	json_t *j = json_loadb((const char *)buf_head(&b), buf_size(&b), JSON_REJECT_DUPLICATES, &je);
	buf_release(&b);
	if (!json_is_object(j)) {
		json_decref(j);
		err_set(e, EBADMSG, "its manifest.json is damaged");
		return NULL;
	}
	return j;
}

/* One line a file: everything that changes when a file is replaced or written to. */
static int stamp_text(int dirfd, struct buf *b, struct err *e)
{
	for (size_t i = 0; i <= IMAGE_FILES_NUM; i++) {
		const char *name = i < IMAGE_FILES_NUM ? image_files[i] : "manifest.json";
		struct stat st;

		if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(e, errno, "its file '%s' cannot be looked at", name);
		if (!S_ISREG(st.st_mode))
			return err_set(e, EBADMSG, "its file '%s' is no regular file", name);
		buf_printf(b, "%s %llu %llu %lld %lld.%09ld %lld.%09ld\n", name, (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
			   (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
	}
	return buf_ok(b) ? 0 : err_set(e, ENOMEM, "out of memory");
}

bool image_stamped(int dirfd)
{
	struct buf now, then;
	bool same = false;

	buf_init(&now, 8192);
	buf_init(&then, 8192);
	if (stamp_text(dirfd, &now, NULL) == 0 && atomicfile_read(dirfd, STAMP, &then, NULL) == 0)
		same = buf_size(&now) == buf_size(&then) && memcmp(buf_head(&now), buf_head(&then), buf_size(&now)) == 0;
	buf_release(&now);
	buf_release(&then);
	return same;
}

static int verify_file(int dirfd, const json_t *files, const char *name, struct err *e)
{
	const json_t *f = json_object_get(files, name);
	const char *want = json_string_value(json_object_get(f, "sha256"));
	const json_int_t size = json_integer_value(json_object_get(f, "size"));
	char got[HASH_HEX + 1];
	struct stat st;
	AUTO_FD fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, errno == ENOENT ? EBADMSG : errno, "its file '%s' cannot be opened", name);
	if (!want || !S_ISREG(st.st_mode) || st.st_size != size)
		return err_set(e, EBADMSG, "its file '%s' has not the size it was built with", name);
	const int r = hash_fd(fd, got);
	if (r < 0)
		return err_errno(e, -r, "its file '%s' cannot be read", name);
	if (strcmp(got, want) != 0)
		return err_set(e, EBADMSG, "its file '%s' is not what was built", name);
	return 0;
}

int image_verify(int dirfd, const char *id, struct err *e)
{
	struct buf stamp;

	if (image_stamped(dirfd))
		return 0;
	buf_init(&stamp, 8192);
	json_t *m = image_manifest(dirfd, e);
	const char *recipe = json_string_value(json_object_get(m, "recipe"));
	int r = m ? stamp_text(dirfd, &stamp, e) : -EBADMSG;
	if (r == 0 && (!recipe || strcmp(recipe, id) != 0))
		r = err_set(e, EBADMSG, "its manifest.json is that of another image");
	for (size_t i = 0; r == 0 && i < IMAGE_FILES_NUM; i++)
		r = verify_file(dirfd, json_object_get(m, "files"), image_files[i], e);
	if (r == 0) {
		/* The stamp is of before the hashing: a file changed meanwhile does not match it. Without one it is only slower. */
		atomicfile_write(dirfd, STAMP, buf_head(&stamp), buf_size(&stamp), 0600, NULL);
	} else if (e) {
		/* Whatever is wrong with what is there: it is there, so never ENOENT. */
		e->code = r == -ENOMEM ? ENOMEM : EBADMSG;
		r = err_wrap(e, "guest image %s cannot be used (build it again: bulkhead image build --force)", id);
	}
	json_decref(m);
	buf_release(&stamp);
	return r;
}
