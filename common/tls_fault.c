// SPDX-License-Identifier: GPL-2.0-or-later
/* What went wrong in a TLS handshake, in plain words, with what to do about it; see tls.h. */
#include "common/tls_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include "common/pki_make.h"

#define WHEN_MAX 40

static const char *format_time(const ASN1_TIME *time, char text[WHEN_MAX])
{
	struct tm when;

	if (!time || !ASN1_TIME_to_tm(time, &when) ||
	    !strftime(text, WHEN_MAX, "%Y-%m-%d %H:%M UTC", &when))
		snprintf(text, WHEN_MAX, "an unknown time");
	return text;
}

/* "the receiver's certificate", "the certificate of machine web1": as the certificate itself says. */
static const char *describe(const X509 *certificate, char text[PKI_NAME_MAX + 40])
{
	struct pki_identity identity = {.role = 0};

	if (!certificate || pki_identity_of(certificate, &identity) != 0)
		return "the CA's certificate";
	if (identity.role == PKI_ROLE_RECEIVER)
		return "the receiver's certificate";
	snprintf(text, PKI_NAME_MAX + 40, "the certificate of machine %s", identity.name);
	return text;
}

static const char *remedy(enum tls_side side)
{
	switch (side) {
	case TLS_SIDE_AGENT:
		return "the receiver needs new certificates ('blkferry-receiver init' in a new "
		       "state "
		       "folder), then enroll again with a new token";
	case TLS_SIDE_RECEIVER:
		return "enroll the machine again with a new token ('blkferry token NAME')";
	}
	return "";
}

static const char *wrong_ca(enum tls_side side)
{
	switch (side) {
	case TLS_SIDE_AGENT:
		return "this receiver was signed by another CA than the one this machine enrolled "
		       "with; enroll again with a new token";
	case TLS_SIDE_RECEIVER:
		return "the peer's certificate was not signed by this receiver's CA: it enrolled "
		       "with "
		       "another receiver; enroll it again with a new token ('blkferry token NAME')";
	}
	return "";
}

static const char *wrong_purpose(enum tls_side side)
{
	switch (side) {
	case TLS_SIDE_AGENT:
		return "the peer is no receiver: its certificate is that of a machine; is the host "
		       "right?";
	case TLS_SIDE_RECEIVER:
		return "the peer is no machine: its certificate may not be used by an agent";
	}
	return "";
}

int tls_certificate_fault(enum tls_side side, int error, const X509 *certificate,
			  struct fault *fault)
{
	char whose[PKI_NAME_MAX + 40], when[WHEN_MAX], now[WHEN_MAX];
	const char *what = describe(certificate, whose);
	ASN1_TIME *clock;
	int result;

	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return fault_set(fault, FAULT_STOP, EKEYEXPIRED, "%s expired on %s: %s", what,
				 format_time(X509_get0_notAfter(certificate), when), remedy(side));
	case X509_V_ERR_CERT_NOT_YET_VALID:
		clock = X509_gmtime_adj(NULL, 0);
		result = fault_set(
			fault, FAULT_STOP, EKEYREJECTED,
			"%s is valid only from %s, and the clock here says %s: set the clock "
			"that is wrong",
			what, format_time(X509_get0_notBefore(certificate), when),
			format_time(clock, now));
		ASN1_TIME_free(clock);
		return result;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		return fault_set(fault, FAULT_STOP, EKEYREJECTED, "%s", wrong_ca(side));
	case X509_V_ERR_INVALID_PURPOSE:
		return fault_set(fault, FAULT_STOP, EKEYREJECTED, "%s", wrong_purpose(side));
	default: /* OpenSSL's list is open */
		return fault_set(fault, FAULT_STOP, EKEYREJECTED, "%s cannot be accepted: %s", what,
				 X509_verify_cert_error_string(error));
	}
}

int tls_verify_callback(int is_ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_stream *stream = ssl ? SSL_get_app_data(ssl) : NULL;

	if (!is_ok && stream)
		tls_certificate_fault(stream->side, X509_STORE_CTX_get_error(store),
				      X509_STORE_CTX_get_current_cert(store), &stream->refusal);
	return is_ok; /* what OpenSSL refuses stays refused */
}

/* What the alert of a peer, or a complaint of OpenSSL about what it read, means. */
struct reason {
	int reason;
	enum fault_class class;
	int error;
	const char *agent, *receiver; /* as the one or the other sees it; NULL: see below */
};

#define NOT_TLS                                                                                    \
	FAULT_STOP, EPROTO, "the peer does not speak TLS: is the port right?",                     \
		"the peer does not speak TLS: is it a blkferry-agent?"
#define OLD_TLS                                                                                    \
	FAULT_STOP, EPROTONOSUPPORT,                                                               \
		"the peer does not speak TLS 1.3: is it a blkferry-receiver, and is the port "     \
		"right?",                                                                          \
		"the peer does not speak TLS 1.3: is it a blkferry-agent?"

