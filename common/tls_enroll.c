// SPDX-License-Identifier: GPL-2.0-or-later
/* Trust without a CA in hand: the token's fingerprint vouches for the receiver's CA; see tls.h. */
#include "common/tls_internal.h"

#include <errno.h>
#include <openssl/x509_vfy.h>

#include "common/pki_make.h"

/* The CA of this fingerprint among what the receiver sent; NULL when it is not there. */
static X509 *find_ca(SSL *ssl, const uint8_t fingerprint[PKI_FINGERPRINT_BYTES])
{
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);

	for (int i = 0; chain && i < sk_X509_num(chain); i++) {
		X509 *certificate = sk_X509_value(chain, i);
		uint8_t found[PKI_FINGERPRINT_BYTES];

		if (pki_fingerprint_of(certificate, found) == 0 &&
		    CRYPTO_memcmp(found, fingerprint, sizeof(found)) == 0)
			return certificate;
	}
	return NULL;
}

/* Did this CA, and no other, sign the receiver's certificate? As OpenSSL checks it in a handshake. */
static int verify_leaf(X509 *leaf, X509 *ca, struct fault *fault)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *check = X509_STORE_CTX_new();
	int error;

	if (!store || !check || !X509_STORE_add_cert(store, ca) ||
	    !X509_STORE_CTX_init(check, store, leaf, NULL) ||
	    !X509_STORE_CTX_set_default(check, "ssl_server"))
		error = fault_set(fault, FAULT_STOP, EIO, "cannot verify the receiver: %s",
				  pki_openssl_error());
	else if (X509_verify_cert(check) == 1)
		error = 0;
	else
		error = tls_certificate_fault(TLS_SIDE_AGENT, X509_STORE_CTX_get_error(check),
					      X509_STORE_CTX_get_current_cert(check), fault);
	X509_STORE_CTX_free(check);
	X509_STORE_free(store);
	return error;
}

int tls_stream_check_ca(struct tls_stream *stream, const uint8_t fingerprint[PKI_FINGERPRINT_BYTES],
			char **ret_ca_pem, struct fault *fault)
{
	X509 *leaf = SSL_get0_peer_certificate(stream->ssl);
	X509 *ca = find_ca(stream->ssl, fingerprint);
	struct pki_identity peer;
	char *pem;
	int error;

	if (!leaf || !ca)
		return fault_set(
			fault, FAULT_STOP, EKEYREJECTED,
			"the peer is not the receiver that made this token: its CA is another; "
			"is the host right, and does nobody sit in between?");
	error = verify_leaf(leaf, ca, fault);
	if (error)
		return error;
	if (pki_identity_of(leaf, &peer) != 0 || peer.role != PKI_ROLE_RECEIVER)
		return tls_certificate_fault(TLS_SIDE_AGENT, X509_V_ERR_INVALID_PURPOSE, leaf,
					     fault);
	pem = pki_certificate_to_pem(ca);
	if (!pem)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	stream->peer = peer;
	stream->has_peer = true;
	*ret_ca_pem = pem;
	return 0;
}
