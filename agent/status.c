// SPDX-License-Identifier: GPL-2.0-or-later
/* What the agent says of itself; see status.h. */
#include "agent/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/os_clock.h"
#include "common/os_thread.h"

/* The rate is averaged over about this long. */
#define RATE_WINDOW_NS (3 * NS_PER_S)

struct status {
	struct os_mutex lock;
	struct wire_status now;
	uint64_t rate_from_ns, rate_from_bytes;
};

struct status *status_new(void)
{
	struct status *status = calloc(1, sizeof(*status));

	if (!status)
		return NULL;
	os_mutex_init(&status->lock);
	status->now.phase = WIRE_PHASE_FULL;
	return status;
}

void status_free(struct status *status)
{
	if (!status)
		return;
	os_mutex_fini(&status->lock);
	free(status);
}

void status_set_phase(struct status *status, enum wire_phase phase)
{
	os_mutex_lock(&status->lock);
	status->now.phase = (uint16_t)phase;
	os_mutex_unlock(&status->lock);
}

void status_set_flags(struct status *status, unsigned int flags, unsigned int cleared_flags)
{
	os_mutex_lock(&status->lock);
	status->now.flags = (uint16_t)((status->now.flags & ~cleared_flags) | flags);
	os_mutex_unlock(&status->lock);
}

unsigned int status_flags(struct status *status)
{
	unsigned int flags;

	os_mutex_lock(&status->lock);
	flags = status->now.flags;
	os_mutex_unlock(&status->lock);
	return flags;
}

void status_set_pass(struct status *status, uint32_t pass)
{
	os_mutex_lock(&status->lock);
	status->now.pass = pass;
	os_mutex_unlock(&status->lock);
}

void status_set_verify(struct status *status, uint64_t done_bytes, uint64_t all_bytes)
{
	os_mutex_lock(&status->lock);
	status->now.verify_done = done_bytes;
	status->now.verify_bytes = all_bytes;
	os_mutex_unlock(&status->lock);
}

void status_set_ring(struct status *status, uint64_t ring_bytes, uint64_t used_bytes,
		     uint64_t captured_bytes)
{
	os_mutex_lock(&status->lock);
	status->now.ring_bytes = ring_bytes;
	status->now.ring_used = used_bytes;
	status->now.captured_bytes = captured_bytes;
	os_mutex_unlock(&status->lock);
}

void status_count_gap(struct status *status, const char *reason)
{
	os_mutex_lock(&status->lock);
	status->now.gaps++;
	status->now.gap_ns = os_realtime_ns();
	snprintf(status->now.gap_reason, sizeof(status->now.gap_reason), "%s", reason);
	os_mutex_unlock(&status->lock);
}

void status_set_no_capture(struct status *status, const char *why)
{
	os_mutex_lock(&status->lock);
	status->now.ring_bytes = 0;
	snprintf(status->now.gap_reason, sizeof(status->now.gap_reason), "%s", why);
	os_mutex_unlock(&status->lock);
}

void status_set_note(struct status *status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	os_mutex_lock(&status->lock);
	vsnprintf(status->now.note, sizeof(status->now.note), format, args);
	os_mutex_unlock(&status->lock);
	va_end(args);
}

/* Under the lock. A new session starts its byte count at zero again. */
static void update_rate(struct status *status, uint64_t sent_bytes)
{
	uint64_t now = os_monotonic_ns(), age = now - status->rate_from_ns;

	if (!status->rate_from_ns || sent_bytes < status->rate_from_bytes) {
		status->rate_from_ns = now;
		status->rate_from_bytes = sent_bytes;
		return;
	}
	if (age < NS_PER_S / 4)
		return;
	status->now.rate = (uint64_t)((double)(sent_bytes - status->rate_from_bytes) *
				      (double)NS_PER_S / (double)age);
	if (age > RATE_WINDOW_NS) {
		status->rate_from_bytes += (sent_bytes - status->rate_from_bytes) / 2;
		status->rate_from_ns += age / 2;
	}
}

void status_fill(struct status *status, struct source *source, struct flow *flow,
		 struct rate_limit *limit, struct wire_status *ret_status)
{
	struct flow_progress progress = {0};
	uint64_t dirty = source_dirty_bytes(source);

	if (flow)
		flow_get_progress(flow, &progress);
	os_mutex_lock(&status->lock);
	update_rate(status, progress.sent_bytes);
	status->now.pass_bytes = progress.pass_bytes;
	status->now.todo_bytes = progress.todo_bytes;
	status->now.dirty_bytes = dirty;
	status->now.sent_bytes = progress.sent_bytes;
	status->now.wire_bytes = progress.wire_bytes;
	status->now.read_errors = progress.read_errors;
	status->now.limit = rate_limit_get(limit);
	status->now.memory_bytes = process_resident_bytes() +
				   __atomic_load_n(&source->tracker_bytes, __ATOMIC_RELAXED);
	status->now.memory_limit = source->options->memory_bytes;
	status->now.cpu_ns = os_process_cpu_ns();
	status->now.missed_runs = __atomic_load_n(&source->missed_runs, __ATOMIC_RELAXED);
	status->now.writes = __atomic_load_n(&source->writes_seen, __ATOMIC_RELAXED);
	*ret_status = status->now;
	os_mutex_unlock(&status->lock);
}
