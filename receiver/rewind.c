// SPDX-License-Identifier: GPL-2.0-or-later
/* A machine's replica taken back to a checkpoint; see rewind.h. */
#include "receiver/rewind.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "receiver/replica.h"
#include "receiver/session.h"

#define END_NS	    (60 * NS_PER_S)
#define PATH_LENGTH 768

bool rewind_is_own_label(const char *label)
{
	return strcmp(label, REWIND_CUTOVER_LABEL) == 0 || strcmp(label, REPLICA_UNDO_LABEL) == 0;
}

/* What a machine may be started from (I8). */
static int find(struct replica *replica, const char *when, struct history_point *ret_point,
		struct fault *fault)
{
	int error = history_find(replica_history(replica), when, ret_point, fault);

	return error ? error : rewind_check_point(ret_point, fault);
}

/* One of an earlier time gives its name up. */
static int move_label(struct replica *replica, const char *label, uint64_t number,
		      struct fault *fault)
{
	struct history *history = replica_history(replica);
	struct history_point old;
	int error = 0;

	if (!history_find(history, label, &old, NULL))
		error = history_label(history, old.number, "", fault);
	return error ? error : history_label(history, number, label, fault);
}

int rewind_find(struct machines *machines, struct machine *machine, const char *when,
		uint64_t *ret_number, struct fault *fault)
{
	struct history_point point;
	struct replica *replica;
	int error = replica_hold(machines, machine, &replica, fault);

	if (error)
		return error;
	error = find(replica, when, &point, fault);
	/* Labelled ones are not thinned out while the cutover runs. */
	if (!error && !point.label[0])
		error = move_label(replica, REWIND_CUTOVER_LABEL, point.number, fault);
	replica_release(replica);
	if (!error)
		*ret_number = point.number;
	return error;
}

int rewind_check_point(const struct history_point *point, struct fault *fault)
{
	if (!(point->flags & HISTORY_MIXED))
		return 0;
	return fault_set(fault, FAULT_STOP, EINVAL,
			 "#%llu is how the replica was before a rollback: a mix of moments, "
			 "nothing to start a machine from; 'blkferry rollback --undo' goes "
			 "back to it",
			 (unsigned long long)point->number);
}

/* The lock is held. */
static int check(const struct machine *machine, struct fault *fault)
{
	const char *name = machine->name;

	if (machine->is_rewinding)
		return fault_set(fault, FAULT_STOP, EBUSY, "a rollback of %s is under way", name);
	if (machine->state == MACHINE_COMMITTED || machine->state == MACHINE_COMPLETED)
		return fault_set(fault, FAULT_STOP, EALREADY,
				 "%s was cut over: its replica is the machine now", name);
	if (machine->cutover.is_running)
		return fault_set(fault, FAULT_STOP, EBUSY, "a cutover of %s is under way", name);
	if (machine->session && !machine->is_paused)
		return fault_set(fault, FAULT_STOP, EBUSY,
				 "%s is connected and replicating: 'blkferry pause %s' first", name,
				 name);
	return 0;
}

/* Whoever is connected is told to wait, and is gone when this returns. */
static int end_session(struct machine *machine, struct fault *fault)
{
	uint64_t deadline_ns = os_monotonic_ns() + END_NS;
	struct fault told = {0};
	struct session *session;
	int error = 0;

	os_mutex_lock(&machine->lock);
	session = session_hold(machine);
	os_mutex_unlock(&machine->lock);
	if (session) {
		fault_set(&told, FAULT_STOP, EBUSY, "%s is being rolled back at the receiver",
			  machine->name);
		session_fail(session, WIRE_ERROR_TARGET, &told);
		session_release(session);
	}
	os_mutex_lock(&machine->lock);
	while (machine->session && !error)
		error = os_cond_wait_until(&machine->changed, &machine->lock, deadline_ns);
	os_mutex_unlock(&machine->lock);
	return error ? fault_set(fault, FAULT_RETRY, EBUSY,
				 "the session of %s has not ended: its target does not answer",
				 machine->name)
		     : 0;
}

/* Durably. What is said of the rollback: which checkpoint, and is the replica there? */
static int store(struct machines *machines, struct machine *machine, enum machine_state state,
		 uint64_t point, bool is_done, struct fault *fault)
{
	enum machine_state old_state;
	int error;

	os_mutex_lock(&machine->lock);
	old_state = machine->state;
	machine->state = state;
	machine->rollback_point = point;
	machine->is_rollback_done = is_done;
	error = machine_store(machines, machine, fault);
	if (error)
		machine->state = old_state;
	os_cond_broadcast(&machine->changed);
	os_mutex_unlock(&machine->lock);
	return error;
}

/* Is there a rollback? Then nobody else touches the replica until end_change. */
static int begin_change(struct machine *machine, struct fault *fault)
{
	int error = 0;

	os_mutex_lock(&machine->lock);
	if (machine->is_rewinding)
		error = fault_set(fault, FAULT_STOP, EBUSY, "a rollback of %s is under way",
				  machine->name);
	else if (machine->state != MACHINE_ROLLED_BACK)
		error = fault_set(fault, FAULT_STOP, EINVAL, "%s is not rolled back",
				  machine->name);
	else
		machine->is_rewinding = true;
	os_mutex_unlock(&machine->lock);
	return error;
}

