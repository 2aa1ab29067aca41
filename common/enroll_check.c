// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of enrolment messages; see enroll_check.h. */
#include "common/enroll_check.h"

#include <errno.h>
#include <string.h>

static int check_head(uint32_t magic, uint16_t version, const char *who, struct fault *fault)
{
	if (magic != ENROLL_MAGIC)
		return fault_set(fault, FAULT_STOP, EPROTO,
				 "%s sent something that is no enrolment message", who);
	if (version != ENROLL_VERSION)
		return fault_set(fault, FAULT_STOP, EPROTONOSUPPORT,
				 "%s speaks version %u of the enrolment dialogue, this is version "
				 "%d: install the same release on both sides",
				 who, version, ENROLL_VERSION);
	return 0;
}

static int check_length(uint32_t length, uint32_t most, const char *what, struct fault *fault)
{
	if (length == 0 || length > most)
		return fault_set(fault, FAULT_STOP, EPROTO, "%s has %u bytes: 1 to %u is right",
				 what, length, most);
	return 0;
}

int enroll_check_request(const struct enroll_request *request, struct fault *fault)
{
	int error = check_head(request->magic, request->version, "the agent", fault);

	if (error)
		return error;
	if (request->reserved != 0 || request->unused != 0)
		return fault_set(fault, FAULT_STOP, EPROTO,
				 "the agent sent an enrolment message with unknown parts");
	return check_length(request->request_bytes, ENROLL_REQUEST_MAX,
			    "the agent's signing request", fault);
}

int enroll_check_reply(const struct enroll_reply *reply, struct fault *fault)
{
	int error = check_head(reply->magic, reply->version, "the receiver", fault);

	if (error)
		return error;
	switch (reply->status) {
	case ENROLL_CERTIFIED:
		if (!memchr(reply->name, '\0', sizeof(reply->name)) ||
		    !pki_name_is_valid(reply->name))
			return fault_set(
				fault, FAULT_STOP, EPROTO,
				"the receiver named this machine something that is no name");
		return check_length(reply->bytes, ENROLL_CERTIFICATE_MAX,
				    "the receiver's certificate for this machine", fault);
	case ENROLL_REFUSED:
		return check_length(reply->bytes, ENROLL_TEXT_MAX, "the receiver's answer", fault);
	default: /* a number from the network */
		return fault_set(fault, FAULT_STOP, EPROTO,
				 "the receiver answered something unknown");
	}
}
