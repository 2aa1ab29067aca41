// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * OpenSSL's end of the socket. Its own socket BIO makes a system call for every record, and raises
 * SIGPIPE. Here records gather in stream->out and are sent several at a time by tls_out_flush.
 */
#include "common/tls_internal.h"

#include <errno.h>
#include <string.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>

static int bio_write(BIO *bio, const char *data, size_t size, size_t *ret_written)
{
	struct tls_stream *stream = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (size > TLS_OUT_BYTES - stream->out_used) {
		BIO_set_retry_write(bio);
		return 0;
	}
	memcpy(stream->out + stream->out_used, data, size);
	stream->out_used += size;
	*ret_written = size;
	return 1;
}

static int bio_read(BIO *bio, char *data, size_t room, size_t *ret_read)
{
	struct tls_stream *stream = BIO_get_data(bio);
	long got = os_socket_receive(stream->socket, data, room);

	BIO_clear_retry_flags(bio);
	if (got == -EAGAIN)
		BIO_set_retry_read(bio);
	if (got == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	if (got <= 0)
		return 0;
	*ret_read = (size_t)got;
	return 1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
	(void)number;
	(void)pointer;
	switch (command) {
	case BIO_CTRL_FLUSH: /* what gathers is sent by tls_out_flush */
		return 1;
	case BIO_CTRL_EOF:
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	default: /* OpenSSL's list of commands is open */
		return 0;
	}
}

static BIO_METHOD *method;
static CRYPTO_ONCE method_once = CRYPTO_ONCE_STATIC_INIT;

static void make_method(void)
{
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "blkferry socket");
	if (method) {
		BIO_meth_set_write_ex(method, bio_write);
		BIO_meth_set_read_ex(method, bio_read);
		BIO_meth_set_ctrl(method, bio_control);
	}
}

BIO *tls_bio_new(struct tls_stream *stream)
{
	BIO *bio;

	if (!CRYPTO_THREAD_run_once(&method_once, make_method) || !method)
		return NULL;
	bio = BIO_new(method);
	if (bio) {
		BIO_set_data(bio, stream);
		BIO_set_init(bio, 1);
	}
	return bio;
}

int tls_out_flush(struct tls_stream *stream)
{
	while (stream->out_sent < stream->out_used) {
		long sent = os_socket_send(stream->socket, stream->out + stream->out_sent,
					   stream->out_used - stream->out_sent);

		if (sent == -EAGAIN)
			return -EAGAIN;
		if (sent < 0)
			return -ECONNRESET;
		stream->out_sent += (size_t)sent;
	}
	stream->out_used = 0;
	stream->out_sent = 0;
	return 0;
}
