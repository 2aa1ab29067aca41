/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the TLS tests share: two CAs in a temporary folder, certificates of any age, both ends of a
 * connection over loopback. */
#ifndef BLKFERRY_TESTS_TLS_FIXTURE_H
#define BLKFERRY_TESTS_TLS_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/os_clock.h"
#include "common/os_file.h"
#include "common/os_thread.h"
#include "common/pki.h"
#include "common/pki_make.h"
#include "common/tls.h"

#define DAY_S	   86400
#define PATIENCE_S 20 /* deadline of what should be quick */

static char folder[64]; /* has ca/ and other/, each made by pki_init */

static inline uint64_t patience(void)
{
	return os_monotonic_ns() + PATIENCE_S * NS_PER_S;
}

static inline char *path_of(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline char *path_of(const char *format, ...)
{
	static __thread char paths[8][256]; /* several may be in use at a time */
	static __thread unsigned int next;
	char name[128], *path = paths[next++ % 8];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(name, sizeof(name), format, arguments);
	va_end(arguments);
	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static inline void write_text(const char *path, char *text)
{
	assert_non_null(text);
	assert_int_equal(os_file_write_atomic(path, text, strlen(text), 0600), 0);
	free(text);
}

/* Makes folder/NAME.pem and NAME.key, signed by folder/CA, valid in [from, until) days from now. */
static inline void make_certificate(const char *name, const char *ca_name, enum pki_role role,
				    int from_days, int until_days)
{
	struct pki_validity validity = {(int64_t)from_days * DAY_S, (int64_t)until_days * DAY_S};
	EVP_PKEY *key = pki_key_new(), *ca_key;
	X509 *ca, *leaf;

	assert_int_equal(pki_certificate_load(path_of("%s/ca.pem", ca_name), &ca, NULL), 0);
	assert_int_equal(pki_key_load(path_of("%s/ca.key", ca_name), &ca_key, NULL), 0);
	leaf = pki_make_leaf(role, role == PKI_ROLE_MACHINE ? name : "", key, ca, ca_key, validity);
	assert_non_null(leaf);
	write_text(path_of("%s.pem", name), pki_certificate_to_pem(leaf));
	write_text(path_of("%s.key", name), pki_key_to_pem(key));
	X509_free(leaf);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
}

static inline int set_up_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/blkferry-test-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	assert_int_equal(pki_init(path_of("ca"), "here", 30, NULL), 0);
	assert_int_equal(pki_init(path_of("other"), "here", 30, NULL), 0);
	make_certificate("web1", "ca", PKI_ROLE_MACHINE, -1, 10);
	return 0;
}

static inline int remove_folder(void **state)
{
	(void)state;
	return os_folder_remove(folder);
}

/* name NULL: an agent that enrols, without certificate; ca NULL: without trust. */
static inline struct tls_context *agent_context(const char *ca, const char *name)
{
	struct tls_context *context = NULL;
	struct fault fault = {0};

	if (tls_context_new_agent(ca ? path_of("%s/ca.pem", ca) : NULL,
				  name ? path_of("%s.pem", name) : NULL,
				  name ? path_of("%s.key", name) : NULL, &context, &fault))
		fail_msg("agent context: %s", fault.text);
	return context;
}

static inline struct tls_context *receiver_context(const char *ca, const char *name)
{
	struct tls_context *context = NULL;
	struct fault fault = {0};

	if (tls_context_new_receiver(path_of("%s/ca.pem", ca), path_of("%s.pem", name),
				     path_of("%s.key", name), &context, &fault))
		fail_msg("receiver context: %s", fault.text);
	return context;
}

/* Both ends of a loopback connection. */
static inline void make_sockets(os_socket_t *ret_client, os_socket_t *ret_server)
{
	struct fault fault = {0};
	os_socket_t listener;

	if (os_socket_listen("127.0.0.1", 0, &listener, &fault) ||
	    os_socket_connect("127.0.0.1", os_socket_port(listener), patience(), ret_client,
			      &fault))
		fail_msg("sockets: %s", fault.text);
	assert_int_equal(os_socket_accept(listener, PATIENCE_S * NS_PER_S, ret_server, NULL, 0), 0);
	os_socket_close(listener);
}

struct end {
	struct tls_context *context;
	os_socket_t socket;
	struct tls_stream *stream;
	struct fault fault;
	int error;
};

/* A client and a server; frees everything with pair_free. */
struct pair {
	struct end agent, receiver;
};

static inline void run_accept(void *argument)
{
	struct end *end = argument;

	end->error =
		tls_stream_accept(end->context, end->socket, patience(), &end->stream, &end->fault);
}

/* Takes the contexts over. */
static inline void pair_meet(struct pair *pair, struct tls_context *agent,
			     struct tls_context *receiver, const char *alpn)
{
	struct os_thread thread;

	memset(pair, 0, sizeof(*pair));
	pair->agent.context = agent;
	pair->receiver.context = receiver;
	make_sockets(&pair->agent.socket, &pair->receiver.socket);
	assert_int_equal(os_thread_start(&thread, "accept", run_accept, &pair->receiver), 0);
	pair->agent.error = tls_stream_connect(agent, pair->agent.socket, alpn, patience(),
					       &pair->agent.stream, &pair->agent.fault);
	os_thread_join(&thread);
}

static inline void pair_free(struct pair *pair)
{
	if (pair->agent.stream) /* else each waits for the other to close */
		tls_stream_cancel(pair->agent.stream);
	tls_stream_free(pair->agent.stream);
	tls_stream_free(pair->receiver.stream);
	tls_context_free(pair->agent.context);
	tls_context_free(pair->receiver.context);
}

/* The usual pair, connected. */
static inline void pair_connect(struct pair *pair)
{
	pair_meet(pair, agent_context("ca", "web1"), receiver_context("ca", "ca/receiver"),
		  TLS_ALPN_SESSION);
	if (pair->agent.error || pair->receiver.error)
		fail_msg("agent: %s; receiver: %s", pair->agent.fault.text,
			 pair->receiver.fault.text);
}

#endif
