/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/lifelog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "core/base/atomicfile.h"
#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/supervisor/events.h"
#include "core/supervisor/super.h"

#define FILE_NAME "lifecycle.log"
#define OLD_NAME "lifecycle.log.1"
#define ROOM (768u * 1024u) /* of the records of one answer */

static int open_log(struct super *su)
{
	struct stat st;

	fd_close(&su->lifelog.fd);
	su->lifelog.fd = openat(su->lifelog.dirfd, FILE_NAME, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	su->lifelog.size = su->lifelog.fd >= 0 && !fstat(su->lifelog.fd, &st) ? (uint64_t)st.st_size : 0;
	return su->lifelog.fd < 0 ? -errno : 0;
}

int lifelog_init(struct super *su, struct err *e)
{
	su->lifelog = (struct lifelog){ .dirfd = open(su->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .fd = -1 };
	if (su->lifelog.dirfd < 0)
		return err_errno(e, errno, "cannot open '%s'", su->state);
	int r = open_log(su);
	return r ? err_errno(e, -r, "cannot open '%s/" FILE_NAME "'", su->state) : 0;
}

void lifelog_release(struct super *su)
{
	fd_close(&su->lifelog.fd);
	fd_close(&su->lifelog.dirfd);
}

void lifelog_add(struct super *su, enum log_level level, const char *name, const char *fmt, ...)
{
	static const char *const levels[] = { [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug" };
	char raw[1024], text[1024], at[32];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	scrub(text, sizeof(text), raw, strlen(raw), false);
	clock_rfc3339(at, clock_wall_ns());
	log_line(level, "%s%s%s", name ? name : "", name ? ": " : "", text);
	json_t *o = json_pack("{s:s, s:s, s:s}", "at", at, "level", levels[level], "text", text);
	if (o && name)
		json_object_set_new(o, "name", json_string(name));
	AUTO_FREE char *line = o ? json_dumps(o, JSON_COMPACT) : NULL;
	if (line) {
		if (su->lifelog.size > LIFELOG_CAP && !renameat(su->lifelog.dirfd, FILE_NAME, su->lifelog.dirfd, OLD_NAME))
			open_log(su);
		if (su->lifelog.fd >= 0 && dprintf(su->lifelog.fd, "%s\n", line) > 0)
			su->lifelog.size += strlen(line) + 1;
		events_log(su, o);
	}
	json_decref(o);
}

/* Fills `list` from its end backwards, with what fits an answer. */
static void read_file(struct super *su, const char *file, const char *name, size_t lines, size_t *room, json_t *list)
{
	struct buf b;

	buf_init(&b, LIFELOG_CAP * 2);
	if (!atomicfile_read(su->lifelog.dirfd, file, &b, NULL)) {
		const char *head = (const char *)buf_head(&b);
		size_t end = buf_size(&b);
		while (end > 0 && json_array_size(list) < lines && *room) {
			const char *nl = memrchr(head, '\n', end - 1);
			const char *from = nl ? nl + 1 : head;
			size_t n = end - (size_t)(from - head);
			json_t *o = json_loadb(from, n, JSON_REJECT_DUPLICATES, NULL);
			const char *of = json_string_value(json_object_get(o, "name"));
			if (json_is_object(o) && (!name || (of && !strcmp(of, name)))) {
				*room = n < *room ? *room - n : 0;
				json_array_insert(list, 0, o);
			}
			json_decref(o);
			end = (size_t)(from - head);
		}
	}
	buf_release(&b);
}

json_t *lifelog_read(struct super *su, const char *name, size_t lines)
{
	json_t *list = json_array();
	size_t room = ROOM;

	read_file(su, FILE_NAME, name, lines, &room, list);
	if (json_array_size(list) < lines)
		read_file(su, OLD_NAME, name, lines, &room, list);
	return list;
}
