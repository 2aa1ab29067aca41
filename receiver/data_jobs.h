/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The jobs of one data connection: a frame each, on its way to or from the targets. One thread. */
#ifndef BLKFERRY_RECEIVER_DATA_JOBS_H
#define BLKFERRY_RECEIVER_DATA_JOBS_H

#include <stdint.h>

#include "common/fault.h"
#include "common/wire.h"
#include "receiver/session.h"
#include "receiver/target.h"

#define DATA_JOB_BYTES WIRE_DATA_FRAME_MAX /* of a job's frame buffer */

struct data_jobs;
struct data_job;

/* Opens a channel to each of the session's targets. */
int data_jobs_new(struct session *session, struct data_jobs **ret_jobs, struct fault *fault);
void data_jobs_free(struct data_jobs *jobs); /* abandons what is under way */
struct target_channel *const *data_jobs_channels(const struct data_jobs *jobs);

/* A job that is free, waiting for one if need be. It stays free until data_job_write or _compare. Fails
 * with what an earlier job ended with. */
int data_jobs_take(struct data_jobs *jobs, struct data_job **ret_job, struct fault *fault);
/* Where its frame's payload is received to. */
void *data_job_buffer(struct data_job *job);
/* The buffer holds a checked DATA frame: restores its bytes, checks their sum, starts the writes. */
int data_job_write(struct data_jobs *jobs, struct data_job *job, struct fault *fault);
/* The buffer holds a checked DIGESTS frame: starts the read; the answer is sent when it completes. */
int data_job_compare(struct data_jobs *jobs, struct data_job *job, struct fault *fault);

unsigned int data_jobs_under_way(const struct data_jobs *jobs);
/* Moves requests on for at most timeout_ns. */
void data_jobs_wait(struct data_jobs *jobs, uint64_t timeout_ns);
/* Waits until every job has ended; fails with what any of them ended with. */
int data_jobs_drain(struct data_jobs *jobs, uint64_t timeout_ns, struct fault *fault);

#endif
