// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The history after power cuts. fsync and fdatasync below stand in libc's place: they note what is durable, and
 * at a chosen one of them the power goes: what the disk had then is put together (what is durable, and of
 * what is not any sectors, any names), likewise the target's blocks; the running history is thrown away. After
 * that the journal's batches since some earlier place are replayed. Whatever happened, every checkpoint that is
 * listed reads as its copy, and none that was confirmed is missing.
 */
#include "tests/unit/receiver/history_fixture.h"

#include <dirent.h>
#include <sys/syscall.h>

#define FILES_MAX 512u
#define OPS_MAX	  4096u

struct content {
	uint8_t *bytes;
	size_t size;
};

/* A file that was ever seen; its link in the shadow folder keeps the inode number its own. */
struct shadow {
	ino_t inode;
	struct content durable;
};
static struct shadow shadows[FILES_MAX];
static unsigned int shadow_count;

struct named {
	char name[64];
	ino_t inode;
};
struct listing {
	struct named files[FILES_MAX];
	unsigned int count;
};
static struct listing durable_names, found_names;

static bool is_recording, has_crashed;
static unsigned int syncs_left; /* until the power goes */
static char shadow_folder[96], crash_folder[96];
static uint8_t crash_target[ALL_BYTES];

static struct shadow *shadow_of(ino_t inode)
{
	for (unsigned int i = 0; i < shadow_count; i++)
		if (shadows[i].inode == inode)
			return &shadows[i];
	assert_true(shadow_count < FILES_MAX);
	shadows[shadow_count] = (struct shadow){.inode = inode};
	return &shadows[shadow_count++];
}

static void read_content(int fd, struct content *content)
{
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	free(content->bytes);
	content->size = (size_t)status.st_size;
	content->bytes = malloc(content->size + 1);
	assert_int_equal(pread(fd, content->bytes, content->size, 0), content->size);
}

static void list_folder(struct listing *listing)
{
	DIR *stream = opendir(folder);
	struct dirent *entry;

	listing->count = 0;
	if (!stream)
		return;
	while ((entry = readdir(stream))) {
		char path[400], link_path[128];

		if (entry->d_name[0] == '.')
			continue;
		assert_true(listing->count < FILES_MAX);
		snprintf(listing->files[listing->count].name, sizeof(listing->files[0].name),
			 "%.63s", entry->d_name);
		listing->files[listing->count++].inode = entry->d_ino;
		(void)shadow_of(entry->d_ino);
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		snprintf(link_path, sizeof(link_path), "%s/%lu", shadow_folder,
			 (unsigned long)entry->d_ino);
		(void)!link(path, link_path);
	}
	closedir(stream);
}

/* What a file may have after the cut: each sector that differs is the durable or the current one. */
static void write_torn(const struct named *named)
{
	struct shadow *shadow = shadow_of(named->inode);
	struct content now = {0};
	char path[256];
	size_t size;
	int fd;

	snprintf(path, sizeof(path), "%s/%lu", shadow_folder, (unsigned long)named->inode);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	read_content(fd, &now);
	close(fd);
	size = now.size;
	if (now.size > shadow->durable.size)
		size = shadow->durable.size +
		       random_below((unsigned int)(now.size - shadow->durable.size) + 1);
	for (size_t sector = 0; sector < size; sector += 512) {
		if (random_below(2))
			continue;
		for (size_t at = sector; at < sector + 512 && at < size; at++)
			now.bytes[at] = at < shadow->durable.size ? shadow->durable.bytes[at] : 0;
	}
	snprintf(path, sizeof(path), "%s/%s", crash_folder, named->name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, now.bytes, size), size);
	close(fd);
	free(now.bytes);
}

static void crash(void)
{
	const struct listing *names = random_below(2) ? &durable_names : &found_names;

	has_crashed = true;
	list_folder(&found_names);
	os_folder_remove(crash_folder);
	assert_int_equal(mkdir(crash_folder, 0700), 0);
	for (unsigned int i = 0; i < names->count; i++)
		write_torn(&names->files[i]);
	memcpy(crash_target, target, ALL_BYTES);
	for (size_t at = 0; at < ALL_BYTES; at += 512)
		if (random_below(2))
			memcpy(crash_target + at, flushed + at, 512);
}

