/* SPDX-License-Identifier: GPL-2.0-or-later */
/* XAPI's client against the stub: transport, sessions, tasks, and errors in words. */
#include "xapi_fixture.h"

static void dom0_needs_no_password(void **state)
{
	char ref[XAPI_REF_MAX], text[XAPI_TEXT_MAX];

	start_unix_stub();
	log_in();
	assert_int_equal(xapi_find(xapi, "SR", "Local storage", ref, &fault), 0);
	assert_int_equal(xapi_get_text(xapi, "SR.get_type", ref, text, sizeof(text), &fault), 0);
	assert_string_equal(text, "ext");
	assert_int_equal(
		xapi_find(xapi, "SR", "11111111-1111-1111-1111-111111111111", text, &fault), 0);
	assert_string_equal(text, ref);
}

static void what_is_not_there_is_told(void **state)
{
	char ref[XAPI_REF_MAX];

	start_unix_stub();
	log_in();
	assert_int_equal(xapi_find(xapi, "SR", "nothing", ref, &fault), -ENOENT);
	assert_non_null(strstr(fault.text, "no SR 'nothing'"));
	assert_int_equal(xapi_callf(xapi, NULL, &fault, "VDI.get_record", "[s]", "OpaqueRef:none"),
			 -ENOENT);
	assert_true(xapi_error_is(xapi, "HANDLE_INVALID"));
	assert_int_equal(xapi_callf(xapi, NULL, &fault, "VDI.fly", "[s]", "x"), -EOPNOTSUPP);
}

static void a_session_that_ended_is_renewed(void **state)
{
	char ref[XAPI_REF_MAX];

	start_unix_stub();
	log_in();
	order("{\"expire\": true}");
	assert_int_equal(xapi_find(xapi, "network", "Pool-wide network associated with eth0", ref,
				   &fault),
			 0);
}

static void sessions_that_never_last_are_given_up(void **state)
{
	uint64_t number;

	start_unix_stub();
	log_in();
	order("{\"fail\": \"VDI.get_virtual_size\", \"error\": [\"SESSION_INVALID\", \"x\"], "
	      "\"times\": 100}");
	assert_true(xapi_get_number(xapi, "VDI.get_virtual_size", "x", &number, &fault) < 0);
	assert_int_equal(fault.class, FAULT_RETRY);
}

static json_t *new_vdi(uint64_t size_bytes)
{
	char sr[XAPI_REF_MAX];

	assert_int_equal(xapi_find(xapi, "SR", "Local storage", sr, &fault), 0);
	return json_pack("[{s:s, s:s, s:s, s:I, s:s, s:b, s:b, s:{}}]", "name_label", "disk",
			 "name_description", "", "SR", sr, "virtual_size", (json_int_t)size_bytes,
			 "type", "user", "sharable", 0, "read_only", 0, "other_config");
}

static void a_task_is_followed_to_its_result(void **state)
{
	char vdi[XAPI_REF_MAX], snapshot[XAPI_REF_MAX], of[XAPI_REF_MAX];
	uint64_t size_bytes;

	start_unix_stub();
	log_in();
	assert_int_equal(xapi_run(xapi, "VDI.create", new_vdi(5000000), 10 * NS_PER_S, vdi,
				  sizeof(vdi), &fault),
			 0);
	assert_int_equal(xapi_get_number(xapi, "VDI.get_virtual_size", vdi, &size_bytes, &fault),
			 0);
	assert_int_equal(size_bytes, 6 * MIB);
	order("{\"pause\": \"VDI.snapshot\", \"seconds\": 0.3}");
	assert_int_equal(xapi_run(xapi, "VDI.snapshot", json_pack("[s, {}]", vdi), 30 * NS_PER_S,
				  snapshot, sizeof(snapshot), &fault),
			 0);
	assert_int_equal(
		xapi_get_text(xapi, "VDI.get_snapshot_of", snapshot, of, sizeof(of), &fault), 0);
	assert_string_equal(of, vdi);
	/* Finished tasks are not left behind. */
	order("{\"call\": \"task.get_all\", \"params\": []}");
	run(text_of("grep -qF '[]' %s/answer", folder));
}

