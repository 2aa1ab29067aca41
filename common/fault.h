/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A fault: what went wrong, what to do about it, and a sentence for the person who reads it.
 *
 * Functions that can only fail in one obvious way return 0 or -errno. Where a person has to be told
 * more, they also take a `struct fault *fault` (may be NULL) and fill it on failure, and only then.
 * Only the session's state machine acts on the class.
 */
#ifndef BLKFERRY_COMMON_FAULT_H
#define BLKFERRY_COMMON_FAULT_H

#include <stdarg.h>

enum fault_class {
	FAULT_RETRY = 1, /* passes by itself: reconnect with back-off and go on where it was */
	FAULT_RESYNC,	 /* what both sides believe differs: compare digests, ship what differs */
	FAULT_STOP, /* a person has to act: retrying now and then is allowed, hammering is not */
};

#define FAULT_TEXT_MAX 512

struct fault {
	enum fault_class class;
	int error; /* an errno value, positive */
	char text[FAULT_TEXT_MAX];
};

/* Fills *fault (if not NULL) and returns -error, so that callers can write
 * `return fault_set(fault, FAULT_STOP, EINVAL, "...")`. error must be positive. */
int fault_set(struct fault *fault, enum fault_class class, int error, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Puts "what: " in front of the text that is there; keeps class and error. Returns -fault->error. */
int fault_prefix(struct fault *fault, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

const char *fault_class_name(enum fault_class class);

#endif
