/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The enrolment dialogue between agent (A) and receiver (R): constants, limits and layouts. It has a
 * connection of its own, with ALPN "blkferry-enroll/1" (tls.h), on which A shows no certificate.
 *
 *   A  checks that R's CA has the fingerprint that the token names: before that it says nothing
 *   A  REQUEST   the token's id and secret, and a signing request for A's new key
 *   R  REPLY     the certificate, or why there is none; then both close
 *
 * R takes the token's name for the machine's; what the signing request says about itself is ignored.
 * A token is used up, durably, before its certificate is sent: when the reply is lost, so is the token.
 * After a wrong token R waits a second before it says so. All integers are little-endian.
 */
#ifndef BLKFERRY_COMMON_ENROLL_WIRE_H
#define BLKFERRY_COMMON_ENROLL_WIRE_H

#include <assert.h>
#include <stdint.h>

#include "common/pki.h"
#include "common/token.h"
#include "common/wire.h"

#define ENROLL_MAGIC	       0x52464b42u /* "BKFR" */
#define ENROLL_VERSION	       1
#define ENROLL_REQUEST_MAX     PKI_REQUEST_MAX /* the signing request, PEM */
#define ENROLL_CERTIFICATE_MAX 16384	       /* the certificate, PEM */
#define ENROLL_TEXT_MAX	       512	       /* why there is none; no NUL at its end */

/* REQUEST: this, then request_bytes of a PKCS #10 request in PEM form. */
struct enroll_request {
	le32 magic;
	le16 version;
	le16 reserved; /* 0 */
	uint8_t token_id[TOKEN_ID_BYTES];
	uint8_t secret[TOKEN_SECRET_BYTES];
	le32 request_bytes; /* 1 .. ENROLL_REQUEST_MAX */
	le32 unused;	    /* 0 */
} __attribute__((packed));

enum enroll_status { ENROLL_CERTIFIED = 1, ENROLL_REFUSED = 2 };

/* REPLY: this, then `bytes` of certificate (PEM) or of text. */
struct enroll_reply {
	le32 magic;
	le16 version;
	le16 status;		 /* enum enroll_status */
	le32 bytes;		 /* 1 .. ENROLL_CERTIFICATE_MAX or ENROLL_TEXT_MAX, by status */
	char name[PKI_NAME_MAX]; /* the machine's, NUL-padded; empty when refused */
} __attribute__((packed));

static_assert(sizeof(struct enroll_request) == 40, "enrolment request");
static_assert(sizeof(struct enroll_reply) == 76, "enrolment reply");

#endif
