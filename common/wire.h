/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The wire format between agent (A) and receiver (R): constants, limits and layouts; nothing else.
 * blkferry-protocol(7) describes it for a second implementation. All integers are little-endian,
 * offsets and lengths are bytes. Everything travels inside TLS 1.3 with both sides verified.
 *
 * A session is one control connection and N data connections, all with ALPN "blkferry/1".
 *
 *   control connection                          data connection (N of them)
 *   A  HELLO (role control)                     A  HELLO (role data or stream, session id)
 *   A  MACHINE         at most once
 *   A  DISK            for each disk            R  WELCOME
 *   R  WELCOME                                  A  DATA | DIGESTS | BARRIER ...   for ever
 *   R  DISK_READY      for each disk            stream connection (one, when the agent opens it)
 *   R  STREAM_READY    (none: it takes none)    A  STREAM ...        batches of records, in order
 *   then, in any order:
 *   A  STATUS          twice a second, also when idle: silence means that the link is dead
 *   R  PING            once a second, for the same reason
 *   R  ACK             epoch e is durable on all targets
 *   R  STREAM_ACK      batch b is durable in the journal
 *   R  STREAM_RESULT   for each DIGEST record that was reached
 *   R  DIGEST_RESULT   for each DIGESTS, by its number
 *   A  CHECKS          would the source start on the target? When it was looked at, and again
 *   A  START           what the last start of the source meant for tracking
 *   R  COMMAND         A  REPLY
 *   A  RANGES          what a verify found
 *   cutover:  R COMMAND(cutover)  A STEP...  A SEAL  R COMMIT  A FENCED  R FENCED (heard)
 *             or A REPLY with an error at any time before FENCED: thawed, replication goes on;
 *             or R CANCEL at any time before COMMIT, which A answers with such a REPLY
 *   either    ERROR, then closes
 *
 * Epochs. A numbers the barriers of a session's data: BARRIER(e) on every data connection means
 * "all that came before on this connection belongs to epochs up to e". R acknowledges e after every
 * connection has sent BARRIER(e), every write before it has completed, the targets are flushed and
 * the have bitmaps are durable (I6). Only then does A forget the blocks (I2). Epoch numbers grow
 * over the life of a replica and are never used twice, so A sees when R's storage went back in time.
 */
#ifndef BLKFERRY_COMMON_WIRE_H
#define BLKFERRY_COMMON_WIRE_H

#include <assert.h>
#include <stdint.h>

#define WIRE_MAGIC	 0x59464b42u /* "BKFY" */
#define WIRE_VERSION	 1
#define WIRE_PORT	 10810
#define WIRE_ALPN	 "blkferry/1"
#define WIRE_SESSION_LEN 16
#define WIRE_REPLICA_LEN 16
#define WIRE_DIGEST_LEN	 16

/* Limits (I10). A frame larger than its kind allows is refused before anything is allocated. */
#define WIRE_DISKS_MAX	       64
#define WIRE_CONNECTIONS_MAX   16
#define WIRE_TEXT_MAX	       512	      /* texts in messages, NUL included */
#define WIRE_CONTROL_MAX       8192	      /* payload of any control frame */
#define WIRE_DATA_RAW_MAX      (1024u * 1024) /* plain bytes in one DATA frame */
#define WIRE_DATA_EXTENTS_MAX  512	      /* extents in one DATA frame */
#define WIRE_DIGEST_EXTENT_MAX (1024u * 1024) /* bytes that one DIGESTS frame speaks of */
#define WIRE_DIGEST_BLOCK_MIN  4096	      /* smallest block that is digested */
#define WIRE_DIGESTS_MAX       (WIRE_DIGEST_EXTENT_MAX / WIRE_DIGEST_BLOCK_MIN)
#define WIRE_DISK_BYTES_MAX    (1ull << 60) /* largest disk */
#define WIRE_SILENCE_MS	       10000	    /* nothing heard for so long: the link is dead */
#define WIRE_STATUS_MS	       500	    /* how often A sends STATUS */
#define WIRE_PING_MS	       1000	    /* how often R sends PING */

typedef uint16_t le16;
typedef uint32_t le32;
typedef uint64_t le64;

