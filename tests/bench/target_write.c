// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How fast the receiver's target layer alone writes: random bytes from memory, no network, no TLS.
 *
 * Usage: target_write URI SIZE_MIB CHANNELS REQUEST_KIB     prints MiB/s, flush included
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/os_clock.h"
#include "common/os_file.h"
#include "common/os_thread.h"
#include "common/units.h"
#include "receiver/target.h"

#define BUFFERS_BYTES	  (8 * MIB)
#define REQUEST_BYTES_MAX (2 * MIB)
#define CHANNELS_MAX	  16
#define TIMEOUT_NS	  (600 * NS_PER_S)

struct lane {
	struct os_thread thread;
	struct target *target;
	uint64_t first, end; /* bytes */
	uint32_t request_bytes;
	const unsigned char *data;
	int error;
};

static void note_done(void *context, int error)
{
	struct lane *lane = context;

	if (error)
		lane->error = error;
}

static void write_lane(void *argument)
{
	struct lane *lane = argument;
	struct target_channel *channel;
	struct fault fault;

	if (target_channel_open(lane->target, &channel, &fault) != 0) {
		fprintf(stderr, "%s\n", fault.text);
		lane->error = fault.error;
		return;
	}
	for (uint64_t at = lane->first; at < lane->end && !lane->error; at += lane->request_bytes)
		if (target_channel_write(channel, lane->data + at % BUFFERS_BYTES, at,
					 lane->request_bytes, note_done, lane) != 0)
			lane->error = -1;
	if (target_channel_drain(channel, TIMEOUT_NS) != 0 ||
	    target_channel_flush(channel, TIMEOUT_NS) != 0)
		lane->error = -1;
	if (lane->error)
		fprintf(stderr, "%s\n", target_channel_error(channel));
	target_channel_close(channel);
}

static int write_all(struct target *target, uint64_t size_bytes, unsigned int channels,
		     uint32_t request_bytes, const unsigned char *data)
{
	static struct lane lanes[CHANNELS_MAX];
	int failed = 0;

	for (unsigned int i = 0; i < channels; i++) {
		lanes[i].target = target;
		lanes[i].first = size_bytes / channels * i;
		lanes[i].end = lanes[i].first + size_bytes / channels;
		lanes[i].request_bytes = request_bytes;
		lanes[i].data = data;
		if (os_thread_start(&lanes[i].thread, "lane", write_lane, &lanes[i]) != 0)
			lanes[i].error = -1;
	}
	for (unsigned int i = 0; i < channels; i++) {
		os_thread_join(&lanes[i].thread);
		failed |= lanes[i].error;
	}
	return failed;
}

int main(int argc, char **argv)
{
	unsigned int channels = argc == 5 ? (unsigned int)atoi(argv[3]) : 0;
	uint64_t size_bytes = argc == 5 ? strtoull(argv[2], NULL, 10) * MIB : 0;
	uint32_t request_bytes = argc == 5 ? (uint32_t)atoi(argv[4]) * (uint32_t)KIB : 0;
	unsigned char *data = malloc(BUFFERS_BYTES + REQUEST_BYTES_MAX);
	struct target *target;
	struct fault fault;
	uint64_t start_ns;
	int failed;

	if (!data || channels == 0 || channels > CHANNELS_MAX || request_bytes == 0 ||
	    request_bytes > REQUEST_BYTES_MAX || size_bytes / channels % request_bytes != 0) {
		fprintf(stderr, "usage: target_write URI SIZE_MIB CHANNELS REQUEST_KIB\n");
		free(data);
		return 2;
	}
	os_random(data, BUFFERS_BYTES + REQUEST_BYTES_MAX);
	if (target_open(argv[1], "/tmp", "target_write", size_bytes, &target, &fault) != 0) {
		fprintf(stderr, "%s\n", fault.text);
		free(data);
		return 1;
	}
	start_ns = os_monotonic_ns();
	failed = write_all(target, size_bytes, channels, request_bytes, data);
	if (!failed)
		printf("%.1f\n", (double)size_bytes / (double)MIB /
					 ((double)(os_monotonic_ns() - start_ns) / 1e9));
	target_close(target);
	free(data);
	return failed != 0;
}
