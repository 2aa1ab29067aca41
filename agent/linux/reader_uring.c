/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reader over io_uring: a slot for every read under way, found again by its index in the
 * completion's user_data. What a short read left is asked for again; every completion looks at res
 * before anything else.
 */
#include "agent/linux/reader_variant.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <liburing.h>

#include "common/os_clock.h"

struct slot {
	struct read_request *request;
	uint32_t done_bytes;
	unsigned int next_free; /* index of the next free slot, `depth` at the end */
};

struct reader_uring {
	struct reader base;
	struct io_uring ring;
	int *fds;
	unsigned int disks, depth;
	struct slot *slots;
	unsigned int first_free;
	unsigned int under_way; /* slots in use: queued, or with the kernel */
};

static struct reader_uring *uring_of(struct reader *reader)
{
	return (struct reader_uring *)reader;
}

/* Puts what is still missing of a slot's read into the submission queue. There is room: the queue
 * has an entry for every slot and a slot is in it once at most. */
static void queue_rest(struct reader_uring *uring, unsigned int index)
{
	struct slot *slot = &uring->slots[index];
	struct read_request *request = slot->request;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

	assert(sqe);
	io_uring_prep_read(sqe, uring->fds[request->disk],
			   (char *)request->buffer + slot->done_bytes,
			   request->length - slot->done_bytes, request->offset + slot->done_bytes);
	sqe->user_data = index;
}

static void uring_submit(struct reader *reader, struct read_request *request)
{
	struct reader_uring *uring = uring_of(reader);
	unsigned int index = uring->first_free;

	assert(index < uring->depth);
	assert(request->disk < uring->disks);
	assert(request->length > 0 && request->length <= READER_LENGTH_MAX);
	uring->first_free = uring->slots[index].next_free;
	uring->slots[index].request = request;
	uring->slots[index].done_bytes = 0;
	uring->under_way++;
	queue_rest(uring, index);
}

/* Looks at one completion. Returns the request when it has ended, NULL when a part was queued again. */
static struct read_request *complete(struct reader_uring *uring, unsigned int index, int res)
{
	struct slot *slot = &uring->slots[index];
	struct read_request *request = slot->request;

	if (res == -EINTR || res == -EAGAIN) {
		queue_rest(uring, index);
		return NULL;
	}
	if (res < 0) {
		request->error = -res;
	} else if (res == 0 || (uint32_t)res > request->length - slot->done_bytes) {
		request->error = EIO; /* the disk ends here; or the kernel talks nonsense */
	} else {
		slot->done_bytes += (uint32_t)res;
		if (slot->done_bytes < request->length) {
			queue_rest(uring, index);
			return NULL;
		}
		request->error = 0;
	}
	slot->request = NULL;
	slot->next_free = uring->first_free;
	uring->first_free = index;
	uring->under_way--;
	return request;
}

static struct read_request *uring_wait(struct reader *reader)
{
	struct reader_uring *uring = uring_of(reader);

	while (uring->under_way > 0) {
		struct read_request *request = NULL;
		struct io_uring_cqe *cqe = NULL;
		int result = 0;

		if (io_uring_sq_ready(&uring->ring) > 0 || io_uring_cq_ready(&uring->ring) == 0)
			result = io_uring_submit_and_wait(&uring->ring, 1);
		/* Busy or short of memory: what was not taken stays queued for the next round. */
		if (result == -EAGAIN || result == -EBUSY) {
			if (io_uring_peek_cqe(&uring->ring, &cqe) != 0)
				os_sleep_ns(NS_PER_MS);
		} else if (result < 0 && result != -EINTR) {
			/* Only a broken ring is left. Reads may be writing into their buffers, so there
			 * is no returning them; what dies here is taken up by the next start. */
			fprintf(stderr, "io_uring_enter: %s\n", strerror(-result));
			abort();
		}
		if (io_uring_peek_cqe(&uring->ring, &cqe) != 0)
			continue;
		request = complete(uring, (unsigned int)cqe->user_data, cqe->res);
		io_uring_cqe_seen(&uring->ring, cqe);
		if (request)
			return request;
	}
	return NULL;
}

static void uring_free(struct reader *reader)
{
	struct reader_uring *uring = uring_of(reader);

	/* The kernel writes into the callers' buffers until each read has ended. */
	while (uring_wait(reader))
		;
	io_uring_queue_exit(&uring->ring);
	free(uring->slots);
	free(uring->fds);
	free(uring);
}

static const struct reader_ops uring_ops = {
	.name = "io_uring",
	.submit = uring_submit,
	.wait = uring_wait,
	.free = uring_free,
};

/* Kernels before 5.6 have a ring, but no plain read. */
static int check_read_is_known(struct io_uring *ring)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	int is_known = probe && io_uring_opcode_supported(probe, IORING_OP_READ);

	if (probe)
		io_uring_free_probe(probe);
	return is_known ? 0 : -EOPNOTSUPP;
}

static int allocate_slots(struct reader_uring *uring, const int *fds)
{
	uring->fds = calloc(uring->disks, sizeof(*uring->fds));
	uring->slots = calloc(uring->depth, sizeof(*uring->slots));
	if (!uring->fds || !uring->slots)
		return -ENOMEM;
	memcpy(uring->fds, fds, uring->disks * sizeof(*fds));
	for (unsigned int i = 0; i < uring->depth; i++)
		uring->slots[i].next_free = i + 1;
	return 0;
}

int reader_uring_new(const int *fds, unsigned int disks, unsigned int depth,
		     struct reader **ret_reader)
{
	struct reader_uring *uring = calloc(1, sizeof(*uring));
	int result;

	if (!uring)
		return -ENOMEM;
	uring->base.ops = &uring_ops;
	uring->disks = disks;
	uring->depth = depth;
	result = allocate_slots(uring, fds);
	if (result < 0)
		goto free_slots;
	result = io_uring_queue_init(depth, &uring->ring, 0);
	if (result < 0)
		goto free_slots;
	result = check_read_is_known(&uring->ring);
	if (result < 0)
		goto exit_ring;
	/* The watchdog is forked from this process and must not keep the ring alive. */
	io_uring_ring_dontfork(&uring->ring);
	*ret_reader = &uring->base;
	return 0;

exit_ring:
	io_uring_queue_exit(&uring->ring);
free_slots:
	free(uring->slots);
	free(uring->fds);
	free(uring);
	return result;
}
