/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files tls_*.c share; see tls.h for what others use. */
#ifndef BLKFERRY_COMMON_TLS_INTERNAL_H
#define BLKFERRY_COMMON_TLS_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/ssl.h>

#include "common/os_thread.h"
#include "common/tls.h"

#define TLS_RECORD_BYTES 16384
/* What a record adds: header 5, content type 1, tag 16. */
#define TLS_RECORD_EXTRA 22
/* A change of keys is a message of its own between two records. */
#define TLS_KEY_UPDATE_BYTES 64
/* Records go to the socket several at a time: an eighth of the system calls. */
#define TLS_OUT_RECORDS 8
#define TLS_OUT_BYTES                                                                              \
	(TLS_OUT_RECORDS * (TLS_RECORD_BYTES + TLS_RECORD_EXTRA) + TLS_KEY_UPDATE_BYTES)
/* OpenSSL reads so much at once instead of a header, a record, a header ... */
#define TLS_READ_AHEAD_BYTES (128 * 1024)
/* RFC 8446, 5.5: AES-GCM keys are good for 2^24.5 full records. New ones long before that. */
#define TLS_KEY_BYTES_MAX (64ull << 30)

enum tls_side { TLS_SIDE_AGENT = 1, TLS_SIDE_RECEIVER };

struct tls_context {
	SSL_CTX *ssl;
	enum tls_side side;
	bool has_ca; /* false: enrolling, trust is settled by tls_stream_check_ca */
};

/* First come, first served: a writer that never has to wait for the network would take a plain mutex
 * again and again before a reader wakes up. */
struct tls_turn {
	struct os_mutex lock;
	struct os_cond moved;
	uint64_t next, serving;
};

struct tls_stream {
	SSL *ssl;
	os_socket_t socket;
	enum tls_side side;
	atomic_bool is_cancelled;
	atomic_bool is_dead; /* failed or at its end: there is nothing more to say to the peer */

	/* Held around every use of ssl and out; never while waiting for the network. */
	struct tls_turn turn;
	uint64_t key_bytes; /* sent under the key in use */
	uint64_t key_bytes_max;
	size_t out_used, out_sent; /* out[out_sent .. out_used) is yet to be sent */
	uint8_t *out;

	char alpn[32];
	bool has_peer;
	struct pki_identity peer;
	/* Why the peer's certificate was refused, noted by tls_verify_callback; class 0: it was not. */
	struct fault refusal;
};

/* tls_bio.c: OpenSSL's end of the socket. Writes go to stream->out, reads come from the socket. */
BIO *tls_bio_new(struct tls_stream *stream);
/* Sends what is in stream->out. 0 when it is empty, -EAGAIN when the socket is full, else -ECONNRESET. */
int tls_out_flush(struct tls_stream *stream);

/* tls_fault.c: faults in plain words. */
/* Called by OpenSSL for each certificate of a peer's chain. */
int tls_verify_callback(int is_ok, X509_STORE_CTX *store);
/* Why `side` does not accept a peer's certificate: error is an X509_V_ERR_ code. */
int tls_certificate_fault(enum tls_side side, int error, const X509 *certificate,
			  struct fault *fault);
/* The fault for a handshake step that failed with OpenSSL's error `result` (SSL_get_error); uses up
 * OpenSSL's error queue. */
int tls_handshake_fault(struct tls_stream *stream, int result, struct fault *fault);

/* tls_stream.c */
void tls_turn_take(struct tls_turn *turn);
void tls_turn_give(struct tls_turn *turn);
/* Turns SSL_get_error's word into 0 (wait for *ret_wait and try again) or -errno. */
int tls_result_to_errno(struct tls_stream *stream, int result, unsigned int *ret_wait);

#endif
