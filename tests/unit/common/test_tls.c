// SPDX-License-Identifier: GPL-2.0-or-later
/* TLS handshakes: who is let in, who is not, and what both sides are told. */
#include "tls_fixture.h"

#include <unistd.h>
#include <openssl/x509v3.h>

/* Both ends refuse, and say what matters in their own words. */
static void assert_refused(struct pair *pair, int agent_error, const char *agent_words,
			   int receiver_error, const char *receiver_words)
{
	print_message("    agent: %s\n    receiver: %s\n", pair->agent.fault.text,
		      pair->receiver.fault.text);
	assert_int_equal(pair->agent.error, -agent_error);
	assert_int_equal(pair->receiver.error, -receiver_error);
	assert_int_equal(pair->agent.fault.class, FAULT_STOP);
	assert_int_equal(pair->receiver.fault.class, FAULT_STOP);
	assert_int_equal(pair->agent.fault.error, agent_error);
	assert_non_null(strstr(pair->agent.fault.text, agent_words));
	assert_non_null(strstr(pair->receiver.fault.text, receiver_words));
	pair_free(pair);
}

static void enrolled_machines_are_let_in_and_known(void **state)
{
	struct pki_identity identity = {0};
	struct pair pair;
	uint8_t fingerprint[PKI_FINGERPRINT_BYTES];

	(void)state;
	pair_connect(&pair);
	assert_int_equal(tls_stream_peer(pair.receiver.stream, &identity), 0);
	assert_int_equal(identity.role, PKI_ROLE_MACHINE);
	assert_string_equal(identity.name, "web1");
	assert_int_equal(pki_certificate_fingerprint(path_of("web1.pem"), fingerprint, NULL), 0);
	assert_memory_equal(identity.fingerprint, fingerprint, sizeof(fingerprint));
	assert_int_equal(tls_stream_peer(pair.agent.stream, &identity), 0);
	assert_int_equal(identity.role, PKI_ROLE_RECEIVER);
	assert_string_equal(tls_stream_alpn(pair.receiver.stream), TLS_ALPN_SESSION);
	assert_string_equal(tls_stream_alpn(pair.agent.stream), TLS_ALPN_SESSION);
	pair_free(&pair);
}

static void another_machine_is_known_as_that_machine(void **state)
{
	struct pki_identity identity = {0};
	struct pair pair;

	(void)state;
	make_certificate("db2", "ca", PKI_ROLE_MACHINE, -1, 10);
	pair_meet(&pair, agent_context("ca", "db2"), receiver_context("ca", "ca/receiver"),
		  TLS_ALPN_SESSION);
	assert_int_equal(tls_stream_peer(pair.receiver.stream, &identity), 0);
	assert_string_equal(identity.name, "db2");
	pair_free(&pair);
}

static void an_expired_machine_certificate_is_refused(void **state)
{
	struct pair pair;

	(void)state;
	make_certificate("old", "ca", PKI_ROLE_MACHINE, -20, -1);
	pair_meet(&pair, agent_context("ca", "old"), receiver_context("ca", "ca/receiver"),
		  TLS_ALPN_SESSION);
	assert_refused(&pair, EKEYEXPIRED, "this machine's certificate expired on 20", EKEYEXPIRED,
		       "the certificate of machine old expired on 20");
}

static void a_machine_certificate_of_the_future_is_refused(void **state)
{
	struct pair pair;

	(void)state;
	make_certificate("future", "ca", PKI_ROLE_MACHINE, 2, 10);
	pair_meet(&pair, agent_context("ca", "future"), receiver_context("ca", "ca/receiver"),
		  TLS_ALPN_SESSION);
	assert_refused(&pair, EKEYREJECTED, "clocks", EKEYREJECTED, "valid only from 20");
}

static void an_expired_receiver_certificate_is_refused(void **state)
{
	struct pair pair;

	(void)state;
	make_certificate("stale", "ca", PKI_ROLE_RECEIVER, -20, -1);
	pair_meet(&pair, agent_context("ca", "web1"), receiver_context("ca", "stale"),
		  TLS_ALPN_SESSION);
	assert_refused(&pair, EKEYEXPIRED, "the receiver's certificate expired on 20", EKEYEXPIRED,
		       "this receiver's certificate: it expired on 20");
}

