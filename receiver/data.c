// SPDX-License-Identifier: GPL-2.0-or-later
/* A data connection's loop: frames in, jobs out, barriers in between; see data.h. */
#include "receiver/data.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "common/wire_check.h"
#include "receiver/data_jobs.h"
#include "receiver/session.h"

#define END_TIMEOUT_NS (45 * NS_PER_S) /* a service manager gives 90 s before it kills */
#define NUDGE_NS       (1 * NS_PER_MS)

/* While nothing comes from the network, requests to the targets still have to be moved on. */
static void nudge_targets(struct data_jobs *jobs, struct tls_stream *stream)
{
	while (data_jobs_under_way(jobs) &&
	       tls_stream_wait_readable(stream, os_monotonic_ns()) == -ETIMEDOUT)
		data_jobs_wait(jobs, NUDGE_NS);
}

static int on_barrier(struct session *session, unsigned int number, struct data_jobs *jobs,
		      const struct wire_barrier *barrier, struct fault *fault)
{
	int error = data_jobs_drain(jobs, TARGET_STALL_NS, fault);

	if (error)
		return error;
	return session_barrier(session, number, barrier->epoch, data_jobs_channels(jobs), fault);
}

static int serve_frames(struct session *session, unsigned int number, struct frame_link *link,
			struct data_jobs *jobs, struct fault *fault)
{
	for (;;) {
		struct data_job *job;
		enum wire_type type;
		uint32_t length;
		int error;

		nudge_targets(jobs, link->stream);
		error = data_jobs_take(jobs, &job, fault);
		if (error)
			return error;
		error = frame_receive(link, data_job_buffer(job), DATA_JOB_BYTES, &type, &length, 0,
				      fault);
		if (!error && type == WIRE_DATA)
			error = data_job_write(jobs, job, fault);
		else if (!error && type == WIRE_DIGESTS)
			error = data_job_compare(jobs, job, fault);
		else if (!error && type == WIRE_BARRIER)
			error = on_barrier(session, number, jobs, data_job_buffer(job), fault);
		else if (!error)
			error = fault_set(fault, FAULT_STOP, EPROTO,
					  "the agent sent a %s frame on a data connection",
					  wire_type_name(type));
		if (error)
			return error;
	}
}

static int say_welcome(struct frame_link *link, struct fault *fault)
{
	struct wire_welcome welcome = {.version = WIRE_VERSION};

	return frame_send(link, WIRE_WELCOME, &welcome, sizeof(welcome), NULL, 0, fault);
}

void data_serve(struct machine *machine, struct frame_link *link, const struct wire_hello *hello)
{
	struct data_jobs *jobs = NULL;
	struct fault fault = {0};
	unsigned int number;
	struct session *session = session_attach(machine, link, hello, &number, &fault);
	int error;

	if (!session) {
		log_info("%s: a data connection was refused: %s", machine->name, fault.text);
		frame_send_error(link, WIRE_ERROR_PROTOCOL, fault.class, fault.text);
		return;
	}
	error = data_jobs_new(session, &jobs, &fault);
	if (!error)
		error = say_welcome(link, &fault);
	if (!error)
		error = serve_frames(session, number, link, jobs, &fault);
	/* A connection that ends takes the session with it: the agent starts over from its bits. */
	session_fail(session, error == -EPROTO ? WIRE_ERROR_PROTOCOL : WIRE_ERROR_TARGET, &fault);
	/* The next session begins when this one is detached: by then nothing of it may be under way at the
	 * targets, or old data would land on new. What cannot be waited for leaves its target unclean. */
	if (jobs)
		(void)data_jobs_drain(jobs, END_TIMEOUT_NS, NULL);
	data_jobs_free(jobs);
	session_detach(session, number);
}
