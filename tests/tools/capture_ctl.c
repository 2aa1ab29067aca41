/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opens the tracker with capture as an agent would, does what it is told, and closes it (what is pinned goes on).
 *
 * Usage: capture_ctl -p PIN_FOLDER [-s STATE_FOLDER] [-r RING_BYTES] DISK... -- COMMAND...
 *        capture_ctl apply LOG RECORDS IMAGE...
 *
 *   start, stop        capturing
 *   status             a line of key=value
 *   follow IMAGE       writes each record to its disk's image (IMAGE.0, IMAGE.1 ...) and releases it, until
 *                      SIGTERM; then what has been produced by then, and ends
 *   log FILE           the same, into a log: what was captured, and nothing else
 *   stream FILE        the same; holes are read back from the disk and their blocks logged as well. FILE.marks:
 *                      after how many records there was a state that a power cut could have left
 *   reread IMAGE       copies what the bits list from the disks to the images, and clears the bits
 *   take               moves dirty bits to todo
 *   settle             waits until the requests on their way have settled
 *   spill              turns what is in the ring into bits
 *   remove             ends tracking; must come last
 * apply writes the first RECORDS records of a log to the images. Exit status 4: capture cannot be had.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>

#include "agent/capture.h"
#include "common/log.h"
#include "common/os_clock.h"
#include "tests/tools/capture_log.h"
#include "tests/tools/tracker_tool.h"

static struct tracker *tracker;
static struct capture *capture;
static struct tracked_disk disks[TRACKER_DISKS_MAX];
static unsigned int disk_count;
static int images[TRACKER_DISKS_MAX];
static FILE *log_file, *marks_file;
static uint64_t logged; /* records */
static volatile sig_atomic_t is_ending;

static void end_soon(int number)
{
	(void)number;
	is_ending = 1;
}

static void write_at(int fd, const void *data, uint64_t length, uint64_t offset)
{
	if (pwrite(fd, data, length, (off_t)offset) != (ssize_t)length)
		err(2, "image");
}

static void write_zeroes(int fd, uint64_t length, uint64_t offset)
{
	static const uint8_t zeroes[64 << 10];

	while (length > 0) {
		uint64_t part = length < sizeof(zeroes) ? length : sizeof(zeroes);

		write_at(fd, zeroes, part, offset);
		offset += part;
		length -= part;
	}
}

static void apply_record(const struct capture_log_head *head, const uint8_t *data)
{
	if (head->kind == CAPTURE_ZERO)
		write_zeroes(images[head->disk], head->length, head->offset);
	else
		write_at(images[head->disk], data, head->length, head->offset);
}

static void open_images(const char *name, unsigned int count)
{
	char path[4096];

	for (unsigned int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s.%u", name, i);
		images[i] = open(path, O_RDWR | O_CLOEXEC);
		if (images[i] < 0)
			err(2, "%s", path);
	}
}

static void put(const struct capture_record *record)
{
	struct capture_log_head head = {.kind = record->kind,
					.disk = record->disk,
					.offset = record->offset,
					.length = record->length,
					.position = record->position,
					.end = record->end,
					.holes = record->holes};

	logged++;
	if (!log_file) {
		apply_record(&head, record->data);
	} else if (fwrite(&head, sizeof(head), 1, log_file) != 1 ||
		   (record->kind == CAPTURE_DATA &&
		    fwrite(record->data, record->length, 1, log_file) != 1)) {
		err(2, "log");
	}
}

/* Copies what the bits list, in pieces, by put. Returns how many bytes. */
static uint64_t copy_listed(void)
{
	static uint8_t block[TRACKER_BLOCK_BYTES_MAX] __attribute__((aligned(4096)));
	static struct capture_record record;
	uint64_t bytes = 0;

	for (unsigned int i = 0; i < disk_count; i++) {
		uint64_t block_bytes = tracker->ops->block_bytes(tracker, i), first, count;
		int fd = open(disks[i].path, O_RDONLY | O_DIRECT | O_CLOEXEC);
		struct bitmap dirty, todo;

		if (fd < 0 || capture_take(capture, i, NULL) < 0)
			err(2, "%s", disks[i].path);
		tracker->ops->bitmaps(tracker, i, &dirty, &todo);
		while (bitmap_next_run(&todo, 0, 1, &first, &count)) {
			uint64_t offset = first * block_bytes;
			ssize_t got = pread(fd, block, block_bytes, (off_t)offset);

			if (got <= 0)
				err(2, "%s", disks[i].path);
			for (uint64_t at = 0; at < (uint64_t)got; at += record.length) {
				record.kind = CAPTURE_DATA;
				record.disk = i;
				record.offset = offset + at;
				record.length = (uint64_t)got - at < CAPTURE_PIECE_BYTES
							? (uint64_t)got - at
							: CAPTURE_PIECE_BYTES;
				memcpy(record.data, block + at, record.length);
				put(&record);
			}
			bitmap_clear(&todo, first, 1);
			bytes += (uint64_t)got;
		}
		close(fd);
	}
	return bytes;
}

