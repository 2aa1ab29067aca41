/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A view as files: each disk by nbdfuse as FOLDER/diskN, and, for root, the file systems of its partitions (or
 * of the whole disk) read-only in FOLDER/diskNpM (FOLDER/diskNp0). Journals are replayed on the way; that
 * goes to the view's scratch, as all writes do.
 */
#ifndef BLKFERRY_RECEIVER_CLI_VIEW_MOUNT_H
#define BLKFERRY_RECEIVER_CLI_VIEW_MOUNT_H

#include <jansson.h>
#include <limits.h>

/* Makes the folder if needed; ret_folder is its full path. It must be empty. What is wrong was printed when it
 * returns -1; so with the others. */
int view_mount_prepare(const char *folder, char ret_folder[PATH_MAX]);
int view_mount(const char *folder, const json_t *disks);
/* Unmounts all that is mounted below folder, and removes what view_mount made. -1 when something is in use. */
int view_unmount(const char *folder);

#endif
