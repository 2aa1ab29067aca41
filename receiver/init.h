/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first step of a receiver's life: its state folder with its own CA. */
#ifndef BLKFERRY_RECEIVER_INIT_H
#define BLKFERRY_RECEIVER_INIT_H

#include "common/fault.h"

/* Makes state_folder with ca.pem, ca.key, receiver.pem, receiver.key, tokens/ and machines/; both
 * certificates last `days`. -EEXIST when it was done before. */
int receiver_init(const char *state_folder, unsigned int days, struct fault *fault);

#endif
