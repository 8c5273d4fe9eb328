/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/environ.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/str.h"

static const char *const passed_on[] = {
	"PATH=", "HOME=", "USER=", "LOGNAME=", "LANG=", "LC_", "TZ=", "TMPDIR=", "XDG_", "BULKHEAD_", "ASAN_OPTIONS=", "UBSAN_OPTIONS=",
};

static const char *const of_the_session[] = {
	"DBUS_SESSION_BUS_ADDRESS=", "DISPLAY=", "WAYLAND_DISPLAY=", "XAUTHORITY=", "SSH_AUTH_SOCK=", "GNUPGHOME=", "PASSWORD_STORE_DIR=",
	"HTTPS_PROXY=", "https_proxy=", "HTTP_PROXY=", "http_proxy=", "ALL_PROXY=", "all_proxy=", "NO_PROXY=", "no_proxy=",
};

static bool begins(const char *s, const char *const *with, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_starts(s, with[i]))
			return true;
	return false;
}

static bool named(const char *s, const char *const *names)
{
	for (; names && *names; names++)
		if (str_starts(s, *names) && s[strlen(*names)] == '=')
			return true;
	return false;
}

static char **pick(bool person, const char *const *names)
{
	size_t n = 0, k = 0;

	while (environ[n])
		n++;
	char **v = calloc(n + 1, sizeof(*v));
	for (size_t i = 0; v && i < n; i++)
		if (begins(environ[i], passed_on, ARRAY_SIZE(passed_on)) || named(environ[i], names) ||
		    (person && begins(environ[i], of_the_session, ARRAY_SIZE(of_the_session))))
			v[k++] = environ[i];
	return v;
}

char **environ_small(void)
{
	return pick(false, NULL);
}

char **environ_person(const char *const *names)
{
	return pick(true, names);
}