static void before_sync(int fd)
{
	if (!is_recording || has_crashed)
		return;
	list_folder(&found_names);
	if (syncs_left-- == 0)
		crash();
}

static void after_sync(int fd)
{
	struct stat status;

	if (!is_recording || has_crashed || fstat(fd, &status) != 0)
		return;
	if (S_ISDIR(status.st_mode)) {
		list_folder(&durable_names);
	} else {
		struct shadow *shadow = shadow_of(status.st_ino);

		char path[64];
		int again;

		snprintf(path, sizeof(path), "/proc/self/fd/%d",
			 fd); /* it may be for writing only */
		again = open(path, O_RDONLY);
		assert_true(again >= 0);
		read_content(again, &shadow->durable);
		close(again);
	}
}

int fdatasync(int fd)
{
	before_sync(fd);
	after_sync(fd);
	return 0;
}

int fsync(int fd)
{
	return fdatasync(fd);
}

static void forget_shadows(void)
{
	for (unsigned int i = 0; i < shadow_count; i++)
		free(shadows[i].durable.bytes);
	shadow_count = 0;
	os_folder_remove(shadow_folder);
	assert_int_equal(mkdir(shadow_folder, 0700), 0);
}

/* All that is there counts as durable now. */
static void start_recording(void)
{
	forget_shadows();
	list_folder(&durable_names);
	for (unsigned int i = 0; i < durable_names.count; i++) {
		char path[256];
		int fd;

		snprintf(path, sizeof(path), "%s/%s", folder, durable_names.files[i].name);
		fd = open(path, O_RDONLY);
		assert_true(fd >= 0);
		read_content(fd, &shadow_of(durable_names.files[i].inode)->durable);
		close(fd);
	}
	has_crashed = false;
	is_recording = true;
}

/* The stream: what the journal has, from the beginning of a round. */
struct op {
	enum { OP_WRITE = 1, OP_MARK, OP_CONFIRM } kind;
	unsigned int disk, seed;
	uint64_t offset, length, number;
};
static struct op ops[OPS_MAX];
static unsigned int op_count;
static uint64_t listed[MARKS_MAX]; /* checkpoints that have to be there after a cut */
static unsigned int listed_count;

static void apply(const struct op *op)
{
	switch (op->kind) {
	case OP_WRITE:
		write_bytes(op->disk, op->offset, op->length, op->seed);
		break;
	case OP_MARK:
		flush_target();
		if (!is_recording) /* in a replay a copy is there already, and has to fit */
			assert_non_null(copies[op->number]);
		else
			note_copy(op->number);
		if (history_mark(history, op->number, op->number * NS_PER_S, 0, &fault) != 0)
			fail_msg("%s", fault.text);
		break;
	case OP_CONFIRM:
		if (history_confirm(history, op->number, &fault) != 0)
			fail_msg("%s", fault.text);
		break;
	}
}

static struct op random_op(void)
{
	unsigned int what = random_below(10);
	struct op op = {.kind = OP_WRITE, .seed = random_below(1u << 30)};

	if (what < 2) {
		op.kind = OP_MARK;
		op.number = next_mark++;
	} else if (what < 4 && next_mark > 1) {
		op.kind = OP_CONFIRM;
		op.number = next_mark - 1;
	} else {
		op.disk = random_below(DISKS);
		op.offset = random_below((unsigned int)(disk_bytes[op.disk] / 512)) * 512u;
		op.length = 512u * (1 + random_below(20));
		if (op.length > disk_bytes[op.disk] - op.offset)
			op.length = disk_bytes[op.disk] - op.offset;
	}
	return op;
}

