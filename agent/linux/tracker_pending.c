/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that were issued and not seen to complete count as written (agent/bpf/tracker_pending.h).
 *
 * A take cannot tell a request that is still on its way from one whose completion no program saw. So it
 * lists the blocks of both, every time, until the program that sees their tag used again has settled them, or
 * until the disk is found idle: then they have completed, for good.
 */
#include "agent/linux/tracker_set.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/linux/sysfs.h"
#include "common/os_clock.h"

#define QUEUES_MAX 4096u
#define TAGS_MAX   16384u
/* Of one disk: 256 queues of 1023 tags. 4 MiB. */
#define PENDING_MAX 262144u

static int read_number(uint32_t major, uint32_t minor, const char *name, uint64_t *ret_number)
{
	char path[128], text[32];
	int r;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major, minor, name);
	r = sysfs_read_text(path, text, sizeof(text));
	return r < 0 ? r : sysfs_parse_number(text, ret_number);
}

void pending_look(uint32_t major, uint32_t minor, uint32_t *ret_queues, uint32_t *ret_tags)
{
	char name[64];
	uint64_t tags, most = 0;
	uint32_t queues = 0;

	*ret_queues = 0;
	*ret_tags = 0;
	for (; queues < QUEUES_MAX; queues++) {
		snprintf(name, sizeof(name), "mq/%u/nr_tags", queues);
		if (read_number(major, minor, name, &tags) < 0)
			break;
		if (tags > most)
			most = tags;
	}
	if (queues == 0 || most == 0 || most > TAGS_MAX || queues * most > PENDING_MAX)
		return;
	*ret_queues = queues;
	*ret_tags = (uint32_t)most;
}

void pending_plan(struct tracker_slot *slots, unsigned int count, uint64_t *ret_words)
{
	uint64_t words = 0;

	for (unsigned int i = 0; i < count; i++) {
		uint32_t queues, tags;

		pending_look(slots[i].major, slots[i].minor, &queues, &tags);
		slots[i].pending_first = (uint32_t)words;
		slots[i].pending_tags = tags;
		slots[i].pending_count = queues * tags;
		words += (slots[i].pending_count + 7) / 8 * 8;
	}
	*ret_words = words ? words : 8; /* a map has at least one entry */
}

bool pending_has_outgrown(const struct tracker_slot *slot)
{
	uint32_t queues, tags;

	pending_look(slot->major, slot->minor, &queues, &tags);
	return tags != slot->pending_tags || queues * tags != slot->pending_count;
}

/* Where the kernel does not count (iostats off) it calls any disk idle; and requests of that time are never counted,
 * also when it is on again. In this order: on, then idle. */
uint64_t pending_idle_since(struct tracker_set *set, unsigned int slot)
{
	const struct tracker_slot *info = &set->state->slots[slot];
	char path[128], text[64];
	uint64_t reads, writes;

	if (!iostats_are_on(info)) {
		set->uncounted_ns[slot] = os_monotonic_ns();
		return UINT64_MAX;
	}
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/inflight", info->major, info->minor);
	if (sysfs_read_text(path, text, sizeof(text)) == 0 &&
	    sscanf(text, "%lu %lu", &reads, &writes) == 2 && reads == 0 && writes == 0)
		return set->uncounted_ns[slot];
	return UINT64_MAX;
}

static void list_blocks(const struct tracker_slot *slot, struct bitmap *map, uint64_t note)
{
	uint64_t first = tracker_pending_start(note) >> slot->sector_shift;
	uint64_t last = (tracker_pending_end(note) - 1) >> slot->sector_shift;

	if (note == TRACKER_PENDING_UNKNOWN || first >= map->bits)
		return;
	if (last >= map->bits)
		last = map->bits - 1;
	bitmap_set(map, first, last - first + 1);
}

void pending_mark(struct tracker_set *set, unsigned int slot, uint64_t note)
{
	struct tracker_slot *info = &set->state->slots[slot];
	struct bitmap dirty = set_dirty(set, slot);

	list_blocks(info, &dirty, note);
	if (note == TRACKER_PENDING_UNKNOWN)
		__atomic_fetch_or(&info->suspect, TRACKER_SUSPECT_MISSED, __ATOMIC_SEQ_CST);
}

/* While writes are captured a note is what a mark waits for, and only a hole may take it away (capture_notes.c). */
static bool is_capturing(const struct tracker_set *set)
{
	return __atomic_load_n(&set->state->capture.mode, __ATOMIC_SEQ_CST) == TRACKER_CAPTURE_ON;
}

void pending_take(struct tracker_set *set, unsigned int slot)
{
	struct tracker_slot *info = &set->state->slots[slot];
	struct tracker_request *requests = set->pending + info->pending_first;
	uint64_t *seen = set->pending_seen + info->pending_first;
	struct bitmap todo = set_todo(set, slot);
	uint64_t since;
	bool has_any = false;

	for (uint32_t i = 0; i < info->pending_count; i++) {
		seen[i] = __atomic_load_n(&requests[i].note, __ATOMIC_SEQ_CST);
		if (!seen[i])
			continue;
		has_any = true;
		list_blocks(info, &todo, seen[i]);
	}
	/* In this order: what was noted before the disk was idle has completed. */
	if (!has_any || is_capturing(set))
		return;
	since = pending_idle_since(set, slot);
	for (uint32_t i = 0; i < info->pending_count; i++) {
		if (!seen[i] || __atomic_load_n(&requests[i].life, __ATOMIC_SEQ_CST) < since)
			continue;
		if (!__atomic_compare_exchange_n(&requests[i].note, &seen[i], 0, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			continue;
		if (seen[i] == TRACKER_PENDING_UNKNOWN)
			__atomic_fetch_or(&info->suspect, TRACKER_SUSPECT_MISSED, __ATOMIC_SEQ_CST);
	}
}
