// SPDX-License-Identifier: GPL-2.0-or-later
/* The receiver's part of a cutover; see cutover.h. */
#include "receiver/cutover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "common/units.h"
#include "receiver/rewind.h"
#include "receiver/snapshots.h"
#include "receiver/start.h"
#include "receiver/view.h"

#define CLOSE_NS (60 * NS_PER_S)
#define DRAIN_NS                                                                                   \
	(9 * NS_PER_S) /* the source is frozen; a control connection silent for longer is dead */

/* The lock is held. */
static int check(struct machine *machine, const struct session *session, struct fault *fault)
{
	const struct wire_status *status = &machine->status;

	if (machine->state == MACHINE_COMPLETED && !machine->has_started)
		return fault_set(
			fault, FAULT_STOP, EALREADY,
			"%s was cut over, but its start-command did not succeed. To run it "
			"again: 'blkferry cutover %s --source-is-dead'",
			machine->name, machine->name);
	if (machine->state == MACHINE_COMPLETED)
		return fault_set(fault, FAULT_STOP, EALREADY, "%s was cut over already",
				 machine->name);
	if (machine->state == MACHINE_COMMITTED)
		return fault_set(
			fault, FAULT_STOP, EALREADY,
			"a cutover of %s was committed, but its source has not said that it is "
			"fenced. Make sure that the source is off, then run 'blkferry cutover "
			"%s --source-is-dead'",
			machine->name, machine->name);
	if (machine->state == MACHINE_ROLLED_BACK || machine->is_rewinding)
		return fault_set(fault, FAULT_STOP, EAGAIN,
				 "%s is rolled back: 'blkferry rollback %s --undo' or 'blkferry "
				 "resume %s' first; or, when its source is off for certain, "
				 "'--source-is-dead'",
				 machine->name, machine->name, machine->name);
	if (!session)
		return fault_set(fault, FAULT_STOP, ENOTCONN,
				 "%s is not connected: is blkferry-agent running there?",
				 machine->name);
	if (machine->cutover.is_running)
		return fault_set(fault, FAULT_STOP, EBUSY, "a cutover of %s is under way",
				 machine->name);
	for (unsigned int i = 0; i < machine->slot_count; i++)
		if (!machine->slots[i].is_present)
			return fault_set(
				fault, FAULT_STOP, ENODEV,
				"disk %u of %s (%s, %s) is not there at the source any more: "
				"its replica is out of date",
				i, machine->name, machine->slots[i].path,
				machine->slots[i].identity);
	if (machine->is_paused)
		return fault_set(fault, FAULT_STOP, EAGAIN,
				 "%s is paused: 'blkferry resume %s' first", machine->name,
				 machine->name);
	if (!(status->flags & WIRE_STATUS_READY))
		return fault_set(
			fault, FAULT_STOP, EAGAIN,
			"%s is not ready: 'blkferry status %s' shows how far it is; try again "
			"when it says ready",
			machine->name, machine->name);
	return 0;
}

/* machine->cutover is running: no snapshot begins from here on. One that is being made keeps the applier from draining,
 * and the VM from being started. */
static int begin(struct machine *machine, struct session *session,
		 const struct wire_command *command, struct fault *fault)
{
	int error = snapshots_wait(machine, fault);

	if (!error && session_command_start(session, command))
		error = fault_set(fault, FAULT_RETRY, ENOTCONN, "the connection to %s was cut",
				  machine->name);
	if (error) {
		os_mutex_lock(&machine->lock);
		machine->cutover.is_running = false;
		machine->cutover_point = 0;
		os_mutex_unlock(&machine->lock);
	}
	return error;
}

int cutover_start(struct machine *machine, const struct cutover_request *request,
		  struct fault *fault)
{
	struct wire_command command = {
		.kind = WIRE_COMMAND_CUTOVER,
		.fence = (uint16_t)request->fence,
		.flags = (request->is_dry_run ? WIRE_CUTOVER_DRY_RUN : 0) |
			 (request->skips_certify ? WIRE_CUTOVER_NO_CERTIFY : 0),
		.value = request->timeout_ms,
	};
	struct session *session;
	int error;

	while (!command.id)
		os_random(&command.id, sizeof(command.id));
	os_mutex_lock(&machine->lock);
	session = session_hold(machine);
	error = check(machine, session, fault);
	if (!error && !request->ignores_checks)
		error = machine_check_readiness(machine, fault);
	if (!error)
		machine->cutover = (struct machine_cutover){
			.id = command.id,
			.is_running = true,
			.is_dry_run = request->is_dry_run,
		};
	if (!error)
		machine->cutover_point = request->point;
	os_mutex_unlock(&machine->lock);
	if (!error)
		error = begin(machine, session, &command, fault);
	session_release(session);
	return error;
}

void cutover_cancel(struct machine *machine)
{
	struct wire_cancel cancel = {0};
	struct session *session = NULL;

	os_mutex_lock(&machine->lock);
	if (machine->cutover.is_running && machine->state == MACHINE_REPLICATING) {
		cancel.id = machine->cutover.id;
		session = session_hold(machine);
	}
	os_mutex_unlock(&machine->lock);
	if (session)
		(void)session_send(session, WIRE_CANCEL, &cancel, sizeof(cancel), NULL, 0);
	session_release(session);
}

