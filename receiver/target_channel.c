// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The requests of a channel, for every kind of target: checked, handed to the variant, and their done
 * functions called once they have ended. One thread only.
 *
 * A request is in one of three places: unused, under way (the variant has it), ended (its done
 * function is due). The done functions run from the public functions below, after the variant has
 * returned, never from inside it.
 */
#include "receiver/target.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/os_clock.h"
#include "receiver/target_ops.h"

const unsigned char target_zeroes[TARGET_DATA_PIECE_BYTES];

const char *target_request_name(enum target_request_kind kind)
{
	switch (kind) {
	case TARGET_WRITE:
		return "write";
	case TARGET_ZERO:
		return "zero";
	case TARGET_READ:
		return "read";
	}
	return "?";
}

void target_channel_init(struct target_channel *channel, struct target *target)
{
	channel->target = target;
	channel->ended_last = &channel->ended_first;
	for (unsigned int i = 0; i < TARGET_QUEUE_MAX; i++) {
		channel->requests[i].next = channel->unused;
		channel->unused = &channel->requests[i];
	}
}

void target_channel_say(struct target_channel *channel, const char *format, ...)
{
	const char *text = channel->target->info.text;
	va_list arguments;
	int used = snprintf(channel->error, sizeof(channel->error), "%s: ", text);

	va_start(arguments, format);
	vsnprintf(channel->error + used, sizeof(channel->error) - (size_t)used, format, arguments);
	va_end(arguments);
}

void target_request_end(struct target_channel *channel, struct target_request *request, int error)
{
	request->error = error;
	request->is_under_way = false;
	request->next = NULL;
	*channel->ended_last = request;
	channel->ended_last = &request->next;
	channel->under_way--;
}

static void run_ended(struct target_channel *channel)
{
	while (channel->ended_first) {
		struct target_request *request = channel->ended_first;
		target_done_fn *done = request->done;
		void *context = request->context;
		int error = request->error;

		channel->ended_first = request->next;
		if (!channel->ended_first)
			channel->ended_last = &channel->ended_first;
		request->next = channel->unused;
		channel->unused = request;
		channel->is_in_done = true;
		done(context, error);
		channel->is_in_done = false;
	}
}

/* The ops are not called on a broken channel: all its
 * requests have ended. */
int target_channel_move(struct target_channel *channel, uint64_t deadline_ns)
{
	int error = 0;

	if (channel->is_in_done)
		return -EDEADLK;
	/* Whose end is known need not wait for others, nor for nothing. */
	if (channel->ended_first || channel->under_way == 0)
		deadline_ns = 0;
	if (!channel->broken) {
		error = channel->target->ops->progress(channel, deadline_ns);
		if (error && error != -ETIMEDOUT)
			channel->broken = -error;
	}
	if (error == -ETIMEDOUT && channel->ended_first)
		error = 0;
	run_ended(channel);
	return channel->broken ? -channel->broken : error;
}

/* What an earlier call has found is a reason to fail, and to say so. */
static int check_usable(const struct target_channel *channel)
{
	if (channel->is_in_done)
		return -EDEADLK;
	return channel->broken ? -channel->broken : 0;
}

static int wait_for_room(struct target_channel *channel)
{
	while (!channel->unused) {
		int error = target_channel_move(channel, os_monotonic_ns() + TARGET_STALL_NS);

		if (error == -ETIMEDOUT && !channel->broken) {
			channel->broken = ETIMEDOUT;
			target_channel_say(channel, "nothing has moved for %llu minutes",
					   TARGET_STALL_NS / NS_PER_S / 60);
		}
		if (error)
			return error;
	}
	return 0;
}

static bool is_inside(const struct target_info *info, uint64_t offset, uint64_t length)
{
	return length > 0 && length % info->block_bytes == 0 && offset % info->block_bytes == 0 &&
	       offset <= info->size_bytes && length <= info->size_bytes - offset;
}

static int start(struct target_channel *channel, struct target_request what)
{
	struct target_request *request;
	int error = check_usable(channel);

	if (error)
		return error;
	if (!is_inside(&channel->target->info, what.offset, what.length) ||
	    (what.kind != TARGET_ZERO && what.length > TARGET_REQUEST_BYTES_MAX)) {
		target_channel_say(
			channel,
			"%s of %llu bytes at %llu: not inside the %llu bytes of the target, "
			"or no multiple of %u, or more than %u",
			target_request_name(what.kind), (unsigned long long)what.length,
			(unsigned long long)what.offset,
			(unsigned long long)channel->target->info.size_bytes,
			channel->target->info.block_bytes, TARGET_REQUEST_BYTES_MAX);
		return -EINVAL;
	}
	error = wait_for_room(channel);
	if (error)
		return error;
	request = channel->unused;
	channel->unused = request->next;
	*request = what;
	request->is_under_way = true;
	channel->under_way++;
	channel->target->ops->start(channel, request);
	return 0;
}

