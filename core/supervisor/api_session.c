/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/api.h"

#include <errno.h>
#include <sys/socket.h>

#include "core/base/fd.h"
#include "core/base/utf8.h"
#include "core/proto/child.h"
#include "core/supervisor/kid.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/super.h"

#define ARG_BYTES_MAX 49152u /* all arguments together: they travel in one CHILD_MSG_MAX with the environment's 32 KiB bounded apart */
#define DEFAULT_ROWS 24
#define DEFAULT_COLS 80

static int copy_args(const json_t *list, struct sess_open *o, struct err *e)
{
	size_t i, bytes = 0, n = json_array_size(list);
	json_t *v;

	if (!(o->argv = calloc(n + 1, sizeof(*o->argv))))
		return err_set(e, ENOMEM, "out of memory");
	json_array_foreach((json_t *)(uintptr_t)list, i, v) {
		bytes += json_string_length(v) + 2;
		if (bytes > ARG_BYTES_MAX)
			return err_set(e, EINVAL, "parameter 'argv' is longer than %u bytes", ARG_BYTES_MAX);
		if (!(o->argv[i] = str_dup(json_string_value(v))))
			return err_set(e, ENOMEM, "out of memory");
		o->argc++;
	}
	return 0;
}

/* The command's own name, for lists. */
static void default_label(char *dst, size_t cap, const struct sess_open *o)
{
	const char *word = o->argc ? o->argv[0] : "shell", *slash = strrchr(word, '/');

	word = slash && slash[1] ? slash + 1 : word;
	scrub(dst, cap, word, strlen(word), false);
}

static void open_session(struct call *c, struct args *a, struct sandbox *sb, struct term_open *m)
{
	int pair[2] = { -1, -1 };
	bool exec = m->kind == TERM_KIND_EXEC;
	struct buf probe;

	/* Would it fit its message? Better a sentence than a dropped request. */
	buf_init(&probe, CHILD_MSG_MAX - CHILD_MSG_HEAD);
	bool fits = !term_open_pack(&probe, m) && buf_ok(&probe);
	buf_release(&probe);
	if (!fits) {
		call_error(c, RPC_PARAMS, "the command and its environment are too long together");
		return;
	}
	if (exec && fd_pair(SOCK_STREAM, pair)) {
		call_error(c, RPC_FAILED, "cannot make a socket: too many are open");
		return;
	}
	struct session *s = session_open_take(sb, m, pair[1], &a->e);
	if (!s) {
		fd_close(&pair[0]);
		call_error_err(c, &a->e);
	} else if (exec) {
		call_result_fd_take(c, json_pack("{s:o}", "session", session_json(s)), pair[0]);
	} else {
		call_result_take(c, json_pack("{s:o, s:i}", "session", session_json(s), "fds", 0));
	}
}

static void on_open(struct call *c, struct args *a)
{
	struct term_open m = { .kind = TERM_KIND_PTY };
	const char *kind = arg_str(a, "kind", 16, true);
	const json_t *argv = arg_list(a, "argv", SESS_ARGS_MAX), *env = arg_env(a, "env");
	const char *cwd = arg_str(a, "cwd", sizeof(m.open.cwd) - 1, false), *user = arg_str(a, "user", sizeof(m.open.user) - 1, false);
	const char *label = arg_str(a, "label", 256, false), *term = arg_str(a, "term", sizeof(m.open.term) - 1, false);
	bool tty = arg_bool(a, "tty");

	m.open.rows = (uint16_t)arg_num(a, "rows", 1, 1000, DEFAULT_ROWS);
	m.open.cols = (uint16_t)arg_num(a, "cols", 1, 1000, DEFAULT_COLS);
	struct sandbox *sb = arg_sandbox(a, c);
	if (!sb)
		return;
	if (!strcmp(kind, "exec")) {
		m.kind = TERM_KIND_EXEC;
		m.open.flags = tty ? SESS_TTY : 0;
	} else if (!strcmp(kind, "pty")) {
		m.open.flags = SESS_TTY;
	} else {
		call_error(c, RPC_PARAMS, "parameter 'kind' must be 'pty' or 'exec'");
		return;
	}
	if (!json_array_size(argv))
		m.open.flags |= SESS_LOGIN;
	str_copy(m.open.cwd, sizeof(m.open.cwd), cwd ? cwd : "");
	str_copy(m.open.user, sizeof(m.open.user), user ? user : "");
	str_copy(m.open.term, sizeof(m.open.term), term ? term : "");
	if (copy_args(argv, &m.open, &a->e) || session_env(sb, env, &m.open, &a->e)) {
		call_error_err(c, &a->e);
	} else {
		if (label)
			scrub(m.label, sizeof(m.label), label, strlen(label), false);
		else
			default_label(m.label, sizeof(m.label), &m.open);
		open_session(c, a, sb, &m);
	}
	term_open_release(&m);
}