enum wire_type {
	WIRE_HELLO = 1,
	WIRE_WELCOME = 2,
	WIRE_ERROR = 3,
	WIRE_DISK = 4,
	WIRE_DISK_READY = 5,
	WIRE_STATUS = 6,
	WIRE_PING = 7,
	WIRE_ACK = 8,
	WIRE_COMMAND = 9,
	WIRE_REPLY = 10,
	WIRE_RANGES = 11,
	WIRE_DIGEST_RESULT = 12,
	WIRE_STEP = 13,
	WIRE_SEAL = 14,
	WIRE_COMMIT = 15,
	WIRE_FENCED = 16,
	WIRE_CANCEL = 17,
	WIRE_STREAM_READY = 18,
	WIRE_STREAM_ACK = 19,
	WIRE_STREAM_RESULT = 20,
	WIRE_MACHINE = 21,
	WIRE_CHECKS = 22,
	WIRE_START = 23,
	WIRE_DATA = 32,
	WIRE_DIGESTS = 33,
	WIRE_BARRIER = 34,
	WIRE_STREAM = 35,
};

struct wire_header {
	le32 magic;
	le16 type;
	le16 reserved; /* 0 */
	le32 length;   /* of the payload that follows */
	le32 unused;   /* 0 */
} __attribute__((packed));

enum wire_role { WIRE_ROLE_CONTROL = 1, WIRE_ROLE_DATA = 2, WIRE_ROLE_STREAM = 3 };

struct wire_hello {
	le16 version;	  /* the newest that the sender speaks */
	le16 version_min; /* the oldest */
	le16 role;	  /* enum wire_role */
	le16 disks;	  /* control: how many DISK frames follow */
	le16 connections; /* control: data connections wanted */
	le16 tracker;	  /* 1 bpf, 2 scan */
	le32 reserved;	  /* 0 */
	le64 fenced;	  /* not 0: fenced for the cutover of that id (FENCED got lost) */
	uint8_t session[WIRE_SESSION_LEN]; /* data: from WELCOME; control: 0 */
	uint8_t instance
		[WIRE_SESSION_LEN]; /* random for each agent process: tells a reconnect from a twin */
	uint8_t boot[16];	    /* the source's boot id */
	char host[64];		    /* its host name */
	char program[32];	    /* the agent's version */
} __attribute__((packed));

struct wire_welcome {
	le16 version;	  /* the one that is used from here on */
	le16 connections; /* data connections granted, at most what was wanted; data role: 0 */
	le32 reserved;
	uint8_t session[WIRE_SESSION_LEN];
} __attribute__((packed));

enum wire_error_code {
	WIRE_ERROR_PROTOCOL = 1,  /* the peer broke the rules of this format */
	WIRE_ERROR_VERSION = 2,	  /* no common version */
	WIRE_ERROR_BUSY = 3,	  /* another agent with this identity is alive */
	WIRE_ERROR_TARGET = 4,	  /* a target cannot be used, or failed */
	WIRE_ERROR_DISK = 5,	  /* a disk does not fit what the replica was made of */
	WIRE_ERROR_COMPLETED = 6, /* this machine was cut over: its replica is live now */
	WIRE_ERROR_REVOKED = 7,	  /* this certificate is no longer accepted */
	WIRE_ERROR_REMOVED = 8,	  /* the machine was removed from the receiver */
	WIRE_ERROR_INTERNAL = 9,
};

struct wire_error {
	le32 code;  /* enum wire_error_code */
	le32 class; /* enum fault_class: what the other side had better do */
	char text[WIRE_TEXT_MAX];
} __attribute__((packed));

struct wire_disk {
	le16 index; /* 0 .. disks - 1 */
	le16 reserved;
	le32 block_bytes; /* the tracker's granularity */
	le64 size_bytes;
	le64 acked_epoch; /* newest epoch that this agent saw acknowledged for replica */
	uint8_t replica[WIRE_REPLICA_LEN]; /* whose lacks the agent knows; zero: it knows of none */
	char path[128];
	char identity[128];
} __attribute__((packed));