static void a_receiver_of_another_ca_is_refused(void **state)
{
	struct pair pair;

	(void)state;
	pair_meet(&pair, agent_context("ca", "web1"), receiver_context("other", "other/receiver"),
		  TLS_ALPN_SESSION);
	assert_refused(&pair, EKEYREJECTED,
		       "signed by another CA than the one this machine enrolled", EKEYREJECTED,
		       "the agent refused this receiver: it enrolled with another CA");
}

static void a_machine_of_another_ca_is_refused(void **state)
{
	struct pair pair;

	(void)state;
	make_certificate("alien", "other", PKI_ROLE_MACHINE, -1, 10);
	pair_meet(&pair, agent_context("ca", "alien"), receiver_context("ca", "ca/receiver"),
		  TLS_ALPN_SESSION);
	assert_refused(&pair, EKEYREJECTED, "enrolled with another receiver", EKEYREJECTED,
		       "not signed by this receiver's CA");
}

static void a_machine_cannot_pose_as_the_receiver(void **state)
{
	struct pair pair;

	(void)state;
	make_certificate("evil", "ca", PKI_ROLE_MACHINE, -1, 10);
	pair_meet(&pair, agent_context("ca", "web1"), receiver_context("ca", "evil"),
		  TLS_ALPN_SESSION);
	assert_refused(&pair, EKEYREJECTED, "the peer is no receiver", EKEYREJECTED,
		       "not a receiver's");
}

/* A certificate of the CA that OpenSSL would take for any purpose, since it names none: the role counts. */
static void make_certificate_without_usage(const char *name, const char *uri)
{
	EVP_PKEY *key = pki_key_new(), *ca_key;
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, uri);
	X509 *ca, *leaf = X509_new();

	assert_int_equal(pki_certificate_load(path_of("ca/ca.pem"), &ca, NULL), 0);
	assert_int_equal(pki_key_load(path_of("ca/ca.key"), &ca_key, NULL), 0);
	assert_non_null(extension);
	assert_true(X509_set_version(leaf, X509_VERSION_3) &&
		    ASN1_INTEGER_set(X509_get_serialNumber(leaf), 4711) &&
		    X509_gmtime_adj(X509_getm_notBefore(leaf), -DAY_S) &&
		    X509_gmtime_adj(X509_getm_notAfter(leaf), DAY_S) &&
		    X509_set_pubkey(leaf, key) &&
		    X509_set_issuer_name(leaf, X509_get_subject_name(ca)) &&
		    X509_add_ext(leaf, extension, -1) && X509_sign(leaf, ca_key, EVP_sha256()));
	write_text(path_of("%s.pem", name), pki_certificate_to_pem(leaf));
	write_text(path_of("%s.key", name), pki_key_to_pem(key));
	X509_EXTENSION_free(extension);
	X509_free(leaf);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
}

static void without_a_usage_the_role_counts(void **state)
{
	struct pair pair;

	(void)state;
	make_certificate_without_usage("any", "URI:urn:blkferry:machine:any");
	pair_meet(&pair, agent_context("ca", "web1"), receiver_context("ca", "any"),
		  TLS_ALPN_SESSION);
	assert_int_equal(pair.agent.error, -EKEYREJECTED);
	assert_non_null(strstr(pair.agent.fault.text, "the peer is no receiver"));
	pair_free(&pair);

	make_certificate_without_usage("any", "URI:urn:blkferry:receiver");
	pair_meet(&pair, agent_context("ca", "any"), receiver_context("ca", "ca/receiver"),
		  TLS_ALPN_SESSION);
	assert_refused(&pair, EACCES, "not a machine's", EKEYREJECTED, "the peer is no machine");
}

static void the_receiver_cannot_pose_as_a_machine(void **state)
{
	struct pair pair;

	(void)state;
	pair_meet(&pair, agent_context("ca", "ca/receiver"), receiver_context("ca", "ca/receiver"),
		  TLS_ALPN_SESSION);
	assert_refused(&pair, EKEYREJECTED, "not a machine's", EKEYREJECTED,
		       "the peer is no machine");
}

