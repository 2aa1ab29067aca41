// SPDX-License-Identifier: GPL-2.0-or-later
/* A data connection's thread: read, look for zeroes, compress, send; see sender.h. */
#include "agent/sender.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/encode.h"
#include "agent/reader.h"
#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_thread.h"

#define SLOTS	      4 /* batches being read or waiting to be sent */
#define READ_BYTES    FLOW_BATCH_BYTES
#define READ_ALIGN    4096
#define SLEEP_MOST_NS (200 * NS_PER_MS) /* so that a cancelled sender ends soon */

/* A batch on its way, or a barrier that keeps its place in the order. */
struct slot {
	bool is_barrier;
	struct flow_batch batch;
	unsigned int reading; /* requests under way */
	uint8_t *buffer;
	struct read_request requests[FLOW_BATCH_EXTENTS];
};

struct sender {
	struct sender_setup setup;
	struct frame_link link;
	struct reader *reader;
	struct encoder *encoder;
	struct effort effort;
	struct os_thread thread;
	struct slot slots[SLOTS];
	unsigned int head, used; /* slots[head] is sent next; used slots follow it */
};

static void submit_batch(struct sender *sender, struct slot *slot)
{
	uint8_t *to = slot->buffer;

	slot->reading = 0;
	for (unsigned int i = 0; i < slot->batch.count; i++) {
		struct read_request *request = &slot->requests[i];
		uint32_t length = slot->batch.extents[i].length;

		*request = (struct read_request){
			.disk = slot->batch.disk,
			.offset = slot->batch.extents[i].offset,
			.length = length,
			.buffer = to,
			.context = slot,
		};
		/* Only a disk's last block is not a multiple of 4096. */
		to += (length + READ_ALIGN - 1) / READ_ALIGN * READ_ALIGN;
		slot->reading++;
		reader_submit(sender->reader, request);
	}
}

static int wait_for(struct sender *sender, struct slot *slot, struct fault *fault)
{
	while (slot->reading) {
		struct read_request *request = reader_wait(sender->reader);

		if (!request)
			return fault_set(fault, FAULT_RETRY, EIO, "reading the source failed");
		((struct slot *)request->context)->reading--;
	}
	return 0;
}

/*
 * An extent that could not be read is tried again piece by piece; what cannot be read stays a set bit
 * (it is not sent), and everything else of it goes.
 */
static int retry_read(struct sender *sender, struct slot *slot, struct read_request *request,
		      struct encode_hole *holes, unsigned int *hole_count, struct fault *fault)
{
	uint32_t step = READ_ALIGN;
	int first_error = request->error;

	for (uint32_t done = 0; done < request->length; done += step) {
		struct read_request piece = {
			.disk = request->disk,
			.offset = request->offset + done,
			.length = request->length - done < step ? request->length - done : step,
			.buffer = (uint8_t *)request->buffer + done,
			.context = slot,
		};
		struct read_request *other;

		reader_submit(sender->reader, &piece);
		while ((other = reader_wait(sender->reader)) != &piece) {
			if (!other)
				return fault_set(fault, FAULT_RETRY, EIO,
						 "reading the source failed");
			((struct slot *)other->context)->reading--;
		}
		if (!piece.error)
			continue;
		if (*hole_count == ENCODE_HOLES_MAX ||
		    flow_read_failed(sender->setup.flow, &slot->batch, piece.offset, piece.length))
			return fault_set(
				fault, FAULT_RETRY, first_error,
				"too much of disk %u cannot be read, first at byte %llu: %s",
				request->disk, (unsigned long long)piece.offset,
				strerror(piece.error));
		log_warning("disk %u: %u bytes at %llu cannot be read: %s", request->disk,
			    piece.length, (unsigned long long)piece.offset, strerror(piece.error));
		holes[(*hole_count)++] =
			(struct encode_hole){.offset = piece.offset, .length = piece.length};
	}
	return 0;
}

int sender_pace(struct rate_limit *limit, struct tls_stream *stream, size_t bytes)
{
	uint64_t sleep_ns = rate_limit_take(limit, bytes);

	while (sleep_ns) {
		uint64_t now = sleep_ns < SLEEP_MOST_NS ? sleep_ns : SLEEP_MOST_NS;

		os_sleep_ns(now);
		sleep_ns -= now;
		if (tls_stream_wait_readable(stream, os_monotonic_ns()) == -ECANCELED)
			return -ECANCELED;
	}
	return 0;
}

/* Under a bandwidth limit it is the wire that counts. */
static enum effort_choice choose_effort(const struct sender *sender)
{
	return rate_limit_get(sender->setup.limit) ? EFFORT_COMPRESS : sender->effort.choice;
}

