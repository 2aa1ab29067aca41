// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Requests on one NBD connection. A request is cut into pieces that the server takes; some pieces are
 * in flight at a time, the rest of a request waits in the queue, so a zero of the whole disk needs no
 * more memory than any other.
 *
 *   start --> pending (in order) --pump--> pieces in flight --piece_over--> target_request_end
 *
 * libnbd calls on_piece from inside nbd_poll or nbd_aio_*; no function of libnbd may be called there.
 */
#include "receiver/target_nbd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/os_clock.h"

#define PIECES_MAX	    16
#define IN_FLIGHT_BYTES_MAX (8u * 1024 * 1024)
#define SEND_BUFFER_BYTES   (2 * 1024 * 1024)

struct piece {
	struct target_nbd_channel *channel;
	struct target_request *request;
	uint64_t offset;
	uint32_t length;
	struct piece *next; /* unused */
};

struct target_nbd_channel {
	struct target_channel base;
	struct nbd_handle *nbd;
	struct target_request *pending_first, **pending_last; /* not wholly started */
	struct piece pieces[PIECES_MAX];
	struct piece *unused;
	uint64_t in_flight_bytes; /* of pieces with data */
	bool is_zeroing_refused;  /* the server offers it and fails it: data from now on */
	bool is_flush_over;
	int flush_error;
};

static struct target_nbd_channel *as_nbd(struct target_channel *channel)
{
	return (struct target_nbd_channel *)channel;
}

static const struct target_nbd *target_of(const struct target_nbd_channel *channel)
{
	return (const struct target_nbd *)channel->base.target;
}

/* What an error means to a person. NBD knows few errors, and tapdisk says EINVAL for all of them. */
static const char *error_hint(int error)
{
	switch (error) {
	case EINVAL:
		return " (tapdisk says this for every error, also for a full storage or a "
		       "read-only disk)";
	case ENOSPC:
		return " (make room on the target's storage)";
	case ESHUTDOWN:
		return " (the server is being stopped)";
	case ENOTCONN:
		return " (the connection was lost)";
	}
	return "";
}

static bool is_data_piece(const struct target_request *request)
{
	return request->kind != TARGET_ZERO || request->is_as_data;
}

static void append_pending(struct target_nbd_channel *channel, struct target_request *request)
{
	request->next = NULL;
	*channel->pending_last = request;
	channel->pending_last = &request->next;
}

static void pop_pending(struct target_nbd_channel *channel)
{
	channel->pending_first = channel->pending_first->next;
	if (!channel->pending_first)
		channel->pending_last = &channel->pending_first;
}

/* All pieces of a request that is no longer pending are over. */
static void finish_request(struct target_nbd_channel *channel, struct target_request *request)
{
	bool is_refused = request->error == EOPNOTSUPP || request->error == ENOTSUP;

	if (request->kind == TARGET_ZERO && !request->is_as_data && is_refused) {
		channel->is_zeroing_refused = true;
		request->is_as_data = true;
		request->error = 0;
		request->started_bytes = 0;
		append_pending(channel, request);
		return;
	}
	target_request_end(&channel->base, request, request->error);
}

static void piece_over(struct piece *piece, int error)
{
	struct target_nbd_channel *channel = piece->channel;
	struct target_request *request = piece->request;

	/* libnbd's own error, no server's: it was sent, or a part of it, and no answer will come. */
	if (error == ENOTCONN && request->kind != TARGET_READ)
		target_mark_unclean(channel->base.target);
	if (error && !request->error) {
		request->error = error;
		target_channel_say(&channel->base, "%s of %u bytes at %llu: %s%s",
				   target_request_name(request->kind), piece->length,
				   (unsigned long long)piece->offset, strerror(error),
				   error_hint(error));
	}
	if (is_data_piece(request))
		channel->in_flight_bytes -= piece->length;
	piece->next = channel->unused;
	channel->unused = piece;
	request->pieces--;
	if (request->pieces == 0 && request->started_bytes == request->length)
		finish_request(channel, request);
}

