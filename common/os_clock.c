// SPDX-License-Identifier: GPL-2.0-or-later
/* Clocks and sleeping; see os_clock.h. */
#include "common/os_clock.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

static uint64_t read_clock(clockid_t clock)
{
	struct timespec now;

	/* Fails only for a clock that the kernel does not have. */
	if (clock_gettime(clock, &now) != 0)
		abort();
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t os_monotonic_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t os_realtime_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

uint64_t os_process_cpu_ns(void)
{
	return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

void os_sleep_ns(uint64_t duration_ns)
{
	uint64_t end_ns = os_monotonic_ns() + duration_ns;
	struct timespec end = {.tv_sec = (time_t)(end_ns / NS_PER_S),
			       .tv_nsec = (long)(end_ns % NS_PER_S)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
		;
}
