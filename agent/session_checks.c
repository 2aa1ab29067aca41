// SPDX-License-Identifier: GPL-2.0-or-later
/* Tells the receiver what `blkferry-agent check` found last: after WELCOME, and when it was run again. */
#include <errno.h>
#include <string.h>

#include "agent/options.h"
#include "agent/platform.h"
#include "agent/session_internal.h"
#include "common/os_clock.h"

#define LOOK_NS (2 * NS_PER_S)

int session_send_checks(struct session *session, const struct wire_status *status,
			struct fault *fault)
{
	struct wire_checks checks;
	uint64_t now = os_monotonic_ns();

	/* No file is touched while anything may be frozen. */
	if (status->phase == WIRE_PHASE_CUTOVER || status->phase == WIRE_PHASE_FENCED ||
	    now < session->look_at_checks_ns)
		return 0;
	session->look_at_checks_ns = now + LOOK_NS;
	/* Never checked, or not readable now: there is nothing to tell. */
	if (readiness_read(session->setup.source->options->state_folder, &checks) != 0 ||
	    !memcmp(&checks, &session->checks, sizeof(checks)))
		return 0;
	session->checks = checks;
	return frame_send(&session->link, WIRE_CHECKS, &checks, sizeof(checks), NULL, 0, fault);
}
