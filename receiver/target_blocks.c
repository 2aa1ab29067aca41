// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Targets whose server takes only blocks that are larger than a sector: this takes sectors, as the stream's records
 * and the end of a disk need them. What begins or ends inside a block goes through a copy of that block, at once and
 * one at a time for all channels, since two requests may touch the same block. Whole blocks go on as they are.
 *
 *   request =  part of a block  |      whole blocks      |  part of a block
 *              read, change, write   core, asynchronously   read, change, write
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/os_clock.h"
#include "common/wire.h"
#include "receiver/target_ops.h"

/* One for each of a channel's requests, at the same index. */
struct blocks_request {
	struct blocks_channel *channel;
	int error; /* positive, when over */
	struct blocks_request *next;
};

struct blocks_channel {
	struct target_channel base;
	struct target_channel *core; /* NULL: it had to be given up */
	struct blocks_request requests[TARGET_QUEUE_MAX];
	struct blocks_request *over;
	uint8_t *block; /* one, while a part of it is changed */
	int block_error;
};

struct target_blocks {
	struct target base;
	struct target *inner;
	struct os_mutex part_lock; /* from reading a block until it is written back */
};

static struct target_blocks *blocks_of(const struct target_channel *channel)
{
	return (struct target_blocks *)channel->target;
}

static uint64_t block_bytes(const struct target_channel *channel)
{
	return blocks_of(channel)->inner->info.block_bytes;
}

static void take_state(struct blocks_channel *channel)
{
	if (channel->core)
		snprintf(channel->base.error, sizeof(channel->base.error), "%s",
			 target_channel_error(channel->core));
	if (!target_is_clean(blocks_of(&channel->base)->inner))
		target_mark_unclean(channel->base.target);
}

static void on_core_done(void *context, int error)
{
	struct blocks_request *over = context;

	over->error = error;
	over->next = over->channel->over;
	over->channel->over = over;
}

static void end_requests(struct blocks_channel *channel)
{
	while (channel->over) {
		struct blocks_request *over = channel->over;

		channel->over = over->next;
		if (over->error)
			take_state(channel);
		target_request_end(&channel->base,
				   &channel->base.requests[over - channel->requests], over->error);
	}
}

static void on_block_done(void *context, int error)
{
	struct blocks_channel *channel = context;

	channel->block_error = error;
}

/* Nobody may touch a buffer any more: what was under way is over by this. */
static void give_up(struct blocks_channel *channel)
{
	take_state(channel);
	target_channel_close(channel->core);
	channel->core = NULL;
	take_state(channel);
}

/* Reads or writes channel->block. 0 or a positive errno. */
static int move_block(struct blocks_channel *channel, enum target_request_kind kind,
		      uint64_t offset)
{
	uint32_t size = (uint32_t)block_bytes(&channel->base);
	int error;

	channel->block_error = 0;
	error = kind == TARGET_READ ? target_channel_read(channel->core, channel->block, offset,
							  size, on_block_done, channel)
				    : target_channel_write(channel->core, channel->block, offset,
							   size, on_block_done, channel);
	if (error)
		return -error;
	error = target_channel_drain(channel->core, TARGET_STALL_NS);
	if (error)
		give_up(channel);
	return error ? -error : channel->block_error;
}

/* [from, end) lies in one block. 0 or a positive errno. */
static int do_part(struct blocks_channel *channel, const struct target_request *request,
		   uint64_t from, uint64_t end)
{
	struct target_blocks *target = blocks_of(&channel->base);
	uint64_t offset = from / block_bytes(&channel->base) * block_bytes(&channel->base);
	uint8_t *at = channel->block + (from - offset);
	int error;

	if (from >= end)
		return 0;
	if (!channel->core)
		return ENOTCONN;
	os_mutex_lock(&target->part_lock);
	error = move_block(channel, TARGET_READ, offset);
	if (!error && request->kind == TARGET_READ)
		memcpy((uint8_t *)request->room + (from - request->offset), at, end - from);
	else if (!error && request->kind == TARGET_WRITE)
		memcpy(at, (const uint8_t *)request->data + (from - request->offset), end - from);
	else if (!error)
		memset(at, 0, end - from);
	if (!error && request->kind != TARGET_READ)
		error = move_block(channel, TARGET_WRITE, offset);
	os_mutex_unlock(&target->part_lock);
	return error;
}

