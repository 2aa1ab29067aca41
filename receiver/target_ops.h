/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a variant of target (target_nbd.c, target_file.c) has to do, and what it gets for it. Only
 * files named target*.c include this.
 *
 * target_channel.c owns a channel's requests: it checks them, hands each to start(), and calls the
 * caller's done function after the variant has ended it. A variant never calls done by itself, so a
 * done function never runs inside a library's callback or inside the call that started the request.
 */
#ifndef BLKFERRY_RECEIVER_TARGET_OPS_H
#define BLKFERRY_RECEIVER_TARGET_OPS_H

#include "common/os_thread.h"
#include "receiver/target.h"

/* Limits (I10) */
#define TARGET_URI_MAX		 255		     /* bytes; also what status can show */
#define TARGET_NAME_MAX		 128		     /* bytes of NAME in file names */
#define TARGET_REQUEST_BYTES_MAX (32u * 1024 * 1024) /* one read or write */
#define TARGET_QUEUE_MAX	 64		     /* requests of a channel not yet done */
#define TARGET_ZERO_PIECE_BYTES	 (64u * 1024 * 1024) /* zeroing is cut into such pieces */
#define TARGET_DATA_PIECE_BYTES	 (2u * 1024 * 1024)  /* zeroes as data, and NBD requests */
#define TARGET_ERROR_TEXT_MAX	 400

enum target_request_kind { TARGET_WRITE = 1, TARGET_ZERO, TARGET_READ };

struct target_request {
	enum target_request_kind kind;
	const void *data; /* write */
	void *room;	  /* read */
	uint64_t offset;
	uint64_t length;
	int error;
	target_done_fn *done;
	void *context;
	bool is_under_way;
	struct target_request *next; /* the variant's own while it is under way */
	/* The variant's own: how far it has come. */
	uint64_t started_bytes;
	unsigned int pieces; /* under way */
	bool is_as_data;     /* zeroes travel as data */
};

struct target_ops {
	const char *name;
	/* All three take and give structs that begin with struct target or target_channel. */
	void (*close)(struct target *target);
	int (*channel_open)(struct target *target, struct target_channel **ret_channel,
			    struct fault *fault);
	/* Lets go of the server and of every buffer; requests are ended by target_channel.c. */
	void (*channel_close)(struct target_channel *channel);
	/* Begins a request, which lies inside the target and is aligned. Must call target_request_end
	 * for it sooner or later, here or in progress(). */
	void (*start)(struct target_channel *channel, struct target_request *request);
	/* Moves what is under way. Waits until something has moved or deadline_ns (monotonic; 0: does
	 * not wait). Returns 0, -ETIMEDOUT, or -errno when the channel is broken: then every request was
	 * ended with an error. */
	int (*progress)(struct target_channel *channel, uint64_t deadline_ns);
	/* Makes durable what has ended. Not called when info.can_flush is false. */
	int (*flush)(struct target_channel *channel, uint64_t deadline_ns);
};

struct target {
	const struct target_ops *ops;
	struct target_info info;
	int lock_fd;	  /* auto: NAME.lock; -1 */
	char *clean_path; /* auto: made when a clean target is closed; NULL */
	/* The list of this process's open targets: what target_open finds "in use" by. */
	char identity[TARGET_URI_MAX + 64];
	struct target *next;

	struct os_mutex lock; /* the rest: channels are opened and flushed by several threads */
	unsigned int channels;
	int flush_error; /* after a failed flush nobody knows what is durable: it stays failed */
	bool is_unclean; /* target_is_clean */
};

struct target_channel {
	struct target *target;
	struct target_request requests[TARGET_QUEUE_MAX];
	struct target_request *unused;
	struct target_request *ended_first, **ended_last;
	unsigned int under_way; /* started, not ended */
	int broken;		/* 0 or a positive errno */
	bool is_in_done;
	char error[TARGET_ERROR_TEXT_MAX];
};

/* For variants. error is 0 or positive. */
void target_request_end(struct target_channel *channel, struct target_request *request, int error);
void target_channel_init(struct target_channel *channel, struct target *target);
/* Sets what target_channel_error says: the target's text, then this. */
void target_channel_say(struct target_channel *channel, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Runs what has ended, or else waits until something has, or deadline_ns (-ETIMEDOUT). -errno when it is broken: then
 * all of its requests have ended. */
int target_channel_move(struct target_channel *channel, uint64_t deadline_ns);
const char *target_request_name(enum target_request_kind kind);
/* TARGET_DATA_PIECE_BYTES of zeroes, never written to. */
extern const unsigned char target_zeroes[];

/* Takes identity for target in the list of this process, or fails with STOP: in use. */
int target_claim(struct target *target, const char *identity, struct fault *fault);

int target_nbd_open(const char *uri, uint64_t size_bytes, struct target **ret_target,
		    struct fault *fault);
int target_file_open(const char *path, uint64_t size_bytes, struct target **ret_target,
		     struct fault *fault);
int target_block_open(const char *path, uint64_t size_bytes, struct target **ret_target,
		      struct fault *fault);
int target_xcp_open(const char *vdi, const char *name, uint64_t size_bytes,
		    struct target **ret_target, struct fault *fault);
int target_auto_open(const char *storage_folder, const char *name, uint64_t size_bytes,
		     struct target **ret_target, struct fault *fault);
/* target_single.c: the same target, for several channels. Takes inner, also when it fails. */
int target_single_open(struct target *inner, struct target **ret_target, struct fault *fault);
/* target_blocks.c: the same target, for single sectors. Takes inner, also when it fails. */
int target_blocks_open(struct target *inner, struct target **ret_target, struct fault *fault);
int target_auto_forget(const char *storage_folder, const char *name, bool remove_data,
		       struct fault *fault);
/* The server has writes that it may still execute, and nobody is left to hear of their end. */
void target_mark_unclean(struct target *target);
/* Frees what target.c keeps of a target: for variants whose open fails half way, and target_close. */
void target_init(struct target *target, const struct target_ops *ops);
void target_fini(struct target *target);
/* "has N bytes, the disk N": STOP unless the target is large enough. */
int target_check_size(const char *text, uint64_t target_bytes, uint64_t size_bytes,
		      struct fault *fault);
/* Which file is it? Sets *ret_identity to "" when that cannot be told. */
void target_identify_file(int fd, char *ret_identity, size_t size);
/* Is there no data in the file at all? */
bool target_fd_is_hole(int fd);

#endif
