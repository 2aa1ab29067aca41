// SPDX-License-Identifier: GPL-2.0-or-later
/* Reading and building initramfs images with the tools of the root; see initramfs.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/linux/check/initramfs.h"
#include "common/os_file.h"

enum initramfs_builder initramfs_find_builder(const struct check_root *root)
{
	/* Either package may leave programs of the other's on the system; who builds is who answers to
	 * update-initramfs, which may be dracut. */
	char *script = root_read(root, "/usr/sbin/update-initramfs");
	bool is_tools = script && !strstr(script, "dracut");

	free(script);
	if (is_tools)
		return INITRAMFS_TOOLS;
	return root_has_program(root, "dracut") ? INITRAMFS_DRACUT : INITRAMFS_OTHER;
}

int initramfs_list(const struct check_root *root, const char *image, char **ret_list,
		   struct fault *fault)
{
	const char *const arguments[] = {
		root_has_program(root, "lsinitramfs") ? "lsinitramfs" : "lsinitrd", image, NULL};

	return root_run(root, arguments, ret_list, fault);
}

void initramfs_planned(const struct check_root *root, const struct plan *plan,
		       struct kernels *ret_kernels)
{
	unsigned int count = 0;

	kernels_find(root, ret_kernels);
	for (unsigned int i = 0; i < ret_kernels->count; i++) {
		struct kernel *kernel = &ret_kernels->list[i];
		bool is_wanted = plan->is_rebuilding_all;

		for (unsigned int j = 0; j < plan->rebuild_count; j++)
			is_wanted = is_wanted || !strcmp(plan->rebuild[j], kernel->version);
		/* Nobody to build it: what is in the image was not found wrong either. */
		if (initramfs_find_builder(root) == INITRAMFS_OTHER)
			break;
		if (is_wanted && !kernel->is_rescue && kernel->initramfs[0])
			ret_kernels->list[count++] = *kernel;
	}
	ret_kernels->count = count;
}

unsigned int initramfs_outputs(const struct check_root *root, const struct kernel *kernel,
			       char ret_paths[2][PATH_MAX])
{
	unsigned int count = 0;

	if (root_resolve(root, kernel->initramfs, ret_paths[count], PATH_MAX) == 0)
		count++;
	if (initramfs_find_builder(root) == INITRAMFS_TOOLS) {
		/* Where update-initramfs notes which images are its own. */
		snprintf(ret_paths[count], PATH_MAX, "/var/lib/initramfs-tools/%s",
			 kernel->version);
		if (root_exists(root, ret_paths[count]))
			count++;
	}
	return count;
}

/* Flushes an image that another program wrote; what a power cut may take away is the old one only after. */
static int sync_image(const struct check_root *root, const char *image)
{
	int fd, error = root_open_file(root, image, O_RDONLY, &fd);

	if (error)
		return error;
	if (fsync(fd) != 0)
		error = -errno;
	close(fd);
	return error;
}

static int build_by_dracut(const struct check_root *root, const struct kernel *kernel,
			   struct fault *fault)
{
	char image[PATH_MAX], next[PATH_MAX], from[PATH_MAX], to[PATH_MAX];
	const char *slash;
	int error = root_resolve(root, kernel->initramfs, image, sizeof(image));

	if (error)
		return fault_set(fault, FAULT_STOP, -error, "%s: %s", kernel->initramfs,
				 strerror(-error));
	slash = strrchr(image, '/');
	if (snprintf(next, sizeof(next), "%.*s/.blkferry-%s", (int)(slash - image), image,
		     slash + 1) >= (int)sizeof(next) ||
	    root_outside(root, next, from, sizeof(from)) != 0 ||
	    root_outside(root, image, to, sizeof(to)) != 0)
		return fault_set(fault, FAULT_STOP, ENAMETOOLONG, "%s: the path is too long",
				 image);
	error = root_run(root,
			 (const char *const[]){"dracut", "--force", next, kernel->version, NULL},
			 NULL, fault);
	if (!error) {
		error = sync_image(root, next);
		if (!error && rename(from, to) != 0)
			error = -errno;
		if (!error) {
			to[strrchr(to, '/') - to] = '\0';
			error = os_folder_sync(to[0] ? to : "/");
		}
		if (error)
			fault_set(fault, FAULT_STOP, -error, "%s: %s", image, strerror(-error));
	}
	if (error)
		unlink(from);
	return error;
}

int initramfs_build(const struct check_root *root, const struct kernel *kernel, struct fault *fault)
{
	int error;

	switch (initramfs_find_builder(root)) {
	case INITRAMFS_DRACUT:
		return build_by_dracut(root, kernel, fault);
	case INITRAMFS_TOOLS:
		error = root_run(root,
				 (const char *const[]){"update-initramfs", "-u", "-k",
						       kernel->version, NULL},
				 NULL, fault);
		if (!error && sync_image(root, kernel->initramfs) != 0)
			error = fault_set(fault, FAULT_STOP, EIO, "%s cannot be flushed",
					  kernel->initramfs);
		return error;
	case INITRAMFS_OTHER:
		break;
	}
	return fault_set(fault, FAULT_STOP, ENOTSUP,
			 "there is neither update-initramfs nor dracut to build %s with",
			 kernel->initramfs);
}
