// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * When snapshots in the pool are made, and of what; see snapshots.h. Locks: a machine's, then this file's.
 */
#include "receiver/snapshots.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "receiver/snapshot_rules.h"
#include "receiver/xapi/xcp_snapshot.h"

#define LOOK_NS	      (200 * NS_PER_MS)
#define RETRY_MAX_NS  (300 * NS_PER_S)
#define HOLD_NS	      (XCP_SNAPSHOT_NS + 60 * NS_PER_S)
#define STOPPED_BY_NS (100 * NS_PER_MS) /* how often a held applier looks whether it has to go */

/* What is known of a machine; only the thread's. */
struct plan {
	struct plan *next;
	struct machine *machine;
	struct snapshot_rule rules[SNAPSHOT_RULES_MAX];
	unsigned int rule_count;
	struct xcp_snapshots *list; /* NULL: could not be read yet */
	uint64_t retry_ns;	    /* monotonic; nothing is done before */
};

static struct {
	struct os_mutex lock;
	struct os_cond changed;
	struct os_thread thread;
	struct machines *machines;
	atomic_bool is_over;

	struct machine *busy; /* whose VM is being worked on, or is about to be */
	bool is_held;	      /* ... and whose targets are checkpoint `number` */
	bool is_offered;      /* ... and the thread has not seen it yet */
	uint64_t number, time_ns;
} state = {.lock = OS_MUTEX_INITIALIZER};

/* --- for the applier, and cutovers --- */

bool snapshots_is_wanted(struct machine *machine)
{
	bool is_wanted;

	os_mutex_lock(&machine->lock);
	is_wanted = machine->snapshots.is_due && machine->state == MACHINE_REPLICATING &&
		    !machine->cutover.is_running && !machine->is_removed;
	os_mutex_unlock(&machine->lock);
	return is_wanted;
}

/* False: another one is being made, or none is wanted any more. */
static bool offer(struct machine *machine, uint64_t number, uint64_t time_ns)
{
	bool is_taken = false;

	/* Whoever begins a cutover says so under this lock first, and then waits for what is under way. */
	os_mutex_lock(&machine->lock);
	os_mutex_lock(&state.lock);
	if (machine->snapshots.is_due && !machine->cutover.is_running && !state.busy &&
	    !atomic_load(&state.is_over)) {
		state.busy = machine;
		state.is_held = state.is_offered = is_taken = true;
		state.number = number;
		state.time_ns = time_ns;
		os_cond_broadcast(&state.changed);
	}
	os_mutex_unlock(&state.lock);
	os_mutex_unlock(&machine->lock);
	return is_taken;
}

void snapshots_hold(struct machine *machine, uint64_t number, uint64_t time_ns,
		    bool (*has_to_go)(void *context), void *context)
{
	uint64_t deadline_ns = os_monotonic_ns() + HOLD_NS;

	if (!offer(machine, number, time_ns))
		return;
	os_mutex_lock(&state.lock);
	while (state.is_held && state.busy == machine && os_monotonic_ns() < deadline_ns) {
		bool is_going;

		os_mutex_unlock(&state.lock);
		is_going = has_to_go(context);
		os_mutex_lock(&state.lock);
		if (is_going)
			break;
		if (state.is_held)
			(void)os_cond_wait_until(&state.changed, &state.lock,
						 os_monotonic_ns() + STOPPED_BY_NS);
	}
	/* From here on the targets change: whoever has not finished by now has nothing. */
	if (state.busy == machine)
		state.is_held = false;
	os_mutex_unlock(&state.lock);
}

int snapshots_wait(struct machine *machine, struct fault *fault)
{
	uint64_t deadline_ns = os_monotonic_ns() + SNAPSHOTS_WAIT_NS;
	int error = 0;

	os_mutex_lock(&state.lock);
	while (!error && state.busy == machine)
		error = os_cond_wait_until(&state.changed, &state.lock, deadline_ns);
	os_mutex_unlock(&state.lock);
	return error ? fault_set(fault, FAULT_RETRY, EBUSY,
				 "the pool is making or destroying a snapshot of %s: try again "
				 "when it is done",
				 machine->name)
		     : 0;
}

/* --- the thread --- */

