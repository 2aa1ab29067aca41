// SPDX-License-Identifier: GPL-2.0-or-later
/* Compresses batches side by side and sends them in order; see stream_sender.h. */
#include "agent/stream_sender.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "agent/effort.h"
#include "common/digest.h"
#include "common/frame.h"
#include "common/os_clock.h"
#include "common/os_thread.h"

#define THREADS_MAX 4
#define BUFFERS_MAX 8
#define HEAD_BYTES  (sizeof(struct wire_header) + sizeof(struct wire_stream))

/* A buffer's memory begins with room for the frame's heads, so that raw bytes are sent from where they are. */
struct slot {
	struct stream_buffer buffer;
	uint8_t *frame, *packed; /* HEAD_BYTES + raw_max each */
	enum { SLOT_FREE = 1, SLOT_FILLING, SLOT_READY, SLOT_TAKEN } state;
	uint64_t turn;	 /* SLOT_READY: its place in the order */
	bool is_pressed; /* SLOT_TAKEN: when it was taken, others were ready as well */
	enum effort_choice effort;
	uint64_t took_ns;
};

struct stream_sender {
	struct stream_sender_setup setup;
	struct slot slots[BUFFERS_MAX];
	struct os_thread threads[THREADS_MAX];

	struct os_mutex lock; /* what follows, and the slots' states */
	struct os_cond changed;
	uint64_t turns;	      /* given so far */
	uint64_t next_taken;  /* the turn that is compressed next */
	uint64_t next_sent;   /* the turn that is sent next */
	struct effort effort; /* of those that are pressed */
	bool is_closing, has_failed;
};

/* Fewer bytes on the wire are better as long as nobody waits. When batches queue up, what moves more of them is. */
static void choose_effort(struct stream_sender *sender, struct slot *slot)
{
	slot->is_pressed = sender->turns > sender->next_taken;
	slot->effort = slot->is_pressed ? sender->effort.choice : EFFORT_COMPRESS;
	slot->took_ns = 0;
}

/* Under the lock. NULL when there is nothing to take. */
static struct slot *take_slot(struct stream_sender *sender)
{
	for (unsigned int i = 0; i < sender->setup.buffers; i++) {
		struct slot *slot = &sender->slots[i];

		if (slot->state != SLOT_READY || slot->turn != sender->next_taken)
			continue;
		slot->state = SLOT_TAKEN;
		sender->next_taken++;
		choose_effort(sender, slot);
		return slot;
	}
	return NULL;
}

/* Makes the frame; returns where it begins. */
static const uint8_t *pack(struct slot *slot, struct compressor *compressor, size_t *ret_size)
{
	struct wire_stream *head = &slot->buffer.head;
	size_t stored = head->raw_bytes;
	uint8_t *frame = slot->frame;
	enum compress_codec codec = COMPRESS_RAW;
	uint64_t began = os_monotonic_ns();

	head->checksum = digest_checksum(slot->buffer.raw, head->raw_bytes);
	if (slot->effort == EFFORT_COMPRESS)
		codec = compressor_run(compressor, slot->buffer.raw, head->raw_bytes,
				       slot->packed + HEAD_BYTES, head->raw_bytes, &stored);
	if (codec != COMPRESS_RAW)
		frame = slot->packed;
	head->codec = (uint16_t)codec;
	head->stored_bytes = (uint32_t)stored;
	frame_header_init((struct wire_header *)frame, WIRE_STREAM,
			  (uint32_t)(sizeof(*head) + stored));
	memcpy(frame + sizeof(struct wire_header), head, sizeof(*head));
	slot->took_ns = os_monotonic_ns() - began;
	*ret_size = HEAD_BYTES + stored;
	return frame;
}

/* Under the lock, which is given up while it is sent. */
static void send_in_turn(struct stream_sender *sender, struct slot *slot, const uint8_t *frame,
			 size_t size)
{
	struct fault fault = {0};
	uint64_t began;
	int error;

	while (sender->next_sent != slot->turn && !sender->has_failed && !sender->is_closing)
		os_cond_wait(&sender->changed, &sender->lock);
	if (sender->has_failed || sender->is_closing)
		return;
	os_mutex_unlock(&sender->lock);
	began = os_monotonic_ns();
	error = sender->setup.send(sender->setup.context, frame, size, &fault);
	slot->took_ns += os_monotonic_ns() - began;
	os_mutex_lock(&sender->lock);
	if (error && !sender->has_failed) {
		sender->has_failed = true;
		os_cond_broadcast(&sender->changed);
		os_mutex_unlock(&sender->lock);
		sender->setup.failed(sender->setup.context, &fault);
		os_mutex_lock(&sender->lock);
		return;
	}
	if (slot->is_pressed && slot->effort == sender->effort.choice)
		effort_note(&sender->effort, slot->buffer.head.raw_bytes, slot->took_ns);
	sender->next_sent++;
	slot->state = SLOT_FREE;
	os_cond_broadcast(&sender->changed);
}

