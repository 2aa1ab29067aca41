/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the agent asks of Linux, for the shell tests:
 *   platform fsmap DISK BLOCK_BYTES COPY   copies the blocks that are not free into COPY; the note,
 *                                          then "copied N of M"
 *   platform swap DISK                     swap ranges, "OFFSET LENGTH" a line
 *   platform read DISK COPY                copies all through the reader; "read by NAME"
 *   platform freeze DISKS TIMEOUT_MS       "check: ..." and "frozen: ..." or "failed: ...", then obeys
 *                                          lines of standard input: commit FENCE, uncommit, thaw, state,
 *                                          quit. Nothing here ever ends the machine: a fence writes its
 *                                          name to the file $FENCED instead
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/linux/freeze.h"
#include "agent/platform.h"
#include "agent/reader.h"
#include "common/bitmap.h"
#include "common/os_clock.h"

#define READ_BYTES 65536u
#define READ_DEPTH 8u

static void die(const char *text)
{
	fprintf(stderr, "platform: %s\n", text);
	exit(1);
}

static unsigned int find(const char *wanted, struct tracked_disk *disks)
{
	struct found_disk *found;
	unsigned int count, chosen = 0;
	struct fault fault;

	if (disks_find(wanted, &found, &count, &fault) < 0)
		die(fault.text);
	for (unsigned int i = 0; i < count; i++)
		if (found[i].is_chosen)
			disks[chosen++] = found[i].disk;
	free(found);
	return chosen;
}

static void copy_bytes(int from, int to, uint64_t offset, uint64_t length, char *buffer)
{
	if (pread(from, buffer, length, (off_t)offset) != (ssize_t)length ||
	    pwrite(to, buffer, length, (off_t)offset) != (ssize_t)length)
		die("copying failed");
}

static int open_copy(const char *path, uint64_t size_bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)size_bytes) < 0)
		die("cannot make the copy");
	return fd;
}

static int run_fsmap(char **arguments)
{
	struct tracked_disk disks[TRACKER_DISKS_MAX];
	uint32_t block_bytes = (uint32_t)atoi(arguments[1]);
	struct bitmap blocks;
	struct fault fault;
	char note[512];
	uint64_t first, count;
	int from, to;
	char *buffer = aligned_alloc(4096, block_bytes);

	find(arguments[0], disks);
	blocks.bits = (disks[0].size_bytes + block_bytes - 1) / block_bytes;
	blocks.words = calloc(bitmap_words(blocks.bits), sizeof(*blocks.words));
	bitmap_set(&blocks, 0, blocks.bits);
	if (fsmap_clear_free(&disks[0], block_bytes, &blocks, note, sizeof(note), &fault) < 0)
		die(fault.text);
	puts(note);
	if (reader_open_disk(disks[0].path, &from, &fault) < 0)
		die(fault.text);
	to = open_copy(arguments[2], disks[0].size_bytes);
	for (uint64_t at = 0; bitmap_next_run(&blocks, at, 1, &first, &count); at = first + 1) {
		uint64_t offset = first * block_bytes;
		uint64_t left = disks[0].size_bytes - offset;

		copy_bytes(from, to, offset, left < block_bytes ? left : block_bytes, buffer);
	}
	printf("copied %llu of %llu\n", (unsigned long long)bitmap_count(&blocks),
	       (unsigned long long)blocks.bits);
	free(buffer);
	free(blocks.words);
	return 0;
}

static int run_swap(char **arguments)
{
	struct tracked_disk disks[TRACKER_DISKS_MAX];
	struct swap_range ranges[SWAP_RANGES_MAX];
	unsigned int count;
	struct fault fault;

	find(arguments[0], disks);
	if (swap_ranges(&disks[0], ranges, &count, &fault) < 0)
		die(fault.text);
	for (unsigned int i = 0; i < count; i++)
		printf("%llu %llu\n", (unsigned long long)ranges[i].offset,
		       (unsigned long long)ranges[i].length);
	return 0;
}

