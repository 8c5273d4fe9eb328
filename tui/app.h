/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dashboard's state. The state tree (core/client/model.h) is what the supervisor told; this is what the person looks at: selection, pages,
 * panes, the one overlay. Views draw from both and change nothing; keys change this and send requests. loop.c owns the struct and turns
 * the crank: input, supervisor, terminals, then at most one frame.
 */
#ifndef BULKHEAD_TUI_APP_H
#define BULKHEAD_TUI_APP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/client/client.h"
#include "core/client/model.h"
#include "tui/canvas.h"
#include "tui/config.h"
#include "tui/copy.h"
#include "tui/diff.h"
#include "tui/keys.h"
#include "tui/layout.h"
#include "tui/lineedit.h"
#include "tui/net.h"
#include "tui/screen.h"
#include "tui/theme.h"
#include "tui/viewer.h"

#define PANES_MAX 12    /* of one sandbox */
#define VIEWERS_MAX 48
#define TILES_MAX 16
#define EARLY_MAX 64
#define OUTPUT_MAX (256u * 1024u)
#define OUTPUT_ENDED_MAX 32
#define MESSAGE_MS 8000
#define FORM_FIELDS 6
#define CLIP_ASK_MS 20000   /* a question about the clipboard stands so long, then it is a no */
#define CLIP_MUTE_MS 60000  /* after a no that terminal asks nothing for so long */
#define CLIP_MUTES 16

/* A leaf of a desk's splits. */
struct pane {
	unsigned id;
	uint32_t session;     /* 0 = the sandbox's first terminal */
	uint32_t generation;  /* of the sandbox when it was attached */
	struct viewer *v;     /* borrowed from the pool, NULL none */
	bool asked;           /* a session is being opened for it */
	bool own;             /* its shell was opened by a split and ends with it */
	struct key early[EARLY_MAX]; /* typed before the terminal was there: given to it first */
	size_t nearly;
};

/* A question about changes: what would be written or thrown away. The requests are sent as they stand here when it is answered with yes. */
struct diffask {
	bool discard;
	char sandbox[NAME_MAX_LEN + 1], title[160];
	struct { char *workspace; json_t *items; } part[DIFF_WORKSPACES_MAX]; /* owned */
	size_t nparts, files, hunks;
	int context;                   /* by which the hunks are numbered; 0 the usual */
	char *lines[DIFF_NAMED_MAX];   /* owned: what is said */
	enum element style[DIFF_NAMED_MAX];
	size_t nlines;
	int top;
};

/* Terminals that were told no. */
struct clip_mute { char sandbox[NAME_MAX_LEN + 1]; uint32_t session; uint64_t until_ms; };

/* The question whether a terminal may write the clipboard (clip.c). */
struct clipask {
	uint64_t serial;            /* of the viewer that asks; 0 none does */
	char sandbox[NAME_MAX_LEN + 1];
	uint32_t session;
	struct buf data;            /* what it asked for: what it writes later is not what is answered */
	uint64_t drawn_ms, until_ms; /* on the screen since, 0 not yet */
	struct clip_mute mute[CLIP_MUTES];
};

/* How a sandbox's terminals are laid out. */
struct desk {
	char sandbox[NAME_MAX_LEN + 1];
	struct split *root;
	struct pane panes[PANES_MAX];
	size_t npanes;
	unsigned focus, last_id;
};

enum focus { FOCUS_LIST, FOCUS_MAIN, FOCUS_SECOND, FOCUS_LOWER };
enum overlay { OV_NONE, OV_HELP, OV_CONFIRM, OV_PALETTE, OV_FILTER, OV_FORM, OV_SEARCH, OV_OUTPUT, OV_DETAIL, OV_RULE, OV_PUBLISH, OV_CHANGES };
enum lower { LOWER_NET, LOWER_DIFF, LOWER_RESOURCES, LOWER_LOG, LOWER_NUM };
enum confirm { CONFIRM_RESET, CONFIRM_KILL, CONFIRM_REMOVE, CONFIRM_STOP };
enum drag { DRAG_NONE, DRAG_LIST, DRAG_FILES, DRAG_LOWER, DRAG_SPLIT, DRAG_SELECT, DRAG_FORWARD };

struct app {
	struct model *model;
	struct client *client;      /* NULL while the supervisor is away */
	struct connecting *connecting; /* it is being looked for */
	uint64_t retry_ms;          /* when to try again */
	unsigned retries;
	struct config config;
	struct theme theme;
	struct canvas canvas;
	struct screen *screen;      /* NULL in tests */
	enum depth depth;
	bool ascii;

