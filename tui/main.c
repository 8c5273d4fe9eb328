/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead: the dashboard when called by itself, a command otherwise. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "tui/cli/cli.h"
#include "tui/dashboard.h"

int main(int argc, char **argv)
{
	setlocale(LC_ALL, "");
	signal(SIGPIPE, SIG_IGN);
	if (argc > 1)
		return cli_main(argc, argv);
	if (!isatty(0) || !isatty(1)) {
		fprintf(stderr, "bulkhead: the dashboard needs a terminal; 'bulkhead --help' lists the commands\n");
		return 2;
	}
	const struct dashboard_opts o = { .sandbox = NULL };
	return dashboard_run(&o);
}
