// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * nbdkit-blkferry-plugin.so: parameters and callbacks. nbdkit runs with --filter=cow above it; the plugin
 * itself cannot be written to.
 *
 *   socket=PATH map=PATH map-offset=N disk=N size=BYTES [target=PATH|URI]
 */
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/os_thread.h"
#include "receiver/view_plugin/disk.h"

#define THREAD_MODEL	 NBDKIT_THREAD_MODEL_PARALLEL
#define EXTENTS_MAX	 256 /* of one answer */
#define BLOCK_BYTES_BEST 65536u

static struct view_disk_setup setup;
static struct view_disk *disk;
static struct os_thread watcher;

static int take_path(const char *value, const char **ret_path)
{
	free((char *)*ret_path);
	*ret_path = nbdkit_absolute_path(value);
	return *ret_path ? 0 : -1;
}

static int take_number(const char *key, const char *value, uint64_t *ret_number)
{
	int64_t number = nbdkit_parse_size(value);

	if (number < 0) {
		nbdkit_error("%s=%s is no number", key, value);
		return -1;
	}
	*ret_number = (uint64_t)number;
	return 0;
}

static int plugin_config(const char *key, const char *value)
{
	if (strcmp(key, "socket") == 0)
		return take_path(value, &setup.socket_path);
	if (strcmp(key, "map") == 0)
		return take_path(value, &setup.map_path);
	if (strcmp(key, "map-offset") == 0)
		return take_number(key, value, &setup.map_offset);
	if (strcmp(key, "size") == 0)
		return take_number(key, value, &setup.size_bytes);
	if (strcmp(key, "disk") == 0)
		return nbdkit_parse_unsigned(key, value, &setup.number);
	if (strcmp(key, "target") == 0) {
		free((char *)setup.target);
		setup.target = strdup(value);
		return setup.target ? 0 : -1;
	}
	nbdkit_error("there is no parameter '%s'", key);
	return -1;
}

static int plugin_config_complete(void)
{
	if (setup.socket_path && setup.size_bytes && (setup.map_path || !setup.target))
		return 0;
	nbdkit_error("socket=, map= and size= are needed");
	return -1;
}

/* Before nbdkit goes into the background: what is wrong can still be told. */
static int plugin_get_ready(void)
{
	struct fault fault = {0};

	if (view_disk_open(&setup, &disk, &fault) == 0)
		return 0;
	nbdkit_error("%s", fault.text);
	return -1;
}

/* A view without its receiver would be one without its undo records. */
static void end_with_receiver(void *argument)
{
	struct pollfd ended = {.fd = view_disk_lifeline(disk), .events = POLLIN | POLLRDHUP};

	(void)argument;
	while (poll(&ended, 1, -1) < 0 && errno == EINTR)
		;
	_exit(EXIT_FAILURE); /* nbdkit_shutdown would wait for its clients, for ever */
}

static int plugin_after_fork(void)
{
	int error = os_thread_start(&watcher, "watcher", end_with_receiver, NULL);

	if (error)
		nbdkit_error("a thread cannot be started: %s", strerror(-error));
	return error ? -1 : 0;
}

static void plugin_unload(void)
{
	free((char *)setup.socket_path);
	free((char *)setup.map_path);
	free((char *)setup.target);
}

static void *plugin_open(int readonly)
{
	(void)readonly;
	return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t plugin_get_size(void *handle)
{
	(void)handle;
	return (int64_t)setup.size_bytes;
}

static int plugin_block_size(void *handle, uint32_t *least, uint32_t *best, uint32_t *most)
{
	(void)handle;
	*least = 1;
	*best = BLOCK_BYTES_BEST;
	*most = UINT32_MAX;
	return 0;
}

/* All clients see the same. */
static int plugin_can_multi_conn(void *handle)
{
	(void)handle;
	return 1;
}

static int plugin_can_extents(void *handle)
{
	(void)handle;
	return view_disk_knows_holes(disk);
}

static int plugin_pread(void *handle, void *data, uint32_t length, uint64_t offset, uint32_t flags)
{
	struct fault fault = {0};
	int error = view_disk_read(disk, data, offset, length, &fault);

	(void)handle;
	(void)flags;
	if (!error)
		return 0;
	nbdkit_error("%s", fault.text);
	nbdkit_set_error(-error);
	return -1;
}

static int plugin_extents(void *handle, uint32_t length, uint64_t offset, uint32_t flags,
			  struct nbdkit_extents *extents)
{
	uint64_t end = offset + length;

	(void)handle;
	for (unsigned int i = 0; i < EXTENTS_MAX && offset < end; i++) {
		uint64_t part;
		bool is_zero = view_disk_is_zero(disk, offset, end - offset, &part);

		if (nbdkit_add_extent(extents, offset, part,
				      is_zero ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0) < 0)
			return -1;
		if (flags & NBDKIT_FLAG_REQ_ONE)
			break;
		offset += part;
	}
	return 0;
}

static struct nbdkit_plugin plugin = {
	.name = "blkferry",
	.version = BLKFERRY_VERSION,
	.longname = "blkferry view of a checkpoint",
	.description = "Serves a disk as it was at a checkpoint; started by blkferry-receiver.",
	.config = plugin_config,
	.config_complete = plugin_config_complete,
	.config_help = "socket=PATH map=PATH map-offset=N disk=N size=BYTES [target=PATH|URI]",
	.get_ready = plugin_get_ready,
	.after_fork = plugin_after_fork,
	.unload = plugin_unload,
	.open = plugin_open,
	.get_size = plugin_get_size,
	.block_size = plugin_block_size,
	.can_multi_conn = plugin_can_multi_conn,
	.can_extents = plugin_can_extents,
	.pread = plugin_pread,
	.extents = plugin_extents,
	.errno_is_preserved = 0,
};

NBDKIT_REGISTER_PLUGIN(plugin)
