/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compression of one frame's bytes: LZ4 by default, zstd for slow links; stored raw where it does not
 * shrink. */
#ifndef BLKFERRY_COMMON_COMPRESS_H
#define BLKFERRY_COMMON_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum compress_codec { COMPRESS_RAW = 1, COMPRESS_LZ4, COMPRESS_ZSTD };

/* Is it one? The number may come from the network. */
bool compress_is_codec(unsigned int codec);

struct compressor; /* scratch state of one thread */
/* codec: what it tries; with COMPRESS_RAW nothing is compressed. NULL: no memory. */
struct compressor *compressor_new(enum compress_codec codec);
void compressor_free(struct compressor *compressor);

/* Compresses size bytes into out. Where the result would not be smaller than size - size / 16 (or
 * would not fit room), returns COMPRESS_RAW and leaves out's content undefined: the caller sends
 * the bytes as they are. Otherwise its codec, with *ret_size set. */
enum compress_codec compressor_run(struct compressor *compressor, const void *data, size_t size,
				   void *out, size_t room, size_t *ret_size);

/* Restores exactly raw_size bytes from data. Returns 0 or -EBADMSG; never writes past raw_size. */
int compress_restore(enum compress_codec codec, const void *data, size_t size, void *out,
		     size_t raw_size);

#endif
