/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Initramfs images: what is in them, and building them again. */
#ifndef BLKFERRY_AGENT_CHECK_INITRAMFS_H
#define BLKFERRY_AGENT_CHECK_INITRAMFS_H

#include "agent/linux/check/kernels.h"

enum initramfs_builder { INITRAMFS_TOOLS = 1, INITRAMFS_DRACUT, INITRAMFS_OTHER };

enum initramfs_builder initramfs_find_builder(const struct check_root *root);
/* The files in an image, as text, which the caller frees. */
int initramfs_list(const struct check_root *root, const char *image, char **ret_list,
		   struct fault *fault);
/* The kernels whose images the plan has built again: *ret_kernels with only these. */
void initramfs_planned(const struct check_root *root, const struct plan *plan,
		       struct kernels *ret_kernels);
/* The files that building a kernel's image replaces: the image, and what else there is; at most two. */
unsigned int initramfs_outputs(const struct check_root *root, const struct kernel *kernel,
			       char ret_paths[2][PATH_MAX]);
/* Builds it again. The old image is there until the new one is whole and on disk. */
int initramfs_build(const struct check_root *root, const struct kernel *kernel,
		    struct fault *fault);

#endif
