// SPDX-License-Identifier: GPL-2.0-or-later
/* Enrolment, agent side, against receivers that answer right, wrong, or not at all. */
#include "tests/unit/common/tls_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#include "agent/enroll.h"
#include "common/enroll_check.h"

enum answer {
	ANSWER_CERTIFICATE = 1,
	ANSWER_OTHER_KEY,
	ANSWER_REFUSAL,
	ANSWER_NONSENSE,
	ANSWER_CUT
};

/* A receiver that serves one enrolment. */
struct fake {
	os_socket_t listener;
	enum answer answer;
	const char *certificate; /* what it shows: "ca/receiver" */
	bool has_secret;	 /* it was told one */
	struct os_thread thread;
};

static void reply(struct tls_stream *stream, enum enroll_status status, const char *name,
		  const char *body)
{
	struct enroll_reply head = {.magic = ENROLL_MAGIC,
				    .version = ENROLL_VERSION,
				    .status = status,
				    .bytes = (uint32_t)strlen(body)};

	memcpy(head.name, name, strlen(name));
	assert_int_equal(tls_stream_write(stream, &head, sizeof(head), patience()), 0);
	assert_int_equal(tls_stream_write(stream, body, strlen(body), patience()), 0);
}

static char *sign(const char *request)
{
	uint8_t fingerprint[PKI_FINGERPRINT_BYTES];
	char *pem;

	assert_int_equal(pki_request_sign(path_of("ca"), request, strlen(request), "web7", 10, &pem,
					  fingerprint, NULL),
			 0);
	return pem;
}

static void serve_one(struct fake *fake, struct tls_stream *stream)
{
	char pem[ENROLL_REQUEST_MAX + 1] = "", *certificate, *key, *other;
	struct enroll_request request;

	if (tls_stream_read(stream, &request, sizeof(request), patience()) != 0)
		return;
	fake->has_secret = true;
	assert_int_equal(enroll_check_request(&request, NULL), 0);
	assert_int_equal(tls_stream_read(stream, pem, request.request_bytes, patience()), 0);
	switch (fake->answer) {
	case ANSWER_CERTIFICATE:
		certificate = sign(pem);
		reply(stream, ENROLL_CERTIFIED, "web7", certificate);
		free(certificate);
		return;
	case ANSWER_OTHER_KEY:
		assert_int_equal(pki_request_new(&key, &other, NULL), 0);
		certificate = sign(other);
		reply(stream, ENROLL_CERTIFIED, "web7", certificate);
		free(certificate);
		free(other);
		free(key);
		return;
	case ANSWER_REFUSAL:
		reply(stream, ENROLL_REFUSED, "", "no token of mine");
		return;
	case ANSWER_NONSENSE:
		reply(stream, ENROLL_CERTIFIED, "../web7", "x");
		return;
	case ANSWER_CUT:
		return;
	}
}

static void run_fake(void *argument)
{
	struct fake *fake = argument;
	struct tls_context *context = receiver_context("ca", fake->certificate);
	struct tls_stream *stream = NULL;
	os_socket_t server;

	if (os_socket_accept(fake->listener, PATIENCE_S * NS_PER_S, &server, NULL, 0) == 0 &&
	    tls_stream_accept(context, server, patience(), &stream, NULL) == 0)
		serve_one(fake, stream);
	tls_stream_free(stream);
	tls_context_free(context);
}

static void make_token(const char *ca, char text[TOKEN_TEXT_MAX])
{
	struct token token;

	os_random(&token, sizeof(token));
	assert_int_equal(pki_certificate_fingerprint(path_of("%s/ca.pem", ca), token.ca_fingerprint,
						     NULL),
			 0);
	token_format(&token, text);
}

static uint16_t start_fake(struct fake *fake, enum answer answer, const char *certificate)
{
	*fake = (struct fake){.answer = answer, .certificate = certificate};
	assert_int_equal(os_socket_listen("127.0.0.1", 0, &fake->listener, NULL), 0);
	assert_int_equal(os_thread_start(&fake->thread, "fake", run_fake, fake), 0);
	return os_socket_port(fake->listener);
}

static void end_fake(struct fake *fake)
{
	os_thread_join(&fake->thread);
	os_socket_close(fake->listener);
}

