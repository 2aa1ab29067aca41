// SPDX-License-Identifier: GPL-2.0-or-later
/* The receiver's certificate authority in files, and signing requests; see pki.h. */
#include "common/pki.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "common/os_file.h"
#include "common/pki_make.h"

#define SECONDS_PER_DAY	 86400
#define CERTIFICATE_MODE 0644
#define KEY_MODE	 0600
#define FOLDER_MODE	 0700
#define CURVE		 "prime256v1"

bool pki_name_is_valid(const char *name)
{
	size_t length = strlen(name);

	if (length == 0 || length >= PKI_NAME_MAX || name[0] == '.' || name[0] == '-')
		return false;
	for (; *name; name++)
		if (!((*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
		      (*name >= '0' && *name <= '9') || *name == '.' || *name == '_' ||
		      *name == '-'))
			return false;
	return true;
}

static int out_of_luck(struct fault *fault, const char *what)
{
	return fault_set(fault, FAULT_STOP, EIO, "cannot make %s: %s", what, pki_openssl_error());
}

static int make_validity(unsigned int days, struct pki_validity *ret_validity, struct fault *fault)
{
	if (days == 0 || days > PKI_DAYS_MAX)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "certificates can last 1 to %d days, not %u", PKI_DAYS_MAX, days);
	ret_validity->from_s = -PKI_BACKDATE_S;
	ret_validity->until_s = (int64_t)days * SECONDS_PER_DAY;
	return 0;
}

static int format_path(char path[PATH_MAX], const char *folder, const char *name,
		       struct fault *fault)
{
	if (snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
		return fault_set(fault, FAULT_STOP, ENAMETOOLONG, "the path %s is too long",
				 folder);
	return 0;
}

/* Writes text and wipes and frees it, whatever happens. NULL: it could not be made. */
static int write_pem(const char *folder, const char *name, char *text, unsigned int mode,
		     struct fault *fault)
{
	char path[PATH_MAX];
	int error;

	if (!text)
		return out_of_luck(fault, name);
	error = format_path(path, folder, name, fault);
	if (!error) {
		error = os_file_write_atomic(path, text, strlen(text), mode);
		if (error)
			fault_set(fault, FAULT_STOP, -error, "cannot write %s: %s", path,
				  strerror(-error));
	}
	OPENSSL_cleanse(text, strlen(text));
	free(text);
	return error;
}

/* ca.pem comes last: it says that all is there. An init that was cut short is simply done again. */
static int write_all(const char *folder, EVP_PKEY *ca_key, X509 *ca, EVP_PKEY *key, X509 *leaf,
		     struct fault *fault)
{
	int error = write_pem(folder, "ca.key", pki_key_to_pem(ca_key), KEY_MODE, fault);

	if (!error)
		error = write_pem(folder, "receiver.key", pki_key_to_pem(key), KEY_MODE, fault);
	if (!error)
		error = write_pem(folder, "receiver.pem", pki_certificate_to_pem(leaf),
				  CERTIFICATE_MODE, fault);
	if (!error)
		error = write_pem(folder, "ca.pem", pki_certificate_to_pem(ca), CERTIFICATE_MODE,
				  fault);
	return error;
}

int pki_init(const char *folder, const char *host, unsigned int days, struct fault *fault)
{
	struct pki_validity validity;
	EVP_PKEY *ca_key, *key;
	X509 *ca = NULL, *leaf = NULL;
	char path[PATH_MAX], *old;
	size_t size;
	int error = make_validity(days, &validity, fault);

	if (!error)
		error = format_path(path, folder, "ca.pem", fault);
	if (error)
		return error;
	error = os_folder_make(folder, FOLDER_MODE);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "cannot make the folder %s: %s", folder,
				 strerror(-error));
	error = os_file_read(path, PKI_FILE_MAX, &old, &size);
	if (error != -ENOENT) {
		if (!error)
			free(old);
		return fault_set(fault, FAULT_STOP, EEXIST,
				 "%s is there already: this receiver has its keys; a new CA would "
				 "lock out every machine that is enrolled",
				 path);
	}
	ca_key = pki_key_new();
	key = pki_key_new();
	if (ca_key && key)
		ca = pki_make_ca(host, ca_key, validity);
	if (ca)
		leaf = pki_make_leaf(PKI_ROLE_RECEIVER, "", key, ca, ca_key, validity);
	error = leaf ? write_all(folder, ca_key, ca, key, leaf, fault)
		     : out_of_luck(fault, "the receiver's certificates");
	X509_free(leaf);
	X509_free(ca);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ca_key);
	return error;
}

int pki_certificate_fingerprint(const char *pem_path, uint8_t ret[PKI_FINGERPRINT_BYTES],
				struct fault *fault)
{
	X509 *certificate;
	int error = pki_certificate_load(pem_path, &certificate, fault);

	if (error)
		return error;
	error = pki_fingerprint_of(certificate, ret);
	X509_free(certificate);
	return error ? fault_set(fault, FAULT_STOP, -error, "cannot digest %s", pem_path) : 0;
}

