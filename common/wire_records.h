/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The records inside a STREAM frame, once its bytes are restored: checked as a whole against the disks that they
 * speak of (I10), then walked. No I/O, no allocation.
 *
 *	const struct wire_record *record = raw;
 *
 *	for (uint32_t i = 0; i < head->records; i++, record = wire_record_next(record))
 */
#ifndef BLKFERRY_COMMON_WIRE_RECORDS_H
#define BLKFERRY_COMMON_WIRE_RECORDS_H

#include <stdint.h>

#include "common/fault.h"
#include "common/wire.h"

/*
 * After 0: raw holds exactly `records` records with their data; kinds, flags, lengths and counts are within the
 * limits; each that speaks of a disk speaks of one of `disks`, and lies inside its disk_bytes. Faults: STOP,
 * -EPROTO.
 */
int wire_check_records(const void *raw, uint32_t raw_bytes, uint32_t records,
		       const uint64_t *disk_bytes, unsigned int disks, struct fault *fault);

/* Of a checked record: what follows it, how long that is, and the record behind. */
const uint8_t *wire_record_data(const struct wire_record *record);
uint32_t wire_record_data_bytes(const struct wire_record *record);
const struct wire_record *wire_record_next(const struct wire_record *record);

#endif
