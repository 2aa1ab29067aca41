// SPDX-License-Identifier: GPL-2.0-or-later
/* Running a view's nbdkits; see view_server.h. */
#include "receiver/view_server.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "receiver/group.h"
#include "receiver/view_plugin_path.h"

#define ARGUMENT_MAX (PATH_MAX + 32)

/* The command line as it grows. */
struct arguments {
	const char *list[NBDKIT_ARGUMENTS_MAX + 1];
	char texts[NBDKIT_ARGUMENTS_MAX][ARGUMENT_MAX];
	unsigned int count;
};

static void add(struct arguments *arguments, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void add(struct arguments *arguments, const char *format, ...)
{
	char *text = arguments->texts[arguments->count];
	va_list args;

	va_start(args, format);
	vsnprintf(text, ARGUMENT_MAX, format, args);
	va_end(args);
	arguments->list[arguments->count++] = text;
}

/* Four threads a connection, as for targets (target_auto.c). */
static void fill_arguments(const struct view_server_setup *setup, const struct view_server *server,
			   const char *plugin_path, struct arguments *arguments)
{
	add(arguments, "--threads=4");
	if (setup->port) {
		add(arguments, "--port=%u", setup->port);
		if (setup->address[0])
			add(arguments, "--ipaddr=%s", setup->address);
		add(arguments, "--tls=require");
		add(arguments, "--tls-psk=%s", setup->key_path);
	} else {
		add(arguments, "--unix=%s", server->socket);
	}
	add(arguments, "--filter=cow");
	add(arguments, "%s", plugin_path);
	add(arguments, "socket=%s", setup->view_socket);
	add(arguments, "disk=%u", setup->disk);
	add(arguments, "size=%" PRIu64, setup->size_bytes);
	if (!setup->target)
		return;
	add(arguments, "map=%s", setup->map_path);
	add(arguments, "map-offset=%" PRIu64, setup->map_offset);
	add(arguments, "target=%s", setup->target);
}

static int fill_paths(const struct view_server_setup *setup, struct view_server *server,
		      struct fault *fault)
{
	char host[HOST_NAME_MAX + 1] = "localhost";
	int length = 0;

	server->disk = setup->disk;
	snprintf(server->pid_path, sizeof(server->pid_path), "%s/disk%u.pid", setup->folder,
		 setup->disk);
	if (setup->port) {
		(void)gethostname(host, sizeof(host) - 1); /* ignoring: then it says localhost */
		snprintf(server->uri, sizeof(server->uri),
			 strchr(setup->address, ':') ? "nbds://blkferry@[%s]:%u/?tls-psk-file=%s"
						     : "nbds://blkferry@%s:%u/?tls-psk-file=%s",
			 setup->address[0] ? setup->address : host, setup->port, setup->key_path);
		return 0;
	}
	length = snprintf(server->socket, sizeof(server->socket), "%s/disk%u.sock", setup->folder,
			  setup->disk);
	if (length >= (int)sizeof(server->socket))
		return fault_set(fault, FAULT_STOP, ENAMETOOLONG,
				 "%s is too long for a view's sockets: use a shorter "
				 "control-socket",
				 setup->folder);
	nbdkit_server_uri(server->socket, server->uri, sizeof(server->uri));
	return 0;
}

int view_server_start(const struct view_server_setup *setup, struct view_server *ret_server,
		      struct fault *fault)
{
	struct view_server server = {0};
	struct arguments *arguments = calloc(1, sizeof(*arguments));
	char what[32], plugin_path[PATH_MAX];
	struct nbdkit_server nbdkit = {.what = what, .scratch_folder = setup->scratch_folder};
	int error;

	if (!arguments)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	error = fill_paths(setup, &server, fault);
	if (!error)
		error = view_plugin_path(plugin_path, sizeof(plugin_path), fault);
	if (!error) {
		fill_arguments(setup, &server, plugin_path, arguments);
		snprintf(what, sizeof(what), "the view of disk %u", setup->disk);
		nbdkit.pid_path = server.pid_path;
		nbdkit.socket_path = setup->port ? NULL : server.socket;
		nbdkit.arguments = arguments->list;
		error = nbdkit_server_ensure(&nbdkit, NBDKIT_SERVER_RESTART, fault);
	}
	free(arguments);
	if (error)
		return error;
	if (!setup->port)
		(void)group_give(server.socket, setup->group, 0660); /* as the control socket */
	*ret_server = server;
	return 0;
}

bool view_server_is_alive(const struct view_server *server)
{
	struct nbdkit_server nbdkit = {.pid_path = server->pid_path};

	return nbdkit_server_is_alive(&nbdkit);
}

static void end_by_pid_file(const char *pid_path, const char *socket)
{
	struct nbdkit_server nbdkit = {.what = "a view",
				       .pid_path = pid_path,
				       .socket_path = socket,
				       .is_expendable = true};
	struct fault fault = {0};

	/* Its plugin ends it, too, when our end of its connection goes. */
	if (nbdkit_server_end(&nbdkit, &fault))
		log_warning("%s", fault.text);
}

void view_server_end(const struct view_server *server)
{
	end_by_pid_file(server->pid_path, server->socket[0] ? server->socket : NULL);
}

void view_server_end_stale(const char *folder)
{
	struct dirent *entry;
	DIR *files = opendir(folder);

	while (files && (entry = readdir(files))) {
		const char *suffix = strrchr(entry->d_name, '.');
		char path[PATH_MAX];

		if (suffix && strcmp(suffix, ".pid") == 0 &&
		    snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) < PATH_MAX)
			end_by_pid_file(path, NULL);
	}
	if (files)
		closedir(files);
}