static void set_error(struct plan *plan, const struct fault *fault)
{
	struct machine *machine = plan->machine;
	uint64_t wait_ns = plan->rule_count ? plan->rules[0].every_ns / 10 : RETRY_MAX_NS;

	if (atomic_load(&state.is_over))
		return;
	if (wait_ns > RETRY_MAX_NS)
		wait_ns = RETRY_MAX_NS;
	plan->retry_ns = os_monotonic_ns() + (wait_ns > NS_PER_S ? wait_ns : NS_PER_S);
	os_mutex_lock(&machine->lock);
	if (strcmp(machine->snapshots.error, fault->text) != 0)
		log_warning("%s: no snapshot: %s", machine->name, fault->text);
	snprintf(machine->snapshots.error, sizeof(machine->snapshots.error), "%s", fault->text);
	os_mutex_unlock(&machine->lock);
}

static const struct xcp_snapshot *newest(const struct plan *plan)
{
	for (unsigned int i = plan->list ? plan->list->count : 0; i-- > 0;)
		if (!plan->list->list[i].is_going)
			return &plan->list->list[i];
	return NULL;
}

static bool has_going(const struct plan *plan)
{
	for (unsigned int i = 0; plan->list && i < plan->list->count; i++)
		if (plan->list->list[i].is_going)
			return true;
	return false;
}

static void show(struct plan *plan, bool is_due)
{
	const struct xcp_snapshot *last = newest(plan);
	struct machine_snapshots *shown = &plan->machine->snapshots;
	unsigned int count = 0;

	for (unsigned int i = 0; plan->list && i < plan->list->count; i++)
		count += !plan->list->list[i].is_going;
	os_mutex_lock(&plan->machine->lock);
	shown->is_due = is_due;
	shown->count = count;
	shown->newest_point = last ? last->number : 0;
	shown->newest_ns = last ? last->time_ns : 0;
	os_mutex_unlock(&plan->machine->lock);
}

static void clear_error(struct plan *plan)
{
	os_mutex_lock(&plan->machine->lock);
	plan->machine->snapshots.error[0] = '\0';
	os_mutex_unlock(&plan->machine->lock);
}

/* False: the machine is being cut over, or another is worked on. */
static bool take(struct machine *machine)
{
	bool is_taken = false;

	os_mutex_lock(&machine->lock);
	os_mutex_lock(&state.lock);
	if (!state.busy && !machine->cutover.is_running && !machine->is_removed) {
		state.busy = machine;
		is_taken = true;
	}
	os_mutex_unlock(&state.lock);
	os_mutex_unlock(&machine->lock);
	return is_taken;
}

static void let_go(void)
{
	os_mutex_lock(&state.lock);
	state.busy = NULL;
	state.is_held = state.is_offered = false;
	os_cond_broadcast(&state.changed);
	os_mutex_unlock(&state.lock);
}

/* The pool has made it, or failed to: the applier goes on. */
static bool release(void *context)
{
	bool was_held;

	os_mutex_lock(&state.lock);
	was_held = state.is_held;
	state.is_held = false;
	os_cond_broadcast(&state.changed);
	os_mutex_unlock(&state.lock);
	return was_held;
}

/* Marks what goes; xcp_snapshots_clean destroys it. */
static int thin(struct plan *plan, struct fault *fault)
{
	struct snapshot_point points[XCP_SNAPSHOTS_MAX];
	struct xcp_snapshots *list = plan->list;
	unsigned int count = 0;
	bool has_changed = false;

	for (unsigned int i = 0; i < list->count; i++)
		if (!list->list[i].is_going)
			points[count++].made_ns = list->list[i].made_ns;
	snapshot_rules_decide(plan->rules, plan->rule_count, points, count);
	for (unsigned int i = 0, k = 0; i < list->count; i++) {
		if (list->list[i].is_going || points[k++].is_kept)
			continue;
		list->list[i].is_going = has_changed = true;
	}
	return has_changed ? xcp_snapshots_store(state.machines, plan->machine, list, fault) : 0;
}

static void clean(struct plan *plan)
{
	struct fault fault = {0};

	if (!take(plan->machine))
		return;
	if (xcp_snapshots_clean(state.machines, plan->machine, plan->list, &state.is_over, &fault))
		set_error(plan, &fault);
	let_go();
}

static void make(struct plan *plan, uint64_t number, uint64_t time_ns)
{
	const struct xcp_snapshot_order order = {
		.number = number,
		.time_ns = time_ns,
		.is_over = &state.is_over,
		.release = release,
	};
	uint64_t began_ns = os_monotonic_ns();
	struct fault fault = {0};
	int error = xcp_snapshot_make(state.machines, plan->machine, plan->list, &order, &fault);

	(void)release(NULL); /* what failed early has not */
	if (!error) {
		clear_error(plan);
		log_info("%s: checkpoint #%" PRIu64 " is a snapshot in the pool, after %" PRIu64
			 " ms",
			 plan->machine->name, number,
			 (uint64_t)((os_monotonic_ns() - began_ns) / NS_PER_MS));
		error = thin(plan, &fault);
	}
	if (error)
		set_error(plan, &fault);
	let_go();
}

