/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The store of tokens that were not used yet; for enroll.c. */
#ifndef BLKFERRY_RECEIVER_ENROLL_TOKENS_H
#define BLKFERRY_RECEIVER_ENROLL_TOKENS_H

#include <stdint.h>

#include "common/fault.h"
#include "common/pki.h"
#include "common/token.h"

/* Is there such a token, is the secret right, and is it still valid? ret_name gets the machine's
 * name. Does not use it up. Faults: STOP, in words for both sides. */
int enroll_token_check(const char *state_folder, const uint8_t id[TOKEN_ID_BYTES],
		       const uint8_t secret[TOKEN_SECRET_BYTES], char ret_name[PKI_NAME_MAX],
		       struct fault *fault);
/* Uses it up, durably. Of several callers at the same time one gets 0, the others -ENOENT. */
int enroll_token_consume(const char *state_folder, const uint8_t id[TOKEN_ID_BYTES],
			 struct fault *fault);

#endif
