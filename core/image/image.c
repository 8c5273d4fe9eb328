/* SPDX-License-Identifier: Apache-2.0 */
#include "core/image/image.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/image/files.h"
#include "core/image/hash.h"

#define RECIPE_FILES_MAX 256
#define RECIPE_DEPTH_MAX 8

bool image_id_legal(const char *name)
{
	return strlen(name) == IMAGE_ID_LEN && strspn(name, "0123456789abcdef") == IMAGE_ID_LEN;
}

char *image_dir(struct err *e)
{
	AUTO_FREE char *cache = path_cache(e);
	char *dir = cache ? path_join(cache, "images") : NULL;

	if (cache && !dir)
		err_set(e, ENOMEM, "out of memory");
	if (dir && path_mkdirs(dir, 0700, e) < 0) {
		free(dir);
		return NULL;
	}
	return dir;
}

/* ---- recipe ------------------------------------------------------------------------------------------------------------------ */

static int collect(const char *dir, const char *rel, char **list, size_t *n, int depth, struct err *e)
{
	AUTO_FREE char *path = path_join(dir, rel);
	DIR *d = path ? opendir(path) : NULL;
	int r = 0;

	if (!d)
		return err_errno(e, errno, "cannot read the image's recipe in '%s'", path ? path : dir);
	for (struct dirent *de; r == 0 && (de = readdir(d));) {
		struct stat st;

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		char *sub = rel[0] ? str_fmt("%s/%s", rel, de->d_name) : str_dup(de->d_name);
		if (!sub || fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			r = err_errno(e, sub ? errno : ENOMEM, "cannot read the image's recipe");
		else if (S_ISDIR(st.st_mode) && depth < RECIPE_DEPTH_MAX)
			r = collect(dir, sub, list, n, depth + 1, e);
		else if (S_ISREG(st.st_mode) && *n < RECIPE_FILES_MAX)
			list[(*n)++] = steal_ptr(&sub);
		free(sub);
	}
	closedir(d);
	return r;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int image_recipe_id(const char *dir, char id[IMAGE_ID_LEN + 1], struct err *e)
{
	char *list[RECIPE_FILES_MAX] = { NULL }, hex[HASH_HEX + 1];
	size_t n = 0;
	struct hash *all = hash_create();
	int r = all ? collect(dir, "", list, &n, 0, e) : err_set(e, ENOMEM, "out of memory");

	if (r == 0 && n == 0)
		r = err_set(e, ENOENT, "there is no image recipe in '%s'", dir);
	qsort(list, n, sizeof(list[0]), compare);
	for (size_t i = 0; r == 0 && i < n; i++) {
		AUTO_FREE char *path = path_join(dir, list[i]);
		AUTO_FD fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
		struct stat st;

		r = fd < 0 || fstat(fd, &st) < 0 ? -errno : hash_fd(fd, hex);
		if (r < 0) {
			err_errno(e, -r, "cannot read the image's recipe '%s'", list[i]);
			break;
		}
		hash_add(all, list[i], strlen(list[i]) + 1);
		hash_add(all, st.st_mode & 0100 ? "x" : "-", 1);
		hash_add(all, hex, HASH_HEX);
	}
	if (r == 0) {
		hash_hex(all, hex);
		memcpy(id, hex, IMAGE_ID_LEN);
		id[IMAGE_ID_LEN] = '\0';
	}
	for (size_t i = 0; i < n; i++)
		free(list[i]);
	hash_destroy(all);
	return r;
}

char *image_recipe(char id[IMAGE_ID_LEN + 1], struct err *e)
{
	char *dir = path_data("guest/image", e);

	if (dir && image_recipe_id(dir, id, e) < 0) {
		free(dir);
		return NULL;
	}
	return dir;
}

/* ---- opening ----------------------------------------------------------------------------------------------------------------- */

static int open_file(int dirfd, const char *name, struct err *e)
{
	const int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 ? fd : err_errno(e, errno, "cannot open the guest image's '%s'", name);
}

int image_open(struct image *out, struct err *e)
{
	AUTO_FREE char *dir = image_dir(e);
	AUTO_FREE char *recipe = NULL;

	*out = (struct image){ .kernel = -1, .initrd = -1, .base = -1 };
	if (!dir || !(recipe = image_recipe(out->id, e)))
		return -e->code;
	AUTO_FREE char *path = path_join(dir, out->id);
	AUTO_FD fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (fd < 0)
		return err_set(e, ENOENT, "no guest image yet: run 'bulkhead image build' (it takes a few minutes, once)");
	int r = image_verify(fd, out->id, e);
	if (r == 0)
		r = out->kernel = open_file(fd, "vmlinuz", e);
	if (r >= 0)
		r = out->base = open_file(fd, "base.img", e);
	if (r >= 0)
		r = out->initrd = image_initrd(fd, e);
	if (r < 0) {
		image_release(out);
		return r;
	}
	return 0;
}

void image_release(struct image *im)
{
	fd_close(&im->kernel);
	fd_close(&im->initrd);
	fd_close(&im->base);
}

/* ---- listing and removing ------------------------------------------------------------------------------------------------------- */

static void describe(int dir, struct image_info *i)
{
	AUTO_FD fd = openat(dir, i->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	json_t *m = fd >= 0 ? image_manifest(fd, NULL) : NULL;
	const char *kernel = json_string_value(json_object_get(m, "kernel"));
	const char *built = json_string_value(json_object_get(m, "built"));

	str_copy(i->kernel, sizeof(i->kernel), kernel ? kernel : "?");
	str_copy(i->built, sizeof(i->built), built ? built : "?");
	json_decref(m);
	if (fd < 0)
		return;
	i->verified = image_stamped(fd);
	for (size_t k = 0; k < IMAGE_FILES_NUM; k++) {
		struct stat st;

		if (fstatat(fd, image_files[k], &st, AT_SYMLINK_NOFOLLOW) == 0)
			i->bytes += (uint64_t)st.st_size;
	}
}

int image_list(struct image_info **out, size_t *n, struct err *e)
{
	char current[IMAGE_ID_LEN + 1] = "";
	AUTO_FREE char *dir = image_dir(e);
	DIR *d = dir ? opendir(dir) : NULL;

	free(image_recipe(current, NULL)); /* the id alone is of interest; none when the recipe is not there */
	*out = NULL;
	*n = 0;
	if (!dir)
		return -e->code;
	if (!d)
		return err_errno(e, errno, "cannot read '%s'", dir);
	for (struct dirent *de; (de = readdir(d));) {
		if (!image_id_legal(de->d_name))
			continue;
		struct image_info *grown = realloc(*out, (*n + 1) * sizeof(*grown));
		if (!grown)
			break;
		*out = grown;
		struct image_info *i = &grown[(*n)++];
		memset(i, 0, sizeof(*i));
		str_copy(i->id, sizeof(i->id), de->d_name);
		i->current = strcmp(i->id, current) == 0;
		describe(dirfd(d), i);
	}
	closedir(d);
	return 0;
}

int image_remove(const char *id, struct err *e)
{
	AUTO_FREE char *dir = image_dir(e);
	AUTO_FREE struct image_info *list = NULL;
	const char *found = NULL;
	size_t n;

	if (!dir)
		return -e->code;
	int r = image_list(&list, &n, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n && *id; i++) {
		if (!str_starts(list[i].id, id))
			continue;
		if (found)
			return err_set(e, EINVAL, "'%s' is the beginning of several images; write more of it", id);
		found = list[i].id;
	}
	if (!found)
		return err_set(e, ENOENT, "there is no image '%s'; 'bulkhead image ls' shows what there is", id);
	AUTO_FD fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FREE char *gone = str_fmt(".gone-%s", found);
	if (fd < 0 || !gone || renameat(fd, found, fd, gone) < 0)
		return err_errno(e, errno, "cannot remove image %s", found);
	return path_remove_tree(fd, gone, e);
}
