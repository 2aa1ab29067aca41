// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * POST over HTTPS or a unix socket. The other side is always verified: by the CAs, or, when fingerprints are
 * given, by nothing but them. There is no way to switch that off, and no plain HTTP but over the unix socket.
 */
#include "receiver/xapi/xapi_http.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/os_clock.h"
#include "common/os_thread.h"

#define HOST_MAX	 256
#define CONNECT_SECONDS	 20L
#define FINGERPRINT_TEXT (3 * 32) /* "AA:BB...", NUL included */
#define UNIX_PREFIX	 "unix:"

struct xapi_http {
	CURL *curl;
	struct curl_slist *headers;
	char host[HOST_MAX];
	char *fingerprints; /* or NULL */
	char *ca_file;
	const atomic_bool *is_over;  /* or NULL */
	char seen[FINGERPRINT_TEXT]; /* of the certificate that was shown last */
	char *text;
	size_t size, room;
	char error[CURL_ERROR_SIZE];
};

static struct os_mutex init_lock = OS_MUTEX_INITIALIZER;

static int init_library(void)
{
	static bool is_done;

	os_mutex_lock(&init_lock);
	if (!is_done)
		is_done = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
	os_mutex_unlock(&init_lock);
	return is_done ? 0 : -ENOMEM;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Reads one sum; returns where it ends, NULL when it is none. */
static const char *read_sum(const char *text, unsigned char *ret_sum)
{
	for (unsigned int i = 0; i < 32; i++) {
		if (i > 0 && *text == ':')
			text++;
		if (hex_value(text[0]) < 0 || hex_value(text[1]) < 0)
			return NULL;
		ret_sum[i] = (unsigned char)(hex_value(text[0]) << 4 | hex_value(text[1]));
		text += 2;
	}
	return text;
}

static const char *skip_between(const char *text)
{
	return text + strspn(text, ", \t");
}

bool xapi_fingerprints_are_valid(const char *list)
{
	unsigned char sum[32];
	const char *at = skip_between(list);

	if (!*at)
		return false;
	while (*at) {
		at = read_sum(at, sum);
		if (!at || (*at && !strchr(", \t", *at)))
			return false;
		at = skip_between(at);
	}
	return true;
}

static bool is_listed(const char *list, const unsigned char *sum)
{
	unsigned char listed[32];
	const char *at = skip_between(list);

	while (*at) {
		at = read_sum(at, listed);
		if (!at)
			return false;
		if (memcmp(listed, sum, sizeof(listed)) == 0)
			return true;
		at = skip_between(at);
	}
	return false;
}

/* In the place of OpenSSL's own verification. */
static int verify_certificate(X509_STORE_CTX *context, void *argument)
{
	struct xapi_http *http = argument;
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned int size = 0;
	X509 *certificate = X509_STORE_CTX_get0_cert(context);

	if (!certificate || !X509_digest(certificate, EVP_sha256(), sum, &size) || size != 32)
		return 0;
	for (unsigned int i = 0; i < size; i++)
		snprintf(http->seen + 3 * i, sizeof(http->seen) - 3 * i, "%02X%s", sum[i],
			 i + 1 < size ? ":" : "");
	if (!http->fingerprints)
		return X509_verify_cert(context);
	if (!is_listed(http->fingerprints, sum)) {
		X509_STORE_CTX_set_error(context, X509_V_ERR_CERT_REJECTED);
		return 0;
	}
	X509_STORE_CTX_set_error(context, X509_V_OK);
	return 1;
}

static CURLcode set_up_tls(CURL *curl, void *tls, void *argument)
{
	SSL_CTX_set_cert_verify_callback(tls, verify_certificate, argument);
	return CURLE_OK;
}

static size_t take(char *data, size_t one, size_t size, void *argument)
{
	struct xapi_http *http = argument;

	if (size > XAPI_RESPONSE_MAX - http->size)
		return 0;
	if (http->size + size + 1 > http->room) {
		size_t room = 2 * (http->size + size) + 4096;
		char *larger = realloc(http->text, room);

		if (!larger)
			return 0;
		http->text = larger;
		http->room = room;
	}
	memcpy(http->text + http->size, data, size);
	http->size += size;
	http->text[http->size] = '\0';
	return size;
}

static bool is_unix(const char *host)
{
	return strncmp(host, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0;
}

/* Nothing that would make another URL of it. */
static bool is_host(const char *host)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-_:[]";

	if (is_unix(host))
		return host[strlen(UNIX_PREFIX)] == '/' && strlen(host) < HOST_MAX;
	return *host && strlen(host) < HOST_MAX && strspn(host, allowed) == strlen(host);
}

int xapi_check_options(const struct xapi_options *options, struct fault *fault)
{
	if (!options->host || !is_host(options->host))
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "[xcp] host = '%s' is not NAME[:PORT], ADDRESS[:PORT] or "
				 "unix:/PATH",
				 options->host ? options->host : "");
	if (options->fingerprint && !xapi_fingerprints_are_valid(options->fingerprint))
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "[xcp] fingerprint is not a SHA-256 sum, or several with commas "
				 "between them: 64 hexadecimal digits each, as 'openssl x509 -in "
				 "/etc/xensource/xapi-ssl.pem -noout -fingerprint -sha256' prints "
				 "them on the host");
	if (!is_unix(options->host) && (!options->user || !options->password_file))
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "[xcp] needs user and password-file, unless host is unix:/PATH");
	return 0;
}

