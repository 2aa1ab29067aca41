// SPDX-License-Identifier: GPL-2.0-or-later
/* Enrolment, agent side; see enroll.h. */
#include "agent/enroll.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/crypto.h>

#include "common/enroll_check.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "common/tls.h"

#define ENROLL_TIMEOUT_NS (30 * NS_PER_S) /* for all of it */
#define FOLDER_MODE	  0700
#define PUBLIC_MODE	  0644
#define SECRET_MODE	  0600

/* What an enrolment brings: PEM texts, each NULL until it is there. */
struct enrolment {
	char *ca, *key, *request, *certificate;
	char name[PKI_NAME_MAX];
};

static void enrolment_fini(struct enrolment *enrolment)
{
	if (enrolment->key)
		OPENSSL_cleanse(enrolment->key, strlen(enrolment->key));
	free(enrolment->ca);
	free(enrolment->key);
	free(enrolment->request);
	free(enrolment->certificate);
}

static int format_path(char path[PATH_MAX], const char *folder, const char *name,
		       struct fault *fault)
{
	if (snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
		return fault_set(fault, FAULT_STOP, ENAMETOOLONG, "the path %s is too long",
				 folder);
	return 0;
}

static int check_existing(const char *folder, enum enroll_existing existing, struct fault *fault)
{
	char path[PATH_MAX];
	int error = format_path(path, folder, "machine.pem", fault);

	if (error)
		return error;
	if (existing == ENROLL_KEEP && os_file_exists(path))
		return fault_set(fault, FAULT_STOP, EEXIST,
				 "this machine is enrolled already (%s is there): use --replace to "
				 "give it a new certificate, from this or another receiver",
				 path);
	error = os_folder_make(folder, FOLDER_MODE);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "cannot make the folder %s: %s", folder,
				 strerror(-error));
	return 0;
}

static int cut_fault(int error, struct fault *fault)
{
	if (error == -ETIMEDOUT)
		return fault_set(
			fault, FAULT_RETRY, ETIMEDOUT,
			"the receiver did not answer in time; if the token is refused next "
			"time, it was used up: get a new one");
	return fault_set(
		fault, FAULT_RETRY, -error,
		"the connection was cut before the certificate came; if the token is refused "
		"next time, it was used up: get a new one");
}

static int send_request(struct tls_stream *stream, const struct token *token,
			const char *request_pem, uint64_t deadline_ns, struct fault *fault)
{
	size_t length = strlen(request_pem);
	struct enroll_request request = {.magic = ENROLL_MAGIC,
					 .version = ENROLL_VERSION,
					 .request_bytes = (uint32_t)length};
	int error;

	memcpy(request.token_id, token->id, sizeof(request.token_id));
	memcpy(request.secret, token->secret, sizeof(request.secret));
	error = enroll_check_request(&request, fault);
	if (error)
		return error;
	error = tls_stream_write(stream, &request, sizeof(request), deadline_ns);
	OPENSSL_cleanse(request.secret, sizeof(request.secret));
	if (!error)
		error = tls_stream_write(stream, request_pem, length, deadline_ns);
	return error ? cut_fault(error, fault) : 0;
}

static int receive_reply(struct tls_stream *stream, struct enrolment *enrolment,
			 uint64_t deadline_ns, struct fault *fault)
{
	struct enroll_reply reply;
	char *body;
	int error = tls_stream_read(stream, &reply, sizeof(reply), deadline_ns);

	if (error)
		return cut_fault(error, fault);
	error = enroll_check_reply(&reply, fault);
	if (error)
		return error;
	body = malloc((size_t)reply.bytes + 1);
	if (!body)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	error = tls_stream_read(stream, body, reply.bytes, deadline_ns);
	body[error ? 0 : reply.bytes] = '\0';
	if (error) {
		error = cut_fault(error, fault);
	} else if (reply.status == ENROLL_REFUSED) {
		error = fault_set(fault, FAULT_STOP, EACCES, "the receiver says: %s", body);
	} else {
		enrolment->certificate = body;
		memcpy(enrolment->name, reply.name, sizeof(enrolment->name));
		return 0;
	}
	free(body);
	return error;
}

