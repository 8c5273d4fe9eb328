/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Network view's and the attention line's own state: which row the cursor is on, what is filtered, which question stands on the line, and the
 * form that makes a rule of a row. What is drawn comes from the state tree (core/client/netmodel.h).
 */
#ifndef BULKHEAD_TUI_NET_H
#define BULKHEAD_TUI_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/client/netmodel.h"

/*
 * A question that has just come onto the line takes no keys for so long, and its keys are not shown: what a person was typing when it came, or the
 * second press meant for the one before, must not answer it.
 */
#define ASK_ARM_MS 400
#define ASK_GONE_MS 2000 /* for so long after a question went, its keys do nothing else */

struct asking {
	uint64_t shown;      /* the question on the line, 0 none */
	uint64_t drawn;      /* the question the last frame showed */
	uint64_t shown_ms;   /* since when (clock_ms) */
	uint64_t sent;       /* answered from here, the supervisor has not told yet */
	uint64_t gone_seen;  /* of netmodel.gone.n */
	uint64_t gone_ms;    /* when the line became empty or changed */
	uint64_t newest;     /* the highest id that rang */
};

struct netview {
	uint64_t row;        /* the cursor's row, 0 = the newest, which is followed */
	uint64_t top;        /* the row at the top while nothing is followed */
	int verdict;         /* enum model_verdict shown, -1 all */
	bool only;           /* only the selected sandbox's */
	char filter[64];
	size_t port;         /* the cursor among the published ports */
	size_t newer;        /* rows below the last that is shown */
	int first_row, rows; /* of the last frame, absolute: what the mouse hits */
	uint64_t at[256];    /* the rows there */
};

#define RULE_HOSTS 8
#define RULE_REQUESTS 4
enum rule_field { RF_VERDICT, RF_HOST, RF_PORT, RF_REQUEST, RF_SCOPE, RF_NUM };

struct ruleform {
	struct model_reach what;
	char hosts[RULE_HOSTS][264], requests[RULE_REQUESTS][600];
	int nhosts, nrequests;
	int choice[RF_NUM], field;
	bool sent;
	char error[256];
};

/* Its host is a plain name or address: nothing a guest called itself can become another rule. */
bool reach_rulable(const struct model_reach *r);
/* The rule as the supervisor takes it ("allow **.example.org:443 GET /v1"). */
void ruleform_init(struct ruleform *f, const struct model_reach *what, enum model_verdict verdict);
void ruleform_text(const struct ruleform *f, char *dst, size_t cap);
int ruleform_choices(const struct ruleform *f, enum rule_field field);

/* "api.example.org", or the address when there is no name; "?" neither. */
const char *reach_host(const struct model_reach *r);
/* "POST api.example.org:443/v1/x" in at most `columns`: of a host too long the beginning goes (its end says whose it is), of a path the end. */
void reach_text(const struct model_reach *r, char *dst, size_t cap, int columns, bool ascii);
/* "curl (4121) in web", "curl", "". */
void reach_who(const struct model_reach *r, char *dst, size_t cap);
/* Cuts the beginning of s: "…le.org". Returns columns written. */
size_t fit_end(char *dst, size_t cap, const char *s, size_t columns, bool ascii);

#endif
