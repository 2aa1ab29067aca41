// SPDX-License-Identifier: GPL-2.0-or-later
/* Any bytes as a frame: checked, then walked as the receiver and the agent do after the check. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/compress.h"
#include "common/digest.h"
#include "common/wire_check.h"
#include "common/wire_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static uint8_t plain[WIRE_DATA_RAW_MAX];
static volatile uint64_t sink;

static void walk_data(const struct wire_data *data)
{
	const struct wire_extent *extents = wire_data_extents(data);
	uint64_t raw = 0;

	for (unsigned int i = 0; i < data->extents; i++)
		raw += extents[i].kind == WIRE_EXTENT_DATA ? extents[i].length : 0;
	if (raw != data->raw_bytes)
		abort();
	(void)compress_restore(data->codec, wire_data_bytes(data), data->stored_bytes, plain,
			       data->raw_bytes);
	sink += digest_checksum(wire_data_bytes(data), data->stored_bytes);
	if (!wire_check_extents_inside(data, 1 << 20))
		for (unsigned int i = 0; i < data->extents; i++)
			if (extents[i].offset + extents[i].length > 1 << 20)
				abort();
}

/* As the receiver does: restored into a buffer of just the said size, checked, walked. */
static void walk_stream(const struct wire_stream *stream)
{
	static const uint64_t disk_bytes[] = {1 << 20, 1ull << 40};
	const struct wire_record *record;
	uint8_t *raw = malloc(stream->raw_bytes);

	if (!raw)
		return;
	record = (const struct wire_record *)raw;
	if (!compress_restore(stream->codec, wire_stream_bytes(stream), stream->stored_bytes, raw,
			      stream->raw_bytes) &&
	    !wire_check_records(raw, stream->raw_bytes, stream->records, disk_bytes, 2, NULL)) {
		for (uint32_t i = 0; i < stream->records; i++) {
			sink += digest_checksum(wire_record_data(record),
						wire_record_data_bytes(record));
			record = wire_record_next(record);
		}
		if ((const uint8_t *)record != raw + stream->raw_bytes)
			abort();
	}
	free(raw);
}

static void walk(unsigned int type, const void *payload, uint32_t length)
{
	const struct wire_digest_result *result = payload;
	const struct wire_stream_result *stream_result = payload;
	const struct wire_digests *digests = payload;
	uint32_t count;

	if (type == WIRE_DATA)
		walk_data(payload);
	else if (type == WIRE_DIGESTS)
		sink += digest_checksum(wire_digests_table(digests),
					(size_t)digests->count * WIRE_DIGEST_LEN);
	else if (type == WIRE_DIGEST_RESULT)
		sink += digest_checksum(wire_digest_verdicts(result), result->count);
	else if (type == WIRE_STREAM)
		walk_stream(payload);
	else if (type == WIRE_STREAM_RESULT)
		sink += digest_checksum(wire_stream_verdicts(stream_result), stream_result->count);
	else if (type == WIRE_RANGES)
		sink += wire_ranges(payload, length, &count)[0].offset;
	else if (type == WIRE_ERROR)
		sink += strlen(((const struct wire_error *)payload)->text);
	else if (type == WIRE_STATUS)
		sink += strlen(((const struct wire_status *)payload)->note) +
			strlen(((const struct wire_status *)payload)->gap_reason);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct wire_header header;
	struct fault fault;
	uint8_t *payload;

	if (size < sizeof(header))
		return 0;
	memcpy(&header, bytes, sizeof(header));
	if (wire_check_header(&header, &fault) || header.length > size - sizeof(header))
		return 0;
	/* Exactly as long as the frame says, so that the sanitizer sees every step too far. */
	payload = malloc(header.length ? header.length : 1);
	if (!payload)
		return 0;
	memcpy(payload, bytes + sizeof(header), header.length);
	if (!wire_check_payload(header.type, payload, header.length, &fault))
		walk(header.type, payload, header.length);
	free(payload);
	return 0;
}
