/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A set: the maps, programs and links of one attached bpf tracker, and its life in bpffs. Only the
 * files agent/linux/tracker_*.c and selftest*.c include this.
 *
 *   PIN_FOLDER/live   the set in force
 *   PIN_FOLDER/new    being built: not in force, whatever is in it
 *   PIN_FOLDER/old    replaced by `live`, being removed
 *
 * A new set is attached and gets the old one's bits while it is `new`; then live is renamed to old and new
 * to live. Both renames are atomic, so wherever a crash comes, one folder holds a whole set that has been
 * tracking all the time (set_recover).
 */
#ifndef BLKFERRY_AGENT_LINUX_TRACKER_SET_H
#define BLKFERRY_AGENT_LINUX_TRACKER_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/bpf/tracker_shared.h"
#include "agent/linux/capture_ring.h"
#include "agent/tracker.h"
#include "common/fault.h"

#define SET_PATH_MAX 512
/* So that a slot's place in the maps fits 32 bits with room to spare. */
#define SET_BITMAP_BYTES_MAX (256ull << 20)
/* The kernel takes no larger one (with pages of 4096 bytes). */
#define SET_RING_BYTES_MAX (1ull << 31)
/* Where nobody wants to capture: a ring cannot be smaller. */
#define SET_RING_BYTES_MIN 4096u

enum set_map {
	SET_STATE,
	SET_DIRTY,
	SET_COARSE,
	SET_TODO,
	SET_PENDING,
	SET_PERCPU,
	SET_RING,
	SET_MAPS,
};

/* File descriptors are -1 and pointers NULL where there is nothing. */
struct tracker_set {
	int map_fds[SET_MAPS];
	int program_fds[TRACKER_PROGRAMS];
	int link_fds[TRACKER_PROGRAMS];
	struct tracker_state *state;
	uint64_t *dirty, *coarse, *todo;
	struct tracker_request *pending;
	struct capture_ring ring;
	uint64_t *pending_seen; /* by a take, in ordinary memory */
	uint64_t
		uncounted_ns[TRACKER_SLOTS_MAX]; /* the kernel counted no requests then; 0: never */
	bool has_said_iostats[TRACKER_SLOTS_MAX];
	uint64_t bytes; /* of kernel memory, all maps */
};

/* Why bits of a disk may be missing: tracker_slot.broken. Tracking that was broken takes the replica's id
 * out of the disk's memory; when the agent enters one again, the bits are whole since then. */
enum tracker_broken {
	TRACKER_BROKEN_FRESH = 1, /* tracking has only just begun */
	TRACKER_BROKEN_SIZE,
	TRACKER_BROKEN_SEQUENCE,
	TRACKER_BROKEN_LAYOUT,
	TRACKER_BROKEN_PINS,
};

/* --- tracker_kernel.c: what this kernel calls things ------------------------------------------- */

struct kernel_facts {
	uint8_t op_kinds[256]; /* enum tracker_op_kind */
	uint8_t op_read;
	bool issue_has_queue; /* block_rq_issue(queue, request), until 5.11 */
	bool has_loop;	      /* bpf_loop, since 5.17 */
};

struct btf;

/* -EOPNOTSUPP with a fault when the kernel has no BTF, or when the tracepoints or the names of the
 * operations are none that we know. */
int kernel_look(struct kernel_facts *ret_facts, struct fault *fault);
int kernel_look_btf(const struct btf *btf, struct kernel_facts *ret_facts, struct fault *fault);

/* --- tracker_layout.c: where each disk's bits are ---------------------------------------------- */

/* Fills slots (count of them, zeroed before): size, shift, words and places in the maps. A bit is 4 KiB;
 * while all bitmaps together need more than bitmap_bytes, the largest disk's bits become coarser. */
int layout_plan(const struct tracked_disk *disks, unsigned int count, uint64_t bitmap_bytes,
		struct tracker_slot *slots, uint64_t *ret_dirty_words, uint64_t *ret_coarse_words,
		struct fault *fault);
/* Enters a disk in the hash that the programs use. -ENOSPC when probing would take too long. */
int layout_add_device(struct tracker_device *devices, uint64_t key, uint32_t slot);
static inline uint64_t layout_block_bytes(const struct tracker_slot *slot)
{
	return 512ull << slot->sector_shift;
}

/* --- tracker_pending.c: requests on their way ------------------------------------------------------- */

/* How many hardware queues and tags a disk has; both 0 where that cannot be told: its requests are not
 * followed then. */
void pending_look(uint32_t major, uint32_t minor, uint32_t *ret_queues, uint32_t *ret_tags);
/* Gives each slot its place in the map. */
void pending_plan(struct tracker_slot *slots, unsigned int count, uint64_t *ret_words);
/* What is on its way, or completed without being seen, goes to todo; it leaves the map only when it is
 * certain that it has completed. */
void pending_take(struct tracker_set *set, unsigned int slot);
/* Sets the dirty bits of a note, or makes the disk suspect where it has no address. */
void pending_mark(struct tracker_set *set, unsigned int slot, uint64_t note);
/* Of the requests that were allocated at this time (monotonic) or later, none was with the driver at the moment of
 * the call. UINT64_MAX: there were some, or it cannot be told. */
uint64_t pending_idle_since(struct tracker_set *set, unsigned int slot);
/* Could a request have had no note because the disk has other queues now than when the set was made? */
bool pending_has_outgrown(const struct tracker_slot *slot);

/* --- tracker_iostats.c: does the kernel count requests? ---------------------------------------------- */

bool iostats_are_on(const struct tracker_slot *slot);
/* Switches them on where they are off. False: it cannot. */
bool iostats_look(struct tracker_set *set, unsigned int slot);
/* As they were before the disk was tracked. */
void iostats_put_back(const struct tracker_slot *slot);

