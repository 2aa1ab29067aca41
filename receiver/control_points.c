// SPDX-License-Identifier: GPL-2.0-or-later
/* The control socket's commands about checkpoints: points, checkpoint, rollback. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/os_clock.h"
#include "common/units.h"
#include "receiver/cli/exit_codes.h"
#include "receiver/control_internal.h"
#include "receiver/replica.h"
#include "receiver/rewind.h"
#include "receiver/session.h"
#include "receiver/xapi/xcp_snapshot.h"

#define CHECKPOINT_NS (120 * NS_PER_S) /* a freeze may have to wait */
#define CONFIRM_NS    (30 * NS_PER_S)
#define LOOK_NS	      (20 * NS_PER_MS)

static int exit_code_of(int error)
{
	switch (error) {
	case EAGAIN:
	case EBUSY:
	case ENOTCONN:
	case ETIMEDOUT:
		return EXIT_CODE_NOT_READY;
	case EINVAL:
	case ENOENT:
	case EEXIST:
		return EXIT_CODE_USAGE;
	default:
		return EXIT_CODE_FAILED;
	}
}

static void send_fault(struct control_client *client, const struct fault *fault)
{
	control_send_error(client, exit_code_of(fault->error), "%s", fault->text);
}

static json_t *point_to_json(const struct history_point *point)
{
	uint64_t now_ns = os_realtime_ns();
	char text[32];

	units_format_time(point->time_ns, text, sizeof(text));
	return json_pack("{s:I, s:I, s:s, s:f, s:I, s:b, s:b, s:b, s:s}", "number",
			 (json_int_t)point->number, "time_ns", (json_int_t)point->time_ns, "time",
			 text, "age_s",
			 now_ns > point->time_ns
				 ? (double)(now_ns - point->time_ns) / (double)NS_PER_S
				 : 0.0,
			 "bytes", (json_int_t)point->undo_bytes, "frozen",
			 (point->flags & HISTORY_FROZEN) != 0, "quiet",
			 (point->flags & HISTORY_QUIET) != 0, "pinned",
			 (point->flags & HISTORY_PINNED) != 0, "label", point->label);
}

/* What the pool has; how each is called there is in the points that still are checkpoints, too. */
static json_t *add_snapshots(struct control_client *client, struct machine *machine, json_t *points)
{
	struct xcp_snapshots *list;
	struct fault fault = {0};
	json_t *all, *snapshot, *point;
	size_t i, k;

	if (xcp_snapshots_load(client->machines, machine, &list, &fault))
		return json_array(); /* status says why */
	all = xcp_snapshots_to_json(list);
	free(list);
	json_array_foreach(all, i, snapshot)
	{
		json_t *number = json_object_get(snapshot, "number");
		char text[32];

		units_format_time(
			(uint64_t)json_integer_value(json_object_get(snapshot, "time_ns")), text,
			sizeof(text));
		json_object_set_new(snapshot, "time", json_string(text));
		json_array_foreach(points, k, point)
		{
			if (json_equal(json_object_get(point, "number"), number))
				json_object_set(point, "snapshot",
						json_object_get(snapshot, "name"));
		}
	}
	return all;
}

void control_points(struct control_client *client, struct machine *machine)
{
	struct replica *replica;
	struct fault fault = {0};
	struct history_point *points = NULL;
	json_t *list = json_array();
	unsigned int count = 0;
	int error = replica_hold(client->machines, machine, &replica, &fault);

	if (error) {
		json_decref(list);
		send_fault(client, &fault);
		return;
	}
	error = history_list(replica_history(replica), &points, &count);
	replica_release(replica);
	for (unsigned int i = 0; i < count; i++)
		json_array_append_new(list, point_to_json(&points[i]));
	free(points);
	if (error) {
		json_decref(list);
		control_send_error(client, EXIT_CODE_FAILED, "cannot list the checkpoints: %s",
				   strerror(-error));
		return;
	}
	control_send_result(client, json_pack("{s:o, s:o}", "points", list, "snapshots",
					      add_snapshots(client, machine, list)));
}