/* What is listed now has to be there after a cut; of an op under way, what was there before it and is after. */
static void note_listed(bool is_under_way)
{
	struct history_point *points;
	unsigned int count, kept = 0;

	assert_int_equal(history_list(history, &points, &count), 0);
	for (unsigned int i = 0; i < count; i++) {
		bool was_listed = !is_under_way;

		for (unsigned int k = 0; k < listed_count; k++)
			was_listed = was_listed || listed[k] == points[i].number;
		points[i].number = was_listed ? points[i].number : 0;
	}
	for (unsigned int i = 0; i < count; i++)
		if (points[i].number > 0)
			listed[kept++] = points[i].number;
	listed_count = kept;
	free(points);
}

/* Runs until the power goes. Returns the number of ops that had been done. */
static unsigned int run_until_crash(bool is_thinning)
{
	start_recording();
	for (op_count = 0; !has_crashed && op_count < OPS_MAX; op_count++) {
		ops[op_count] = random_op();
		apply(&ops[op_count]);
		note_listed(has_crashed);
		if (!has_crashed && is_thinning && random_below(20) == 0) {
			assert_int_equal(history_thin(history, next_mark * NS_PER_S, &fault), 0);
			note_listed(has_crashed);
		}
	}
	is_recording = false;
	return op_count;
}

static void power_up(void)
{
	char command[256];

	history_close(history);
	os_folder_remove(folder);
	snprintf(command, sizeof(command), "cp -r %s %s", crash_folder, folder);
	assert_int_equal(system(command), 0);
	memcpy(target, crash_target, ALL_BYTES);
	open_it();
}

/* From the last flush of before the crash, or from an older place: a mark, flushed, is one. */
static unsigned int replay_from(void)
{
	unsigned int marks = random_below(3), at = op_count;

	while (at > 0) {
		at--;
		if (ops[at].kind == OP_MARK && ops[at].number <= history_newest_mark(history) &&
		    marks-- == 0)
			return at;
	}
	return 0;
}

static void crash_and_replay(bool is_thinning)
{
	unsigned int from;

	run_until_crash(is_thinning);
	power_up();
	for (unsigned int i = 0; i < listed_count; i++)
		if (!has_point(listed[i]))
			fail_msg("checkpoint #%d is gone", (int)listed[i]);
	from = replay_from();
	/* What was read before the replay is right already: as of its mark, whatever the target has lost,
	 * as soon as the replay has passed the newest mark. */
	for (unsigned int i = from; i < op_count; i++) {
		apply(&ops[i]);
		if (random_below(10) == 0)
			reopen();
	}
	check_points();
}

static void rounds(unsigned int count, unsigned int syncs, bool is_thinning)
{
	static const struct history_rule rules[] = {{10 * NS_PER_S, NS_PER_S},
						    {40 * NS_PER_S, 5 * NS_PER_S},
						    {200 * NS_PER_S, 40 * NS_PER_S}};

	setup.rules = rules;
	setup.rule_count = is_thinning ? 3 : 0;
	for (unsigned int round = 0; round < count; round++) {
		reopen();
		if (round % 10 == 0) {
			assert_int_equal(history_clear(history, &fault), 0);
			reopen();
		}
		note_listed(false);
		syncs_left = random_below(syncs);
		crash_and_replay(is_thinning);
		if (next_mark > MARKS_MAX - 200) {
			history_close(history);
			os_folder_remove(folder);
			next_mark = 1;
			open_it();
		}
	}
}

static void a_power_cut_at_any_sync_leaves_every_checkpoint(void **state)
{
	rounds(150, 60, false);
}

static void a_power_cut_while_thinning_leaves_what_was_kept(void **state)
{
	rounds(120, 150, true);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		TEST(a_power_cut_at_any_sync_leaves_every_checkpoint),
		TEST(a_power_cut_while_thinning_leaves_what_was_kept),
	};
	int failed;

	begin();
	snprintf(shadow_folder, sizeof(shadow_folder), "%s/shadow", top);
	snprintf(crash_folder, sizeof(crash_folder), "%s/crash", top);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	forget_shadows();
	finish();
	return failed;
}
