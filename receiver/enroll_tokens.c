// SPDX-License-Identifier: GPL-2.0-or-later
/* Tokens as small JSON files, state_folder/tokens/ID; see enroll.h and enroll_tokens.h. */
#include "receiver/enroll_tokens.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "common/os_clock.h"
#include "common/os_file.h"
#include "receiver/enroll.h"

#define TOKEN_FILE_MAX	 4096
#define TOKEN_ID_TEXT	 (2 * TOKEN_ID_BYTES + 1)
#define DIGEST_BYTES_MAX 32
#define DIGEST_TEXT	 (2 * DIGEST_BYTES_MAX + 1)
#define FOLDER_MODE	 0700
#define FILE_MODE	 0600

/* One message for every token that is not there, so that nobody learns which ids exist. */
#define UNKNOWN_TOKEN                                                                              \
	"this token is not known (any more): it was used, has expired, or is of another "          \
	"receiver; "                                                                               \
	"get a new one with 'blkferry token NAME'"

struct stored {
	char digest[DIGEST_TEXT]; /* SHA-256 of the secret, hexadecimal */
	char name[PKI_NAME_MAX];
	uint64_t expires_ns; /* wall clock */
};

static void to_hex(const uint8_t *bytes, size_t size, char *text)
{
	for (size_t i = 0; i < size; i++)
		sprintf(text + 2 * i, "%02x", bytes[i]);
}

static int digest_secret(const uint8_t secret[TOKEN_SECRET_BYTES], char text[DIGEST_TEXT])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int size = 0;

	if (!EVP_Digest(secret, TOKEN_SECRET_BYTES, digest, &size, EVP_sha256(), NULL) ||
	    size != DIGEST_BYTES_MAX)
		return -EIO;
	to_hex(digest, size, text);
	return 0;
}

static int format_path(char path[PATH_MAX], const char *state_folder, const char *id)
{
	if (snprintf(path, PATH_MAX, "%s/tokens%s%s", state_folder, id ? "/" : "", id ? id : "") >=
	    PATH_MAX)
		return -ENAMETOOLONG;
	return 0;
}

static bool copy_text(char *field, size_t size, const json_t *value)
{
	const char *text = json_string_value(value);

	if (!text || strlen(text) >= size)
		return false;
	memcpy(field, text, strlen(text) + 1);
	return true;
}

static int read_stored(const char *path, struct stored *ret_stored)
{
	struct stored stored = {.expires_ns = 0};
	json_t *json;
	size_t size;
	char *text;
	bool is_ok;
	int error = os_file_read(path, TOKEN_FILE_MAX, &text, &size);

	if (error)
		return error;
	json = json_loadb(text, size, 0, NULL);
	free(text);
	stored.expires_ns = (uint64_t)json_integer_value(json_object_get(json, "expires_ns"));
	is_ok = copy_text(stored.digest, sizeof(stored.digest),
			  json_object_get(json, "secret_sha256")) &&
		copy_text(stored.name, sizeof(stored.name), json_object_get(json, "name")) &&
		strlen(stored.digest) == DIGEST_TEXT - 1 && pki_name_is_valid(stored.name);
	json_decref(json);
	if (!is_ok)
		return -EBADMSG;
	*ret_stored = stored;
	return 0;
}

/* Removes what has expired. Ignoring failures: an expired token is refused anyway. */
static void remove_expired(const char *folder)
{
	uint64_t now = os_realtime_ns();
	DIR *stream = opendir(folder);
	struct dirent *entry;

	while (stream && (entry = readdir(stream))) {
		struct stored stored;
		char path[PATH_MAX];

		if (strlen(entry->d_name) != TOKEN_ID_TEXT - 1 ||
		    snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) >= PATH_MAX)
			continue;
		if (read_stored(path, &stored) == 0 && stored.expires_ns < now)
			(void)unlink(path);
	}
	if (stream)
		closedir(stream);
}

static int write_stored(const char *state_folder, const struct token *token, const char *name,
			uint64_t expires_ns)
{
	char folder[PATH_MAX], path[PATH_MAX], id[TOKEN_ID_TEXT], digest[DIGEST_TEXT];
	char *text;
	json_t *json;
	int error;

	to_hex(token->id, sizeof(token->id), id);
	error = digest_secret(token->secret, digest);
	if (!error)
		error = format_path(folder, state_folder, NULL);
	if (!error)
		error = format_path(path, state_folder, id);
	if (!error)
		error = os_folder_make(folder, FOLDER_MODE);
	if (error)
		return error;
	remove_expired(folder);
	json = json_pack("{s:s, s:s, s:I}", "name", name, "secret_sha256", digest, "expires_ns",
			 (json_int_t)expires_ns);
	text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
	json_decref(json);
	if (!text)
		return -ENOMEM;
	error = os_file_write_atomic(path, text, strlen(text), FILE_MODE);
	free(text);
	return error;
}

