/* SPDX-License-Identifier: GPL-2.0-or-later */
/* XXH3-128 over a range of a disk; see handover_watch.h. */
#include "agent/linux/handover_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <xxhash.h>

#define PIECE_BYTES (1u << 20)
#define ALIGNMENT   4096u

static int feed(XXH3_state_t *state, int fd, void *piece, uint64_t offset, uint64_t length)
{
	while (length > 0) {
		size_t wanted = length < PIECE_BYTES ? (size_t)length : PIECE_BYTES;
		ssize_t got = pread(fd, piece, wanted, (off_t)offset);

		if (got < 0)
			return -errno;
		if ((size_t)got != wanted)
			return -EIO;
		XXH3_128bits_update(state, piece, wanted);
		offset += wanted;
		length -= wanted;
	}
	return 0;
}

int watch_digest(int fd, uint64_t offset, uint64_t length, uint8_t ret_digest[16])
{
	XXH3_state_t *state = XXH3_createState();
	XXH128_canonical_t canonical;
	void *piece = NULL;
	int error = -ENOMEM;

	if (state && posix_memalign(&piece, ALIGNMENT, PIECE_BYTES) == 0) {
		XXH3_128bits_reset(state);
		error = feed(state, fd, piece, offset, length);
	}
	if (!error) {
		XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
		for (unsigned int i = 0; i < sizeof(canonical.digest); i++)
			ret_digest[i] = canonical.digest[i];
	}
	free(piece);
	XXH3_freeState(state);
	return error;
}
