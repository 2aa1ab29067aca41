// SPDX-License-Identifier: GPL-2.0-or-later
/* The text form of enrolment tokens; see token.h. */
#include "common/token.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#define PREFIX	    "bf1-"
#define PREFIX_LEN  4
#define CRC_BYTES   4
#define BODY_BYTES  (TOKEN_ID_BYTES + TOKEN_SECRET_BYTES + PKI_FINGERPRINT_BYTES)
#define PACKED_SIZE (BODY_BYTES + CRC_BYTES)
#define CODED_LEN   (PACKED_SIZE / 3 * 4)

_Static_assert(PACKED_SIZE % 3 == 0, "base64 needs no padding");
_Static_assert(PREFIX_LEN + CODED_LEN < TOKEN_TEXT_MAX, "the text fits");

/* CRC-32 as in zlib; against mistyping only, the secret is what protects. */
static uint32_t crc32_of(const uint8_t *data, size_t size)
{
	uint32_t crc = 0xffffffffu;

	for (size_t i = 0; i < size; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

static void put_crc(uint8_t packed[PACKED_SIZE])
{
	uint32_t crc = crc32_of(packed, BODY_BYTES);

	for (int i = 0; i < CRC_BYTES; i++)
		packed[BODY_BYTES + i] = (uint8_t)(crc >> 8 * i);
}

void token_format(const struct token *token, char text[TOKEN_TEXT_MAX])
{
	uint8_t packed[PACKED_SIZE], *at = packed;

	memcpy(at, token->id, TOKEN_ID_BYTES);
	at += TOKEN_ID_BYTES;
	memcpy(at, token->secret, TOKEN_SECRET_BYTES);
	at += TOKEN_SECRET_BYTES;
	memcpy(at, token->ca_fingerprint, PKI_FINGERPRINT_BYTES);
	put_crc(packed);

	memcpy(text, PREFIX, PREFIX_LEN);
	EVP_EncodeBlock((unsigned char *)text + PREFIX_LEN, packed, PACKED_SIZE);
	for (char *c = text + PREFIX_LEN; *c; c++) {
		if (*c == '+')
			*c = '-';
		else if (*c == '/')
			*c = '_';
	}
	OPENSSL_cleanse(packed, sizeof(packed));
}

static bool is_alphanumeric(char c) /* isalnum depends on the locale */
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Back to plain base64; false when there is a character that belongs to neither alphabet. */
static bool to_base64(const char *coded, char plain[CODED_LEN + 1])
{
	for (int i = 0; i < CODED_LEN; i++) {
		plain[i] = coded[i];
		if (coded[i] == '-')
			plain[i] = '+';
		else if (coded[i] == '_')
			plain[i] = '/';
		else if (!is_alphanumeric(coded[i]))
			return false;
	}
	plain[CODED_LEN] = '\0';
	return true;
}

static int unpack(const uint8_t packed[PACKED_SIZE], struct token *ret_token)
{
	uint8_t check[PACKED_SIZE];
	const uint8_t *at = packed;

	memcpy(check, packed, sizeof(check));
	put_crc(check);
	if (memcmp(check, packed, sizeof(check)) != 0)
		return -EINVAL;
	memcpy(ret_token->id, at, TOKEN_ID_BYTES);
	at += TOKEN_ID_BYTES;
	memcpy(ret_token->secret, at, TOKEN_SECRET_BYTES);
	at += TOKEN_SECRET_BYTES;
	memcpy(ret_token->ca_fingerprint, at, PKI_FINGERPRINT_BYTES);
	OPENSSL_cleanse(check, sizeof(check));
	return 0;
}

int token_parse(const char *text, struct token *ret_token, struct fault *fault)
{
	char plain[CODED_LEN + 1];
	uint8_t packed[PACKED_SIZE + 1];
	size_t length;

	while (isspace((unsigned char)*text))
		text++;
	length = strlen(text);
	while (length > 0 && isspace((unsigned char)text[length - 1]))
		length--;
	/* The text itself is a secret: never quote it. */
	if (length < PREFIX_LEN || memcmp(text, PREFIX, PREFIX_LEN) != 0)
		return fault_set(
			fault, FAULT_STOP, EINVAL,
			"this is no enrolment token: one begins with \"%s\" and comes from "
			"'blkferry token NAME' on the receiver",
			PREFIX);
	if (length < PREFIX_LEN + CODED_LEN)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "the enrolment token was cut short: it has %zu of %d characters; "
				 "copy all of it",
				 length, PREFIX_LEN + CODED_LEN);
	if (length > PREFIX_LEN + CODED_LEN)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "the enrolment token has %zu characters, and should have %d: copy "
				 "just the token",
				 length, PREFIX_LEN + CODED_LEN);
	if (!to_base64(text + PREFIX_LEN, plain) ||
	    EVP_DecodeBlock(packed, (unsigned char *)plain, CODED_LEN) != PACKED_SIZE ||
	    unpack(packed, ret_token) != 0)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "the enrolment token is mistyped: its checksum is wrong; copy it "
				 "again");
	OPENSSL_cleanse(packed, sizeof(packed));
	OPENSSL_cleanse(plain, sizeof(plain));
	return 0;
}
