// SPDX-License-Identifier: GPL-2.0-or-later
/* From a connected socket to a stream whose peer is known, and its end; see tls.h. */
#include "common/tls_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "common/os_clock.h"
#include "common/pki_make.h"

/* How long free waits for the peer to take our last words before the socket is closed. */
#define LINGER_NS (300 * NS_PER_MS)

static struct tls_stream *stream_new(struct tls_context *context, os_socket_t socket)
{
	struct tls_stream *stream = calloc(1, sizeof(*stream));
	BIO *bio;

	if (!stream) {
		os_socket_close(socket);
		return NULL;
	}
	os_mutex_init(&stream->turn.lock);
	os_cond_init(&stream->turn.moved);
	stream->socket = socket;
	stream->side = context->side;
	stream->key_bytes_max = TLS_KEY_BYTES_MAX;
	stream->is_dead = true; /* until there is somebody to talk to */
	stream->out = malloc(TLS_OUT_BYTES);
	stream->ssl = SSL_new(context->ssl);
	bio = tls_bio_new(stream);
	if (!stream->out || !stream->ssl || !bio) {
		BIO_free(bio);
		tls_stream_free(stream);
		return NULL;
	}
	SSL_set_bio(stream->ssl, bio, bio);
	SSL_set_app_data(stream->ssl, stream);
	return stream;
}

/* Last words may still be on their way: closing a socket that has unread bytes would throw them away
 * at the peer. So: say that we are done, and wait a moment for the peer to be done too. */
static void linger(struct tls_stream *stream)
{
	uint64_t deadline = os_monotonic_ns() + LINGER_NS;
	uint8_t ignored[4096];

	if (tls_out_flush(stream) != 0)
		return;
	os_socket_shutdown_send(stream->socket);
	while (os_monotonic_ns() < deadline &&
	       os_socket_wait(stream->socket, OS_WAIT_READ, deadline) > 0)
		if (os_socket_receive(stream->socket, ignored, sizeof(ignored)) <= 0)
			break;
}

void tls_stream_free(struct tls_stream *stream)
{
	if (!stream)
		return;
	if (!atomic_load(&stream->is_cancelled) && !atomic_load(&stream->is_dead)) {
		ERR_clear_error();
		(void)SSL_shutdown(stream->ssl); /* ignoring: it is a courtesy */
		ERR_clear_error();
		linger(stream);
	}
	SSL_free(stream->ssl);
	free(stream->out);
	os_socket_close(stream->socket);
	os_cond_fini(&stream->turn.moved);
	os_mutex_fini(&stream->turn.lock);
	free(stream);
}

/* A step of the handshake: returns 1 when it is done, else what SSL_get_error wants to see. */
typedef int step_fn(struct tls_stream *stream, void *argument);

static int step_handshake(struct tls_stream *stream, void *argument)
{
	(void)argument;
	return SSL_do_handshake(stream->ssl);
}

struct bytes {
	uint8_t *at;
	size_t left;
};

static int step_read(struct tls_stream *stream, void *argument)
{
	struct bytes *bytes = argument;

	while (bytes->left > 0) {
		size_t got;

		if (SSL_read_ex(stream->ssl, bytes->at, bytes->left, &got) != 1)
			return 0;
		bytes->at += got;
		bytes->left -= got;
	}
	return 1;
}

static int step_write(struct tls_stream *stream, void *argument)
{
	struct bytes *bytes = argument;
	size_t done;

	if (bytes->left > 0 && SSL_write_ex(stream->ssl, bytes->at, bytes->left, &done) != 1)
		return 0;
	bytes->left = 0; /* less than a record: all or nothing */
	return 1;
}

static int deadline_fault(enum tls_side side, struct fault *fault)
{
	return fault_set(fault, FAULT_RETRY, ETIMEDOUT,
			 side == TLS_SIDE_AGENT
				 ? "the peer did not answer the TLS handshake in time: is it a "
				   "blkferry-receiver, and is the port right?"
				 : "the peer did not finish the TLS handshake in time");
}

