// SPDX-License-Identifier: GPL-2.0-or-later
/* Any bytes as an enrolment request and as a reply, with the PEM text that follows. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/enroll_check.h"
#include "common/pki_make.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void read_request(const uint8_t *bytes, size_t size)
{
	struct enroll_request request;
	struct fault fault;

	if (size < sizeof(request))
		return;
	memcpy(&request, bytes, sizeof(request));
	if (enroll_check_request(&request, &fault) != 0)
		return;
	if (request.request_bytes == 0 || request.request_bytes > ENROLL_REQUEST_MAX)
		abort();
	X509_REQ_free(pki_request_from_pem((const char *)bytes + sizeof(request),
					   size - sizeof(request)));
}

static void read_reply(const uint8_t *bytes, size_t size)
{
	struct enroll_reply reply;
	struct fault fault;

	if (size < sizeof(reply))
		return;
	memcpy(&reply, bytes, sizeof(reply));
	if (enroll_check_reply(&reply, &fault) != 0)
		return;
	if (reply.bytes == 0 || reply.bytes > ENROLL_CERTIFICATE_MAX)
		abort();
	if (reply.status == ENROLL_CERTIFIED && !pki_name_is_valid(reply.name))
		abort();
	X509_free(pki_certificate_from_pem((const char *)bytes + sizeof(reply),
					   size - sizeof(reply)));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	read_request(bytes, size);
	read_reply(bytes, size);
	(void)pki_openssl_error(); /* clears the queue */
	return 0;
}
