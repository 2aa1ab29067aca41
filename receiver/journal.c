// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The journal: appending and making durable; see journal.h, and journal_format.h for the files.
 *
 * The segment that is appended to has nothing behind its last whole record: what a failed write left
 * there is cut off at once. A segment is synced before the next is made, so only the newest can have a
 * torn end. A sync that failed is final: the kernel forgets pages that it could not write, and a second sync
 * would succeed and mean nothing.
 */
#include "receiver/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/os_file.h"
#include "receiver/journal_internal.h"
#include "receiver/journal_record.h"

#define FILE_MODE   0600
#define FOLDER_MODE 0700
#define SPARE_BYTES (64 * 1024)

void journal_segment_path(const struct journal *journal, uint64_t sequence, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/segment-%016llx", journal->folder,
		 (unsigned long long)sequence);
}

void journal_applied_path(const struct journal *journal, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/applied", journal->folder);
}

int journal_damaged(const struct journal *journal, struct fault *fault, const char *format, ...)
{
	va_list arguments;
	char what[256];

	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	return fault_set(fault, FAULT_STOP, EBADMSG,
			 "the journal %s is damaged: %s. Check that storage; a journal that is "
			 "damaged has to be discarded, and all disks of the machine compared",
			 journal->folder, what);
}

/* Makes room for one more element of size bytes. */
static int grow(void **list, unsigned int count, unsigned int *room, size_t size)
{
	unsigned int larger = *room ? *room * 2 : 16;
	void *grown;

	if (count < *room)
		return 0;
	grown = reallocarray(*list, larger, size);
	if (!grown)
		return -ENOMEM;
	*list = grown;
	*room = larger;
	return 0;
}

int journal_file_note(struct journal *journal, uint64_t sequence, uint64_t bytes)
{
	int error = grow((void **)&journal->files, journal->file_count, &journal->file_room,
			 sizeof(*journal->files));

	if (!error)
		journal->files[journal->file_count++] =
			(struct journal_file){.sequence = sequence, .bytes = bytes};
	return error;
}

int journal_run_note(struct journal *journal, uint64_t sequence, const struct wire_stream *head)
{
	int error;

	if (journal->run_count > 0 && journal->runs[journal->run_count - 1].stream == head->stream)
		return 0;
	error = grow((void **)&journal->runs, journal->run_count, &journal->run_room,
		     sizeof(*journal->runs));
	if (!error)
		journal->runs[journal->run_count++] = (struct journal_run){
			.stream = head->stream,
			.first_batch = head->batch,
			.first_sequence = sequence,
		};
	return error;
}

int journal_segment_add(struct journal *journal, uint64_t sequence)
{
	struct journal_segment segment;
	char path[PATH_MAX];
	int fd, error;

	journal_segment_path(journal, sequence, path);
	journal_segment_make(&segment, journal->id, sequence);
	error = os_file_write_atomic(path, &segment, sizeof(segment), FILE_MODE);
	if (error)
		return error;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	os_mutex_lock(&journal->lock);
	error = journal_file_note(journal, sequence, sizeof(segment));
	os_mutex_unlock(&journal->lock);
	if (error) {
		close(fd);
		return error;
	}
	if (journal->fd >= 0)
		close(journal->fd);
	journal->fd = fd;
	journal->position = journal->durable_position = sizeof(segment);
	return 0;
}

/* What an interrupted discard left. */
static int remove_discarded(const char *folder)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s.discarded", folder) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return os_folder_remove(path);
}

static int lock_folder(const char *folder, int *ret_fd, struct fault *fault)
{
	int error = strlen(folder) < PATH_MAX - JOURNAL_NAME_MAX ? 0 : -ENAMETOOLONG;

	if (!error)
		error = remove_discarded(folder);
	if (!error)
		error = os_folder_lock(folder, FOLDER_MODE, ret_fd);
	if (error == -EWOULDBLOCK)
		return fault_set(fault, FAULT_STOP, EBUSY,
				 "the journal %s is in use by another receiver", folder);
	if (error)
		return fault_set(fault, FAULT_STOP, -error, "the journal %s cannot be opened: %s",
				 folder, strerror(-error));
	return 0;
}

static void spare_path(const struct journal *journal, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/spare", journal->folder);
}

/* Room for a segment's beginning, also where the segment before has all the rest. Made when there is room. */
static void make_spare(const struct journal *journal)
{
	char path[PATH_MAX];
	int fd;

	spare_path(journal, path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, FILE_MODE);
	if (fd < 0)
		return;
	if (posix_fallocate(fd, 0, SPARE_BYTES) != 0)
		unlink(path);
	close(fd);
}

int journal_open(const char *folder, struct journal **ret_journal, struct journal_place *ret_end,
		 struct journal_place *ret_applied, struct fault *fault)
{
	struct journal *journal = calloc(1, sizeof(*journal));
	int error;