/* Returns 0 when mine will be over, or -errno. */
static int start_whole(struct blocks_channel *channel, const struct target_request *request,
		       uint64_t from, uint64_t end, struct blocks_request *mine)
{
	if (!channel->core)
		return -ENOTCONN;
	switch (request->kind) {
	case TARGET_WRITE:
		return target_channel_write(
			channel->core, (const uint8_t *)request->data + (from - request->offset),
			from, (uint32_t)(end - from), on_core_done, mine);
	case TARGET_READ:
		return target_channel_read(channel->core,
					   (uint8_t *)request->room + (from - request->offset),
					   from, (uint32_t)(end - from), on_core_done, mine);
	case TARGET_ZERO:
		return target_channel_zero(channel->core, from, end - from, on_core_done, mine);
	}
	return -EINVAL;
}

static void blocks_start(struct target_channel *base, struct target_request *request)
{
	struct blocks_channel *channel = (struct blocks_channel *)base;
	struct blocks_request *mine = &channel->requests[request - base->requests];
	uint64_t size = block_bytes(base), end = request->offset + request->length;
	uint64_t first = (request->offset + size - 1) / size * size, last = end / size * size;
	int error = do_part(channel, request, request->offset, first < end ? first : end);

	mine->channel = channel;
	if (!error && last >= first)
		error = do_part(channel, request, last, end);
	if (!error && last > first) {
		error = -start_whole(channel, request, first, last, mine);
		if (!error)
			return;
	}
	if (error)
		take_state(channel);
	target_request_end(base, request, error);
}

static int blocks_progress(struct target_channel *base, uint64_t deadline_ns)
{
	struct blocks_channel *channel = (struct blocks_channel *)base;
	int error = -ENOTCONN;

	if (channel->over)
		deadline_ns = 0;
	if (channel->core)
		error = target_channel_move(channel->core, deadline_ns);
	take_state(channel);
	end_requests(channel);
	return error;
}

static int blocks_flush(struct target_channel *base, uint64_t deadline_ns)
{
	struct blocks_channel *channel = (struct blocks_channel *)base;
	uint64_t now_ns = os_monotonic_ns();
	int error = -ENOTCONN;

	if (channel->core)
		error = target_channel_flush(channel->core,
					     deadline_ns > now_ns ? deadline_ns - now_ns : 0);
	take_state(channel);
	end_requests(channel);
	return error;
}

static int blocks_channel_open(struct target *target, struct target_channel **ret_channel,
			       struct fault *fault)
{
	struct target_blocks *blocks = (struct target_blocks *)target;
	struct blocks_channel *channel = calloc(1, sizeof(*channel));
	int error = 0;

	if (channel)
		channel->block = malloc(blocks->inner->info.block_bytes);
	if (!channel || !channel->block)
		error = fault_set(fault, FAULT_RETRY, ENOMEM, "%s: out of memory",
				  target->info.text);
	if (!error)
		error = target_channel_open(blocks->inner, &channel->core, fault);
	if (error) {
		if (channel)
			free(channel->block);
		free(channel);
		return error;
	}
	target_channel_init(&channel->base, target);
	*ret_channel = &channel->base;
	return 0;
}

static void blocks_channel_close(struct target_channel *base)
{
	struct blocks_channel *channel = (struct blocks_channel *)base;

	if (channel->core)
		give_up(channel);
	free(channel->block);
}

static void blocks_close(struct target *target)
{
	struct target_blocks *blocks = (struct target_blocks *)target;

	target_close(blocks->inner);
	os_mutex_fini(&blocks->part_lock);
	target_fini(target);
	free(blocks);
}

static const struct target_ops blocks_ops = {
	.name = "blocks",
	.close = blocks_close,
	.channel_open = blocks_channel_open,
	.channel_close = blocks_channel_close,
	.start = blocks_start,
	.progress = blocks_progress,
	.flush = blocks_flush,
};

int target_blocks_open(struct target *inner, struct target **ret_target, struct fault *fault)
{
	struct target_blocks *blocks = calloc(1, sizeof(*blocks));

	if (!blocks) {
		target_close(inner);
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	}
	target_init(&blocks->base, &blocks_ops);
	os_mutex_init(&blocks->part_lock);
	blocks->inner = inner;
	blocks->base.info = inner->info;
	blocks->base.info.block_bytes = WIRE_SECTOR;
	*ret_target = &blocks->base;
	return 0;
}
