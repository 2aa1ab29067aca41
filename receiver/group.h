/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whom the receiver's sockets belong to, besides its own user: the control group. */
#ifndef BLKFERRY_RECEIVER_GROUP_H
#define BLKFERRY_RECEIVER_GROUP_H

/* Gives path to the group and sets its mode. When there is no such group, or this user may not give it files,
 * only the owner's rights remain: -errno. */
int group_give(const char *path, const char *group, unsigned int mode);

#endif
