/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The end of the source: reboot(2), at once and without a sync (I9). */
#include "agent/platform.h"

#include <errno.h>
#include <string.h>
#include <sys/reboot.h>

static const struct {
	enum fence_kind kind;
	const char *name;
} kinds[] = {{FENCE_POWEROFF, "poweroff"}, {FENCE_HALT, "halt"}, {FENCE_HOLD, "hold"}};

const char *fence_name(enum fence_kind kind)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].kind == kind)
			return kinds[i].name;
	return "unknown";
}

int fence_parse(const char *text, enum fence_kind *ret_kind)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].name, text) == 0) {
			*ret_kind = kinds[i].kind;
			return 0;
		}
	}
	return -EINVAL;
}

int fence_run(enum fence_kind kind)
{
	/* reboot(2) itself: what reboot(8) and systemd do first would wait for the frozen disks. */
	switch (kind) {
	case FENCE_POWEROFF:
		reboot(RB_POWER_OFF);
		return -errno;
	case FENCE_HALT:
		reboot(RB_HALT_SYSTEM);
		return -errno;
	case FENCE_HOLD:
		return 0;
	}
	return -EINVAL;
}
