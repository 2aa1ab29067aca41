/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Time: a monotonic clock for durations, the wall clock for what people and other machines read. */
#ifndef BLKFERRY_COMMON_OS_CLOCK_H
#define BLKFERRY_COMMON_OS_CLOCK_H

#include <stdint.h>

#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

uint64_t os_monotonic_ns(void);
uint64_t os_realtime_ns(void);
/* CPU time, user and system, of this process so far. */
uint64_t os_process_cpu_ns(void);
/* Sleeps at least this long, also when signals arrive. */
void os_sleep_ns(uint64_t duration_ns);

#endif
