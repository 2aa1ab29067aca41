/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The oracle's log: one entry for each 512-byte sector that was written, in order. */
#ifndef BLKFERRY_TESTS_ORACLE_LOG_H
#define BLKFERRY_TESTS_ORACLE_LOG_H

#include <stdint.h>

#define ORACLE_SECTOR_BYTES 512u

struct oracle_entry {
	uint64_t sector;
	uint64_t hash; /* XXH3-64 of its new contents */
};

#endif
