/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file RUN_FOLDER/rest, and ranges taken out of ranges; see handover_rest.h. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/handover_rest.h"
#include "common/digest.h"
#include "common/os_file.h"

bool rest_leave_out(struct rest *rest, enum rest_kind kind, uint32_t major, uint32_t minor,
		    uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;
	uint32_t count = rest->count;

	for (uint32_t i = 0; i < count; i++) {
		struct rest_range *range = &rest->ranges[i];
		uint64_t range_end = range->offset + range->length;

		if (range->kind != (uint32_t)kind || range->major != major ||
		    range->minor != minor || range->offset >= end || range_end <= offset)
			continue;
		if (range_end > end) {
			if (range->offset >= offset) {
				range->length = range_end - end;
				range->offset = end;
				continue;
			}
			if (rest->count == HANDOVER_WATCHES_MAX)
				return false;
			rest->ranges[rest->count] = *range;
			rest->ranges[rest->count].offset = end;
			rest->ranges[rest->count++].length = range_end - end;
		}
		range->length = range->offset < offset ? offset - range->offset : 0;
	}
	return true;
}

void rest_path(const char *run_folder, char ret_path[REST_PATH_MAX])
{
	snprintf(ret_path, REST_PATH_MAX, "%s/rest", run_folder);
}

static uint64_t checksum_of(const struct rest *rest)
{
	return digest_checksum(rest, offsetof(struct rest, checksum));
}

int rest_write(const char *run_folder, struct rest *rest, struct fault *fault)
{
	char path[REST_PATH_MAX];
	int error;

	rest->magic = HANDOVER_MAGIC;
	rest->version = HANDOVER_VERSION;
	rest->checksum = checksum_of(rest);
	rest_path(run_folder, path);
	error = os_folder_make(run_folder, 0700);
	if (!error)
		error = os_file_write_atomic(path, rest, sizeof(*rest), 0600);
	return error ? fault_set(fault, FAULT_STOP, -error, "cannot write %s: %s", path,
				 strerror(-error))
		     : 0;
}

int rest_read(const char *run_folder, struct rest **ret_rest, struct fault *fault)
{
	char path[REST_PATH_MAX], *text;
	struct rest *rest;
	size_t size;
	int error;

	rest_path(run_folder, path);
	error = os_file_read(path, sizeof(*rest), &text, &size);
	if (error)
		return fault_set(fault, FAULT_RESYNC, -error,
				 "the agent had not ended in order before the system stopped");
	rest = (struct rest *)text;
	if (size != sizeof(*rest) || rest->magic != HANDOVER_MAGIC ||
	    rest->version != HANDOVER_VERSION || rest->checksum != checksum_of(rest) ||
	    rest->count > HANDOVER_WATCHES_MAX) {
		free(text);
		return fault_set(fault, FAULT_RESYNC, EBADMSG, "%s is damaged", path);
	}
	*ret_rest = rest;
	return 0;
}