	enum page page;
	bool grid, zoom, typing, prefixed, quit, dirty;
	bool after_prefix;          /* the action being done was chosen after the prefix */
	bool attach_only;
	int exit_code;
	char last_words[256];       /* said on stderr after the screen is closed */
	char chosen_theme[64];      /* in the dashboard, kept for the next time */
	enum focus focus;
	char selected[NAME_MAX_LEN + 1], second[NAME_MAX_LEN + 1];
	char select_soon[NAME_MAX_LEN + 1]; /* just made: selected once the state tree has it */
	size_t selected_at;         /* its place among the visible */
	char filter[64];
	int list_top, lower_top, page_top, help_top;
	enum lower lower, lower_side; /* what the lower panel shows; what stands at its right where there is room for two */
	struct netview net;
	struct diffview diff;
	struct diffask diffask;
	struct asking asking;
	struct ruleform rule;
	struct { char rule[700], sandbox[NAME_MAX_LEN + 1]; } undo; /* the last rule made here; "" none */
	int list_cols, lower_rows;
	enum layout_set layout_set;
	json_t *desks_kept;         /* owned: splits of the last time, by sandbox, until its desk is made; NULL none */
	struct layout layout;       /* of the last frame: what the mouse hits */

	struct desk **desks;
	size_t ndesks;
	struct viewer *viewers[VIEWERS_MAX];
	size_t nviewers;
	uint64_t viewer_serial;
	struct copy copy;

	/* What lies over the panes; one at a time. */
	enum overlay overlay;
	struct lineedit line;
	enum confirm confirm;
	char confirm_name[NAME_MAX_LEN + 1], confirm_text[512];
	struct lineedit form[FORM_FIELDS];
	int form_field;
	char form_error[256];
	int complete_at;            /* the chosen completion, -1 none */
	struct { char *text; size_t len; int top, fd, pid /* 0 none */, ended[OUTPUT_ENDED_MAX] /* killed, to be reaped */; char title[128]; } output;
	char history[16][256];      /* of the palette */
	int history_n, history_at;

	char message[512];
	enum element message_style;
	uint64_t message_until;
	uint64_t attention_seen;
	char alarm[320];            /* on the attention line until the Network view was looked at */
	bool away;                  /* the person's window has not the focus */
	bool ring;                  /* the outer bell is due */
	uint64_t bell_ms;           /* when the last bell of a terminal was passed on */
	char notify[300];
	struct buf clip_out;        /* for the person's clipboard */
	struct clipask clip;

	enum drag drag;
	struct split *drag_split;
	struct rect drag_area;
	struct viewer *drag_viewer;
	int drag_row, drag_col;
	struct rect pane_rects[2 * PANES_MAX], tile_rects[TILES_MAX]; /* of the last frame */
	unsigned pane_ids[2 * PANES_MAX];
	struct viewer *pane_viewers[2 * PANES_MAX]; /* borrowed */
	size_t npane_rects, ntiles;
	char tile_names[TILES_MAX][NAME_MAX_LEN + 1];
	char wait_start[NAME_MAX_LEN + 1]; /* give the keyboard to its terminal once it runs */
};