enum wire_firmware { WIRE_FIRMWARE_BIOS = 1, WIRE_FIRMWARE_UEFI = 2 };
#define WIRE_MACHINE_SECURE_BOOT 1u
#define WIRE_NICS_MAX		 16
#define WIRE_CPUS_MAX		 4096
#define WIRE_MEMORY_MAX		 (1ull << 50)

struct wire_nic {
	uint8_t mac[6];
	le16 reserved;
	char name[16]; /* at the source */
} __attribute__((packed));

/* What the source is, so that the target can be made alike. */
struct wire_machine {
	le64 memory_bytes;
	le16 cpus;
	le16 firmware; /* enum wire_firmware */
	le16 flags;    /* WIRE_MACHINE_* */
	le16 nics;
	struct wire_nic nic[WIRE_NICS_MAX]; /* in the order in which the kernel found them */
} __attribute__((packed));

enum wire_disk_flag {
	WIRE_DISK_IS_NEW = 1,	  /* nothing was ever written to the target for this replica */
	WIRE_DISK_KNOWN_ZERO = 2, /* ... and the target reads as zeroes */
	WIRE_DISK_CAN_FLUSH = 4,
};

struct wire_disk_ready {
	le16 index;
	le16 flags; /* mask of enum wire_disk_flag */
	le32 reserved;
	le64 target_bytes;
	le64 have_bytes;
	le64 epoch; /* newest durable epoch of the replica */
	uint8_t replica[WIRE_REPLICA_LEN];
	char target[256];
} __attribute__((packed));

enum wire_phase {
	WIRE_PHASE_FULL = 1,   /* first copy */
	WIRE_PHASE_RESYNC = 2, /* comparing by digest, shipping what differs */
	WIRE_PHASE_DELTA = 3,  /* passes over what was written meanwhile */
	WIRE_PHASE_CUTOVER = 4,
	WIRE_PHASE_PAUSED = 5,
	WIRE_PHASE_FENCED = 6, /* after COMMIT: the source writes no more */
	WIRE_PHASE_CATCH_UP =
		7, /* capture is on; the last dirty blocks are copied inside the stream */
	WIRE_PHASE_STREAMING = 8, /* the ring alone; checkpoints are being made */
};

struct wire_status {
	le16 phase;	     /* enum wire_phase */
	le16 flags;	     /* mask of enum wire_status_flag */
	le32 pass;	     /* number of the pass under way */
	le64 pass_bytes;     /* what this pass has to look at in all */
	le64 todo_bytes;     /* what of it is not yet acknowledged */
	le64 dirty_bytes;    /* written since, not yet in a pass */
	le64 sent_bytes;     /* plain bytes sent in this session */
	le64 wire_bytes;     /* ... compressed, with headers */
	le64 rate;	     /* plain bytes a second, lately */
	le64 limit;	     /* bandwidth limit, bytes a second; 0 none */
	le64 memory_bytes;   /* resident, kernel maps included */
	le64 memory_limit;   /* the ceiling */
	le64 cpu_ns;	     /* CPU time of the agent so far */
	le64 missed_runs;    /* skipped runs of single BPF programs; harmless unless all miss */
	le64 writes;	     /* write requests seen by the tracker */
	le64 read_errors;    /* blocks of the source that could not be read */
	le64 verify_done;    /* bytes that the verify under way has compared */
	le64 verify_bytes;   /* ... of these; 0: none under way */
	le64 ring_bytes;     /* capture's ring; 0: no capture */
	le64 ring_used;	     /* of it: captured and not yet durable at the receiver */
	le64 captured_bytes; /* in all, since the ring was made */
	le64 gaps;	     /* times the stream lost order or bytes */
	le64 gap_ns;	     /* wall clock of the last one */
	char gap_reason[64]; /* why; without capture: why there is none */
	char note[256];	     /* last error or remark, for people; "" when none */
} __attribute__((packed));

enum wire_status_flag {
	WIRE_STATUS_READY = 1,	 /* the rest would ship in well under a second: cutover may begin */
	WIRE_STATUS_SUSPECT = 2, /* I3: a comparison of a whole disk is due or under way */
	WIRE_STATUS_VERIFYING = 4,
	WIRE_STATUS_TRACKED = 8, /* writes are seen as they happen (bpf), not by comparing (scan) */
	WIRE_STATUS_WAITING = 16, /* something failed; trying again by itself */
};

