// SPDX-License-Identifier: GPL-2.0-or-later
/* The control socket's cutover command: starts it, tells its steps as they are done, and its end. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "common/os_clock.h"
#include "receiver/cli/exit_codes.h"
#include "receiver/control_internal.h"
#include "receiver/cutover.h"
#include "receiver/rewind.h"
#include "receiver/xapi/xcp.h"

#define TICK_NS	    (200 * NS_PER_MS)
#define UNFENCED_NS (15 * NS_PER_S) /* how long a source may take to come back and say FENCED */
#define TIMEOUT_MS  10000	    /* of the freeze */

static const char *const step_names[WIRE_STEPS_MAX] = {
	[WIRE_STEP_CHECKS] = "checks",	 [WIRE_STEP_VERIFY] = "verify",
	[WIRE_STEP_HOOK] = "hook",	 [WIRE_STEP_CONVERGE] = "converge",
	[WIRE_STEP_FREEZE] = "freeze",	 [WIRE_STEP_DRAIN] = "drain",
	[WIRE_STEP_CERTIFY] = "certify", [WIRE_STEP_SEAL] = "seal",
	[WIRE_STEP_COMMIT] = "commit",	 [WIRE_STEP_FENCE] = "fence",
	[WIRE_STEP_START] = "start",
};

static double to_ms(uint64_t ns)
{
	return (double)ns / (double)NS_PER_MS;
}

static json_t *step_to_json(const struct machine_step *step, unsigned int number)
{
	return json_pack("{s:s, s:s, s:f, s:I, s:s}", "event", "step", "step", step_names[number],
			 "ms", to_ms(step->took_ns), "bytes", (json_int_t)step->bytes, "text",
			 step->text);
}

/* The machine's lock is held. */
static json_t *result_to_json(const struct machine *machine)
{
	const struct machine_cutover *cutover = &machine->cutover;
	json_t *steps = json_array(), *disks = json_array();

	for (unsigned int i = 1; i < WIRE_STEPS_MAX; i++)
		if (cutover->steps[i].is_done)
			json_array_append_new(steps, step_to_json(&cutover->steps[i], i));
	for (unsigned int i = 0; i < machine->slot_count; i++)
		json_array_append_new(disks,
				      json_pack("{s:s, s:s, s:s}", "source", machine->slots[i].path,
						"target", machine->slots[i].target_text, "path",
						machine->slots[i].target_path));
	return json_pack("{s:s, s:b, s:f, s:f, s:I, s:I, s:o, s:o, s:s}", "name", machine->name,
			 "dry_run", cutover->is_dry_run, "data_downtime_ms",
			 to_ms(cutover->data_downtime_ns), "downtime_ms",
			 to_ms(cutover->downtime_ns), "certified_bytes",
			 (json_int_t)cutover->certified_bytes, "repaired_bytes",
			 (json_int_t)cutover->repaired_bytes, "steps", steps, "disks", disks,
			 "text", cutover->text);
}

static int exit_code_of(int error)
{
	switch (error) {
	case EAGAIN:
	case ENOTCONN:
	case EBUSY:
	case ENODEV:
		return EXIT_CODE_NOT_READY;
	case EINVAL:
		return EXIT_CODE_USAGE;
	default:
		return EXIT_CODE_FAILED;
	}
}

/* Tells the steps that are done and were not told. The lock is held, and given up while sending. */
static void tell_steps(struct control_client *client, struct machine *machine, bool *told)
{
	for (unsigned int i = 1; i < WIRE_STEPS_MAX; i++) {
		json_t *message;

		if (told[i] || !machine->cutover.steps[i].is_done)
			continue;
		told[i] = true;
		message = step_to_json(&machine->cutover.steps[i], i);
		os_mutex_unlock(&machine->lock);
		(void)control_send(client, message);
		os_mutex_lock(&machine->lock);
	}
}

/* Waits for the end. Returns false when it stays open: committed, and the source says nothing. */
static bool watch(struct control_client *client, struct machine *machine)
{
	bool told[WIRE_STEPS_MAX] = {false}, is_cancelled = false;
	uint64_t alone_since = 0;

	os_mutex_lock(&machine->lock);
	for (;;) {
		bool is_alone = machine->state == MACHINE_COMMITTED && !machine->session;

		tell_steps(client, machine, told);
		if (!machine->cutover.is_running)
			break;
		if (!is_alone)
			alone_since = 0;
		else if (!alone_since)
			alone_since = os_monotonic_ns();
		else if (os_monotonic_ns() - alone_since > UNFENCED_NS)
			break;
		(void)os_cond_wait_until(&machine->changed, &machine->lock,
					 os_monotonic_ns() + TICK_NS);
		if (!is_cancelled && control_is_gone(client)) {
			/* ^C at the CLI: give up what can be given up. */
			is_cancelled = true;
			os_mutex_unlock(&machine->lock);
			cutover_cancel(machine);
			os_mutex_lock(&machine->lock);
		}
	}
	is_cancelled = machine->cutover.is_running;
	os_mutex_unlock(&machine->lock);
	return !is_cancelled;
}

static void tell_end(struct control_client *client, struct machine *machine)
{
	json_t *result = NULL;
	char text[WIRE_TEXT_MAX];
	int error;

	os_mutex_lock(&machine->lock);
	error = machine->cutover.error;
	memcpy(text, machine->cutover.text, sizeof(text));
	if (!error)
		result = result_to_json(machine);
	os_mutex_unlock(&machine->lock);
	if (error)
		control_send_error(client, exit_code_of(error), "%s", text);
	else
		control_send_result(client, result);
}

static void run_source_is_dead(struct control_client *client, struct machine *machine,
			       uint64_t point)
{
	struct fault fault = {0};

	if (cutover_source_is_dead(client->machines, machine, point, &fault))
		control_send_error(client, exit_code_of(fault.error), "%s", fault.text);
	else
		tell_end(client, machine);
}

void control_cutover(struct control_client *client, struct machine *machine, json_t *request)
{
	json_int_t timeout = json_integer_value(json_object_get(request, "timeout_ms"));
	json_int_t fence = json_integer_value(json_object_get(request, "fence"));
	struct cutover_request cutover = {
		.timeout_ms = timeout > 0 ? (uint64_t)timeout : TIMEOUT_MS,
		.fence = fence > 0 ? (unsigned int)fence : 1,
		.is_dry_run = json_is_true(json_object_get(request, "dry_run")),
		.ignores_checks = json_is_true(json_object_get(request, "ignore_checks")),
		.skips_certify = json_is_true(json_object_get(request, "no_certify")),
	};
	const char *when = json_string_value(json_object_get(request, "at"));
	struct fault fault = {0};

	if (when && when[0] &&
	    rewind_find(client->machines, machine, when, &cutover.point, &fault)) {
		control_send_error(client, exit_code_of(fault.error), "%s", fault.text);
		return;
	}
	if (json_is_true(json_object_get(request, "source_is_dead"))) {
		run_source_is_dead(client, machine, cutover.point);
		return;
	}
	if (xcp_check(client->machines, machine, &fault) ||
	    cutover_start(machine, &cutover, &fault)) {
		control_send_error(client, exit_code_of(fault.error), "%s", fault.text);
		return;
	}
	if (watch(client, machine))
		tell_end(client, machine);
	else
		control_send_error(
			client, EXIT_CODE_UNFENCED,
			"the cutover of %s is committed, but its source has not said that it "
			"is fenced, and nothing was started. If the source comes back, this "
			"settles itself. If it is off for certain: 'blkferry cutover %s "
			"--source-is-dead'",
			machine->name, machine->name);
}
