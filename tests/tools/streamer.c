// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An agent that is nothing but a stream: made-up disks, records as a script says. For tests of the receiver's half
 * of the stream, with bytes that the test knows.
 *
 * Usage: streamer PORT STATE_FOLDER DISKS DISK_BYTES <SCRIPT
 *
 * Script, a line each (offsets and lengths in bytes, FILL one character that data consists of; '?' random bytes):
 *   write DISK OFFSET LENGTH FILL      copy DISK OFFSET LENGTH FILL      zero DISK OFFSET LENGTH
 *   random DISK COUNT LENGTH FILL      so many writes, anywhere
 *   mark NUMBER [frozen]               confirm NUMBER                    gap
 *   digest DISK OFFSET LENGTH FILL     compares with what LENGTH bytes of FILL would give
 *   send                               ends the batch
 *   ack                                sends, and waits until all batches are acknowledged
 *   applied                            ... and applied
 *   serve                              answers the next command: CHECKPOINT by a mark that is confirmed, PAUSE
 *   data DISK OFFSET LENGTH FILL       by the data connection, with a barrier that is waited for
 *
 * With STREAMER_WAIT=FILE in the environment it says HELLO, prints "waiting", and says the rest when FILE is there.
 *
 * Prints STREAM_READY ("ready STREAM BATCH MARK"), acknowledgements ("ack BATCH", "applied BATCH") as they are waited
 * for, and results ("result DISK OFFSET VERDICT..."). A stream of before goes on behind what the receiver names.
 * Exit status 0; 1 when it could not; 2 when the receiver sent an ERROR, which is printed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/compress.h"
#include "common/digest.h"
#include "common/frame.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "common/wire_check.h"
#include "tests/tools/machine_link.h"

#define ANSWER_NS (60 * NS_PER_S)
#define STREAM_ID 0x5712ea3ull

static uint16_t port;
static const char *folder;
static struct frame_link control, data, stream;
static unsigned int disks;
static uint64_t disk_bytes, batch, acked, applied, epoch, acked_epoch;
static uint8_t session[WIRE_SESSION_LEN];
static uint8_t raw[WIRE_STREAM_RAW_MAX], packed[WIRE_STREAM_RAW_MAX];
static uint32_t raw_bytes, records;
static struct compressor *compressor;
static struct wire_command asked; /* not yet answered */
static uint64_t newest_mark;

static _Noreturn void give_up(const char *what, const struct fault *fault)
{
	fprintf(stderr, "streamer: %s: %s\n", what, fault ? fault->text : "");
	_exit(1);
}

static void connect_link(struct frame_link *link)
{
	struct fault fault = {0};

	if (machine_link_connect(folder, port, link, &fault))
		give_up("connect", &fault);
}

static void say(struct frame_link *link, enum wire_type type, const void *first, size_t first_size,
		const void *second, size_t second_size)
{
	struct fault fault = {0};

	if (frame_send(link, type, first, first_size, second, second_size, &fault))
		fprintf(stderr, "streamer: %s\n", fault.text); /* hear() will tell why */
}

/* A silent agent is taken for dead. */
static void beat(void)
{
	static uint64_t said_ns;
	struct wire_status status = {.phase = WIRE_PHASE_STREAMING};

	if (os_monotonic_ns() - said_ns < WIRE_STATUS_MS * NS_PER_MS)
		return;
	said_ns = os_monotonic_ns();
	say(&control, WIRE_STATUS, &status, sizeof(status), NULL, 0);
}

static void print_result(const struct wire_stream_result *result)
{
	const uint8_t *verdicts = wire_stream_verdicts(result);

	printf("result %u %" PRIu64, result->disk, (uint64_t)result->offset);
	for (unsigned int i = 0; i < result->count; i++)
		printf(" %u", verdicts[i]);
	putchar('\n');
}

/* Hears one frame of the control connection. */
static enum wire_type hear(void)
{
	static uint64_t buffer[WIRE_CONTROL_MAX / sizeof(uint64_t)];
	const struct wire_error *error = (const void *)buffer;
	const struct wire_welcome *welcome = (const void *)buffer;
	const struct wire_stream_ready *ready = (const void *)buffer;
	const struct wire_stream_ack *ack = (const void *)buffer;
	struct fault fault = {0};
	enum wire_type type;
	uint32_t length;

