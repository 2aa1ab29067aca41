/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Enrolment, agent side: a token in, this machine's certificate out; see common/enroll_wire.h. */
#ifndef BLKFERRY_AGENT_ENROLL_H
#define BLKFERRY_AGENT_ENROLL_H

#include <stdint.h>

#include "common/fault.h"
#include "common/pki.h"

enum enroll_existing { ENROLL_KEEP = 1, ENROLL_REPLACE };

/* Connects to host:port, checks the receiver against the token, has a new key certified and stores
 * ca.pem, machine.key (0600), machine.pem and receiver (its address) in state_folder; machine.pem comes
 * last and says that all is there. With ENROLL_KEEP an enrolment that is there is refused (-EEXIST),
 * before anything is sent. ret_name gets the machine's name. */
int enroll_run(const char *host, uint16_t port, const char *token_text, const char *state_folder,
	       enum enroll_existing existing, char ret_name[PKI_NAME_MAX], struct fault *fault);

#endif
