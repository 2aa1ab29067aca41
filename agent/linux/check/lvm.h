/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parsers of lvm.c, for tests. */
#ifndef BLKFERRY_AGENT_CHECK_LVM_H
#define BLKFERRY_AGENT_CHECK_LVM_H

#include <stdbool.h>

#include "agent/linux/check/text.h"

/* "name = value" of lvm.conf(5), not in a comment; a list without its closing bracket. */
bool lvm_setting(const char *text, const char *name, struct span *ret_value);
/* Does lvmdevices(8)'s file know a disk by what the machine's hardware says of it? */
bool lvm_devices_are_bound(const char *text);

#endif
