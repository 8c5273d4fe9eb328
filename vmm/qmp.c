/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/qmp.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/loop/stream.h"

struct qmp {
	struct stream *s;
	const struct qmp_ops *ops;
	void *arg;
};

static void copy_text(char *dst, size_t cap, const json_t *v)
{
	dst[0] = '\0';
	if (json_is_string(v))
		scrub(dst, cap, json_string_value(v), json_string_length(v), false);
}

int qmp_parse(const char *p, size_t n, struct qmp_line *out)
{
	json_t *j = json_loadb(p, n, JSON_REJECT_DUPLICATES, NULL);

	*out = (struct qmp_line){ .kind = QMP_OTHER };
	if (!json_is_object(j)) {
		json_decref(j);
		return -EBADMSG;
	}
	if (json_object_get(j, "QMP")) {
		out->kind = QMP_GREETING;
	} else if (json_object_get(j, "error")) {
		out->kind = QMP_ERROR;
		copy_text(out->text, sizeof(out->text), json_object_get(json_object_get(j, "error"), "desc"));
	} else if (json_object_get(j, "event")) {
		out->kind = QMP_EVENT;
		copy_text(out->name, sizeof(out->name), json_object_get(j, "event"));
		copy_text(out->text, sizeof(out->text), json_object_get(json_object_get(j, "data"), "reason"));
	} else if (json_object_get(j, "return")) {
		out->kind = QMP_RETURN;
	}
	json_decref(j);
	return 0;
}

static void on_line(struct qmp *q, const char *p, size_t n)
{
	struct qmp_line l;

	if (qmp_parse(p, n, &l) < 0) {
		q->ops->on_error(q->arg, "QEMU's monitor said something that is no JSON object");
		return;
	}
	if (l.kind == QMP_GREETING)
		qmp_command(q, "qmp_capabilities");
	else if (l.kind == QMP_ERROR)
		q->ops->on_error(q->arg, l.text);
	else if (l.kind == QMP_EVENT)
		q->ops->on_event(q->arg, l.name, l.text);
}

static void on_read(void *arg, struct buf *in)
{
	struct qmp *q = arg;

	for (;;) {
		const uint8_t *nl = memchr(buf_head(in), '\n', buf_size(in));

		if (!nl) {
			if (buf_size(in) >= QMP_LINE_MAX) {
				buf_consume(in, buf_size(in));
				q->ops->on_error(q->arg, "QEMU's monitor said a line that is too long");
			}
			return;
		}
		const size_t n = (size_t)(nl - buf_head(in));
		on_line(q, (const char *)buf_head(in), n);
		buf_consume(in, n + 1);
	}
}

static void on_closed(void *arg, int why)
{
	(void)arg;
	(void)why; /* QEMU's end is seen by its process */
}

static const struct stream_ops ops = { .on_read = on_read, .on_closed = on_closed };

int qmp_open_take(struct qmp **out, uv_loop_t *loop, int fd, const struct qmp_ops *qops, void *arg)
{
	struct qmp *q = calloc(1, sizeof(*q));

	*out = NULL;
	if (!q) {
		close(fd);
		return -ENOMEM;
	}
	q->ops = qops;
	q->arg = arg;
	const int r = stream_open_take(&q->s, loop, fd, QMP_LINE_MAX, QMP_LINE_MAX, &ops, q);
	if (r < 0) {
		free(q);
		return r;
	}
	*out = q;
	return 0;
}

int qmp_command(struct qmp *q, const char *name)
{
	AUTO_FREE char *text = str_fmt("{\"execute\":\"%s\"}\n", name);

	return text ? stream_write(q->s, text, strlen(text)) : -ENOMEM;
}

void qmp_close(struct qmp **qp)
{
	struct qmp *q = *qp;

	if (!q)
		return;
	*qp = NULL;
	stream_close(&q->s);
	free(q);
}
