// SPDX-License-Identifier: GPL-2.0-or-later
/* Jobs: frames on their way to or from the targets; see data_jobs.h. */
#include "receiver/data_jobs.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/compress.h"
#include "common/digest.h"
#include "common/os_clock.h"
#include "common/wire_check.h"

#define JOBS	     32
#define TAKE_WAIT_NS (5 * NS_PER_MS)

struct data_job {
	struct data_jobs *jobs;
	uint8_t *frame; /* DATA_JOB_BYTES */
	uint8_t *plain; /* grown to what a frame needs */
	size_t plain_size;
	unsigned int pending;	     /* requests under way, and one while they are being started */
	struct wire_digests digests; /* of a comparison; length 0: it is a write */
	bool is_used;
};

struct data_jobs {
	struct session *session;
	struct target_channel *channels[WIRE_DISKS_MAX];
	unsigned int disks;
	struct data_job jobs[JOBS];
	unsigned int under_way;
	int error; /* the first that a job ended with */
	unsigned int error_disk;
};

int data_jobs_new(struct session *session, struct data_jobs **ret_jobs, struct fault *fault)
{
	struct data_jobs *jobs = calloc(1, sizeof(*jobs));
	int error = 0;

	if (!jobs)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	jobs->session = session;
	jobs->disks = session_disk_count(session);
	for (unsigned int i = 0; i < JOBS; i++) {
		jobs->jobs[i].jobs = jobs;
		jobs->jobs[i].frame = malloc(DATA_JOB_BYTES);
		if (!jobs->jobs[i].frame)
			error = fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	}
	for (unsigned int i = 0; !error && i < jobs->disks; i++)
		error = target_channel_open(session_disk(session, i)->target, &jobs->channels[i],
					    fault);
	if (error) {
		data_jobs_free(jobs);
		return error;
	}
	*ret_jobs = jobs;
	return 0;
}

void data_jobs_free(struct data_jobs *jobs)
{
	if (!jobs)
		return;
	for (unsigned int i = 0; i < jobs->disks; i++)
		if (jobs->channels[i])
			target_channel_close(jobs->channels[i]);
	for (unsigned int i = 0; i < JOBS; i++) {
		free(jobs->jobs[i].frame);
		free(jobs->jobs[i].plain);
	}
	free(jobs);
}

struct target_channel *const *data_jobs_channels(const struct data_jobs *jobs)
{
	return jobs->channels;
}

static int jobs_fault(const struct data_jobs *jobs, struct fault *fault)
{
	const struct replica_disk *disk = session_disk(jobs->session, jobs->error_disk);
	const char *text = target_channel_error(jobs->channels[jobs->error_disk]);

	return fault_set(fault, FAULT_RETRY, jobs->error, "target of disk %u: %s", disk->slot,
			 text && text[0] ? text : strerror(jobs->error));
}

static void note_error(struct data_jobs *jobs, unsigned int disk, int error)
{
	if (jobs->error)
		return;
	jobs->error = error;
	jobs->error_disk = disk;
}

static unsigned int job_disk(const struct data_job *job)
{
	if (job->digests.length)
		return job->digests.disk;
	return ((const struct wire_data *)job->frame)->disk;
}

static void end_request(struct data_job *job)
{
	if (--job->pending == 0) {
		job->is_used = false;
		job->jobs->under_way--;
	}
}

static void on_written(void *context, int error)
{
	struct data_job *job = context;

	if (error)
		note_error(job->jobs, job_disk(job), error);
	end_request(job);
}

static void begin(struct data_job *job)
{
	job->is_used = true;
	job->pending = 1;
	job->jobs->under_way++;
}

void data_jobs_wait(struct data_jobs *jobs, uint64_t timeout_ns)
{
	for (unsigned int i = 0; i < jobs->disks; i++) {
		int error = target_channel_drain(jobs->channels[i], timeout_ns);

		if (error && error != -ETIMEDOUT)
			note_error(jobs, i, -error);
	}
}

