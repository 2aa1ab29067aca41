/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tells the service manager how we are: sd_notify(3)'s protocol, which is one datagram. */
#ifndef BLKFERRY_COMMON_OS_NOTIFY_H
#define BLKFERRY_COMMON_OS_NOTIFY_H

/* state: "READY=1", "STOPPING=1" ... Returns 0, also when nobody wants to know ($NOTIFY_SOCKET is not set), or
 * -errno. Ours rather than libsystemd's: a static program cannot have that, and it would bring liblzma, libzstd and
 * libgcrypt into a daemon for these few lines. */
int os_notify(const char *state);

#endif