int enroll_token_new(const char *state_folder, const char *name, uint64_t valid_ns,
		     char ret_text[TOKEN_TEXT_MAX], struct fault *fault)
{
	struct token token;
	char path[PATH_MAX];
	uint64_t expires_ns;
	int error;

	if (!pki_name_is_valid(name))
		return fault_set(fault, FAULT_STOP, EINVAL, PKI_NAME_RULE, name);
	if (__builtin_add_overflow(os_realtime_ns(), valid_ns, &expires_ns) ||
	    expires_ns > INT64_MAX)
		expires_ns = INT64_MAX; /* JSON integers end there */
	if (snprintf(path, sizeof(path), "%s/ca.pem", state_folder) >= PATH_MAX)
		return fault_set(fault, FAULT_STOP, ENAMETOOLONG, "the path %s is too long",
				 state_folder);
	error = pki_certificate_fingerprint(path, token.ca_fingerprint, fault);
	if (error)
		return error;
	os_random(token.id, sizeof(token.id));
	os_random(token.secret, sizeof(token.secret));
	error = write_stored(state_folder, &token, name, expires_ns);
	if (error)
		fault_set(fault, FAULT_STOP, -error, "cannot store a token in %s/tokens: %s",
			  state_folder, strerror(-error));
	else
		token_format(&token, ret_text);
	OPENSSL_cleanse(&token, sizeof(token));
	return error;
}

static int expired_fault(const struct stored *stored, struct fault *fault)
{
	time_t seconds = (time_t)(stored->expires_ns / NS_PER_S);
	struct tm when;
	char text[32];

	gmtime_r(&seconds, &when);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &when);
	return fault_set(
		fault, FAULT_STOP, EKEYEXPIRED,
		"this token for machine %s expired on %s: get a new one with 'blkferry token "
		"%s'",
		stored->name, text, stored->name);
}

int enroll_token_check(const char *state_folder, const uint8_t id[TOKEN_ID_BYTES],
		       const uint8_t secret[TOKEN_SECRET_BYTES], char ret_name[PKI_NAME_MAX],
		       struct fault *fault)
{
	char path[PATH_MAX], id_text[TOKEN_ID_TEXT], digest[DIGEST_TEXT];
	struct stored stored = {.expires_ns = 0};
	int error, differs;

	to_hex(id, TOKEN_ID_BYTES, id_text);
	error = format_path(path, state_folder, id_text);
	if (!error)
		error = digest_secret(secret, digest);
	if (!error)
		error = read_stored(path, &stored);
	if (error && error != -ENOENT)
		return fault_set(fault, FAULT_STOP, -error, "cannot read the token %s: %s", path,
				 strerror(-error));
	/* In constant time, and also when there is nothing to compare with. */
	differs = CRYPTO_memcmp(digest, stored.digest, sizeof(stored.digest));
	if (error || differs)
		return fault_set(fault, FAULT_STOP, EACCES, UNKNOWN_TOKEN);
	if (stored.expires_ns < os_realtime_ns())
		return expired_fault(&stored, fault);
	memcpy(ret_name, stored.name, PKI_NAME_MAX);
	return 0;
}

int enroll_token_consume(const char *state_folder, const uint8_t id[TOKEN_ID_BYTES],
			 struct fault *fault)
{
	char folder[PATH_MAX], path[PATH_MAX], id_text[TOKEN_ID_TEXT];
	int error;

	to_hex(id, TOKEN_ID_BYTES, id_text);
	error = format_path(path, state_folder, id_text);
	if (!error)
		error = format_path(folder, state_folder, NULL);
	/* unlink is what decides between two that come with the same token at the same time. */
	if (!error && unlink(path) != 0)
		error = -errno;
	if (error == -ENOENT)
		return fault_set(fault, FAULT_STOP, ENOENT, UNKNOWN_TOKEN);
	if (!error)
		error = os_folder_sync(folder);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "cannot use up the token %s: %s", path,
				 strerror(-error));
	return 0;
}
