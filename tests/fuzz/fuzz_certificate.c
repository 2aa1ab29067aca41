// SPDX-License-Identifier: GPL-2.0-or-later
/* Any bytes as a certificate (DER) whose owner we name in a message: that happens before it is trusted. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/pki_make.h"
#include "common/tls_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const int errors[] = {X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID,
				     X509_V_ERR_INVALID_PURPOSE, X509_V_ERR_CERT_REJECTED};
	const unsigned char *at = bytes;
	X509 *certificate = d2i_X509(NULL, &at, (long)size);
	struct pki_identity identity;
	struct fault fault;

	if (certificate) {
		if (pki_identity_of(certificate, &identity) == 0 &&
		    identity.role == PKI_ROLE_MACHINE && !pki_name_is_valid(identity.name))
			abort();
		for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
			tls_certificate_fault(TLS_SIDE_RECEIVER, errors[i], certificate, &fault);
			tls_certificate_fault(TLS_SIDE_AGENT, errors[i], certificate, &fault);
		}
	}
	X509_free(certificate);
	(void)pki_openssl_error(); /* clears the queue */
	return 0;
}
