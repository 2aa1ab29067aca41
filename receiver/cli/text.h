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

/* Prints a machine as `status NAME` does: several lines of text. */
void cli_print_machine(const json_t *machine);
/* One line of progress: "web1: full 43.1 %, 12.3 GiB left, 112 MiB/s, 1 min 52 s". */
void cli_progress_line(const json_t *machine, char *ret_text, size_t size);

/* A checkpoint: "#81 of 2026-11-21 14:03:07.000, before upgrade". */
void cli_format_point(const json_t *point, char *ret_text, size_t size);

#endif