static const struct reason reasons[] = {
	{SSL_R_WRONG_VERSION_NUMBER, NOT_TLS},
	{SSL_R_HTTP_REQUEST, NOT_TLS},
	{SSL_R_HTTPS_PROXY_REQUEST, NOT_TLS},
	{SSL_R_BAD_RECORD_TYPE, NOT_TLS},
	{SSL_R_PACKET_LENGTH_TOO_LONG, NOT_TLS},
	{SSL_R_ENCRYPTED_LENGTH_TOO_LONG, NOT_TLS},
	{SSL_R_UNEXPECTED_MESSAGE, NOT_TLS},
	{SSL_R_RECORD_LENGTH_MISMATCH, NOT_TLS},
	{SSL_R_UNSUPPORTED_PROTOCOL, OLD_TLS},
	{SSL_R_WRONG_SSL_VERSION, OLD_TLS},
	{SSL_R_VERSION_TOO_LOW, OLD_TLS},
	{SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, OLD_TLS},
	{SSL_R_NO_SHARED_CIPHER, OLD_TLS},
	{SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, OLD_TLS},
	{SSL_R_NO_APPLICATION_PROTOCOL, FAULT_STOP, EPROTONOSUPPORT,
	 "the peer speaks TLS, but not blkferry's protocol: is the port right?",
	 "the peer speaks TLS, but not blkferry's protocol: is it a blkferry-agent of this "
	 "version?"},
	{SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL, FAULT_STOP, EPROTONOSUPPORT,
	 "the peer speaks TLS, but not this version of blkferry's protocol: are agent and receiver "
	 "of "
	 "the same release, and is the port right?",
	 "the peer does not speak this version of blkferry's protocol"},
	{SSL_R_TLSV1_ALERT_UNKNOWN_CA, FAULT_STOP, EKEYREJECTED,
	 "the receiver does not know the CA of this machine's certificate: this machine enrolled "
	 "with "
	 "another receiver; enroll again with a new token",
	 "the agent refused this receiver: it enrolled with another CA; enroll it again with a new "
	 "token ('blkferry token NAME')"},
	{SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, FAULT_STOP, EACCES,
	 "the receiver wants a certificate and this machine has none: enroll it first", NULL},
	{SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, FAULT_STOP, EKEYREJECTED,
	 "the receiver refused this machine's certificate (its log says why): are both clocks "
	 "right? "
	 "Else enroll again with a new token",
	 "the agent refused this receiver's certificate (its log says why): are both clocks "
	 "right?"},
	{SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, FAULT_STOP, EKEYREJECTED,
	 "the receiver refused this machine's certificate: it is not a machine's",
	 "the agent refused this receiver's certificate: it is not a receiver's"},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, FAULT_STOP, EKEYREVOKED,
	 "the receiver no longer accepts this machine's certificate: enroll again with a new token",
	 NULL},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, FAULT_STOP, EKEYREJECTED,
	 "the receiver refused this machine's certificate: enroll again with a new token",
	 "the agent refused this receiver's certificate (its log says why)"},
};

/* The peer says that our own certificate has expired: say which day it was. */
static int own_expired_fault(struct tls_stream *stream, struct fault *fault)
{
	const X509 *own = SSL_get_certificate(stream->ssl);
	char when[WHEN_MAX] = "an unknown day";

	if (own)
		format_time(X509_get0_notAfter(own), when);
	if (stream->side == TLS_SIDE_RECEIVER)
		return fault_set(
			fault, FAULT_STOP, EKEYEXPIRED,
			"the agent refused this receiver's certificate: it expired on %s; %s", when,
			remedy(TLS_SIDE_AGENT));
	return fault_set(fault, FAULT_STOP, EKEYEXPIRED,
			 "this machine's certificate expired on %s: enroll again with a new token "
			 "('blkferry token NAME' on the receiver)",
			 when);
}

static int reason_fault(struct tls_stream *stream, int code, struct fault *fault)
{
	char text[160];

	if (code == SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED)
		return own_expired_fault(stream, fault);
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		const struct reason *row = &reasons[i];
		const char *words = stream->side == TLS_SIDE_AGENT ? row->agent : row->receiver;

		if (row->reason == code && words)
			return fault_set(fault, row->class, row->error, "%s", words);
	}
	snprintf(text, sizeof(text), "%s", pki_openssl_error());
	return fault_set(fault, FAULT_STOP, EPROTO, "the TLS handshake failed: %s", text);
}

int tls_handshake_fault(struct tls_stream *stream, int result, struct fault *fault)
{
	int code = ERR_GET_REASON(ERR_peek_error());

	if (stream->refusal.class != 0) {
		ERR_clear_error();
		return fault_set(fault, stream->refusal.class, stream->refusal.error, "%s",
				 stream->refusal.text);
	}
	if (result == SSL_ERROR_SSL && code != SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		int error = reason_fault(stream, code, fault);

		ERR_clear_error();
		return error;
	}
	ERR_clear_error();
	return fault_set(
		fault, FAULT_RETRY, ECONNRESET,
		stream->side == TLS_SIDE_AGENT
			? "the peer closed the connection during the TLS handshake: is it a "
			  "blkferry-receiver, and is the port right?"
			: "the peer closed the connection during the TLS handshake");
}
