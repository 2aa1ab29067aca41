// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The journal's other thread: reading durable batches, and forgetting applied ones.
 *
 * The applied file has two slots that are written in turn, so that one of them is whole whatever happens
 * to the other. A segment goes after the slot that makes it superfluous is durable.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/os_file.h"
#include "common/os_io.h"
#include "receiver/journal_internal.h"
#include "receiver/journal_record.h"

#define FILE_MODE 0600
#define SLOTS	  2

static bool is_same(const struct journal_place *a, const struct journal_place *b)
{
	return a->stream == b->stream && a->batch == b->batch;
}

/* The place's sequence; 0 when it is not in the lists. Under lock. */
static uint64_t sequence_of(const struct journal *journal, const struct journal_place *place)
{
	if (journal->applied.sequence > 0 && is_same(place, &journal->applied.place))
		return journal->applied.sequence;
	for (unsigned int i = journal->run_count; i-- > 0;) {
		const struct journal_run *run = &journal->runs[i];
		uint64_t end = journal->durable.sequence + 1;

		if (i + 1 < journal->run_count && run[1].first_sequence < end)
			end = run[1].first_sequence;
		if (run->stream == place->stream && place->batch >= run->first_batch &&
		    run->first_sequence < end &&
		    place->batch - run->first_batch < end - run->first_sequence)
			return run->first_sequence + (place->batch - run->first_batch);
	}
	return 0;
}

static int set_failed(const struct journal *journal, int error, struct fault *fault)
{
	return fault_set(fault, FAULT_STOP, -error, "the journal %s cannot be read: %s",
			 journal->folder, strerror(-error));
}

/* The sequence behind place, and the segment that has it. 1; 0: none yet; -errno. */
static int find_next(struct journal *journal, const struct journal_place *place,
		     uint64_t *ret_sequence, uint64_t *ret_segment, struct fault *fault)
{
	uint64_t before, segment = 0, durable;

	os_mutex_lock(&journal->lock);
	if (place->stream == 0 && place->batch == 0)
		before = journal->files[0].sequence - 1;
	else if (journal->read_end.sequence > 0 && is_same(place, &journal->read_end.place))
		before = journal->read_end.sequence;
	else
		before = sequence_of(journal, place);
	durable = journal->durable.sequence;
	for (unsigned int i = 0; i < journal->file_count; i++)
		if (journal->files[i].sequence <= before + 1)
			segment = journal->files[i].sequence;
	os_mutex_unlock(&journal->lock);
	if (segment == 0 || (before == 0 && place->batch != 0))
		return fault_set(fault, FAULT_STOP, ENOENT,
				 "the journal %s has no batch %llu of stream %llx", journal->folder,
				 (unsigned long long)place->batch,
				 (unsigned long long)place->stream);
	if (before >= durable)
		return 0;
	*ret_sequence = before + 1;
	*ret_segment = segment;
	return 1;
}