static void a_session_without_certificate_is_refused(void **state)
{
	struct pair pair;

	(void)state;
	pair_meet(&pair, agent_context("ca", NULL), receiver_context("ca", "ca/receiver"),
		  TLS_ALPN_SESSION);
	assert_refused(&pair, EACCES, "enroll it first", EACCES, "showed no certificate");
}

static void an_unknown_alpn_is_refused(void **state)
{
	struct pair pair;

	(void)state;
	pair_meet(&pair, agent_context("ca", "web1"), receiver_context("ca", "ca/receiver"),
		  "blkferry/99");
	assert_refused(&pair, EPROTONOSUPPORT, "this version of blkferry's protocol",
		       EPROTONOSUPPORT, "not blkferry's protocol");
}

static void enrolment_needs_no_certificate_but_the_right_ca(void **state)
{
	uint8_t right[PKI_FINGERPRINT_BYTES], wrong[PKI_FINGERPRINT_BYTES];
	struct pki_identity identity;
	struct fault fault = {0};
	struct pair pair;
	char *pem = NULL;

	(void)state;
	assert_int_equal(pki_certificate_fingerprint(path_of("ca/ca.pem"), right, NULL), 0);
	assert_int_equal(pki_certificate_fingerprint(path_of("other/ca.pem"), wrong, NULL), 0);
	pair_meet(&pair, agent_context(NULL, NULL), receiver_context("ca", "ca/receiver"),
		  TLS_ALPN_ENROLL);
	assert_int_equal(pair.agent.error, 0);
	assert_int_equal(pair.receiver.error, 0);
	assert_string_equal(tls_stream_alpn(pair.receiver.stream), TLS_ALPN_ENROLL);
	assert_int_equal(tls_stream_peer(pair.receiver.stream, &identity), -ENOENT);
	assert_int_equal(tls_stream_peer(pair.agent.stream, &identity), -ENOENT);

	assert_int_equal(tls_stream_check_ca(pair.agent.stream, wrong, &pem, &fault),
			 -EKEYREJECTED);
	assert_non_null(strstr(fault.text, "not the receiver that made this token"));
	assert_null(pem);
	assert_int_equal(tls_stream_check_ca(pair.agent.stream, right, &pem, &fault), 0);
	assert_int_equal(tls_stream_peer(pair.agent.stream, &identity), 0);
	assert_int_equal(identity.role, PKI_ROLE_RECEIVER);
	write_text(path_of("got.pem"), pem);
	assert_int_equal(pki_certificate_fingerprint(path_of("got.pem"), wrong, NULL), 0);
	assert_memory_equal(wrong, right, sizeof(right));
	pair_free(&pair);
}

/* The right CA is among what it shows, but did not sign it as a receiver: a machine that sits in between
 * can show its receiver's CA too. */
static void enrolment_with_a_machine_in_between_is_refused(void **state)
{
	uint8_t fingerprint[PKI_FINGERPRINT_BYTES];
	struct fault fault = {0};
	struct pair pair;
	char *pem = NULL;

	(void)state;
	assert_int_equal(pki_certificate_fingerprint(path_of("ca/ca.pem"), fingerprint, NULL), 0);
	pair_meet(&pair, agent_context(NULL, NULL), receiver_context("ca", "web1"),
		  TLS_ALPN_ENROLL);
	assert_int_equal(pair.agent.error, 0);
	assert_int_equal(tls_stream_check_ca(pair.agent.stream, fingerprint, &pem, &fault),
			 -EKEYREJECTED);
	assert_non_null(strstr(fault.text, "no receiver"));
	assert_null(pem);
	pair_free(&pair);

	/* And one of another CA that shows this CA beside its own certificate. */
	make_certificate("fake", "other", PKI_ROLE_RECEIVER, -1, 10);
	pair_meet(&pair, agent_context(NULL, NULL), receiver_context("ca", "fake"),
		  TLS_ALPN_ENROLL);
	assert_int_equal(pair.agent.error, 0);
	assert_int_equal(tls_stream_check_ca(pair.agent.stream, fingerprint, &pem, &fault),
			 -EKEYREJECTED);
	assert_null(pem);
	pair_free(&pair);
}

