// SPDX-License-Identifier: GPL-2.0-or-later
/* The records inside a STREAM frame; see wire_records.h. */
#include "common/wire_records.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>

static int broken(struct fault *fault, uint32_t number, const char *what)
{
	return fault_set(fault, FAULT_STOP, EPROTO,
			 "the peer sent a STREAM frame whose record %" PRIu32 " has %s", number,
			 what);
}

/* Digests that a DIGEST record carries; its fields need not be checked yet. 0: it cannot have any. */
static uint64_t digest_count(const struct wire_record *record)
{
	uint32_t block = record->flags;

	if (block < WIRE_DIGEST_BLOCK_MIN || (block & (block - 1)) != 0 ||
	    record->length > WIRE_DIGEST_EXTENT_MAX)
		return 0;
	return (record->length + block - 1) / block;
}

/* Only for records whose kind and length have been checked. */
uint32_t wire_record_data_bytes(const struct wire_record *record)
{
	if (record->kind == WIRE_RECORD_WRITE || record->kind == WIRE_RECORD_COPY)
		return (uint32_t)record->length;
	if (record->kind == WIRE_RECORD_DIGEST)
		return (uint32_t)digest_count(record) * WIRE_DIGEST_LEN;
	return 0;
}

const uint8_t *wire_record_data(const struct wire_record *record)
{
	return (const uint8_t *)(record + 1);
}

const struct wire_record *wire_record_next(const struct wire_record *record)
{
	return (const struct wire_record *)(wire_record_data(record) +
					    wire_record_data_bytes(record));
}

static bool is_inside(const struct wire_record *record, const uint64_t *disk_bytes,
		      unsigned int disks)
{
	return record->disk < disks && record->length > 0 &&
	       record->length <= disk_bytes[record->disk] &&
	       record->offset <= disk_bytes[record->disk] - record->length &&
	       record->offset % WIRE_SECTOR == 0 && record->length % WIRE_SECTOR == 0;
}

/* What is wrong with a record's own fields; NULL when nothing is. */
static const char *find_fault(const struct wire_record *record, const uint64_t *disk_bytes,
			      unsigned int disks)
{
	switch ((enum wire_record_kind)record->kind) {
	case WIRE_RECORD_WRITE:
	case WIRE_RECORD_COPY:
		if (record->length > WIRE_RECORD_DATA_MAX)
			return "more bytes than the limit";
		if (record->flags)
			return "unknown flags";
		return is_inside(record, disk_bytes, disks) ? NULL : "a range outside its disk";
	case WIRE_RECORD_ZERO:
		if (record->flags)
			return "unknown flags";
		return is_inside(record, disk_bytes, disks) ? NULL : "a range outside its disk";
	case WIRE_RECORD_DIGEST:
		if (!is_inside(record, disk_bytes, disks))
			return "a range outside its disk";
		if (digest_count(record) < 1 || digest_count(record) > WIRE_RECORD_DIGESTS_MAX)
			return "digests beyond the limits";
		return NULL;
	case WIRE_RECORD_MARK:
		if (record->length == 0 || record->disk || record->flags & ~WIRE_MARK_FLAGS)
			return "a mark that is not allowed";
		return NULL;
	case WIRE_RECORD_CONFIRM:
		if (record->length == 0 || record->disk || record->offset || record->flags)
			return "a confirmation that is not allowed";
		return NULL;
	case WIRE_RECORD_GAP:
		return record->disk || record->length ? "a gap that is not allowed" : NULL;
	}
	return "an unknown kind";
}

int wire_check_records(const void *raw, uint32_t raw_bytes, uint32_t records,
		       const uint64_t *disk_bytes, unsigned int disks, struct fault *fault)
{
	const uint8_t *at = raw, *end = at + raw_bytes;

	for (uint32_t i = 0; i < records; i++) {
		const struct wire_record *record = (const struct wire_record *)at;
		const char *what;

		if ((size_t)(end - at) < sizeof(*record))
			return broken(fault, i, "no room in the frame");
		what = find_fault(record, disk_bytes, disks);
		if (what)
			return broken(fault, i, what);
		at += sizeof(*record);
		if ((size_t)(end - at) < wire_record_data_bytes(record))
			return broken(fault, i, "more bytes than the frame");
		at += wire_record_data_bytes(record);
	}
	if (at != end)
		return broken(fault, records, "bytes behind it that are no record");
	return 0;
}
