// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of frames against the limits in wire.h; see wire_check.h. No I/O, no allocation. */
#include "common/wire_check.h"

#include <errno.h>
#include <string.h>

#include "common/compress.h"

struct type_rule {
	const char *name;
	uint32_t least, most; /* allowed payload sizes */
};

#define EXACT(type) sizeof(struct type), sizeof(struct type)

static const struct type_rule rules[] = {
	[WIRE_HELLO] = {"HELLO", EXACT(wire_hello)},
	[WIRE_WELCOME] = {"WELCOME", EXACT(wire_welcome)},
	[WIRE_ERROR] = {"ERROR", EXACT(wire_error)},
	[WIRE_DISK] = {"DISK", EXACT(wire_disk)},
	[WIRE_DISK_READY] = {"DISK_READY", EXACT(wire_disk_ready)},
	[WIRE_STATUS] = {"STATUS", EXACT(wire_status)},
	[WIRE_PING] = {"PING", 0, 0},
	[WIRE_ACK] = {"ACK", EXACT(wire_ack)},
	[WIRE_COMMAND] = {"COMMAND", EXACT(wire_command)},
	[WIRE_REPLY] = {"REPLY", EXACT(wire_reply)},
	[WIRE_RANGES] = {"RANGES", sizeof(le64) + sizeof(struct wire_range),
			 sizeof(le64) + WIRE_RANGES_MAX * sizeof(struct wire_range)},
	[WIRE_DIGEST_RESULT] = {"DIGEST_RESULT", sizeof(struct wire_digest_result) + 1,
				sizeof(struct wire_digest_result) + WIRE_DIGESTS_MAX},
	[WIRE_STEP] = {"STEP", EXACT(wire_step)},
	[WIRE_SEAL] = {"SEAL", EXACT(wire_seal)},
	[WIRE_COMMIT] = {"COMMIT", EXACT(wire_commit)},
	[WIRE_FENCED] = {"FENCED", EXACT(wire_fenced)},
	[WIRE_CANCEL] = {"CANCEL", EXACT(wire_cancel)},
	[WIRE_STREAM_READY] = {"STREAM_READY", EXACT(wire_stream_ready)},
	[WIRE_STREAM_ACK] = {"STREAM_ACK", EXACT(wire_stream_ack)},
	[WIRE_STREAM_RESULT] = {"STREAM_RESULT", sizeof(struct wire_stream_result) + 1,
				sizeof(struct wire_stream_result) + WIRE_RECORD_DIGESTS_MAX},
	[WIRE_MACHINE] = {"MACHINE", EXACT(wire_machine)},
	[WIRE_CHECKS] = {"CHECKS", EXACT(wire_checks)},
	[WIRE_START] = {"START", EXACT(wire_start)},
	[WIRE_DATA] = {"DATA", sizeof(struct wire_data) + sizeof(struct wire_extent),
		       WIRE_DATA_FRAME_MAX},
	[WIRE_DIGESTS] = {"DIGESTS", sizeof(struct wire_digests) + WIRE_DIGEST_LEN,
			  WIRE_DIGESTS_FRAME_MAX},
	[WIRE_BARRIER] = {"BARRIER", EXACT(wire_barrier)},
	[WIRE_STREAM] = {"STREAM", sizeof(struct wire_stream) + 1, WIRE_STREAM_FRAME_MAX},
};

static const struct type_rule *rule_of(unsigned int type)
{
	if (type >= sizeof(rules) / sizeof(rules[0]) || !rules[type].name)
		return NULL;
	return &rules[type];
}

uint32_t wire_payload_max(unsigned int type)
{
	const struct type_rule *rule = rule_of(type);

	return rule ? rule->most : 0;
}

const char *wire_type_name(unsigned int type)
{
	const struct type_rule *rule = rule_of(type);

	return rule ? rule->name : "unknown frame";
}

static int broken(struct fault *fault, const char *what, unsigned int type)
{
	return fault_set(fault, FAULT_STOP, EPROTO, "the peer sent a %s frame with %s",
			 wire_type_name(type), what);
}

