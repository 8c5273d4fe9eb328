/* SPDX-License-Identifier: Apache-2.0 */
/* `doctor`: what this host has and lacks, each finding with what to do. */
#ifndef BULKHEAD_SUPERVISOR_DOCTOR_H
#define BULKHEAD_SUPERVISOR_DOCTOR_H

struct call;
/* Answers the call once the probe (on a worker thread) has answered. */
void doctor_run(struct call *call);

#endif
