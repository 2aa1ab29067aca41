/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the agent asks of the operating system about disks and file systems. Implemented in
 * agent/linux/ (a file for each group below) and later in agent/windows/.
 */
#ifndef BLKFERRY_AGENT_PLATFORM_H
#define BLKFERRY_AGENT_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/tracker.h"
#include "common/bitmap.h"
#include "common/fault.h"
#include "common/os_thread.h"

/* --- disks.c: which disks ------------------------------------------------------------------ */

struct found_disk {
	struct tracked_disk disk;
	bool is_chosen; /* by `wanted` */
	char why[160];	/* "holds / (ext4 on /dev/vda1)", "not chosen: nothing mounted on it" */
	char model[64];
};

/* Finds whole leaf disks. wanted is "auto" (every disk that holds a mounted file system, swap or
 * LVM, through partitions, dm and md down to the leaf) or a comma-separated list, each a path (links are
 * followed), a serial number or a WWN. An entry that matches nothing or two disks is a STOP fault that
 * lists what is there. With NULL all that is there is found, and nothing chosen. The caller frees *ret_disks. */
int disks_find(const char *wanted, struct found_disk **ret_disks, unsigned int *ret_count,
	       struct fault *fault);
/* Looks again at a disk that is known: same identity at that path? -ENODEV if gone. Fills in its size and its
 * sequence as they are now: one with another sequence is another disk, or another medium in it, whatever its
 * name says. */
int disks_refresh(struct tracked_disk *disk, struct fault *fault);

/* --- fsmap.c, swap.c: what need not be copied ------------------------------------------------ */

/* Clears in `blocks` (all set by the caller; one bit a block_bytes) what holds nothing worth
 * copying: free space of mounted ext4 and XFS (GETFSMAP, through partitions and dm-linear), contents of
 * active swap but for its first page. Call only after tracking started: a block allocated later is a
 * write, and is seen. A bit is cleared only when its whole block is free. Where something cannot be told,
 * the bits stay set; that is not an error. ret_note gets a line for the log ("ext4 / : 3.1 GiB free
 * of 8 GiB; xfs /srv: ..."). */
int fsmap_clear_free(const struct tracked_disk *disk, uint32_t block_bytes, struct bitmap *blocks,
		     char *ret_note, size_t note_size, struct fault *fault);

/* Swap is not copied (its contents are worthless and change all the time): swap_update re-reads
 * /proc/swaps and fills the ranges of this disk, in bytes, header pages excluded. */
struct swap_range {
	uint64_t offset, length;
};
#define SWAP_RANGES_MAX 256
int swap_ranges(const struct tracked_disk *disk, struct swap_range *ret_ranges,
		unsigned int *ret_count, struct fault *fault);

/* --- fence.c ------------------------------------------------------------------------------- */

enum fence_kind { FENCE_POWEROFF = 1, FENCE_HALT, FENCE_HOLD };

const char *fence_name(enum fence_kind kind);
/* 0 or -EINVAL */
int fence_parse(const char *text, enum fence_kind *ret_kind);
/* Powers off or halts at once, without a sync and without touching a disk; does not return then.
 * FENCE_HOLD returns 0: everything stays frozen until a person or a reset ends it. */
int fence_run(enum fence_kind kind);

/* --- freeze.c, watchdog.c: stopping all writes for a moment ----------------------------------- */

struct freezer; /* the file systems on the machine's disks, innermost first, mount points open */

/* Lists them and opens each mount point, so that freezing needs no path look-up. Read-only mounts and
 * file systems on other disks are left out. */
int freezer_new(const struct tracked_disk *disks, unsigned int count, struct freezer **ret_freezer,
		struct fault *fault);
/* Can each be frozen (the file system type is known to do it)? No effect. Names the ones that cannot. */
int freezer_check(struct freezer *freezer, struct fault *fault);
/* How many file systems, and a text such as "/ (ext4), /srv (xfs)". */
unsigned int freezer_count(const struct freezer *freezer);
const char *freezer_text(const struct freezer *freezer);
/* Writes back what is dirty (syncfs), so that the freeze itself is short. */
void freezer_sync(struct freezer *freezer);

/* Starts the watchdog, then FIFREEZEs every file system, innermost first. Fails as a whole (thawing what
 * was frozen) when one fails or when they are not all frozen by deadline_ns (os_monotonic_ns).
 *
 * The watchdog is a process of its own, locked in memory, forked here and holding the mount points
 * open: it thaws everything when deadline_ns passes, and at once when this process dies (I9). */