static void run(void *argument)
{
	struct stream_sender *sender = argument;
	struct compressor *compressor = compressor_new(sender->setup.codec);
	const struct fault no_memory = {
		.class = FAULT_RETRY, .error = ENOMEM, .text = "no memory to compress the stream"};

	os_mutex_lock(&sender->lock);
	if (!compressor) {
		sender->has_failed = true;
		os_mutex_unlock(&sender->lock);
		sender->setup.failed(sender->setup.context, &no_memory);
		os_mutex_lock(&sender->lock);
	}
	while (!sender->is_closing && !sender->has_failed) {
		struct slot *slot = take_slot(sender);
		const uint8_t *frame;
		size_t size;

		if (!slot) {
			os_cond_wait(&sender->changed, &sender->lock);
			continue;
		}
		os_mutex_unlock(&sender->lock);
		frame = pack(slot, compressor, &size);
		os_mutex_lock(&sender->lock);
		send_in_turn(sender, slot, frame, size);
	}
	os_mutex_unlock(&sender->lock);
	compressor_free(compressor);
}

int stream_sender_new(const struct stream_sender_setup *setup, struct stream_sender **ret_sender)
{
	struct stream_sender *sender;
	int error = 0;

	if (setup->buffers > BUFFERS_MAX || setup->threads < 1 || setup->threads > THREADS_MAX ||
	    setup->raw_max > WIRE_STREAM_RAW_MAX)
		return -EINVAL;
	sender = calloc(1, sizeof(*sender));
	if (!sender)
		return -ENOMEM;
	sender->setup = *setup;
	effort_init(&sender->effort);
	os_mutex_init(&sender->lock);
	os_cond_init(&sender->changed);
	for (unsigned int i = 0; i < setup->buffers; i++) {
		struct slot *slot = &sender->slots[i];

		slot->frame = malloc(HEAD_BYTES + setup->raw_max);
		slot->packed = malloc(HEAD_BYTES + setup->raw_max);
		slot->state = SLOT_FREE;
		if (!slot->frame || !slot->packed)
			error = -ENOMEM;
		else
			slot->buffer.raw = slot->frame + HEAD_BYTES;
	}
	for (unsigned int i = 0; !error && i < setup->threads; i++) {
		error = os_thread_start(&sender->threads[i], "stream", run, sender);
	}
	if (error) {
		stream_sender_free(sender);
		return error;
	}
	*ret_sender = sender;
	return 0;
}

void stream_sender_free(struct stream_sender *sender)
{
	if (!sender)
		return;
	os_mutex_lock(&sender->lock);
	sender->is_closing = true;
	os_cond_broadcast(&sender->changed);
	os_mutex_unlock(&sender->lock);
	for (unsigned int i = 0; i < sender->setup.threads; i++)
		os_thread_join(&sender->threads[i]);
	for (unsigned int i = 0; i < sender->setup.buffers; i++) {
		free(sender->slots[i].frame);
		free(sender->slots[i].packed);
	}
	os_cond_fini(&sender->changed);
	os_mutex_fini(&sender->lock);
	free(sender);
}

struct stream_buffer *stream_sender_get(struct stream_sender *sender, uint64_t deadline_ns)
{
	struct stream_buffer *buffer = NULL;

	os_mutex_lock(&sender->lock);
	while (!buffer && !sender->has_failed) {
		for (unsigned int i = 0; !buffer && i < sender->setup.buffers; i++) {
			if (sender->slots[i].state != SLOT_FREE)
				continue;
			sender->slots[i].state = SLOT_FILLING;
			buffer = &sender->slots[i].buffer;
		}
		if (!buffer &&
		    os_cond_wait_until(&sender->changed, &sender->lock, deadline_ns) != 0)
			break;
	}
	os_mutex_unlock(&sender->lock);
	return buffer;
}

void stream_sender_put(struct stream_sender *sender, struct stream_buffer *buffer)
{
	struct slot *slot = (struct slot *)buffer; /* its first member */

	os_mutex_lock(&sender->lock);
	slot->turn = sender->turns++;
	slot->state = SLOT_READY;
	os_cond_broadcast(&sender->changed);
	os_mutex_unlock(&sender->lock);
}