static struct plan *plan_of(struct plan **plans, struct machine *machine)
{
	const char *text = options_xcp_snapshots(machines_options(state.machines), machine->name);
	struct plan *plan = *plans;

	while (plan && plan->machine != machine)
		plan = plan->next;
	if (plan)
		return plan;
	plan = calloc(1, sizeof(*plan));
	if (!plan)
		return NULL;
	plan->machine = machine;
	/* It was checked when the file was read. */
	(void)snapshot_rules_parse(text, plan->rules, &plan->rule_count, NULL);
	os_mutex_lock(&machine->lock);
	if (plan->rule_count)
		snprintf(machine->snapshots.rules, sizeof(machine->snapshots.rules), "%s", text);
	os_mutex_unlock(&machine->lock);
	plan->next = *plans;
	*plans = plan;
	return plan;
}

static int load(struct plan *plan)
{
	struct fault fault = {0};
	int error = 0;

	if (!plan->list)
		error = xcp_snapshots_load(state.machines, plan->machine, &plan->list, &fault);
	if (error)
		set_error(plan, &fault);
	return error;
}

/* The machine's state, at one moment. */
struct look {
	bool is_removed, is_replicating, is_connected;
};

static struct look look_at(struct machine *machine)
{
	struct look look;

	os_mutex_lock(&machine->lock);
	look.is_removed = machine->is_removed;
	look.is_replicating = machine->state == MACHINE_REPLICATING && !machine->is_removed;
	look.is_connected = machine->session != NULL;
	os_mutex_unlock(&machine->lock);
	return look;
}

static void step(struct plan *plan)
{
	struct look look = look_at(plan->machine);
	const struct xcp_snapshot *last;
	bool is_due;

	if (look.is_removed) { /* its folder is gone; one of the same name begins anew */
		free(plan->list);
		plan->list = NULL;
		return;
	}
	if (os_monotonic_ns() < plan->retry_ns || load(plan)) {
		show(plan, false);
		return;
	}
	if (has_going(plan))
		clean(plan);
	last = newest(plan);
	is_due = look.is_replicating && look.is_connected && !has_going(plan) &&
		 os_monotonic_ns() >= plan->retry_ns &&
		 snapshot_rules_is_due(plan->rules, plan->rule_count, last ? last->made_ns : 0,
				       os_realtime_ns());
	show(plan, is_due);
}

/* An applier holds its targets: 1, and what it offers. Waits a while for one. */
static bool await_offer(struct machine **ret_machine, uint64_t *ret_number, uint64_t *ret_time_ns)
{
	bool is_there;

	os_mutex_lock(&state.lock);
	if (!state.is_offered)
		(void)os_cond_wait_until(&state.changed, &state.lock, os_monotonic_ns() + LOOK_NS);
	is_there = state.is_offered && state.is_held;
	if (state.is_offered && !state.is_held)
		state.busy = NULL; /* it could not wait */
	state.is_offered = false;
	*ret_machine = state.busy;
	*ret_number = state.number;
	*ret_time_ns = state.time_ns;
	os_mutex_unlock(&state.lock);
	return is_there;
}

static void serve(void *argument)
{
	struct plan *plans = NULL, *next;

	while (!atomic_load(&state.is_over)) {
		struct machine *machine;
		uint64_t number, time_ns;

		if (await_offer(&machine, &number, &time_ns)) {
			struct plan *plan = plan_of(&plans, machine);

			if (plan && plan->list)
				make(plan, number, time_ns);
			else
				let_go();
		}
		for (machine = machines_first(state.machines); machine; machine = machine->next) {
			struct plan *plan = plan_of(&plans, machine);

			if (plan && !atomic_load(&state.is_over))
				step(plan);
		}
	}
	for (struct plan *plan = plans; plan; plan = next) {
		next = plan->next;
		free(plan->list);
		free(plan);
	}
	let_go();
}

int snapshots_start(struct machines *machines, struct fault *fault)
{
	if (!machines_options(machines)->xcp_host)
		return 0;
	state.machines = machines;
	atomic_store(&state.is_over, false);
	os_cond_init(&state.changed);
	if (os_thread_start(&state.thread, "snapshots", serve, NULL))
		return fault_set(fault, FAULT_STOP, EAGAIN, "cannot start a thread");
	return 0;
}

void snapshots_stop(void)
{
	atomic_store(&state.is_over, true);
	os_thread_join(&state.thread);
}
