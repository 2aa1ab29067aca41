/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A log of captured records, as `capture_ctl log` writes it: this head, then `length` bytes where kind is
 * CAPTURE_DATA. */
#ifndef BLKFERRY_TESTS_CAPTURE_LOG_H
#define BLKFERRY_TESTS_CAPTURE_LOG_H

#include <stdint.h>

struct capture_log_head {
	uint32_t kind, disk; /* enum capture_kind */
	uint64_t offset, length, position, end, holes;
};

#endif