	if (!journal)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "the journal %s: out of memory",
				 folder);
	os_mutex_init(&journal->lock);
	journal->lock_fd = journal->fd = journal->read_fd = journal->applied_fd = -1;
	journal->segment_bytes = JOURNAL_SEGMENT_BYTES;
	error = lock_folder(folder, &journal->lock_fd, fault);
	if (!error) {
		snprintf(journal->folder, sizeof(journal->folder), "%s", folder);
		error = journal_scan(journal, fault);
	}
	if (error) {
		journal_close(journal);
		return error;
	}
	*ret_journal = journal;
	make_spare(journal);
	*ret_end = journal->end.place;
	*ret_applied = journal->applied.place;
	return 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void journal_close(struct journal *journal)
{
	if (!journal)
		return;
	close_fd(journal->fd);
	close_fd(journal->read_fd);
	close_fd(journal->applied_fd);
	close_fd(journal->lock_fd);
	os_mutex_fini(&journal->lock);
	free(journal->files);
	free(journal->runs);
	free(journal);
}

static int set_not_discarded(const char *folder, int error, struct fault *fault)
{
	return fault_set(fault, FAULT_STOP, -error, "the journal %s cannot be discarded: %s",
			 folder, strerror(-error));
}

int journal_discard(const char *folder, struct fault *fault)
{
	char discarded[PATH_MAX], parent[PATH_MAX + 4];
	int lock_fd, error;

	if (!os_file_exists(folder)) {
		error = remove_discarded(folder);
		return error ? set_not_discarded(folder, error, fault) : 0;
	}
	error = lock_folder(folder, &lock_fd, fault);
	if (error)
		return error;
	/* In one step, so that no half of a journal is ever found. */
	snprintf(discarded, sizeof(discarded), "%s.discarded", folder);
	error = rename(folder, discarded) == 0 ? 0 : -errno;
	if (!error) {
		snprintf(parent, sizeof(parent), "%s/..", discarded);
		error = os_folder_sync(parent);
	}
	if (!error)
		error = os_folder_remove(discarded);
	close(lock_fd);
	return error ? set_not_discarded(folder, error, fault) : 0;
}

static bool is_full(int error)
{
	return error == -ENOSPC || error == -EDQUOT || error == -EFBIG;
}

static int set_broken(struct journal *journal, int error, struct fault *fault)
{
	journal->is_broken = true;
	/* What was not synced was not promised. Were it left, a later reader could find it in the page
	 * cache though it is not on the disk. */
	if (ftruncate(journal->fd, (off_t)journal->durable_position) != 0)
		error = error ? error : -errno;
	return fault_set(fault, FAULT_RETRY, -error,
			 "the journal %s cannot be written: %s. Check that storage",
			 journal->folder, strerror(-error));
}

static int sync_segment(struct journal *journal, struct fault *fault)
{
	if (fdatasync(journal->fd) < 0)
		return set_broken(journal, -errno, fault);
	journal->durable_position = journal->position;
	os_mutex_lock(&journal->lock);
	journal->durable = journal->end;
	os_mutex_unlock(&journal->lock);
	return 0;
}

/* Writes all parts at the segment's end. */
static int write_parts(struct journal *journal, struct iovec *parts, int count)
{
	uint64_t at = journal->position;

	while (count > 0) {
		ssize_t put = pwritev(journal->fd, parts, count, (off_t)at);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -ENOSPC;
		at += (uint64_t)put;
		while (count > 0 && (size_t)put >= parts->iov_len) {
			put -= (ssize_t)parts->iov_len;
			parts++;
			count--;
		}
		if (count > 0) {
			parts->iov_base = (char *)parts->iov_base + put;
			parts->iov_len -= (size_t)put;
		}
	}
	return 0;
}

static int write_record(struct journal *journal, const struct wire_stream *head, const void *stored)
{
	uint64_t sequence = journal->end.sequence + 1;
	uint32_t length = (uint32_t)sizeof(*head) + head->stored_bytes;
	struct journal_record record;
	struct {
		le64 checksum;
		uint8_t zeroes[JOURNAL_ALIGN];
	} tail = {0};
	struct iovec parts[] = {
		{&record, sizeof(record)},
		{(void *)(uintptr_t)head, sizeof(*head)},
		{(void *)(uintptr_t)stored, head->stored_bytes},
		{&tail, JOURNAL_RECORD_BYTES(length) - sizeof(record) - length},
	};

	journal_record_make(&record, journal->id, sequence, journal->durable.sequence, length);
	tail.checksum = journal_record_checksum(&record, head, stored);
	return write_parts(journal, parts, sizeof(parts) / sizeof(parts[0]));
}

