// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An agent that breaks the protocol's rules, with a certificate that is good. It says WHAT to the receiver
 * and prints the ERROR that it gets back.
 *
 * Usage: badpeer PORT STATE_FOLDER WHAT
 *
 *   before the receiver's WELCOME: silence, garbage, magic, huge, huge-hello, truncated, reserved, ping-first,
 *       version, role, no-disks, many-disks, disk-order, disk-size, stranger (a data connection of no session)
 *   on the control connection of an open session, for a made-up disk: control-garbage, control-type, seal,
 *       fenced, unknown-reply (which is allowed)
 *   on its data connection: data-outside, data-wraps, data-disk, data-checksum, data-codec, data-short,
 *       extents, barrier, digests-outside, digests-block
 *
 * Exit status: 0 an ERROR came, 3 the receiver just closed, 4 it did neither, 1 could not get that far.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/compress.h"
#include "common/digest.h"
#include "common/frame.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "tests/tools/machine_link.h"

#define DISK_BYTES (1024u * 1024)
#define ANSWER_NS  (20 * NS_PER_S)

static uint16_t port;
static const char *folder;
static struct frame_link control, data;

static _Noreturn void give_up(const char *what, const struct fault *fault)
{
	fprintf(stderr, "badpeer: %s: %s\n", what, fault->text);
	_exit(1);
}

static void connect_link(struct frame_link *link)
{
	struct fault fault = {0};

	if (machine_link_connect(folder, port, link, &fault))
		give_up("connect", &fault);
}

/* Frames as they are: nothing here is checked, that is the receiver's task. */
static void say(struct frame_link *link, enum wire_type type, const void *first, size_t first_size,
		const void *second, size_t second_size)
{
	struct fault fault = {0};

	if (frame_send(link, type, first, first_size, second, second_size, &fault))
		fprintf(stderr, "badpeer: %s\n", fault.text); /* it may have hung up already */
}

static void say_raw(struct frame_link *link, const void *bytes, size_t size)
{
	if (frame_send_raw(link, bytes, size, NULL))
		fprintf(stderr, "badpeer: the receiver has hung up\n");
}

/* Reads until an ERROR or the end. */
static int hear(struct frame_link *link)
{
	static uint64_t buffer[WIRE_CONTROL_MAX / sizeof(uint64_t)];
	const struct wire_error *message = (const void *)buffer;
	uint64_t deadline = os_monotonic_ns() + ANSWER_NS;
	struct fault fault = {0};
	enum wire_type type;
	uint32_t length;

	for (;;) {
		int error = frame_receive(link, buffer, sizeof(buffer), &type, &length, deadline,
					  &fault);

		if (error) {
			fprintf(stderr, "badpeer: %s\n", fault.text);
			return error == -ETIMEDOUT ? 4 : 3;
		}
		if (type == WIRE_ERROR) {
			puts(message->text);
			return 0;
		}
	}
}

static struct wire_hello hello_of(enum wire_role role)
{
	struct wire_hello hello = {
		.version = WIRE_VERSION,
		.version_min = WIRE_VERSION,
		.role = (uint16_t)role,
		.disks = 1,
		.connections = 1,
		.tracker = 2,
		.host = "badpeer",
		.program = "none",
	};

	os_random(hello.instance, sizeof(hello.instance));
	return hello;
}

static void say_hello(struct wire_hello hello)
{
	say(&control, WIRE_HELLO, &hello, sizeof(hello), NULL, 0);
}

static void say_disk(unsigned int index, uint64_t size_bytes)
{
	struct wire_disk disk = {
		.index = (uint16_t)index,
		.block_bytes = 4096,
		.size_bytes = size_bytes,
		.path = "/dev/none",
		.identity = "badpeer:disk",
	};

	say(&control, WIRE_DISK, &disk, sizeof(disk), NULL, 0);
}

/* An open session with one data connection. */
static void open_session(void)
{
	static uint64_t buffer[WIRE_CONTROL_MAX / sizeof(uint64_t)];
	const struct wire_welcome *welcome = (const void *)buffer;
	const struct wire_error *message = (const void *)buffer;
	uint64_t deadline = os_monotonic_ns() + ANSWER_NS;
	struct wire_hello hello = hello_of(WIRE_ROLE_DATA);
	enum wire_type type = WIRE_PING;
	struct fault fault = {0};
	uint32_t length;

	say_hello(hello_of(WIRE_ROLE_CONTROL));
	say_disk(0, DISK_BYTES);
	while (type != WIRE_DISK_READY) {
		if (frame_receive(&control, buffer, sizeof(buffer), &type, &length, deadline,
				  &fault))
			give_up("session", &fault);
		if (type == WIRE_WELCOME)
			memcpy(hello.session, welcome->session, sizeof(hello.session));
		if (type == WIRE_ERROR && frame_error_to_fault(&control, message, &fault))
			give_up("session", &fault);
	}
	connect_link(&data);
	say(&data, WIRE_HELLO, &hello, sizeof(hello), NULL, 0);
}

