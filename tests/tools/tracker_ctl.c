/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opens the tracker as an agent would, does what it is told, and closes it (what is pinned goes on).
 *
 * Usage: tracker_ctl -p PIN_FOLDER [-s STATE_FOLDER] [-b BITMAP_BYTES] [-k bpf|scan] [-n] DISK... -- COMMAND...
 *   -n  says that the disks are not request-based
 *
 *   state              a line of key=value for each disk
 *   adopt              enters a replica in each disk's memory, as a session does that has listed all blocks
 *   take               moves dirty bits to todo
 *   forget             clears all of todo, as if all were acknowledged
 *   list DISK          the runs of marked blocks, in bytes: "offset length"
 *   covers DISK LOG    fails unless every range that a writer logged is marked
 *   only DISK LOG      fails if anything else is marked
 *   clear-suspect      of each disk
 *   hold               prints "holding" and waits to be killed
 *   remove             ends tracking; must come last
 */
#include <inttypes.h>
#include <stdbool.h>

#include "common/log.h"
#include "tests/tools/tracker_tool.h"

static struct tracker *tracker;
static struct tracked_disk disks[TRACKER_DISKS_MAX];
static unsigned int disk_count;

static void print_state(unsigned int disk)
{
	struct tracker_disk_state state;
	struct bitmap dirty, todo;
	struct fault fault;
	uint32_t block_bytes = tracker->ops->block_bytes(tracker, disk);

	if (tracker->ops->poll(tracker, disk, &state, &fault) < 0)
		errx(1, "poll: %s", fault.text);
	tracker->ops->bitmaps(tracker, disk, &dirty, &todo);
	printf("disk=%u continuous=%d suspect=%d dirty=%" PRIu64 " todo=%" PRIu64 " bits=%" PRIu64
	       " block=%u writes=%" PRIu64 " missed=%" PRIu64 " memory=%" PRIu64 " epoch=%" PRIu64
	       " why=%s\n",
	       disk, state.is_continuous, state.is_suspect, state.dirty_blocks, bitmap_count(&todo),
	       todo.bits, block_bytes, state.writes, tracker->ops->missed_runs(tracker),
	       tracker->ops->memory_bytes(tracker),
	       tracker->ops->memory(tracker, disk)->acked_epoch, state.why ? state.why : "-");
}

static void adopt(unsigned int disk)
{
	struct tracker_disk_memory *memory = tracker->ops->memory(tracker, disk);

	memset(memory->replica_id, 0x5a, sizeof(memory->replica_id));
	memory->acked_epoch = 7;
}

static void take(unsigned int disk)
{
	struct fault fault;

	if (tracker->ops->take(tracker, disk, &fault) < 0)
		errx(1, "take: %s", fault.text);
}

static void forget(unsigned int disk)
{
	struct bitmap dirty, todo;

	tracker->ops->bitmaps(tracker, disk, &dirty, &todo);
	bitmap_clear(&todo, 0, todo.bits);
}

static void clear_suspect(unsigned int disk)
{
	tracker->ops->clear_suspect(tracker, disk);
}

static struct bitmap taken(unsigned int disk)
{
	struct bitmap dirty, todo;

	take(disk);
	tracker->ops->bitmaps(tracker, disk, &dirty, &todo);
	return todo;
}

static void list(unsigned int disk)
{
	struct bitmap todo = taken(disk);
	uint64_t block_bytes = tracker->ops->block_bytes(tracker, disk);
	uint64_t first, count;

	for (uint64_t at = 0; bitmap_next_run(&todo, at, UINT64_MAX, &first, &count);
	     at = first + count)
		printf("%" PRIu64 " %" PRIu64 "\n", first * block_bytes, count * block_bytes);
}

