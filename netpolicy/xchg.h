/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of an opened connection; included by its own files only.
 *
 *   guest -- wire -- front (HTTP/1 or 2) -- exchange -- back (HTTP/1 or 2) -- wire -- server
 *
 * An exchange is one request and its response, free of any framing: two heads, two bodies in bounded buffers. The producer of a body puts
 * bytes while there is room and tells; the consumer takes what it can and tells that there is room. Whoever is told acts at once on its own
 * wire but calls nobody back in the same breath except through these functions; wires and HTTP/2 sessions write from the loop. An exchange or
 * back that is over is unlinked and freed by the sweep (opened.c), never inside a call.
 *
 * States of an exchange:
 *   X_DECIDING  the question is out (token); the request's body gathers in its buffer
 *   X_WAITING   allowed; no connection to the server has taken it yet
 *   X_SENT      a back has it: that it is allowed was recorded, credentials are in it (xchg_go)
 *   X_LOCAL     the answer is ours (a page); what comes of the request's body is dropped
 *   X_OVER      nobody may use it; the sweep frees it
 */
#ifndef BULKHEAD_NETPOLICY_XCHG_H
#define BULKHEAD_NETPOLICY_XCHG_H

#include <nghttp2/nghttp2.h>

#include "core/loop/after.h"
#include "netpolicy/deny_page.h"
#include "netpolicy/http1.h"
#include "netpolicy/opened.h"
#include "netpolicy/wire.h"

#define UP_WINDOW (256u * 1024u)         /* HTTP/2: of a request's body */
#define DOWN_WINDOW (1024u * 1024u)      /* of a response's: the server may be far away */
#define INTERIMS_MAX 16u

enum xstate { X_DECIDING, X_WAITING, X_SENT, X_LOCAL, X_OVER, X_NUM };

struct body {
	struct buf b;
	bool end;                /* all of it has been put */
	uint64_t total;          /* bytes put so far */
	struct headers trailers; /* complete when `end` */
};

struct xchg {
	struct opened *o;
	struct xchg *next;
	uint64_t token, since_ms;
	enum xstate state;
	/* the request; hop-by-hop fields gone */
	char method[HTTP1_METHOD_MAX];
	char *target;            /* owned; as the guest wrote it: what is decided, shown and recorded */
	char *sent_target;       /* owned, wiped; as the server gets it: a credential may stand in it. NULL before it is allowed */
	struct authority host;
	struct headers req;
	bool has_body, length_known, websocket, te_trailers;
	bool old;                /* the guest speaks HTTP/1.0 */
	bool absolute_https;
	struct body up;
	/* the response; likewise */
	uint16_t status;
	struct headers resp;
	bool resp_length_known, no_resp_body;
	bool answered;           /* the final head was given to the front */
	bool tunnel;             /* 101: bytes both ways until each ends */
	unsigned interims;
	struct body down;
	struct mask *mask;
	struct watch *watch;     /* of the request's body; NULL none */
	char carries[64];        /* whose placeholder was found in it */
	/* who decided */
	uint8_t verdict;
	bool told;               /* allowed, and recorded */
	char rule[160], scope[16];
	uint32_t ask;
	struct net_addr to;      /* the server's address; all zero: not known */
	/* the two ends */
	int32_t front_id, back_id; /* HTTP/2 stream, 0 none */
	uint64_t up_acked, down_acked, dropped;
	bool front_gone, retried;
	struct back *back;
};

struct front_ops {
	int (*open)(struct opened *o); /* 0 or -errno */
	void (*read)(struct opened *o, struct buf *in);
	void (*eof)(struct opened *o);
	void (*room)(struct opened *o);
	void (*interim)(struct xchg *x, uint16_t status, const struct headers *h);
	void (*head)(struct xchg *x);    /* x->status, x->resp are final */
	void (*down)(struct xchg *x);    /* more in x->down, or its end */
	void (*up_room)(struct xchg *x); /* bytes of x->up were taken */
	void (*fail)(struct xchg *x);    /* the answer cannot be finished; the front lets go of x */
	void (*drain)(struct opened *o); /* no more requests */
	void (*flush)(struct opened *o); /* from the sweep: what HTTP/2 has to say */
	void (*release)(struct opened *o);
};

enum bstate { B_CONNECTING, B_TLS, B_READY, B_GONE };

struct back;
struct back_ops {
	int (*open)(struct back *b);
	bool (*can_take)(const struct back *b);
	void (*start)(struct back *b, struct xchg *x);
	void (*up)(struct xchg *x);        /* more in x->up, or its end */
	void (*down_room)(struct xchg *x); /* bytes of x->down were taken */
	void (*cancel)(struct xchg *x);    /* the back lets go of x */
	void (*read)(struct back *b, struct buf *in);
	void (*eof)(struct back *b, bool clean);
	void (*room)(struct back *b);
	void (*gone)(struct back *b, const char *text); /* the wire is no more: let go of every exchange (back_lost) */
	void (*flush)(struct back *b);
	void (*release)(struct back *b);
};