int data_jobs_take(struct data_jobs *jobs, struct data_job **ret_job, struct fault *fault)
{
	uint64_t deadline = os_monotonic_ns() + TARGET_STALL_NS;

	for (unsigned int i = 0; i < jobs->disks; i++)
		if (target_channel_poll(jobs->channels[i]))
			note_error(jobs, i, EIO);
	for (;;) {
		if (jobs->error)
			return jobs_fault(jobs, fault);
		if (session_has_failed(jobs->session))
			return fault_set(fault, FAULT_RETRY, ECANCELED, "the session ended");
		for (unsigned int i = 0; i < JOBS; i++) {
			if (!jobs->jobs[i].is_used) {
				*ret_job = &jobs->jobs[i];
				return 0;
			}
		}
		if (os_monotonic_ns() > deadline)
			return fault_set(fault, FAULT_RETRY, ETIMEDOUT,
					 "the target has not answered for %d s",
					 (int)(TARGET_STALL_NS / NS_PER_S));
		data_jobs_wait(jobs, TAKE_WAIT_NS);
	}
}

void *data_job_buffer(struct data_job *job)
{
	return job->frame;
}

static int need_plain(struct data_job *job, size_t size, struct fault *fault)
{
	if (job->plain_size >= size)
		return 0;
	free(job->plain);
	job->plain_size = 0;
	job->plain = malloc(size);
	if (!job->plain)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "out of memory");
	job->plain_size = size;
	return 0;
}

/* The plain bytes of a DATA frame: where they lie in the frame, or restored. */
static int restore(struct data_job *job, const struct wire_data *data, const uint8_t **ret_plain,
		   struct fault *fault)
{
	const uint8_t *plain = wire_data_bytes(data);
	int error;

	if (data->codec != COMPRESS_RAW) {
		error = need_plain(job, data->raw_bytes, fault);
		if (error)
			return error;
		if (compress_restore(data->codec, plain, data->stored_bytes, job->plain,
				     data->raw_bytes))
			return fault_set(fault, FAULT_RETRY, EPROTO,
					 "a frame of data could not be decompressed");
		plain = job->plain;
	}
	if (digest_checksum(plain, data->raw_bytes) != data->checksum)
		return fault_set(fault, FAULT_RETRY, EPROTO,
				 "a frame of data has a wrong checksum: bad memory on one side?");
	*ret_plain = plain;
	return 0;
}

/* What the stream brought before must be on the targets for good: applied later, or once more, it would
 * overwrite what is newer. */
static int await_stream(struct data_jobs *jobs, struct fault *fault)
{
	struct replica *replica = session_replica(jobs->session);
	int error;

	do {
		error = replica_drain(replica, TAKE_WAIT_NS, fault);
		if (error == -ETIMEDOUT && session_has_failed(jobs->session))
			return fault_set(fault, FAULT_RETRY, ECANCELED, "the session ended");
	} while (error == -ETIMEDOUT);
	return error;
}

/* Before a target's bytes change: checkpoints keep what was there. */
static int prepare(struct data_jobs *jobs, const struct wire_data *data, struct fault *fault)
{
	struct replica *replica = session_replica(jobs->session);
	const struct wire_extent *extents = wire_data_extents(data);
	struct history_extent ranges[WIRE_DATA_EXTENTS_MAX];
	int error = await_stream(jobs, fault);

	if (error)
		return error;
	for (unsigned int i = 0; i < data->extents; i++)
		ranges[i] = (struct history_extent){
			.disk = session_disk(jobs->session, data->disk)->slot,
			.offset = extents[i].offset,
			.length = extents[i].length,
		};
	replica_note_building(replica);
	return replica_protect(replica, ranges, data->extents, fault);
}

