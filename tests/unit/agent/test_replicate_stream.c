// SPDX-License-Identifier: GPL-2.0-or-later
/* What the main thread must not do while capture's ring holds writes that the receiver lacks: DATA before the stream
 * was left, and a session without a stream that leaves capture on. Everything around is made up. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/checkpoint.h"
#include "agent/cutover.h"
#include "agent/replicate.h"
#include "agent/stream.h"
#include "agent/verify.h"

static struct {
	bool has_stream, has_capture, is_on, is_left, is_spilled;
	int leave_error;
	char order[16]; /* of what was done, a letter each */
} fake;
static struct source source = {.count = 1};
static struct replicator replicator = {.source = &source};

static void note(char letter)
{
	fake.order[strlen(fake.order)] = letter;
}

static int begin(void **state)
{
	memset(&fake, 0, sizeof(fake));
	replicator.session = (struct session *)&fake;
	replicator.is_joined = false;
	return 0;
}

/* --- the session ------------------------------------------------------------------------------ */

struct stream *session_stream(struct session *session)
{
	return fake.has_stream ? (struct stream *)&fake : NULL;
}

int session_start_stream(struct session *session, uint64_t own_id, struct fault *fault)
{
	return 0;
}

struct flow *session_flow(struct session *session)
{
	return NULL;
}

int flow_run_pass(struct flow *flow, struct flow_pass *pass, bool *ret_is_complete)
{
	assert_true(!fake.has_stream || fake.is_left);
	note('d');
	*ret_is_complete = true;
	return 0;
}

void flow_get_progress(struct flow *flow, struct flow_progress *ret_progress)
{
	*ret_progress = (struct flow_progress){0};
}

uint64_t flow_acked_epoch(struct flow *flow)
{
	return 0;
}

bool session_has_failed(struct session *session, struct fault *fault)
{
	return false;
}

bool session_has_command(struct session *session)
{
	return false;
}

bool session_is_cancelled(struct session *session, uint64_t id)
{
	return false;
}

bool session_next_command(struct session *session, uint64_t deadline_ns,
			  struct wire_command *ret_command)
{
	return false;
}

int session_reply(struct session *session, const struct wire_reply *reply)
{
	return 0;
}

const struct wire_disk_ready *session_disk(const struct session *session, unsigned int index)
{
	return NULL;
}

void verify_command(struct replicator *unused, const struct wire_command *command)
{
}

void cutover_command(struct replicator *unused, const struct wire_command *command)
{
}

void checkpoint_command(struct replicator *unused, const struct wire_command *command)
{
}

bool replicator_is_stopping(struct replicator *unused)
{
	return false;
}

/* --- the stream and capture -------------------------------------------------------------------- */

int stream_join(struct stream *stream, bool *ret_is_joined, struct fault *fault)
{
	note('j');
	*ret_is_joined = true;
	return 0;
}

bool stream_is_left(const struct stream *stream)
{
	return fake.is_left;
}

bool stream_is_on(const struct stream *stream)
{
	return fake.is_on;
}

int stream_leave(struct stream *stream, enum capture_hole reason, struct fault *fault)
{
	note('l');
	fake.is_left = !fake.leave_error;
	return fake.leave_error;
}

int stream_drain(struct stream *stream, stream_stop_fn *should_stop, void *context,
		 struct fault *fault)
{
	note('s');
	return 0;
}

void stream_begin(struct stream *stream)
{
}

int stream_step(struct stream *stream, struct fault *fault)
{
	return 0;
}

void stream_rest(struct stream *stream)
{
}

bool stream_is_consistent(const struct stream *stream)
{
	return true;
}

bool stream_has_unreadable(const struct stream *stream)
{
	return false;
}

uint64_t stream_marked_ns(const struct stream *stream)
{
	return 0;
}

int stream_take_all(struct stream *stream, stream_stop_fn *should_stop, void *context,
		    struct fault *fault)
{
	return 0;
}

uint64_t capture_released(const struct capture *capture)
{
	return 5;
}

