// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The read path of views: the plugin's disk.c and link.c against view_socket.c, with a target that the test
 * makes up (it stands in for source.c), so that it can be overwritten at the worst moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/os_file.h"
#include "receiver/view_plugin/disk.h"
#include "receiver/view_plugin/source.h"
#include "receiver/view_socket.h"
#include "receiver/view_wire.h"

#define BLOCKS	   300u
#define DISK_BYTES (BLOCKS * VIEW_BLOCK_BYTES - 1024) /* not whole blocks */
#define MAP_OFFSET 4096u
#define DISK	   1u /* the socket's second one */

static char folder[] = "/tmp/blkferry-test-view.XXXXXX";
static char socket_path[64], map_path[64];
static unsigned char *map;	  /* this disk's bits */
static unsigned char *checkpoint; /* what the receiver holds */
static unsigned char *current;	  /* what the target holds */
static struct view_socket *server;
static struct view_disk *disk;
static struct fault fault;
static atomic_uint asked; /* requests that the receiver got */
static int receiver_error;

/* The target. */
static int source_error;
static void (*before_read)(void), (*after_read)(void);

int source_open(const char *target, uint64_t size_bytes, struct source **ret_source,
		struct fault *ret_fault)
{
	(void)target;
	(void)size_bytes;
	(void)ret_fault;
	*ret_source = (struct source *)current;
	return 0;
}

void source_close(struct source *source)
{
	(void)source;
}

int source_read(struct source *source, void *data, uint64_t offset, uint32_t length,
		struct fault *ret_fault)
{
	(void)source;
	if (before_read)
		before_read();
	memcpy(data, current + offset, length);
	if (after_read)
		after_read();
	return source_error ? fault_set(ret_fault, FAULT_STOP, source_error, "made up") : 0;
}

bool source_knows_holes(const struct source *source)
{
	return source != NULL;
}

/* Blocks 100 to 199 are a hole. */
bool source_is_hole(const struct source *source, uint64_t offset, uint64_t limit,
		    uint64_t *ret_length)
{
	uint64_t ends[] = {100u * VIEW_BLOCK_BYTES, 200u * VIEW_BLOCK_BYTES, DISK_BYTES};
	unsigned int i = 0;

	(void)source;
	while (offset >= ends[i])
		i++;
	*ret_length = ends[i] - offset < limit ? ends[i] - offset : limit;
	return i == 1;
}

static int read_checkpoint(void *context, unsigned int number, void *data, uint64_t offset,
			   uint32_t length, struct fault *ret_fault)
{
	assert_ptr_equal(context, &asked);
	assert_int_equal(number, DISK);
	asked++;
	if (receiver_error)
		return fault_set(ret_fault, FAULT_STOP, receiver_error, "made up");
	memcpy(data, checkpoint + offset, length);
	return 0;
}

static void set_bit(unsigned int block)
{
	map[block / 8] |= (unsigned char)(1u << block % 8);
}

/* As the applier does: the bit, then the target. */
static void overwrite(unsigned int block)
{
	uint64_t start = (uint64_t)block * VIEW_BLOCK_BYTES;
	uint64_t end = start + VIEW_BLOCK_BYTES < DISK_BYTES ? start + VIEW_BLOCK_BYTES
							     : DISK_BYTES;

	set_bit(block);
	memset(current + start, 0xee, end - start);
}

static void start_server(void)
{
	const uint64_t sizes[] = {VIEW_BLOCK_BYTES, DISK_BYTES};
	struct view_socket_setup setup = {.path = socket_path,
					  .name = "view",
					  .disk_count = 2,
					  .disk_bytes = sizes,
					  .read = read_checkpoint,
					  .context = &asked};

	assert_int_equal(view_socket_start(&setup, &server, &fault), 0);
}

static void open_disk(const char *target)
{
	struct view_disk_setup setup = {.socket_path = socket_path,
					.target = target,
					.map_path = map_path,
					.map_offset = MAP_OFFSET,
					.number = DISK,
					.size_bytes = DISK_BYTES};

	assert_int_equal(view_disk_open(&setup, &disk, &fault), 0);
}

static int set_up(void **state)
{
	unsigned char bits[2 * 4096] = {0};
	int fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(socket_path, sizeof(socket_path), "%s/view.sock", folder);
	snprintf(map_path, sizeof(map_path), "%s/map", folder);
	fd = open(map_path, O_RDWR | O_CREAT, 0600);
	assert_int_equal(write(fd, bits, sizeof(bits)), sizeof(bits));
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, MAP_OFFSET);
	assert_ptr_not_equal(map, MAP_FAILED);
	close(fd);
	checkpoint = malloc(DISK_BYTES);
	current = malloc(DISK_BYTES);
	for (size_t i = 0; i < DISK_BYTES; i++)
		checkpoint[i] = (unsigned char)(i * 7 + i / 4096);
	memcpy(current, checkpoint, DISK_BYTES);
	asked = 0;
	receiver_error = source_error = 0;
	before_read = after_read = NULL;
	start_server();
	open_disk("made up");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	view_disk_close(disk);
	view_socket_stop(server);
	munmap(map, 4096);
	free(checkpoint);
	free(current);
	assert_int_equal(os_folder_remove(folder), 0);
	memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
	return 0;
}