static int on_piece(void *user_data, int *error)
{
	piece_over(user_data, *error);
	return 1; /* retire the command */
}

static int64_t issue(struct target_nbd_channel *channel, const struct target_request *request,
		     struct piece *piece)
{
	nbd_completion_callback over = {.callback = on_piece, .user_data = piece};
	uint64_t at = piece->offset - request->offset;

	switch (request->kind) {
	case TARGET_WRITE:
		return nbd_aio_pwrite(channel->nbd, (const char *)request->data + at, piece->length,
				      piece->offset, over, 0);
	case TARGET_READ:
		return nbd_aio_pread(channel->nbd, (char *)request->room + at, piece->length,
				     piece->offset, over, 0);
	case TARGET_ZERO:
		if (request->is_as_data)
			return nbd_aio_pwrite(channel->nbd, target_zeroes, piece->length,
					      piece->offset, over, 0);
		/* Without NO_HOLE the server may punch a hole: it reads as zeroes all the same. */
		return nbd_aio_zero(channel->nbd, piece->length, piece->offset, over, 0);
	}
	return -1;
}

static uint32_t next_piece_bytes(const struct target_nbd_channel *channel,
				 const struct target_request *request)
{
	uint64_t left = request->length - request->started_bytes;
	uint32_t most = is_data_piece(request) ? target_of(channel)->piece_bytes
					       : target_of(channel)->zero_piece_bytes;

	return left < most ? (uint32_t)left : most;
}

/* Starts the next piece of the first pending request. The callback may run before this returns. */
static void start_piece(struct target_nbd_channel *channel)
{
	struct target_request *request = channel->pending_first;
	struct piece *piece = channel->unused;

	channel->unused = piece->next;
	piece->request = request;
	piece->offset = request->offset + request->started_bytes;
	piece->length = next_piece_bytes(channel, request);
	request->started_bytes += piece->length;
	request->pieces++;
	if (is_data_piece(request))
		channel->in_flight_bytes += piece->length;
	if (request->started_bytes == request->length)
		pop_pending(channel);
	if (issue(channel, request, piece) < 0)
		piece_over(piece, nbd_get_errno() > 0 ? nbd_get_errno() : EIO);
}

/* A request with a failed piece starts no more of them. */
static void give_up_first(struct target_nbd_channel *channel)
{
	struct target_request *request = channel->pending_first;

	pop_pending(channel);
	request->started_bytes = request->length;
	if (request->pieces == 0)
		finish_request(channel, request);
}

static void pump(struct target_nbd_channel *channel)
{
	while (channel->pending_first && channel->unused) {
		struct target_request *request = channel->pending_first;

		if (request->error) {
			give_up_first(channel);
			continue;
		}
		if (channel->is_zeroing_refused && request->started_bytes == 0)
			request->is_as_data = true;
		if (is_data_piece(request) && channel->in_flight_bytes > 0 &&
		    channel->in_flight_bytes + next_piece_bytes(channel, request) >
			    IN_FLIGHT_BYTES_MAX)
			return;
		start_piece(channel);
	}
}

/* libnbd has told every piece in flight; what was never started hears it here. */
static int lose_connection(struct target_nbd_channel *channel, int error)
{
	if (error == -ENOTCONN)
		target_channel_say(&channel->base, "the server closed the connection");
	else
		target_channel_say(&channel->base, "connection lost: %s", target_nbd_words());
	while (channel->pending_first) {
		if (!channel->pending_first->error)
			channel->pending_first->error = ENOTCONN;
		give_up_first(channel);
	}
	return error;
}

void target_nbd_start(struct target_channel *channel, struct target_request *request)
{
	append_pending(as_nbd(channel), request);
	pump(as_nbd(channel));
	/* Gets bytes moving that the socket had no room for. Errors are seen by the next progress. */
	(void)target_nbd_wait(as_nbd(channel)->nbd, 0);
}

