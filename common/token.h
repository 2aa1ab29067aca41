/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One-time enrolment tokens: what the receiver's admin hands to the source's admin.
 *
 * Text form: "bf1-" + base64url without padding of { id[8], secret[16], ca_fingerprint[32], crc32le }.
 * The receiver keeps only SHA-256(secret) with the name and the expiry, under the id.
 */
#ifndef BLKFERRY_COMMON_TOKEN_H
#define BLKFERRY_COMMON_TOKEN_H

#include <stdint.h>

#include "common/fault.h"
#include "common/pki.h"

#define TOKEN_ID_BYTES	   8
#define TOKEN_SECRET_BYTES 16
#define TOKEN_TEXT_MAX	   96 /* NUL included */

struct token {
	uint8_t id[TOKEN_ID_BYTES];
	uint8_t secret[TOKEN_SECRET_BYTES];
	uint8_t ca_fingerprint[PKI_FINGERPRINT_BYTES];
};

void token_format(const struct token *token, char text[TOKEN_TEXT_MAX]);
/* Faults say whether it is no token at all, cut short, or mistyped (checksum). */
int token_parse(const char *text, struct token *ret_token, struct fault *fault);

#endif
