/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads device-mapper tables by DM_TABLE_STATUS, without libdevmapper, and parses linear targets. */
#include "agent/linux/dm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <linux/dm-ioctl.h>

#include "agent/linux/sysfs.h"

#define SECTOR_BYTES	   512ull
#define FIRST_TABLE_BYTES  (16u << 10)
#define LINEAR_PARAMS_MAX  64
#define DM_CONTROL_PATH	   "/dev/mapper/control"
#define DM_INTERFACE_MAJOR 4 /* the kernel refuses another major, and takes any older minor */

/* "8:2 2048" */
static int parse_linear(const char *params, size_t size, struct dm_segment *segment)
{
	char text[LINEAR_PARAMS_MAX];
	uint64_t sectors;
	char *blank;

	if (size >= sizeof(text))
		return -EINVAL;
	memcpy(text, params, size);
	text[size] = '\0';
	blank = strchr(text, ' ');
	if (!blank)
		return -EINVAL;
	*blank = '\0';
	if (sysfs_parse_device(text, &segment->major, &segment->minor) < 0 ||
	    sysfs_parse_number(blank + 1, &sectors) < 0 || sectors > INT64_MAX / SECTOR_BYTES)
		return -EINVAL;
	segment->offset_bytes = sectors * SECTOR_BYTES;
	return 0;
}

/* Returns 1 for a segment, 0 for a target of another kind, or -EINVAL. */
static int parse_target(const struct dm_target_spec *spec, const char *params, size_t size,
			struct dm_segment *segment)
{
	const char *end = memchr(params, '\0', size);

	if (!end || memchr(spec->target_type, '\0', sizeof(spec->target_type)) == NULL ||
	    spec->sector_start > INT64_MAX / SECTOR_BYTES ||
	    spec->length > INT64_MAX / SECTOR_BYTES - spec->sector_start)
		return -EINVAL;
	if (strcmp(spec->target_type, "linear") != 0)
		return 0;
	segment->start_bytes = spec->sector_start * SECTOR_BYTES;
	segment->length_bytes = spec->length * SECTOR_BYTES;
	if (parse_linear(params, (size_t)(end - params), segment) < 0 ||
	    segment->offset_bytes > (uint64_t)INT64_MAX - segment->length_bytes)
		return -EINVAL;
	return 1;
}

int dm_parse_table(const void *table, size_t size, uint32_t target_count,
		   struct dm_segment **ret_segments, unsigned int *ret_count)
{
	const char *bytes = table;
	struct dm_segment *segments;
	unsigned int count = 0;
	size_t at = 0;

	if (target_count > DM_SEGMENTS_MAX || target_count > size / sizeof(struct dm_target_spec))
		return -EINVAL;
	segments = calloc(target_count + 1, sizeof(*segments));
	if (!segments)
		return -ENOMEM;
	for (uint32_t i = 0; i < target_count; i++) {
		struct dm_target_spec spec;
		int result = -EINVAL;

		if (at <= size && size - at >= sizeof(spec)) {
			memcpy(&spec, bytes + at, sizeof(spec));
			at += sizeof(spec);
			result = parse_target(&spec, bytes + at, size - at, &segments[count]);
		}
		if (result < 0) {
			free(segments);
			return result;
		}
		count += (unsigned int)result;
		/* In a status, unlike in a table that is loaded, from the start of the first. */
		at = spec.next;
	}
	*ret_segments = segments;
	*ret_count = count;
	return 0;
}

static int read_table(int fd, uint32_t major_number, uint32_t minor_number, size_t size,
		      struct dm_ioctl **ret_reply)
{
	struct dm_ioctl *request = calloc(1, size);

	if (!request)
		return -ENOMEM;
	request->version[0] = DM_INTERFACE_MAJOR;
	request->data_size = (uint32_t)size;
	request->data_start = sizeof(*request);
	request->flags = DM_STATUS_TABLE_FLAG;
	request->dev = makedev(major_number, minor_number);
	if (ioctl(fd, DM_TABLE_STATUS, request) < 0) {
		int error = errno;

		free(request);
		return -error;
	}
	if (request->data_size > size || request->data_start > request->data_size) {
		free(request);
		return -EINVAL;
	}
	*ret_reply = request;
	return 0;
}

int dm_read_segments(uint32_t major_number, uint32_t minor_number, struct dm_segment **ret_segments,
		     unsigned int *ret_count)
{
	struct dm_ioctl *reply = NULL;
	int result = -EMSGSIZE;
	int fd = open(DM_CONTROL_PATH, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	for (size_t size = FIRST_TABLE_BYTES; size <= DM_TABLE_MAX; size *= 4) {
		result = read_table(fd, major_number, minor_number, size, &reply);
		if (result < 0 || !(reply->flags & DM_BUFFER_FULL_FLAG))
			break;
		free(reply);
		reply = NULL;
		result = -EMSGSIZE;
	}
	close(fd);
	if (result < 0)
		return result;
	result = dm_parse_table((char *)reply + reply->data_start,
				reply->data_size - reply->data_start, reply->target_count,
				ret_segments, ret_count);
	free(reply);
	return result;
}
