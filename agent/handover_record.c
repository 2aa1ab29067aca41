/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encodes and decodes what handover.h describes. Nothing that is read is believed unseen. */
#include "agent/handover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/digest.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "these structs are used in place");

static int void_record(struct fault *fault, const char *what)
{
	return fault_set(fault, FAULT_RESYNC, EBADMSG, "the record of the last stop %s", what);
}

static bool ends(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static uint64_t block_checksum(const struct handover_block *block)
{
	struct handover_block copy = *block;

	copy.checksum = 0;
	return digest_checksum(&copy, sizeof(copy));
}

void handover_block_fill(struct handover_block *block, const uint8_t file_id[16],
			 uint64_t generation, uint32_t index, enum handover_state state,
			 const void *record, uint32_t record_bytes)
{
	uint64_t at = (uint64_t)index * HANDOVER_PAYLOAD_BYTES;

	memset(block, 0, sizeof(*block));
	block->magic = HANDOVER_MAGIC;
	memcpy(block->file_id, file_id, sizeof(block->file_id));
	block->generation = generation;
	block->index = index;
	block->state = (uint32_t)state;
	block->record_bytes = record_bytes;
	block->record_checksum = record_bytes ? digest_checksum(record, record_bytes) : 0;
	if (at < record_bytes) {
		uint64_t rest = record_bytes - at;

		memcpy(block->payload, (const uint8_t *)record + at,
		       rest < sizeof(block->payload) ? rest : sizeof(block->payload));
	}
	block->checksum = block_checksum(block);
}

bool handover_block_is_ours(const struct handover_block *block, const uint8_t file_id[16],
			    uint32_t index)
{
	return block->magic == HANDOVER_MAGIC && block->index == index &&
	       memcmp(block->file_id, file_id, sizeof(block->file_id)) == 0;
}

bool handover_block_is_whole(const struct handover_block *block, const uint8_t file_id[16],
			     uint32_t index)
{
	return handover_block_is_ours(block, file_id, index) &&
	       block->record_bytes <= HANDOVER_RECORD_MAX && block->reserved == 0 &&
	       block->checksum == block_checksum(block);
}

uint32_t handover_blocks(uint32_t record_bytes)
{
	return record_bytes / HANDOVER_PAYLOAD_BYTES + (record_bytes % HANDOVER_PAYLOAD_BYTES != 0);
}

int handover_gather(const struct handover_block *blocks, const uint8_t file_id[16],
		    void **ret_record, uint32_t *ret_bytes, struct fault *fault)
{
	const struct handover_block *first = &blocks[0];
	uint32_t bytes = first->record_bytes, count = handover_blocks(bytes);
	uint8_t *record;

	if (bytes == 0 || bytes > HANDOVER_RECORD_MAX)
		return void_record(fault, "has no length that makes sense");
	record = malloc((size_t)count * HANDOVER_PAYLOAD_BYTES);
	if (!record)
		return fault_set(fault, FAULT_RESYNC, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < count; i++) {
		const struct handover_block *block = &blocks[i];

		if (!handover_block_is_whole(block, file_id, i) || block->state != HANDOVER_CLEAN ||
		    block->generation != first->generation || block->record_bytes != bytes ||
		    block->record_checksum != first->record_checksum) {
			free(record);
			return void_record(fault, "is not whole");
		}
		memcpy(record + (size_t)i * HANDOVER_PAYLOAD_BYTES, block->payload,
		       HANDOVER_PAYLOAD_BYTES);
	}
	if (digest_checksum(record, bytes) != first->record_checksum) {
		free(record);
		return void_record(fault, "has a wrong checksum");
	}
	*ret_record = record;
	*ret_bytes = bytes;
	return 0;
}

static uint64_t bits_of(const struct handover_disk *disk)
{
	return disk->size_bytes / disk->block_bytes + (disk->size_bytes % disk->block_bytes != 0);
}

static bool disk_is_sound(const struct handover_disk *disk)
{
	return ends(disk->identity, sizeof(disk->identity)) &&
	       ends(disk->path, sizeof(disk->path)) && disk->size_bytes > 0 &&
	       disk->size_bytes <= HANDOVER_DISK_MAX &&
	       disk->block_bytes >= TRACKER_BLOCK_BYTES_MIN &&
	       disk->block_bytes <= HANDOVER_DISK_MAX &&
	       (disk->block_bytes & (disk->block_bytes - 1)) == 0 &&
	       disk->words == bitmap_words(bits_of(disk));
}

static bool watch_is_sound(const struct handover *handover, const struct handover_watch *watch)
{
	uint64_t size;

	if (watch->disk >= handover->head.disks)
		return false;
	size = handover->disks[watch->disk].size_bytes;
	return watch->length > 0 && watch->offset < size && watch->length <= size - watch->offset;
}

/* `*at` bytes of `bytes` were used up; takes `count` things of `size` more. NULL when they are not there. */
static void *take(struct handover *handover, size_t *at, size_t bytes, uint64_t count, size_t size)
{
	void *here = (uint8_t *)handover->memory + *at;

	if (count > (bytes - *at) / size)
		return NULL;
	*at += count * size;
	return here;
}

static int take_apart(struct handover *handover, size_t bytes, struct fault *fault)
{
	const struct handover_record *head = &handover->head;
	size_t at = sizeof(*head);

	if (head->version != HANDOVER_VERSION)
		return void_record(fault, "is of another version of the agent");
	if (head->disks == 0 || head->disks > TRACKER_DISKS_MAX ||
	    head->watches > HANDOVER_WATCHES_MAX ||
	    !ends(head->pin_folder, sizeof(head->pin_folder)) ||
	    !ends(head->program, sizeof(head->program)))
		return void_record(fault, "makes no sense");
	handover->disks = take(handover, &at, bytes, head->disks, sizeof(struct handover_disk));
	handover->watches = handover->disks ? take(handover, &at, bytes, head->watches,
						   sizeof(struct handover_watch))
					    : NULL;
	if (!handover->watches)
		return void_record(fault, "is cut short");
	for (uint32_t i = 0; i < head->disks; i++) {
		if (!disk_is_sound(&handover->disks[i]))
			return void_record(fault, "has a disk that makes no sense");
		handover->bits[i] =
			take(handover, &at, bytes, handover->disks[i].words, sizeof(uint64_t));
		if (!handover->bits[i])
			return void_record(fault, "is cut short");
	}
	for (uint32_t i = 0; i < head->watches; i++) {
		if (!watch_is_sound(handover, &handover->watches[i]))
			return void_record(fault, "has a range that makes no sense");
	}
	return at == bytes ? 0 : void_record(fault, "is longer than it should be");
}

int handover_decode(const void *record, size_t bytes, struct handover *ret_handover,
		    struct fault *fault)
{
	struct handover handover = {.memory = NULL};
	int error;

	if (bytes < sizeof(handover.head) || bytes > HANDOVER_RECORD_MAX)
		return void_record(fault, "has no length that makes sense");
	handover.memory = malloc(bytes);
	if (!handover.memory)
		return fault_set(fault, FAULT_RESYNC, ENOMEM, "out of memory");
	memcpy(handover.memory, record, bytes);
	memcpy(&handover.head, record, sizeof(handover.head));
	error = take_apart(&handover, bytes, fault);
	if (error)
		handover_fini(&handover);
	else
		*ret_handover = handover;
	return error;
}

int handover_encode(const struct handover *handover, void **ret_record, uint32_t *ret_bytes)
{
	const struct handover_record *head = &handover->head;
	uint64_t bytes = sizeof(*head) + head->disks * sizeof(struct handover_disk) +
			 head->watches * sizeof(struct handover_watch);
	uint8_t *record, *to;

	for (uint32_t i = 0; i < head->disks; i++) {
		if (handover->disks[i].words > HANDOVER_RECORD_MAX / sizeof(uint64_t))
			return -EFBIG;
		bytes += handover->disks[i].words * sizeof(uint64_t);
	}
	if (bytes > HANDOVER_RECORD_MAX)
		return -EFBIG;
	record = to = malloc(bytes);
	if (!record)
		return -ENOMEM;
	memcpy(to, head, sizeof(*head));
	to += sizeof(*head);
	memcpy(to, handover->disks, head->disks * sizeof(struct handover_disk));
	to += head->disks * sizeof(struct handover_disk);
	if (head->watches)
		memcpy(to, handover->watches, head->watches * sizeof(struct handover_watch));
	to += head->watches * sizeof(struct handover_watch);
	for (uint32_t i = 0; i < head->disks; i++) {
		memcpy(to, handover->bits[i], handover->disks[i].words * sizeof(uint64_t));
		to += handover->disks[i].words * sizeof(uint64_t);
	}
	*ret_record = record;
	*ret_bytes = (uint32_t)bytes;
	return 0;
}

void handover_fini(struct handover *handover)
{
	free(handover->memory);
	*handover = (struct handover){.memory = NULL};
}

/* The words may lie anywhere in a packed record. */
static uint64_t get_word(const uint64_t *words, uint64_t index)
{
	uint64_t word;

	memcpy(&word, (const uint8_t *)words + index * sizeof(word), sizeof(word));
	return word;
}

static void set_bit(uint64_t *words, uint64_t bit)
{
	uint64_t word = get_word(words, bit / 64) | 1ull << bit % 64;

	memcpy((uint8_t *)words + bit / 64 * sizeof(word), &word, sizeof(word));
}

void handover_mark(struct handover *handover, unsigned int disk, uint64_t offset, uint64_t length)
{
	const struct handover_disk *info = &handover->disks[disk];
	uint64_t end = bits_of(info);

	if (length == 0 || offset >= info->size_bytes)
		return;
	if (length > info->size_bytes - offset)
		length = info->size_bytes - offset;
	for (uint64_t bit = offset / info->block_bytes;
	     bit < end && bit <= (offset + length - 1) / info->block_bytes; bit++)
		set_bit(handover->bits[disk], bit);
}

/* Sets the bits of `map` that hold any of [start, end). */
static void list_bytes(struct bitmap *map, uint64_t block_bytes, uint64_t start, uint64_t end)
{
	uint64_t first = start / block_bytes, last = (end - 1) / block_bytes;

	if (first >= map->bits)
		return;
	if (last >= map->bits)
		last = map->bits - 1;
	bitmap_set(map, first, last - first + 1);
}

void handover_list(const struct handover *handover, unsigned int disk, struct bitmap *map,
		   uint64_t block_bytes)
{
	const struct handover_disk *info = &handover->disks[disk];
	uint64_t bits = bits_of(info);

	for (uint64_t bit = 0; bit < bits; bit++) {
		uint64_t word = get_word(handover->bits[disk], bit / 64);

		if (word == 0) {
			bit |= 63;
			continue;
		}
		if (word >> bit % 64 & 1)
			list_bytes(map, block_bytes, bit * info->block_bytes,
				   (bit + 1) * info->block_bytes);
	}
}

static uint64_t plan_checksum(const struct handover_plan *plan)
{
	return digest_checksum(plan, offsetof(struct handover_plan, checksum));
}

void handover_plan_seal(struct handover_plan *plan)
{
	plan->magic = HANDOVER_MAGIC;
	plan->version = HANDOVER_VERSION;
	plan->checksum = plan_checksum(plan);
}

static bool extents_are_sound(const struct handover_plan *plan)
{
	uint64_t blocks = 0;

	for (uint32_t i = 0; i < plan->extents; i++) {
		const struct handover_extent *extent = &plan->extent[i];

		if (extent->length == 0 || extent->length % HANDOVER_BLOCK_BYTES != 0 ||
		    extent->offset % 512 != 0 || extent->offset >= plan->disk_bytes ||
		    extent->length > plan->disk_bytes - extent->offset)
			return false;
		blocks += extent->length / HANDOVER_BLOCK_BYTES;
		for (uint32_t k = 0; k < i; k++) {
			const struct handover_extent *other = &plan->extent[k];

			if (extent->offset < other->offset + other->length &&
			    other->offset < extent->offset + extent->length)
				return false;
		}
	}
	return blocks == HANDOVER_BLOCKS;
}

int handover_plan_check(const void *bytes, size_t size, struct handover_plan *ret_plan,
			struct fault *fault)
{
	struct handover_plan plan;

	if (size != sizeof(plan))
		goto bad;
	memcpy(&plan, bytes, sizeof(plan));
	if (plan.magic != HANDOVER_MAGIC || plan.version != HANDOVER_VERSION ||
	    plan.checksum != plan_checksum(&plan) || plan.extents == 0 ||
	    plan.extents > HANDOVER_EXTENTS_MAX || plan.disk_bytes > HANDOVER_DISK_MAX ||
	    !ends(plan.run_folder, sizeof(plan.run_folder)) ||
	    !ends(plan.disk_identity, sizeof(plan.disk_identity)) ||
	    !ends(plan.disk_path, sizeof(plan.disk_path)) || !extents_are_sound(&plan))
		goto bad;
	*ret_plan = plan;
	return 0;
bad:
	return fault_set(fault, FAULT_RESYNC, EBADMSG,
			 "the initramfs does not say where the record of the last stop lies: run "
			 "'blkferry-agent initramfs'");
}

uint64_t handover_plan_offset(const struct handover_plan *plan, uint32_t index)
{
	uint64_t at = (uint64_t)index * HANDOVER_BLOCK_BYTES;

	for (uint32_t i = 0; i < plan->extents; i++) {
		if (at < plan->extent[i].length)
			return plan->extent[i].offset + at;
		at -= plan->extent[i].length;
	}
	return UINT64_MAX; /* not reached: handover_plan_check counted them */
}