/* Whatever was overwritten: a read gives what the checkpoint holds. */
static void expect_checkpoint(uint64_t offset, uint32_t length)
{
	unsigned char *data = malloc(length);

	assert_int_equal(view_disk_read(disk, data, offset, length, &fault), 0);
	assert_memory_equal(data, checkpoint + offset, length);
	free(data);
}

static void what_was_not_overwritten_needs_no_receiver(void **state)
{
	(void)state;
	expect_checkpoint(0, DISK_BYTES);
	expect_checkpoint(5, 10000);
	assert_int_equal(asked, 0);
}

static void overwritten_blocks_come_from_the_receiver(void **state)
{
	(void)state;
	overwrite(0);
	overwrite(63);
	overwrite(64);
	overwrite(65);
	overwrite(200);
	overwrite(BLOCKS - 1);
	expect_checkpoint(0, DISK_BYTES);
	assert_int_equal(asked, 4);
}

static void reads_need_not_be_whole_blocks(void **state)
{
	(void)state;
	for (unsigned int block = 10; block < 20; block++)
		overwrite(block);
	overwrite(BLOCKS - 1);
	expect_checkpoint(10 * VIEW_BLOCK_BYTES + 17, 100);
	expect_checkpoint(9 * VIEW_BLOCK_BYTES + 4000, 2 * VIEW_BLOCK_BYTES);
	expect_checkpoint(19 * VIEW_BLOCK_BYTES + 1, 3 * VIEW_BLOCK_BYTES);
	expect_checkpoint(DISK_BYTES - 1, 1);
	expect_checkpoint(DISK_BYTES - 5000, 5000);
}

static void more_than_a_request_can_hold(void **state)
{
	(void)state;
	for (unsigned int block = 0; block < BLOCKS; block++)
		overwrite(block);
	expect_checkpoint(0, DISK_BYTES);
	expect_checkpoint(3, DISK_BYTES - 4);
}

static void overwrite_block_7(void)
{
	overwrite(7);
}

static void a_block_overwritten_meanwhile_is_asked_for(void **state)
{
	(void)state;
	before_read = overwrite_block_7;
	expect_checkpoint(0, 20 * VIEW_BLOCK_BYTES);
	assert_int_equal(asked, 1);
}

static void overwrite_block_8_half(void)
{
	set_bit(8); /* the bit alone: the write has not come to the target */
}

static void a_block_about_to_be_overwritten_is_asked_for(void **state)
{
	(void)state;
	after_read = overwrite_block_8_half;
	expect_checkpoint(8 * VIEW_BLOCK_BYTES, VIEW_BLOCK_BYTES);
	assert_int_equal(asked, 1);
}

static void errors_of_the_receiver_are_errors(void **state)
{
	unsigned char data[VIEW_BLOCK_BYTES];

	(void)state;
	overwrite(3);
	receiver_error = ESTALE;
	assert_int_equal(view_disk_read(disk, data, 3 * VIEW_BLOCK_BYTES, sizeof(data), &fault),
			 -ESTALE);
	receiver_error = 0;
	expect_checkpoint(0, 10 * VIEW_BLOCK_BYTES);
}

static void an_unreadable_target_is_read_by_the_receiver(void **state)
{
	unsigned char data[VIEW_BLOCK_BYTES];

	(void)state;
	source_error = EIO;
	memset(current, 0x11, DISK_BYTES);
	expect_checkpoint(1, DISK_BYTES - 1);
	receiver_error = EIO;
	assert_int_equal(view_disk_read(disk, data, 0, sizeof(data), &fault), -EIO);
}

static void without_a_target_the_receiver_is_asked_for_everything(void **state)
{
	(void)state;
	view_disk_close(disk);
	open_disk(NULL);
	memset(current, 0x11, DISK_BYTES);
	expect_checkpoint(100, 100000);
	assert_false(view_disk_knows_holes(disk));
}