void cutover_on_step(struct machine *machine, const struct wire_step *step)
{
	struct machine_cutover *cutover = &machine->cutover;

	os_mutex_lock(&machine->lock);
	if (cutover->id == step->id) {
		struct machine_step *done = &cutover->steps[step->step];

		done->is_done = true;
		done->took_ns = step->took_ns;
		done->bytes = step->bytes;
		snprintf(done->text, sizeof(done->text), "%s", step->text);
		if (step->step == WIRE_STEP_FREEZE)
			cutover->freeze_began_ns = os_monotonic_ns() - step->took_ns;
		os_cond_broadcast(&machine->changed);
	}
	os_mutex_unlock(&machine->lock);
}

/* An end without a live replica. The lock is held. */
static void end_failed(struct machine *machine, int error, const char *text)
{
	machine->cutover.is_running = false;
	machine->cutover.error = error;
	machine->cutover_point = 0;
	snprintf(machine->cutover.text, sizeof(machine->cutover.text), "%s", text);
	os_cond_broadcast(&machine->changed);
}

int cutover_on_seal(struct session *session, struct machine *machine, const struct wire_seal *seal,
		    uint64_t acked_epoch, struct fault *fault)
{
	struct wire_commit commit = {.id = seal->id};
	struct machines *machines = session_machines(session);
	int error = replica_drain(session_replica(session), DRAIN_NS, fault);

	if (error)
		return error;
	os_mutex_lock(&machine->lock);
	if (!machine->cutover.is_running || machine->cutover.id != seal->id ||
	    machine->state != MACHINE_REPLICATING) {
		error = fault_set(fault, FAULT_STOP, EPROTO,
				  "the agent sealed a cutover that nobody "
				  "asked for");
	} else if (seal->epoch != acked_epoch && acked_epoch != 0) {
		error = fault_set(fault, FAULT_STOP, EPROTO,
				  "the agent sealed at another epoch than was acknowledged");
	} else {
		machine->cutover.certified_bytes = seal->certified_bytes;
		machine->cutover.repaired_bytes = seal->repaired_bytes;
		machine->state = MACHINE_COMMITTED;
		machine->cutover_id = seal->id;
		/* Durable before it is said: a receiver that dies now still knows of it. */
		error = machine_store(machines, machine, fault);
		if (error)
			machine->state = MACHINE_REPLICATING;
	}
	os_mutex_unlock(&machine->lock);
	if (error)
		return error;
	return session_send(session, WIRE_COMMIT, &commit, sizeof(commit), NULL, 0);
}

static void back_to_replicating(struct machines *machines, struct machine *machine)
{
	struct fault fault = {0};

	machine->state = MACHINE_REPLICATING;
	machine->cutover_id = 0;
	machine->cutover_point = 0;
	if (machine_store(machines, machine, &fault))
		log_error("%s", fault.text);
}

void cutover_on_reply(struct machines *machines, struct machine *machine,
		      const struct wire_reply *reply)
{
	os_mutex_lock(&machine->lock);
	if (reply->id == machine->cutover.id && machine->cutover.is_running) {
		if (machine->state == MACHINE_COMMITTED)
			back_to_replicating(machines, machine);
		end_failed(machine, (int)reply->error, reply->text);
		if (reply->error)
			log_warning("%s: cutover given up: %s", machine->name, reply->text);
	}
	os_mutex_unlock(&machine->lock);
}

int cutover_on_fenced(struct machines *machines, struct machine *machine, uint64_t id,
		      uint64_t data_downtime_ns, struct fault *fault)
{
	struct machine_cutover *cutover = &machine->cutover;
	int error = 0;

	os_mutex_lock(&machine->lock);
	if (machine->cutover_id != id ||
	    (machine->state != MACHINE_COMMITTED && machine->state != MACHINE_COMPLETED)) {
		error = fault_set(fault, FAULT_STOP, EPROTO,
				  "the source says that it is fenced for a cutover that was not "
				  "committed");
	} else if (machine->state == MACHINE_COMMITTED) {
		machine->state = MACHINE_COMPLETED;
		error = machine_store(machines, machine, fault);
		if (error) {
			machine->state = MACHINE_COMMITTED;
		} else {
			log_info("%s: the source is fenced; its replica is the machine now",
				 machine->name);
			if (cutover->id != id)
				*cutover = (struct machine_cutover){.id = id};
			cutover->is_running = true; /* until the start-command has ended */
			cutover->data_downtime_ns = data_downtime_ns;
			os_cond_broadcast(&machine->changed);
		}
	} /* COMPLETED: it was heard before, and the answer got lost */
	os_mutex_unlock(&machine->lock);
	return error;
}

void cutover_on_unfenced_hello(struct machines *machines, struct machine *machine)
{
	os_mutex_lock(&machine->lock);
	if (machine->state == MACHINE_COMMITTED) {
		log_warning(
			"%s: its source gave the committed cutover up (it was not fenced in time) "
			"and goes on",
			machine->name);
		back_to_replicating(machines, machine);
		end_failed(machine, ETIMEDOUT,
			   "the source gave the cutover up after COMMIT, before it was fenced");
	}
	os_mutex_unlock(&machine->lock);
}

