/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials of the person: which service, where the value comes from, and which sandboxes use it. A guest gets a placeholder in the
 * service's environment variable; bulkhead-net gets the value and where it may go (struct net_secret) and puts it into requests.
 *
 * A value is stored (in the Secret Service where a session bus has one, else in a 0600 file), or read from an environment variable, or
 * printed by a command that the supervisor runs without a shell. In memory values lie in locked pages outside of core dumps (core/secret/
 * held.h) and are wiped. A secret of a sandbox wins over the global one of the same service. The loop's thread only.
 */
#ifndef BULKHEAD_SUPERVISOR_SECRETS_H
#define BULKHEAD_SUPERVISOR_SECRETS_H

#include <stdbool.h>

#include "core/base/err.h"
#include "core/proto/net.h"

struct sandbox;
struct secrets;
struct super;

/* Opens su->secrets: STATE/secrets/ and services.yaml. A damaged list is an error with a sentence, told by the caller; nothing is lost. */
int secrets_open(struct super *su, struct err *e);
void secrets_close(struct super *su);
/*
 * Calls fn for everything this sandbox's bulkhead-net shall have now; *s is wiped after each call. Ids are stable in the life of the
 * installation: what was sent and is not named any more is gone. A value that has to be fetched first (a command, the Secret Service) is ""
 * and fetched by this call; su->secrets_changed() is called when it is there. So of a secret with an empty value nothing is to be sent, and
 * what was sent under its id stays. Returns how many had a value.
 */
unsigned secrets_for(struct sandbox *sb, void (*fn)(void *arg, const struct net_secret *s), void *arg);
/* NAME and placeholder of every variable that this sandbox's sessions shall have. Stops at the first fn() that is not 0 and returns it. */
int secrets_env(struct sandbox *sb, int (*fn)(void *arg, const char *name, const char *value), void *arg);
/* No value is held that no machine needs: called when a machine is gone. */
void secrets_idle(struct super *su);
/* The sandbox is gone for good: its own secrets too. */
void secrets_forget(struct super *su, const char *sandbox);
/*
 * su->secrets_changed(su, sandbox or NULL for all): set by whoever feeds bulkhead-net; called after a secret was set, removed, refreshed,
 * never from inside secrets_for().
 */

#endif
