// SPDX-License-Identifier: GPL-2.0-or-later
/* Enrolment, receiver side: what a token gives, how often, how long; and which certificate counts. */
#include "tests/unit/common/tls_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#include "common/enroll_check.h"
#include "receiver/enroll.h"
#include "receiver/init.h"

#define HOUR_NS (3600 * NS_PER_S)

static int set_up(void **state)
{
	struct fault fault = {0};

	(void)state;
	strcpy(folder, "/tmp/blkferry-test-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	if (receiver_init(path_of("ca"), 30, &fault) != 0)
		fail_msg("%s", fault.text);
	return 0;
}

/* A receiver that serves one enrolment. */
struct serving {
	char name[PKI_NAME_MAX];
	os_socket_t socket;
	struct fault fault;
	int error;
	struct os_thread thread;
};

static void serve(void *argument)
{
	struct serving *serving = argument;
	struct tls_context *context = receiver_context("ca", "ca/receiver");
	struct tls_stream *stream = NULL;

	serving->error =
		tls_stream_accept(context, serving->socket, patience(), &stream, &serving->fault);
	if (!serving->error)
		serving->error = enroll_serve(stream, "a test", path_of("ca"), 10, serving->name,
					      &serving->fault);
	tls_stream_free(stream);
	tls_context_free(context);
}

static struct tls_stream *start_serving(struct serving *serving, struct tls_context *agent)
{
	struct tls_stream *stream = NULL;
	os_socket_t client;

	memset(serving, 0, sizeof(*serving));
	make_sockets(&client, &serving->socket);
	assert_int_equal(os_thread_start(&serving->thread, "serve", serve, serving), 0);
	assert_int_equal(
		tls_stream_connect(agent, client, TLS_ALPN_ENROLL, patience(), &stream, NULL), 0);
	return stream;
}

struct answer {
	struct enroll_reply reply;
	char body[ENROLL_CERTIFICATE_MAX + 1];
	int receiver_error;
	char receiver_text[FAULT_TEXT_MAX];
};

/* Sends bytes as an agent would, and returns what comes back. */
static void ask(const void *request, size_t size, const char *pem, struct answer *answer)
{
	struct tls_context *agent = agent_context(NULL, NULL);
	struct serving serving;
	struct tls_stream *stream = start_serving(&serving, agent);

	memset(answer, 0, sizeof(*answer));
	assert_int_equal(tls_stream_write(stream, request, size, patience()), 0);
	if (pem)
		assert_int_equal(tls_stream_write(stream, pem, strlen(pem), patience()), 0);
	assert_int_equal(tls_stream_read(stream, &answer->reply, sizeof(answer->reply), patience()),
			 0);
	assert_int_equal(enroll_check_reply(&answer->reply, NULL), 0);
	assert_int_equal(tls_stream_read(stream, answer->body, answer->reply.bytes, patience()), 0);
	tls_stream_free(stream);
	os_thread_join(&serving.thread);
	tls_context_free(agent);
	answer->receiver_error = serving.error;
	memcpy(answer->receiver_text, serving.fault.text, sizeof(serving.fault.text));
}

static void ask_with_token(const char *text, const char *pem, struct answer *answer)
{
	struct enroll_request request = {.magic = ENROLL_MAGIC,
					 .version = ENROLL_VERSION,
					 .request_bytes = (uint32_t)strlen(pem)};
	struct token token;

	assert_int_equal(token_parse(text, &token, NULL), 0);
	memcpy(request.token_id, token.id, sizeof(request.token_id));
	memcpy(request.secret, token.secret, sizeof(request.secret));
	ask(&request, sizeof(request), pem, answer);
}

static void new_token(const char *name, uint64_t valid_ns, char text[TOKEN_TEXT_MAX])
{
	struct fault fault = {0};

	if (enroll_token_new(path_of("ca"), name, valid_ns, text, &fault) != 0)
		fail_msg("%s", fault.text);
}

static void enroll(const char *name, uint8_t fingerprint[PKI_FINGERPRINT_BYTES])
{
	char text[TOKEN_TEXT_MAX], *key, *pem;
	struct answer answer;

	new_token(name, HOUR_NS, text);
	assert_int_equal(pki_request_new(&key, &pem, NULL), 0);
	ask_with_token(text, pem, &answer);
	assert_int_equal(answer.receiver_error, 0);
	assert_int_equal(answer.reply.status, ENROLL_CERTIFIED);
	assert_string_equal(answer.reply.name, name);
	assert_int_equal(
		os_file_write_atomic(path_of("got.pem"), answer.body, answer.reply.bytes, 0600), 0);
	assert_int_equal(pki_certificate_fingerprint(path_of("got.pem"), fingerprint, NULL), 0);
	free(key);
	free(pem);
}

static void assert_refused(const struct answer *answer, const char *words)
{
	print_message("    receiver: %s\n", answer->receiver_text);
	assert_true(answer->receiver_error < 0);
	assert_int_equal(answer->reply.status, ENROLL_REFUSED);
	assert_non_null(strstr(answer->body, words));
	assert_non_null(strstr(answer->receiver_text, words));
}

static void a_token_gives_a_certificate_that_counts(void **state)
{
	uint8_t fingerprint[PKI_FINGERPRINT_BYTES];
	struct stat status;

	(void)state;
	enroll("web1", fingerprint);
	assert_int_equal(enroll_check_fingerprint(path_of("ca"), "web1", fingerprint), 0);
	assert_int_equal(stat(path_of("ca/machines/web1/certificate"), &status), 0);
	assert_int_equal(stat(path_of("ca/tokens"), &status), 0);
	assert_int_equal(status.st_mode & 0777, 0700);
}

static void a_token_works_once(void **state)
{
	char text[TOKEN_TEXT_MAX], *key, *pem;
	struct answer answer;

	(void)state;
	new_token("web1", HOUR_NS, text);
	assert_int_equal(pki_request_new(&key, &pem, NULL), 0);
	ask_with_token(text, pem, &answer);
	assert_int_equal(answer.reply.status, ENROLL_CERTIFIED);
	ask_with_token(text, pem, &answer);
	assert_refused(&answer, "not known (any more)");
	free(key);
	free(pem);
}

static void an_expired_token_says_so(void **state)
{
	char text[TOKEN_TEXT_MAX], *key, *pem;
	struct answer answer;

	(void)state;
	new_token("web1", 0, text);
	assert_int_equal(pki_request_new(&key, &pem, NULL), 0);
	ask_with_token(text, pem, &answer);
	assert_refused(&answer, "this token for machine web1 expired on 20");
	/* The next new token sweeps it away. */
	new_token("web2", HOUR_NS, text);
	ask_with_token(text, pem, &answer);
	assert_string_equal(answer.reply.name, "web2");
	free(key);
	free(pem);
}

static void a_wrong_secret_is_refused_and_leaves_the_token(void **state)
{
	char text[TOKEN_TEXT_MAX], wrong[TOKEN_TEXT_MAX], *key, *pem;
	struct answer answer;
	struct token token;
	uint64_t start = os_monotonic_ns();

	(void)state;
	new_token("web1", HOUR_NS, text);
	assert_int_equal(token_parse(text, &token, NULL), 0);
	token.secret[15] ^= 1;
	token_format(&token, wrong);
	assert_int_equal(pki_request_new(&key, &pem, NULL), 0);
	ask_with_token(wrong, pem, &answer);
	assert_refused(&answer, "not known (any more)");
	assert_true(os_monotonic_ns() - start >= NS_PER_S);
	ask_with_token(text, pem, &answer);
	assert_int_equal(answer.reply.status, ENROLL_CERTIFIED);
	free(key);
	free(pem);
}

static void a_bad_signing_request_does_not_cost_the_token(void **state)
{
	char text[TOKEN_TEXT_MAX], *key, *pem;
	struct answer answer;

	(void)state;
	new_token("web1", HOUR_NS, text);
	assert_int_equal(pki_request_new(&key, &pem, NULL), 0);
	ask_with_token(text, "-----BEGIN NONSENSE-----", &answer);
	assert_refused(&answer, "cannot be read");
	ask_with_token(text, pem, &answer);
	assert_int_equal(answer.reply.status, ENROLL_CERTIFIED);
	free(key);
	free(pem);
}

static void messages_that_break_the_limits_are_refused(void **state)
{
	struct enroll_request request = {.magic = ENROLL_MAGIC,
					 .version = ENROLL_VERSION,
					 .request_bytes = ENROLL_REQUEST_MAX + 1};
	struct answer answer;

	(void)state;
	ask(&request, sizeof(request), NULL, &answer);
	assert_refused(&answer, "has 8193 bytes: 1 to 8192 is right");
	request.request_bytes = 0;
	ask(&request, sizeof(request), NULL, &answer);
	assert_refused(&answer, "has 0 bytes");
	request.version = 9;
	ask(&request, sizeof(request), NULL, &answer);
	assert_refused(&answer, "version 9");
	request.magic = 1;
	ask(&request, sizeof(request), NULL, &answer);
	assert_refused(&answer, "no enrolment message");
}

static void a_new_certificate_revokes_the_old_one(void **state)
{
	uint8_t first[PKI_FINGERPRINT_BYTES], second[PKI_FINGERPRINT_BYTES];

	(void)state;
	enroll("web1", first);
	enroll("web1", second);
	assert_int_equal(enroll_check_fingerprint(path_of("ca"), "web1", first), -EKEYREVOKED);
	assert_int_equal(enroll_check_fingerprint(path_of("ca"), "web1", second), 0);
	/* That of one machine never counts for another. */
	assert_int_equal(enroll_check_fingerprint(path_of("ca"), "db2", second), -ENOENT);
	assert_int_equal(os_folder_remove(path_of("ca/machines/web1")), 0);
	assert_int_equal(enroll_check_fingerprint(path_of("ca"), "web1", second), -ENOENT);
}

static void names_cannot_leave_the_folder(void **state)
{
	uint8_t fingerprint[PKI_FINGERPRINT_BYTES] = {0};
	char text[TOKEN_TEXT_MAX];
	struct fault fault = {0};

	(void)state;
	assert_true(enroll_check_fingerprint(path_of("ca"), "../../etc", fingerprint) < 0);
	assert_int_equal(enroll_token_new(path_of("ca"), "../x", HOUR_NS, text, &fault), -EINVAL);
	assert_non_null(strstr(fault.text, "cannot be a machine's name"));
}

struct contender {
	char text[TOKEN_TEXT_MAX];
	const char *pem;
	struct answer answer;
	struct os_thread thread;
};

static void contend(void *argument)
{
	struct contender *contender = argument;

	ask_with_token(contender->text, contender->pem, &contender->answer);
}

static void of_several_at_once_one_gets_the_certificate(void **state)
{
	static struct contender contenders[4];
	unsigned int certified = 0;
	char *key, *pem;

	(void)state;
	assert_int_equal(pki_request_new(&key, &pem, NULL), 0);
	new_token("web1", HOUR_NS, contenders[0].text);
	for (int i = 0; i < 4; i++) {
		contenders[i].pem = pem;
		memcpy(contenders[i].text, contenders[0].text, TOKEN_TEXT_MAX);
		assert_int_equal(os_thread_start(&contenders[i].thread, "contend", contend,
						 &contenders[i]),
				 0);
	}
	for (int i = 0; i < 4; i++) {
		os_thread_join(&contenders[i].thread);
		certified += contenders[i].answer.reply.status == ENROLL_CERTIFIED;
	}
	assert_int_equal(certified, 1);
	free(key);
	free(pem);
}

static void init_works_once(void **state)
{
	struct fault fault = {0};

	(void)state;
	assert_int_equal(receiver_init(path_of("ca"), 30, &fault), -EEXIST);
	assert_non_null(strstr(fault.text, "is there already"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, remove_folder)
	const struct CMUnitTest tests[] = {
		TEST(a_token_gives_a_certificate_that_counts),
		TEST(a_token_works_once),
		TEST(an_expired_token_says_so),
		TEST(a_wrong_secret_is_refused_and_leaves_the_token),
		TEST(a_bad_signing_request_does_not_cost_the_token),
		TEST(messages_that_break_the_limits_are_refused),
		TEST(a_new_certificate_revokes_the_old_one),
		TEST(names_cannot_leave_the_folder),
		TEST(of_several_at_once_one_gets_the_certificate),
		TEST(init_works_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
