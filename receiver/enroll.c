// SPDX-License-Identifier: GPL-2.0-or-later
/* Enrolment, receiver side; see enroll.h. */
#include "receiver/enroll.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>

#include "common/enroll_check.h"
#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "receiver/enroll_tokens.h"

#define ENROLL_TIMEOUT_NS (15 * NS_PER_S)
#define WRONG_TOKEN_DELAY_NS                                                                       \
	NS_PER_S /* guessing 128 bits is hopeless anyway; this keeps the log short */
#define FINGERPRINT_TEXT (2 * PKI_FINGERPRINT_BYTES + 1)
#define FOLDER_MODE	 0700
#define FILE_MODE	 0600

static void format_fingerprint(const uint8_t fingerprint[PKI_FINGERPRINT_BYTES],
			       char text[FINGERPRINT_TEXT])
{
	for (int i = 0; i < PKI_FINGERPRINT_BYTES; i++)
		sprintf(text + 2 * i, "%02x", fingerprint[i]);
}

static int format_path(char path[PATH_MAX], const char *state_folder, const char *name,
		       const char *file)
{
	/* The name becomes part of a path: never trust that somebody checked it before. */
	if (!pki_name_is_valid(name))
		return -EINVAL;
	return snprintf(path, PATH_MAX, "%s/machines/%s%s", state_folder, name, file) >= PATH_MAX
		       ? -ENAMETOOLONG
		       : 0;
}

int enroll_check_fingerprint(const char *state_folder, const char *name,
			     const uint8_t fingerprint[PKI_FINGERPRINT_BYTES])
{
	char path[PATH_MAX], expected[FINGERPRINT_TEXT], *text;
	size_t size;
	int error = format_path(path, state_folder, name, "/certificate");

	if (!error)
		error = os_file_read(path, FINGERPRINT_TEXT, &text, &size);
	if (error)
		return error;
	format_fingerprint(fingerprint, expected);
	error = size >= FINGERPRINT_TEXT - 1 && memcmp(text, expected, FINGERPRINT_TEXT - 1) == 0
			? 0
			: -EKEYREVOKED;
	free(text);
	return error;
}

/* From here on only this certificate of the machine is accepted. */
static int store_fingerprint(const char *state_folder, const char *name,
			     const uint8_t fingerprint[PKI_FINGERPRINT_BYTES], struct fault *fault)
{
	char path[PATH_MAX], text[FINGERPRINT_TEXT + 1];
	int error = format_path(path, state_folder, name, "");

	if (!error)
		error = os_folder_make(path, FOLDER_MODE);
	if (!error)
		error = format_path(path, state_folder, name, "/certificate");
	if (!error) {
		format_fingerprint(fingerprint, text);
		memcpy(text + FINGERPRINT_TEXT - 1, "\n", 2);
		error = os_file_write_atomic(path, text, strlen(text), FILE_MODE);
	}
	if (error)
		return fault_set(fault, FAULT_STOP, -error,
				 "cannot store which certificate of %s is the newest: %s", name,
				 strerror(-error));
	return 0;
}

static int receive_request(struct tls_stream *stream, uint64_t deadline_ns,
			   struct enroll_request *request, char request_pem[ENROLL_REQUEST_MAX],
			   struct fault *fault)
{
	int error = tls_stream_read(stream, request, sizeof(*request), deadline_ns);

	if (!error) {
		error = enroll_check_request(request, fault);
		if (error)
			return error;
		error = tls_stream_read(stream, request_pem, request->request_bytes, deadline_ns);
	}
	if (error)
		return fault_set(fault, FAULT_RETRY, -error,
				 error == -ETIMEDOUT ? "the agent did not say all in time"
						     : "the agent went away");
	return 0;
}

static int send_reply(struct tls_stream *stream, enum enroll_status status, const char *name,
		      const char *body, struct fault *fault)
{
	uint64_t deadline_ns = os_monotonic_ns() + ENROLL_TIMEOUT_NS;
	struct enroll_reply reply = {.magic = ENROLL_MAGIC,
				     .version = ENROLL_VERSION,
				     .status = status,
				     .bytes = (uint32_t)strlen(body)};
	int error;

	snprintf(reply.name, sizeof(reply.name), "%s", name);
	error = tls_stream_write(stream, &reply, sizeof(reply), deadline_ns);
	if (!error)
		error = tls_stream_write(stream, body, reply.bytes, deadline_ns);
	if (error)
		return fault_set(
			fault, FAULT_RETRY, -error,
			"the agent went away before it had its certificate: it needs a new "
			"token");
	return 0;
}

/* A token and a signing request become a certificate; *ret_pem belongs to the caller. */
static int certify(const char *state_folder, unsigned int days,
		   const struct enroll_request *request, const char *request_pem,
		   char ret_name[PKI_NAME_MAX], char **ret_pem, struct fault *fault)
{
	uint8_t fingerprint[PKI_FINGERPRINT_BYTES];
	char name[PKI_NAME_MAX], *pem;
	int error =
		enroll_token_check(state_folder, request->token_id, request->secret, name, fault);

	if (error)
		return error;
	/* Signed before the token is used up: a request that is no good does not cost the token. */
	error = pki_request_sign(state_folder, request_pem, request->request_bytes, name, days,
				 &pem, fingerprint, fault);
	if (error)
		return error;
	error = enroll_token_consume(state_folder, request->token_id, fault);
	if (!error)
		error = store_fingerprint(state_folder, name, fingerprint, fault);
	if (error) {
		free(pem);
		return error;
	}
	memcpy(ret_name, name, PKI_NAME_MAX);
	*ret_pem = pem;
	return 0;
}

int enroll_serve(struct tls_stream *stream, const char *peer, const char *state_folder,
		 unsigned int days, char ret_name[PKI_NAME_MAX], struct fault *fault)
{
	uint64_t deadline_ns = os_monotonic_ns() + ENROLL_TIMEOUT_NS;
	char request_pem[ENROLL_REQUEST_MAX], name[PKI_NAME_MAX], *pem = NULL;
	struct enroll_request request;
	struct fault local = {0};
	int error;

	if (!fault) /* its text goes to the agent, so it is needed in any case */
		fault = &local;
	error = receive_request(stream, deadline_ns, &request, request_pem, fault);
	if (!error)
		error = certify(state_folder, days, &request, request_pem, name, &pem, fault);
	OPENSSL_cleanse(&request, sizeof(request));
	if (error) {
		if (error == -EACCES)
			os_sleep_ns(WRONG_TOKEN_DELAY_NS);
		/* Best effort: it may be gone. */
		(void)send_reply(stream, ENROLL_REFUSED, "", fault->text, NULL);
		return error;
	}
	error = send_reply(stream, ENROLL_CERTIFIED, name, pem, fault);
	free(pem);
	if (error)
		return error;
	log_info("%s enrolled as machine %s; older certificates of it are refused from now on",
		 peer, name);
	memcpy(ret_name, name, PKI_NAME_MAX);
	return 0;
}
