// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opening a journal: every record is checked. What may be missing at the end is decided here:
 *
 *   invalid record in the newest segment, and nothing says that it had been durable: it was being
 *   written when the power went (the disk may have taken any part of it, and of those behind it). Cut.
 *   any other invalid record, a missing segment, records that the applied file knows and we do not:
 *   damage. Refused: cutting there would lose writes that were acknowledged.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/os_file.h"
#include "common/os_io.h"
#include "receiver/journal_internal.h"
#include "receiver/journal_record.h"

#define NAME_PREFIX "segment-"
#define NAME_LENGTH (sizeof(NAME_PREFIX) - 1 + 16)

struct scan {
	struct journal *journal;
	void *body; /* JOURNAL_LENGTH_MAX */
	struct fault *fault;
};

static int set_unreadable(const struct journal *journal, int error, struct fault *fault)
{
	return fault_set(fault, FAULT_STOP, -error, "the journal %s cannot be read: %s",
			 journal->folder, strerror(-error));
}

int journal_record_read(int fd, const struct journal *journal, uint64_t position, uint64_t sequence,
			void *body, uint64_t *ret_bytes)
{
	struct journal_record record;
	le64 checksum;
	int64_t got = os_pread_up_to(fd, &record, sizeof(record), position);

	if (got < 0)
		return (int)got;
	if (got != sizeof(record) || !journal_record_is_valid(&record, journal->id) ||
	    record.sequence != sequence)
		return 0;
	got = os_pread_up_to(fd, body, record.length, position + sizeof(record));
	if (got < 0)
		return (int)got;
	if (got != record.length)
		return 0;
	got = os_pread_up_to(fd, &checksum, sizeof(checksum),
			     position + sizeof(record) + record.length);
	if (got < 0)
		return (int)got;
	if (got != sizeof(checksum) || !journal_body_is_valid(&record, body, checksum))
		return 0;
	*ret_bytes = JOURNAL_RECORD_BYTES(record.length);
	return 1;
}

static int by_sequence(const void *left, const void *right)
{
	const struct journal_file *a = left, *b = right;

	return (a->sequence > b->sequence) - (a->sequence < b->sequence);
}

/* Notes the segments; removes what an interrupted write of a new file left. */
static int note_name(struct journal *journal, const char *name)
{
	uint64_t sequence;
	char path[PATH_MAX], *end;

	if (strncmp(name, NAME_PREFIX, sizeof(NAME_PREFIX) - 1) == 0 &&
	    strlen(name) == NAME_LENGTH) {
		sequence = strtoull(name + sizeof(NAME_PREFIX) - 1, &end, 16);
		return *end == '\0' ? journal_file_note(journal, sequence, 0) : 0;
	}
	if (strncmp(name, NAME_PREFIX, sizeof(NAME_PREFIX) - 1) == 0 ||
	    strncmp(name, "applied.", 8) == 0) {
		if (snprintf(path, sizeof(path), "%s/%s", journal->folder, name) <
		    (int)sizeof(path))
			unlink(path);
	}
	return 0;
}

static int list_segments(struct journal *journal)
{
	DIR *folder = opendir(journal->folder);
	struct dirent *entry;
	int error = 0;

	if (!folder)
		return -errno;
	while (!error && (errno = 0, entry = readdir(folder)))
		error = note_name(journal, entry->d_name);
	if (!error)
		error = -errno;
	closedir(folder);
	if (journal->file_count > 1)
		qsort(journal->files, journal->file_count, sizeof(*journal->files), by_sequence);
	return error;
}

