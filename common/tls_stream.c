// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading and writing on an established TLS stream; see tls.h.
 *
 * OpenSSL wants one thread at a time on a connection: each use of it is a turn, and nobody waits for the
 * network while it is his turn. A turn ends after a few records, so that a reader and a writer
 * alternate.
 */
#include "common/tls_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>

#include "common/os_clock.h"

void tls_turn_take(struct tls_turn *turn)
{
	uint64_t mine;

	os_mutex_lock(&turn->lock);
	mine = turn->next++;
	while (turn->serving != mine)
		os_cond_wait(&turn->moved, &turn->lock);
	os_mutex_unlock(&turn->lock);
}

void tls_turn_give(struct tls_turn *turn)
{
	os_mutex_lock(&turn->lock);
	if (++turn->serving != turn->next)
		os_cond_broadcast(&turn->moved);
	os_mutex_unlock(&turn->lock);
}

/* The word for a failure; after it the stream is of no use. */
static int fail(struct tls_stream *stream, int error)
{
	atomic_store(&stream->is_dead, true);
	return atomic_load(&stream->is_cancelled) ? -ECANCELED : error;
}

int tls_result_to_errno(struct tls_stream *stream, int result, unsigned int *ret_wait)
{
	int reason;

	switch (result) {
	case SSL_ERROR_WANT_READ:
		*ret_wait = OS_WAIT_READ;
		return 0;
	case SSL_ERROR_WANT_WRITE:
		*ret_wait = OS_WAIT_WRITE;
		return 0;
	case SSL_ERROR_SSL:
		reason = ERR_GET_REASON(ERR_peek_error());
		ERR_clear_error();
		if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
			return fail(stream, -ECONNRESET);
		return fail(stream, -EPROTO);
	default: /* SSL_ERROR_ZERO_RETURN, SSL_ERROR_SYSCALL: closed or cut */
		return fail(stream, -ECONNRESET);
	}
}

/* One turn of reading: as many records as are there, up to a few. */
static int read_turn(struct tls_stream *stream, uint8_t **data, size_t *left,
		     unsigned int *ret_wait)
{
	for (int records = 0; *left > 0 && records < TLS_OUT_RECORDS; records++) {
		size_t got;

		ERR_clear_error();
		if (SSL_read_ex(stream->ssl, *data, *left, &got) != 1)
			return tls_result_to_errno(stream, SSL_get_error(stream->ssl, 0), ret_wait);
		*data += got;
		*left -= got;
	}
	return 0;
}

static int wait_for(struct tls_stream *stream, unsigned int wait, uint64_t deadline_ns)
{
	int error = wait ? os_socket_wait(stream->socket, wait, deadline_ns) : 0;

	if (atomic_load(&stream->is_cancelled))
		return -ECANCELED;
	return error < 0 ? error : 0;
}

int tls_stream_read(struct tls_stream *stream, void *data, size_t size, uint64_t deadline_ns)
{
	uint8_t *at = data;
	int error = 0;

	while (!error && size > 0) {
		unsigned int wait = 0;

		tls_turn_take(&stream->turn);
		error = read_turn(stream, &at, &size, &wait);
		tls_turn_give(&stream->turn);
		if (!error)
			error = wait_for(stream, wait, deadline_ns);
	}
	return error;
}

int tls_stream_wait_readable(struct tls_stream *stream, uint64_t deadline_ns)
{
	for (;;) {
		unsigned int wait = 0;
		size_t got;
		char byte;
		int error = 0;

		tls_turn_take(&stream->turn);
		ERR_clear_error();
		if (SSL_peek_ex(stream->ssl, &byte, 1, &got) != 1)
			error = tls_result_to_errno(stream, SSL_get_error(stream->ssl, 0), &wait);
		tls_turn_give(&stream->turn);
		if (error == -ECANCELED)
			return error;
		if (error || !wait) /* closed or broken: the read that follows says which */
			return 0;
		error = wait_for(stream, wait, deadline_ns);
		if (error)
			return error == -ETIMEDOUT || error == -ECANCELED ? error : 0;
	}
}

/* A new key for what is sent from here on. The peer follows by itself, and answers nothing. */
static void change_key_in_time(struct tls_stream *stream, size_t sent)
{
	stream->key_bytes += sent;
	if (stream->key_bytes < stream->key_bytes_max)
		return;
	if (SSL_key_update(stream->ssl, SSL_KEY_UPDATE_NOT_REQUESTED))
		stream->key_bytes = 0;
}

/* One turn of writing: fills the buffer with records and sends it. */
static int write_turn(struct tls_stream *stream, const uint8_t **data, size_t *left,
		      unsigned int *ret_wait)
{
	int error = tls_out_flush(stream);

	while (!error && *left > 0) {
		size_t room = TLS_OUT_BYTES - stream->out_used, done;
		size_t piece = *left < TLS_RECORD_BYTES ? *left : TLS_RECORD_BYTES;

		if (piece + TLS_RECORD_EXTRA + TLS_KEY_UPDATE_BYTES > room)
			break;
		ERR_clear_error();
		if (SSL_write_ex(stream->ssl, *data, piece, &done) != 1) {
			error = tls_result_to_errno(stream, SSL_get_error(stream->ssl, 0),
						    ret_wait);
			return error;
		}
		*data += done;
		*left -= done;
		change_key_in_time(stream, done);
	}
	if (!error)
		error = tls_out_flush(stream);
	if (error == -EAGAIN) {
		*ret_wait = OS_WAIT_WRITE;
		return 0;
	}
	return error ? fail(stream, error) : 0;
}

int tls_stream_write(struct tls_stream *stream, const void *data, size_t size, uint64_t deadline_ns)
{
	const uint8_t *at = data;
	unsigned int wait = 0;
	int error = 0;

	while (!error && (size > 0 || wait)) {
		wait = 0;
		tls_turn_take(&stream->turn);
		error = write_turn(stream, &at, &size, &wait);
		tls_turn_give(&stream->turn);
		if (!error)
			error = wait_for(stream, wait, deadline_ns);
	}
	/* Half a record may be on its way: nothing sensible can follow it. */
	if (error)
		atomic_store(&stream->is_dead, true);
	return error;
}

void tls_stream_cancel(struct tls_stream *stream)
{
	atomic_store(&stream->is_cancelled, true);
	os_socket_shutdown(stream->socket);
}
