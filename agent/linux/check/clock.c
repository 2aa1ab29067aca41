// SPDX-License-Identifier: GPL-2.0-or-later
/* Check of the clock: hypervisors give a Linux machine a clock in UTC. */
#include <stdlib.h>
#include <string.h>

#include "agent/linux/check/check.h"
#include "agent/linux/check/text.h"

void check_clock(struct check_context *context)
{
	char *text = root_read(&context->root, "/etc/adjtime");
	const char *at = text ? text : "";
	struct span line = {.at = at};
	unsigned int count = 0;

	while (count < 3 && text_line(&at, &line))
		count++;
	if (count == 3 && span_is(span_trim(line), "LOCAL"))
		check_add_fix(check_add(context, "clock-local", CHECK_WARNING, "/etc/adjtime",
					"the hardware clock is kept in local time: the target's is "
					"in UTC, so its time would be off by the zone at start"),
			      false, "timedatectl set-local-rtc 0");
	free(text);
}