static int ship_batch(struct sender *sender, struct slot *slot, struct fault *fault)
{
	struct encode_hole holes[ENCODE_HOLES_MAX];
	unsigned int hole_count = 0;
	const uint8_t *bytes;
	uint64_t began = os_monotonic_ns();
	size_t size;
	int error = 0;

	for (unsigned int i = 0; !error && i < slot->batch.count; i++)
		if (slot->requests[i].error)
			error = retry_read(sender, slot, &slot->requests[i], holes, &hole_count,
					   fault);
	if (error)
		return error;
	if (slot->batch.kind == FLOW_COPY)
		error = encoder_run_data(sender->encoder, &slot->batch, slot->buffer, holes,
					 hole_count, choose_effort(sender), &bytes, &size);
	else
		error = encoder_run_digests(sender->encoder, sender->setup.flow, &slot->batch,
					    slot->buffer, holes, hole_count, &bytes, &size);
	if (error)
		return fault_set(fault, FAULT_RETRY, -error, "the session ended");
	if (!size)
		return 0;
	if (sender_pace(sender->setup.limit, sender->link.stream, size))
		return fault_set(fault, FAULT_RETRY, ECANCELED, "the session ended");
	flow_count_sent(sender->setup.flow, slot->batch.kind == FLOW_COPY ? slot->batch.bytes : 0,
			size);
	error = frame_send_raw(&sender->link, bytes, size, fault);
	if (slot->batch.kind == FLOW_COPY)
		effort_note(&sender->effort, slot->batch.bytes, os_monotonic_ns() - began);
	return error;
}

static int ship_barrier(struct sender *sender, uint64_t epoch, struct fault *fault)
{
	struct wire_barrier barrier = {.epoch = epoch};

	return frame_send(&sender->link, WIRE_BARRIER, &barrier, sizeof(barrier), NULL, 0, fault);
}

/* Takes steps from the flow until the slots are full or there is nothing to do now. */
static bool fill_slots(struct sender *sender)
{
	while (sender->used < SLOTS) {
		struct slot *slot = &sender->slots[(sender->head + sender->used) % SLOTS];
		enum flow_step step = flow_next(sender->setup.flow, sender->setup.connection,
						sender->used == 0, &slot->batch);

		switch (step) {
		case FLOW_QUIT:
			return false;
		case FLOW_IDLE:
			return true;
		case FLOW_BARRIER:
			slot->is_barrier = true;
			slot->reading = 0;
			break;
		case FLOW_BATCH:
			slot->is_barrier = false;
			submit_batch(sender, slot);
			break;
		}
		sender->used++;
	}
	return true;
}

static void run(void *argument)
{
	struct sender *sender = argument;
	struct fault fault = {0};
	int error = 0;

	while (!error && fill_slots(sender)) {
		struct slot *slot = &sender->slots[sender->head];

		if (!sender->used)
			continue;
		error = wait_for(sender, slot, &fault);
		if (!error && slot->is_barrier)
			error = ship_barrier(sender, slot->batch.epoch, &fault);
		else if (!error)
			error = ship_batch(sender, slot, &fault);
		sender->head = (sender->head + 1) % SLOTS;
		sender->used--;
	}
	if (error)
		sender->setup.failed(sender->setup.context, &fault);
	/* The kernel may still write into our buffers: they live until all reads came back. */
	while (reader_wait(sender->reader))
		;
}

static void free_parts(struct sender *sender)
{
	reader_free(sender->reader);
	encoder_free(sender->encoder);
	for (unsigned int i = 0; i < SLOTS; i++)
		free(sender->slots[i].buffer);
	free(sender);
}

int sender_start(const struct sender_setup *setup, struct sender **ret_sender)
{
	struct sender *sender = calloc(1, sizeof(*sender));
	char name[16];
	int error = -ENOMEM;

	if (!sender)
		return -ENOMEM;
	sender->setup = *setup;
	for (unsigned int i = 0; i < SLOTS; i++) {
		sender->slots[i].buffer = aligned_alloc(READ_ALIGN, READ_BYTES);
		if (!sender->slots[i].buffer)
			goto fail;
	}
	effort_init(&sender->effort);
	sender->encoder = encoder_new(setup->codec);
	if (!sender->encoder)
		goto fail;
	error = reader_new(setup->disk_fds, setup->disks, SLOTS * FLOW_BATCH_EXTENTS + 1,
			   &sender->reader);
	if (error)
		goto fail;
	frame_link_init(&sender->link, setup->stream, "the receiver");
	snprintf(name, sizeof(name), "sender-%u", setup->connection);
	error = os_thread_start(&sender->thread, name, run, sender);
	if (error) {
		frame_link_fini(&sender->link);
		goto fail;
	}
	*ret_sender = sender;
	return 0;
fail:
	free_parts(sender);
	return error;
}

void sender_cancel(struct sender *sender)
{
	tls_stream_cancel(sender->link.stream);
}

void sender_free(struct sender *sender)
{
	if (!sender)
		return;
	os_thread_join(&sender->thread);
	frame_link_fini(&sender->link);
	tls_stream_free(sender->setup.stream);
	free_parts(sender);
}
