/* SPDX-License-Identifier: Apache-2.0 */
#include "tui/cli/cmds.h"

#include <stddef.h>

const struct cmd *const cmds[] = {
	&cmd_run, &cmd_create, &cmd_attach, &cmd_exec, &cmd_cp, &cmd_fetch, &cmd_diff, &cmd_apply, &cmd_discard, &cmd_undo, &cmd_ls, &cmd_stats, &cmd_logs, &cmd_record, &cmd_events, &cmd_start, &cmd_stop, &cmd_pause,
	&cmd_resume, &cmd_kill, &cmd_reset, &cmd_snapshot, &cmd_restore, &cmd_rm, &cmd_prune, &cmd_asks, &cmd_answer, &cmd_policy, &cmd_ports, &cmd_secret, &cmd_audit, &cmd_image, &cmd_doctor, &cmd_completion, &cmd_version, NULL,
};