void cutover_on_session_end(struct machine *machine)
{
	os_mutex_lock(&machine->lock);
	if (machine->cutover.is_running && machine->state == MACHINE_REPLICATING)
		end_failed(
			machine, ECONNRESET,
			"the connection to the source was cut before COMMIT; the source thaws by "
			"itself and goes on");
	os_cond_broadcast(&machine->changed);
	os_mutex_unlock(&machine->lock);
}

/* A machine that is started while its disks are open here would find them locked, or share them. */
static int await_closed(struct machine *machine, struct fault *fault)
{
	uint64_t deadline_ns = os_monotonic_ns() + CLOSE_NS;
	int error = 0;

	os_mutex_lock(&machine->lock);
	while ((machine->replica || machine->is_replica_changing) && !error)
		error = os_cond_wait_until(&machine->changed, &machine->lock, deadline_ns);
	os_mutex_unlock(&machine->lock);
	return error ? fault_set(fault, FAULT_STOP, EBUSY,
				 "the replica of %s is still in use: end its views, then 'blkferry "
				 "cutover %s --source-is-dead'",
				 machine->name, machine->name)
		     : 0;
}

void cutover_start_target(struct machines *machines, struct machine *machine)
{
	struct machine_cutover *cutover = &machine->cutover;
	struct fault fault = {0};
	struct machine_step *step = &cutover->steps[WIRE_STEP_START];
	uint64_t began = os_monotonic_ns();
	bool is_due;
	int error;

	os_mutex_lock(&machine->lock);
	is_due = machine->state == MACHINE_COMPLETED && cutover->is_running &&
		 !cutover->is_starting;
	if (is_due)
		cutover->is_starting = true;
	os_mutex_unlock(&machine->lock);
	if (!is_due)
		return;
	/* The machine that starts writes to the targets, and nobody keeps what it overwrites. */
	view_forbid(machine);
	error = rewind_before_start(machines, machine, &fault);
	if (!error)
		error = await_closed(machine, &fault);
	if (!error)
		error = snapshots_wait(machine, &fault);
	if (!error)
		error = start_run(machines, machine, &fault);
	os_mutex_lock(&machine->lock);
	step->is_done = !error;
	step->took_ns = os_monotonic_ns() - began;
	machine->has_started = !error;
	cutover->error = -error;
	if (cutover->freeze_began_ns)
		cutover->downtime_ns = os_monotonic_ns() - cutover->freeze_began_ns;
	snprintf(cutover->text, sizeof(cutover->text), "%s", error ? fault.text : "completed");
	if (machine_store(machines, machine, &fault) && !error)
		error = -fault.error;
	cutover->is_running = false;
	cutover->is_starting = false;
	os_cond_broadcast(&machine->changed);
	os_mutex_unlock(&machine->lock);
	if (error)
		log_error("%s: %s", machine->name, fault.text);
}

int cutover_source_is_dead(struct machines *machines, struct machine *machine, uint64_t point,
			   struct fault *fault)
{
	enum machine_state old_state;
	int error = 0;

	os_mutex_lock(&machine->lock);
	if (machine->cutover.is_running && machine->state == MACHINE_COMPLETED) {
		error = fault_set(fault, FAULT_STOP, EBUSY, "%s is being started", machine->name);
	} else if (machine->state == MACHINE_COMPLETED && machine->has_started) {
		error = fault_set(fault, FAULT_STOP, EALREADY,
				  "%s was cut over and started already", machine->name);
	} else if (machine->state == MACHINE_REPLICATING && !point) {
		/* I8: without a seal the replica is no state that the disks were ever in. */
		error = fault_set(
			fault, FAULT_STOP, EAGAIN,
			"the replica of %s was never sealed: it is a mix of moments, not a "
			"consistent disk, and nothing here starts it. A checkpoint is one: "
			"'--at latest', if 'blkferry points %s' has any",
			machine->name, machine->name);
	} else if (machine->is_rewinding || (machine->state == MACHINE_ROLLED_BACK &&
					     !machine->is_rollback_done && !point)) {
		error = fault_set(fault, FAULT_STOP, EAGAIN,
				  "the rollback of %s is not finished: 'blkferry rollback %s --at "
				  "#%llu' again",
				  machine->name, machine->name,
				  (unsigned long long)machine->rollback_point);
	} else if (machine->session) {
		error = fault_set(fault, FAULT_STOP, EBUSY,
				  "the source of %s is connected: it is not dead", machine->name);
	} else {
		old_state = machine->state;
		machine->state = MACHINE_COMPLETED;
		machine->cutover_point = point ? point : machine->cutover_point;
		error = machine_store(machines, machine, fault);
		if (error)
			machine->state = old_state;
		else
			machine->cutover = (struct machine_cutover){.id = machine->cutover_id,
								    .is_running = true};
	}
	os_mutex_unlock(&machine->lock);
	if (!error)
		cutover_start_target(machines, machine);
	return error;
}
