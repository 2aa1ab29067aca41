/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The receiver's own certificate authority, and what its certificates say.
 *
 * CA: self-signed, EC P-256, CN "blkferry CA <host>". Receiver: extendedKeyUsage serverAuth,
 * subjectAltName URI "urn:blkferry:receiver". Machine: clientAuth, URI "urn:blkferry:machine:NAME".
 * Keys are EC P-256, PEM (PKCS #8), mode 0600.
 */
#ifndef BLKFERRY_COMMON_PKI_H
#define BLKFERRY_COMMON_PKI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/fault.h"

#define PKI_FINGERPRINT_BYTES 32    /* SHA-256 of the certificate's DER */
#define PKI_NAME_MAX	      64    /* a machine's name, NUL included */
#define PKI_REQUEST_MAX	      8192  /* a signing request in PEM */
#define PKI_DAYS_MAX	      36500 /* how long a certificate can last */
#define PKI_URI_RECEIVER      "urn:blkferry:receiver"
#define PKI_URI_MACHINE	      "urn:blkferry:machine:" /* and the name */

enum pki_role { PKI_ROLE_RECEIVER = 1, PKI_ROLE_MACHINE };

struct pki_identity {
	enum pki_role role;
	char name[PKI_NAME_MAX]; /* of the machine; "" for the receiver */
	uint8_t fingerprint[PKI_FINGERPRINT_BYTES];
};

/* A machine's name: 1 to 63 of a-z A-Z 0-9 . _ - and not starting with . or -  */
bool pki_name_is_valid(const char *name);
/* The message for a name that is not valid; a format for the name. */
#define PKI_NAME_RULE                                                                              \
	"'%s' cannot be a machine's name: 1 to 63 of a-z A-Z 0-9 . _ - and not starting with . "   \
	"or -"

/* Makes folder/ca.pem, ca.key, receiver.pem, receiver.key. Refuses (-EEXIST) when ca.pem is there.
 * days is how long both certificates last. */
int pki_init(const char *folder, const char *host, unsigned int days, struct fault *fault);
int pki_certificate_fingerprint(const char *pem_path, uint8_t ret[PKI_FINGERPRINT_BYTES],
				struct fault *fault);

/* Agent: a new key and a signing request for it, both PEM text that the caller frees. */
int pki_request_new(char **ret_key_pem, char **ret_request_pem, struct fault *fault);
/* Agent: is this what was asked for? The CA signed the certificate, for this key, for machine `name`. */
int pki_certificate_check(const char *ca_pem, const char *certificate_pem, const char *key_pem,
			  const char *name, struct fault *fault);
/* Receiver: checks the request's own signature and signs it for machine `name`. The subject that the
 * request asks for is ignored. */
int pki_request_sign(const char *folder, const char *request_pem, size_t size, const char *name,
		     unsigned int days, char **ret_certificate_pem,
		     uint8_t ret_fingerprint[PKI_FINGERPRINT_BYTES], struct fault *fault);

#endif
