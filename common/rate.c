// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The token bucket, kept as one point in time (the "generic cell rate algorithm"): empty_ns is when
 * the bucket was or will be exactly empty. In the future: the debt that callers sleep off. In the past:
 * what may be sent at once, as far back as the bucket is deep.
 */
#include "common/rate.h"

#include <stdlib.h>

#include "common/os_clock.h"
#include "common/os_thread.h"

#define DEPTH_NS	(NS_PER_S / 10)
#define DEPTH_BYTES_MIN (64 * 1024)

struct rate_limit {
	struct os_mutex lock;
	uint64_t bytes_per_s;
	uint64_t empty_ns;
};

/* How long bytes take at a rate; saturates instead of overflowing. */
static uint64_t bytes_to_ns(uint64_t bytes, uint64_t bytes_per_s)
{
	unsigned __int128 ns = (unsigned __int128)bytes * NS_PER_S / bytes_per_s;

	return ns > INT64_MAX ? INT64_MAX : (uint64_t)ns;
}

static uint64_t depth_ns(uint64_t bytes_per_s)
{
	uint64_t least = bytes_to_ns(DEPTH_BYTES_MIN, bytes_per_s);

	return least > DEPTH_NS ? least : DEPTH_NS;
}

struct rate_limit *rate_limit_new(uint64_t bytes_per_s)
{
	struct rate_limit *limit = calloc(1, sizeof(*limit));

	if (!limit)
		return NULL;
	os_mutex_init(&limit->lock);
	limit->bytes_per_s = bytes_per_s;
	return limit;
}

void rate_limit_free(struct rate_limit *limit)
{
	if (!limit)
		return;
	os_mutex_fini(&limit->lock);
	free(limit);
}

void rate_limit_set(struct rate_limit *limit, uint64_t bytes_per_s)
{
	uint64_t now = os_monotonic_ns();

	os_mutex_lock(&limit->lock);
	/* A debt is owed in bytes: at another rate it takes another time. */
	if (limit->bytes_per_s != 0 && limit->empty_ns > now) {
		unsigned __int128 debt =
			(unsigned __int128)(limit->empty_ns - now) * limit->bytes_per_s / NS_PER_S;

		limit->empty_ns = now;
		if (bytes_per_s != 0)
			limit->empty_ns += bytes_to_ns((uint64_t)debt, bytes_per_s);
	}
	limit->bytes_per_s = bytes_per_s;
	os_mutex_unlock(&limit->lock);
}

uint64_t rate_limit_get(struct rate_limit *limit)
{
	uint64_t bytes_per_s;

	os_mutex_lock(&limit->lock);
	bytes_per_s = limit->bytes_per_s;
	os_mutex_unlock(&limit->lock);
	return bytes_per_s;
}

uint64_t rate_limit_take(struct rate_limit *limit, uint64_t bytes)
{
	uint64_t now = os_monotonic_ns(), wait_ns = 0;

	os_mutex_lock(&limit->lock);
	if (limit->bytes_per_s != 0) {
		uint64_t depth = depth_ns(limit->bytes_per_s);
		uint64_t cost = bytes_to_ns(bytes, limit->bytes_per_s);

		if (now > depth && limit->empty_ns < now - depth)
			limit->empty_ns = now - depth;
		if (cost > INT64_MAX - limit->empty_ns)
			cost = INT64_MAX - limit->empty_ns;
		limit->empty_ns += cost;
		wait_ns = limit->empty_ns > now ? limit->empty_ns - now : 0;
	}
	os_mutex_unlock(&limit->lock);
	return wait_ns;
}