static void send_plain(os_socket_t socket, const void *data, size_t size)
{
	assert_int_equal(os_socket_send(socket, data, size), (long)size);
}

/* The receiver's word for a peer that sends this and then waits. */
static void receiver_hears(const void *data, size_t size, const char *words, int error)
{
	struct tls_context *context = receiver_context("ca", "ca/receiver");
	struct tls_stream *stream = NULL;
	os_socket_t client, server;
	struct fault fault = {0};

	make_sockets(&client, &server);
	send_plain(client, data, size);
	assert_int_equal(tls_stream_accept(context, server, patience(), &stream, &fault), -error);
	print_message("    receiver: %s\n", fault.text);
	assert_non_null(strstr(fault.text, words));
	assert_null(stream);
	os_socket_close(client);
	tls_context_free(context);
}

static void plain_text_and_garbage_are_no_tls(void **state)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: here\r\n\r\n";
	static const char ssh[] = "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n";
	uint8_t garbage[64];

	(void)state;
	receiver_hears(http, sizeof(http) - 1, "does not speak TLS", EPROTO);
	receiver_hears(ssh, sizeof(ssh) - 1, "does not speak TLS", EPROTO);
	memset(garbage, 0xff, sizeof(garbage));
	receiver_hears(garbage, sizeof(garbage), "does not speak TLS", EPROTO);
	memset(garbage, 0, sizeof(garbage));
	receiver_hears(garbage, sizeof(garbage), "does not speak TLS", EPROTO);
}

/* What an agent hears from something else on the port. */
static void agent_hears(const char *greeting, enum fault_class class, const char *words)
{
	struct tls_context *context = agent_context("ca", "web1");
	struct tls_stream *stream = NULL;
	os_socket_t client, server;
	struct fault fault = {0};

	make_sockets(&client, &server);
	send_plain(server, greeting, strlen(greeting));
	os_socket_shutdown_send(server);
	assert_true(tls_stream_connect(context, client, TLS_ALPN_SESSION, patience(), &stream,
				       &fault) < 0);
	print_message("    agent: %s\n", fault.text);
	assert_int_equal(fault.class, class);
	assert_non_null(strstr(fault.text, words));
	os_socket_close(server);
	tls_context_free(context);
}

static void another_service_on_the_port_is_said(void **state)
{
	(void)state;
	agent_hears("220 mail.example.org ESMTP\r\n", FAULT_STOP, "does not speak TLS");
	agent_hears("HTTP/1.1 400 Bad Request\r\n\r\n", FAULT_STOP, "does not speak TLS");
	agent_hears("", FAULT_RETRY, "closed the connection");
}

/* Half a ClientHello, then silence. */
static void half_a_handshake_ends_at_the_deadline(void **state)
{
	static const uint8_t half[] = {0x16, 0x03, 0x01, 0x00, 0xc8, 0x01, 0x00, 0x00, 0xc4, 0x03};
	struct tls_context *context = receiver_context("ca", "ca/receiver");
	struct tls_stream *stream = NULL;
	os_socket_t client, server;
	struct fault fault = {0};
	uint64_t deadline = os_monotonic_ns() + 50 * NS_PER_MS;

	(void)state;
	make_sockets(&client, &server);
	send_plain(client, half, sizeof(half));
	assert_int_equal(tls_stream_accept(context, server, deadline, &stream, &fault), -ETIMEDOUT);
	assert_int_equal(fault.class, FAULT_RETRY);
	assert_non_null(strstr(fault.text, "in time"));
	assert_true(os_monotonic_ns() >= deadline);
	os_socket_close(client);
	tls_context_free(context);
}

