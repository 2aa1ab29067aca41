/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a disk is called: serial number, WWN, model, as the disk and udev tell them. */
#ifndef BLKFERRY_AGENT_LINUX_DISKS_IDENTITY_H
#define BLKFERRY_AGENT_LINUX_DISKS_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/linux/disks_tree.h"

#define DISK_NAME_MAX 128

/* Each "" when not known; blanks are '_'. */
struct disk_names {
	char wwid[DISK_NAME_MAX];
	char serial[DISK_NAME_MAX];
	char udev_serial[DISK_NAME_MAX];  /* ID_SERIAL: often model and serial */
	char udev_short[DISK_NAME_MAX];	  /* ID_SERIAL_SHORT */
	char udev_wwn[DISK_NAME_MAX];	  /* ID_WWN */
	char udev_content[32];		  /* ID_FS_TYPE: "LVM2_member", "zfs_member", "ext4" */
	char backing_file[DISK_NAME_MAX]; /* of a loop disk; "" also when its path is too long */
	char model[64];
	bool is_in_udev;
};

void identity_read(const struct block_tree *tree, unsigned int device,
		   struct disk_names *ret_names);
/* The name by which the disk is known again: WWN, serial, backing file, or else path. */
const char *identity_choose(const struct disk_names *names, const char *path);
/* Is wanted one of its names? A WWN may be written with or without "naa.", "eui." or "0x". */
bool identity_matches(const struct disk_names *names, const char *wanted);

/* The parsers: SCSI's unit serial number page (SPC-4 7.8.14), and a file of udev's database. */
int identity_parse_vpd80(const unsigned char *page, size_t size, char ret_serial[DISK_NAME_MAX]);
void identity_parse_udev(const char *text, size_t size, struct disk_names *names);

#endif
