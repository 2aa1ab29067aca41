/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checks of what came over the wire, without I/O, so that a fuzzer can drive them (I10). After a check
 * returned 0 every count, offset and length in the frame lies within the named limits and within
 * the frame; texts end in a NUL inside their field.
 */
#ifndef BLKFERRY_COMMON_WIRE_CHECK_H
#define BLKFERRY_COMMON_WIRE_CHECK_H

#include <stdint.h>

#include "common/fault.h"
#include "common/wire.h"

/* The largest payload that a frame of this type may have; 0 for an unknown type. */
uint32_t wire_payload_max(unsigned int type);
const char *wire_type_name(unsigned int type);

/* Magic, known type, length within the type's limit. Faults: STOP, -EPROTO. */
int wire_check_header(const struct wire_header *header, struct fault *fault);

/* Checks a whole payload of a given type; the payload may be modified: texts are NUL-terminated. */
int wire_check_payload(unsigned int type, void *payload, uint32_t length, struct fault *fault);

/* The parts of a checked DATA / DIGESTS / DIGEST_RESULT / RANGES / STREAM / STREAM_RESULT payload. What the
 * stored bytes of a STREAM hold is checked when they are restored: wire_records.h. */
const struct wire_extent *wire_data_extents(const struct wire_data *data);
const uint8_t *wire_data_bytes(const struct wire_data *data);
const uint8_t *wire_digests_table(const struct wire_digests *digests);
const uint8_t *wire_digest_verdicts(const struct wire_digest_result *result);
const struct wire_range *wire_ranges(const void *payload, uint32_t length, uint32_t *ret_count);
const uint8_t *wire_stream_bytes(const struct wire_stream *stream);
const uint8_t *wire_stream_verdicts(const struct wire_stream_result *result);

/* Do all extents / the digested range lie inside a disk of size_bytes? 0 or -ERANGE. */
int wire_check_extents_inside(const struct wire_data *data, uint64_t size_bytes);

#endif