	if (frame_receive(&control, buffer, sizeof(buffer), &type, &length,
			  os_monotonic_ns() + ANSWER_NS, &fault))
		give_up("hear", &fault);
	if (type == WIRE_ERROR) {
		printf("error %s\n", error->text);
		fflush(stdout);
		_exit(2);
	}
	if (type == WIRE_WELCOME)
		memcpy(session, welcome->session, sizeof(session));
	if (type == WIRE_STREAM_READY) {
		printf("ready %" PRIx64 " %" PRIu64 " %" PRIu64 "\n", (uint64_t)ready->stream,
		       (uint64_t)ready->batch, (uint64_t)ready->mark);
		newest_mark = ready->mark;
		batch = acked = ready->stream == STREAM_ID ? ready->batch : 0;
	}
	if (type == WIRE_STREAM_ACK) {
		acked = ack->batch;
		applied = ack->applied;
	}
	if (type == WIRE_COMMAND)
		memcpy(&asked, buffer, sizeof(asked));
	if (type == WIRE_ACK)
		acked_epoch = ((const struct wire_ack *)(const void *)buffer)->epoch;
	if (type == WIRE_DISK_READY) {
		const struct wire_disk_ready *disk = (const void *)buffer;

		if (disk->epoch > epoch)
			epoch = acked_epoch = disk->epoch;
	}
	if (type == WIRE_STREAM_RESULT)
		print_result((const void *)buffer);
	return type;
}

static void await_file(const char *path)
{
	if (!path)
		return;
	puts("waiting");
	fflush(stdout);
	while (!os_file_exists(path))
		os_sleep_ns(10 * NS_PER_MS);
}

static void open_session(void)
{
	struct wire_hello hello = {
		.version = WIRE_VERSION,
		.version_min = WIRE_VERSION,
		.role = WIRE_ROLE_CONTROL,
		.disks = (uint16_t)disks,
		.connections = 1,
		.tracker = 1,
		.host = "streamer",
		.program = "none",
	};

	os_random(hello.instance, sizeof(hello.instance));
	connect_link(&control);
	say(&control, WIRE_HELLO, &hello, sizeof(hello), NULL, 0);
	await_file(getenv("STREAMER_WAIT"));
	for (unsigned int i = 0; i < disks; i++) {
		struct wire_disk disk = {
			.index = (uint16_t)i, .block_bytes = 4096, .size_bytes = disk_bytes};

		snprintf(disk.path, sizeof(disk.path), "/dev/streamer%u", i);
		snprintf(disk.identity, sizeof(disk.identity), "streamer:%u", i);
		say(&control, WIRE_DISK, &disk, sizeof(disk), NULL, 0);
	}
	while (hear() != WIRE_STREAM_READY)
		;
	hello.role = WIRE_ROLE_STREAM;
	memcpy(hello.session, session, sizeof(session));
	connect_link(&stream);
	say(&stream, WIRE_HELLO, &hello, sizeof(hello), NULL, 0);
	hello.role = WIRE_ROLE_DATA;
	connect_link(&data);
	say(&data, WIRE_HELLO, &hello, sizeof(hello), NULL, 0);
}

static void send_batch(void)
{
	struct wire_stream head = {.stream = STREAM_ID,
				   .records = records,
				   .raw_bytes = raw_bytes,
				   .checksum = digest_checksum(raw, raw_bytes)};
	size_t size = raw_bytes;

	if (!records)
		return;
	beat();
	head.batch = ++batch;
	head.from = head.to = batch * 100;
	head.codec =
		(uint16_t)compressor_run(compressor, raw, raw_bytes, packed, sizeof(packed), &size);
	head.stored_bytes = head.codec == COMPRESS_RAW ? raw_bytes : (uint32_t)size;
	say(&stream, WIRE_STREAM, &head, sizeof(head), head.codec == COMPRESS_RAW ? raw : packed,
	    head.stored_bytes);
	raw_bytes = records = 0;
}

/* Room for what follows a record. */
static uint8_t *add_record(enum wire_record_kind kind, uint64_t disk, uint64_t offset,
			   uint64_t length, uint32_t flags, uint32_t bytes)
{
	struct wire_record record = {.offset = offset,
				     .length = length,
				     .disk = (uint16_t)disk,
				     .kind = (uint16_t)kind,
				     .flags = flags};

	if (raw_bytes + sizeof(record) + bytes > sizeof(raw))
		send_batch();
	memcpy(raw + raw_bytes, &record, sizeof(record));
	raw_bytes += (uint32_t)sizeof(record) + bytes;
	records++;
	return raw + raw_bytes - bytes;
}

static void fill_bytes(uint8_t *to, uint64_t length, char fill)
{
	if (fill == '?')
		os_random(to, length);
	else
		memset(to, fill, length);
}

static void add_digest(uint64_t disk, uint64_t offset, uint64_t length, char fill)
{
	static uint8_t block[4096];
	uint32_t count = (uint32_t)((length + sizeof(block) - 1) / sizeof(block));
	uint8_t *digests = add_record(WIRE_RECORD_DIGEST, disk, offset, length, sizeof(block),
				      count * WIRE_DIGEST_LEN);

	fill_bytes(block, sizeof(block), fill);
	for (uint32_t i = 0; i < count; i++)
		digest_block(block, sizeof(block), digests + (size_t)i * WIRE_DIGEST_LEN);
}

static void add_random(uint64_t disk, uint64_t count, uint64_t length, char fill)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t place = ((uint64_t)random() * 4096) % (disk_bytes - length);

		fill_bytes(add_record(WIRE_RECORD_WRITE, disk, place - place % 4096, length, 0,
				      (uint32_t)length),
			   length, fill);
	}
}

