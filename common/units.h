/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes, rates and durations as people write them, and back. */
#ifndef BLKFERRY_COMMON_UNITS_H
#define BLKFERRY_COMMON_UNITS_H

#include <stdint.h>

#define KIB 1024ull
#define MIB (1024ull * KIB)
#define GIB (1024ull * MIB)

/* "4096", "64KiB", "50 MiB", "10GB" (decimal units are powers of 1000), "1.5GiB". -EINVAL, -ERANGE. */
int units_parse_bytes(const char *text, uint64_t *ret_bytes);
/* A size with an optional "/s"; "0", "none" and "off" mean no limit (0). */
int units_parse_rate(const char *text, uint64_t *ret_bytes_per_s);
/* "10", "10s", "500ms", "5m", "2h", "1d"; a bare number is seconds. */
int units_parse_duration(const char *text, uint64_t *ret_ns);
/* "12.3 MiB"; "1023 B". Writes at most size bytes; returns text. */
char *units_format_bytes(uint64_t bytes, char *text, unsigned int size);
/* "850 ms", "12.4 s", "3 min 20 s", "2 h 5 min". */
char *units_format_duration(uint64_t ns, char *text, unsigned int size);
/* "2026-11-21 14:03:07", here. */
char *units_format_time(uint64_t since_1970_ns, char *text, unsigned int size);

#endif
