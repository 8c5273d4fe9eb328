/* SPDX-License-Identifier: Apache-2.0 */
/* Every command, one object each; cmds.c puts them in order. */
#ifndef BULKHEAD_CLI_CMDS_H
#define BULKHEAD_CLI_CMDS_H

#include "tui/cli/cmd.h"

extern const struct cmd cmd_run, cmd_create, cmd_ls, cmd_exec, cmd_attach, cmd_cp, cmd_fetch, cmd_diff, cmd_apply, cmd_discard, cmd_undo, cmd_start, cmd_stop, cmd_pause, cmd_resume, cmd_kill, cmd_reset,
	cmd_snapshot, cmd_restore, cmd_rm, cmd_prune, cmd_logs, cmd_record, cmd_events, cmd_stats, cmd_doctor, cmd_image, cmd_completion, cmd_version, cmd_asks, cmd_answer, cmd_policy, cmd_ports,
	cmd_secret, cmd_audit;

#endif
