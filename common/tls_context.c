// SPDX-License-Identifier: GPL-2.0-or-later
/* Keys, trust and protocol settings of one side; see tls.h. */
#include "common/tls_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#include <asm/hwcap.h>
#endif

#include "common/pki_make.h"

/* 128 bits are enough, and faster than 256. */
#define CIPHERS_AES    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define CIPHERS_NO_AES "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"

#define CHAIN_DEPTH 1 /* the peer, the CA: nothing in between */

/* Without AES instructions ChaCha20 is several times as fast as AES in software. */
static bool has_fast_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__) && defined(__linux__)
	return (getauxval(AT_HWCAP) & HWCAP_AES) != 0;
#else
	return false;
#endif
}

/* Only the two names of tls.h; the peer asks for one. */
static int select_alpn(SSL *ssl, const unsigned char **ret_name, unsigned char *ret_length,
		       const unsigned char *offered, unsigned int offered_size, void *context)
{
	static const unsigned char spoken[] = "\x0a" TLS_ALPN_SESSION "\x11" TLS_ALPN_ENROLL;
	unsigned char *name;

	(void)ssl;
	(void)context;
	if (SSL_select_next_proto(&name, ret_length, spoken, sizeof(spoken) - 1, offered,
				  offered_size) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*ret_name = name;
	return SSL_TLSEXT_ERR_OK;
}

static struct tls_context *context_new(enum tls_side side)
{
	struct tls_context *context = calloc(1, sizeof(*context));
	SSL_CTX *ssl =
		SSL_CTX_new(side == TLS_SIDE_AGENT ? TLS_client_method() : TLS_server_method());

	if (!context || !ssl || !SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) ||
	    !SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(ssl, has_fast_aes() ? CIPHERS_AES : CIPHERS_NO_AES)) {
		SSL_CTX_free(ssl);
		free(context);
		return NULL;
	}
	context->side = side;
	context->ssl = ssl;
	/* The receiver does most of the work: its order counts, but an agent without AES instructions
	 * (it lists ChaCha20 first) gets ChaCha20. */
	SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
					 SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
					 SSL_OP_NO_RENEGOTIATION);
	/* Every session proves itself anew: a revoked certificate must not live on in a ticket. */
	SSL_CTX_set_num_tickets(ssl, 0);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify_depth(ssl, CHAIN_DEPTH);
	SSL_CTX_set_read_ahead(ssl, 1);
	SSL_CTX_set_default_read_buffer_len(ssl, TLS_READ_AHEAD_BYTES);
	if (side == TLS_SIDE_RECEIVER)
		SSL_CTX_set_alpn_select_cb(ssl, select_alpn, NULL);
	return context;
}

static int load_ca(struct tls_context *context, const char *path, struct fault *fault)
{
	X509 *ca;
	int error = pki_certificate_load(path, &ca, fault);

	if (error)
		return error;
	if (!X509_STORE_add_cert(SSL_CTX_get_cert_store(context->ssl), ca) ||
	    /* The receiver shows its CA too: that is what an enrolment token vouches for. */
	    (context->side == TLS_SIDE_RECEIVER && !SSL_CTX_add1_chain_cert(context->ssl, ca)))
		error = fault_set(fault, FAULT_STOP, EINVAL, "cannot use %s as a CA: %s", path,
				  pki_openssl_error());
	X509_free(ca);
	context->has_ca = !error;
	return error;
}

static int load_own(struct tls_context *context, const char *certificate_path, const char *key_path,
		    struct fault *fault)
{
	X509 *certificate = NULL;
	EVP_PKEY *key = NULL;
	int error = pki_certificate_load(certificate_path, &certificate, fault);

	if (!error)
		error = pki_key_load(key_path, &key, fault);
	if (!error && (!SSL_CTX_use_certificate(context->ssl, certificate) ||
		       !SSL_CTX_use_PrivateKey(context->ssl, key) ||
		       !SSL_CTX_check_private_key(context->ssl)))
		error = fault_set(fault, FAULT_STOP, EINVAL, "%s and %s do not belong together: %s",
				  certificate_path, key_path, pki_openssl_error());
	X509_free(certificate);
	EVP_PKEY_free(key);
	return error;
}

static int context_make(enum tls_side side, const char *ca_path, const char *certificate_path,
			const char *key_path, struct tls_context **ret_context, struct fault *fault)
{
	struct tls_context *context = context_new(side);
	int error = 0;

	if (!context)
		return fault_set(fault, FAULT_STOP, EIO, "cannot set up TLS: %s",
				 pki_openssl_error());
	if (certificate_path)
		error = load_own(context, certificate_path, key_path, fault);
	/* After the certificate: a chain belongs to the one that was loaded last. */
	if (!error && ca_path)
		error = load_ca(context, ca_path, fault);
	if (error) {
		tls_context_free(context);
		return error;
	}
	/* A receiver asks for a certificate, and decides by ALPN what to do without one. An agent that
	 * enrols has no CA yet: tls_stream_check_ca does the whole verification. */
	if (context->has_ca)
		SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER, tls_verify_callback);
	else
		SSL_CTX_set_verify(context->ssl, SSL_VERIFY_NONE, NULL);
	*ret_context = context;
	return 0;
}

int tls_context_new_agent(const char *ca_path, const char *certificate_path, const char *key_path,
			  struct tls_context **ret_context, struct fault *fault)
{
	return context_make(TLS_SIDE_AGENT, ca_path, certificate_path, key_path, ret_context,
			    fault);
}

int tls_context_new_receiver(const char *ca_path, const char *certificate_path,
			     const char *key_path, struct tls_context **ret_context,
			     struct fault *fault)
{
	if (!ca_path || !certificate_path || !key_path)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "a receiver needs its CA, certificate and key");
	return context_make(TLS_SIDE_RECEIVER, ca_path, certificate_path, key_path, ret_context,
			    fault);
}

void tls_context_free(struct tls_context *context)
{
	if (!context)
		return;
	SSL_CTX_free(context->ssl);
	free(context);
}