static void a_silent_service_ends_at_the_deadline(void **state)
{
	struct tls_context *context = agent_context("ca", "web1");
	struct tls_stream *stream = NULL;
	os_socket_t client, server;
	struct fault fault = {0};

	(void)state;
	make_sockets(&client, &server);
	assert_int_equal(tls_stream_connect(context, client, TLS_ALPN_SESSION,
					    os_monotonic_ns() + 50 * NS_PER_MS, &stream, &fault),
			 -ETIMEDOUT);
	assert_int_equal(fault.class, FAULT_RETRY);
	assert_non_null(strstr(fault.text, "is the port right?"));
	os_socket_close(server);
	tls_context_free(context);
}

/* A client that is not ours. */
static void foreign_client(const char *options, const char *words)
{
	struct tls_context *context = receiver_context("ca", "ca/receiver");
	struct tls_stream *stream = NULL;
	os_socket_t listener, server;
	struct fault fault = {0};
	char command[300];
	FILE *client;

	assert_int_equal(os_socket_listen("127.0.0.1", 0, &listener, &fault), 0);
	snprintf(command, sizeof(command),
		 "openssl s_client %s -connect 127.0.0.1:%u >/dev/null 2>&1", options,
		 os_socket_port(listener));
	client = popen(command, "w");
	assert_non_null(client);
	assert_int_equal(os_socket_accept(listener, PATIENCE_S * NS_PER_S, &server, NULL, 0), 0);
	assert_true(tls_stream_accept(context, server, patience(), &stream, &fault) < 0);
	print_message("    receiver: %s\n", fault.text);
	assert_non_null(strstr(fault.text, words));
	pclose(client);
	os_socket_close(listener);
	tls_context_free(context);
}

static void older_tls_is_refused(void **state)
{
	(void)state;
	foreign_client("-tls1_2", "does not speak TLS 1.3");
}

static void tls_without_alpn_is_refused(void **state)
{
	(void)state;
	foreign_client("", "not blkferry's protocol");
}

static void broken_files_are_named(void **state)
{
	struct tls_context *context = NULL;
	struct fault fault = {0};

	(void)state;
	assert_true(tls_context_new_agent(path_of("none.pem"), NULL, NULL, &context, &fault) < 0);
	assert_non_null(strstr(fault.text, "none.pem"));
	assert_true(tls_context_new_agent(path_of("web1.key"), NULL, NULL, &context, &fault) < 0);
	assert_non_null(strstr(fault.text, "web1.key holds no certificate"));
	assert_true(tls_context_new_agent(path_of("ca/ca.pem"), path_of("web1.pem"),
					  path_of("ca/receiver.key"), &context, &fault) < 0);
	assert_non_null(strstr(fault.text, "do not belong together"));
	assert_null(context);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(enrolled_machines_are_let_in_and_known),
		cmocka_unit_test(another_machine_is_known_as_that_machine),
		cmocka_unit_test(an_expired_machine_certificate_is_refused),
		cmocka_unit_test(a_machine_certificate_of_the_future_is_refused),
		cmocka_unit_test(an_expired_receiver_certificate_is_refused),
		cmocka_unit_test(a_receiver_of_another_ca_is_refused),
		cmocka_unit_test(a_machine_of_another_ca_is_refused),
		cmocka_unit_test(a_machine_cannot_pose_as_the_receiver),
		cmocka_unit_test(the_receiver_cannot_pose_as_a_machine),
		cmocka_unit_test(without_a_usage_the_role_counts),
		cmocka_unit_test(a_session_without_certificate_is_refused),
		cmocka_unit_test(an_unknown_alpn_is_refused),
		cmocka_unit_test(enrolment_needs_no_certificate_but_the_right_ca),
		cmocka_unit_test(enrolment_with_a_machine_in_between_is_refused),
		cmocka_unit_test(plain_text_and_garbage_are_no_tls),
		cmocka_unit_test(another_service_on_the_port_is_said),
		cmocka_unit_test(half_a_handshake_ends_at_the_deadline),
		cmocka_unit_test(a_silent_service_ends_at_the_deadline),
		cmocka_unit_test(older_tls_is_refused),
		cmocka_unit_test(tls_without_alpn_is_refused),
		cmocka_unit_test(broken_files_are_named),
	};

	return cmocka_run_group_tests(tests, set_up_folder, remove_folder);
}
