// SPDX-License-Identifier: GPL-2.0-or-later
/* From bytes that were read to frames; see encode.h. */
#include "agent/encode.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/compress.h"
#include "common/digest.h"
#include "common/frame.h"
#include "common/wire.h"

#define UNIT	 4096u	    /* zeroes are looked for in steps of this */
#define ZERO_MIN (8 * UNIT) /* shorter zero runs inside data are left to the compressor */
#define ALIGN	 4096u	    /* of each extent in the buffer */

#define DIGEST_FRAME_MAX (sizeof(struct wire_header) + WIRE_DIGESTS_FRAME_MAX)
#define OUT_BYTES                                                                                  \
	(sizeof(struct wire_header) + sizeof(struct wire_data) +                                   \
	 WIRE_DATA_EXTENTS_MAX * sizeof(struct wire_extent) + FLOW_BATCH_BYTES)

struct encoder {
	struct compressor *compressor;
	struct wire_extent extents[WIRE_DATA_EXTENTS_MAX];
	unsigned int extent_count;
	uint32_t raw_bytes; /* gathered at the front of the batch's buffer */
	uint8_t *out;
};

struct encoder *encoder_new(enum compress_codec codec)
{
	struct encoder *encoder = calloc(1, sizeof(*encoder));

	if (!encoder)
		return NULL;
	encoder->compressor = compressor_new(codec);
	encoder->out = malloc(OUT_BYTES);
	if (!encoder->compressor || !encoder->out) {
		encoder_free(encoder);
		return NULL;
	}
	return encoder;
}

void encoder_free(struct encoder *encoder)
{
	if (!encoder)
		return;
	compressor_free(encoder->compressor);
	free(encoder->out);
	free(encoder);
}

/* Adds a run; contiguous runs of a kind become one. Data is gathered at base + raw_bytes. */
static void add_run(struct encoder *encoder, uint8_t *base, enum wire_extent_kind kind,
		    uint64_t offset, const uint8_t *bytes, uint32_t length)
{
	struct wire_extent *last =
		encoder->extent_count ? &encoder->extents[encoder->extent_count - 1] : NULL;

	if (!length)
		return;
	if (kind == WIRE_EXTENT_DATA) {
		if (base + encoder->raw_bytes != bytes)
			memmove(base + encoder->raw_bytes, bytes, length);
		encoder->raw_bytes += length;
	}
	if (last && last->kind == kind && last->offset + last->length == offset) {
		last->length += length;
		return;
	}
	encoder->extents[encoder->extent_count++] =
		(struct wire_extent){.offset = offset, .length = length, .kind = kind};
}

/* Splits [offset, offset + length) into data and zero runs. Room for the extents is certain: zero runs
 * inside are at least ZERO_MIN long, so a batch makes far fewer than WIRE_DATA_EXTENTS_MAX. */
static void add_extent(struct encoder *encoder, uint8_t *base, uint64_t offset,
		       const uint8_t *bytes, uint32_t length)
{
	uint32_t data_from = 0, at = 0;

	while (at < length) {
		uint32_t end = at, step;

		while (end < length) {
			step = length - end < UNIT ? length - end : UNIT;
			if (!digest_is_zero(bytes + end, step))
				break;
			end += step;
		}
		if (end - at >= ZERO_MIN || (end > at && at == 0 && end == length)) {
			add_run(encoder, base, WIRE_EXTENT_DATA, offset + data_from,
				bytes + data_from, at - data_from);
			add_run(encoder, base, WIRE_EXTENT_ZERO, offset + at, NULL, end - at);
			data_from = end;
		}
		at = end < length ? end + UNIT : end;
	}
	if (data_from < length)
		add_run(encoder, base, WIRE_EXTENT_DATA, offset + data_from, bytes + data_from,
			length - data_from);
}

/* add_extent for the parts of an extent that were read. */
static void add_readable(struct encoder *encoder, uint8_t *base, const struct flow_extent *extent,
			 const uint8_t *bytes, const struct encode_hole *holes,
			 unsigned int hole_count)
{
	uint64_t at = extent->offset, end = extent->offset + extent->length;

	for (unsigned int i = 0; i < hole_count; i++) {
		if (holes[i].offset < at || holes[i].offset >= end)
			continue;
		add_extent(encoder, base, at, bytes + (at - extent->offset),
			   (uint32_t)(holes[i].offset - at));
		at = holes[i].offset + holes[i].length;
	}
	if (at < end)
		add_extent(encoder, base, at, bytes + (at - extent->offset), (uint32_t)(end - at));
}

