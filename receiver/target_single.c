// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Targets whose server takes one connection, or whose connections do not see each other's flushes: one channel on
 * the target behind it, which all channels of this one share under a lock. Whoever waits moves everybody's
 * requests on; a request that has ended waits in its channel's list until that channel's own thread looks.
 *
 *   lane (one thread each) --start--> core channel (under the lock) --on_core_done--> the lane's over list
 *         ^---------------- progress: target_request_end <----------------------------------'
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/os_clock.h"
#include "receiver/target_ops.h"

#define LANES_MAX 16
#define SLICE_NS  (1 * NS_PER_MS) /* so long at most others wait for the lock */

struct single_lane;

/* One for each of a lane's requests, at the same index. */
struct single_request {
	struct single_lane *lane;
	int error; /* positive, when over */
	struct single_request *next;
};

struct single_lane {
	struct target_channel base;
	struct single_request requests[TARGET_QUEUE_MAX];
	struct single_request *over; /* under the target's core_lock, as the rest */
	unsigned int in_core;
};

struct target_single {
	struct target base;
	struct target *inner;
	struct os_mutex core_lock;
	struct target_channel *core; /* open while there are lanes */
	unsigned int lanes;
	bool is_lost; /* the core had to be given up */
};

static struct target_single *single_of(const struct target_channel *channel)
{
	return (struct target_single *)channel->target;
}

static void on_core_done(void *context, int error)
{
	struct single_request *over = context;

	over->error = error;
	over->next = over->lane->over;
	over->lane->over = over;
	over->lane->in_core--;
}

static void take_error(const struct target_single *single, struct target_channel *channel)
{
	if (single->core)
		snprintf(channel->error, sizeof(channel->error), "%s",
			 target_channel_error(single->core));
}

/* The lock is held. */
static void note_unclean(struct target_single *single)
{
	if (!target_is_clean(single->inner))
		target_mark_unclean(&single->base);
}

/* Ends what is over. The lock is held. */
static void end_requests(struct single_lane *lane)
{
	while (lane->over) {
		struct single_request *over = lane->over;

		lane->over = over->next;
		if (over->error)
			take_error(single_of(&lane->base), &lane->base);
		target_request_end(&lane->base, &lane->base.requests[over - lane->requests],
				   over->error);
	}
}

static int start_in_core(struct target_single *single, const struct target_request *request,
			 struct single_request *mine)
{
	switch (request->kind) {
	case TARGET_WRITE:
		return target_channel_write(single->core, request->data, request->offset,
					    (uint32_t)request->length, on_core_done, mine);
	case TARGET_READ:
		return target_channel_read(single->core, request->room, request->offset,
					   (uint32_t)request->length, on_core_done, mine);
	case TARGET_ZERO:
		return target_channel_zero(single->core, request->offset, request->length,
					   on_core_done, mine);
	}
	return -EINVAL;
}

static void single_start(struct target_channel *channel, struct target_request *request)
{
	struct target_single *single = single_of(channel);
	struct single_lane *lane = (struct single_lane *)channel;
	struct single_request *mine = &lane->requests[request - channel->requests];
	int error;

	os_mutex_lock(&single->core_lock);
	mine->lane = lane;
	lane->in_core++;
	error = single->is_lost ? -ENOTCONN : start_in_core(single, request, mine);
	if (error) {
		lane->in_core--;
		take_error(single, channel);
		target_request_end(channel, request, -error);
	}
	os_mutex_unlock(&single->core_lock);
}

static int single_progress(struct target_channel *channel, uint64_t deadline_ns)
{
	struct target_single *single = single_of(channel);
	struct single_lane *lane = (struct single_lane *)channel;

	for (;;) {
		bool has_ended;
		int error = -ENOTCONN;

		os_mutex_lock(&single->core_lock);
		if (!lane->over && !single->is_lost)
			error = deadline_ns ? target_channel_drain(single->core, SLICE_NS)
					    : target_channel_poll(single->core);
		note_unclean(single);
		has_ended = lane->over != NULL;
		end_requests(lane);
		if (error && error != -ETIMEDOUT)
			take_error(single, channel);
		os_mutex_unlock(&single->core_lock);
		if (has_ended || (!channel->under_way && (!error || error == -ETIMEDOUT)))
			return 0;
		if (error && error != -ETIMEDOUT)
			return error;
		if (os_monotonic_ns() >= deadline_ns)
			return -ETIMEDOUT;
	}
}

static int single_flush(struct target_channel *channel, uint64_t deadline_ns)
{
	struct target_single *single = single_of(channel);
	uint64_t now_ns = os_monotonic_ns();
	int error = -ENOTCONN;

	os_mutex_lock(&single->core_lock);
	if (!single->is_lost)
		error = target_channel_flush(single->core,
					     deadline_ns > now_ns ? deadline_ns - now_ns : 0);
	if (error)
		take_error(single, channel);
	note_unclean(single);
	os_mutex_unlock(&single->core_lock);
	return error;
}

static int single_channel_open(struct target *target, struct target_channel **ret_channel,
			       struct fault *fault)
{
	struct target_single *single = (struct target_single *)target;
	struct single_lane *lane = calloc(1, sizeof(*lane));
	int error = 0;

	if (!lane)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "%s: out of memory",
				 target->info.text);
	os_mutex_lock(&single->core_lock);
	if (single->is_lost)
		error = fault_set(fault, FAULT_RETRY, ENOTCONN, "%s: the connection was lost",
				  target->info.text);
	else if (!single->core)
		error = target_channel_open(single->inner, &single->core, fault);
	if (!error)
		single->lanes++;
	os_mutex_unlock(&single->core_lock);
	if (error) {
		free(lane);
		return error;
	}
	target_channel_init(&lane->base, target);
	*ret_channel = &lane->base;
	return 0;
}

/* Buffers must not be touched after this: what the core still has of this lane takes the core with it. */
static void single_channel_close(struct target_channel *channel)
{
	struct target_single *single = single_of(channel);
	const struct single_lane *lane = (struct single_lane *)channel;

	os_mutex_lock(&single->core_lock);
	single->lanes--;
	if (lane->in_core > 0)
		single->is_lost = true;
	if (single->core && (lane->in_core > 0 || single->lanes == 0)) {
		target_channel_close(single->core);
		single->core = NULL;
	}
	note_unclean(single);
	os_mutex_unlock(&single->core_lock);
}

static void single_close(struct target *target)
{
	struct target_single *single = (struct target_single *)target;

	target_close(single->inner);
	os_mutex_fini(&single->core_lock);
	target_fini(target);
	free(single);
}

static const struct target_ops single_ops = {
	.name = "single",
	.close = single_close,
	.channel_open = single_channel_open,
	.channel_close = single_channel_close,
	.start = single_start,
	.progress = single_progress,
	.flush = single_flush,
};

int target_single_open(struct target *inner, struct target **ret_target, struct fault *fault)
{
	struct target_single *single = calloc(1, sizeof(*single));

	if (!single) {
		target_close(inner);
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	}
	target_init(&single->base, &single_ops);
	os_mutex_init(&single->core_lock);
	single->inner = inner;
	single->base.info = inner->info;
	single->base.info.channels_max = LANES_MAX;
	single->base.info.is_single = true;
	*ret_target = &single->base;
	return 0;
}
