/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether the kernel counts and times a disk's requests (queue/iostats). Without that it calls every disk idle, and
 * a request has no time by which it could be told from another: notes of unseen completions would stay, and
 * each write would be captured three times (agent/bpf/README.md). Nothing is lost by it, so it is switched on rather
 * than asked for, and put back when tracking ends.
 */
#include "agent/linux/tracker_set.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/linux/sysfs.h"
#include "common/log.h"
#include "common/os_clock.h"

static void iostats_path(const struct tracker_slot *slot, char path[128])
{
	snprintf(path, 128, "/sys/dev/block/%u:%u/queue/iostats", slot->major, slot->minor);
}

bool iostats_are_on(const struct tracker_slot *slot)
{
	char path[128], text[32];
	uint64_t number;

	iostats_path(slot, path);
	return sysfs_read_text(path, text, sizeof(text)) == 0 &&
	       sysfs_parse_number(text, &number) == 0 && number != 0;
}

static int set_iostats(const struct tracker_slot *slot, const char *value)
{
	char path[128];
	int fd, error = 0;

	iostats_path(slot, path);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, 1) != 1)
		error = -errno;
	close(fd);
	return error;
}

bool iostats_look(struct tracker_set *set, unsigned int slot)
{
	struct tracker_slot *info = &set->state->slots[slot];
	int error;

	if (iostats_are_on(info))
		return true;
	/* Before it is on: what was issued until then is not counted, however long it takes. */
	set->uncounted_ns[slot] = os_monotonic_ns();
	info->had_no_iostats = 1;
	error = set_iostats(info, "1");
	if (!error && iostats_are_on(info)) {
		set->uncounted_ns[slot] = os_monotonic_ns();
		log_info(
			"disk %u:%u: its requests were not counted (iostats was off): switched on, "
			"as long as its writes are tracked",
			info->major, info->minor);
		return true;
	}
	if (!set->has_said_iostats[slot])
		log_warning("disk %u:%u: iostats is off and cannot be switched on (%s): write 1 to "
			    "/sys/dev/block/%u:%u/queue/iostats",
			    info->major, info->minor, strerror(-error), info->major, info->minor);
	set->has_said_iostats[slot] = true;
	return false;
}

void iostats_put_back(const struct tracker_slot *slot)
{
	if (slot->had_no_iostats)
		(void)set_iostats(slot, "0"); /* the disk may be gone */
}