int encoder_run_data(struct encoder *encoder, const struct flow_batch *batch, uint8_t *buffer,
		     const struct encode_hole *holes, unsigned int hole_count,
		     enum effort_choice effort, const uint8_t **ret_bytes, size_t *ret_size)
{
	const uint8_t *bytes = buffer;
	struct wire_header *header = (struct wire_header *)encoder->out;
	struct wire_data *data = (struct wire_data *)(header + 1);
	struct wire_extent *table = (struct wire_extent *)(data + 1);
	size_t table_size, stored;
	enum compress_codec codec = COMPRESS_RAW;
	uint8_t *payload;

	encoder->extent_count = 0;
	encoder->raw_bytes = 0;
	for (unsigned int i = 0; i < batch->count; i++) {
		add_readable(encoder, buffer, &batch->extents[i], bytes, holes, hole_count);
		bytes += (batch->extents[i].length + ALIGN - 1) / ALIGN * ALIGN;
	}
	*ret_bytes = encoder->out;
	*ret_size = 0;
	if (!encoder->extent_count)
		return 0;
	table_size = encoder->extent_count * sizeof(*table);
	payload = (uint8_t *)table + table_size;
	if (effort == EFFORT_COMPRESS)
		codec = compressor_run(encoder->compressor, buffer, encoder->raw_bytes, payload,
				       encoder->raw_bytes, &stored);
	if (codec == COMPRESS_RAW) {
		stored = encoder->raw_bytes;
		memcpy(payload, buffer, stored);
	}
	memcpy(table, encoder->extents, table_size);
	*data = (struct wire_data){
		.disk = (uint16_t)batch->disk,
		.codec = (uint16_t)codec,
		.extents = (uint16_t)encoder->extent_count,
		.raw_bytes = encoder->raw_bytes,
		.stored_bytes = (uint32_t)stored,
		.checksum = digest_checksum(buffer, encoder->raw_bytes),
	};
	frame_header_init(header, WIRE_DATA, (uint32_t)(sizeof(*data) + table_size + stored));
	*ret_size = sizeof(*header) + header->length;
	return 0;
}

static bool has_hole(const struct flow_extent *extent, const struct encode_hole *holes,
		     unsigned int hole_count)
{
	for (unsigned int i = 0; i < hole_count; i++)
		if (holes[i].offset >= extent->offset &&
		    holes[i].offset < extent->offset + extent->length)
			return true;
	return false;
}

static size_t encode_digests(uint8_t *out, const struct flow_batch *batch,
			     const struct flow_extent *extent, uint64_t number,
			     const uint8_t *bytes)
{
	struct wire_header *header = (struct wire_header *)out;
	struct wire_digests *digests = (struct wire_digests *)(header + 1);
	uint8_t *table = (uint8_t *)(digests + 1);
	uint32_t block = batch->digest_block, count = 0;

	for (uint32_t at = 0; at < extent->length; at += block, count++) {
		uint32_t length = extent->length - at < block ? extent->length - at : block;

		digest_block(bytes + at, length, table + count * WIRE_DIGEST_LEN);
	}
	*digests = (struct wire_digests){
		.number = number,
		.offset = extent->offset,
		.length = extent->length,
		.block = block,
		.disk = (uint16_t)batch->disk,
		.count = (uint16_t)count,
	};
	frame_header_init(header, WIRE_DIGESTS,
			  (uint32_t)(sizeof(*digests) + count * WIRE_DIGEST_LEN));
	return sizeof(*header) + header->length;
}

int encoder_run_digests(struct encoder *encoder, struct flow *flow, const struct flow_batch *batch,
			const uint8_t *buffer, const struct encode_hole *holes,
			unsigned int hole_count, const uint8_t **ret_bytes, size_t *ret_size)
{
	size_t size = 0;

	static_assert(
		FLOW_BATCH_EXTENTS * (sizeof(struct wire_header) + sizeof(struct wire_digests)) +
				(FLOW_BATCH_BYTES / WIRE_DIGEST_BLOCK_MIN + FLOW_BATCH_EXTENTS) *
					WIRE_DIGEST_LEN <=
			OUT_BYTES,
		"all digest frames of a batch fit");
	for (unsigned int i = 0; i < batch->count; i++) {
		const struct flow_extent *extent = &batch->extents[i];
		uint64_t number;
		int error;

		if (!has_hole(extent, holes, hole_count)) {
			error = flow_digest_number(flow, batch, extent, &number);
			if (error)
				return error;
			size += encode_digests(encoder->out + size, batch, extent, number, buffer);
		}
		buffer += (extent->length + ALIGN - 1) / ALIGN * ALIGN;
	}
	*ret_bytes = encoder->out;
	*ret_size = size;
	return 0;
}