int freezer_freeze(struct freezer *freezer, uint64_t deadline_ns, struct fault *fault);
/* Thaws everything and ends the watchdog. Harmless when nothing is frozen. */
void freezer_thaw(struct freezer *freezer);
/* True as long as everything is still frozen: the watchdog has not thawed. */
bool freezer_is_frozen(struct freezer *freezer);
/* The point of no return. Returns 0 when from now on nothing thaws by itself; -ETIMEDOUT when it was
 * too late: the watchdog has thawed or is about to, and the caller must give the cutover up.
 *
 * The caller has to end the machine by that fence within FREEZER_FENCE_NS. When it has not by then, or
 * has died, the watchdog does, for nobody else is left who could: with FENCE_HOLD everything stays
 * frozen instead. */
#define FREEZER_FENCE_NS (60ull * 1000 * 1000 * 1000)
int freezer_commit(struct freezer *freezer, enum fence_kind fence, struct fault *fault);
/* Takes the commit back and thaws everything. Only as long as the receiver has not been told FENCED: a
 * target machine may run from then on. -ETIMEDOUT when the watchdog is fencing already, or when there was
 * no commit; then nothing is done. */
int freezer_uncommit(struct freezer *freezer);
void freezer_free(
	struct freezer *freezer); /* thaws first; committed, it leaves it to the watchdog */

/* --- process.c ------------------------------------------------------------------------------- */

/* Locks present and future memory of the process, and makes malloc keep what it has. */
int process_lock_memory(struct fault *fault);
/* Resident bytes of this process, from /proc/self/statm. 0 when it cannot be told. */
uint64_t process_resident_bytes(void);
/* A number that changes with every boot of the machine (boot_id), 16 bytes. */
int process_boot_id(uint8_t ret_id[16]);
/* Runs a shell command, waits at most timeout_ns and then kills its process group. name is for
 * messages ("pre-freeze-command"). Returns 0 when it exited with 0. */
int process_run_hook(const char *name, const char *command, uint64_t timeout_ns,
		     struct fault *fault);

/* --- facts.c --------------------------------------------------------------------------------- */

/* What this machine is: memory, processors, firmware, the network interfaces that are hardware. */
struct wire_machine;
void facts_read(struct wire_machine *ret_machine);

/* --- check/verdict.c ------------------------------------------------------------------------- */

struct wire_checks;
/* What `blkferry-agent check` found last on this machine. 0, -ENOENT when it never ran, or -errno. */
int readiness_read(const char *state_folder, struct wire_checks *ret_checks);

/* --- handover_agent.c: tracking across a restart of the system ------------------------------------ */

#define START_TEXT_MAX 256

/* What the last start of the system meant for tracking. */
enum start_kind {
	START_NONE = 0, /* nothing is known */
	START_ORDERLY,	/* it went on without a hole: nothing to compare */
	START_COMPARED, /* the disks have to be compared; the text says why */
};

struct start_note {
	enum start_kind kind;
	char text[START_TEXT_MAX];
};

struct agent_options;

/* Sets up, or looks after, what `blkferry-early` needs: the file for the record of a stop, and the plan that says
 * where on the disk it lies, which the initramfs gets. */
int handover_prepare(const struct agent_options *options, struct fault *fault);
int handover_plan_path(const struct agent_options *options, char *ret_path, size_t size,
		       struct fault *fault);
int handover_remove(const struct agent_options *options, struct fault *fault);
/* The agent goes on, and will forget blocks: what it left at its last end holds no more, nor does a record that the
 * last start did not use. Call before it forgets any. Says in the log when the next restart will need a comparison. */
int handover_begin(const struct agent_options *options, struct fault *fault);
/* The agent has forgotten its last block: leaves what a record of a stop needs to know of these disks. */
int handover_end(const struct agent_options *options, const struct tracked_disk *disks,
		 unsigned int count, struct fault *fault);
/* What the last start found, START_NONE when nobody has said; and says it, until the next. */
void handover_read_note(const struct agent_options *options, struct start_note *ret_note);
void handover_keep_note(const struct agent_options *options, const struct start_note *note);

/* --- host.c -------------------------------------------------------------------------------------- */

unsigned int host_cores(void); /* at least 1 */
void host_name(char *ret_name, size_t size);
/* Blocks the signals that ask for the end, in this thread and those it starts; ignores SIGPIPE. */
void host_block_signals(void);

/* A thread that waits for such a signal and then calls stop(context). */
struct host_waiter {
	void (*stop)(void *context);
	void *context;
	struct os_thread thread;
};
int host_wait_for_end(struct host_waiter *waiter);
/* Ends the thread, whether a signal came or not. */
void host_stop_waiting(struct host_waiter *waiter);

#endif
