// SPDX-License-Identifier: GPL-2.0-or-later
/* LZ4 of one frame's bytes; see compress.h. */
#include "common/compress.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <lz4.h>

/* What must be gained for the receiver's work of restoring to be worth it: a sixteenth. */
#define GAIN_DIVISOR 16

/*
 * Bytes that do not compress (media, archives, encrypted disks) come in long runs. After a frame that
 * stayed raw, the next ones are only skimmed: measured, 10 GB/s instead of 2.5 a core on random
 * bytes. One frame in eight is still tried in earnest, so that bytes that gain just a little are not
 * taken for random for ever.
 */
#define EARNEST	     1 /* LZ4's own default acceleration */
#define SKIMMING     8
#define SKIMMED_RUNS 8

struct compressor {
	void *state;
	unsigned int raw_run; /* frames in a row that stayed raw */
};

struct compressor *compressor_new(void)
{
	struct compressor *compressor = calloc(1, sizeof(*compressor));

	if (!compressor)
		return NULL;
	compressor->state = malloc((size_t)LZ4_sizeofState());
	if (!compressor->state) {
		free(compressor);
		return NULL;
	}
	return compressor;
}

void compressor_free(struct compressor *compressor)
{
	if (!compressor)
		return;
	free(compressor->state);
	free(compressor);
}

enum compress_codec compressor_run(struct compressor *compressor, const void *data, size_t size,
				   void *out, size_t room, size_t *ret_size)
{
	int acceleration = compressor->raw_run % SKIMMED_RUNS == 0 ? EARNEST : SKIMMING;
	size_t most = size - size / GAIN_DIVISOR;
	int stored;

	if (size == 0 || size > LZ4_MAX_INPUT_SIZE || most <= 1)
		return COMPRESS_RAW;
	most--; /* smaller than, not as small as */
	if (most > room)
		most = room;
	stored = LZ4_compress_fast_extState(compressor->state, data, out, (int)size, (int)most,
					    acceleration);
	if (stored <= 0) {
		compressor->raw_run++;
		return COMPRESS_RAW;
	}
	compressor->raw_run = 0;
	*ret_size = (size_t)stored;
	return COMPRESS_LZ4;
}

int compress_restore(enum compress_codec codec, const void *data, size_t size, void *out,
		     size_t raw_size)
{
	switch (codec) {
	case COMPRESS_RAW:
		if (size != raw_size)
			return -EBADMSG;
		if (size > 0)
			memcpy(out, data, size);
		return 0;
	case COMPRESS_LZ4:
		if (size == 0 || raw_size == 0 || size > INT_MAX || raw_size > LZ4_MAX_INPUT_SIZE)
			return -EBADMSG;
		if (LZ4_decompress_safe(data, out, (int)size, (int)raw_size) != (int)raw_size)
			return -EBADMSG;
		return 0;
	}
	return -EBADMSG; /* a number from the network that is no codec */
}
