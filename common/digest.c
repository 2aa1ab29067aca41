// SPDX-License-Identifier: GPL-2.0-or-later
/* Digests and the test for zero blocks; see digest.h. */
#include "common/digest.h"

#include <string.h>
#include <xxhash.h>

#define HEAD_BYTES 16

void digest_block(const void *data, size_t size, uint8_t ret_digest[DIGEST_BYTES])
{
	XXH128_canonical_t canonical;

	_Static_assert(sizeof(canonical.digest) == DIGEST_BYTES, "XXH3-128 has 16 bytes");
	XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, size));
	memcpy(ret_digest, canonical.digest, DIGEST_BYTES);
}

uint64_t digest_checksum(const void *data, size_t size)
{
	return XXH3_64bits(data, size);
}

bool digest_is_zero(const void *data, size_t size)
{
	const uint8_t *bytes = data;
	size_t head = size < HEAD_BYTES ? size : HEAD_BYTES;

	for (size_t i = 0; i < head; i++)
		if (bytes[i] != 0)
			return false;
	/* The first 16 bytes are zero; when each later byte equals the one 16 before it, all are.
	 * The C library's memcmp is the fastest loop on every CPU. */
	return size == head || memcmp(bytes, bytes + head, size - head) == 0;
}
