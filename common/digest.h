/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Digests: XXH3-128 between parties that trust each other (both sides of one TLS session), and
 * XXH3-64 as the checksum of what a frame carries. Also the test for zero blocks.
 */
#ifndef BLKFERRY_COMMON_DIGEST_H
#define BLKFERRY_COMMON_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES 16

/* XXH3-128 of data, in the library's canonical (big-endian) byte order. */
void digest_block(const void *data, size_t size, uint8_t ret_digest[DIGEST_BYTES]);
uint64_t digest_checksum(const void *data, size_t size);
/* True when every byte is zero; size 0 is zero. */
bool digest_is_zero(const void *data, size_t size);

#endif