int wire_check_header(const struct wire_header *header, struct fault *fault)
{
	const struct type_rule *rule = rule_of(header->type);

	if (header->magic != WIRE_MAGIC)
		return fault_set(fault, FAULT_STOP, EPROTO,
				 "the peer does not speak the blkferry protocol (bad magic)");
	if (!rule)
		return fault_set(fault, FAULT_STOP, EPROTO,
				 "the peer sent a frame of unknown type %u: is it of another "
				 "version?",
				 header->type);
	if (header->length < rule->least || header->length > rule->most)
		return fault_set(fault, FAULT_STOP, EPROTO,
				 "the peer sent a %s frame of %u bytes; %u to %u are allowed",
				 rule->name, header->length, rule->least, rule->most);
	return 0;
}

static int check_data(const struct wire_data *data, uint32_t length, struct fault *fault)
{
	const struct wire_extent *extents = wire_data_extents(data);
	uint64_t raw = 0;

	if (data->extents < 1 || data->extents > WIRE_DATA_EXTENTS_MAX ||
	    data->raw_bytes > WIRE_DATA_RAW_MAX || data->stored_bytes > data->raw_bytes ||
	    data->disk >= WIRE_DISKS_MAX)
		return broken(fault, "counts beyond the limits", WIRE_DATA);
	if (length != sizeof(*data) + data->extents * sizeof(*extents) + data->stored_bytes)
		return broken(fault, "a length that does not fit its contents", WIRE_DATA);
	if (!compress_is_codec(data->codec))
		return broken(fault, "an unknown codec", WIRE_DATA);
	if (data->codec == COMPRESS_RAW && data->stored_bytes != data->raw_bytes)
		return broken(fault, "raw bytes of another length than said", WIRE_DATA);
	for (unsigned int i = 0; i < data->extents; i++) {
		if (extents[i].length == 0 || extents[i].length > WIRE_DISK_BYTES_MAX ||
		    extents[i].offset > WIRE_DISK_BYTES_MAX)
			return broken(fault, "an extent beyond the limits", WIRE_DATA);
		if (extents[i].kind == WIRE_EXTENT_DATA)
			raw += extents[i].length;
		else if (extents[i].kind != WIRE_EXTENT_ZERO)
			return broken(fault, "an extent of unknown kind", WIRE_DATA);
		if (raw > WIRE_DATA_RAW_MAX)
			return broken(fault, "more bytes than the limit", WIRE_DATA);
	}
	if (raw != data->raw_bytes)
		return broken(fault, "extents that do not add up to its bytes", WIRE_DATA);
	return 0;
}

static int check_digests(const struct wire_digests *digests, uint32_t length, struct fault *fault)
{
	uint32_t block = digests->block;

	if (digests->length < 1 || digests->length > WIRE_DIGEST_EXTENT_MAX ||
	    digests->offset > WIRE_DISK_BYTES_MAX || digests->disk >= WIRE_DISKS_MAX)
		return broken(fault, "a range beyond the limits", WIRE_DIGESTS);
	if (block < WIRE_DIGEST_BLOCK_MIN || block > WIRE_DIGEST_EXTENT_MAX ||
	    (block & (block - 1)) != 0)
		return broken(fault, "a block size that is not allowed", WIRE_DIGESTS);
	if (digests->count != (digests->length + block - 1) / block ||
	    length != sizeof(*digests) + digests->count * WIRE_DIGEST_LEN)
		return broken(fault, "a count that does not fit its length", WIRE_DIGESTS);
	return 0;
}

static int check_verdicts(unsigned int type, const uint8_t *verdicts, uint32_t count,
			  struct fault *fault)
{
	for (uint32_t i = 0; i < count; i++)
		if (verdicts[i] < WIRE_DIGEST_SAME || verdicts[i] > WIRE_DIGEST_NEVER_COPIED)
			return broken(fault, "an unknown verdict", type);
	return 0;
}

static int check_result(const struct wire_digest_result *result, uint32_t length,
			struct fault *fault)
{
	if (result->count < 1 || result->count > WIRE_DIGESTS_MAX ||
	    length != sizeof(*result) + result->count)
		return broken(fault, "a count that does not fit its length", WIRE_DIGEST_RESULT);
	return check_verdicts(WIRE_DIGEST_RESULT, wire_digest_verdicts(result), result->count,
			      fault);
}

