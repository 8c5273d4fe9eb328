/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, listing, removing, and everything that can be wrong with what lies in the cache. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "tests/image/fixture.h"

static void built(struct place *p)
{
	struct err e;

	good_recipe(p);
	assert_int_equal(place_build(p, false, &e), 0);
}

static size_t contents(int fd, char *dst, size_t cap)
{
	const ssize_t n = pread(fd, dst, cap - 1, 0);

	assert_true(n >= 0);
	dst[n] = '\0';
	return (size_t)n;
}

static void opens_read_only(void **state)
{
	struct place *p = *state;
	struct err e = ERR_INIT;
	struct image im;
	char text[512];

	built(p);
	assert_int_equal(image_open(&im, &e), 0);
	assert_string_equal(strrchr(place_image(p, NULL), '/') + 1, im.id);
	contents(im.kernel, text, sizeof(text));
	assert_string_equal(text, KERNEL);
	contents(im.base, text, sizeof(text));
	assert_string_equal(text, BASE);
	assert_int_equal(fcntl(im.kernel, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fcntl(im.base, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(write(im.initrd, "x", 1), -1);
	image_release(&im);
	assert_int_equal(im.base, -1);
}

/* One number of a newc header. */
static unsigned number(const char *header, size_t i)
{
	char s[9];

	memcpy(s, header + 6 + 8 * i, 8);
	s[8] = '\0';
	return (unsigned)strtoul(s, NULL, 16);
}

static void initrd_holds_the_agent(void **state)
{
	struct place *p = *state;
	struct err e = ERR_INIT;
	struct image im;
	char all[1024];

	built(p);
	assert_int_equal(image_open(&im, &e), 0);
	const size_t n = contents(im.initrd, all, sizeof(all));
	size_t at = strlen(MODULES);
	assert_memory_equal(all, MODULES, at);
	for (; at % 4; at++)
		assert_int_equal(all[at], 0);
	assert_memory_equal(all + at, "070701", 6);
	assert_int_equal(number(all + at, 1), 0100755);              /* mode */
	assert_int_equal(number(all + at, 6), strlen(AGENT));        /* file size */
	assert_int_equal(number(all + at, 11), strlen("init") + 1);  /* name size */
	assert_string_equal(all + at + 110, "init");
	at = (at + 110 + 5 + 3) / 4 * 4;
	assert_memory_equal(all + at, AGENT, strlen(AGENT));
	at = (at + strlen(AGENT) + 3) / 4 * 4;
	assert_string_equal(all + at + 110, "TRAILER!!!");
	assert_int_equal(n % 4, 0);
	image_release(&im);
}

static void none_is_a_sentence(void **state)
{
	struct place *p = *state;
	struct err e = ERR_INIT;
	struct image im;

	good_recipe(p);
	assert_int_equal(image_open(&im, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "bulkhead image build"));
	assert_int_equal(im.kernel, -1);
	assert_int_equal(im.initrd, -1);
	assert_int_equal(im.base, -1);
}

/* Opens and expects a refusal that names `what` and the way out. */
static void refused(const char *what)
{
	struct err e = ERR_INIT;
	struct image im;

	assert_int_equal(image_open(&im, &e), -EBADMSG);
	if (!strstr(e.msg, what) || !strstr(e.msg, "bulkhead image build --force"))
		fail_msg("the sentence names not '%s' or not the way out: %s", what, e.msg);
	assert_int_equal(im.kernel, -1);
	assert_int_equal(im.initrd, -1);
	assert_int_equal(im.base, -1);
}

static void one_byte_is_enough(void **state)
{
	struct place *p = *state;
	static const char *const files[] = { "vmlinuz", "base.img", "modules.cpio" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct err e;
		struct stat st;

		good_recipe(p);
		assert_int_equal(place_build(p, true, &e), 0);
		AUTO_FD fd = open(place_image(p, files[i]), O_RDWR | O_CLOEXEC);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(pwrite(fd, "?", 1, 3), 1);
		/* Not even with the modification time put back. */
		const struct timespec times[2] = { st.st_atim, st.st_mtim };
		assert_int_equal(futimens(fd, times), 0);
		refused(files[i]);
		refused(files[i]); /* and no stamp was left by the first time */
	}
}

static void files_of_other_kinds(void **state)
{
	struct place *p = *state;
	AUTO_FREE char *copy = str_fmt("%s/copy", p->dir);

	built(p);
	assert_int_equal(unlink(place_image(p, "base.img")), 0);
	refused("base.img");
	put_file(copy, BASE);
	assert_int_equal(symlink(copy, place_image(p, "base.img")), 0); /* the right bytes, but behind a link */
	refused("base.img");
	assert_int_equal(unlink(place_image(p, "base.img")), 0);
	assert_int_equal(mkfifo(place_image(p, "base.img"), 0600), 0); /* must not be waited for */
	refused("base.img");
	assert_int_equal(unlink(place_image(p, "base.img")), 0);
	assert_int_equal(mkdir(place_image(p, "base.img"), 0700), 0);
	refused("base.img");
	assert_int_equal(rmdir(place_image(p, "base.img")), 0);
	put_file(place_image(p, "base.img"), BASE BASE);
	refused("base.img");
	put_file(place_image(p, "base.img"), BASE);
	struct err e = ERR_INIT;
	struct image im;
	assert_int_equal(image_open(&im, &e), 0); /* what was built is good again, whoever put it there */
	image_release(&im);
}

static void manifests(void **state)
{
	struct place *p = *state;
	char whole[4096];
	static const char *const bad[] = { "", "{", "[]", "null", "{}", "{ \"files\": [] }", "{ \"recipe\": 1, \"recipe\": 2 }", "\xff\xfe" };

	built(p);
	get_file(place_image(p, "manifest.json"), whole, sizeof(whole));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put_file(place_image(p, "manifest.json"), bad[i]);
		refused("manifest.json");
	}
	for (size_t n = 1; n + 2 < strlen(whole); n += 7) {
		char cut[4096];

		str_copy(cut, n + 1, whole);
		put_file(place_image(p, "manifest.json"), cut);
		refused("manifest.json");
	}
	assert_int_equal(unlink(place_image(p, "manifest.json")), 0);
	refused("manifest.json");
	AUTO_FD big = open(place_image(p, "manifest.json"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(big, 1 << 30), 0); /* not read into memory */
	refused("manifest.json");
	/* An image under another one's name. */
	char *recipe = strstr(whole, "\"recipe\": \"");
	assert_non_null(recipe);
	recipe[strlen("\"recipe\": \"")] ^= 1;
	assert_int_equal(ftruncate(big, 0), 0);
	put_file(place_image(p, "manifest.json"), whole);
	refused("manifest.json");
}

static void stamps(void **state)
{
	struct place *p = *state;
	struct err e = ERR_INIT;
	struct image im;
	AUTO_FREE struct image_info *list = NULL;
	size_t n = 0;

	built(p);
	assert_int_equal(image_list(&list, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_true(list[0].verified);
	assert_true(list[0].current);
	assert_string_equal(list[0].kernel, "6.12-test");
	assert_string_equal(list[0].built, "2026-01-02T03:04:05Z");
	assert_int_equal(list[0].bytes, strlen(KERNEL BASE MODULES));
	free(steal_ptr(&list));
	/* A stamp of nonsense, or none, means only that everything is hashed again. */
	put_file(place_image(p, "verified"), "nonsense\n");
	assert_int_equal(image_list(&list, &n, &e), 0);
	assert_false(list[0].verified);
	assert_int_equal(image_open(&im, &e), 0);
	image_release(&im);
	assert_int_equal(unlink(place_image(p, "verified")), 0);
	assert_int_equal(image_open(&im, &e), 0);
	image_release(&im);
	free(steal_ptr(&list));
	assert_int_equal(image_list(&list, &n, &e), 0);
	assert_true(list[0].verified);
}

static void recipe_ids(void **state)
{
	struct place *p = *state;
	struct err e = ERR_INIT;
	char a[IMAGE_ID_LEN + 1], b[IMAGE_ID_LEN + 1];
	AUTO_FREE char *script = path_join(p->recipe, "build");
	AUTO_FREE char *extra = path_join(p->recipe, "extra");
	AUTO_FREE char *moved = path_join(p->recipe, "moved");

	assert_int_equal(image_recipe_id(p->recipe, a, &e), -ENOENT);
	good_recipe(p);
	assert_int_equal(image_recipe_id(p->recipe, a, &e), 0);
	assert_int_equal(strlen(a), IMAGE_ID_LEN);
	const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	assert_int_equal(utimensat(AT_FDCWD, script, times, 0), 0);
	assert_int_equal(chmod(script, 0700), 0); /* what a umask decides is no part of a recipe */
	assert_int_equal(image_recipe_id(p->recipe, b, &e), 0);
	assert_string_equal(a, b);
	assert_int_equal(chmod(script, 0600), 0);
	assert_int_equal(image_recipe_id(p->recipe, b, &e), 0);
	assert_string_not_equal(a, b);
	assert_int_equal(chmod(script, 0755), 0);
	put_file(extra, "");
	assert_int_equal(image_recipe_id(p->recipe, b, &e), 0);
	assert_string_not_equal(a, b);
	assert_int_equal(rename(extra, moved), 0);
	char c[IMAGE_ID_LEN + 1];
	assert_int_equal(image_recipe_id(p->recipe, c, &e), 0);
	assert_string_not_equal(b, c);
	put_file(moved, "x");
	assert_int_equal(image_recipe_id(p->recipe, b, &e), 0);
	assert_string_not_equal(b, c);
	assert_int_equal(unlink(moved), 0);
	assert_int_equal(image_recipe_id(p->recipe, b, &e), 0);
	assert_string_equal(a, b);
	assert_int_equal(image_recipe_id("/nonexistent", b, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "/nonexistent"));
}

static void removing(void **state)
{
	struct place *p = *state;
	struct err e = ERR_INIT;
	struct image im;
	char id[2][IMAGE_ID_LEN + 1], text[64];
	size_t n;
	struct image_info *list;

	built(p);
	assert_int_equal(image_open(&im, &e), 0);
	str_copy(id[0], sizeof(id[0]), im.id);
	AUTO_FREE char *other = str_fmt("# another recipe\n%s", whole_image);
	place_recipe(p, other);
	assert_int_equal(place_build(p, false, &e), 0);
	str_copy(id[1], sizeof(id[1]), strrchr(place_image(p, NULL), '/') + 1);
	assert_int_equal(place_images(p), 2);

	assert_int_equal(image_remove("", &e), -ENOENT);
	assert_int_equal(image_remove("..", &e), -ENOENT);
	assert_int_equal(image_remove("zz", &e), -ENOENT);
	assert_non_null(strstr(e.msg, "bulkhead image ls"));
	assert_int_equal(place_images(p), 2);
	char begin[9];
	str_copy(begin, sizeof(begin), id[0]);
	assert_int_equal(image_remove(begin, &e), 0);
	assert_int_equal(image_list(&list, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_string_equal(list[0].id, id[1]);
	free(list);
	assert_int_equal(place_leftovers(p), 0);
	contents(im.base, text, sizeof(text)); /* who has it open keeps it */
	assert_string_equal(text, BASE);
	image_release(&im);
}

static void ambiguous(void **state)
{
	struct place *p = *state;
	struct err e = ERR_INIT;
	char path[256];

	built(p);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/00000000000000%02d", p->images, i);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	assert_int_equal(image_remove("00", &e), -EINVAL);
	assert_non_null(strstr(e.msg, "several"));
	assert_int_equal(image_remove("0000000000000001", &e), 0); /* one without a manifest can be removed too */
	assert_int_equal(place_images(p), 2);
}

static void *opener(void *arg)
{
	for (int i = 0; i < 50; i++) {
		struct err e = ERR_INIT;
		struct image im;

		if (image_open(&im, &e) < 0)
			*(int *)arg = 1;
		else
			image_release(&im);
	}
	return NULL;
}

static void threads(void **state)
{
	struct place *p = *state;
	pthread_t t[4];
	int bad[4] = { 0 };

	built(p);
	assert_int_equal(unlink(place_image(p, "verified")), 0); /* all of them verify and stamp at once */
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, opener, &bad[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(bad[i], 0);
	}
	assert_int_equal(place_leftovers(p), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(opens_read_only), CASE(initrd_holds_the_agent), CASE(none_is_a_sentence), CASE(one_byte_is_enough),
		CASE(files_of_other_kinds), CASE(manifests), CASE(stamps), CASE(recipe_ids), CASE(removing), CASE(ambiguous), CASE(threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
