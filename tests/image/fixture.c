/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/image/fixture.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/image/files.h"

const char whole_image[] =
	"echo packing\n"
	"printf '" KERNEL "' >\"$1/vmlinuz\"; printf '" BASE "' >\"$1/base.img\"; printf '" MODULES "' >\"$1/modules.cpio\"\n"
	"entry() { printf '\"%s\": { \"size\": %s, \"sha256\": \"%s\" }' \"$1\" \"$(stat -c %s \"$2/$1\")\" \"$(sha256sum <\"$2/$1\" | cut -c-64)\"; }\n"
	"printf '{ \"format\": 1, \"recipe\": \"%s\", \"kernel\": \"6.12-test\", \"built\": \"2026-01-02T03:04:05Z\", \"files\": { %s, %s, %s } }\\n' \\\n"
	"  \"$2\" \"$(entry vmlinuz \"$1\")\" \"$(entry base.img \"$1\")\" \"$(entry modules.cpio \"$1\")\" >\"$1/manifest.json\"\n";

void put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

void get_file(const char *path, char *dst, size_t cap)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	const ssize_t n = fd >= 0 ? read(fd, dst, cap - 1) : 0;

	assert_true(n >= 0);
	dst[n] = '\0';
}

static void agent_path(char *dst, size_t cap)
{
	char self[4096];
	const ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_true(n > 0);
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	assert_true((size_t)snprintf(dst, cap, "%s/bulkhead-guest", self) < cap);
}

/* Where an image's maker looks: beside the program. Programs of this directory may run at once, so it is always there and always whole. */
static void put_agent(void)
{
	char path[4200], mine[4300];

	agent_path(path, sizeof(path));
	snprintf(mine, sizeof(mine), "%s.%ld", path, (long)getpid());
	put_file(mine, AGENT);
	assert_int_equal(chmod(mine, 0755), 0);
	assert_int_equal(rename(mine, path), 0);
}

int place_setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	char path[4200];

	assert_non_null(p);
	str_copy(p->dir, sizeof(p->dir), "/tmp/bulkhead-test-image.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->images, sizeof(p->images), "%s/cache/bulkhead/images", p->dir);
	snprintf(p->recipe, sizeof(p->recipe), "%s/guest/image", p->dir);
	assert_int_equal(path_mkdirs(p->recipe, 0700, NULL), 0);
	snprintf(path, sizeof(path), "%s/cache", p->dir);
	setenv("XDG_CACHE_HOME", path, 1);
	setenv("BULKHEAD_DATADIR", p->dir, 1);
	put_agent();
	*state = p;
	return 0;
}

int place_teardown(void **state)
{
	struct place *p = *state;

	path_remove_tree(AT_FDCWD, p->dir, NULL);
	free(p);
	return 0;
}

void place_recipe(struct place *p, const char *body)
{
	AUTO_FREE char *path = path_join(p->recipe, "build");
	AUTO_FREE char *text = str_fmt("#!/bin/sh\nset -eu\n%s", body);

	assert_non_null(path);
	assert_non_null(text);
	put_file(path, text);
	assert_int_equal(chmod(path, 0755), 0);
}

void good_recipe(struct place *p)
{
	place_recipe(p, whole_image);
}

static void on_line(void *arg, const char *line)
{
	struct place *p = arg;
	const size_t n = strlen(p->said);

	snprintf(p->said + n, sizeof(p->said) - n, "%s\n", line);
	if (p->tell > 0)
		assert_int_equal(write(p->tell, "x", 1), 1);
}

int place_build(struct place *p, bool force, struct err *e)
{
	p->said[0] = '\0';
	*e = ERR_INIT;
	return image_build(force, on_line, p, e);
}

const char *place_image(struct place *p, const char *file)
{
	static char path[512];
	char id[IMAGE_ID_LEN + 1];

	assert_int_equal(image_recipe_id(p->recipe, id, NULL), 0);
	snprintf(path, sizeof(path), "%s/%s%s%s", p->images, id, file ? "/" : "", file ? file : "");
	return path;
}

static int count(struct place *p, bool legal)
{
	DIR *d = opendir(p->images);
	int n = 0;

	for (struct dirent *de; d && (de = readdir(d));) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 || strcmp(de->d_name, ".lock") == 0)
			continue;
		n += image_id_legal(de->d_name) == legal;
	}
	if (d)
		closedir(d);
	return n;
}

int place_images(struct place *p)
{
	return count(p, true);
}

int place_leftovers(struct place *p)
{
	return count(p, false);
}
