#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The reader on block devices: every byte of a disk whose size is no multiple of the reads, with blocks of
# 512 and 4096 bytes, and past the page cache.

. "$(dirname "$0")/../functions.sh"
requires ROOT LOOP

for block in 512 4096; do
	say "a disk with blocks of $block bytes"
	make_disk $((32 * 1024 * 1024 + 3 * 4096)) --sector-size "$block"
	head -c $((32 * 1024 * 1024 + 3 * 4096)) /dev/urandom | dd of="$LOOP" bs=1M conv=fsync status=none
	platform read "$LOOP" "$T/copy.img"
	cmp "$LOOP_FILE" "$T/copy.img"
	rm "$T/copy.img"
done