int data_job_write(struct data_jobs *jobs, struct data_job *job, struct fault *fault)
{
	const struct wire_data *data = (const struct wire_data *)job->frame;
	const struct wire_extent *extents = wire_data_extents(data);
	const struct replica_disk *disk;
	struct target_channel *channel;
	const uint8_t *plain = NULL;
	int error;

	job->digests.length = 0;
	if (data->disk >= jobs->disks)
		return fault_set(fault, FAULT_STOP, EPROTO,
				 "data for a disk that was not announced");
	disk = session_disk(jobs->session, data->disk);
	channel = jobs->channels[data->disk];
	if (wire_check_extents_inside(data, disk->size_bytes))
		return fault_set(fault, FAULT_STOP, EPROTO, "data past the end of disk %u",
				 disk->slot);
	error = restore(job, data, &plain, fault);
	if (error)
		return error;
	error = prepare(jobs, data, fault);
	if (error)
		return error;
	begin(job);
	for (unsigned int i = 0; i < data->extents && !error; i++) {
		job->pending++;
		if (extents[i].kind == WIRE_EXTENT_ZERO) {
			error = target_channel_zero(channel, extents[i].offset, extents[i].length,
						    on_written, job);
		} else {
			error = target_channel_write(channel, plain, extents[i].offset,
						     (uint32_t)extents[i].length, on_written, job);
			plain += extents[i].length;
		}
		if (error)
			on_written(job, -error); /* it was not started: nobody else will say so */
		have_mark(disk->have, extents[i].offset, extents[i].length);
	}
	end_request(job);
	return jobs->error ? jobs_fault(jobs, fault) : 0;
}

static void compare(const struct data_job *job, uint8_t *ret_verdicts)
{
	const struct wire_digests *digests = &job->digests;
	const uint8_t *theirs = wire_digests_table((const struct wire_digests *)job->frame);
	const struct have *have = session_disk(job->jobs->session, digests->disk)->have;

	for (uint32_t i = 0; i < digests->count; i++) {
		uint32_t at = i * digests->block;
		uint32_t length = digests->length - at < digests->block ? digests->length - at
									: digests->block;
		uint8_t ours[DIGEST_BYTES];

		digest_block(job->plain + at, length, ours);
		if (memcmp(ours, theirs + (size_t)i * WIRE_DIGEST_LEN, sizeof(ours)) == 0)
			ret_verdicts[i] = WIRE_DIGEST_SAME;
		else if (have_test_any(have, digests->offset + at, length))
			ret_verdicts[i] = WIRE_DIGEST_DIFFERS;
		else
			ret_verdicts[i] = WIRE_DIGEST_NEVER_COPIED;
	}
}

static void on_read(void *context, int error)
{
	struct data_job *job = context;
	struct wire_digest_result result = {
		.number = job->digests.number,
		.count = job->digests.count,
	};
	uint8_t verdicts[WIRE_DIGESTS_MAX];

	if (!error) {
		compare(job, verdicts);
		error = -session_send(job->jobs->session, WIRE_DIGEST_RESULT, &result,
				      sizeof(result), verdicts, job->digests.count);
	}
	if (error)
		note_error(job->jobs, job->digests.disk, error);
	end_request(job);
}

int data_job_compare(struct data_jobs *jobs, struct data_job *job, struct fault *fault)
{
	const struct wire_digests *digests = (const struct wire_digests *)job->frame;
	const struct replica_disk *disk;
	int error;

	if (digests->disk >= jobs->disks)
		return fault_set(fault, FAULT_STOP, EPROTO,
				 "digests for a disk that was not announced");
	disk = session_disk(jobs->session, digests->disk);
	if (digests->offset > disk->size_bytes ||
	    digests->length > disk->size_bytes - digests->offset)
		return fault_set(fault, FAULT_STOP, EPROTO, "digests past the end of disk %u",
				 disk->slot);
	error = need_plain(job, digests->length, fault);
	if (error)
		return error;
	error = await_stream(jobs, fault);
	if (error)
		return error;
	job->digests = *digests;
	begin(job);
	job->pending++;
	error = target_channel_read(jobs->channels[digests->disk], job->plain, digests->offset,
				    digests->length, on_read, job);
	if (error)
		on_written(job, -error);
	end_request(job);
	return jobs->error ? jobs_fault(jobs, fault) : 0;
}

unsigned int data_jobs_under_way(const struct data_jobs *jobs)
{
	return jobs->under_way;
}

int data_jobs_drain(struct data_jobs *jobs, uint64_t timeout_ns, struct fault *fault)
{
	for (unsigned int i = 0; i < jobs->disks; i++) {
		int error = target_channel_drain(jobs->channels[i], timeout_ns);

		if (error)
			note_error(jobs, i, -error);
	}
	return jobs->error ? jobs_fault(jobs, fault) : 0;
}
