// SPDX-License-Identifier: GPL-2.0-or-later
/* The control socket's simple commands: token, pause, resume, limit, verify, remove. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "receiver/cli/exit_codes.h"
#include "receiver/control_internal.h"
#include "receiver/enroll.h"
#include "receiver/rewind.h"
#include "receiver/session.h"
#include "receiver/snapshots.h"
#include "receiver/target.h"
#include "receiver/view.h"

#define ORDER_TIMEOUT_NS (60 * NS_PER_S)
#define END_TIMEOUT_NS	 (60 * NS_PER_S)
#define PATH_LENGTH	 768

void control_token(struct control_client *client, const char *name, json_t *request)
{
	const struct receiver_options *options = machines_options(client->machines);
	json_int_t valid_ns = json_integer_value(json_object_get(request, "valid_ns"));
	char text[TOKEN_TEXT_MAX];
	struct fault fault = {0};

	if (!pki_name_is_valid(name)) {
		control_send_error(
			client, EXIT_CODE_USAGE,
			"'%s' cannot be a machine's name: use letters, digits, '.', '_' and "
			"'-', at most %d, and a letter or digit first",
			name, PKI_NAME_MAX - 1);
		return;
	}
	if (enroll_token_new(options->state_folder, name,
			     valid_ns > 0 ? (uint64_t)valid_ns : options->token_lifetime_ns, text,
			     &fault)) {
		control_send_error(client, EXIT_CODE_FAILED, "%s", fault.text);
		return;
	}
	control_send_result(client, json_pack("{s:s}", "token", text));
}

static struct session *hold(struct machine *machine)
{
	struct session *session;

	os_mutex_lock(&machine->lock);
	session = session_hold(machine);
	os_mutex_unlock(&machine->lock);
	return session;
}

/* What stands until it is changed is stored, so that it also holds for the agent's next session. */
static int store_order(struct control_client *client, struct machine *machine,
		       const struct wire_command *command, struct fault *fault)
{
	int error;

	os_mutex_lock(&machine->lock);
	if (command->kind == WIRE_COMMAND_LIMIT) {
		machine->has_limit = true;
		machine->limit = command->value;
	} else {
		machine->is_paused = command->kind == WIRE_COMMAND_PAUSE;
	}
	error = machine_store(client->machines, machine, fault);
	os_mutex_unlock(&machine->lock);
	return error;
}

static bool is_rolled_back(struct machine *machine)
{
	bool is_rolled_back;

	os_mutex_lock(&machine->lock);
	is_rolled_back = machine->state == MACHINE_ROLLED_BACK;
	os_mutex_unlock(&machine->lock);
	return is_rolled_back;
}

/* A rollback is given up. */
static void follow_again(struct control_client *client, struct machine *machine)
{
	struct fault fault = {0};

	if (rewind_follow(client->machines, machine, &fault))
		control_send_error(client, EXIT_CODE_FAILED, "%s", fault.text);
	else
		control_send_result(client, json_pack("{s:s}", "text",
						      "the rollback is given up; all is compared "
						      "with the source when the agent connects"));
}

void control_order(struct control_client *client, struct machine *machine, const char *name,
		   json_t *request)
{
	struct wire_command command = {0};
	struct wire_reply reply = {0};
	struct session *session;
	struct fault fault = {0};
	int error;

	if (strcmp(name, "pause") == 0) {
		command.kind = WIRE_COMMAND_PAUSE;
	} else if (strcmp(name, "resume") == 0) {
		command.kind = WIRE_COMMAND_RESUME;
	} else if (strcmp(name, "limit") == 0) {
		command.kind = WIRE_COMMAND_LIMIT;
		command.value =
			(uint64_t)json_integer_value(json_object_get(request, "bytes_per_s"));
	} else {
		control_send_error(client, EXIT_CODE_USAGE, "unknown command '%s'", name);
		return;
	}
	if (store_order(client, machine, &command, &fault)) {
		control_send_error(client, EXIT_CODE_FAILED, "%s", fault.text);
		return;
	}
	if (command.kind == WIRE_COMMAND_RESUME && is_rolled_back(machine)) {
		follow_again(client, machine);
		return;
	}
	session = hold(machine);
	if (!session) {
		control_send_result(client,
				    json_pack("{s:s}", "text",
					      "stored; it takes effect when the agent connects"));
		return;
	}
	error = session_command(session, &command, ORDER_TIMEOUT_NS, &reply, NULL, NULL);
	session_release(session);
	if (error)
		control_send_error(
			client, EXIT_CODE_NOT_READY,
			"stored, but the agent of %s has not answered; it takes effect when "
			"it does",
			machine->name);
	else
		control_send_result(client, json_pack("{s:s}", "text", reply.text));
}