/* ---- app.c: state and selection ------------------------------------------------------------------------------------------------ */
int app_init(struct app *a, struct err *e);
void app_release(struct app *a);
const char *short_path(const char *path, char *dst, size_t cap); /* the home directory as ~; returns dst */
void app_message(struct app *a, enum element style, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
struct model_sandbox *app_selected(const struct app *a);      /* in the list; NULL when there is none */
struct model_sandbox *app_current(const struct app *a);       /* what keys act on: the focused pane's */
bool app_matches(const struct app *a, const struct model_sandbox *sb); /* the filter */
size_t app_visible(const struct app *a, const struct model_sandbox **out, size_t max);
void app_select(struct app *a, const char *name);
void app_move(struct app *a, int by);
/* After events: keeps the selection on something that is there, starts and ends viewers, notes who waits. */
void app_settle(struct app *a);
const char *app_second(struct app *a);                        /* the sandbox of the second terminal, NULL none */
struct style app_style(const struct app *a, enum element e);
struct style app_style_on(const struct app *a, enum element e, enum element under); /* e's text on the ground of `under` */
enum element state_element(const struct model_sandbox *sb);
enum glyph state_glyph(const struct model_sandbox *sb);
const char *state_word(const struct model_sandbox *sb);       /* what the list says: busy, waits, boots, … */
size_t app_waiting(const struct app *a, const struct model_sandbox **first); /* how many wait */

/* ---- desk.c: panes and viewers --------------------------------------------------------------------------------------------------- */
struct desk *desk_of(struct app *a, const char *sandbox);     /* made when it is not there; NULL out of memory */
struct pane *desk_pane(struct desk *d, unsigned id);
struct pane *desk_focus(struct desk *d);
struct pane *app_pane(struct app *a);                         /* the focused terminal pane, NULL none */
struct desk *app_desk(struct app *a);
/* Makes sure that a pane that is on the screen has a viewer of this size. */
void pane_show(struct app *a, struct desk *d, struct pane *p, int rows, int cols);
struct viewer *tile_show(struct app *a, const char *sandbox);
void viewer_drop(struct app *a, struct viewer *v);
void viewers_trim(struct app *a);
bool viewer_shown(const struct app *a, const struct viewer *v); /* in the last frame */
void desk_switch(struct app *a, int by);                      /* the sandbox's next session in the focused pane */
void desk_session(struct app *a, uint32_t session);
void desk_new_shell(struct app *a, int split);                /* 0 in this pane, 1 right, 2 below */
void desk_close_pane(struct app *a);
void desks_prune(struct app *a);
bool session_lives(const struct model_session *s);
/* The terminals that are offered: those that live, and `shown` though it does not; of a sandbox where none lives, all. */
size_t desk_sessions(const struct model_sandbox *sb, uint32_t shown, const struct model_session **out, size_t max);

/* ---- request.c: what is asked of the supervisor --------------------------------------------------------------------------------- */
void request_subscribe(struct app *a);
void request_simple(struct app *a, const char *method, const char *sandbox);
void request_attach(struct app *a, struct viewer *v);
void request_shell(struct app *a, const char *sandbox, unsigned pane, int rows, int cols);
void request_create(struct app *a, json_t *params);
void request_remove(struct app *a, const char *sandbox);
void request_close(struct app *a, const char *sandbox, uint32_t session);
void request_answer(struct app *a, const struct model_ask *q, const char *verdict, const char *scope);
void request_rule(struct app *a, const char *rule, const char *sandbox); /* sandbox NULL: for all */
void request_undo(struct app *a);
void request_publish(struct app *a, const char *sandbox, const char *text);
void request_unpublish(struct app *a, const struct model_port *p);
void request_connect(struct app *a, bool start);              /* a step toward a supervisor; never waits */
void on_event(void *arg, const json_t *event);
void on_lost(struct app *a, const char *why);

/* ---- draw.c and the panes: pure functions of the state and a rectangle ------------------------------------------------------------ */
void draw_frame(struct app *a, int rows, int cols);
struct rect draw_box(struct app *a, struct rect r, const char *title, bool focused, bool boxed);
void draw_list(struct app *a, struct rect r, bool boxed);
void draw_glyphs(struct app *a, struct rect r);
void draw_desk(struct app *a, struct rect r, const char *sandbox, bool focused, bool boxed);
void draw_grid(struct app *a, struct rect r);
void draw_resources(struct app *a, struct rect r, bool boxed, bool focused, bool brief);
void draw_log(struct app *a, struct rect r, bool boxed, bool focused);
void draw_lower(struct app *a, struct rect r);
void lower_click(struct app *a, struct rect r, const struct key *k);
void lower_show(struct app *a, enum lower which);
void draw_help(struct app *a, struct rect r);
void draw_palette(struct app *a, struct rect r);
void draw_form(struct app *a, struct rect r);
void draw_output(struct app *a, struct rect r);
void draw_input_line(struct app *a, struct rect r, int row, const char *label, const struct lineedit *l);
struct rect draw_popup(struct app *a, struct rect r, int rows, int cols, const char *title);

/* ---- ask.c: the attention line ------------------------------------------------------------------------------------------------------ */
const struct model_ask *app_ask(const struct app *a);         /* the question on the line, NULL none */
void ask_settle(struct app *a);                               /* after events */
bool ask_key(struct app *a, enum action act);                 /* false: nothing is asked, the key means something else */
int ask_wait_ms(const struct app *a);                         /* until the line changes by itself, -1 never */
bool ask_due(const struct app *a, uint64_t frame_ms, uint64_t now);
void draw_attention(struct app *a, struct rect r);

/* ---- clip.c: a terminal writes the person's clipboard -------------------------------------------------------------------------------------- */
void clip_settle(struct app *a);                              /* every turn: takes what terminals brought, ends what is over */
bool clip_key(struct app *a, const struct key *k, bool after_prefix); /* true: it was an answer */
int clip_wait_ms(const struct app *a);                        /* until the question changes by itself, -1 never */
bool clip_due(const struct app *a, uint64_t frame_ms);        /* since that frame it takes answers */
void draw_clip(struct app *a, struct rect line);

/* ---- pane_net.c, rule.c: the Network view ------------------------------------------------------------------------------------------ */
void draw_net(struct app *a, struct rect r, bool boxed, bool focused, bool brief);
void draw_ports(struct app *a, struct rect r, bool boxed, bool focused);
void draw_detail(struct app *a, struct rect r);
void draw_rule(struct app *a, struct rect r);
bool net_shown(const struct app *a);                          /* decisions are on the screen */
bool net_only(const struct app *a);                           /* only the selected sandbox's rows are shown */
const struct model_decision *net_row(const struct app *a);    /* at the cursor, NULL none */
const struct model_port *net_port(const struct app *a);
void net_move(struct app *a, int by);
void detail_key(struct app *a, const struct key *k);
void rule_open(struct app *a, int verdict);                   /* enum model_verdict, -1: the other one than the row's */
void rule_key(struct app *a, const struct key *k);

/* ---- pane_diff.c, pane_difftext.c, diff_do.c: the Diff view ---------------------------------------------------------------------- */
void draw_files(struct app *a, struct rect r, bool boxed, bool focused, bool brief);
void draw_difftext(struct app *a, struct rect r, bool boxed, bool focused);
void draw_changes(struct app *a, struct rect r);              /* the question */
int draw_counts(struct app *a, struct rect r, int row, int col, uint64_t add, uint64_t del, enum element ground); /* "+3 -1"; col < 0: ends there from the right; columns used */
bool diff_shown(const struct app *a);
struct difflist *diff_list(const struct app *a);              /* of the selected sandbox, NULL none yet */
const struct change *diff_change(const struct app *a, const char **workspace); /* at the cursor, NULL none */
enum text_mode diff_mode(const struct app *a, int cols);
void diff_look_again(struct app *a);                          /* all lists are asked for anew when they are shown */
void diff_settle(struct app *a);                              /* before a frame that shows it: asks for what is missing or old */
void diff_move(struct app *a, enum action act);
void diff_sideways(struct app *a, int by);
bool diff_action(struct app *a, enum action act);             /* false: it is none of the view's */
void diff_search(struct app *a, bool here);
void changes_ask(struct app *a, bool discard);
void changes_key(struct app *a, const struct key *k);
void diffask_clear(struct diffask *q);
void request_list(struct app *a, const char *sandbox, const char *workspace, uint64_t from);
void request_text(struct app *a, const char *sandbox, const char *workspace, const char *path, uint64_t version);
void request_changes(struct app *a, const struct diffask *q);
void request_unapply(struct app *a, const char *sandbox);

/* ---- input.c, mouse.c, action.c, palette.c, form.c ---------------------------------------------------------------------------------- */
void input_key(struct app *a, const struct key *k);
void input_mouse(struct app *a, const struct key *k);
unsigned app_context(const struct app *a);
char *app_filter(struct app *a);                              /* of the view that has the focus; 64 bytes */
void action_do(struct app *a, enum action act);
void confirm_answer(struct app *a, bool yes);
void confirm_ask(struct app *a, enum confirm what, const struct model_sandbox *sb);
void palette_open(struct app *a, const char *text);
void palette_key(struct app *a, const struct key *k);
void command_run(struct app *a, const char *line);
void output_run(struct app *a, char **argv, const char *title);
void output_read(struct app *a);
void output_reap(struct app *a);                             /* after SIGCHLD */
void output_close(struct app *a);
void form_open(struct app *a);
void form_key(struct app *a, const struct key *k);
size_t palette_complete(const struct app *a, const char *text, char out[][80], size_t max);
void theme_use(struct app *a, const char *name);
void prefs_load(struct app *a);
void prefs_save(const struct app *a);
/* The splits this sandbox had, as far as their sessions live. Takes a desk that has just been made. */
void prefs_desk(struct app *a, struct desk *d, const struct model_sandbox *sb);

#endif