/* A place in the stream that may be consistent: what was produced when it was made, and the requests that were
 * on their way then. */
static struct mark {
	bool is_made, is_reached;
	uint64_t position, records, holes;
	struct capture_notes *notes;
} mark;
static uint64_t copied_holes; /* those whose blocks are in the log */

static void tend_mark(uint64_t position)
{
	uint64_t holes = capture_holes(capture);

	if (!marks_file)
		return;
	if (mark.is_made && mark.is_reached && capture_notes_have_settled(capture, mark.notes)) {
		mark.is_made = false;
		holes = capture_holes(capture);
		if (holes == mark.holes)
			fprintf(marks_file, "%" PRIu64 "\n", mark.records);
	}
	if (holes != copied_holes) {
		/* After the copies, what was captured while they were read is in the ring (I5). */
		(void)copy_listed();
		copied_holes = holes;
		mark.is_made = false;
	}
	if (mark.is_made || capture_holes(capture) != copied_holes)
		return;
	mark.position = capture_produced(capture);
	mark.holes = copied_holes;
	mark.is_reached = mark.position <= position;
	mark.records = logged;
	capture_notes_take(capture, mark.notes);
	mark.is_made = true;
}

static void reach_mark(uint64_t position)
{
	if (!mark.is_made || mark.is_reached || position < mark.position)
		return;
	mark.is_reached = true;
	mark.records = logged;
}

static void follow(void)
{
	struct sigaction action = {.sa_handler = end_soon};
	uint64_t position = capture_released(capture), records = 0, bytes = 0, end = UINT64_MAX;
	static struct capture_record record;

	sigaction(SIGTERM, &action, NULL);
	puts("following");
	fflush(stdout);
	while (position < end) {
		while (capture_next(capture, &position, &record)) {
			put(&record);
			reach_mark(position);
			records++;
			bytes += record.length;
			if (records % 64 == 0)
				capture_release(capture, position);
		}
		capture_release(capture, position);
		tend_mark(position);
		if (is_ending && end == UINT64_MAX)
			end = capture_produced(capture);
		if (position < end)
			os_sleep_ns(2 * NS_PER_MS);
	}
	if ((log_file && fclose(log_file) != 0) || (marks_file && fclose(marks_file) != 0))
		err(2, "log");
	printf("records=%" PRIu64 " bytes=%" PRIu64 "\n", records, bytes);
}

static void reread(void)
{
	printf("reread=%" PRIu64 "\n", copy_listed());
}

static void settle(void)
{
	struct capture_notes *notes;
	uint64_t deadline = os_monotonic_ns() + 60 * NS_PER_S;

	if (capture_notes_new(capture, &notes) < 0)
		err(2, "notes");
	capture_notes_take(capture, notes);
	while (!capture_notes_have_settled(capture, notes)) {
		if (os_monotonic_ns() > deadline)
			errx(1, "requests do not settle");
		os_sleep_ns(NS_PER_MS);
	}
	capture_notes_free(notes);
	puts("settled");
}

static void open_log(const char *name)
{
	log_file = fopen(name, "w");
	if (!log_file)
		err(2, "log");
}

static void open_marks(const char *name)
{
	char marks_name[4096];

	snprintf(marks_name, sizeof(marks_name), "%s.marks", name);
	marks_file = fopen(marks_name, "w");
	if (!marks_file || capture_notes_new(capture, &mark.notes) < 0)
		err(2, "marks");
	copied_holes = capture_holes(capture);
}