static void send_data(uint64_t disk, uint64_t offset, uint64_t length, char fill)
{
	struct {
		struct wire_data data;
		struct wire_extent extent;
	} __attribute__((packed)) head = {
		.data = {.disk = (uint16_t)disk, .codec = COMPRESS_RAW, .extents = 1},
		.extent = {.offset = offset, .length = length, .kind = WIRE_EXTENT_DATA},
	};
	struct wire_barrier barrier = {.epoch = epoch + 1};

	epoch++;

	fill_bytes(packed, length, fill);
	head.data.raw_bytes = head.data.stored_bytes = (uint32_t)length;
	head.data.checksum = digest_checksum(packed, length);
	say(&data, WIRE_DATA, &head, sizeof(head), packed, length);
	say(&data, WIRE_BARRIER, &barrier, sizeof(barrier), NULL, 0);
	while (acked_epoch < epoch)
		(void)hear();
}

static void await(const uint64_t *what, const char *name)
{
	send_batch();
	while (*what < batch) {
		beat();
		(void)hear();
	}
	printf("%s %" PRIu64 "\n", name, *what);
	fflush(stdout);
}

static void answer_command(void)
{
	struct wire_reply reply = {0};

	while (!asked.id) {
		beat();
		(void)hear();
	}
	reply.id = asked.id;
	if (asked.kind == WIRE_COMMAND_CHECKPOINT) {
		reply.values[0] = ++newest_mark;
		add_record(WIRE_RECORD_MARK, 0, os_realtime_ns(), newest_mark,
			   asked.flags & WIRE_CHECKPOINT_FREEZE ? WIRE_MARK_FROZEN : 0, 0);
		add_record(WIRE_RECORD_CONFIRM, 0, 0, newest_mark, 0, 0);
		send_batch();
	}
	asked.id = 0;
	say(&control, WIRE_REPLY, &reply, sizeof(reply), NULL, 0);
}

static bool obey(const char *line)
{
	uint64_t disk = 0, offset = 0, length = 0;
	char verb[16] = "", fill = 0, word[16] = "";
	int count = sscanf(line, "%15s %" SCNu64 " %" SCNu64 " %" SCNu64 " %c", verb, &disk,
			   &offset, &length, &fill);

	if (!strcmp(verb, "write") && count == 5) {
		fill_bytes(add_record(WIRE_RECORD_WRITE, disk, offset, length, 0, (uint32_t)length),
			   length, fill);
	} else if (!strcmp(verb, "copy") && count == 5) {
		fill_bytes(add_record(WIRE_RECORD_COPY, disk, offset, length, 0, (uint32_t)length),
			   length, fill);
	} else if (!strcmp(verb, "random") && count == 5) {
		add_random(disk, offset, length, fill);
	} else if (!strcmp(verb, "zero") && count == 4) {
		add_record(WIRE_RECORD_ZERO, disk, offset, length, 0, 0);
	} else if (!strcmp(verb, "mark") && count >= 2) {
		(void)sscanf(line, "%*s %*s %15s", word);
		newest_mark = disk;
		add_record(WIRE_RECORD_MARK, 0, os_realtime_ns(), disk,
			   !strcmp(word, "frozen") ? WIRE_MARK_FROZEN : WIRE_MARK_QUIET, 0);
	} else if (!strcmp(verb, "confirm") && count == 2) {
		add_record(WIRE_RECORD_CONFIRM, 0, 0, disk, 0, 0);
	} else if (!strcmp(verb, "gap")) {
		add_record(WIRE_RECORD_GAP, 0, os_realtime_ns(), 0, 1, 0);
	} else if (!strcmp(verb, "digest") && count == 5) {
		add_digest(disk, offset, length, fill);
	} else if (!strcmp(verb, "data") && count == 5) {
		send_data(disk, offset, length, fill);
	} else if (!strcmp(verb, "serve")) {
		answer_command();
	} else if (!strcmp(verb, "send")) {
		send_batch();
	} else if (!strcmp(verb, "ack")) {
		await(&acked, "ack");
	} else if (!strcmp(verb, "applied")) {
		await(&applied, "applied");
	} else {
		return verb[0] == '\0';
	}
	return true;
}

int main(int argc, char **argv)
{
	char line[256];

	if (argc != 5) {
		fputs("usage: streamer PORT STATE_FOLDER DISKS DISK_BYTES <SCRIPT\n", stderr);
		return 1;
	}
	port = (uint16_t)atoi(argv[1]);
	folder = argv[2];
	disks = (unsigned int)atoi(argv[3]);
	disk_bytes = strtoull(argv[4], NULL, 10);
	compressor = compressor_new(COMPRESS_LZ4);
	open_session();
	while (fgets(line, sizeof(line), stdin)) {
		if (!obey(line)) {
			fprintf(stderr, "streamer: what is '%s'?\n", line);
			return 1;
		}
	}
	send_batch();
	fflush(stdout);
	return 0;
}
