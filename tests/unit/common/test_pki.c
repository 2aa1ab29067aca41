// SPDX-License-Identifier: GPL-2.0-or-later
/* The CA and its certificates: what they say, who can do what with them, file modes. */
#include "common/pki.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <cmocka.h>

#include "common/os_file.h"
#include "common/pki_make.h"

#define DAY_S 86400

static char folder[64];

static const char *path_of(const char *name)
{
	static char paths[4][128];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static int set_up(void **state)
{
	struct fault fault = {0};

	(void)state;
	strcpy(folder, "/tmp/blkferry-test-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	if (pki_init(folder, "a-host", 30, &fault) != 0)
		fail_msg("%s", fault.text);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return os_folder_remove(folder);
}

static X509 *load(const char *name)
{
	struct fault fault = {0};
	X509 *certificate;

	if (pki_certificate_load(path_of(name), &certificate, &fault) != 0)
		fail_msg("%s", fault.text);
	return certificate;
}

static char *sign(const char *name, unsigned int days)
{
	uint8_t fingerprint[PKI_FINGERPRINT_BYTES];
	char *key, *request, *pem = NULL;
	struct fault fault = {0};

	assert_int_equal(pki_request_new(&key, &request, &fault), 0);
	if (pki_request_sign(folder, request, strlen(request), name, days, &pem, fingerprint,
			     &fault) != 0)
		fail_msg("%s", fault.text);
	free(key);
	free(request);
	return pem;
}

static void names_that_fit_in_a_path_and_a_uri_are_valid(void **state)
{
	static const char *const good[] = {
		"a", "web1", "Web-1.example_x",
		"0", "_",    "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabc"};
	static const char *const bad[] = {
		"",
		".",
		"..",
		".a",
		"-a",
		"a b",
		"a/b",
		"a\n",
		"a,b",
		"\xc3\xa4",
		"a:b",
		"a%b",
		"abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(pki_name_is_valid(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(pki_name_is_valid(bad[i]));
}

static void init_makes_files_with_private_keys(void **state)
{
	static const char *const names[] = {"ca.pem", "ca.key", "receiver.pem", "receiver.key"};
	struct stat status;

	(void)state;
	for (int i = 0; i < 4; i++) {
		assert_int_equal(stat(path_of(names[i]), &status), 0);
		assert_int_equal(status.st_mode & 0777, strstr(names[i], ".key") ? 0600 : 0644);
	}
}

static void init_never_replaces_a_ca(void **state)
{
	uint8_t before[PKI_FINGERPRINT_BYTES], after[PKI_FINGERPRINT_BYTES];
	struct fault fault = {0};

	(void)state;
	assert_int_equal(pki_certificate_fingerprint(path_of("ca.pem"), before, NULL), 0);
	assert_int_equal(pki_init(folder, "a-host", 30, &fault), -EEXIST);
	assert_non_null(strstr(fault.text, "is there already"));
	assert_int_equal(pki_certificate_fingerprint(path_of("ca.pem"), after, NULL), 0);
	assert_memory_equal(before, after, sizeof(before));
	/* One that was cut short before its last file is simply done again. */
	assert_int_equal(unlink(path_of("ca.pem")), 0);
	assert_int_equal(pki_init(folder, "a-host", 30, &fault), 0);
}

static void days_are_limited(void **state)
{
	struct fault fault = {0};

	(void)state;
	assert_int_equal(pki_init(path_of("x"), "h", 0, &fault), -EINVAL);
	assert_int_equal(pki_init(path_of("x"), "h", PKI_DAYS_MAX + 1, &fault), -EINVAL);
	assert_int_equal(access(path_of("x"), F_OK), -1);
}

static void the_ca_can_sign_leaves_only(void **state)
{
	X509 *ca = load("ca.pem");
	int critical = 0;
	BASIC_CONSTRAINTS *basic = X509_get_ext_d2i(ca, NID_basic_constraints, &critical, NULL);

	(void)state;
	assert_non_null(basic);
	assert_true(critical);
	assert_true(basic->ca);
	assert_int_equal(ASN1_INTEGER_get(basic->pathlen), 0);
	assert_int_equal(X509_get_key_usage(ca), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	assert_non_null(X509_get0_subject_key_id(ca));
	BASIC_CONSTRAINTS_free(basic);
	X509_free(ca);
}

static void leaves_say_their_role_and_nothing_more(void **state)
{
	struct pki_identity identity;
	X509 *receiver = load("receiver.pem"), *machine;
	char *pem = sign("web1", 10);

	(void)state;
	machine = pki_certificate_from_pem(pem, strlen(pem));
	assert_non_null(machine);
	assert_int_equal(X509_get_extended_key_usage(receiver), XKU_SSL_SERVER);
	assert_int_equal(X509_get_extended_key_usage(machine), XKU_SSL_CLIENT);
	assert_int_equal(X509_get_key_usage(machine), KU_DIGITAL_SIGNATURE);
	assert_int_equal(X509_check_ca(machine), 0);
	assert_non_null(X509_get0_authority_key_id(machine));
	assert_non_null(X509_get0_subject_key_id(machine));
	assert_int_equal(pki_identity_of(receiver, &identity), 0);
	assert_int_equal(identity.role, PKI_ROLE_RECEIVER);
	assert_string_equal(identity.name, "");
	assert_int_equal(pki_identity_of(machine, &identity), 0);
	assert_int_equal(identity.role, PKI_ROLE_MACHINE);
	assert_string_equal(identity.name, "web1");
	X509_free(machine);
	X509_free(receiver);
	free(pem);
}

static void serial_numbers_are_long_and_random(void **state)
{
	char *pems[2] = {sign("web1", 10), sign("web1", 10)};
	X509 *one = pki_certificate_from_pem(pems[0], strlen(pems[0]));
	X509 *two = pki_certificate_from_pem(pems[1], strlen(pems[1]));

	(void)state;
	assert_true(ASN1_STRING_length(X509_get0_serialNumber(one)) >= 8);
	assert_int_not_equal(
		ASN1_INTEGER_cmp(X509_get0_serialNumber(one), X509_get0_serialNumber(two)), 0);
	X509_free(one);
	X509_free(two);
	free(pems[0]);
	free(pems[1]);
}

static int64_t seconds_until(const ASN1_TIME *time)
{
	int days, seconds;

	assert_true(ASN1_TIME_diff(&days, &seconds, NULL, time));
	return (int64_t)days * DAY_S + seconds;
}

static void certificates_are_backdated_and_end_with_the_ca(void **state)
{
	char *pem = sign("web1", 10), *longer = sign("web1", 1000);
	X509 *ca = load("ca.pem");
	X509 *machine = pki_certificate_from_pem(pem, strlen(pem));
	X509 *clamped = pki_certificate_from_pem(longer, strlen(longer));

	(void)state;
	assert_in_range(-seconds_until(X509_get0_notBefore(ca)), 3000, 3600 + 100);
	assert_in_range(-seconds_until(X509_get0_notBefore(machine)), 3000, 3600 + 100);
	assert_in_range(seconds_until(X509_get0_notAfter(ca)), 30 * DAY_S - 100, 30 * DAY_S);
	assert_in_range(seconds_until(X509_get0_notAfter(machine)), 10 * DAY_S - 100, 10 * DAY_S);
	assert_int_equal(ASN1_TIME_compare(X509_get0_notAfter(clamped), X509_get0_notAfter(ca)), 0);
	X509_free(machine);
	X509_free(clamped);
	X509_free(ca);
	free(pem);
	free(longer);
}

static void assert_not_signed(const char *request, size_t size, const char *name, const char *words)
{
	uint8_t fingerprint[PKI_FINGERPRINT_BYTES];
	struct fault fault = {0};
	char *pem = NULL;

	assert_true(pki_request_sign(folder, request, size, name, 10, &pem, fingerprint, &fault) <
		    0);
	assert_null(pem);
	assert_non_null(strstr(fault.text, words));
}

static void bad_requests_are_not_signed(void **state)
{
	static char large[PKI_REQUEST_MAX + 1];
	char *key, *request;
	EVP_PKEY *rsa = EVP_RSA_gen(2048);
	X509_REQ *other = X509_REQ_new();

	(void)state;
	assert_int_equal(pki_request_new(&key, &request, NULL), 0);
	assert_not_signed(request, strlen(request), "a/b", "cannot be a machine's name");
	assert_not_signed("hello", 5, "web1", "cannot be read");
	assert_not_signed("", 0, "web1", "cannot be read");
	assert_not_signed(request, strlen(request) / 2, "web1", "cannot be read");
	assert_not_signed(large, sizeof(large), "web1", "larger than");
	free(key);
	free(request);

	/* A key of another kind. */
	assert_true(X509_REQ_set_pubkey(other, rsa) && X509_REQ_sign(other, rsa, EVP_sha256()));
	request = pki_request_to_pem(other);
	assert_not_signed(request, strlen(request), "web1", "not EC P-256");
	free(request);
	EVP_PKEY_free(rsa);
	X509_REQ_free(other);
}

/* Somebody else's public key, without the private one: the proof of possession fails. */
static void a_request_for_somebody_elses_key_is_not_signed(void **state)
{
	EVP_PKEY *theirs = pki_key_new(), *mine = pki_key_new();
	X509_REQ *request = X509_REQ_new();
	char *pem;

	(void)state;
	assert_true(X509_REQ_set_pubkey(request, theirs) &&
		    X509_REQ_sign(request, mine, EVP_sha256()));
	pem = pki_request_to_pem(request);
	assert_not_signed(pem, strlen(pem), "web1", "own signature is wrong");
	free(pem);
	EVP_PKEY_free(theirs);
	EVP_PKEY_free(mine);
	X509_REQ_free(request);
}

/* What the request says about itself does not count: only the name that the token stands for. */
static void the_subject_of_a_request_is_ignored(void **state)
{
	EVP_PKEY *key = pki_key_new();
	X509_REQ *request = X509_REQ_new();
	uint8_t fingerprint[PKI_FINGERPRINT_BYTES];
	struct pki_identity identity;
	char *pem, *signed_pem = NULL;
	X509 *machine;

	(void)state;
	assert_true(X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN",
					       MBSTRING_ASC, (const unsigned char *)"root", -1, -1,
					       0));
	assert_true(X509_REQ_set_pubkey(request, key) && X509_REQ_sign(request, key, EVP_sha256()));
	pem = pki_request_to_pem(request);
	assert_int_equal(pki_request_sign(folder, pem, strlen(pem), "web1", 10, &signed_pem,
					  fingerprint, NULL),
			 0);
	machine = pki_certificate_from_pem(signed_pem, strlen(signed_pem));
	assert_int_equal(pki_identity_of(machine, &identity), 0);
	assert_string_equal(identity.name, "web1");
	assert_memory_equal(identity.fingerprint, fingerprint, sizeof(fingerprint));
	X509_free(machine);
	free(signed_pem);
	free(pem);
	EVP_PKEY_free(key);
	X509_REQ_free(request);
}

static void encrypted_keys_do_not_ask_at_the_terminal(void **state)
{
	EVP_PKEY *key = pki_key_new(), *loaded = NULL;
	BIO *bio = BIO_new_file(path_of("secret.key"), "w");
	struct fault fault = {0};

	(void)state;
	assert_true(
		PEM_write_bio_PKCS8PrivateKey(bio, key, EVP_aes_128_cbc(), "word", 4, NULL, NULL));
	BIO_free(bio);
	assert_int_equal(pki_key_load(path_of("secret.key"), &loaded, &fault), -EINVAL);
	assert_non_null(strstr(fault.text, "without a pass phrase"));
	EVP_PKEY_free(key);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_fit_in_a_path_and_a_uri_are_valid),
		TEST(init_makes_files_with_private_keys),
		TEST(init_never_replaces_a_ca),
		TEST(days_are_limited),
		TEST(the_ca_can_sign_leaves_only),
		TEST(leaves_say_their_role_and_nothing_more),
		TEST(serial_numbers_are_long_and_random),
		TEST(certificates_are_backdated_and_end_with_the_ca),
		TEST(bad_requests_are_not_signed),
		TEST(a_request_for_somebody_elses_key_is_not_signed),
		TEST(the_subject_of_a_request_is_ignored),
		TEST(encrypted_keys_do_not_ask_at_the_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