static int check_order(const struct journal *journal, const struct wire_stream *head,
		       struct fault *fault)
{
	const struct journal_place *last = &journal->end.place;

	if (!journal_head_is_valid(head, (uint32_t)sizeof(*head) + head->stored_bytes))
		return fault_set(fault, FAULT_STOP, EPROTO,
				 "a batch of the stream has counts beyond the limits");
	if (journal->end.sequence > 0 && head->stream == last->stream &&
	    head->batch != last->batch + 1)
		return fault_set(fault, FAULT_RETRY, EPROTO,
				 "batch %llu of the stream came where %llu was due",
				 (unsigned long long)head->batch,
				 (unsigned long long)last->batch + 1);
	return 0;
}

static int set_cannot_append(const struct journal *journal, int error, struct fault *fault)
{
	if (is_full(error))
		return fault_set(fault, FAULT_RETRY, ENOSPC,
				 "no space for the journal %s: make room there", journal->folder);
	return fault_set(fault, FAULT_RETRY, -error, "the journal %s cannot be written: %s",
			 journal->folder, strerror(-error));
}

/* The old one is durable before there is a new one: see the scan. */
static int next_segment(struct journal *journal, struct fault *fault)
{
	int error = sync_segment(journal, fault);

	if (error)
		return error;
	error = journal_segment_add(journal, journal->end.sequence + 1);
	return error ? set_cannot_append(journal, error, fault) : 0;
}

/* Nothing was appended when it fails. */
static int append_record(struct journal *journal, const struct wire_stream *head,
			 const void *stored, struct fault *fault)
{
	struct journal_place place = {head->stream, head->batch, head->to};
	int error = write_record(journal, head, stored);

	if (!error) {
		os_mutex_lock(&journal->lock);
		error = journal_run_note(journal, journal->end.sequence + 1, head);
		os_mutex_unlock(&journal->lock);
	}
	if (error) {
		if (ftruncate(journal->fd, (off_t)journal->position) != 0)
			return set_broken(journal, -errno, fault);
		return set_cannot_append(journal, error, fault);
	}
	journal->position += JOURNAL_RECORD_BYTES(sizeof(*head) + head->stored_bytes);
	journal->end = (struct journal_end){journal->end.sequence + 1, place};
	os_mutex_lock(&journal->lock);
	journal->files[journal->file_count - 1].bytes = journal->position;
	os_mutex_unlock(&journal->lock);
	return 0;
}

/* The newest segment holds nothing that the targets lack, but its room, which is that of the file system. */
static bool is_spent(struct journal *journal)
{
	bool is_applied;

	os_mutex_lock(&journal->lock);
	is_applied = journal->applied.sequence == journal->end.sequence;
	os_mutex_unlock(&journal->lock);
	return is_applied && journal->position > sizeof(struct journal_segment);
}

static int exchange_segment(struct journal *journal, struct fault *fault)
{
	char path[PATH_MAX];
	int error;

	spare_path(journal, path);
	unlink(path);
	error = next_segment(journal, fault);
	if (!error) {
		os_mutex_lock(&journal->lock);
		journal_forget(journal);
		os_mutex_unlock(&journal->lock);
	}
	make_spare(journal);
	return error;
}

int journal_append(struct journal *journal, const struct wire_stream *head, const void *stored,
		   struct fault *fault)
{
	int error;

	if (journal->is_broken)
		return fault_set(fault, FAULT_RETRY, EIO,
				 "the journal %s failed before and has to be opened anew",
				 journal->folder);
	error = check_order(journal, head, fault);
	if (!error && journal->position >= journal->segment_bytes)
		error = next_segment(journal, fault);
	if (!error)
		error = append_record(journal, head, stored, fault);
	if (error != -ENOSPC || !is_spent(journal))
		return error;
	error = exchange_segment(journal, fault);
	return error ? error : append_record(journal, head, stored, fault);
}

int journal_sync(struct journal *journal, struct journal_place *ret_durable, struct fault *fault)
{
	int error = 0;

	if (journal->is_broken)
		return fault_set(fault, FAULT_RETRY, EIO,
				 "the journal %s failed before and has to be opened anew",
				 journal->folder);
	if (journal->durable.sequence != journal->end.sequence)
		error = sync_segment(journal, fault);
	if (!error)
		*ret_durable = journal->end.place;
	return error;
}

bool journal_is_broken(const struct journal *journal)
{
	return journal->is_broken;
}

uint64_t journal_bytes(struct journal *journal)
{
	uint64_t bytes = 0;

	os_mutex_lock(&journal->lock);
	for (unsigned int i = 0; i < journal->file_count; i++)
		bytes += journal->files[i].bytes;
	os_mutex_unlock(&journal->lock);
	return bytes;
}