/* Repeats a step until it is done and what it had to say is sent. */
static int run_step(struct tls_stream *stream, step_fn *step, void *argument, uint64_t deadline_ns,
		    struct fault *fault)
{
	bool is_done = false;

	for (;;) {
		unsigned int wait = 0;
		int result = SSL_ERROR_NONE, error;

		ERR_clear_error();
		if (!is_done) {
			result = step(stream, argument);
			is_done = result == 1;
			result = SSL_get_error(stream->ssl, result);
		}
		error = tls_out_flush(stream); /* an alert too */
		if (is_done && !error)
			return 0;
		if (error == -EAGAIN)
			wait |= OS_WAIT_WRITE;
		if (result == SSL_ERROR_WANT_READ)
			wait |= OS_WAIT_READ;
		if ((result != SSL_ERROR_NONE && result != SSL_ERROR_WANT_READ &&
		     result != SSL_ERROR_WANT_WRITE) ||
		    (error && error != -EAGAIN && result != SSL_ERROR_WANT_READ))
			return tls_handshake_fault(stream, result, fault);
		if (wait == 0) /* the buffer was full, and is empty now */
			continue;
		error = os_socket_wait(stream->socket, wait, deadline_ns);
		if (error == -ETIMEDOUT)
			return deadline_fault(stream->side, fault);
		if (error < 0)
			return fault_set(fault, FAULT_RETRY, -error, "cannot wait for the peer: %s",
					 strerror(-error));
	}
}

static void note_alpn(struct tls_stream *stream)
{
	const unsigned char *name;
	unsigned int length;

	SSL_get0_alpn_selected(stream->ssl, &name, &length);
	if (length > 0 && length < sizeof(stream->alpn)) {
		memcpy(stream->alpn, name, length);
		stream->alpn[length] = '\0';
	}
}

/* Notes who the peer's certificate says it is, when OpenSSL verified it and it is of this role. */
static int note_peer(struct tls_stream *stream, enum pki_role role, struct fault *fault)
{
	X509 *certificate = SSL_get0_peer_certificate(stream->ssl);
	struct pki_identity peer;

	if (!certificate || SSL_get_verify_result(stream->ssl) != X509_V_OK)
		return fault_set(fault, FAULT_STOP, EACCES, "the peer showed no certificate");
	if (pki_identity_of(certificate, &peer) != 0 || peer.role != role)
		return tls_certificate_fault(stream->side, X509_V_ERR_INVALID_PURPOSE, certificate,
					     fault);
	stream->peer = peer;
	stream->has_peer = true;
	return 0;
}

/* The server's word after the handshake; see TLS_VERDICT_TEXT_MAX. */
static int read_verdict(struct tls_stream *stream, uint64_t deadline_ns, struct fault *fault)
{
	uint8_t length, text[TLS_VERDICT_TEXT_MAX + 1];
	struct bytes bytes = {&length, 1};
	int error = run_step(stream, step_read, &bytes, deadline_ns, fault);

	if (error || length == 0)
		return error;
	bytes = (struct bytes){text, length};
	error = run_step(stream, step_read, &bytes, deadline_ns, fault);
	if (error)
		return error;
	text[length] = '\0';
	for (uint8_t *c = text; *c; c++)
		if (*c < ' ' || *c == 0x7f) /* it goes to a terminal */
			*c = ' ';
	return fault_set(fault, FAULT_STOP, EACCES, "%s", (const char *)text);
}

static int send_verdict(struct tls_stream *stream, const char *text, uint64_t deadline_ns,
			struct fault *fault)
{
	uint8_t message[1 + TLS_VERDICT_TEXT_MAX];
	size_t length = strlen(text);
	struct bytes bytes = {message, 1 + length};

	message[0] = (uint8_t)length;
	memcpy(message + 1, text, length);
	return run_step(stream, step_write, &bytes, deadline_ns, fault);
}