static int run_dialogue(struct tls_stream *stream, const struct token *token,
			struct enrolment *enrolment, uint64_t deadline_ns, struct fault *fault)
{
	/* The secret is for the receiver that made the token, and for nobody else. */
	int error = tls_stream_check_ca(stream, token->ca_fingerprint, &enrolment->ca, fault);

	if (!error)
		error = pki_request_new(&enrolment->key, &enrolment->request, fault);
	if (!error)
		error = send_request(stream, token, enrolment->request, deadline_ns, fault);
	if (!error)
		error = receive_reply(stream, enrolment, deadline_ns, fault);
	if (!error)
		error = pki_certificate_check(enrolment->ca, enrolment->certificate, enrolment->key,
					      enrolment->name, fault);
	return error;
}

static int connect_and_ask(const char *host, uint16_t port, const struct token *token,
			   struct enrolment *enrolment, struct fault *fault)
{
	uint64_t deadline_ns = os_monotonic_ns() + ENROLL_TIMEOUT_NS;
	struct tls_context *context = NULL;
	struct tls_stream *stream = NULL;
	os_socket_t socket;
	int error = tls_context_new_agent(NULL, NULL, NULL, &context, fault);

	if (!error)
		error = os_socket_connect(host, port, deadline_ns, &socket, fault);
	if (!error)
		error = tls_stream_connect(context, socket, TLS_ALPN_ENROLL, deadline_ns, &stream,
					   fault);
	if (!error)
		error = run_dialogue(stream, token, enrolment, deadline_ns, fault);
	tls_stream_free(stream);
	tls_context_free(context);
	return error;
}

static int store(const char *folder, const char *name, const char *text, unsigned int mode,
		 struct fault *fault)
{
	char path[PATH_MAX];
	int error = format_path(path, folder, name, fault);

	if (error)
		return error;
	error = os_file_write_atomic(path, text, strlen(text), mode);
	if (error)
		return fault_set(fault, FAULT_STOP, -error,
				 "cannot write %s: %s; the token is used up, get a new one", path,
				 strerror(-error));
	return 0;
}

/* machine.pem goes first and comes last: while the files do not belong together, this machine counts as
 * not enrolled. */
static int store_all(const char *folder, const struct enrolment *enrolment, const char *address,
		     struct fault *fault)
{
	char path[PATH_MAX];
	int error = format_path(path, folder, "machine.pem", fault);

	if (error)
		return error;
	error = os_folder_remove(path);
	if (!error)
		error = os_folder_sync(folder);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "cannot remove the old %s: %s", path,
				 strerror(-error));
	error = store(folder, "ca.pem", enrolment->ca, PUBLIC_MODE, fault);
	if (!error)
		error = store(folder, "machine.key", enrolment->key, SECRET_MODE, fault);
	if (!error)
		error = store(folder, "receiver", address, PUBLIC_MODE, fault);
	if (!error)
		error = store(folder, "machine.pem", enrolment->certificate, PUBLIC_MODE, fault);
	return error;
}

int enroll_run(const char *host, uint16_t port, const char *token_text, const char *state_folder,
	       enum enroll_existing existing, char ret_name[PKI_NAME_MAX], struct fault *fault)
{
	struct enrolment enrolment = {0};
	struct token token;
	char address[300];
	int error = token_parse(token_text, &token, fault);

	if (!error)
		error = check_existing(state_folder, existing, fault);
	if (error)
		return error;
	snprintf(address, sizeof(address), strchr(host, ':') ? "[%s]:%u\n" : "%s:%u\n", host, port);
	error = connect_and_ask(host, port, &token, &enrolment, fault);
	OPENSSL_cleanse(&token, sizeof(token));
	if (!error)
		error = store_all(state_folder, &enrolment, address, fault);
	if (!error)
		memcpy(ret_name, enrolment.name, PKI_NAME_MAX);
	enrolment_fini(&enrolment);
	return error;
}