static int move(struct target_nbd_channel *channel, uint64_t deadline_ns)
{
	int error = target_nbd_wait(channel->nbd, deadline_ns);

	if (error && error != -ETIMEDOUT)
		return lose_connection(channel, error);
	pump(channel);
	return error;
}

int target_nbd_progress(struct target_channel *channel, uint64_t deadline_ns)
{
	pump(as_nbd(channel));
	/* The pump itself may have ended some: then there is nothing to wait for. */
	return move(as_nbd(channel), channel->ended_first ? 0 : deadline_ns);
}

static int on_flush(void *user_data, int *error)
{
	struct target_nbd_channel *channel = user_data;

	channel->flush_error = *error;
	channel->is_flush_over = true;
	return 1;
}

int target_nbd_flush(struct target_channel *channel, uint64_t deadline_ns)
{
	struct target_nbd_channel *nbd_channel = as_nbd(channel);
	nbd_completion_callback over = {.callback = on_flush, .user_data = nbd_channel};

	nbd_channel->is_flush_over = false;
	nbd_channel->flush_error = 0;
	if (nbd_aio_flush(nbd_channel->nbd, over, 0) < 0) {
		target_channel_say(channel, "flush: %s", target_nbd_words());
		return nbd_get_errno() > 0 ? -nbd_get_errno() : -EIO;
	}
	while (!nbd_channel->is_flush_over) {
		int error = move(nbd_channel, deadline_ns);

		if (error == -ETIMEDOUT)
			target_channel_say(channel, "the server did not finish a flush in time");
		if (error) {
			/* Also after a timeout: its answer would be taken for the next flush's. */
			channel->broken = -error;
			return error;
		}
	}
	if (nbd_channel->flush_error)
		target_channel_say(channel, "flush: %s%s", strerror(nbd_channel->flush_error),
				   error_hint(nbd_channel->flush_error));
	return -nbd_channel->flush_error;
}

/* A request larger than the socket's buffer waits for the next poll, so a larger buffer keeps the server
 * busy while this thread decompresses. A wish only. */
static void widen_socket(struct nbd_handle *nbd)
{
	int fd = nbd_aio_get_fd(nbd);
	int bytes = SEND_BUFFER_BYTES;

	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

int target_nbd_channel_open(struct target *target, struct target_channel **ret_channel,
			    struct fault *fault)
{
	struct target_nbd *nbd_target = (struct target_nbd *)target;
	struct target_nbd_channel *channel = calloc(1, sizeof(*channel));
	int error = 0;

	if (!channel)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "%s: out of memory",
				 target->info.text);
	os_mutex_lock(&target->lock);
	channel->nbd = nbd_target->spare;
	nbd_target->spare = NULL;
	os_mutex_unlock(&target->lock);
	if (!channel->nbd)
		error = target_nbd_connect(nbd_target->uri, TARGET_NBD_DATA,
					   os_monotonic_ns() + TARGET_NBD_CONNECT_NS, &channel->nbd,
					   fault);
	if (error) {
		free(channel);
		return error;
	}
	widen_socket(channel->nbd);
	target_channel_init(&channel->base, target);
	channel->pending_last = &channel->pending_first;
	for (unsigned int i = 0; i < PIECES_MAX; i++) {
		channel->pieces[i].channel = channel;
		channel->pieces[i].next = channel->unused;
		channel->unused = &channel->pieces[i];
	}
	*ret_channel = &channel->base;
	return 0;
}

void target_nbd_channel_close(struct target_channel *channel)
{
	/* No NBD_CMD_DISC: tapdisk answers it with a new greeting, and nothing is lost by closing, since
	 * what counts was flushed before. libnbd calls no callbacks from here. */
	nbd_close(as_nbd(channel)->nbd);
}
