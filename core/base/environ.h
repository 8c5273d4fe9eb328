/* SPDX-License-Identifier: Apache-2.0 */
/* The environment our own programs are started with: keys and tokens live in a person's environment and are nobody else's business. */
#ifndef BULKHEAD_BASE_ENVIRON_H
#define BULKHEAD_BASE_ENVIRON_H

/* PATH, HOME, USER, LOGNAME, LANG, LC_*, TZ, TMPDIR, XDG_*, BULKHEAD_*: an array owned by the caller (free()) of strings that are not. NULL when out of memory. */
char **environ_small(void);

/*
 * The same, what the person's own programs need to reach the session and the network (bus, display, agents, GnuPG and pass directories, proxies), and the variables of
 * `names` (NULL-terminated; NULL none): what the supervisor is started with, and the commands it runs for credentials.
 */
char **environ_person(const char *const *names);

#endif
