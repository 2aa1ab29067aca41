// SPDX-License-Identifier: GPL-2.0-or-later
/* DIGEST records: the target's bytes at that place of the stream against the source's digests (I11). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/digest.h"
#include "receiver/applier_internal.h"

int applier_digest(struct applier *applier, const struct wire_record *record, struct fault *fault)
{
	struct applier_digest *digest;
	int error = 0;

	/* Before the writes that stand before it are on the target it says nothing. */
	if (!write_group_is_empty(applier->group) || applier->digest_count == APPLIER_DIGESTS_MAX)
		error = applier_apply(applier, fault);
	if (error)
		return error;
	if (!applier->channels[applier->replica->stream_slots[record->disk]])
		return fault_set(fault, FAULT_STOP, ENODEV,
				 "the stream compares a disk that is not open");
	digest = &applier->digests[applier->digest_count];
	if (!digest->bytes)
		digest->bytes = malloc(WIRE_DIGEST_EXTENT_MAX);
	if (!digest->bytes)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	digest->applier = applier;
	digest->record = *record;
	digest->batch = applier->held[applier->held_count - 1]->place.batch;
	digest->theirs = wire_record_data(record);
	digest->error = 0;
	applier->digest_count++;
	return 0;
}

static void on_read(void *context, int error)
{
	struct applier_digest *digest = context;

	digest->error = error;
}

static int start_read(struct applier *applier, struct applier_digest *digest)
{
	unsigned int slot = applier->replica->stream_slots[digest->record.disk];

	return target_channel_read(applier->channels[slot], digest->bytes, digest->record.offset,
				   (uint32_t)digest->record.length, on_read, digest);
}

static void tell(struct applier *applier, const struct applier_digest *digest)
{
	struct replica *replica = applier->replica;
	const struct wire_record *record = &digest->record;
	const struct have *have = replica->disks[replica->stream_slots[record->disk]].have;
	uint32_t length = (uint32_t)record->length, block = record->flags;
	uint8_t verdicts[WIRE_RECORD_DIGESTS_MAX];
	struct wire_stream_result result = {
		.batch = digest->batch,
		.offset = record->offset,
		.length = length,
		.disk = record->disk,
	};

	for (uint32_t at = 0; at < length; at += block, result.count++) {
		uint32_t size = length - at < block ? length - at : block;
		uint8_t ours[DIGEST_BYTES];

		digest_block(digest->bytes + at, size, ours);
		if (memcmp(ours, digest->theirs + (size_t)result.count * WIRE_DIGEST_LEN,
			   sizeof(ours)) == 0)
			verdicts[result.count] = WIRE_DIGEST_SAME;
		else if (have_test_any(have, record->offset + at, size))
			verdicts[result.count] = WIRE_DIGEST_DIFFERS;
		else
			verdicts[result.count] = WIRE_DIGEST_NEVER_COPIED;
	}
	os_mutex_lock(&replica->listener_lock);
	if (replica->listener.result)
		replica->listener.result(replica->listener.context, &result, verdicts);
	os_mutex_unlock(&replica->listener_lock);
}

int applier_compare(struct applier *applier, struct fault *fault)
{
	struct replica *replica = applier->replica;
	unsigned int count = applier->digest_count;
	int error = 0;

	applier->digest_count = 0;
	for (unsigned int i = 0; i < count && !error; i++)
		error = start_read(applier, &applier->digests[i]);
	for (unsigned int i = 0; count && i < replica->disk_count; i++) {
		int drained = applier->channels[i]
				      ? target_channel_drain(applier->channels[i], TARGET_STALL_NS)
				      : 0;

		error = error ? error : drained;
	}
	for (unsigned int i = 0; i < count && !error; i++) {
		error = -applier->digests[i].error;
		if (!error)
			tell(applier, &applier->digests[i]);
	}
	return error ? fault_set(fault, FAULT_RETRY, -error, "the target cannot be read: %s",
				 strerror(-error))
		     : 0;
}

void applier_free_digests(struct applier *applier)
{
	for (unsigned int i = 0; i < APPLIER_DIGESTS_MAX; i++)
		free(applier->digests[i].bytes);
}
