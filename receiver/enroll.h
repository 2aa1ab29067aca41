/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Enrolment, receiver side: tokens, and which certificate of a machine is the newest; see
 * common/enroll_wire.h.
 *
 *   state_folder/tokens/ID                   a token not yet used: SHA-256 of its secret, name, expiry
 *   state_folder/machines/NAME/certificate   fingerprint of the machine's newest certificate
 */
#ifndef BLKFERRY_RECEIVER_ENROLL_H
#define BLKFERRY_RECEIVER_ENROLL_H

#include <stdint.h>

#include "common/fault.h"
#include "common/pki.h"
#include "common/tls.h"
#include "common/token.h"

/* A new token with which one machine can enroll as name within valid_ns. Tokens that expired are
 * removed on the way. */
int enroll_token_new(const char *state_folder, const char *name, uint64_t valid_ns,
		     char ret_text[TOKEN_TEXT_MAX], struct fault *fault);

/* Serves one enrolment on an accepted stream; peer is its address for the log. Certificates last
 * `days`. ret_name is the machine's. The fault says why it was refused; the agent was told, too. */
int enroll_serve(struct tls_stream *stream, const char *peer, const char *state_folder,
		 unsigned int days, char ret_name[PKI_NAME_MAX], struct fault *fault);

/* Is this the newest certificate of machine name? 0, -ENOENT when the machine was removed or never
 * enrolled, -EKEYREVOKED when it was enrolled again since. */
int enroll_check_fingerprint(const char *state_folder, const char *name,
			     const uint8_t fingerprint[PKI_FINGERPRINT_BYTES]);

#endif
