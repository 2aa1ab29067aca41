/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fields of the receiver's JSON as people read them. */
#ifndef BLKFERRY_RECEIVER_CLI_TEXT_H
#define BLKFERRY_RECEIVER_CLI_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

const char *text_of(const json_t *object, const char *key); /* "" when missing */
uint64_t number_of(const json_t *object, const char *key);  /* 0 when missing */
double real_of(const json_t *object, const char *key);
bool is_true(const json_t *object, const char *key);
/* "12.3 MiB", in one of a few static buffers that are used in turn. */
const char *bytes_of(const json_t *object, const char *key);

#endif
