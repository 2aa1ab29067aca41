// SPDX-License-Identifier: GPL-2.0-or-later
/* LZ4 and zstd of one frame's bytes; see compress.h. */
#include "common/compress.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <lz4.h>
#include <zstd.h>

/* What must be gained for the receiver's work of restoring to be worth it: a sixteenth. */
#define GAIN_DIVISOR 16

/*
 * Bytes that do not compress (media, archives, encrypted disks) come in long runs. After a frame that
 * stayed raw, the next ones are only skimmed: measured, 10 GB/s instead of 2.5 a core on random
 * bytes. One frame in eight is still tried in earnest, so that bytes that gain just a little are not
 * taken for random for ever. After many raw frames the others are not even skimmed, which for blocks of 4 KiB
 * costs a third of trying.
 */
#define LZ4_EARNEST   1 /* LZ4's own default acceleration */
#define LZ4_SKIMMING  8
#define ZSTD_EARNEST  3 /* zstd's own default level */
#define ZSTD_SKIMMING (-5)
#define SKIMMED_RUNS  8
#define HOPELESS_RUNS 64

struct compressor {
	enum compress_codec codec;
	void *lz4;
	ZSTD_CCtx *zstd;
	unsigned int raw_run; /* frames in a row that stayed raw */
};

bool compress_is_codec(unsigned int codec)
{
	return codec >= COMPRESS_RAW && codec <= COMPRESS_ZSTD;
}

struct compressor *compressor_new(enum compress_codec codec)
{
	struct compressor *compressor = calloc(1, sizeof(*compressor));
	bool has_state = true;

	if (!compressor)
		return NULL;
	compressor->codec = codec;
	switch (codec) {
	case COMPRESS_RAW:
		break;
	case COMPRESS_LZ4:
		compressor->lz4 = malloc((size_t)LZ4_sizeofState());
		has_state = compressor->lz4 != NULL;
		break;
	case COMPRESS_ZSTD:
		compressor->zstd = ZSTD_createCCtx();
		has_state = compressor->zstd != NULL;
		break;
	}
	if (!has_state) {
		free(compressor);
		return NULL;
	}
	return compressor;
}

void compressor_free(struct compressor *compressor)
{
	if (!compressor)
		return;
	free(compressor->lz4);
	ZSTD_freeCCtx(compressor->zstd);
	free(compressor);
}

/* The size, or 0 when it did not fit into room. */
static size_t run_lz4(struct compressor *compressor, const void *data, size_t size, void *out,
		      size_t room, bool is_earnest)
{
	int stored = LZ4_compress_fast_extState(compressor->lz4, data, out, (int)size, (int)room,
						is_earnest ? LZ4_EARNEST : LZ4_SKIMMING);

	return stored > 0 ? (size_t)stored : 0;
}

static size_t run_zstd(struct compressor *compressor, const void *data, size_t size, void *out,
		       size_t room, bool is_earnest)
{
	size_t stored = ZSTD_compressCCtx(compressor->zstd, out, room, data, size,
					  is_earnest ? ZSTD_EARNEST : ZSTD_SKIMMING);

	return ZSTD_isError(stored) ? 0 : stored;
}

enum compress_codec compressor_run(struct compressor *compressor, const void *data, size_t size,
				   void *out, size_t room, size_t *ret_size)
{
	bool is_earnest = compressor->raw_run % SKIMMED_RUNS == 0;
	size_t most = size - size / GAIN_DIVISOR, stored = 0;

	if (size == 0 || size > LZ4_MAX_INPUT_SIZE || most <= 1)
		return COMPRESS_RAW;
	if (compressor->raw_run >= HOPELESS_RUNS && !is_earnest) {
		compressor->raw_run++;
		return COMPRESS_RAW;
	}
	most--; /* smaller than, not as small as */
	if (most > room)
		most = room;
	switch (compressor->codec) {
	case COMPRESS_RAW:
		return COMPRESS_RAW;
	case COMPRESS_LZ4:
		stored = run_lz4(compressor, data, size, out, most, is_earnest);
		break;
	case COMPRESS_ZSTD:
		stored = run_zstd(compressor, data, size, out, most, is_earnest);
		break;
	}
	if (!stored) {
		compressor->raw_run++;
		return COMPRESS_RAW;
	}
	compressor->raw_run = 0;
	*ret_size = stored;
	return compressor->codec;
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
	case COMPRESS_ZSTD:
		if (size == 0 || raw_size == 0 ||
		    ZSTD_decompress(out, raw_size, data, size) != raw_size)
			return -EBADMSG;
		return 0;
	}
	return -EBADMSG; /* a number from the network that is no codec */
}