static void print_status(void)
{
	static const char *const modes[] = {"?", "off", "on", "full"};
	uint64_t dirty = 0;

	for (unsigned int i = 0; i < disk_count; i++) {
		struct bitmap dirty_map, todo;

		tracker->ops->bitmaps(tracker, i, &dirty_map, &todo);
		dirty += bitmap_count(&dirty_map);
	}
	printf("mode=%s stream=%016" PRIx64 " ring=%" PRIu64 " produced=%" PRIu64
	       " released=%" PRIu64 " holes=%" PRIu64 " dirty=%" PRIu64 " missed=%" PRIu64
	       " last_hole=%s\n",
	       modes[capture_get_mode(capture)], capture_stream_id(capture),
	       capture_ring_bytes(capture), capture_produced(capture), capture_released(capture),
	       capture_holes(capture), dirty, tracker->ops->missed_runs(tracker),
	       capture_hole_name(capture_last_hole(capture)));
}

static void run(char **argv)
{
	struct fault fault;

	while (*argv) {
		const char *command = *argv++;

		if (strcmp(command, "start") == 0) {
			capture_start(capture);
		} else if (strcmp(command, "stop") == 0) {
			capture_stop(capture);
		} else if (strcmp(command, "status") == 0) {
			print_status();
		} else if (strcmp(command, "follow") == 0) {
			open_images(next_word(&argv), disk_count);
			follow();
		} else if (strcmp(command, "log") == 0) {
			open_log(next_word(&argv));
			follow();
		} else if (strcmp(command, "stream") == 0) {
			if (*argv)
				open_marks(*argv);
			open_log(next_word(&argv));
			follow();
		} else if (strcmp(command, "reread") == 0) {
			open_images(next_word(&argv), disk_count);
			reread();
		} else if (strcmp(command, "take") == 0) {
			for (unsigned int i = 0; i < disk_count; i++)
				(void)capture_take(capture, i, &fault);
		} else if (strcmp(command, "settle") == 0) {
			settle();
		} else if (strcmp(command, "spill") == 0) {
			if (capture_spill(capture, capture_released(capture), &fault) < 0)
				errx(1, "%s", fault.text);
		} else if (strcmp(command, "remove") == 0) {
			tracker->ops->remove(tracker);
			exit(0);
		} else {
			errx(2, "no such command: %s", command);
		}
		fflush(stdout);
	}
}

static int apply(char **argv)
{
	static uint8_t data[CAPTURE_PIECE_BYTES];
	FILE *file = fopen(next_word(&argv), "r");
	uint64_t most = strtoull(next_word(&argv), NULL, 0), done = 0;
	struct capture_log_head head;

	while (*argv && disk_count < TRACKER_DISKS_MAX) {
		images[disk_count] = open(*argv++, O_RDWR | O_CLOEXEC);
		if (images[disk_count++] < 0)
			err(2, "image");
	}
	if (!file)
		err(2, "log");
	for (; done < most && fread(&head, sizeof(head), 1, file) == 1; done++) {
		if (head.disk >= disk_count ||
		    (head.kind == CAPTURE_DATA &&
		     (head.length > sizeof(data) || fread(data, head.length, 1, file) != 1)))
			errx(2, "the log is damaged");
		apply_record(&head, data);
	}
	printf("applied=%" PRIu64 "\n", done);
	return 0;
}

int main(int argc, char **argv)
{
	struct tracker_options options = {
		.state_folder = "/nonexistent", .bitmap_bytes = 16 << 20, .ring_bytes = 32 << 20};
	const char *why_not = NULL;
	struct fault fault;
	int option;

	log_init("capture_ctl", LOG_LEVEL_DEBUG);
	if (argc > 1 && strcmp(argv[1], "apply") == 0)
		return apply(argv + 2);
	while ((option = getopt(argc, argv, "+p:s:r:")) != -1) {
		if (option == 'p')
			options.pin_folder = optarg;
		else if (option == 's')
			options.state_folder = optarg;
		else if (option == 'r')
			options.ring_bytes = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	if (!options.pin_folder)
		errx(2, "-p is missing");
	disk_count = describe_disks(argv, &optind, disks);
	if (tracker_bpf_open(&options, disks, disk_count, &tracker, &fault) < 0)
		errx(3, "%s", fault.text);
	capture = tracker->ops->capture(tracker, &why_not);
	if (!capture)
		errx(4, "%s", why_not);
	run(argv + optind);
	tracker->ops->close(tracker);
	return 0;
}
