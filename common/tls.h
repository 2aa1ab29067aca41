/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS 1.3 streams between an agent and a receiver. Both sides are verified, always: no switch turns
 * it off. The only connection without a client certificate is the enrolment dialogue, which has an
 * ALPN name of its own and where a one-time token stands for the certificate.
 *
 * A peer is known by the role in its certificate's subjectAltName URI (pki.h), not by its host name:
 * the CA belongs to one receiver, so whoever it signed as "receiver" is the receiver.
 */
#ifndef BLKFERRY_COMMON_TLS_H
#define BLKFERRY_COMMON_TLS_H

#include <stddef.h>
#include <stdint.h>

#include "common/fault.h"
#include "common/os_socket.h"
#include "common/pki.h"

/* What a connection is for, as ALPN names. A peer that asks for neither is refused. */
#define TLS_ALPN_SESSION "blkferry/1"
#define TLS_ALPN_ENROLL	 "blkferry-enroll/1"

/*
 * After the handshake the server sends its verdict as the first application bytes: one byte that is 0
 * when the peer is welcome, else the length of a text that says why it is not; then it closes. In
 * TLS 1.3 a client is done before the server has looked at its certificate: without this the client
 * would learn of a refusal at some later read, and not why. tls_stream_connect consumes it.
 */
#define TLS_VERDICT_TEXT_MAX 255

struct tls_context; /* keys and trust of one side; shared by many streams, read-only */
struct tls_stream;  /* one connection; one thread may read while another writes */

/* certificate_path NULL: an agent that enrols. ca_path NULL: trust is settled by
 * tls_stream_check_ca (enrolment). Files are PEM. Fault class STOP. */
int tls_context_new_agent(const char *ca_path, const char *certificate_path, const char *key_path,
			  struct tls_context **ret_context, struct fault *fault);
int tls_context_new_receiver(const char *ca_path, const char *certificate_path,
			     const char *key_path, struct tls_context **ret_context,
			     struct fault *fault);
void tls_context_free(struct tls_context *context);

/* Does the handshake on a connected socket until deadline_ns, as client (agent) with ALPN name alpn,
 * or as server. Takes the socket over: it is closed on failure and by tls_stream_free.
 * Faults say in plain words what was wrong: not TLS at all, expired, wrong CA, no certificate, ...
 * (those are STOP); a cut or a timeout is RETRY. The client refuses a peer whose role is not
 * receiver; the server refuses an ALPN_SESSION peer without a machine certificate. */
int tls_stream_connect(struct tls_context *context, os_socket_t socket, const char *alpn,
		       uint64_t deadline_ns, struct tls_stream **ret_stream, struct fault *fault);
int tls_stream_accept(struct tls_context *context, os_socket_t socket, uint64_t deadline_ns,
		      struct tls_stream **ret_stream, struct fault *fault);
void tls_stream_free(struct tls_stream *stream);

/* The ALPN name that was agreed on. */
const char *tls_stream_alpn(const struct tls_stream *stream);
/* Who the peer's verified certificate says it is; ret_identity is untouched on failure.
 * -ENOENT when the peer showed no certificate (enrolment). */
int tls_stream_peer(const struct tls_stream *stream, struct pki_identity *ret_identity);
/* Enrolment, agent side: the chain that the receiver sent must hold a CA certificate whose
 * fingerprint is this, and that CA must have signed the receiver's certificate. ret_ca_pem gets the CA
 * (the caller frees it). */
int tls_stream_check_ca(struct tls_stream *stream, const uint8_t fingerprint[PKI_FINGERPRINT_BYTES],
			char **ret_ca_pem, struct fault *fault);

/* Reads exactly size bytes / writes all bytes. deadline_ns 0 means no deadline, else
 * os_monotonic_ns time. Returns 0, -ECONNRESET when the peer closed or was cut, -ETIMEDOUT, -ECANCELED
 * after tls_stream_cancel, -EPROTO on a TLS error. After any failure the stream is of no use. */
int tls_stream_read(struct tls_stream *stream, void *data, size_t size, uint64_t deadline_ns);
int tls_stream_write(struct tls_stream *stream, const void *data, size_t size,
		     uint64_t deadline_ns);
/* Waits until at least one byte can be read (or the peer closed). 0, -ETIMEDOUT, -ECANCELED. */
int tls_stream_wait_readable(struct tls_stream *stream, uint64_t deadline_ns);
/* From any thread: makes reads and writes under way and to come fail with -ECANCELED. */
void tls_stream_cancel(struct tls_stream *stream);

#endif
