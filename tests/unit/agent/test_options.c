// SPDX-License-Identifier: GPL-2.0-or-later
/* agent.ini: what is made of it beyond what the reader of configuration files does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/options.h"
#include "common/units.h"

/* The ring that a file with these lines asks for. */
static uint64_t ring_of(const char *lines)
{
	char path[] = "/tmp/blkferry-test-options-XXXXXX";
	int fd = mkstemp(path);
	struct agent_options options;
	struct fault fault;
	uint64_t ring_bytes;

	assert_true(fd >= 0);
	assert_true(dprintf(fd, "[agent]\n%s\n", lines) > 0);
	close(fd);
	if (options_read(path, &options, &fault) != 0) {
		unlink(path);
		return 0;
	}
	unlink(path);
	assert_true(options.ring_bytes * 2 <= options.memory_bytes);
	ring_bytes = options.ring_bytes;
	options_fini(&options);
	return ring_bytes;
}

static void the_ring_leaves_memory_to_the_rest(void **state)
{
	(void)state;
	assert_int_equal(ring_of(""), 64 * MIB);
	assert_int_equal(ring_of("memory = 127MiB"), 32 * MIB);
	assert_int_equal(ring_of("memory = 96MiB"), 32 * MIB);
	assert_int_equal(ring_of("memory = 64MiB"), 16 * MIB);
	assert_int_equal(ring_of("memory = 32MiB"), 8 * MIB);
	assert_int_equal(ring_of("memory = 1GiB"), 512 * MIB);
}

static void the_ring_is_a_power_of_two_within_half_of_the_memory(void **state)
{
	(void)state;
	assert_int_equal(ring_of("ring = 64MiB"), 64 * MIB);
	assert_int_equal(ring_of("ring = 50MiB"), 32 * MIB);
	assert_int_equal(ring_of("ring = 128MiB"), 64 * MIB);
	assert_int_equal(ring_of("ring = 256KiB"), 256 << 10);
	assert_int_equal(ring_of("ring = 128KiB"), 0);
	assert_int_equal(ring_of("ring = 2GiB"), 0);
	assert_int_equal(ring_of("capture = maybe"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ring_leaves_memory_to_the_rest),
		cmocka_unit_test(the_ring_is_a_power_of_two_within_half_of_the_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