static int apply_host(struct xapi_http *http)
{
	char url[HOST_MAX + 32];

	if (is_unix(http->host)) {
		curl_easy_setopt(http->curl, CURLOPT_UNIX_SOCKET_PATH,
				 http->host + strlen(UNIX_PREFIX));
		return curl_easy_setopt(http->curl, CURLOPT_URL, "http://localhost/jsonrpc");
	}
	/* A bare IPv6 address, as XAPI itself says it, has no brackets. */
	if (http->host[0] != '[' && strchr(http->host, ':') != strrchr(http->host, ':'))
		snprintf(url, sizeof(url), "https://[%s]/jsonrpc", http->host);
	else
		snprintf(url, sizeof(url), "https://%s/jsonrpc", http->host);
	curl_easy_setopt(http->curl, CURLOPT_UNIX_SOCKET_PATH, NULL);
	return curl_easy_setopt(http->curl, CURLOPT_URL, url);
}

/* libcurl asks once a second at least. */
static int look_whether_over(void *context, curl_off_t expected_down, curl_off_t down,
			     curl_off_t expected_up, curl_off_t up)
{
	const struct xapi_http *http = context;

	return http->is_over && atomic_load(http->is_over);
}

static int configure(struct xapi_http *http)
{
	CURL *curl = http->curl;

	http->headers = curl_slist_append(NULL, "Content-Type: application/json");
	http->headers = curl_slist_append(http->headers, "Expect:");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, http->headers);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, http);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, http->error);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_whether_over);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, http);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, http->is_over ? 0L : 1L);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
	/* Who the certificate was made for does not matter when it is known itself. */
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, http->fingerprints ? 0L : 2L);
	if (http->ca_file)
		curl_easy_setopt(curl, CURLOPT_CAINFO, http->ca_file);
	if (http->fingerprints) {
		/* Nor do the system's CAs, which need not be there. */
		curl_easy_setopt(curl, CURLOPT_CAINFO, NULL);
		curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	}
	/* Without it nothing would be verified as it should: it must be there. */
	if (curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, set_up_tls) != CURLE_OK ||
	    curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, http) != CURLE_OK)
		return -EOPNOTSUPP;
	return http->headers && apply_host(http) == CURLE_OK ? 0 : -ENOMEM;
}

static int copy(const char *text, char **ret_copy)
{
	if (!text)
		return 0;
	*ret_copy = strdup(text);
	return *ret_copy ? 0 : -ENOMEM;
}

int xapi_http_new(const struct xapi_options *options, struct xapi_http **ret_http,
		  struct fault *fault)
{
	int error = xapi_check_options(options, fault);
	struct xapi_http *http;