int target_channel_write(struct target_channel *channel, const void *data, uint64_t offset,
			 uint32_t length, target_done_fn *done, void *context)
{
	return start(channel, (struct target_request){.kind = TARGET_WRITE,
						      .data = data,
						      .offset = offset,
						      .length = length,
						      .done = done,
						      .context = context});
}

int target_channel_zero(struct target_channel *channel, uint64_t offset, uint64_t length,
			target_done_fn *done, void *context)
{
	return start(channel,
		     (struct target_request){.kind = TARGET_ZERO,
					     .offset = offset,
					     .length = length,
					     .done = done,
					     .context = context,
					     .is_as_data = !channel->target->info.can_zero});
}

int target_channel_read(struct target_channel *channel, void *data, uint64_t offset,
			uint32_t length, target_done_fn *done, void *context)
{
	return start(channel, (struct target_request){.kind = TARGET_READ,
						      .room = data,
						      .offset = offset,
						      .length = length,
						      .done = done,
						      .context = context});
}

int target_channel_poll(struct target_channel *channel)
{
	int error = target_channel_move(channel, 0);

	return error == -ETIMEDOUT && !channel->broken ? 0 : error;
}

int target_channel_drain(struct target_channel *channel, uint64_t timeout_ns)
{
	uint64_t deadline_ns = os_monotonic_ns() + timeout_ns;

	while (channel->under_way > 0 || channel->ended_first) {
		int error = target_channel_move(channel, deadline_ns);

		if (error)
			return error;
	}
	return check_usable(channel);
}

/* A flush that failed may have thrown away what it could not write (Linux does): a later one that succeeds
 * proves nothing about it. So the target stays unflushable until it is opened again and what was not
 * acknowledged has been written again. */
static int finish_flush(struct target_channel *channel, int error)
{
	struct target *target = channel->target;

	os_mutex_lock(&target->lock);
	if (error && !target->flush_error) {
		target->flush_error = -error;
	} else if (!error && target->flush_error) {
		error = -target->flush_error;
		target_channel_say(channel, "an earlier flush failed: %s",
				   strerror(target->flush_error));
	}
	os_mutex_unlock(&target->lock);
	return error;
}

int target_channel_flush(struct target_channel *channel, uint64_t timeout_ns)
{
	int error = check_usable(channel);

	if (error || !channel->target->info.can_flush)
		return error;
	error = channel->target->ops->flush(channel, os_monotonic_ns() + timeout_ns);
	run_ended(channel);
	return finish_flush(channel, error);
}

const char *target_channel_error(const struct target_channel *channel)
{
	return channel->error;
}

int target_channel_open(struct target *target, struct target_channel **ret_channel,
			struct fault *fault)
{
	int error;
	bool is_full;

	os_mutex_lock(&target->lock);
	is_full = target->channels >= target->info.channels_max;
	if (!is_full)
		target->channels++;
	os_mutex_unlock(&target->lock);
	if (is_full)
		return fault_set(fault, FAULT_STOP, EBUSY,
				 "%s: %u connection%s open, no more allowed", target->info.text,
				 target->info.channels_max,
				 target->info.channels_max == 1 ? " is" : "s are");
	error = target->ops->channel_open(target, ret_channel, fault);
	if (error) {
		os_mutex_lock(&target->lock);
		target->channels--;
		os_mutex_unlock(&target->lock);
	}
	return error;
}

void target_channel_close(struct target_channel *channel)
{
	struct target *target;

	if (!channel)
		return;
	target = channel->target;
	/* First no one else may touch the buffers, then their owners are told. */
	target->ops->channel_close(channel);
	for (unsigned int i = 0; i < TARGET_QUEUE_MAX; i++) {
		struct target_request *request = &channel->requests[i];

		if (!request->is_under_way)
			continue;
		if (request->kind != TARGET_READ)
			target_mark_unclean(target);
		target_request_end(channel, request, ECANCELED);
	}
	run_ended(channel);
	free(channel);
	os_mutex_lock(&target->lock);
	target->channels--;
	os_mutex_unlock(&target->lock);
}