int pki_request_new(char **ret_key_pem, char **ret_request_pem, struct fault *fault)
{
	X509_REQ *request = X509_REQ_new();
	EVP_PKEY *key = pki_key_new();
	char *key_pem = NULL, *request_pem = NULL;

	if (request && key && X509_REQ_set_version(request, X509_REQ_VERSION_1) &&
	    X509_REQ_set_pubkey(request, key) && X509_REQ_sign(request, key, EVP_sha256())) {
		key_pem = pki_key_to_pem(key);
		request_pem = pki_request_to_pem(request);
	}
	X509_REQ_free(request);
	EVP_PKEY_free(key);
	if (!key_pem || !request_pem) {
		free(key_pem);
		free(request_pem);
		return out_of_luck(fault, "a key and a signing request");
	}
	*ret_key_pem = key_pem;
	*ret_request_pem = request_pem;
	return 0;
}

/* The request's key, once the request has proved that its maker holds it; NULL with a fault. Only the
 * curve that we make: a 64 KiB RSA key would be a nice way to keep the receiver busy. */
static EVP_PKEY *check_request(X509_REQ *request, struct fault *fault)
{
	EVP_PKEY *key = request ? X509_REQ_get0_pubkey(request) : NULL;
	char curve[32] = "";

	if (!key) {
		fault_set(fault, FAULT_STOP, EINVAL, "the signing request cannot be read (%s)",
			  pki_openssl_error());
		return NULL;
	}
	if (!EVP_PKEY_is_a(key, "EC") ||
	    !EVP_PKEY_get_group_name(key, curve, sizeof(curve), NULL) ||
	    strcmp(curve, CURVE) != 0) {
		fault_set(fault, FAULT_STOP, EINVAL, "the signing request's key is not EC P-256");
		return NULL;
	}
	if (X509_REQ_verify(request, key) != 1) {
		fault_set(fault, FAULT_STOP, EINVAL,
			  "the signing request's own signature is wrong");
		return NULL;
	}
	return key;
}

/* Loads what is needed to sign: the folder's CA and its key. */
static int load_ca(const char *folder, X509 **ret_ca, EVP_PKEY **ret_ca_key, struct fault *fault)
{
	char path[PATH_MAX];
	X509 *ca;
	int error = format_path(path, folder, "ca.pem", fault);

	if (!error)
		error = pki_certificate_load(path, &ca, fault);
	if (error)
		return error;
	error = format_path(path, folder, "ca.key", fault);
	if (!error)
		error = pki_key_load(path, ret_ca_key, fault);
	if (error)
		X509_free(ca);
	else
		*ret_ca = ca;
	return error;
}

int pki_request_sign(const char *folder, const char *request_pem, size_t size, const char *name,
		     unsigned int days, char **ret_certificate_pem,
		     uint8_t ret_fingerprint[PKI_FINGERPRINT_BYTES], struct fault *fault)
{
	struct pki_validity validity;
	X509 *ca = NULL, *leaf = NULL;
	EVP_PKEY *ca_key = NULL, *key;
	X509_REQ *request;
	char *pem = NULL;
	int error = make_validity(days, &validity, fault);

	if (error)
		return error;
	if (!pki_name_is_valid(name))
		return fault_set(fault, FAULT_STOP, EINVAL, PKI_NAME_RULE, name);
	if (size > PKI_REQUEST_MAX)
		return fault_set(fault, FAULT_STOP, EMSGSIZE,
				 "the signing request is larger than %d bytes", PKI_REQUEST_MAX);
	request = pki_request_from_pem(request_pem, size);
	key = check_request(request, fault);
	error = key ? load_ca(folder, &ca, &ca_key, fault) : -EINVAL;
	if (!error) {
		leaf = pki_make_leaf(PKI_ROLE_MACHINE, name, key, ca, ca_key, validity);
		if (leaf)
			pem = pki_certificate_to_pem(leaf);
		if (!pem || pki_fingerprint_of(leaf, ret_fingerprint) != 0)
			error = out_of_luck(fault, "the machine's certificate");
	}
	if (error)
		free(pem);
	else
		*ret_certificate_pem = pem;
	X509_free(leaf);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	X509_REQ_free(request);
	return error;
}

int pki_certificate_check(const char *ca_pem, const char *certificate_pem, const char *key_pem,
			  const char *name, struct fault *fault)
{
	X509 *ca = pki_certificate_from_pem(ca_pem, strlen(ca_pem));
	X509 *certificate = pki_certificate_from_pem(certificate_pem, strlen(certificate_pem));
	EVP_PKEY *key = pki_key_from_pem(key_pem, strlen(key_pem));
	struct pki_identity identity;
	const char *what = NULL;

	if (!ca || !certificate || !key)
		what = "it cannot be read";
	else if (X509_verify(certificate, X509_get0_pubkey(ca)) != 1)
		what = "its CA did not sign it";
	else if (X509_check_private_key(certificate, key) != 1)
		what = "it is for another key";
	else if (pki_identity_of(certificate, &identity) != 0 ||
		 identity.role != PKI_ROLE_MACHINE || strcmp(identity.name, name) != 0)
		what = "it is for another machine";
	(void)pki_openssl_error(); /* clears the queue */
	X509_free(ca);
	X509_free(certificate);
	EVP_PKEY_free(key);
	if (what)
		return fault_set(fault, FAULT_STOP, EPROTO,
				 "the receiver sent a certificate that is no use: %s", what);
	return 0;
}
