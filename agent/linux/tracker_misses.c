/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Watches what the kernel kept from the programs. agent/bpf/README.md proves that one of the three
 * completion programs always runs, as long as their handlers are not preempted.
 */
#include "agent/linux/tracker_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

int misses_count(const struct tracker_set *set, enum tracker_program program, uint64_t *ret_misses)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(set->program_fds[program], &info, &size) < 0)
		return -errno;
	/* A kernel without the field (before 5.12) does not guard these programs against recursion
	 * either: it never skips a run. */
	*ret_misses = info.recursion_misses;
	return 0;
}

bool misses_are_unsafe(const uint64_t before[TRACKER_COMPLETES],
		       const uint64_t now[TRACKER_COMPLETES], uint64_t preempted)
{
	for (unsigned int i = 0; i < TRACKER_COMPLETES; i++) {
		if (now[i] == before[i])
			return false;
	}
	return preempted > 0;
}

/* The per-CPU records, one after another; the caller frees them. */
static int read_cpus(const struct tracker_set *set, struct tracker_cpu **ret_cpus,
		     unsigned int *ret_count)
{
	int count = libbpf_num_possible_cpus();
	struct tracker_cpu *cpus;
	uint32_t zero = 0;
	int r = 0;

	if (count < 0)
		return count;
	cpus = calloc((size_t)count, sizeof(*cpus));
	if (!cpus)
		return -ENOMEM;
	if (bpf_map_lookup_elem(set->map_fds[SET_PERCPU], &zero, cpus) < 0) {
		r = -errno;
		free(cpus);
		return r;
	}
	*ret_cpus = cpus;
	*ret_count = (unsigned int)count;
	return 0;
}

int misses_writes(const struct tracker_set *set, unsigned int slot, uint64_t *ret_writes)
{
	struct tracker_cpu *cpus;
	unsigned int count;
	uint64_t writes = 0;
	int r = read_cpus(set, &cpus, &count);

	if (r < 0)
		return r;
	for (unsigned int i = 0; i < count; i++)
		writes += cpus[i].writes[slot];
	free(cpus);
	*ret_writes = writes;
	return 0;
}

int misses_rescued(const struct tracker_set *set, uint64_t *ret_rescued)
{
	struct tracker_cpu *cpus;
	unsigned int count;
	uint64_t rescued = 0;
	int r = read_cpus(set, &cpus, &count);

	if (r < 0)
		return r;
	for (unsigned int i = 0; i < count; i++)
		rescued += cpus[i].rescued;
	free(cpus);
	*ret_rescued = rescued;
	return 0;
}

static void suspect_all(struct tracker_set *set)
{
	for (unsigned int i = 0; i < set->state->header.slots; i++)
		__atomic_fetch_or(&set->state->slots[i].suspect, TRACKER_SUSPECT_MISSED,
				  __ATOMIC_SEQ_CST);
}

static int look(struct tracker_set *set, uint64_t now[TRACKER_COMPLETES], uint64_t *ret_preempted)
{
	struct tracker_cpu *cpus;
	unsigned int count;
	int r;

	for (unsigned int i = 0; i < TRACKER_COMPLETES; i++) {
		r = misses_count(set, (enum tracker_program)i, &now[i]);
		if (r < 0)
			return r;
	}
	r = read_cpus(set, &cpus, &count);
	if (r < 0)
		return r;
	*ret_preempted = 0;
	for (unsigned int i = 0; i < count; i++)
		*ret_preempted += cpus[i].preempted;
	free(cpus);
	return 0;
}

int misses_look(struct tracker_set *set, struct fault *fault)
{
	struct tracker_header *header = &set->state->header;
	uint64_t now[TRACKER_COMPLETES], before[TRACKER_COMPLETES], preempted;
	int r = look(set, now, &preempted);

	if (r < 0) {
		/* It cannot be told: assume the worst (I3). */
		suspect_all(set);
		return fault_set(fault, FAULT_RETRY, -r, "cannot read the tracker's counters: %s",
				 strerror(-r));
	}
	memcpy(before, header->seen_misses, sizeof(before));
	if (misses_are_unsafe(before, now, preempted))
		suspect_all(set);
	/* After the suspicion: killed in between, the next look finds it again. */
	memcpy(header->seen_misses, now, sizeof(now));
	return 0;
}
