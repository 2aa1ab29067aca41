/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Capture as a part of the bpf tracker: only agent/linux/capture*.c, tracker_*.c and selftest*.c include this. */
#ifndef BLKFERRY_AGENT_LINUX_CAPTURE_INTERNAL_H
#define BLKFERRY_AGENT_LINUX_CAPTURE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/capture.h"
#include "agent/linux/tracker_set.h"

/* Whether a set can capture: tracker_capture.availability. It is found out when the set is made, and pinned
 * with it. */
enum capture_availability {
	CAPTURE_READY = 1,
	CAPTURE_UNWANTED,    /* no ring was asked for */
	CAPTURE_NO_LOOP,     /* the kernel has no bpf_loop */
	CAPTURE_REFUSED,     /* the kernel does not load the programs with capture */
	CAPTURE_PAGE_SIZE,   /* pages are not of 4096 bytes */
	CAPTURE_NO_ADDRESS,  /* /proc/self/pagemap does not tell where a page lies */
	CAPTURE_NO_SIGHTING, /* the programs did not see the read that was to show them a page */
	CAPTURE_NO_MAP,	     /* the kernel's map of all memory was not found */
	CAPTURE_WRONG,	     /* found, but a second page was not where it should be */
	CAPTURE_SELFTEST,    /* what was written was not what came out of the ring */
	CAPTURE_NO_NOTES,    /* a disk has more queues and tags than can be noted */
};
/* A sentence. Static storage. */
const char *capture_why_not(enum capture_availability availability);

struct capture {
	struct tracker_set *set;
	unsigned int count;
	unsigned int slots[TRACKER_DISKS_MAX]; /* of disk i */
	bool is_damaged;		       /* and that has been said */
};

void capture_init(struct capture *capture, struct tracker_set *set, const unsigned int *slots,
		  unsigned int count);

/* Ends when every program that was running has ended: those that run from here on see what was
 * written before. 0 or -errno. */
int capture_wait_for_programs(void);
/* Mode OFF, and no program is still capturing when it returns. */
void capture_turn_off(struct tracker_set *set);

/* Finds out where the kernel keeps its pages (capture_calibrate.c), with reads of that disk. */
enum capture_availability calibrate(struct tracker_set *set, const struct tracked_disk *disk);
/* Marks in todo of that disk (of the new set) what the old set's ring holds unreleased. False when the ring
 * cannot be read: everything is to be suspected then. */
bool capture_merge(struct tracker_set *to, unsigned int slot, const struct tracker_set *from,
		   unsigned int from_slot);

#endif