static void end_change(struct machine *machine)
{
	os_mutex_lock(&machine->lock);
	machine->is_rewinding = false;
	os_cond_broadcast(&machine->changed);
	os_mutex_unlock(&machine->lock);
}

/* All disks that a checkpoint may have, also those that the last session did not announce. There is no session. */
static int hold_all_as(struct machines *machines, struct machine *machine,
		       const struct replica_user *user, struct replica **ret_replica,
		       struct fault *fault)
{
	os_mutex_lock(&machine->lock);
	for (unsigned int i = 0; i < machine->slot_count; i++)
		machine->slots[i].is_present = false;
	os_mutex_unlock(&machine->lock);
	return replica_hold_as(machines, machine, user, ret_replica, fault);
}

static int hold_all(struct machines *machines, struct machine *machine,
		    struct replica **ret_replica, struct fault *fault)
{
	return hold_all_as(machines, machine, NULL, ret_replica, fault);
}

static int roll_back(struct machines *machines, struct machine *machine, struct replica *replica,
		     const char *when, bool is_first, struct fault *fault)
{
	struct history_point point = {0};
	int error = find(replica, when, &point, fault);

	if (!error && is_first)
		error = replica_mark_undo(replica, fault);
	/* No agent from here on, whatever happens: the targets will not be what it believes. */
	if (!error)
		error = store(machines, machine, MACHINE_ROLLED_BACK, point.number, false, fault);
	if (!error)
		error = replica_restore(replica, point.number, fault);
	return error ? error
		     : store(machines, machine, MACHINE_ROLLED_BACK, point.number, true, fault);
}

int rewind_to(struct machines *machines, struct machine *machine, const char *when,
	      struct fault *fault)
{
	struct replica *replica;
	bool is_first;
	int error;

	os_mutex_lock(&machine->lock);
	error = check(machine, fault);
	is_first = machine->state == MACHINE_REPLICATING;
	if (!error)
		machine->is_rewinding = true; /* refuses sessions until it has an end */
	os_mutex_unlock(&machine->lock);
	if (error)
		return error;
	error = end_session(machine, fault);
	if (!error)
		error = hold_all(machines, machine, &replica, fault);
	if (!error) {
		error = roll_back(machines, machine, replica, when, is_first, fault);
		replica_release(replica);
	}
	end_change(machine);
	return error;
}

static int undo(struct machines *machines, struct machine *machine, struct fault *fault)
{
	struct history_point point;
	struct replica *replica;
	int error = hold_all(machines, machine, &replica, fault);

	if (error)
		return error;
	error = history_find(replica_history(replica), REPLICA_UNDO_LABEL, &point, fault);
	if (!error)
		error = store(machines, machine, MACHINE_ROLLED_BACK, point.number, false, fault);
	if (!error)
		error = replica_restore(replica, point.number, fault);
	if (!error)
		error = store(machines, machine, MACHINE_REPLICATING, 0, false, fault);
	if (!error && history_drop_point(replica_history(replica), point.number, fault))
		log_warning("%s: ignoring: %s", machine->name, fault->text);
	replica_release(replica);
	return error;
}

int rewind_undo(struct machines *machines, struct machine *machine, struct fault *fault)
{
	int error = begin_change(machine, fault);

	if (error)
		return error;
	error = undo(machines, machine, fault);
	end_change(machine);
	return error;
}

static int follow(struct machines *machines, struct machine *machine, struct fault *fault)
{
	char path[PATH_LENGTH];
	struct replica *replica;
	int error = hold_all(machines, machine, &replica, fault);

	if (error)
		return error;
	error = replica_distrust(replica, fault);
	replica_release(replica);
	/* All of it is applied. Without it the agent learns that its stream does not go on here. */
	machine_path(machines, machine, "journal", path, sizeof(path));
	if (!error)
		error = journal_discard(path, fault);
	if (error == -EBUSY)
		error = fault_set(fault, FAULT_STOP, EBUSY,
				  "the replica of %s is in use: end its views first",
				  machine->name);
	return error ? error : store(machines, machine, MACHINE_REPLICATING, 0, false, fault);
}

int rewind_follow(struct machines *machines, struct machine *machine, struct fault *fault)
{
	int error = begin_change(machine, fault);

	if (error)
		return error;
	error = follow(machines, machine, fault);
	end_change(machine);
	return error;
}

int rewind_before_start(struct machines *machines, struct machine *machine, struct fault *fault)
{
	const struct replica_user user = {.is_before_start = true};
	struct replica *replica;
	uint64_t number;
	int error;

	os_mutex_lock(&machine->lock);
	number = machine->cutover_point;
	os_mutex_unlock(&machine->lock);
	if (!number)
		return 0;
	error = hold_all_as(machines, machine, &user, &replica, fault);
	if (error)
		return error;
	error = replica_restore(replica, number, fault);
	replica_release(replica);
	if (error)
		return error;
	/* Once it may have been started, going back again would mix its writes with old blocks. */
	os_mutex_lock(&machine->lock);
	machine->cutover_point = 0;
	error = machine_store(machines, machine, fault);
	if (error)
		machine->cutover_point = number;
	os_mutex_unlock(&machine->lock);
	return error;
}