static int open_segment(struct journal *journal, uint64_t segment)
{
	char path[PATH_MAX];
	int fd;

	journal_segment_path(journal, segment, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (journal->read_fd >= 0)
		close(journal->read_fd);
	journal->read_fd = fd;
	journal->read_segment = segment;
	journal->read_position = sizeof(struct journal_segment);
	journal->read_end = (struct journal_end){.sequence = segment - 1};
	return 0;
}

/* Goes to the record of sequence: at once when it is the next, else over the headers of those before. */
static int seek(struct journal *journal, uint64_t sequence, uint64_t segment)
{
	int error = 0;

	if (journal->read_fd < 0 || journal->read_segment != segment ||
	    journal->read_end.sequence >= sequence)
		error = open_segment(journal, segment);
	while (!error && journal->read_end.sequence + 1 < sequence) {
		struct journal_record record;
		int64_t got = os_pread_up_to(journal->read_fd, &record, sizeof(record),
					     journal->read_position);

		if (got < 0)
			error = (int)got;
		else if (got != sizeof(record) || !journal_record_is_valid(&record, journal->id) ||
			 record.sequence != journal->read_end.sequence + 1)
			error = -EBADMSG;
		else {
			journal->read_end = (struct journal_end){.sequence = record.sequence};
			journal->read_position += JOURNAL_RECORD_BYTES(record.length);
		}
	}
	return error;
}

int journal_read(struct journal *journal, struct journal_place *place, void *buffer,
		 struct fault *fault)
{
	const struct wire_stream *head = buffer;
	uint64_t sequence = 0, segment = 0, bytes = 0;
	int found = find_next(journal, place, &sequence, &segment, fault);

	if (found <= 0)
		return found;
	found = seek(journal, sequence, segment);
	if (found == 0)
		found = journal_record_read(journal->read_fd, journal, journal->read_position,
					    sequence, buffer, &bytes);
	if (found == 0 || found == -EBADMSG)
		return journal_damaged(journal, fault,
				       "record %llu is not what was written any more",
				       (unsigned long long)sequence);
	if (found < 0)
		return set_failed(journal, found, fault);
	*place = (struct journal_place){head->stream, head->batch, head->to};
	journal->read_position += bytes;
	journal->read_end = (struct journal_end){sequence, *place};
	return 1;
}

int journal_applied_load(struct journal *journal, struct fault *fault)
{
	static const uint8_t empty[SLOTS * JOURNAL_SLOT_BYTES];
	char path[PATH_MAX];
	int error = 0;

	journal_applied_path(journal, path);
	if (!os_file_exists(path))
		error = os_file_write_atomic(path, empty, sizeof(empty), FILE_MODE);
	if (error)
		return fault_set(fault, FAULT_RETRY, -error, "%s cannot be made: %s", path,
				 strerror(-error));
	journal->applied_fd = open(path, O_RDWR | O_CLOEXEC);
	if (journal->applied_fd < 0)
		return set_failed(journal, -errno, fault);
	for (unsigned int i = 0; i < SLOTS; i++) {
		struct journal_slot slot;
		int64_t got = os_pread_up_to(journal->applied_fd, &slot, sizeof(slot),
					     (uint64_t)i * JOURNAL_SLOT_BYTES);

		if (got < 0)
			return set_failed(journal, (int)got, fault);
		if (got != sizeof(slot) || !journal_slot_is_valid(&slot, journal->id) ||
		    slot.sequence <= journal->applied.sequence)
			continue;
		journal->applied = (struct journal_end){slot.sequence,
							{slot.stream, slot.batch, slot.position}};
		journal->applied_slot = (i + 1) % SLOTS;
	}
	return 0;
}

static int write_slot(struct journal *journal, const struct journal_end *end)
{
	struct journal_slot slot;
	int error;

	journal_slot_make(&slot, journal->id, end->sequence);
	slot.stream = end->place.stream;
	slot.batch = end->place.batch;
	slot.position = end->place.position;
	journal_slot_seal(&slot);
	error = os_pwrite_all(journal->applied_fd, &slot, sizeof(slot),
			      (uint64_t)journal->applied_slot * JOURNAL_SLOT_BYTES);
	if (error)
		return error;
	if (fdatasync(journal->applied_fd) < 0)
		return -errno;
	journal->applied_slot = (journal->applied_slot + 1) % SLOTS;
	return 0;
}

void journal_forget(struct journal *journal)
{
	unsigned int gone = 0, old = 0;
	char path[PATH_MAX];

	while (gone + 1 < journal->file_count &&
	       journal->files[gone + 1].sequence <= journal->applied.sequence + 1) {
		journal_segment_path(journal, journal->files[gone].sequence, path);
		if (unlink(path) < 0 && errno != ENOENT)
			break; /* it stays in the list, and is tried again next time */
		gone++;
	}
	if (gone == 0)
		return;
	journal->file_count -= gone;
	memmove(journal->files, journal->files + gone,
		journal->file_count * sizeof(*journal->files));
	while (old + 1 < journal->run_count &&
	       journal->runs[old + 1].first_sequence <= journal->files[0].sequence)
		old++;
	if (old == 0)
		return;
	journal->run_count -= old;
	memmove(journal->runs, journal->runs + old, journal->run_count * sizeof(*journal->runs));
}

int journal_applied(struct journal *journal, const struct journal_place *place, struct fault *fault)
{
	struct journal_end end = {.place = *place};
	uint64_t applied;
	int error = 0;

	os_mutex_lock(&journal->lock);
	end.sequence = sequence_of(journal, place);
	applied = journal->applied.sequence;
	os_mutex_unlock(&journal->lock);
	if (end.sequence == 0)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "the journal %s has no durable batch %llu of stream %llx",
				 journal->folder, (unsigned long long)place->batch,
				 (unsigned long long)place->stream);
	if (end.sequence <= applied)
		return 0;
	if (!journal->is_applied_broken)
		error = write_slot(journal, &end);
	if (error || journal->is_applied_broken) {
		/* Final: a second sync would succeed and mean nothing. */
		journal->is_applied_broken = true;
		return fault_set(fault, FAULT_RETRY, error ? -error : EIO,
				 "the journal %s cannot note what was applied: %s", journal->folder,
				 strerror(error ? -error : EIO));
	}
	os_mutex_lock(&journal->lock);
	journal->applied = end;
	journal_forget(journal);
	os_mutex_unlock(&journal->lock);
	return 0;
}
