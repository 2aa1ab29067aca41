/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bandwidth limit shared by several threads: a token bucket whose rate can change at any time. */
#ifndef BLKFERRY_COMMON_RATE_H
#define BLKFERRY_COMMON_RATE_H

#include <stdint.h>

struct rate_limit;
/* bytes_per_s 0 means no limit. The bucket holds a tenth of a second, at least 64 KiB. */
struct rate_limit *rate_limit_new(uint64_t bytes_per_s);
void rate_limit_free(struct rate_limit *limit);
void rate_limit_set(struct rate_limit *limit, uint64_t bytes_per_s);
uint64_t rate_limit_get(struct rate_limit *limit);
/* Takes bytes from the bucket (it may go below zero) and returns how many nanoseconds the caller
 * has to sleep before it sends; 0 when none. */
uint64_t rate_limit_take(struct rate_limit *limit, uint64_t bytes);

#endif
