/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections that have not proven yet who they are: how many there may be, and which one has to go. Anybody can
 * make them, so they must not keep an agent out.
 *
 * The newcomer always gets in. Beyond the limits the oldest of the busiest address is dropped: a handshake
 * takes milliseconds, and who is slow among many is no agent.
 */
#ifndef BLKFERRY_RECEIVER_ADMISSION_H
#define BLKFERRY_RECEIVER_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#define ADMISSION_MAX	      64
#define ADMISSION_ADDRESS_MAX 32 /* of one address: several agents may sit behind it */

/* A part of the connection. The lock that guards it is the caller's. */
struct admission_slot {
	bool is_inside;
	char address[48];
	struct admission_slot *next;
};

struct admission {
	struct admission_slot *oldest; /* in the order of arrival */
	unsigned int count;
};

/* peer: a numeric address; of IPv6 the first half counts, since its owner has all of the other. Returns the
 * slot that has to go, which is not inside any more, or NULL. */
struct admission_slot *admission_enter(struct admission *admission, struct admission_slot *slot,
				       const char *peer);
/* It has proven who it is, or has ended. A slot that is not inside stays so. */
void admission_leave(struct admission *admission, struct admission_slot *slot);

/* Lines about strangers: a burst, then one a second that counts the rest. */
#define STRANGER_LINES_MAX 20
struct stranger_lines {
	unsigned int left;
	uint64_t refilled_ns;
	unsigned long long withheld;
};
/* May a line be written now? If so, *ret_withheld is how many could not be since the last one. */
bool stranger_lines_take(struct stranger_lines *lines, uint64_t now_ns,
			 unsigned long long *ret_withheld);

#endif
