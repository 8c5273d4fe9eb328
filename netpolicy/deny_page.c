/* SPDX-License-Identifier: Apache-2.0 */
#include "netpolicy/deny_page.h"

#include <string.h>
#include <strings.h>

#include "core/base/str.h"
#include "core/base/utf8.h"

uint16_t deny_status(enum deny_why why)
{
	static const uint16_t status[] = { [DENY_RULE] = 403, [DENY_ALARM] = 403, [DENY_MISDIRECTED] = 421, [DENY_BAD] = 400,
					   [DENY_METHOD] = 405, [DENY_UPSTREAM] = 502 };

	_Static_assert(ARRAY_SIZE(status) == DENY_NUM, "one a reason");
	return status[why];
}

/* Where the type stands in the list decides; quality values are not weighed: nobody who wants text puts JSON first. */
bool deny_wants_json(const struct headers *h)
{
	const struct header *f = headers_get(h, "accept");
	const char *json = f ? strcasestr(f->value, "json") : NULL, *text = f ? strcasestr(f->value, "text/") : NULL;

	if (!f && headers_get(h, "content-type"))
		json = strcasestr(headers_get(h, "content-type")->value, "json");
	return json && (!text || json < text);
}

static void put_json(struct buf *b, const char *key, const char *s, bool last)
{
	buf_printf(b, "    \"%s\": \"", key);
	for (; *s; s++) {
		const unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", c);
		else if (c < 0x20)
			buf_printf(b, "\\u%04x", c);
		else
			buf_u8(b, c);
	}
	buf_printf(b, "\"%s\n", last ? "" : ",");
}

/* One sentence: what happened and why. */
static void sentence(char *dst, size_t cap, const struct deny *d)
{
	switch (d->why) {
	case DENY_RULE:
		if (strcmp(d->scope, "person") == 0) {
			snprintf(dst, cap, "Bulkhead blocked this request: %s.", strcmp(d->rule, "answered") == 0 ? "it was asked about, and a person denied it" : d->rule);
			break;
		}
		snprintf(dst, cap, "Bulkhead blocked this request: %s%s%s%s.", d->rule[0] ? d->rule : "no rule allows it", d->scope[0] ? " (" : "", d->scope,
			 d->scope[0] ? ")" : "");
		break;
	case DENY_ALARM:
		snprintf(dst, cap, "Bulkhead blocked this request: it carries the credential of '%s' to a host that is not one of that service's. "
				   "The operator has been told.", d->rule);
		break;
	case DENY_MISDIRECTED:
		snprintf(dst, cap, "This connection was opened for another host; requests to '%s' need one of their own.", d->host);
		break;
	case DENY_BAD:
		snprintf(dst, cap, "Bulkhead does not pass on this request: %s.", d->rule);
		break;
	case DENY_METHOD:
		snprintf(dst, cap, "Bulkhead is no proxy one asks: connect to the host itself, no proxy is needed in this sandbox.");
		break;
	default:
		snprintf(dst, cap, "Bulkhead let this request pass, but the server could not be reached: %s.", d->rule);
		break;
	}
}

static void how(char *dst, size_t cap, const struct deny *d)
{
	dst[0] = '\0';
	if (d->why != DENY_RULE)
		return;
	const bool usual = d->port == 443 || d->port == 80;
	if (usual)
		snprintf(dst, cap, "bulkhead policy allow %s --sandbox %s", d->host, d->sandbox);
	else
		snprintf(dst, cap, "bulkhead policy allow %s:%u --sandbox %s", d->host, d->port, d->sandbox);
}

void deny_page(struct buf *b, bool json, const struct deny *d)
{
	char path[512], host[320], rule[320], text[1400], command[400], url[1024], method[32];
	struct deny c = *d;

	scrub(path, sizeof(path), d->path, strlen(d->path), false);
	scrub(host, sizeof(host), d->host, strlen(d->host), false);
	scrub(rule, sizeof(rule), d->rule, strlen(d->rule), false);
	scrub(method, sizeof(method), d->method, strlen(d->method), false);
	c.host = host;
	c.rule = rule;
	sentence(text, sizeof(text), &c);
	how(command, sizeof(command), &c);
	const bool v6 = strchr(host, ':') != NULL;
	snprintf(url, sizeof(url), "%s://%s%s%s:%u%s", d->scheme, v6 ? "[" : "", host, v6 ? "]" : "", d->port, path[0] == '/' ? path : "" /* of CONNECT it is the host once more */);
	if (json) {
		buf_printf(b, "{\n  \"error\": {\n    \"type\": \"%s\",\n", d->why == DENY_UPSTREAM ? "bulkhead_upstream" : "bulkhead_blocked");
		put_json(b, "message", text, false);
		put_json(b, "method", method, false);
		put_json(b, "url", url, false);
		put_json(b, "host", host, false);
		put_json(b, "rule", rule, false);
		put_json(b, "operator_can_allow_with", command, true);
		buf_printf(b, "  }\n}\n");
		return;
	}
	buf_printf(b, "%s\n\n  %s %s\n", text, method, url);
	if (command[0])
		buf_printf(b, "\nThis is a decision about the sandbox, not an error of the server: trying again will not help.\n"
			      "The operator can allow it on the host with:\n\n  %s\n", command);
}
