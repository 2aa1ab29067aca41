/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where nbdkit finds our plugin. */
#ifndef BLKFERRY_RECEIVER_VIEW_PLUGIN_PATH_H
#define BLKFERRY_RECEIVER_VIEW_PLUGIN_PATH_H

#include <stddef.h>

#include "common/fault.h"

/* Beside this program (where it was built), or in ../lib/blkferry (where it was installed). */
int view_plugin_path(char *ret_path, size_t size, struct fault *fault);

#endif
