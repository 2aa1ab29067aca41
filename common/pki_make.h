/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Certificates as OpenSSL objects: making, reading, PEM text. For pki.c, tls*.c and tests only; others
 * use pki.h.
 */
#ifndef BLKFERRY_COMMON_PKI_MAKE_H
#define BLKFERRY_COMMON_PKI_MAKE_H

#include <stdint.h>
#include <openssl/x509.h>

#include "common/fault.h"
#include "common/pki.h"

#define PKI_FILE_MAX 16384 /* largest certificate, key or request that is read */

/* Clocks differ: what is made now must also be valid where it is an hour earlier. */
#define PKI_BACKDATE_S 3600

/* When a certificate is valid, in seconds from now; from_s is usually negative. */
struct pki_validity {
	int64_t from_s, until_s;
};

/* What went wrong last inside OpenSSL, for messages. Clears OpenSSL's error queue. */
const char *pki_openssl_error(void);

/* NULL on failure. The caller frees. */
EVP_PKEY *pki_key_new(void);
/* Self-signed. */
X509 *pki_make_ca(const char *host, EVP_PKEY *key, struct pki_validity validity);
/* A certificate for somebody else's key, signed by the CA; it does not outlive the CA. */
X509 *pki_make_leaf(enum pki_role role, const char *name, EVP_PKEY *subject_key, X509 *ca,
		    EVP_PKEY *ca_key, struct pki_validity validity);

/* Who a certificate says it is. It does not verify the certificate. -EINVAL when it names no role, more
 * than one, or a name that is none. */
int pki_identity_of(const X509 *certificate, struct pki_identity *ret_identity);
int pki_fingerprint_of(const X509 *certificate, uint8_t ret[PKI_FINGERPRINT_BYTES]);

/* PEM text with a NUL at its end, that the caller frees; NULL on failure. */
char *pki_certificate_to_pem(X509 *certificate);
char *pki_key_to_pem(EVP_PKEY *key);
char *pki_request_to_pem(X509_REQ *request);
/* NULL when the text is not what it should be. Never asks for a pass phrase. */
X509 *pki_certificate_from_pem(const char *pem, size_t size);
EVP_PKEY *pki_key_from_pem(const char *pem, size_t size);
X509_REQ *pki_request_from_pem(const char *pem, size_t size);

/* Files; faults are STOP and name the path. */
int pki_certificate_load(const char *path, X509 **ret_certificate, struct fault *fault);
int pki_key_load(const char *path, EVP_PKEY **ret_key, struct fault *fault);

#endif