/* The one to look at: the first live terminal, a new one, or the last that ended. NULL with e. */
static struct session *default_session(struct sandbox *sb, uint16_t rows, uint16_t cols, struct err *e)
{
	struct session *last = NULL;

	for (struct session *s = sb->sessions; s; s = s->next) {
		if (s->t.kind != TERM_KIND_PTY)
			continue;
		if (session_live(s))
			return s;
		last = s;
	}
	if (sb->state == SB_RUNNING || !last)
		return session_open_main(sb, rows, cols, e);
	return last;
}

static int pack_attach(struct buf *b, const void *m)
{
	return term_attach_pack(b, m);
}

static void on_attach(struct call *c, struct args *a)
{
	uint64_t id = arg_num(a, "session", 1, UINT32_MAX, 0);
	uint16_t rows = (uint16_t)arg_num(a, "rows", 1, 1000, DEFAULT_ROWS), cols = (uint16_t)arg_num(a, "cols", 1, 1000, DEFAULT_COLS);
	bool readonly = arg_bool(a, "readonly");
	struct sandbox *sb = arg_sandbox(a, c);
	int pair[2];

	if (!sb)
		return;
	struct session *s = id ? session_find(sb, (uint32_t)id) : default_session(sb, rows, cols, &a->e);
	if (!s && id)
		call_error(c, RPC_NOT_FOUND, "sandbox '%s' has no session %llu", sb->spec.name, (unsigned long long)id);
	else if (!s)
		call_error_err(c, &a->e);
	else if (s->t.kind != TERM_KIND_PTY)
		call_error(c, RPC_STATE, "session %u of '%s' is no terminal: nothing can be looked at", s->t.session, sb->spec.name);
	else if (!sb->term)
		call_error(c, RPC_STATE, "the screens of '%s' are gone: its terminal process has ended", sb->spec.name);
	else if (fd_pair(SOCK_STREAM, pair))
		call_error(c, RPC_FAILED, "cannot make a socket: too many are open");
	else {
		const struct term_attach m = { .session = s->t.session, .readonly = readonly };
		kid_send(sb->term, TERM_ATTACH, pack_attach, &m, &pair[1], 1);
		close(pair[1]);
		call_result_fd_take(c, json_pack("{s:o}", "session", session_json(s)), pair[0]);
	}
}

struct close_msg {
	uint32_t session, flags;
};

static int pack_close(struct buf *b, const void *m)
{
	const struct close_msg *v = m;

	buf_u32(b, v->session);
	return buf_u32(b, v->flags);
}

static void on_close(struct call *c, struct args *a)
{
	struct close_msg m = { .session = (uint32_t)arg_num(a, "session", 1, UINT32_MAX, 0), .flags = arg_bool(a, "forget") };
	struct sandbox *sb = arg_sandbox(a, c);

	if (!sb)
		return;
	if (!session_find(sb, m.session)) {
		call_error(c, RPC_NOT_FOUND, "sandbox '%s' has no session %u", sb->spec.name, m.session);
		return;
	}
	kid_send(sb->term, TERM_CLOSE, pack_close, &m, NULL, 0);
	if (m.flags)
		session_forget(sb, m.session);
	call_result_take(c, json_object());
}

static void on_record(struct call *c, struct args *a)
{
	uint32_t id = (uint32_t)arg_num(a, "session", 1, UINT32_MAX, 0);
	struct sandbox *sb = arg_sandbox(a, c);
	char rel[64];

	if (!sb)
		return;
	snprintf(rel, sizeof(rel), "rec/%u.cast", id);
	AUTO_FREE char *path = str_fmt("%s/%s/%s", c->su->store.path, sb->spec.name, rel);
	if (!id)
		call_error(c, RPC_PARAMS, "parameter 'session' is missing");
	else if (!path || faccessat(sb->dirfd, rel, F_OK, AT_SYMLINK_NOFOLLOW))
		call_error(c, RPC_NOT_FOUND, "session %u of '%s' has no recording", id, sb->spec.name);
	else
		call_result_take(c, json_pack("{s:s}", "path", path));
}

static void on_console(struct call *c, struct args *a)
{
	uint64_t lines = arg_num(a, "lines", 0, 5000, 200);
	struct sandbox *sb = arg_sandbox(a, c);

	if (!sb)
		return;
	AUTO_FREE char *path = str_fmt("%s/%s/console.log", c->su->store.path, sb->spec.name);
	call_result_take(c, json_pack("{s:o, s:s?}", "lines", sandbox_console(sb, (size_t)lines), "path", path));
}

static const struct method rows[] = {
	{ "session.open", " name kind argv env cwd user tty rows cols label term ", on_open },
	{ "session.attach", " name session readonly rows cols ", on_attach },
	{ "session.close", " name session forget ", on_close },
	{ "session.record", " name session ", on_record },
	{ "console.read", " name lines ", on_console },
};

const struct method_table api_session = { rows, ARRAY_SIZE(rows) };
