// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads certificates, keys and requests; see pki_make.h. */
#include "common/pki_make.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/os_file.h"

const char *pki_openssl_error(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	return reason ? reason : "unknown OpenSSL error";
}

/* Fills in role and name from one URI; false when it is none of ours. */
static bool read_uri(const ASN1_IA5STRING *uri, struct pki_identity *identity)
{
	static const char machine[] = PKI_URI_MACHINE;
	const char *text = (const char *)ASN1_STRING_get0_data(uri);
	int length = ASN1_STRING_length(uri), prefix = (int)sizeof(machine) - 1;

	if (length == (int)strlen(PKI_URI_RECEIVER) &&
	    memcmp(text, PKI_URI_RECEIVER, length) == 0) {
		identity->role = PKI_ROLE_RECEIVER;
		identity->name[0] = '\0';
		return true;
	}
	if (length <= prefix || length - prefix >= PKI_NAME_MAX || memcmp(text, machine, prefix))
		return false;
	memcpy(identity->name, text + prefix, (size_t)(length - prefix));
	identity->name[length - prefix] = '\0';
	identity->role = PKI_ROLE_MACHINE;
	/* A NUL inside would make two names out of one. */
	return strlen(identity->name) == (size_t)(length - prefix) &&
	       pki_name_is_valid(identity->name);
}

int pki_identity_of(const X509 *certificate, struct pki_identity *ret_identity)
{
	struct pki_identity identity = {0};
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	const GENERAL_NAME *name;
	int error = -EINVAL;

	if (names && sk_GENERAL_NAME_num(names) == 1) {
		name = sk_GENERAL_NAME_value(names, 0);
		if (name->type == GEN_URI && read_uri(name->d.uniformResourceIdentifier, &identity))
			error = pki_fingerprint_of(certificate, identity.fingerprint);
	}
	GENERAL_NAMES_free(names);
	if (!error)
		*ret_identity = identity;
	return error;
}

int pki_fingerprint_of(const X509 *certificate, uint8_t ret[PKI_FINGERPRINT_BYTES])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int size = 0;

	if (!X509_digest(certificate, EVP_sha256(), digest, &size) || size != PKI_FINGERPRINT_BYTES)
		return -EINVAL;
	memcpy(ret, digest, PKI_FINGERPRINT_BYTES);
	return 0;
}

/* What was written to a memory BIO as a string; frees the BIO. */
static char *take_text(BIO *bio, bool is_ok)
{
	char *data, *text = NULL;
	long size = bio ? BIO_get_mem_data(bio, &data) : 0;

	if (is_ok && size > 0)
		text = malloc((size_t)size + 1);
	if (text) {
		memcpy(text, data, (size_t)size);
		text[size] = '\0';
	}
	BIO_free(bio);
	return text;
}

char *pki_certificate_to_pem(X509 *certificate)
{
	BIO *bio = BIO_new(BIO_s_mem());

	return take_text(bio, bio && PEM_write_bio_X509(bio, certificate));
}

char *pki_key_to_pem(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_secmem());

	return take_text(bio,
			 bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL));
}

char *pki_request_to_pem(X509_REQ *request)
{
	BIO *bio = BIO_new(BIO_s_mem());

	return take_text(bio, bio && PEM_write_bio_X509_REQ(bio, request));
}

static BIO *open_text(const char *pem, size_t size)
{
	return size <= PKI_FILE_MAX ? BIO_new_mem_buf(pem, (int)size) : NULL;
}

/* An encrypted key would make OpenSSL ask at the terminal: answer that there is no pass phrase. */
static int no_pass_phrase(char *buffer, int size, int for_writing, void *context)
{
	(void)buffer;
	(void)size;
	(void)for_writing;
	(void)context;
	return -1;
}

X509 *pki_certificate_from_pem(const char *pem, size_t size)
{
	BIO *bio = open_text(pem, size);
	X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, no_pass_phrase, NULL) : NULL;

	BIO_free(bio);
	return certificate;
}

EVP_PKEY *pki_key_from_pem(const char *pem, size_t size)
{
	BIO *bio = open_text(pem, size);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL) : NULL;

	BIO_free(bio);
	return key;
}

X509_REQ *pki_request_from_pem(const char *pem, size_t size)
{
	BIO *bio = open_text(pem, size);
	X509_REQ *request = bio ? PEM_read_bio_X509_REQ(bio, NULL, no_pass_phrase, NULL) : NULL;

	BIO_free(bio);
	return request;
}

static int load_text(const char *path, char **ret_text, size_t *ret_size, struct fault *fault)
{
	int error = os_file_read(path, PKI_FILE_MAX, ret_text, ret_size);

	if (error)
		return fault_set(fault, FAULT_STOP, -error, "cannot read %s: %s", path,
				 strerror(-error));
	return 0;
}

int pki_certificate_load(const char *path, X509 **ret_certificate, struct fault *fault)
{
	X509 *certificate;
	size_t size;
	char *text;
	int error = load_text(path, &text, &size, fault);

	if (error)
		return error;
	certificate = pki_certificate_from_pem(text, size);
	free(text);
	if (!certificate)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "%s holds no certificate in PEM form (%s)", path,
				 pki_openssl_error());
	*ret_certificate = certificate;
	return 0;
}

int pki_key_load(const char *path, EVP_PKEY **ret_key, struct fault *fault)
{
	EVP_PKEY *key;
	size_t size;
	char *text;
	int error = load_text(path, &text, &size, fault);

	if (error)
		return error;
	key = pki_key_from_pem(text, size);
	OPENSSL_cleanse(text, size);
	free(text);
	if (!key)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "%s holds no private key in PEM form without a pass phrase (%s)",
				 path, pki_openssl_error());
	*ret_key = key;
	return 0;
}