#define WIRE_CHECKS_TEXT_MAX 4096

/* What `blkferry-agent check` found last. */
struct wire_checks {
	le32 errors, warnings;
	le64 checked_s;	 /* when, seconds since 1970 by the source's clock */
	char target[16]; /* "xen", "kvm" */
	char text
		[WIRE_CHECKS_TEXT_MAX]; /* a line each, errors first; what had no room is missing */
} __attribute__((packed));

enum wire_start_kind {
	WIRE_START_ORDERLY = 1, /* tracking went on from before: nothing had to be compared */
	WIRE_START_COMPARED = 2,
};

/* The last start of the source: whether its disks had to be compared, and why. */
struct wire_start {
	le16 kind; /* enum wire_start_kind */
	le16 reserved;
	le32 unused;
	char text[256];
} __attribute__((packed));

struct wire_ack {
	le64 epoch;
} __attribute__((packed));

enum wire_command_kind {
	WIRE_COMMAND_PAUSE = 1,
	WIRE_COMMAND_RESUME = 2,
	WIRE_COMMAND_LIMIT = 3,	  /* value: bytes a second */
	WIRE_COMMAND_VERIFY = 4,  /* flags: WIRE_VERIFY_* */
	WIRE_COMMAND_CUTOVER = 5, /* value: freeze timeout in ms; flags: WIRE_CUTOVER_*; fence */
	WIRE_COMMAND_FORGET = 6,  /* the machine was removed: stop and stay stopped */
	WIRE_COMMAND_CHECKPOINT =
		7, /* flags: WIRE_CHECKPOINT_*; the reply's values[0] is the mark */
};
#define WIRE_VERIFY_REPAIR	1u
#define WIRE_VERIFY_ALL		2u /* free space too */
#define WIRE_CUTOVER_DRY_RUN	1u
#define WIRE_CUTOVER_NO_CERTIFY 2u
#define WIRE_CHECKPOINT_FREEZE	1u /* with all file systems frozen */

struct wire_command {
	le64 id; /* of the receiver's choice, comes back in REPLY, STEP, SEAL ... */
	le16 kind;
	le16 fence; /* 1 poweroff, 2 halt, 3 hold */
	le32 flags;
	le64 value;
} __attribute__((packed));

struct wire_reply {
	le64 id;
	le32 error; /* 0, or an errno value: the command did not do what it should */
	le32 reserved;
	le64 values
		[6]; /* verify: bytes compared, bytes that differed, of these never copied, repaired,
			 * changing (still dirty when given up), 0 */
	char text[WIRE_TEXT_MAX];
} __attribute__((packed));

enum wire_range_kind {
	WIRE_RANGE_DIFFERS = 1, /* was copied, and differs: the one that must never be */
	WIRE_RANGE_NEVER_COPIED =
		2, /* was free at the full pass, and was allocated without a write */
};
#define WIRE_RANGES_MAX 128
struct wire_range {
	le64 offset;
	le64 length;
	le16 disk;
	le16 kind; /* enum wire_range_kind */
	le32 reserved;
} __attribute__((packed));
/* RANGES: le64 id of the command, then 1 .. WIRE_RANGES_MAX of struct wire_range. */

/* DATA: this, then extents of struct wire_extent, then stored_bytes of (compressed) bytes: the
 * contents of all data extents one after another. */
struct wire_data {
	le16 disk;
	le16 codec;   /* enum compress_codec */
	le16 extents; /* 1 .. WIRE_DATA_EXTENTS_MAX */
	le16 reserved;
	le32 raw_bytes;	   /* 0 .. WIRE_DATA_RAW_MAX */
	le32 stored_bytes; /* at most raw_bytes */
	le64 checksum;	   /* XXH3-64 of the raw bytes */
} __attribute__((packed));

enum wire_extent_kind {
	WIRE_EXTENT_DATA = 1, /* length bytes of the payload */
	WIRE_EXTENT_ZERO = 2, /* reads as zeroes; no payload */
};