/* The mark comes by the stream: until it is confirmed and applied it is no checkpoint yet. */
static int await_point(struct session *session, uint64_t number, struct history_point *ret_point,
		       struct fault *fault)
{
	struct replica *replica = session_replica(session);
	uint64_t deadline_ns = os_monotonic_ns() + CONFIRM_NS;
	bool is_over = false;
	char name[24];

	snprintf(name, sizeof(name), "#%llu", (unsigned long long)number);
	while (!is_over && os_monotonic_ns() < deadline_ns) {
		/* What came before the end may be on its way through the journal. */
		is_over = session_has_failed(session);
		if (is_over)
			(void)replica_drain(replica, CONFIRM_NS, NULL);
		if (!history_find(replica_history(replica), name, ret_point, NULL))
			return 0;
		os_sleep_ns(LOOK_NS);
	}
	return fault_set(fault, FAULT_RETRY, ETIMEDOUT,
			 "the checkpoint was made, but the stream has not confirmed it; 'blkferry "
			 "points' shows whether it did later");
}

static int make_checkpoint(struct session *session, const char *label, bool is_frozen,
			   struct history_point *ret_point, struct fault *fault)
{
	struct wire_command command = {
		.kind = WIRE_COMMAND_CHECKPOINT,
		.flags = is_frozen ? WIRE_CHECKPOINT_FREEZE : 0,
	};
	struct wire_reply reply = {0};
	int error = session_command(session, &command, CHECKPOINT_NS, &reply, NULL, NULL);

	if (error)
		return fault_set(fault, FAULT_RETRY, ENOTCONN,
				 "the agent did not answer: try again");
	if (reply.error)
		return fault_set(fault, FAULT_RETRY, (int)(reply.error & INT32_MAX), "%s",
				 reply.text);
	error = await_point(session, reply.values[0], ret_point, fault);
	if (error || !label[0])
		return error;
	error = history_label(replica_history(session_replica(session)), ret_point->number, label,
			      fault);
	if (!error)
		snprintf(ret_point->label, sizeof(ret_point->label), "%s", label);
	return error;
}

void control_checkpoint(struct control_client *client, struct machine *machine, json_t *request)
{
	const char *label = json_string_value(json_object_get(request, "label"));
	struct history_point point = {0};
	struct fault fault = {0};
	struct session *session;
	int error;

	if (label && strlen(label) >= HISTORY_LABEL_MAX) {
		control_send_error(client, EXIT_CODE_USAGE, "a label has at most %d characters",
				   HISTORY_LABEL_MAX - 1);
		return;
	}
	if (label && rewind_is_own_label(label)) {
		control_send_error(client, EXIT_CODE_USAGE,
				   "\"%s\" is a label that blkferry gives itself: choose another",
				   label);
		return;
	}
	os_mutex_lock(&machine->lock);
	session = session_hold(machine);
	os_mutex_unlock(&machine->lock);
	if (!session) {
		control_send_error(client, EXIT_CODE_NOT_READY,
				   "%s is not connected: is blkferry-agent running there?",
				   machine->name);
		return;
	}
	error = make_checkpoint(session, label ? label : "",
				json_is_true(json_object_get(request, "freeze")), &point, &fault);
	session_release(session);
	if (error)
		send_fault(client, &fault);
	else
		control_send_result(client, point_to_json(&point));
}

void control_rollback(struct control_client *client, struct machine *machine, json_t *request)
{
	const char *when = json_string_value(json_object_get(request, "at"));
	struct fault fault = {0};
	int error;

	if (json_is_true(json_object_get(request, "undo")))
		error = rewind_undo(client->machines, machine, &fault);
	else
		error = rewind_to(client->machines, machine, when ? when : "latest", &fault);
	if (error) {
		send_fault(client, &fault);
		return;
	}
	control_send_result(
		client,
		json_pack(
			"{s:s}", "text",
			json_is_true(json_object_get(request, "undo"))
				? "undone: the replica is as it was before the rollback"
				: "rolled back; '--undo' takes that back, 'blkferry resume' makes "
				  "the replica follow its source again"));
}
