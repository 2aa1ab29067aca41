// SPDX-License-Identifier: GPL-2.0-or-later
/* Makes certificates; see pki_make.h. */
#include "common/pki_make.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#define SERIAL_BITS	127 /* RFC 5280 allows 20 bytes, positive */
#define CURVE		"P-256"
#define COMMON_NAME_MAX 64 /* ub-common-name of RFC 5280 */
#define SECONDS_PER_DAY 86400

EVP_PKEY *pki_key_new(void)
{
	return EVP_EC_gen(CURVE);
}

static bool set_serial(X509 *certificate)
{
	BIGNUM *number = BN_new();
	bool is_ok = number && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
		     BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));

	BN_free(number);
	return is_ok;
}

/* Split in days and seconds: the seconds of X509_time_adj_ex are a long, 32 bits on Windows. */
static bool set_time(ASN1_TIME *field, int64_t seconds)
{
	return X509_time_adj_ex(field, (int)(seconds / SECONDS_PER_DAY),
				(long)(seconds % SECONDS_PER_DAY), NULL) != NULL;
}

static bool set_name(X509_NAME *name, const char *text)
{
	return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)text,
					  -1, -1, 0);
}

static bool add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *extension;
	X509V3_CTX context;
	bool is_ok;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	is_ok = extension && X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
	return is_ok;
}

/* All but the extensions that differ by kind, and the signature. */
static X509 *make_common(const char *common_name, EVP_PKEY *key, struct pki_validity validity)
{
	X509 *certificate = X509_new();

	if (!certificate || !X509_set_version(certificate, X509_VERSION_3) ||
	    !set_serial(certificate) ||
	    !set_time(X509_getm_notBefore(certificate), validity.from_s) ||
	    !set_time(X509_getm_notAfter(certificate), validity.until_s) ||
	    !set_name(X509_get_subject_name(certificate), common_name) ||
	    !X509_set_pubkey(certificate, key)) {
		X509_free(certificate);
		return NULL;
	}
	return certificate;
}

X509 *pki_make_ca(const char *host, EVP_PKEY *key, struct pki_validity validity)
{
	char name[COMMON_NAME_MAX + 1];
	X509 *ca;

	snprintf(name, sizeof(name), "blkferry CA %s", host);
	ca = make_common(name, key, validity);
	if (!ca || !X509_set_issuer_name(ca, X509_get_subject_name(ca)) ||
	    !add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
	    !add_extension(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign") ||
	    !add_extension(ca, ca, NID_subject_key_identifier, "hash") ||
	    !add_extension(ca, ca, NID_authority_key_identifier, "keyid:always") ||
	    !X509_sign(ca, key, EVP_sha256())) {
		X509_free(ca);
		return NULL;
	}
	return ca;
}

static const char *role_usage(enum pki_role role)
{
	switch (role) {
	case PKI_ROLE_RECEIVER:
		return "serverAuth";
	case PKI_ROLE_MACHINE:
		return "clientAuth"; /* and nothing else: a machine can never pose as the receiver */
	}
	return NULL;
}

static bool format_uri(enum pki_role role, const char *name, char *text, size_t size)
{
	switch (role) {
	case PKI_ROLE_RECEIVER:
		snprintf(text, size, "URI:" PKI_URI_RECEIVER);
		return true;
	case PKI_ROLE_MACHINE:
		snprintf(text, size, "URI:" PKI_URI_MACHINE "%s", name);
		/* The text is read by OpenSSL's configuration parser: nothing else may go in. */
		return pki_name_is_valid(name);
	}
	return false;
}

X509 *pki_make_leaf(enum pki_role role, const char *name, EVP_PKEY *subject_key, X509 *ca,
		    EVP_PKEY *ca_key, struct pki_validity validity)
{
	char uri[sizeof("URI:" PKI_URI_MACHINE) + PKI_NAME_MAX];
	X509 *leaf;

	if (!format_uri(role, name, uri, sizeof(uri)))
		return NULL;
	leaf = make_common(role == PKI_ROLE_MACHINE ? name : "blkferry receiver", subject_key,
			   validity);
	if (!leaf)
		return NULL;
	/* Messages would blame the CA for the end of a certificate that outlives it. */
	if (ASN1_TIME_compare(X509_get0_notAfter(leaf), X509_get0_notAfter(ca)) > 0 &&
	    !X509_set1_notAfter(leaf, X509_get0_notAfter(ca)))
		goto failed;
	if (!X509_set_issuer_name(leaf, X509_get_subject_name(ca)) ||
	    !add_extension(leaf, ca, NID_basic_constraints, "critical,CA:FALSE") ||
	    !add_extension(leaf, ca, NID_key_usage, "critical,digitalSignature") ||
	    !add_extension(leaf, ca, NID_ext_key_usage, role_usage(role)) ||
	    !add_extension(leaf, ca, NID_subject_alt_name, uri) ||
	    !add_extension(leaf, ca, NID_subject_key_identifier, "hash") ||
	    !add_extension(leaf, ca, NID_authority_key_identifier, "keyid:always") ||
	    !X509_sign(leaf, ca_key, EVP_sha256()))
		goto failed;
	return leaf;
failed:
	X509_free(leaf);
	return NULL;
}
