// SPDX-License-Identifier: GPL-2.0-or-later
/* Any bytes as something compressed, restored into a buffer of just its size; and round trips. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/compress.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define RAW_MAX	   65536
#define HEAD_BYTES 4 /* codec, and the raw size in 24 bits */

static void restore(const uint8_t *bytes, size_t size)
{
	size_t raw_size = (bytes[1] | bytes[2] << 8 | bytes[3] << 16) % (RAW_MAX + 1);
	uint8_t *stored = malloc(size - HEAD_BYTES), *raw = malloc(raw_size);

	memcpy(stored, bytes + HEAD_BYTES, size - HEAD_BYTES);
	(void)compress_restore((enum compress_codec)bytes[0], stored, size - HEAD_BYTES, raw,
			       raw_size);
	free(stored);
	free(raw);
}

static void go_round(enum compress_codec codec, const uint8_t *bytes, size_t size)
{
	struct compressor *compressor = compressor_new(codec);
	uint8_t *stored = malloc(size), *raw = malloc(size);
	size_t stored_size = 0;

	if (compressor_run(compressor, bytes, size, stored, size, &stored_size) == codec) {
		if (stored_size >= size - size / 16 ||
		    compress_restore(codec, stored, stored_size, raw, size) != 0 ||
		    memcmp(bytes, raw, size) != 0)
			abort();
	}
	free(stored);
	free(raw);
	compressor_free(compressor);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	if (size > HEAD_BYTES)
		restore(bytes, size);
	go_round(COMPRESS_LZ4, bytes, size);
	go_round(COMPRESS_ZSTD, bytes, size);
	return 0;
}