static int check_stream(const struct wire_stream *stream, uint32_t length, struct fault *fault)
{
	if (!stream->stream || !stream->batch || stream->from > stream->to)
		return broken(fault, "a place in no stream", WIRE_STREAM);
	if (stream->raw_bytes > WIRE_STREAM_RAW_MAX || stream->stored_bytes > stream->raw_bytes ||
	    stream->records < 1 || stream->records > stream->raw_bytes / sizeof(struct wire_record))
		return broken(fault, "counts beyond the limits", WIRE_STREAM);
	if (length != sizeof(*stream) + stream->stored_bytes)
		return broken(fault, "a length that does not fit its contents", WIRE_STREAM);
	if (!compress_is_codec(stream->codec))
		return broken(fault, "an unknown codec", WIRE_STREAM);
	if (stream->codec == COMPRESS_RAW && stream->stored_bytes != stream->raw_bytes)
		return broken(fault, "raw bytes of another length than said", WIRE_STREAM);
	return 0;
}

static int check_stream_result(const struct wire_stream_result *result, uint32_t length,
			       struct fault *fault)
{
	if (result->disk >= WIRE_DISKS_MAX || result->offset > WIRE_DISK_BYTES_MAX ||
	    result->length < 1 || result->length > WIRE_DIGEST_EXTENT_MAX)
		return broken(fault, "a range beyond the limits", WIRE_STREAM_RESULT);
	if (result->count < 1 || result->count > WIRE_RECORD_DIGESTS_MAX ||
	    length != sizeof(*result) + result->count)
		return broken(fault, "a count that does not fit its length", WIRE_STREAM_RESULT);
	return check_verdicts(WIRE_STREAM_RESULT, wire_stream_verdicts(result), result->count,
			      fault);
}

static int check_ranges(const void *payload, uint32_t length, struct fault *fault)
{
	const struct wire_range *ranges;
	uint32_t count;

	if ((length - sizeof(le64)) % sizeof(*ranges) != 0)
		return broken(fault, "a length that does not fit its contents", WIRE_RANGES);
	ranges = wire_ranges(payload, length, &count);
	for (uint32_t i = 0; i < count; i++)
		if (ranges[i].disk >= WIRE_DISKS_MAX || ranges[i].offset > WIRE_DISK_BYTES_MAX ||
		    ranges[i].length > WIRE_DISK_BYTES_MAX || ranges[i].kind < 1 ||
		    ranges[i].kind > WIRE_RANGE_NEVER_COPIED)
			return broken(fault, "a range beyond the limits", WIRE_RANGES);
	return 0;
}

static int check_disk(struct wire_disk *disk, struct fault *fault)
{
	uint32_t block = disk->block_bytes;

	disk->path[sizeof(disk->path) - 1] = '\0';
	disk->identity[sizeof(disk->identity) - 1] = '\0';
	if (disk->index >= WIRE_DISKS_MAX || disk->size_bytes < 4096 ||
	    disk->size_bytes > WIRE_DISK_BYTES_MAX || disk->size_bytes % 512 != 0)
		return broken(fault, "a disk beyond the limits", WIRE_DISK);
	if (block < 4096 || (block & (block - 1)) != 0)
		return broken(fault, "a block size that is not allowed", WIRE_DISK);
	return 0;
}

static int check_machine(struct wire_machine *machine, struct fault *fault)
{
	for (unsigned int i = 0; i < WIRE_NICS_MAX; i++)
		machine->nic[i].name[sizeof(machine->nic[i].name) - 1] = '\0';
	if (machine->nics > WIRE_NICS_MAX || machine->cpus < 1 || machine->cpus > WIRE_CPUS_MAX ||
	    machine->memory_bytes < 1 || machine->memory_bytes > WIRE_MEMORY_MAX)
		return broken(fault, "numbers beyond the limits", WIRE_MACHINE);
	if (machine->firmware < WIRE_FIRMWARE_BIOS || machine->firmware > WIRE_FIRMWARE_UEFI)
		return broken(fault, "an unknown firmware", WIRE_MACHINE);
	return 0;
}

#define END_TEXT(message, field) ((message)->field[sizeof((message)->field) - 1] = '\0')

