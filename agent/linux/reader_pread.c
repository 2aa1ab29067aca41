/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reader over pread(2), where io_uring is forbidden (RHEL's default, many seccomp filters): a
 * few threads take queued reads and put ended ones back, so that the disk still sees several at once.
 */
#include "agent/linux/reader_variant.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/os_thread.h"

#define PREAD_THREADS_MAX 8 /* 256 KiB of locked stack each */

/* A ring of requests that holds `depth` at most. */
struct queue {
	struct read_request **requests;
	unsigned int first, count, depth;
};

struct reader_pread {
	struct reader base;
	int *fds;
	unsigned int disks, depth;

	struct os_mutex lock; /* for all below */
	struct os_cond has_queued, has_ended;
	struct queue queued, ended;
	unsigned int under_way; /* submitted and not yet returned by wait */
	bool is_stopping;

	unsigned int thread_count;
	struct os_thread threads[PREAD_THREADS_MAX];
};

static struct reader_pread *pread_of(struct reader *reader)
{
	return (struct reader_pread *)reader;
}

static void queue_put(struct queue *queue, struct read_request *request)
{
	assert(queue->count < queue->depth);
	queue->requests[(queue->first + queue->count++) % queue->depth] = request;
}

static struct read_request *queue_take(struct queue *queue)
{
	struct read_request *request = queue->requests[queue->first];

	assert(queue->count > 0);
	queue->first = (queue->first + 1) % queue->depth;
	queue->count--;
	return request;
}

/* Returns 0 or a positive errno. */
static int read_whole(int fd, char *buffer, uint32_t length, uint64_t offset)
{
	while (length > 0) {
		ssize_t got = pread(fd, buffer, length, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		if (got == 0)
			return EIO; /* the disk ends here */
		buffer += got;
		offset += (uint64_t)got;
		length -= (uint32_t)got;
	}
	return 0;
}

static void run_thread(void *argument)
{
	struct reader_pread *reader = argument;

	os_mutex_lock(&reader->lock);
	for (;;) {
		struct read_request *request;
		int error;

		while (reader->queued.count == 0 && !reader->is_stopping)
			os_cond_wait(&reader->has_queued, &reader->lock);
		if (reader->queued.count == 0)
			break;
		request = queue_take(&reader->queued);
		os_mutex_unlock(&reader->lock);
		error = read_whole(reader->fds[request->disk], request->buffer, request->length,
				   request->offset);
		os_mutex_lock(&reader->lock);
		request->error = error;
		queue_put(&reader->ended, request);
		os_cond_broadcast(&reader->has_ended);
	}
	os_mutex_unlock(&reader->lock);
}

static void pread_submit(struct reader *base, struct read_request *request)
{
	struct reader_pread *reader = pread_of(base);

	assert(request->disk < reader->disks);
	assert(request->length > 0 && request->length <= READER_LENGTH_MAX);
	os_mutex_lock(&reader->lock);
	assert(reader->under_way < reader->depth);
	reader->under_way++;
	queue_put(&reader->queued, request);
	os_cond_broadcast(&reader->has_queued);
	os_mutex_unlock(&reader->lock);
}

static struct read_request *pread_wait(struct reader *base)
{
	struct reader_pread *reader = pread_of(base);
	struct read_request *request = NULL;

	os_mutex_lock(&reader->lock);
	if (reader->under_way > 0) {
		while (reader->ended.count == 0)
			os_cond_wait(&reader->has_ended, &reader->lock);
		request = queue_take(&reader->ended);
		reader->under_way--;
	}
	os_mutex_unlock(&reader->lock);
	return request;
}

static void pread_free(struct reader *base)
{
	struct reader_pread *reader = pread_of(base);

	os_mutex_lock(&reader->lock);
	reader->is_stopping = true;
	os_cond_broadcast(&reader->has_queued);
	os_mutex_unlock(&reader->lock);
	for (unsigned int i = 0; i < reader->thread_count; i++)
		os_thread_join(&reader->threads[i]);
	os_cond_fini(&reader->has_queued);
	os_cond_fini(&reader->has_ended);
	os_mutex_fini(&reader->lock);
	free(reader->queued.requests);
	free(reader->ended.requests);
	free(reader->fds);
	free(reader);
}

static const struct reader_ops pread_ops = {
	.name = "pread",
	.submit = pread_submit,
	.wait = pread_wait,
	.free = pread_free,
};

static int start_threads(struct reader_pread *reader)
{
	unsigned int most = reader->depth < PREAD_THREADS_MAX ? reader->depth : PREAD_THREADS_MAX;

	for (; reader->thread_count < most; reader->thread_count++) {
		int result = os_thread_start(&reader->threads[reader->thread_count], "reader",
					     run_thread, reader);

		/* Fewer threads are slower, none is a failure. */
		if (result < 0)
			return reader->thread_count > 0 ? 0 : result;
	}
	return 0;
}

int reader_pread_new(const int *fds, unsigned int disks, unsigned int depth,
		     struct reader **ret_reader)
{
	struct reader_pread *reader = calloc(1, sizeof(*reader));
	int result = -ENOMEM;

	if (!reader)
		return -ENOMEM;
	reader->base.ops = &pread_ops;
	reader->disks = disks;
	reader->depth = depth;
	os_mutex_init(&reader->lock);
	os_cond_init(&reader->has_queued);
	os_cond_init(&reader->has_ended);
	reader->fds = calloc(disks, sizeof(*fds));
	reader->queued.requests = calloc(depth, sizeof(*reader->queued.requests));
	reader->ended.requests = calloc(depth, sizeof(*reader->ended.requests));
	if (reader->fds && reader->queued.requests && reader->ended.requests) {
		memcpy(reader->fds, fds, disks * sizeof(*fds));
		reader->queued.depth = reader->ended.depth = depth;
		result = start_threads(reader);
	}
	if (result < 0) {
		pread_free(&reader->base);
		return result;
	}
	*ret_reader = &reader->base;
	return 0;
}