static void a_receiver_that_comes_back_is_asked_again(void **state)
{
	unsigned char data[VIEW_BLOCK_BYTES];

	(void)state;
	overwrite(3);
	expect_checkpoint(3 * VIEW_BLOCK_BYTES, VIEW_BLOCK_BYTES);
	view_socket_stop(server);
	server = NULL;
	assert_true(view_disk_read(disk, data, 3 * VIEW_BLOCK_BYTES, sizeof(data), &fault) < 0);
	start_server();
	expect_checkpoint(3 * VIEW_BLOCK_BYTES, VIEW_BLOCK_BYTES);
}

static void a_read_beyond_the_end_is_refused(void **state)
{
	unsigned char data[2];

	(void)state;
	assert_int_equal(view_disk_read(disk, data, DISK_BYTES - 1, 2, &fault), -EINVAL);
	assert_int_equal(view_disk_read(disk, data, UINT64_MAX, 2, &fault), -EINVAL);
	assert_int_equal(view_disk_read(disk, data, DISK_BYTES, 0, &fault), 0);
}

static void a_hole_is_zero_only_where_it_was_one(void **state)
{
	uint64_t length;

	(void)state;
	assert_false(view_disk_is_zero(disk, 0, DISK_BYTES, &length));
	assert_int_equal(length, 100 * VIEW_BLOCK_BYTES);
	assert_true(view_disk_is_zero(disk, 100 * VIEW_BLOCK_BYTES, DISK_BYTES, &length));
	assert_int_equal(length, 100 * VIEW_BLOCK_BYTES);
	set_bit(120);
	set_bit(121);
	assert_true(view_disk_is_zero(disk, 100 * VIEW_BLOCK_BYTES + 5, DISK_BYTES, &length));
	assert_int_equal(length, 20 * VIEW_BLOCK_BYTES - 5);
	assert_false(view_disk_is_zero(disk, 120 * VIEW_BLOCK_BYTES, DISK_BYTES, &length));
	assert_int_equal(length, 2 * VIEW_BLOCK_BYTES);
	assert_true(view_disk_is_zero(disk, 122 * VIEW_BLOCK_BYTES, 10, &length));
	assert_int_equal(length, 10);
}

static void a_map_that_is_too_small_is_refused(void **state)
{
	struct view_disk_setup setup = {.socket_path = socket_path,
					.target = "made up",
					.map_path = map_path,
					.map_offset = 2 * 4096,
					.number = DISK,
					.size_bytes = DISK_BYTES};
	struct view_disk *other;

	(void)state;
	assert_int_equal(view_disk_open(&setup, &other, &fault), -EINVAL);
}

static void bad_requests_are_refused(void **state)
{
	const struct view_request bad[] = {
		{0, DISK, 0, 4096, 0},
		{VIEW_MAGIC, 2, 0, 4096, 0},
		{VIEW_MAGIC, UINT32_MAX, 0, 4096, 0},
		{VIEW_MAGIC, DISK, 0, 0, 0},
		{VIEW_MAGIC, DISK, 0, VIEW_READ_MAX + 4096, 0},
		{VIEW_MAGIC, DISK, 512, 4096, 0},
		{VIEW_MAGIC, DISK, 0, 4095, 0},
		{VIEW_MAGIC, DISK, DISK_BYTES + 1024, 4096, 0},
		{VIEW_MAGIC, DISK, 0ull - 4096, 8192, 0},
		{VIEW_MAGIC, 0, 4096, 4096, 0},
		{VIEW_MAGIC, DISK, 0, 4096, 1},
	};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	strcpy(address.sun_path, socket_path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct view_reply reply;

		assert_int_equal(send(fd, &bad[i], sizeof(bad[i]), 0), sizeof(bad[i]));
		assert_int_equal(recv(fd, &reply, sizeof(reply), MSG_WAITALL), sizeof(reply));
		assert_int_equal(reply.magic, VIEW_MAGIC);
		assert_int_equal(reply.error, EINVAL);
		assert_int_equal(reply.length, 0);
	}
	assert_int_equal(asked, 0);
	close(fd);
}

static void only_its_user_can_reach_the_socket(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(socket_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_not_overwritten_needs_no_receiver),
		TEST(overwritten_blocks_come_from_the_receiver),
		TEST(reads_need_not_be_whole_blocks),
		TEST(more_than_a_request_can_hold),
		TEST(a_block_overwritten_meanwhile_is_asked_for),
		TEST(a_block_about_to_be_overwritten_is_asked_for),
		TEST(errors_of_the_receiver_are_errors),
		TEST(an_unreadable_target_is_read_by_the_receiver),
		TEST(without_a_target_the_receiver_is_asked_for_everything),
		TEST(a_receiver_that_comes_back_is_asked_again),
		TEST(a_read_beyond_the_end_is_refused),
		TEST(a_hole_is_zero_only_where_it_was_one),
		TEST(a_map_that_is_too_small_is_refused),
		TEST(bad_requests_are_refused),
		TEST(only_its_user_can_reach_the_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
