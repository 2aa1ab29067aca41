/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes what a set of pins says of itself, as another version or a fault would have left it.
 *
 * Usage: tracker_break SET_FOLDER programs-hash|layout|boot-id|lookup|tags|suspect
 *   suspect as if a passthrough command had been seen
 *   tags    as if the disks had had one tag when tracking began
 *   lookup  empties the programs' table of disks: they run, and mark nothing
 */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>

#include "agent/bpf/tracker_shared.h"

int main(int argc, char **argv)
{
	struct tracker_state *state;
	char path[512];
	int fd;

	if (argc != 3)
		errx(2, "see the head of tracker_break.c");
	snprintf(path, sizeof(path), "%s/map_state", argv[1]);
	fd = bpf_obj_get(path);
	if (fd < 0)
		err(2, "%s", path);
	state = mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (state == MAP_FAILED)
		err(2, "%s", path);
	if (strcmp(argv[2], "programs-hash") == 0)
		state->header.programs_hash++;
	else if (strcmp(argv[2], "layout") == 0)
		state->header.layout++;
	else if (strcmp(argv[2], "boot-id") == 0)
		state->header.boot_id[0]++;
	else if (strcmp(argv[2], "lookup") == 0)
		memset(state->devices, 0, sizeof(state->devices));
	else if (strcmp(argv[2], "tags") == 0)
		for (unsigned int i = 0; i < state->header.slots; i++)
			state->slots[i].pending_tags = state->slots[i].pending_count = 1;
	else if (strcmp(argv[2], "suspect") == 0)
		for (unsigned int i = 0; i < state->header.slots; i++)
			__atomic_fetch_or(&state->slots[i].suspect, TRACKER_SUSPECT_COMMAND,
					  __ATOMIC_SEQ_CST);
	else
		errx(2, "no such thing to break: %s", argv[2]);
	return 0;
}
