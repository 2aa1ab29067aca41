/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a disk's bytes go. Variants behind one ops table, a file each: target_nbd.c (libnbd,
 * asynchronous), target_file.c (sparse file or block device), target_auto.c (an nbdkit that the
 * receiver starts on a sparse file in its storage folder, then as target_nbd).
 *
 * A target is opened once a session and disk; each connection's thread then opens a channel of its own
 * on it. A channel belongs to one thread. Requests on a channel complete in any order.
 */
#ifndef BLKFERRY_RECEIVER_TARGET_H
#define BLKFERRY_RECEIVER_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/fault.h"

/* Storage may stand still for minutes (tapdisk does while the host takes a snapshot), but not for ever:
 * a channel on which nothing moves for so long is broken. */
#define TARGET_STALL_NS (10 * 60 * 1000000000ull)

struct target;
struct target_channel;

struct target_info {
	uint64_t size_bytes;
	uint32_t block_bytes; /* offsets and lengths must be multiples of it (1 or 512) */
	bool can_flush;	      /* false: written data is only as durable as the server's replies */
	bool can_zero;	      /* zeroes travel as a request, not as data */
	bool is_known_zero; /* every byte was zero when it was opened: new sparse file, or all hole */
	unsigned int channels_max;
	/* One connection, which all channels share: several would not see each other's flushes. */
	bool is_single;
	/* A server that is not ours: it may execute requests after their connection is gone. */
	bool is_foreign;
	/* auto and file: which file it is, as opposed to its name: a storage that is not mounted has
	 * others of the same names. "" for the rest. */
	char file_identity[80];
	char text[256]; /* the URI as status shows it */
	char path[256]; /* file or device path where there is one, else "" */
};

/* Called on the channel's thread when a request has ended: by poll, drain and flush, by close, and by
 * a new request that waits for room. error is 0 or a positive errno: look at it first. It must not call
 * the channel itself (-EDEADLK). */
typedef void target_done_fn(void *context, int error);

/* uri: nbd://host[:port][/export], nbds://..., nbd+unix:///export?socket=PATH, file:/path,
 * block:/dev/x, xcp:VDI-UUID, or auto. storage_folder and name are used by auto ("NAME" becomes part of the file
 * name) and for locking. size_bytes is the source disk's size: auto and file: make or grow their
 * file to it (auto always; file: only when the file is not there).
 * Refuses, before a byte is written and with a message that says what to do: read-only, too small,
 * in use by another target of this receiver, not there. Faults: STOP for those, RETRY for a server
 * that cannot be reached. */
int target_open(const char *uri, const char *storage_folder, const char *name, uint64_t size_bytes,
		struct target **ret_target, struct fault *fault);
/* Is this a URI that target_open could take? For configurations: opens nothing. Fault STOP. */
int target_check_uri(const char *uri, struct fault *fault);
const struct target_info *target_info(const struct target *target);
/* False once a channel was closed, or lost its connection, with writes under way: nobody knows whether and
 * when those land. */
bool target_is_clean(struct target *target);
void target_close(struct target *target); /* after all its channels are closed */
/* auto: ends the nbdkit and, when remove_data is set, deletes the file. Nothing for the others. */
int target_forget(const char *uri, const char *storage_folder, const char *name, bool remove_data,
		  struct fault *fault);

int target_channel_open(struct target *target, struct target_channel **ret_channel,
			struct fault *fault);
/* Abandons what is under way: every done function is called with ECANCELED first. Drain before, or the
 * target is not clean any more. */
void target_channel_close(struct target_channel *channel);

/* Start a request. Buffers stay valid until done is called. length: any multiple of block_bytes
 * within the target (checked: -EINVAL); zero lengths may be up to the whole disk. Where the target
 * cannot zero, zeroes are written as data. When the queue is full these wait for room, running other
 * requests' done functions. Returns 0, or -errno (then done is not called). */
int target_channel_write(struct target_channel *channel, const void *data, uint64_t offset,
			 uint32_t length, target_done_fn *done, void *context);
int target_channel_zero(struct target_channel *channel, uint64_t offset, uint64_t length,
			target_done_fn *done, void *context);
int target_channel_read(struct target_channel *channel, void *data, uint64_t offset,
			uint32_t length, target_done_fn *done, void *context);
/* Runs what has completed, without waiting. -errno when the channel is broken. */
int target_channel_poll(struct target_channel *channel);
/* Waits until nothing is under way. Errors of requests go to their done functions; -errno only when the
 * channel itself is broken or timeout_ns passed. */
int target_channel_drain(struct target_channel *channel, uint64_t timeout_ns);
/* Makes everything durable that completed before on any channel of this target. 0 also for a target
 * that cannot flush (target_info says so). */
int target_channel_flush(struct target_channel *channel, uint64_t timeout_ns);
/* What went wrong last on this channel, for messages ("nbd+unix://...: No space left on device"). */
const char *target_channel_error(const struct target_channel *channel);

#endif
