// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads agent.ini; see options.h and blkferry-agent.ini(5). */
#include "agent/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/config.h"
#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "common/units.h"
#include "common/wire.h"

#define CHECKPOINT_LEAST_NS (100 * NS_PER_MS)
#define CHECKPOINT_MOST_NS  (3600 * NS_PER_S)
/* Bitmaps may take a sixth each of what the ring leaves of the ceiling: dirty, todo, and one more while a verify
 * runs. */
#define BITMAP_SHARE 6

static const char *const tracker_names[] = {"auto", "bpf", "scan", NULL};
static const char *const compression_names[] = {"none", "lz4", "zstd", NULL};
static const char *const capture_names[] = {"auto", "off", NULL};
static const char *const level_names[] = {"error", "warning", "info", "debug", NULL};

#define KEY(key, kind, field, ...)                                                                 \
	{                                                                                          \
		.section = "agent", .name = (key), .type = (kind),                                 \
		.offset = offsetof(struct agent_options, field), ##__VA_ARGS__                     \
	}

static const struct config_key keys[] = {
	KEY("receiver", CONFIG_STRING, receiver),
	KEY("disks", CONFIG_STRING, disks),
	KEY("state-folder", CONFIG_STRING, state_folder),
	KEY("pin-folder", CONFIG_STRING, pin_folder),
	KEY("handover-file", CONFIG_STRING, handover_file),
	KEY("tracker", CONFIG_CHOICE, tracker, .choices = tracker_names),
	KEY("allocated-only", CONFIG_SWITCH, allocated_only),
	KEY("connections", CONFIG_NUMBER, connections, .most = WIRE_CONNECTIONS_MAX),
	KEY("limit", CONFIG_RATE, limit_bytes_per_s),
	KEY("memory", CONFIG_BYTES, memory_bytes, .least = 32 * MIB, .most = 4 * GIB),
	KEY("capture", CONFIG_CHOICE, capture, .choices = capture_names),
	KEY("ring", CONFIG_BYTES, ring_bytes, .least = OPTIONS_RING_LEAST, .most = GIB),
	KEY("pass-interval", CONFIG_DURATION, pass_interval_ns),
	KEY("checkpoint-interval", CONFIG_DURATION, checkpoint_interval_ns),
	KEY("compression", CONFIG_CHOICE, compression, .choices = compression_names),
	KEY("pre-freeze-command", CONFIG_STRING, pre_freeze_command),
	KEY("post-thaw-command", CONFIG_STRING, post_thaw_command),
	KEY("hook-timeout", CONFIG_DURATION, hook_timeout_ns),
	KEY("log-level", CONFIG_CHOICE, log_level, .choices = level_names),
	{.name = NULL},
};

/* What config_read cannot know: how values fit each other, whether there is an address in one. */
static int check_values(const char *path, const struct agent_options *options, struct fault *fault)
{
	char host[256];
	uint16_t port;

	if (options->checkpoint_interval_ns < CHECKPOINT_LEAST_NS ||
	    options->checkpoint_interval_ns > CHECKPOINT_MOST_NS)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "%s: checkpoint-interval must lie between 100ms and 1h", path);
	if (!options->receiver ||
	    !options_split_host(options->receiver, host, sizeof(host), &port, fault))
		return 0;
	return fault_prefix(fault, "%s: receiver", path);
}

/* What the agent needs besides the ring, bitmaps of large disks aside. */
#define RING_LEAVES (64 * MIB)

/* As much as can be had: the ring's room is the time that a busy guest, or a link that stalls, has before there
 * is a gap. A quarter of a low ceiling, half of a high one. */
static uint64_t usual_ring(uint64_t memory_bytes)
{
	uint64_t rest = memory_bytes > RING_LEAVES ? memory_bytes - RING_LEAVES : 0;
	uint64_t most = rest < memory_bytes / 2 ? rest : memory_bytes / 2;

	return most > memory_bytes / 4 ? most : memory_bytes / 4;
}