/* Compares the marked blocks with what the log says was written. */
static void compare(unsigned int disk, const char *log_path, bool is_covers)
{
	struct bitmap todo = taken(disk);
	struct bitmap logged = {.words = calloc(bitmap_words(todo.bits), 8), .bits = todo.bits};
	uint64_t block_bytes = tracker->ops->block_bytes(tracker, disk);
	uint64_t wrong = 0, ranges = 0, first_wrong = 0;
	struct logged_range range;
	FILE *file = fopen(log_path, "r");

	if (!file || !logged.words)
		err(2, "%s", log_path);
	for (; fread(&range, sizeof(range), 1, file) == 1; ranges++)
		bitmap_set(&logged, range.offset / block_bytes,
			   (range.offset + range.length - 1) / block_bytes -
				   range.offset / block_bytes + 1);
	fclose(file);
	if (ranges == 0)
		errx(1, "%s is empty: nothing was tested", log_path);
	for (uint64_t bit = todo.bits; bit-- > 0;) {
		bool is_marked = bitmap_test(&todo, bit), is_logged = bitmap_test(&logged, bit);

		if (is_covers ? is_logged && !is_marked : is_marked && !is_logged) {
			wrong++;
			first_wrong = bit;
		}
	}
	printf("%" PRIu64 " ranges written, %" PRIu64 " blocks; %" PRIu64 " marked\n", ranges,
	       bitmap_count(&logged), bitmap_count(&todo));
	if (wrong)
		errx(1, "%" PRIu64 " blocks %s, the first at byte %" PRIu64, wrong,
		     is_covers ? "were written and are not marked" : "are marked without a write",
		     first_wrong * block_bytes);
	free(logged.words);
}

static void for_each_disk(void (*run)(unsigned int disk))
{
	for (unsigned int i = 0; i < disk_count; i++)
		run(i);
}

static void run(char **argv)
{
	while (*argv) {
		const char *command = *argv++;

		if (strcmp(command, "state") == 0) {
			for_each_disk(print_state);
		} else if (strcmp(command, "adopt") == 0) {
			for_each_disk(adopt);
		} else if (strcmp(command, "take") == 0) {
			for_each_disk(take);
		} else if (strcmp(command, "forget") == 0) {
			for_each_disk(forget);
		} else if (strcmp(command, "clear-suspect") == 0) {
			for_each_disk(clear_suspect);
		} else if (strcmp(command, "list") == 0) {
			list((unsigned int)atoi(next_word(&argv)));
		} else if (strcmp(command, "covers") == 0 || strcmp(command, "only") == 0) {
			unsigned int disk = (unsigned int)atoi(next_word(&argv));

			compare(disk, next_word(&argv), strcmp(command, "covers") == 0);
		} else if (strcmp(command, "hold") == 0) {
			puts("holding");
			fflush(stdout);
			for (;;)
				pause();
		} else if (strcmp(command, "remove") == 0) {
			tracker->ops->remove(tracker);
			exit(0);
		} else {
			errx(2, "no such command: %s", command);
		}
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	struct tracker_options options = {.state_folder = "/nonexistent", .bitmap_bytes = 16 << 20};
	bool is_scan = false, is_request_based = true;
	struct fault fault;
	int option, r;

	log_init("tracker_ctl", LOG_LEVEL_DEBUG);
	while ((option = getopt(argc, argv, "+p:s:b:k:n")) != -1) {
		if (option == 'p')
			options.pin_folder = optarg;
		else if (option == 's')
			options.state_folder = optarg;
		else if (option == 'b')
			options.bitmap_bytes = strtoull(optarg, NULL, 0);
		else if (option == 'k')
			is_scan = strcmp(optarg, "scan") == 0;
		else if (option == 'n')
			is_request_based = false;
		else
			return 2;
	}
	if (!options.pin_folder)
		errx(2, "-p is missing");
	disk_count = describe_disks(argv, &optind, disks);
	for (unsigned int i = 0; i < disk_count; i++)
		disks[i].is_request_based = is_request_based;
	r = is_scan ? tracker_scan_open(&options, disks, disk_count, &tracker, &fault)
		    : tracker_bpf_open(&options, disks, disk_count, &tracker, &fault);
	if (r < 0)
		errx(3, "%s (%s)", fault.text, strerror(-r));
	run(argv + optind);
	tracker->ops->close(tracker);
	return 0;
}