static int open_segment(const struct journal *journal, uint64_t sequence, int *ret_fd)
{
	char path[PATH_MAX];
	int fd;

	journal_segment_path(journal, sequence, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

/* The journal's id is that of the newest segment: it is there from the first moment. */
static int check_head(struct scan *scan, int fd, uint64_t sequence)
{
	struct journal *journal = scan->journal;
	struct journal_segment segment;
	int64_t got = os_pread_up_to(fd, &segment, sizeof(segment), 0);

	if (got < 0)
		return set_unreadable(journal, (int)got, scan->fault);
	if (got == sizeof(segment) && segment.magic == JOURNAL_SEGMENT_MAGIC &&
	    segment.version > JOURNAL_VERSION)
		return fault_set(scan->fault, FAULT_STOP, ENOTSUP,
				 "the journal %s is of a newer version of blkferry: upgrade",
				 journal->folder);
	if (got != sizeof(segment) || !journal_segment_is_valid(&segment) ||
	    segment.sequence != sequence)
		return journal_damaged(journal, scan->fault, "segment-%016llx has no valid head",
				       (unsigned long long)sequence);
	if (journal->id == 0)
		journal->id = segment.journal;
	if (journal->id != segment.journal)
		return journal_damaged(journal, scan->fault,
				       "segment-%016llx belongs to another journal",
				       (unsigned long long)sequence);
	return 0;
}

/* Does anything from position on say that the record of this sequence had been durable? */
static int was_durable(struct scan *scan, int fd, uint64_t position, uint64_t sequence)
{
	const struct journal *journal = scan->journal;
	const size_t window = JOURNAL_LENGTH_MAX / JOURNAL_ALIGN * JOURNAL_ALIGN;

	if (journal->applied.sequence >= sequence)
		return 1;
	for (;;) {
		int64_t got = os_pread_up_to(fd, scan->body, window, position);

		if (got < 0)
			return (int)got;
		if (journal_bytes_vouch_for(scan->body, (size_t)got, journal->id, sequence))
			return 1;
		if ((size_t)got < window)
			return 0;
		/* A header may lie across the border. */
		position += window - sizeof(struct journal_record);
	}
}

static int cut_tail(struct scan *scan, int fd, uint64_t position, uint64_t file_bytes)
{
	struct journal *journal = scan->journal;

	log_warning("the journal %s: cutting off %llu bytes behind batch %llu that were being "
		    "written when this machine stopped; they were not acknowledged",
		    journal->folder, (unsigned long long)(file_bytes - position),
		    (unsigned long long)journal->end.place.batch);
	if (ftruncate(fd, (off_t)position) < 0 || fsync(fd) < 0)
		return fault_set(scan->fault, FAULT_STOP, errno,
				 "the journal %s cannot be written: %s", journal->folder,
				 strerror(errno));
	return 0;
}

static int note_batch(struct scan *scan, uint64_t sequence)
{
	const struct wire_stream *head = scan->body;
	struct journal *journal = scan->journal;
	struct journal_place place = {head->stream, head->batch, head->to};
	const struct journal_place *last = &journal->end.place;
	const struct journal_place *applied = &journal->applied.place;

	if ((last->batch > 0 && place.stream == last->stream && place.batch != last->batch + 1) ||
	    (sequence == journal->applied.sequence &&
	     (place.stream != applied->stream || place.batch != applied->batch)))
		return journal_damaged(journal, scan->fault, "record %llu has the wrong batch",
				       (unsigned long long)sequence);
	if (journal_run_note(journal, sequence, head) < 0)
		return set_unreadable(journal, -ENOMEM, scan->fault);
	journal->end = (struct journal_end){sequence, place};
	return 0;
}

static int scan_records(struct scan *scan, int fd, unsigned int index)
{
	struct journal *journal = scan->journal;
	uint64_t position = sizeof(struct journal_segment), bytes;
	bool is_newest = index == journal->file_count - 1;
	struct stat status;
	int found, error;

	if (fstat(fd, &status) < 0)
		return set_unreadable(journal, -errno, scan->fault);
	while (position < (uint64_t)status.st_size) {
		uint64_t sequence = journal->end.sequence + 1;

		found = journal_record_read(fd, journal, position, sequence, scan->body, &bytes);
		if (found == 0) {
			found = is_newest ? was_durable(scan, fd, position, sequence) : 1;
			if (found == 0) {
				error = cut_tail(scan, fd, position, (uint64_t)status.st_size);
				if (error)
					return error;
				break;
			}
			if (found > 0)
				return journal_damaged(
					journal, scan->fault,
					"record %llu, at byte %llu of segment-%016llx, is not "
					"what was written",
					(unsigned long long)sequence, (unsigned long long)position,
					(unsigned long long)journal->files[index].sequence);
		}
		if (found < 0)
			return set_unreadable(journal, found, scan->fault);
		error = note_batch(scan, sequence);
		if (error)
			return error;
		position += bytes;
	}
	journal->files[index].bytes = position;
	return 0;
}

/* What the page cache has may be what an earlier, failed sync never brought to the disk: it is asked
 * again, and read from there. */
static int settle(int fd)
{
	if (fsync(fd) < 0)
		return -errno;
	return -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static int scan_segment(struct scan *scan, unsigned int index)
{
	struct journal *journal = scan->journal;
	uint64_t sequence = journal->files[index].sequence;
	bool is_newest = index == journal->file_count - 1;
	int fd, error;

	if (sequence != journal->end.sequence + 1)
		return journal_damaged(journal, scan->fault,
				       "records %llu to %llu are missing, a segment is gone",
				       (unsigned long long)journal->end.sequence + 1,
				       (unsigned long long)sequence - 1);
	error = open_segment(journal, sequence, &fd);
	if (!error && is_newest)
		error = settle(fd);
	if (error)
		return set_unreadable(journal, error, scan->fault);
	error = check_head(scan, fd, sequence);
	if (!error)
		error = scan_records(scan, fd, index);
	if (!error && is_newest) {
		journal->fd = fd;
		journal->position = journal->durable_position = journal->files[index].bytes;
		return 0;
	}
	close(fd);
	return error;
}

/* The end and id that the segments begin with. */
static int find_beginning(struct scan *scan)
{
	struct journal *journal = scan->journal;
	uint64_t first, newest = journal->files[journal->file_count - 1].sequence;
	int fd, error = open_segment(journal, newest, &fd);

	if (error)
		return set_unreadable(journal, error, scan->fault);
	error = check_head(scan, fd, newest);
	close(fd);
	if (!error)
		error = journal_applied_load(journal, scan->fault);
	if (error)
		return error;
	journal_forget(journal); /* an interrupted removal may have left any of them */
	first = journal->files[0].sequence;
	if (first > journal->applied.sequence + 1)
		return journal_damaged(journal, scan->fault,
				       "records %llu to %llu are missing, a segment is gone",
				       (unsigned long long)journal->applied.sequence + 1,
				       (unsigned long long)first - 1);
	if (first == journal->applied.sequence + 1)
		journal->end = journal->applied;
	else
		journal->end.sequence = first - 1;
	return 0;
}

static int scan_all(struct scan *scan)
{
	struct journal *journal = scan->journal;
	int error = find_beginning(scan);

	for (unsigned int i = 0; !error && i < journal->file_count; i++)
		error = scan_segment(scan, i);
	if (!error && journal->end.sequence < journal->applied.sequence)
		error = journal_damaged(journal, scan->fault,
					"it ends at record %llu, and %llu had been applied",
					(unsigned long long)journal->end.sequence,
					(unsigned long long)journal->applied.sequence);
	if (!error)
		journal->durable = journal->end;
	return error;
}

static int make_new(struct journal *journal, struct fault *fault)
{
	char path[PATH_MAX];
	int error;

	journal_applied_path(journal, path);
	if (os_file_exists(path))
		return journal_damaged(journal, fault, "all its segments are gone");
	do {
		os_random(&journal->id, sizeof(journal->id));
	} while (journal->id == 0);
	error = journal_segment_add(journal, 1);
	if (error)
		return fault_set(fault, FAULT_RETRY, -error, "the journal %s cannot be made: %s",
				 journal->folder, strerror(-error));
	return journal_applied_load(journal, fault);
}

int journal_scan(struct journal *journal, struct fault *fault)
{
	struct scan scan = {.journal = journal, .fault = fault};
	int error = list_segments(journal);

	if (error)
		return set_unreadable(journal, error, fault);
	if (journal->file_count == 0)
		return make_new(journal, fault);
	scan.body = malloc(JOURNAL_LENGTH_MAX);
	if (!scan.body)
		return set_unreadable(journal, -ENOMEM, fault);
	error = scan_all(&scan);
	free(scan.body);
	return error;
}
