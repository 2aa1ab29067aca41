// SPDX-License-Identifier: GPL-2.0-or-later
/* Batches in memory; see batch.h. */
#include "receiver/batch.h"

#include <errno.h>
#include <stdlib.h>

#include "common/compress.h"
#include "common/digest.h"
#include "common/wire_check.h"

struct batch *batch_new(void)
{
	struct batch *batch = calloc(1, sizeof(*batch));

	if (batch)
		batch->frame = malloc(WIRE_STREAM_FRAME_MAX);
	if (batch && !batch->frame) {
		free(batch);
		return NULL;
	}
	return batch;
}

void batch_free(struct batch *batch)
{
	if (!batch)
		return;
	free(batch->frame);
	free(batch->plain);
	free(batch);
}

int batch_open(struct batch *batch, const uint64_t *disk_bytes, unsigned int disks,
	       struct fault *fault)
{
	const struct wire_stream *head = (const struct wire_stream *)batch->frame;
	const uint8_t *raw = wire_stream_bytes(head);

	if (head->codec != COMPRESS_RAW) {
		if (!batch->plain)
			batch->plain = malloc(WIRE_STREAM_RAW_MAX);
		if (!batch->plain)
			return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
		if (compress_restore(head->codec, raw, head->stored_bytes, batch->plain,
				     head->raw_bytes))
			return fault_set(fault, FAULT_RETRY, EPROTO,
					 "a batch of the stream could not be decompressed");
		raw = batch->plain;
	}
	if (digest_checksum(raw, head->raw_bytes) != head->checksum)
		return fault_set(fault, FAULT_RETRY, EPROTO,
				 "a batch of the stream has a wrong checksum: bad memory on one "
				 "side?");
	batch->records = (const struct wire_record *)raw;
	batch->record_count = head->records;
	batch->raw_bytes = head->raw_bytes;
	batch->place = (struct journal_place){
		.stream = head->stream, .batch = head->batch, .position = head->to};
	return wire_check_records(raw, head->raw_bytes, head->records, disk_bytes, disks, fault);
}