static void a_task_that_fails_says_why(void **state)
{
	start_unix_stub();
	log_in();
	assert_int_equal(xapi_run(xapi, "VDI.create", new_vdi(200 * GIB), 10 * NS_PER_S, NULL, 0,
				  &fault),
			 -ENOSPC);
	assert_int_equal(fault.class, FAULT_STOP);
	assert_non_null(strstr(fault.text, "has no room"));
	order("{\"fail\": \"VDI.create\", \"error\": [\"MYSTERY\", \"a\", \"b\"]}");
	assert_true(xapi_run(xapi, "VDI.create", new_vdi(MIB), 10 * NS_PER_S, NULL, 0, &fault) < 0);
	assert_non_null(strstr(fault.text, "MYSTERY (a, b)"));
}

static void a_task_that_takes_too_long_is_cancelled(void **state)
{
	start_unix_stub();
	log_in();
	order("{\"pause\": \"VDI.create\", \"seconds\": 30}");
	assert_int_equal(xapi_run(xapi, "VDI.create", new_vdi(MIB), NS_PER_S / 5, NULL, 0, &fault),
			 -ETIMEDOUT);
	order("{\"log\": true}");
	run(text_of("grep -q task.cancel %s/answer", folder));
}

static void a_pool_that_is_gone_is_tried_again(void **state)
{
	char ref[XAPI_REF_MAX];

	start_unix_stub();
	log_in();
	end_server(SIGKILL);
	assert_true(xapi_find(xapi, "SR", "Local storage", ref, &fault) < 0);
	assert_int_equal(fault.class, FAULT_RETRY);
}

/* --- over TLS --- */

static char fingerprint[128], certificate[64];

static void make_certificate(void)
{
	char *text;
	size_t size;

	snprintf(certificate, sizeof(certificate), "%s/cert.pem", folder);
	run(text_of("openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=xcp1 "
		    "-addext subjectAltName=IP:127.0.0.1 -keyout %s/cert.pem -out %s/only.pem "
		    "2>/dev/null && cat %s/only.pem >>%s/cert.pem",
		    folder, folder, folder, folder));
	run(text_of("openssl x509 -in %s/only.pem -noout -fingerprint -sha256 | sed 's/.*=//' "
		    ">%s/fingerprint; printf secret >%s/password",
		    folder, folder, folder));
	assert_int_equal(os_file_read(in_folder("fingerprint"), 120, &text, &size), 0);
	text[strcspn(text, "\n")] = '\0';
	snprintf(fingerprint, sizeof(fingerprint), "%s", text);
	free(text);
}

static void start_tls_stub(void)
{
	char *text;
	size_t size;

	make_certificate();
	server_pid = start_stub("stub", text_of("--certificate %s", certificate));
	wait_for_file(in_folder("stub/port"));
	assert_int_equal(os_file_read(in_folder("stub/port"), 64, &text, &size), 0);
	snprintf(host_text, sizeof(host_text), "127.0.0.1:%d", atoi(text));
	free(text);
}

static struct xapi_options tls_options(void)
{
	static char password[128];

	snprintf(password, sizeof(password), "%s/password", folder);
	return (struct xapi_options){.host = host_text, .user = "root", .password_file = password};
}

static void a_known_certificate_is_enough(void **state)
{
	struct xapi_options options;
	char two[300];

	start_tls_stub();
	options = tls_options();
	snprintf(two, sizeof(two), "%064d, %s", 0, fingerprint);
	options.fingerprint = two;
	if (try_login(&options))
		fail_msg("%s", fault.text);
}

static void another_certificate_is_refused_with_advice(void **state)
{
	struct xapi_options options;

	start_tls_stub();
	options = tls_options();
	options.fingerprint = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
	assert_int_equal(try_login(&options), -EKEYREJECTED);
	assert_non_null(strstr(fault.text, fingerprint));
	assert_int_equal(fault.class, FAULT_STOP);
}

