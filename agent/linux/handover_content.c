/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a device holds, told by its first bytes; see handover_rest.h. */
#include <errno.h>
#include <string.h>

#include "agent/linux/disks.h"
#include "agent/linux/handover_rest.h"
#include "common/digest.h"

#define EXT_MAGIC_AT	0x438u
#define BTRFS_MAGIC_AT	0x10040u
#define SWAP_PAGE_BYTES 4096u
#define SECTOR_BYTES	512u

static bool has_bytes(const uint8_t *bytes, size_t size, size_t at, const char *wanted)
{
	size_t length = strlen(wanted);

	return at + length <= size && memcmp(bytes + at, wanted, length) == 0;
}

static bool is_fat(const uint8_t *bytes, size_t size)
{
	return size >= SECTOR_BYTES && bytes[510] == 0x55 && bytes[511] == 0xaa &&
	       (has_bytes(bytes, size, 82, "FAT32") || has_bytes(bytes, size, 54, "FAT12") ||
		has_bytes(bytes, size, 54, "FAT16"));
}

enum rest_content rest_classify(const uint8_t *bytes, size_t size)
{
	if (has_bytes(bytes, size, 0, "XFSB"))
		return REST_XFS;
	if (has_bytes(bytes, size, EXT_MAGIC_AT, "\x53\xef"))
		return REST_EXT;
	if (has_bytes(bytes, size, BTRFS_MAGIC_AT, "_BHRfS_M"))
		return REST_BTRFS;
	if (has_bytes(bytes, size, 0, "LUKS\xba\xbe") || survey_has_lvm_label(bytes, size))
		return REST_CONTAINER;
	if (has_bytes(bytes, size, SWAP_PAGE_BYTES - 10, "SWAPSPACE2"))
		return REST_SWAP;
	if (is_fat(bytes, size))
		return REST_FAT;
	return digest_is_zero(bytes, size) ? REST_BLANK : REST_UNKNOWN;
}

static uint64_t big_endian(const uint8_t *bytes, unsigned int count)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < count; i++)
		value = value << 8 | bytes[i];
	return value;
}

/* struct xfs_dsb of the kernel's xfs_format.h: block size, log start, AG blocks, log blocks, log2 of AG blocks. */
int rest_find_xfs_log(const uint8_t *bytes, size_t size, uint64_t *ret_offset, uint64_t *ret_length)
{
	uint64_t block_bytes, start, ag_blocks, blocks, ag, within;
	unsigned int ag_shift;

	if (size < SECTOR_BYTES || memcmp(bytes, "XFSB", 4) != 0)
		return -EINVAL;
	block_bytes = big_endian(bytes + 4, 4);
	start = big_endian(bytes + 48, 8);
	ag_blocks = big_endian(bytes + 84, 4);
	blocks = big_endian(bytes + 96, 4);
	ag_shift = bytes[124];
	if (start == 0 || block_bytes < SECTOR_BYTES || block_bytes > 65536 || ag_shift > 31 ||
	    blocks == 0)
		return -EINVAL;
	ag = start >> ag_shift;
	within = start & ((1ull << ag_shift) - 1);
	if (ag > UINT32_MAX || within >= ag_blocks)
		return -EINVAL;
	*ret_offset = (ag * ag_blocks + within) * block_bytes;
	*ret_length = blocks * block_bytes;
	return 0;
}