int wire_check_payload(unsigned int type, void *payload, uint32_t length, struct fault *fault)
{
	switch ((enum wire_type)type) {
	case WIRE_HELLO:
		END_TEXT((struct wire_hello *)payload, host);
		END_TEXT((struct wire_hello *)payload, program);
		return 0;
	case WIRE_ERROR: {
		struct wire_error *error = payload;

		END_TEXT(error, text);
		if (error->class < FAULT_RETRY || error->class > FAULT_STOP)
			return broken(fault, "an unknown class", type);
		return 0;
	}
	case WIRE_DISK:
		return check_disk(payload, fault);
	case WIRE_MACHINE:
		return check_machine(payload, fault);
	case WIRE_CHECKS: {
		struct wire_checks *checks = payload;

		END_TEXT(checks, target);
		END_TEXT(checks, text);
		return 0;
	}
	case WIRE_START: {
		struct wire_start *start = payload;

		END_TEXT(start, text);
		if (start->kind != WIRE_START_ORDERLY && start->kind != WIRE_START_COMPARED)
			return broken(fault, "an unknown kind", type);
		return 0;
	}
	case WIRE_DISK_READY: {
		struct wire_disk_ready *ready = payload;

		END_TEXT(ready, target);
		if (ready->index >= WIRE_DISKS_MAX)
			return broken(fault, "a disk beyond the limits", type);
		return 0;
	}
	case WIRE_STATUS:
		END_TEXT((struct wire_status *)payload, note);
		END_TEXT((struct wire_status *)payload, gap_reason);
		return 0;
	case WIRE_REPLY:
		END_TEXT((struct wire_reply *)payload, text);
		return 0;
	case WIRE_STEP: {
		struct wire_step *step = payload;

		END_TEXT(step, text);
		if (step->step < 1 || step->step >= WIRE_STEPS_MAX)
			return broken(fault, "an unknown step", type);
		return 0;
	}
	case WIRE_DATA:
		return check_data(payload, length, fault);
	case WIRE_DIGESTS:
		return check_digests(payload, length, fault);
	case WIRE_DIGEST_RESULT:
		return check_result(payload, length, fault);
	case WIRE_RANGES:
		return check_ranges(payload, length, fault);
	case WIRE_STREAM:
		return check_stream(payload, length, fault);
	case WIRE_STREAM_RESULT:
		return check_stream_result(payload, length, fault);
	case WIRE_WELCOME:
		if (((struct wire_welcome *)payload)->connections > WIRE_CONNECTIONS_MAX)
			return broken(fault, "too many connections", type);
		return 0;
	case WIRE_PING:
	case WIRE_ACK:
	case WIRE_COMMAND:
	case WIRE_SEAL:
	case WIRE_COMMIT:
	case WIRE_FENCED:
	case WIRE_CANCEL:
	case WIRE_BARRIER:
	case WIRE_STREAM_READY:
	case WIRE_STREAM_ACK:
		return 0;
	}
	return broken(fault, "an unknown type", type);
}

const struct wire_extent *wire_data_extents(const struct wire_data *data)
{
	return (const struct wire_extent *)(data + 1);
}

const uint8_t *wire_data_bytes(const struct wire_data *data)
{
	return (const uint8_t *)(wire_data_extents(data) + data->extents);
}

const uint8_t *wire_digests_table(const struct wire_digests *digests)
{
	return (const uint8_t *)(digests + 1);
}

const uint8_t *wire_digest_verdicts(const struct wire_digest_result *result)
{
	return (const uint8_t *)(result + 1);
}

const struct wire_range *wire_ranges(const void *payload, uint32_t length, uint32_t *ret_count)
{
	*ret_count = (length - sizeof(le64)) / sizeof(struct wire_range);
	return (const struct wire_range *)((const uint8_t *)payload + sizeof(le64));
}

const uint8_t *wire_stream_bytes(const struct wire_stream *stream)
{
	return (const uint8_t *)(stream + 1);
}

const uint8_t *wire_stream_verdicts(const struct wire_stream_result *result)
{
	return (const uint8_t *)(result + 1);
}

int wire_check_extents_inside(const struct wire_data *data, uint64_t size_bytes)
{
	const struct wire_extent *extents = wire_data_extents(data);

	for (unsigned int i = 0; i < data->extents; i++)
		if (extents[i].offset > size_bytes ||
		    extents[i].length > size_bytes - extents[i].offset)
			return -ERANGE;
	return 0;
}
