/* SPDX-License-Identifier: GPL-2.0-or-later */
/* agent.ini: what the agent can be told. */
#ifndef BLKFERRY_AGENT_OPTIONS_H
#define BLKFERRY_AGENT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/fault.h"

#define OPTIONS_PATH	     "/etc/blkferry/agent.ini"
#define OPTIONS_STATE_FOLDER "/var/lib/blkferry-agent" /* where nothing else is said */

/* As it stands in the file; the same numbers as enum compress_codec. */
enum options_compression { OPTIONS_NO_COMPRESSION = 1, OPTIONS_LZ4, OPTIONS_ZSTD };
enum options_tracker { OPTIONS_TRACKER_AUTO = 1, OPTIONS_TRACKER_BPF, OPTIONS_TRACKER_SCAN };

enum options_capture { OPTIONS_CAPTURE_AUTO = 1, OPTIONS_CAPTURE_OFF };

#define OPTIONS_RING_LEAST (256u << 10)

struct agent_options {
	char *receiver; /* HOST[:PORT]; NULL: the one that was enrolled with */
	char *disks;
	char *state_folder;
	char *pin_folder;
	char *handover_file; /* NULL: in the state folder, or where the root file system has it */
	int tracker;	     /* enum options_tracker */
	bool allocated_only;
	uint64_t connections; /* 0: as the cores allow */
	uint64_t limit_bytes_per_s;
	uint64_t memory_bytes;
	int capture;	     /* enum options_capture */
	uint64_t ring_bytes; /* a power of two, at most half of memory_bytes */
	uint64_t pass_interval_ns;
	uint64_t checkpoint_interval_ns;
	int compression; /* enum options_compression */
	char *pre_freeze_command;
	char *post_thaw_command;
	uint64_t hook_timeout_ns;
	int log_level; /* enum log_level */
};

/* Defaults, then path. A missing file is an error that says how to make one, except for the default path,
 * which may be absent. */
int options_read(const char *path, struct agent_options *ret_options, struct fault *fault);
/* Of tracker_options: what one of the two bitmaps may take. */
uint64_t options_bitmap_bytes(const struct agent_options *options);
void options_fini(struct agent_options *options);

/* Splits HOST[:PORT], [IPv6]:PORT. host_size at least 256. */
int options_split_host(const char *text, char *ret_host, unsigned int host_size, uint16_t *ret_port,
		       struct fault *fault);

#endif