int capture_spill(struct capture *capture, uint64_t position, struct fault *fault)
{
	assert_int_equal(position, 5);
	fake.is_spilled = true;
	return 0;
}

/* --- the source and status ---------------------------------------------------------------------- */

struct capture *source_capture(struct source *unused, const char **ret_why_not)
{
	return fake.has_capture ? (struct capture *)&fake : NULL;
}

int source_take(struct source *unused, struct fault *fault)
{
	note('t');
	return 0;
}

uint64_t source_todo_bytes(const struct source *unused)
{
	return 4096;
}

uint64_t source_dirty_bytes(const struct source *unused)
{
	return 0;
}

bool source_has_stage(const struct source *unused, enum source_stage stage)
{
	return false;
}

int source_list_all(struct source *unused, unsigned int disk, struct fault *fault)
{
	return 0;
}

void source_adopt_replica(struct source *unused, unsigned int disk,
			  const uint8_t replica[WIRE_REPLICA_LEN], uint64_t epoch,
			  enum source_stage stage)
{
}

int source_poll(struct source *unused, bool ret_relist[TRACKER_DISKS_MAX], char *ret_why,
		size_t why_size, struct fault *fault)
{
	return 0;
}

void status_set_phase(struct status *status, enum wire_phase phase)
{
}

void status_set_pass(struct status *status, uint32_t pass)
{
}

void status_set_flags(struct status *status, uint32_t set, uint32_t cleared)
{
}

uint32_t status_flags(struct status *status)
{
	return 0;
}

void status_set_note(struct status *status, const char *format, ...)
{
}

/* --- the tests ---------------------------------------------------------------------------------- */

/* Captured before, hence in no bitmap, and nobody will send it. */
static void a_session_without_a_stream_turns_the_ring_into_bits(void **state)
{
	fake.has_capture = true;
	assert_int_equal(replicator_join_stream(&replicator, NULL), 0);
	assert_true(fake.is_spilled);
	assert_false(replicator.is_joined);
}

static void a_session_with_a_stream_keeps_the_ring(void **state)
{
	fake.has_capture = fake.has_stream = true;
	assert_int_equal(replicator_join_stream(&replicator, NULL), 0);
	assert_false(fake.is_spilled);
	assert_true(replicator.is_joined);
}

static void without_capture_there_is_nothing_to_end(void **state)
{
	assert_int_equal(replicator_join_stream(&replicator, NULL), 0);
	assert_false(fake.is_spilled);
}

/* A command that comes before streaming goes on: an older record of the ring would be applied after its DATA. */
static void data_waits_until_the_stream_is_left(void **state)
{
	struct tracker_disk_memory memory = {0};

	source.disks[0].memory = &memory;
	fake.has_capture = fake.has_stream = true;
	replicator.is_joined = true;
	assert_int_equal(replicator_ship(&replicator, NULL), 0);
	assert_string_equal(fake.order, "ltd");
	assert_false(replicator.is_joined);
	assert_int_equal(replicator_ship(&replicator, NULL), 0);
	assert_string_equal(fake.order, "ltdtd");
}

static void no_data_when_the_stream_cannot_be_left(void **state)
{
	fake.has_capture = fake.has_stream = true;
	fake.leave_error = -EIO;
	assert_int_equal(replicator_ship(&replicator, NULL), -EIO);
	assert_string_equal(fake.order, "l");
}

static void while_streaming_there_is_no_data(void **state)
{
	fake.has_capture = fake.has_stream = fake.is_on = true;
	assert_int_equal(replicator_ship(&replicator, NULL), 0);
	assert_string_equal(fake.order, "s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_session_without_a_stream_turns_the_ring_into_bits, begin),
		cmocka_unit_test_setup(a_session_with_a_stream_keeps_the_ring, begin),
		cmocka_unit_test_setup(without_capture_there_is_nothing_to_end, begin),
		cmocka_unit_test_setup(data_waits_until_the_stream_is_left, begin),
		cmocka_unit_test_setup(no_data_when_the_stream_cannot_be_left, begin),
		cmocka_unit_test_setup(while_streaming_there_is_no_data, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