/* --- tracker_load.c: a new set ------------------------------------------------------------------- */

/* Of the ring's map. */
uint64_t set_ring_bytes(const struct tracker_options *options);
/* Of the BPF object in this agent. */
uint64_t set_programs_hash(void);
/* Loads, attaches and pins a set in `folder`, which must not exist. */
/* Where the kernel refuses the code that captures, it is loaded without: tracker_capture.availability says so. */
int set_create(const char *folder, const struct kernel_facts *facts,
	       const struct tracker_options *options, const struct tracked_disk *disks,
	       unsigned int count, struct fault *fault);

/* --- tracker_set.c: a set that is pinned ---------------------------------------------------------- */

/* Opens a set and checks that it is whole: all pins there, of the right kind and size, and belonging
 * together. Returns 0, -ENOENT when there is no such folder, -ESTALE when it is not whole or cannot be
 * read by this agent (*ret_broken and the fault say why), or -errno. */
int set_open(const char *folder, struct tracker_set *ret_set, enum tracker_broken *ret_broken,
	     struct fault *fault);
void set_close(struct tracker_set *set);
void set_init(struct tracker_set *set);
struct bitmap set_dirty(const struct tracker_set *set, unsigned int slot);
struct bitmap set_todo(const struct tracker_set *set, unsigned int slot);
static inline struct tracker_disk_memory *set_memory(const struct tracker_set *set,
						     unsigned int slot)
{
	return (struct tracker_disk_memory *)set->state->slots[slot].memory;
}
extern const char *const set_map_names[SET_MAPS];
extern const char *const set_program_names[TRACKER_PROGRAMS];

/* --- tracker_misses.c: what the programs did not see -------------------------------------------------- */

/* Requests that no program saw complete and that were found by their tags. 0 or -errno. */
int misses_rescued(const struct tracker_set *set, uint64_t *ret_rescued);
/* Runs of a program that the kernel skipped (recursion_misses). 0 or -errno. */
int misses_count(const struct tracker_set *set, enum tracker_program program, uint64_t *ret_misses);
/* Looks whether a completion can have been missed by all programs since the last look, and if so makes
 * every disk suspect (I3). */
int misses_look(struct tracker_set *set, struct fault *fault);
/* The rule by itself: all three skipped runs, and handlers are known to be preempted. */
bool misses_are_unsafe(const uint64_t before[TRACKER_COMPLETES],
		       const uint64_t now[TRACKER_COMPLETES], uint64_t preempted);
/* Write requests that completed on a slot's disk. 0 or -errno. */
int misses_writes(const struct tracker_set *set, unsigned int slot, uint64_t *ret_writes);

/* --- tracker_pins.c: folders of bpffs -------------------------------------------------------------- */

/* Makes the pin folder (not its parents beyond one); -EOPNOTSUPP when that is not on a bpffs. */
int pins_prepare(const char *pin_folder, struct fault *fault);
/* Tidies up after a crash: afterwards at most `live` is there, and if it is, it is the set in force. */
int pins_recover(const char *pin_folder, struct fault *fault);
/* Puts `new` in force. */
int pins_commit(const char *pin_folder, struct fault *fault);
/* Removes one folder with its pins, links first; one that is not there is fine. */
int pins_remove_set(const char *pin_folder, const char *name, struct fault *fault);
int pins_path(char *path, const char *pin_folder, const char *name, const char *file);

/* --- tracker_merge.c: what one set takes over from another ------------------------------------------ */

/* Is slot the disk, unchanged? */
bool merge_is_same(const struct tracker_slot *slot, const struct tracked_disk *disk);
/* Slot of that disk (by identity) or -1. */
int merge_find(const struct tracker_set *set, const struct tracked_disk *disk);
/* Takes over, from the old set (NULL: none, because of `broken`), what it knows of disk, into slot of
 * the new set, which is tracking already: dirty and todo into todo, memory, suspicions. */
void merge_disk(struct tracker_set *to, unsigned int slot, const struct tracker_set *from,
		const struct tracked_disk *disk, enum tracker_broken broken);
/* take(): chunks of the coarse map and dirty bits of a slot into todo; and requests on their way. */
void merge_take(struct tracker_set *set, unsigned int slot);
/* ... without these. */
void merge_take_seen(struct tracker_set *set, unsigned int slot);
/* Sets the blocks of `to` that hold any of the bytes [start, end); what is past its end is gone. */
void merge_bytes(const struct tracker_slot *slot, struct bitmap *to, uint64_t start, uint64_t end);
/* Bits that are set in dirty, chunks counted in full where they are not set there as well. */
uint64_t merge_count_dirty(const struct tracker_set *set, unsigned int slot);

/* --- selftest.c, selftest_canary.c ------------------------------------------------------------------- */

/* Reads one block of the disk with O_DIRECT: every program must see it, with the right address. */
int selftest_read(struct tracker_set *set, const struct kernel_facts *facts,
		  const struct tracked_disk *disk, struct fault *fault);
/* One read of length bytes with O_DIRECT, the programs armed: state->selftest.seen says what they saw. 0 or
 * -errno. */
int selftest_probe(struct tracker_set *set, int fd, const struct tracked_disk *disk,
		   uint64_t offset, uint32_t length, void *buffer);
/* Writes a block of a file in state_folder and looks for its dirty bit, or while capture is on for its bytes
 * in the ring, if it lies on a tracked disk. *ret_was_run says whether it did. */
int selftest_canary(struct tracker_set *set, const char *state_folder, bool *ret_was_run,
		    struct fault *fault);

#endif