static int finish_connect(struct tls_stream *stream, const struct tls_context *context,
			  const char *alpn, uint64_t deadline_ns, struct fault *fault)
{
	note_alpn(stream);
	if (strcmp(stream->alpn, alpn) != 0)
		return fault_set(
			fault, FAULT_STOP, EPROTONOSUPPORT,
			"the peer speaks TLS, but not blkferry's protocol: is the port right?");
	if (context->has_ca) {
		int error = note_peer(stream, PKI_ROLE_RECEIVER, fault);

		if (error)
			return error;
	}
	return read_verdict(stream, deadline_ns, fault);
}

int tls_stream_connect(struct tls_context *context, os_socket_t socket, const char *alpn,
		       uint64_t deadline_ns, struct tls_stream **ret_stream, struct fault *fault)
{
	struct tls_stream *stream = stream_new(context, socket);
	unsigned char name[sizeof(stream->alpn)];
	size_t length = strlen(alpn);
	int error;

	if (!stream)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	if (length >= sizeof(name)) {
		tls_stream_free(stream);
		return fault_set(fault, FAULT_STOP, EINVAL, "the ALPN name %s is too long", alpn);
	}
	name[0] = (unsigned char)length;
	memcpy(name + 1, alpn, length);
	SSL_set_alpn_protos(stream->ssl, name, (unsigned int)length + 1); /* 0 is success here */
	SSL_set_connect_state(stream->ssl);
	error = run_step(stream, step_handshake, NULL, deadline_ns, fault);
	if (!error)
		error = finish_connect(stream, context, alpn, deadline_ns, fault);
	stream->is_dead = error != 0;
	if (error)
		tls_stream_free(stream);
	else
		*ret_stream = stream;
	return error;
}

/* What the receiver thinks of a peer that speaks TLS. Sends its verdict. */
static int finish_accept(struct tls_stream *stream, uint64_t deadline_ns, struct fault *fault)
{
	const char *verdict = "";
	int error = 0;

	note_alpn(stream);
	if (stream->alpn[0] == '\0') {
		verdict = "this port speaks blkferry's protocol, and nothing else";
		error = fault_set(fault, FAULT_STOP, EPROTONOSUPPORT,
				  "the peer speaks TLS, but not blkferry's protocol: is it a "
				  "blkferry-agent?");
	} else if (SSL_get0_peer_certificate(stream->ssl)) {
		error = note_peer(stream, PKI_ROLE_MACHINE, fault);
		verdict = error ? "this certificate is not a machine's: enroll with a token" : "";
	} else if (strcmp(stream->alpn, TLS_ALPN_ENROLL) != 0) {
		verdict = "this machine showed no certificate: enroll it first ('blkferry-agent "
			  "enroll HOST TOKEN', with a token from 'blkferry token NAME' on the "
			  "receiver)";
		error = fault_set(
			fault, FAULT_STOP, EACCES,
			"the peer showed no certificate: it has to enroll first ('blkferry "
			"token NAME', then 'blkferry-agent enroll')");
	}
	if (error) {
		(void)send_verdict(stream, verdict, deadline_ns, NULL); /* best effort */
		return error;
	}
	return send_verdict(stream, verdict, deadline_ns, fault);
}

int tls_stream_accept(struct tls_context *context, os_socket_t socket, uint64_t deadline_ns,
		      struct tls_stream **ret_stream, struct fault *fault)
{
	struct tls_stream *stream = stream_new(context, socket);
	int error;

	if (!stream)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	SSL_set_accept_state(stream->ssl);
	error = run_step(stream, step_handshake, NULL, deadline_ns, fault);
	if (error) {
		linger(stream); /* for the alert that says why */
	} else {
		stream->is_dead = false;
		error = finish_accept(stream, deadline_ns, fault);
	}
	if (error)
		tls_stream_free(stream);
	else
		*ret_stream = stream;
	return error;
}

const char *tls_stream_alpn(const struct tls_stream *stream)
{
	return stream->alpn;
}

int tls_stream_peer(const struct tls_stream *stream, struct pki_identity *ret_identity)
{
	if (!stream->has_peer)
		return -ENOENT;
	*ret_identity = stream->peer;
	return 0;
}
