/* SPDX-License-Identifier: Apache-2.0 */
/* What a request to the supervisor remembers until its answer comes, shared by request.c and diff_ask.c. */
#ifndef BULKHEAD_TUI_REQUEST_H
#define BULKHEAD_TUI_REQUEST_H

#include "tui/app.h"

struct request {
	struct app *a;
	char what[32], sandbox[NAME_MAX_LEN + 1], text[300], rule[700]; /* text: said when it went well */
	uint64_t viewer; /* its serial */
	unsigned pane;
	char *workspace, *path; /* owned */
	uint64_t from;
	int context;     /* of a text: lines around what changed, 0 the usual; three ways */
	bool conflict;
};

/* NULL: no memory; request_send() takes that too. */
struct request *request_create_for(struct app *a, const char *what, const char *sandbox);
/* Takes r and params. fn is called with r once and frees it, unless nothing could be asked. */
void request_send(struct request *r, const char *method, json_t *params, client_answer_fn fn);
/* Says on the footer's line why; true: it did not go well. */
bool request_failed(struct request *r, const struct client_answer *ans);

#endif
