// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Views' folders: views/ID beside the control socket, as accessible as that one. In them are
 *
 *   map          history_reader_open's
 *   view.sock    where the plugins ask us; only ours
 *   diskN.sock   where clients connect, diskN.pid its nbdkit
 *   key.psk      with a port: the key that clients need
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/os_file.h"
#include "receiver/group.h"
#include "receiver/view_internal.h"

#define FOLDER_MODE 0750
#define KEY_BYTES   32

/* PATH/views of PATH/control.sock */
static int views_folder(const struct receiver_options *options, char *ret_path, size_t size)
{
	const char *slash = strrchr(options->control_socket, '/');
	int length = slash ? (int)(slash - options->control_socket) : 1;

	if (snprintf(ret_path, size, "%.*s/views", length, slash ? options->control_socket : ".") >=
	    (int)size)
		return -ENAMETOOLONG;
	return 0;
}

int view_folder_make(const struct receiver_options *options, struct view *view, struct fault *fault)
{
	char base[PATH_MAX - 16];
	int error = views_folder(options, base, sizeof(base));

	if (!error)
		error = os_folder_make(base, FOLDER_MODE);
	if (!error) {
		(void)group_give(base, options->control_group, FOLDER_MODE);
		snprintf(view->folder, sizeof(view->folder), "%s/%u", base, view->id);
		error = mkdir(view->folder, FOLDER_MODE) ? -errno : 0;
	}
	if (error) {
		view->folder[0] = '\0';
		return fault_set(fault, FAULT_STOP, -error, "the view's folder cannot be made: %s",
				 strerror(-error));
	}
	(void)group_give(view->folder, options->control_group, FOLDER_MODE);
	return 0;
}

int view_key_make(const struct receiver_options *options, struct view *view, struct fault *fault)
{
	unsigned char key[KEY_BYTES];
	char text[sizeof("blkferry:\n") + 2 * KEY_BYTES] = "blkferry:";
	size_t used = strlen(text);
	int error;

	os_random(key, sizeof(key));
	for (size_t i = 0; i < sizeof(key); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%02x", key[i]);
	text[used++] = '\n';
	snprintf(view->key_path, sizeof(view->key_path), "%.*s/key.psk",
		 (int)sizeof(view->key_path) - 16, view->folder);
	error = os_file_write_atomic(view->key_path, text, used, 0600);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "%s: %s", view->key_path,
				 strerror(-error));
	(void)group_give(view->key_path, options->control_group, 0640);
	return 0;
}

void view_clean(const struct receiver_options *options)
{
	char base[PATH_MAX - 256];
	struct dirent *entry;
	DIR *folder;

	if (views_folder(options, base, sizeof(base)))
		return;
	folder = opendir(base);
	while (folder && (entry = readdir(folder))) {
		char path[PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", base, entry->d_name);
		view_server_end_stale(path);
		if (os_folder_remove(path))
			log_warning("%s, which another run of the receiver left, cannot be removed",
				    path);
	}
	if (folder)
		closedir(folder);
}