	if (error)
		return error;
	http = calloc(1, sizeof(*http));
	if (!http)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	error = init_library();
	http->curl = error ? NULL : curl_easy_init();
	snprintf(http->host, sizeof(http->host), "%s", options->host);
	http->is_over = options->is_over;
	if (!http->curl)
		error = -ENOMEM;
	if (!error)
		error = copy(options->fingerprint, &http->fingerprints);
	if (!error)
		error = copy(options->ca_file, &http->ca_file);
	if (!error)
		error = configure(http);
	if (error) {
		xapi_http_free(http);
		return fault_set(fault, FAULT_STOP, -error,
				 error == -EOPNOTSUPP
					 ? "this libcurl is not made with OpenSSL, which is needed "
					   "to verify certificates by their fingerprints"
					 : "libcurl cannot be set up: out of memory");
	}
	*ret_http = http;
	return 0;
}

void xapi_http_free(struct xapi_http *http)
{
	if (!http)
		return;
	if (http->curl)
		curl_easy_cleanup(http->curl);
	curl_slist_free_all(http->headers);
	free(http->fingerprints);
	free(http->ca_file);
	free(http->text);
	free(http);
}

int xapi_http_move(struct xapi_http *http, const char *host)
{
	if (is_unix(host) || !is_host(host))
		return -EINVAL;
	snprintf(http->host, sizeof(http->host), "%s", host);
	return apply_host(http) == CURLE_OK ? 0 : -ENOMEM;
}

const char *xapi_http_host(const struct xapi_http *http)
{
	return http->host;
}

static int set_certificate_fault(const struct xapi_http *http, struct fault *fault)
{
	if (http->fingerprints)
		return fault_set(
			fault, FAULT_STOP, EKEYREJECTED,
			"%s shows a certificate that is not among [xcp] fingerprint: %s. If "
			"that is what 'openssl x509 -in /etc/xensource/xapi-ssl.pem -noout "
			"-fingerprint -sha256' prints on that host, add it",
			http->host, http->seen);
	return fault_set(fault, FAULT_STOP, EKEYREJECTED,
			 "the certificate of %s is not trusted (%s): set [xcp] ca-file, or, after "
			 "comparing it with 'openssl x509 -in /etc/xensource/xapi-ssl.pem -noout "
			 "-fingerprint -sha256' on that host, fingerprint = %s",
			 http->host, http->error, http->seen);
}

static int set_transport_fault(const struct xapi_http *http, CURLcode code, struct fault *fault)
{
	const char *words = http->error[0] ? http->error : curl_easy_strerror(code);

	if (code == CURLE_PEER_FAILED_VERIFICATION && http->seen[0])
		return set_certificate_fault(http, fault);
	if (code == CURLE_ABORTED_BY_CALLBACK)
		return fault_set(fault, FAULT_STOP, ECANCELED, "the receiver is ending");
	if (code == CURLE_SSL_CACERT_BADFILE)
		return fault_set(fault, FAULT_STOP, ENOENT, "[xcp] ca-file: %s", words);
	if (code == CURLE_WRITE_ERROR)
		return fault_set(fault, FAULT_RETRY, EMSGSIZE,
				 "%s answered with more than %u MiB, or memory ran out", http->host,
				 XAPI_RESPONSE_MAX >> 20);
	return fault_set(fault, FAULT_RETRY,
			 code == CURLE_OPERATION_TIMEDOUT ? ETIMEDOUT : ECONNREFUSED,
			 "XAPI on %s cannot be reached: %s", http->host, words);
}

int xapi_http_post(struct xapi_http *http, const char *body, bool may_repeat, uint64_t timeout_ns,
		   const char **ret_text, size_t *ret_size, struct fault *fault)
{
	long status = 0;
	CURLcode code;

	http->size = 0;
	http->seen[0] = http->error[0] = '\0';
	curl_easy_setopt(http->curl, CURLOPT_FRESH_CONNECT, may_repeat ? 0L : 1L);
	curl_easy_setopt(http->curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(http->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
	curl_easy_setopt(http->curl, CURLOPT_TIMEOUT_MS, (long)(timeout_ns / NS_PER_MS));
	code = curl_easy_perform(http->curl);
	if (code != CURLE_OK)
		return set_transport_fault(http, code, fault);
	curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200)
		return fault_set(fault, FAULT_RETRY, EPROTO,
				 "%s answers HTTP status %ld: is XAPI running there?", http->host,
				 status);
	*ret_text = http->text ? http->text : "";
	*ret_size = http->size;
	return 0;
}