static void without_a_fingerprint_a_ca_must_have_signed(void **state)
{
	struct xapi_options options;
	char ca[64];

	start_tls_stub();
	options = tls_options();
	assert_int_equal(try_login(&options), -EKEYREJECTED);
	assert_non_null(strstr(fault.text, fingerprint));
	snprintf(ca, sizeof(ca), "%s/only.pem", folder);
	options.ca_file = ca;
	if (try_login(&options))
		fail_msg("%s", fault.text);
}

static void the_name_in_the_certificate_counts(void **state)
{
	struct xapi_options options;
	char ca[64], host[64];

	start_tls_stub();
	options = tls_options();
	snprintf(ca, sizeof(ca), "%s/only.pem", folder);
	snprintf(host, sizeof(host), "localhost%s", strchr(host_text, ':'));
	options.ca_file = ca;
	options.host = host;
	assert_int_equal(try_login(&options), -EKEYREJECTED);
}

static void a_wrong_password_is_told(void **state)
{
	struct xapi_options options;

	start_tls_stub();
	options = tls_options();
	options.fingerprint = fingerprint;
	save("password", "wrong\n", 6);
	assert_int_equal(try_login(&options), -EACCES);
	assert_int_equal(fault.class, FAULT_STOP);
	assert_non_null(strstr(fault.text, "password-file"));
}

static void a_host_that_is_no_coordinator_says_who_is(void **state)
{
	struct xapi_options options;
	char ref[XAPI_REF_MAX], coordinator[sizeof(host_text)];
	char *text;
	size_t size;
	pid_t slave;

	start_tls_stub();
	snprintf(coordinator, sizeof(coordinator), "%s", host_text);
	slave = start_stub("slave",
			   text_of("--certificate %s --slave-of %s", certificate, coordinator));
	wait_for_file(in_folder("slave/port"));
	assert_int_equal(os_file_read(in_folder("slave/port"), 64, &text, &size), 0);
	snprintf(host_text, sizeof(host_text), "127.0.0.1:%d", atoi(text));
	free(text);
	options = tls_options();
	options.fingerprint = fingerprint;
	if (try_login(&options))
		fail_msg("%s", fault.text);
	assert_int_equal(xapi_find(xapi, "SR", "Local storage", ref, &fault), 0);
	end_pid(slave, SIGKILL);
}

static void bad_options_are_refused(void **state)
{
	const struct xapi_options bad[] = {
		{.host = ""},
		{.host = "http://x", .user = "root", .password_file = "/x"},
		{.host = "x/../y", .user = "root", .password_file = "/x"},
		{.host = "unix:relative"},
		{.host = "xcp1"},
		{.host = "xcp1", .user = "root", .password_file = "/x", .fingerprint = "12:34"},
		{.host = "xcp1", .user = "root", .password_file = "/x", .fingerprint = ""},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(xapi_check_options(&bad[i], &fault), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		XAPI_TEST(dom0_needs_no_password),
		XAPI_TEST(what_is_not_there_is_told),
		XAPI_TEST(a_session_that_ended_is_renewed),
		XAPI_TEST(sessions_that_never_last_are_given_up),
		XAPI_TEST(a_task_is_followed_to_its_result),
		XAPI_TEST(a_task_that_fails_says_why),
		XAPI_TEST(a_task_that_takes_too_long_is_cancelled),
		XAPI_TEST(a_pool_that_is_gone_is_tried_again),
		XAPI_TEST(a_known_certificate_is_enough),
		XAPI_TEST(another_certificate_is_refused_with_advice),
		XAPI_TEST(without_a_fingerprint_a_ca_must_have_signed),
		XAPI_TEST(the_name_in_the_certificate_counts),
		XAPI_TEST(a_wrong_password_is_told),
		XAPI_TEST(a_host_that_is_no_coordinator_says_who_is),
		XAPI_TEST(bad_options_are_refused),
	};

	if (!is_installed("python3") || !is_installed("openssl")) {
		puts("python3 or openssl is not installed");
		return SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