static void what_is_needed_is_stored(void **state)
{
	char text[TOKEN_TEXT_MAX], name[PKI_NAME_MAX], expected[64], *address;
	struct fault fault = {0};
	struct fake fake;
	struct stat status;
	size_t size;
	uint16_t port;

	(void)state;
	make_token("ca", text);
	port = start_fake(&fake, ANSWER_CERTIFICATE, "ca/receiver");
	if (enroll_run("127.0.0.1", port, text, path_of("state"), ENROLL_KEEP, name, &fault) != 0)
		fail_msg("%s", fault.text);
	end_fake(&fake);
	assert_string_equal(name, "web7");
	assert_int_equal(stat(path_of("state/machine.key"), &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	assert_int_equal(stat(path_of("state"), &status), 0);
	assert_int_equal(status.st_mode & 0777, 0700);
	assert_int_equal(os_file_read(path_of("state/receiver"), 100, &address, &size), 0);
	snprintf(expected, sizeof(expected), "127.0.0.1:%u\n", port);
	assert_string_equal(address, expected);
	free(address);
	/* It is good for a context. */
	assert_int_equal(rename(path_of("state/ca.pem"), path_of("state-ca.pem")), 0);
	tls_context_free(agent_context("ca", "state/machine"));
}

/* Nothing may be stored, and the fault has these words. */
static void assert_fails(enum answer answer, const char *certificate, const char *token_ca,
			 bool hears_secret, const char *words)
{
	char text[TOKEN_TEXT_MAX], name[PKI_NAME_MAX];
	struct fault fault = {0};
	struct fake fake;
	uint16_t port;

	make_token(token_ca, text);
	port = start_fake(&fake, answer, certificate);
	assert_true(enroll_run("127.0.0.1", port, text, path_of("state"), ENROLL_KEEP, name,
			       &fault) < 0);
	end_fake(&fake);
	print_message("    %s\n", fault.text);
	assert_non_null(strstr(fault.text, words));
	assert_int_equal(fake.has_secret, hears_secret);
	assert_int_equal(access(path_of("state/machine.pem"), F_OK), -1);
	assert_int_equal(access(path_of("state/machine.key"), F_OK), -1);
}

static void a_receiver_of_another_ca_never_hears_the_secret(void **state)
{
	(void)state;
	assert_fails(ANSWER_CERTIFICATE, "ca/receiver", "other", false,
		     "not the receiver that made this token");
}

static void a_machine_in_between_never_hears_the_secret(void **state)
{
	(void)state;
	assert_fails(ANSWER_CERTIFICATE, "web1", "ca", false, "no receiver");
}

static void a_refusal_is_told(void **state)
{
	(void)state;
	assert_fails(ANSWER_REFUSAL, "ca/receiver", "ca", true,
		     "the receiver says: no token of mine");
}

static void a_certificate_that_is_not_ours_is_not_stored(void **state)
{
	(void)state;
	assert_fails(ANSWER_OTHER_KEY, "ca/receiver", "ca", true, "for another key");
	assert_fails(ANSWER_NONSENSE, "ca/receiver", "ca", true, "no name");
}

static void a_cut_says_that_the_token_may_be_used_up(void **state)
{
	(void)state;
	assert_fails(ANSWER_CUT, "ca/receiver", "ca", true, "it was used up");
}

static void an_enrolment_is_replaced_only_when_told(void **state)
{
	char text[TOKEN_TEXT_MAX], name[PKI_NAME_MAX];
	struct fault fault = {0};
	struct fake fake;
	uint16_t port;

	(void)state;
	make_token("ca", text);
	assert_int_equal(os_folder_make(path_of("state"), 0700), 0);
	assert_int_equal(os_file_write_atomic(path_of("state/machine.pem"), "old", 3, 0600), 0);
	/* Nothing listens on port 1: it must not even try. */
	assert_int_equal(enroll_run("127.0.0.1", 1, text, path_of("state"), ENROLL_KEEP, name,
				    &fault),
			 -EEXIST);
	assert_non_null(strstr(fault.text, "--replace"));
	port = start_fake(&fake, ANSWER_CERTIFICATE, "ca/receiver");
	assert_int_equal(enroll_run("127.0.0.1", port, text, path_of("state"), ENROLL_REPLACE, name,
				    NULL),
			 0);
	end_fake(&fake);
	tls_context_free(agent_context("ca", "state/machine"));
}

static int fresh_state(void **state)
{
	(void)state;
	return os_folder_remove(path_of("state"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, fresh_state)
	const struct CMUnitTest tests[] = {
		TEST(what_is_needed_is_stored),
		TEST(a_receiver_of_another_ca_never_hears_the_secret),
		TEST(a_machine_in_between_never_hears_the_secret),
		TEST(a_refusal_is_told),
		TEST(a_certificate_that_is_not_ours_is_not_stored),
		TEST(a_cut_says_that_the_token_may_be_used_up),
		TEST(an_enrolment_is_replaced_only_when_told),
	};

	return cmocka_run_group_tests(tests, set_up_folder, remove_folder);
}
