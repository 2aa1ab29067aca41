/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making and checking what history_format.h lays out, without I/O. After a check returned true, every
 * length and number in it lies within the named limits (I10).
 */
#ifndef BLKFERRY_RECEIVER_HISTORY_RECORD_H
#define BLKFERRY_RECEIVER_HISTORY_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "receiver/history_format.h"

struct compressor;

void history_log_make(struct history_log *log, uint64_t id);
bool history_log_is_valid(const struct history_log *log);
void history_entry_seal(struct history_entry *entry, uint64_t id);
bool history_entry_is_valid(const struct history_entry *entry, uint64_t id);
/* Never written. */
bool history_entry_is_free(const struct history_entry *entry);

void history_undo_make(struct history_undo *undo, uint64_t id, uint64_t first, uint64_t last);
bool history_undo_is_valid(const struct history_undo *undo, uint64_t id);

/* A record of one block of HISTORY_BLOCK_BYTES; out has room for HISTORY_RECORD_MAX. Returns its size in
 * the file. seed: id + first serial. */
size_t history_record_make(void *out, struct compressor *compressor, uint64_t seed,
			   unsigned int disk, uint64_t block, const void *data, uint64_t synced);
size_t history_record_make_end(void *out, uint64_t seed, uint64_t records);
/* Gives a valid record in place another seed and synced: it moves to another file. */
void history_record_move(void *record, uint64_t seed, uint64_t synced);
/* Checks a record that begins at bytes, of which size are there. Its size in the file, or 0. */
size_t history_record_check(const void *bytes, size_t size, uint64_t seed);
/* The block of a valid record, not END. 0 or -EBADMSG. */
int history_record_restore(const void *record, void *data);
/* Does anything in these bytes (aligned) say that the file was durable beyond position? */
bool history_bytes_vouch_for(const void *bytes, size_t size, uint64_t seed, uint64_t position);

void history_index_make(struct history_index *index, uint64_t id, uint64_t first, uint64_t last,
			uint64_t count, uint64_t undo_bytes, uint64_t entries_checksum);
bool history_index_is_valid(const struct history_index *index, uint64_t id, uint64_t first,
			    uint64_t last, uint64_t file_bytes);
/* Sorted, without doubles, positions inside the undo file, and the checksum. */
bool history_index_entries_are_valid(const struct history_index *index,
				     const struct history_index_entry *entries);
/* How many of the sorted entries have a key below this one. */
uint64_t history_index_find(const struct history_index_entry *entries, uint64_t count,
			    uint64_t key);

#endif