struct back {
	struct opened *o;
	struct back *next;
	const struct back_ops *ops; /* NULL until B_READY */
	enum bstate state;
	uint64_t token;
	struct net_addr to;         /* all zero: not known */
	struct wire *w;
	struct after *timer;
	bool h1_only;
	unsigned served;            /* exchanges so far */
	/* HTTP/1 */
	struct xchg *x;
	uint8_t phase;
	bool up_done, keep, heard, eof, clean;
	enum http1_framing framing;
	uint64_t left;
	struct http1_chunks chunks;
	/* HTTP/2 */
	nghttp2_session *h2;
	unsigned streams;
	bool leaving;               /* GOAWAY came: nothing new */
};

struct opened {
	struct opened_opts opts;
	char name[NET_NAME_MAX];    /* opts.name or the literal address */
	bool literal;
	struct stream *stream;      /* until the wire has it */
	struct wire *w;
	struct leaf_wait leaf;
	const struct front_ops *front;
	struct xchg *xs, *spare;
	struct back *backs;
	uint64_t last_token, in, out;
	struct after *timer;        /* handshake, idle, head */
	uv_idle_t sweep;
	bool draining, ending, closing, told;
	bool server_h1;             /* the server chose HTTP/1 when it could have chosen 2 */
	int why;
	char text[160];
	/* front: HTTP/1 */
	struct xchg *cur;
	enum http1_framing framing;
	uint64_t left, dropped;
	struct http1_chunks chunks;
	bool keep, chunked_down, lingering, eof;
	/* front: HTTP/2 */
	nghttp2_session *h2;
	bool in_recv;
};

extern const struct front_ops front1_ops, front2_ops;
extern const struct back_ops back1_ops, back2_ops;

/* ---- opened.c ---- */
void opened_sweep_soon(struct opened *o);
void opened_finish(struct opened *o, int why, const char *text); /* everything ends; on_end from the sweep */
void opened_idle(struct opened *o);   /* after a request: (re)arms the timer of a quiet connection */
void opened_assign(struct opened *o); /* gives waiting exchanges to backs, connects as needed */
void back_retire(struct back *b);     /* takes no more; its wire is closed; freed by the sweep */

/* ---- xchg.c: for fronts ---- */
struct xchg *xchg_new(struct opened *o); /* NULL out of memory */
void xchg_request(struct xchg *x);       /* the head is in x; checks and decides */
size_t xchg_up_room(const struct xchg *x);
/* n <= room. */
void xchg_up_put(struct xchg *x, const uint8_t *p, size_t n);
void xchg_up_end(struct xchg *x);
void xchg_up(struct xchg *x);            /* tells */
/* The front is done with x: the answer was sent whole, or (cut) the guest gave it up. */
void xchg_close(struct xchg *x, bool cut);
/* ---- for backs ---- */
void xchg_interim(struct xchg *x, uint16_t status, const struct headers *h);
void xchg_head(struct xchg *x);          /* status, resp, resp_length_known, no_resp_body are set */
size_t xchg_down_room(const struct xchg *x, size_t most);
void xchg_down_put(struct xchg *x, const uint8_t *p, size_t n);
void xchg_down_end(struct xchg *x);
void xchg_down(struct xchg *x);
/*
 * The back has let go of x (x->back is NULL): the server failed it. UNHEARD: on a connection that had served others, which ended without a word of
 * an answer: most likely it was closing. UNTAKEN: certainly nothing of it was processed. Such may be sent once more.
 */
enum lost { LOST, LOST_UNHEARD, LOST_UNTAKEN };
void xchg_back_lost(struct xchg *x, enum lost how, const char *text);
/* ---- for opened.c ---- */
void xchg_deny(struct xchg *x, enum deny_why why, const char *rule);
void xchg_allowed(struct xchg *x);
/* A connection to the server at `to` is to take it: recorded, credentials put in. False: it does not go and has its answer. */
bool xchg_go(struct xchg *x, const struct net_addr *to);
/* Of an allowed one that no server was reached for: `text` says why. forbidden: the server is at `to`, where nothing may go. */
void xchg_stranded(struct xchg *x, bool forbidden, const struct net_addr *to, const char *text);
void xchg_free(struct xchg *x);
/* A page of refusal without an exchange (a head that cannot be parsed): whole HTTP/1 response. */
void xchg_bad_request(struct opened *o, const char *why);

/* ---- h2.c ---- */
nghttp2_mem *h2_memory(void); /* wipes what it frees */
/* Fields as HTTP/2 wants them (lower case, hop-by-hop gone). At most HEADERS_MAX + 5. */
struct h2_fields {
	nghttp2_nv nv[HEADERS_MAX + 5];
	size_t n;
	char *names;             /* owned */
};
int h2_fields_init(struct h2_fields *f, const struct headers *h);
void h2_fields_pseudo(struct h2_fields *f, const char *name, const char *value); /* before _add */
int h2_fields_add(struct h2_fields *f, const struct headers *h);
void h2_fields_release(struct h2_fields *f);
/* Moves frames from a session to its wire while there is room. 0 or -EPROTO. */
int h2_send(nghttp2_session *s, struct wire *w);
/* A body's bytes for a DATA frame: nghttp2_data_source_read_callback's contract; `taken` counts. */
ssize_t h2_take(nghttp2_session *s, int32_t id, struct body *body, uint8_t *p, size_t n, uint32_t *flags);

#endif
