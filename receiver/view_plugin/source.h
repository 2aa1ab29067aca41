/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading a disk's target as it is now, beside the receiver that writes to it. Thread-safe. */
#ifndef BLKFERRY_RECEIVER_VIEW_PLUGIN_SOURCE_H
#define BLKFERRY_RECEIVER_VIEW_PLUGIN_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/fault.h"

struct source;

/* target: the full path of a file or device, or an NBD URI. It has at least size_bytes. */
int source_open(const char *target, uint64_t size_bytes, struct source **ret_source,
		struct fault *fault);
void source_close(struct source *source);
int source_read(struct source *source, void *data, uint64_t offset, uint32_t length,
		struct fault *fault);
/* Can it tell holes from data? Only files can. */
bool source_knows_holes(const struct source *source);
/* Is there a hole at offset? *ret_length: how far it, or the data, goes on, at most limit. */
bool source_is_hole(const struct source *source, uint64_t offset, uint64_t limit,
		    uint64_t *ret_length);

#endif