static int before_welcome(const char *what)
{
	struct wire_hello hello = hello_of(WIRE_ROLE_CONTROL);
	struct wire_header header;
	uint8_t garbage[4096];

	os_random(garbage, sizeof(garbage));
	frame_header_init(&header, WIRE_HELLO, sizeof(hello));
	if (!strcmp(what, "garbage")) {
		say_raw(&control, garbage, sizeof(garbage));
	} else if (!strcmp(what, "magic")) {
		header.magic ^= 1;
		say_raw(&control, &header, sizeof(header));
	} else if (!strcmp(what, "huge")) {
		frame_header_init(&header, WIRE_DATA, UINT32_MAX);
		say_raw(&control, &header, sizeof(header));
	} else if (!strcmp(what, "huge-hello")) {
		header.length = sizeof(hello) + 1;
		say_raw(&control, &header, sizeof(header));
		say_raw(&control, garbage, sizeof(hello) + 1);
	} else if (!strcmp(what, "truncated")) {
		say_raw(&control, &header, sizeof(header));
		say_raw(&control, &hello, sizeof(hello) / 2);
		tls_stream_free(control.stream);
		return 3;
	} else if (!strcmp(what, "reserved")) {
		header.type = 999;
		say_raw(&control, &header, sizeof(header));
	} else if (!strcmp(what, "ping-first")) {
		say(&control, WIRE_PING, NULL, 0, NULL, 0);
	} else if (!strcmp(what, "version")) {
		hello.version = hello.version_min = WIRE_VERSION + 41;
		say_hello(hello);
	} else if (!strcmp(what, "role")) {
		hello.role = 77;
		say_hello(hello);
	} else if (!strcmp(what, "no-disks")) {
		hello.disks = 0;
		say_hello(hello);
	} else if (!strcmp(what, "many-disks")) {
		hello.disks = UINT16_MAX;
		say_hello(hello);
	} else if (!strcmp(what, "disk-order")) {
		say_hello(hello);
		say_disk(5, DISK_BYTES);
	} else if (!strcmp(what, "disk-size")) {
		say_hello(hello);
		say_disk(0, UINT64_MAX);
	} else if (!strcmp(what, "stranger")) {
		hello.role = WIRE_ROLE_DATA;
		os_random(hello.session, sizeof(hello.session));
		say_hello(hello);
	} else if (strcmp(what, "silence") != 0) {
		return -1;
	}
	return hear(&control);
}

static int on_control(const char *what)
{
	uint8_t garbage[4096];
	uint64_t id;

	os_random(garbage, sizeof(garbage));
	os_random(&id, sizeof(id));
	if (!strcmp(what, "control-garbage")) {
		say_raw(&control, garbage, sizeof(garbage));
	} else if (!strcmp(what, "control-type")) {
		struct wire_barrier barrier = {.epoch = 1};

		say(&control, WIRE_BARRIER, &barrier, sizeof(barrier), NULL, 0);
	} else if (!strcmp(what, "seal")) {
		struct wire_seal seal = {.id = id};

		say(&control, WIRE_SEAL, &seal, sizeof(seal), NULL, 0);
	} else if (!strcmp(what, "fenced")) {
		struct wire_fenced fenced = {.id = id, .fence = 1};

		say(&control, WIRE_FENCED, &fenced, sizeof(fenced), NULL, 0);
	} else {
		return -1;
	}
	return hear(&control);
}

/* One DATA frame of one block, bent as `what` says. */
static int say_data(const char *what)
{
	static uint8_t block[4096];
	struct {
		struct wire_data data;
		struct wire_extent extent;
	} __attribute__((packed)) head = {
		.data = {.codec = COMPRESS_RAW,
			 .extents = 1,
			 .raw_bytes = sizeof(block),
			 .stored_bytes = sizeof(block),
			 .checksum = digest_checksum(block, sizeof(block))},
		.extent = {.length = sizeof(block), .kind = WIRE_EXTENT_DATA},
	};
	size_t size = sizeof(block);

	if (!strcmp(what, "data-outside"))
		head.extent.offset = DISK_BYTES;
	else if (!strcmp(what, "data-wraps"))
		head.extent.offset = UINT64_MAX - 4095;
	else if (!strcmp(what, "data-disk"))
		head.data.disk = 9;
	else if (!strcmp(what, "data-checksum"))
		head.data.checksum++;
	else if (!strcmp(what, "data-codec"))
		head.data.codec = 200;
	else if (!strcmp(what, "data-short"))
		size /= 2;
	else if (!strcmp(what, "extents"))
		head.data.extents = UINT16_MAX;
	else
		return -1;
	say(&data, WIRE_DATA, &head, sizeof(head), block, size);
	return 0;
}

static int on_data(const char *what)
{
	uint8_t digest[WIRE_DIGEST_LEN] = {0};
	struct wire_digests digests = {
		.number = 1, .length = 4096, .block = 4096, .count = 1, .offset = DISK_BYTES};
	struct wire_barrier barrier = {.epoch = 7};

	if (!strcmp(what, "barrier")) {
		say(&data, WIRE_BARRIER, &barrier, sizeof(barrier), NULL, 0);
		barrier.epoch = 6;
		say(&data, WIRE_BARRIER, &barrier, sizeof(barrier), NULL, 0);
	} else if (!strcmp(what, "digests-outside")) {
		say(&data, WIRE_DIGESTS, &digests, sizeof(digests), digest, sizeof(digest));
	} else if (!strcmp(what, "digests-block")) {
		digests.offset = 0;
		digests.block = 1;
		say(&data, WIRE_DIGESTS, &digests, sizeof(digests), digest, sizeof(digest));
	} else if (say_data(what)) {
		return -1;
	}
	return hear(&control);
}

int main(int argc, char **argv)
{
	int status;

	if (argc != 4) {
		fputs("usage: badpeer PORT STATE_FOLDER WHAT\n", stderr);
		return 1;
	}
	port = (uint16_t)atoi(argv[1]);
	folder = argv[2];
	connect_link(&control);
	status = before_welcome(argv[3]);
	if (status < 0) {
		open_session();
		status = on_control(argv[3]);
	}
	if (status < 0)
		status = on_data(argv[3]);
	if (status < 0)
		fprintf(stderr, "badpeer: nothing known of '%s'\n", argv[3]);
	return status < 0 ? 1 : status;
}