/* The ring's size is a power of two, and at most half of the ceiling. */
static void choose_ring(struct agent_options *options)
{
	uint64_t most = options->memory_bytes / 2;
	uint64_t wanted = options->ring_bytes ? options->ring_bytes
					      : usual_ring(options->memory_bytes);
	uint64_t ring_bytes = OPTIONS_RING_LEAST;
	char text[2][32];

	while (ring_bytes * 2 <= wanted && ring_bytes * 2 <= most)
		ring_bytes *= 2;
	if (options->ring_bytes && options->ring_bytes != ring_bytes)
		log_warning("ring = %s: using %s, the next smaller power of two%s",
			    units_format_bytes(options->ring_bytes, text[0], sizeof(text[0])),
			    units_format_bytes(ring_bytes, text[1], sizeof(text[1])),
			    wanted > most ? " that is at most half of 'memory ='" : "");
	options->ring_bytes = ring_bytes;
}

int options_read(const char *path, struct agent_options *ret_options, struct fault *fault)
{
	struct agent_options options = {
		.disks = strdup("auto"),
		.state_folder = strdup(OPTIONS_STATE_FOLDER),
		.pin_folder = strdup("/sys/fs/bpf/blkferry"),
		.tracker = OPTIONS_TRACKER_AUTO,
		.allocated_only = true,
		.memory_bytes = 128 * MIB,
		.capture = OPTIONS_CAPTURE_AUTO,
		.pass_interval_ns = NS_PER_S,
		.checkpoint_interval_ns = NS_PER_S / 2,
		.compression = OPTIONS_LZ4,
		.hook_timeout_ns = 60 * NS_PER_S,
		.log_level = LOG_LEVEL_INFO,
	};
	int error = 0;

	if (!options.disks || !options.state_folder || !options.pin_folder)
		error = fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	else if (strcmp(path, OPTIONS_PATH) != 0 || os_file_exists(path))
		error = config_read(path, keys, &options, NULL, fault);
	if (!error)
		error = check_values(path, &options, fault);
	if (error) {
		options_fini(&options);
		return error;
	}
	choose_ring(&options);
	*ret_options = options;
	return 0;
}

uint64_t options_bitmap_bytes(const struct agent_options *options)
{
	uint64_t ring_bytes = options->capture == OPTIONS_CAPTURE_OFF ? 0 : options->ring_bytes;

	return (options->memory_bytes - ring_bytes) / BITMAP_SHARE;
}

void options_fini(struct agent_options *options)
{
	config_fini(keys, options);
}

int options_split_host(const char *text, char *ret_host, unsigned int host_size, uint16_t *ret_port,
		       struct fault *fault)
{
	const char *end = NULL, *port_text = NULL;
	size_t length;
	char *rest;
	unsigned long port = WIRE_PORT;

	if (text[0] == '[') {
		end = strchr(++text, ']');
		if (!end)
			goto bad;
		port_text = end[1] == ':' ? end + 2 : NULL;
		if (end[1] != ':' && end[1] != '\0')
			goto bad;
	} else {
		end = strchr(text, ':');
		if (end && strchr(end + 1, ':'))
			end = NULL; /* a bare IPv6 address */
		port_text = end ? end + 1 : NULL;
		if (!end)
			end = text + strlen(text);
	}
	length = (size_t)(end - text);
	if (length == 0 || length >= host_size)
		goto bad;
	if (port_text) {
		port = strtoul(port_text, &rest, 10);
		if (*port_text < '0' || *port_text > '9' || *rest != '\0' || port == 0 ||
		    port > 65535)
			goto bad;
	}
	memcpy(ret_host, text, length);
	ret_host[length] = '\0';
	*ret_port = (uint16_t)port;
	return 0;
bad:
	return fault_set(fault, FAULT_STOP, EINVAL,
			 "'%s' is not HOST, HOST:PORT or [IPv6]:PORT (port 1 to 65535, default %d)",
			 text, WIRE_PORT);
}