static int run_read(char **arguments)
{
	struct tracked_disk disks[TRACKER_DISKS_MAX];
	struct read_request requests[READ_DEPTH] = {{0}}, *request;
	struct reader *reader;
	struct fault fault;
	uint64_t next = 0;
	int from, to;

	find(arguments[0], disks);
	if (reader_open_disk(disks[0].path, &from, &fault) < 0)
		die(fault.text);
	to = open_copy(arguments[1], disks[0].size_bytes);
	if (reader_new(&from, 1, READ_DEPTH, &reader) < 0)
		die("no reader");
	for (unsigned int i = 0; i < READ_DEPTH; i++)
		requests[i].buffer = aligned_alloc(4096, READ_BYTES);
	for (unsigned int i = 0;; i++) {
		request = i < READ_DEPTH ? &requests[i] : reader_wait(reader);
		if (!request)
			break;
		if (request->error)
			die(strerror(request->error));
		if (request->length && pwrite(to, request->buffer, request->length,
					      (off_t)request->offset) != (ssize_t)request->length)
			die("writing the copy failed");
		if (next >= disks[0].size_bytes)
			continue;
		request->offset = next;
		request->length = READ_BYTES;
		if (disks[0].size_bytes - next < READ_BYTES)
			request->length = (uint32_t)(disks[0].size_bytes - next);
		next += request->length;
		reader_submit(reader, request);
	}
	printf("read by %s\n", reader_name(reader));
	reader_free(reader);
	for (unsigned int i = 0; i < READ_DEPTH; i++)
		free(requests[i].buffer);
	return 0;
}

/* Runs in the watchdog. */
static int note_fence(enum fence_kind kind)
{
	const char *path = getenv("FENCED");
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;

	if (fd < 0)
		return -EIO;
	(void)!write(fd, fence_name(kind), strlen(fence_name(kind)));
	close(fd);
	return 0;
}

static int open_freezer(const struct tracked_disk *disks, unsigned int count,
			struct freezer **ret_freezer, struct fault *fault)
{
	static const struct freeze_ops ops = {freeze_method_freeze, freeze_method_thaw, note_fence};
	struct freeze_list list;
	int result = freeze_list_load(&system_roots_default, disks, count, &list, fault);

	if (result < 0)
		return result;
	result = freezer_open(&system_roots_default, &list, &ops, ret_freezer, fault);
	freeze_list_fini(&list);
	return result;
}

static void commit(struct freezer *freezer, const char *name)
{
	enum fence_kind fence;
	struct fault fault;

	if (fence_parse(name, &fence) < 0)
		die("no such fence");
	printf("%s\n", freezer_commit(freezer, fence, &fault) == 0 ? "committed" : fault.text);
}

static void obey(struct freezer *freezer, char *line)
{
	if (strncmp(line, "commit ", 7) == 0) {
		line[strcspn(line, "\n")] = '\0';
		commit(freezer, line + 7);
	} else if (strcmp(line, "uncommit\n") == 0)
		printf("%s\n", freezer_uncommit(freezer) == 0 ? "taken back" : "too late");
	else if (strcmp(line, "state\n") == 0)
		printf("%s\n", freezer_is_frozen(freezer) ? "is frozen" : "is not frozen");
	else if (strcmp(line, "thaw\n") == 0)
		freezer_thaw(freezer);
	fflush(stdout);
}

static int run_freeze(char **arguments)
{
	struct tracked_disk disks[TRACKER_DISKS_MAX];
	unsigned int count = find(arguments[0], disks);
	uint64_t timeout_ns = strtoull(arguments[1], NULL, 10) * NS_PER_MS;
	struct freezer *freezer;
	struct fault fault;
	uint64_t start_ns;
	char line[64];

	if (process_lock_memory(&fault) < 0 || open_freezer(disks, count, &freezer, &fault) < 0 ||
	    freezer_check(freezer, &fault) < 0)
		die(fault.text);
	printf("check: %u: %s\n", freezer_count(freezer), freezer_text(freezer));
	fflush(stdout);
	start_ns = os_monotonic_ns();
	if (freezer_freeze(freezer, start_ns + timeout_ns, &fault) < 0)
		printf("failed: %s\n", fault.text);
	else
		printf("frozen: watchdog %d, %llu us\n", (int)freezer_watchdog_pid(freezer),
		       (unsigned long long)(os_monotonic_ns() - start_ns) / 1000);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "quit\n") != 0)
		obey(freezer, line);
	freezer_free(freezer);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int arguments;
		int (*run)(char **arguments);
	} commands[] = {
		{"fsmap", 3, run_fsmap},
		{"swap", 1, run_swap},
		{"read", 2, run_read},
		{"freeze", 2, run_freeze},
	};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (argc == commands[i].arguments + 2 && strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argv + 2);
	die("see the head of tests/tools/platform.c");
}