struct wire_extent {
	le64 offset;
	le64 length; /* > 0 */
	le32 kind;
	le32 reserved;
} __attribute__((packed));

/* DIGESTS: this, then count digests of WIRE_DIGEST_LEN bytes, one a block; the last may be short. */
struct wire_digests {
	le64 number; /* comes back in DIGEST_RESULT */
	le64 offset;
	le32 length; /* 1 .. WIRE_DIGEST_EXTENT_MAX */
	le32 block;  /* a power of two from WIRE_DIGEST_BLOCK_MIN up to WIRE_DIGEST_EXTENT_MAX */
	le16 disk;
	le16 count;
	le32 reserved;
} __attribute__((packed));

enum wire_digest_verdict {
	WIRE_DIGEST_SAME = 1,
	WIRE_DIGEST_DIFFERS = 2,
	WIRE_DIGEST_NEVER_COPIED =
		3, /* differs, and no byte of it was ever written to the target */
};

/* DIGEST_RESULT: this, then count bytes of enum wire_digest_verdict. */
struct wire_digest_result {
	le64 number;
	le32 count;
	le32 reserved;
} __attribute__((packed));

struct wire_barrier {
	le64 epoch;
} __attribute__((packed));

/* The steps of a cutover, in their order; each STEP says how long its step took. */
enum wire_cutover_step {
	WIRE_STEP_CHECKS = 1,
	WIRE_STEP_VERIFY = 2,	/* live, before the freeze */
	WIRE_STEP_HOOK = 3,	/* pre-freeze-command and sync */
	WIRE_STEP_CONVERGE = 4, /* passes until the rest is small */
	WIRE_STEP_FREEZE = 5,
	WIRE_STEP_DRAIN = 6,   /* last pass, flushed at the target */
	WIRE_STEP_CERTIFY = 7, /* digests of what changed since the live verify */
	WIRE_STEP_SEAL = 8,
	WIRE_STEP_COMMIT = 9,
	WIRE_STEP_FENCE = 10,
	WIRE_STEP_START = 11,
};
#define WIRE_STEPS_MAX 12

struct wire_step {
	le64 id;
	le16 step; /* enum wire_cutover_step: this one is done */
	le16 reserved;
	le32 unused;
	le64 took_ns;
	le64 bytes; /* what it moved or compared, where that says something */
	char text[128];
} __attribute__((packed));

struct wire_seal {
	le64 id;
	le64 epoch;	      /* every epoch up to this one has been acknowledged */
	le64 certified_bytes; /* compared by digest, before and during the freeze; 0: --no-certify */
	le64 repaired_bytes;  /* found different by the live verify and sent again */
	le64 frozen_ns;	      /* how long the disks have been frozen so far */
} __attribute__((packed));

struct wire_commit {
	le64 id;
} __attribute__((packed));

struct wire_fenced {
	le64 id;
	le64 data_downtime_ns; /* from freeze to the arrival of COMMIT */
	le16 fence;
	le16 reserved;
	le32 unused;
} __attribute__((packed));

struct wire_cancel {
	le64 id;
} __attribute__((packed));

/* The structs are read and written in place: this machine must be little-endian. */
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "wire structs are used in place");
static_assert(sizeof(struct wire_header) == 16, "wire header");
static_assert(sizeof(struct wire_hello) == 168, "wire hello");
static_assert(sizeof(struct wire_machine) == 400, "wire machine");
static_assert(sizeof(struct wire_data) == 24, "wire data");
static_assert(sizeof(struct wire_extent) == 24, "wire extent");
static_assert(sizeof(struct wire_digests) == 32, "wire digests");
static_assert(sizeof(struct wire_status) <= WIRE_CONTROL_MAX, "status fits a control frame");

#define WIRE_DATA_FRAME_MAX                                                                        \
	(sizeof(struct wire_data) + WIRE_DATA_EXTENTS_MAX * sizeof(struct wire_extent) +           \
	 WIRE_DATA_RAW_MAX)
#define WIRE_DIGESTS_FRAME_MAX (sizeof(struct wire_digests) + WIRE_DIGESTS_MAX * WIRE_DIGEST_LEN)

#include "common/wire_stream.h" /* the stream: its batches and records */

#endif