/* On the control connection's thread: a client that is slow to read is cut off by its timeout. */
static void send_ranges(void *context, const struct wire_range *ranges, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		(void)control_send(context, json_pack("{s:s, s:i, s:I, s:I, s:s}", "event", "range",
						      "disk", (int)ranges[i].disk, "offset",
						      (json_int_t)ranges[i].offset, "length",
						      (json_int_t)ranges[i].length, "kind",
						      ranges[i].kind == WIRE_RANGE_DIFFERS
							      ? "differs"
							      : "never-copied"));
}

void control_verify(struct control_client *client, struct machine *machine, json_t *request)
{
	struct wire_command command = {
		.kind = WIRE_COMMAND_VERIFY,
		.flags = (json_is_true(json_object_get(request, "repair")) ? WIRE_VERIFY_REPAIR
									   : 0) |
			 (json_is_true(json_object_get(request, "all")) ? WIRE_VERIFY_ALL : 0),
	};
	struct wire_reply reply = {0};
	struct session *session = hold(machine);
	int error;

	if (!session) {
		control_send_error(client, EXIT_CODE_NOT_READY,
				   "%s is not connected: is blkferry-agent running there?",
				   machine->name);
		return;
	}
	error = session_command(session, &command, 0, &reply, send_ranges, client);
	session_release(session);
	if (error) {
		control_send_error(client, EXIT_CODE_FAILED,
				   "the connection to %s was cut during the verify: run it again",
				   machine->name);
	} else if (reply.error && reply.error != EIO) {
		control_send_error(client,
				   reply.error == EAGAIN ? EXIT_CODE_NOT_READY : EXIT_CODE_FAILED,
				   "%s", reply.text);
	} else {
		control_send_result(client,
				    json_pack("{s:I, s:I, s:I, s:I, s:I, s:b, s:s}", "compared",
					      (json_int_t)reply.values[0], "differed",
					      (json_int_t)reply.values[1], "never_copied",
					      (json_int_t)reply.values[2], "repaired",
					      (json_int_t)reply.values[3], "changing",
					      (json_int_t)reply.values[4], "unrepaired",
					      reply.error == EIO, "text", reply.text));
	}
}

/* Ends the machine's session: its agent is told to stop for good first. */
static int end_session(struct machine *machine)
{
	struct wire_command command = {.kind = WIRE_COMMAND_FORGET};
	uint64_t deadline = os_monotonic_ns() + END_TIMEOUT_NS;
	struct session *session = hold(machine);
	struct wire_reply reply;
	struct fault fault = {0};
	int error = 0;

	if (session) {
		(void)session_command(session, &command, 5 * NS_PER_S, &reply, NULL, NULL);
		fault_set(&fault, FAULT_STOP, ENOENT, "%s was removed at the receiver",
			  machine->name);
		session_fail(session, WIRE_ERROR_REMOVED, &fault);
		session_release(session);
	}
	os_mutex_lock(&machine->lock);
	while ((machine->session || machine->replica || machine->is_replica_changing) && !error)
		error = os_cond_wait_until(&machine->changed, &machine->lock, deadline);
	os_mutex_unlock(&machine->lock);
	return error;
}

void control_remove(struct control_client *client, struct machine *machine, json_t *request)
{
	const struct receiver_options *options = machines_options(client->machines);
	bool keeps_data = json_is_true(json_object_get(request, "keep_data"));
	char path[PATH_LENGTH];
	struct fault fault = {0};
	int error;

	/* The certificate first: from here on nobody gets in with it. */
	machine_path(client->machines, machine, "certificate", path, sizeof(path));
	error = os_folder_remove(path);
	view_forbid(machine); /* they keep the replica open */
	if (!error)
		error = end_session(machine);
	if (!error)
		error = snapshots_wait(machine, &fault);
	for (unsigned int i = 0; !error && i < machine->slot_count; i++) {
		char name[PKI_NAME_MAX + 16];

		snprintf(name, sizeof(name), "%s-disk%u", machine->name, i);
		error = target_forget(machine->slots[i].target, options->storage_folder, name,
				      !keeps_data, &fault);
	}
	machine_path(client->machines, machine, "", path, sizeof(path));
	if (!error)
		error = os_folder_remove(path);
	if (error) {
		control_send_error(client, EXIT_CODE_FAILED, "%s could not be removed whole: %s",
				   machine->name, fault.text[0] ? fault.text : strerror(-error));
		return;
	}
	os_mutex_lock(&machine->lock);
	machine->is_removed = true;
	machine->slot_count = 0;
	machine->state = MACHINE_REPLICATING;
	machine->is_paused = false;
	machine->has_limit = false;
	machine->has_started = false;
	memset(&machine->status, 0, sizeof(machine->status));
	os_mutex_unlock(&machine->lock);
	view_allow(machine);
	log_info("%s was removed", machine->name);
	control_send_result(client,
			    json_pack("{s:s}", "text",
				      keeps_data ? "removed; its data were kept" : "removed"));
}
