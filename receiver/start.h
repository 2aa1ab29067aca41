/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting the target machine after the cutover: in the pool, and by the start-command, a hook. */
#ifndef BLKFERRY_RECEIVER_START_H
#define BLKFERRY_RECEIVER_START_H

#include "receiver/machine.h"

/* Starts the machine's VM in the pool, if it has one (receiver/xapi/xcp.h); then, if there is a start-command in
 * [machine NAME], runs it by /bin/sh, with in its environment:
 *   BLKFERRY_MACHINE            the name
 *   BLKFERRY_DATA_DOWNTIME_MS   freeze to COMMIT
 *   BLKFERRY_DOWNTIME_MS        freeze to now ("" when not known)
 *   BLKFERRY_DISKS              how many
 *   BLKFERRY_DISKn_SOURCE, _SIZE, _TARGET (URI), _PATH (file or device; "" if none)
 * 0 when there is none, or it exits with 0 in time; else the fault says what it did. Its last line of
 * output is in the message. */
int start_run(struct machines *machines, struct machine *machine, struct fault *fault);

#endif
