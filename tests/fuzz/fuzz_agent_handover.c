// SPDX-License-Identifier: GPL-2.0-or-later
/* Any bytes as the record of a stop, as its blocks, as a plan, and as the beginning of a device: what is accepted keeps
 * its promises, and comes out again as it went in. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/handover.h"
#include "agent/linux/handover_rest.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const uint8_t file_id[16];

static void try_record(const uint8_t *bytes, size_t size)
{
	struct handover handover;
	uint64_t words[4] = {0};
	struct bitmap map = {.words = words, .bits = 200};
	void *again;
	uint32_t length;

	if (handover_decode(bytes, size, &handover, NULL) != 0)
		return;
	for (uint32_t i = 0; i < handover.head.disks; i++) {
		handover_list(&handover, i, &map, 65536);
		handover_mark(&handover, i, 0, 1);
		handover_mark(&handover, i, handover.disks[i].size_bytes - 1, UINT64_MAX);
	}
	if (handover_encode(&handover, &again, &length) != 0 || length != size)
		abort();
	free(again);
	handover_fini(&handover);
}

/* Blocks with checksums that are right, so that more than these is looked at. */
static void try_blocks(const uint8_t *bytes, size_t size)
{
	struct handover_block *blocks;
	uint32_t count, length;
	void *record;

	count = handover_blocks((uint32_t)size);
	blocks = calloc(count ? count : 1, sizeof(*blocks));
	if (!blocks)
		abort();
	for (uint32_t i = 0; i < count; i++)
		handover_block_fill(&blocks[i], file_id, 1, i, HANDOVER_CLEAN, bytes,
				    (uint32_t)size);
	if (count && handover_gather(blocks, file_id, &record, &length, NULL) == 0) {
		if (length != size || memcmp(record, bytes, size) != 0)
			abort();
		free(record);
	} else if (count) {
		abort();
	}
	memcpy(blocks, bytes, size < sizeof(*blocks) ? size : sizeof(*blocks));
	if (handover_block_is_whole(&blocks[0], file_id, 0) &&
	    handover_blocks(blocks[0].record_bytes) <= count &&
	    handover_gather(blocks, file_id, &record, &length, NULL) == 0)
		free(record);
	free(blocks);
}

static void try_plan(const uint8_t *bytes, size_t size)
{
	struct handover_plan plan = {0}, read;

	memcpy(&plan, bytes, size < sizeof(plan) ? size : sizeof(plan));
	handover_plan_seal(&plan);
	if (handover_plan_check(&plan, sizeof(plan), &read, NULL) != 0)
		return;
	for (uint32_t i = 0; i < HANDOVER_BLOCKS; i++)
		if (handover_plan_offset(&read, i) > read.disk_bytes - HANDOVER_BLOCK_BYTES)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint64_t offset, length;

	try_record(bytes, size);
	try_blocks(bytes, size);
	try_plan(bytes, size);
	(void)rest_classify(bytes, size);
	(void)rest_find_xfs_log(bytes, size, &offset, &length);
	return 0;
}
