// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every call to XAPI fails once, loses its answer once, and kills the receiver once, at every step of making a machine's
 * VM, attaching its disks, snapshots and cutover: nothing is left behind in the pool, and the next attempt succeeds. What is
 * done runs in a child, for which this machine is the pool's dom0; what there is in the pool is the stub's census.
 */
#include "receiver/xapi/xcp_internal.h"
#include "receiver/xapi/xcp_snapshot.h"
#include "xcp_child_fixture.h"

#define DISKS	  2
#define CALLS_MAX 200

static struct receiver_options options;
static struct machines *machines;
static struct machine *machine;
static struct xcp_record record;

static int act_create(void)
{
	const struct xcp_request request = {.sr = "Local storage"};
	json_t *result = NULL;
	int error = xcp_create(machines, machine, &request, &result, &fault);

	json_decref(result);
	return error == -EEXIST ? 0 : error; /* an earlier attempt had done it all */
}

static int act_attach(void)
{
	char uri[256];
	int error = 0;

	for (unsigned int i = 0; !error && i < DISKS; i++)
		error = xcp_attach(record.vdis[i], uri, sizeof(uri), &fault);
	return error;
}

static int act_detach(void)
{
	int error = 0;

	for (unsigned int i = 0; !error && i < DISKS; i++)
		error = xcp_detach(record.vdis[i], &fault);
	return error;
}

/* The second would be the same once more. */
static int act_attach_and_detach(void)
{
	char uri[256];
	int error = xcp_attach(record.vdis[0], uri, sizeof(uri), &fault);

	return error ? error : xcp_detach(record.vdis[0], &fault);
}

static int act_check(void)
{
	return xcp_check(machines, machine, &fault);
}

static int act_start(void)
{
	return xcp_start(machines, machine, &fault);
}

/* In a network in which it may ping itself. */
static int act_start_with_ping(void)
{
	struct machine_options ours = {.ping = (char *)"127.0.0.1"};

	if (unshare(CLONE_NEWNET) ||
	    try_run("ip link set lo up && echo 0 0 >/proc/sys/net/ipv4/ping_group_range"))
		return -EPERM;
	snprintf(ours.name, sizeof(ours.name), "web1");
	options.machines = &ours;
	options.machine_count = 1;
	alarm(30); /* without an answer it would wait for a minute */
	return xcp_start(machines, machine, &fault);
}

static bool was_held(void *context)
{
	return true;
}

static int act_clean(void)
{
	struct xcp_snapshots *list;
	int error = xcp_snapshots_load(machines, machine, &list, &fault);

	if (!error)
		error = xcp_snapshots_clean(machines, machine, list, NULL, &fault);
	free(list);
	return error;
}

static int act_snapshot(void)
{
	const struct xcp_snapshot_order order = {
		.number = 7, .time_ns = 1000 * NS_PER_S, .release = was_held};
	struct xcp_snapshots *list = NULL;
	int error = xcp_snapshots_load(machines, machine, &list, &fault);

	/* One that was made before its maker died is there, and is no other. */
	if (!error && !(list->count == 1 && !list->list[0].is_going))
		error = xcp_snapshot_make(machines, machine, list, &order, &fault);
	free(list);
	return error;
}

/* --- at every call --- */

static void save_all(void)
{
	(void)ask("{\"save\": true}");
	run(text_of("rm -rf %s/saved; cp -a %s/state %s/saved", folder, folder, folder));
}

static void restore_all(void)
{
	(void)ask("{\"restore\": true}");
	run(text_of("rm -rf %s/state; cp -a %s/saved %s/state", folder, folder, folder));
}

struct scenario {
	int (*act)(void);
	int (*recover)(void); /* as the next receiver begins */
	int (*again)(void);
	bool recovers_to_before; /* else what was done may stay */
	bool leaves_nothing;	 /* a call that fails, and act with it, leaves the pool as it was */
};

static bool is_read(const char *method)
{
	return strstr(method, ".get_") != NULL;
}

static void try_one(const struct scenario *scenario, const char *what, const char *method,
		    const char *at, const char *before, const char *after)
{
	int status;

	restore_all();
	status = in_child(scenario->act, what, at);
	if (status == 1 && scenario->leaves_nothing && strcmp(what, "fail") == 0)
		expect_census(before, what, method);
	if (strcmp(what, "kill") == 0)
		assert_int_equal(status, -1);
	if (status != 0 && scenario->recover && in_child(scenario->recover, "none", "0"))
		fail_msg("%s %s: the next receiver cannot begin", what, method);
	if (status != 0 && scenario->recovers_to_before)
		expect_census(before, what, method);
	if (status != 0 && in_child(scenario->again, "none", "0"))
		fail_msg("%s %s: the next attempt fails", what, method);
	expect_census(after, what, method);
}

static void at_every_call(const struct scenario *scenario)
{
	static const char *const whats[] = {"fail", "lose", "kill"};
	static char before[ANSWER_MAX], after[ANSWER_MAX];
	json_t *calls;

	save_all();
	take_census(before);
	assert_int_equal(in_child(scenario->act, "none", "0"), 0);
	calls = json_loads(ask("{\"counted\": true}"), 0, NULL);
	assert_in_range(json_array_size(calls), 2, CALLS_MAX);
	take_census(after);
	for (size_t k = 0; k < 3; k++) {
		for (unsigned int i = 0; i < json_array_size(calls); i++) {
			const char *method = json_string_value(json_array_get(calls, i));

			/* Reading changes nothing: dying after it is dying after what came before. */
			if (k == 0 || !is_read(method))
				try_one(scenario, whats[k], method, text_of("%u", i + 1), before,
					after);
		}
	}
	json_decref(calls);
}

static void have_machine(void)
{
	static char state_folder[64];

	start_unix_stub();
	snprintf(state_folder, sizeof(state_folder), "%s/state", folder);
	options = (struct receiver_options){
		.state_folder = state_folder,
		.storage_folder = folder,
		.xcp_host = host_text,
		.xcp_attach = XCP_ATTACH_DOM0_NBD,
	};
	assert_int_equal(xcp_set_pool(&options), 0);
	assert_int_equal(machines_load(&options, &machines, &fault), 0);
	machine = machines_add(machines, "web1");
	machine->facts = (struct wire_machine){.memory_bytes = GIB,
					       .cpus = 2,
					       .firmware = WIRE_FIRMWARE_UEFI,
					       .nics = 1,
					       .nic = {{.mac = {0x52, 0x54, 0, 0, 0, 1}}}};
	machine->slot_count = DISKS;
	for (unsigned int i = 0; i < DISKS; i++) {
		machine->slots[i].size_bytes = 4 * MIB;
		snprintf(machine->slots[i].identity, 16, "disk %u", i);
		snprintf(machine->slots[i].path, 16, "/dev/vd%c", 'a' + (char)i);
		snprintf(machine->slots[i].target, sizeof(machine->slots[i].target), "xcp:");
	}
	assert_int_equal(machine_store(machines, machine, &fault), 0);
}

static void have_vm(void)
{
	have_machine();
	assert_int_equal(in_child(act_create, "none", "0"), 0);
	assert_int_equal(xcp_record_load(machines, machine, &record, &fault), 0);
	for (unsigned int i = 0; i < DISKS; i++)
		snprintf(machine->slots[i].target, sizeof(machine->slots[i].target), "xcp:%s",
			 record.vdis[i]);
	assert_int_equal(machine_store(machines, machine, &fault), 0);
}

static void creating(void **state)
{
	have_machine();
	at_every_call(
		&(struct scenario){.act = act_create, .again = act_create, .leaves_nothing = true});
}

/* What it makes appears when nobody waits for it any more. */
static void an_answer_lost_by_a_slow_pool(void **state)
{
	static char before[ANSWER_MAX], after[ANSWER_MAX];

	have_machine();
	save_all();
	take_census(before);
	assert_int_equal(in_child(act_create, "none", "0"), 0);
	take_census(after);
	restore_all();
	(void)ask("{\"pause\": \"VM.clone\", \"seconds\": 0.5}");
	assert_int_equal(in_child(act_create, "lose", "\"VM.clone\""), 1);
	expect_census(before, "lose", "VM.clone");
	for (uint64_t deadline_ns = os_monotonic_ns() + DEADLINE_NS;
	     strcmp(ask("{\"census\": true}"), before) == 0;) {
		assert_true(os_monotonic_ns() < deadline_ns);
		os_sleep_ns(20 * NS_PER_MS);
	}
	assert_int_equal(in_child(act_create, "none", "0"), 0);
	expect_census(after, "lose", "VM.clone");
}

static void attaching_and_detaching(void **state)
{
	have_vm();
	at_every_call(&(struct scenario){.act = act_attach_and_detach,
					 .recover = act_detach,
					 .recovers_to_before = true,
					 .again = act_attach_and_detach});
}

/* Before the freeze: whatever it says, nothing has changed. */
static void checking(void **state)
{
	have_vm();
	at_every_call(
		&(struct scenario){.act = act_check, .again = act_check, .leaves_nothing = true});
}

static void cutting_over(void **state)
{
	have_vm();
	assert_int_equal(in_child(act_attach, "none", "0"), 0);
	at_every_call(&(struct scenario){.act = act_start, .again = act_start});
}

static void a_guest_without_tools_is_pinged(void **state)
{
	have_vm();
	(void)ask("{\"silent\": true}");
	assert_int_equal(in_child(act_start_with_ping, "none", "0"), 0);
}

static void making_a_snapshot(void **state)
{
	have_vm();
	assert_int_equal(in_child(act_attach, "none", "0"), 0);
	at_every_call(&(
		struct scenario){.act = act_snapshot, .recover = act_clean, .again = act_snapshot});
}

static void destroying_a_snapshot(void **state)
{
	struct xcp_snapshots *list;

	have_vm();
	assert_int_equal(in_child(act_snapshot, "none", "0"), 0);
	assert_int_equal(xcp_snapshots_load(machines, machine, &list, &fault), 0);
	list->list[0].is_going = true;
	assert_int_equal(xcp_snapshots_store(machines, machine, list, &fault), 0);
	free(list);
	at_every_call(&(struct scenario){.act = act_clean, .again = act_clean});
}

/* --- what must never go --- */

static void snapshots_of_a_person_are_left_alone(void **state)
{
	struct xcp_snapshots *list;
	char vm[XAPI_REF_MAX], ref[XAPI_REF_MAX];
	static char before[ANSWER_MAX];

	have_vm();
	log_in();
	assert_int_equal(xapi_get_text(xapi, "VM.get_by_uuid", record.vm, vm, sizeof(vm), &fault),
			 0);
	assert_int_equal(xapi_run(xapi, "VM.snapshot", json_pack("[s, s]", vm, "mine"),
				  10 * NS_PER_S, ref, sizeof(ref), &fault),
			 0);
	take_census(before);
	/* Of that name, but not in the list; then in the list as one of ours, though it is a disk that lives. */
	assert_int_equal(xcp_snapshots_load(machines, machine, &list, &fault), 0);
	list->count = 1;
	list->list[0] = (struct xcp_snapshot){.number = 7, .is_going = true, .vdi_count = 1};
	snprintf(list->list[0].name, XCP_SNAPSHOT_NAME_MAX, "another");
	snprintf(list->list[0].vdis[0], XCP_UUID_MAX, "%s", record.vdis[0]);
	snprintf(list->list[0].uuid, XCP_UUID_MAX, "%s", record.vm);
	assert_int_equal(xcp_snapshots_store(machines, machine, list, &fault), 0);
	free(list);
	assert_int_equal(in_child(act_clean, "none", "0"), 0);
	expect_census(before, "cleaning", "");
	assert_int_equal(xcp_snapshots_load(machines, machine, &list, &fault), 0);
	assert_int_equal(list->count, 0);
	free(list);
}

static void one_that_a_person_destroyed_is_forgotten(void **state)
{
	struct xcp_snapshots *list;
	char ref[XAPI_REF_MAX];

	have_vm();
	assert_int_equal(in_child(act_snapshot, "none", "0"), 0);
	assert_int_equal(xcp_snapshots_load(machines, machine, &list, &fault), 0);
	assert_int_equal(list->count, 1);
	assert_int_equal(list->list[0].vdi_count, DISKS);
	log_in();
	assert_int_equal(xapi_get_text(xapi, "VM.get_by_uuid", list->list[0].uuid, ref, sizeof(ref),
				       &fault),
			 0);
	assert_int_equal(xapi_callf(xapi, NULL, &fault, "VM.destroy", "[s]", ref), 0);
	free(list);
	/* The next one finds out. */
	assert_int_equal(xcp_snapshots_load(machines, machine, &list, &fault), 0);
	assert_int_equal(xcp_snapshot_make(machines, machine, list,
					   &(struct xcp_snapshot_order){.number = 8,
									.time_ns = NS_PER_S,
									.release = was_held},
					   &fault),
			 0);
	assert_int_equal(list->count, 1);
	assert_int_equal(list->list[0].number, 8);
	free(list);
}

static bool was_not_held(void *context)
{
	return false;
}

static void one_of_no_checkpoint_goes(void **state)
{
	struct xcp_snapshots *list;
	static char before[ANSWER_MAX];

	have_vm();
	take_census(before);
	assert_int_equal(xcp_snapshots_load(machines, machine, &list, &fault), 0);
	assert_int_equal(xcp_snapshot_make(machines, machine, list,
					   &(struct xcp_snapshot_order){.number = 8,
									.time_ns = NS_PER_S,
									.release = was_not_held},
					   &fault),
			 -EAGAIN);
	assert_true(list->list[0].is_going);
	free(list);
	assert_int_equal(in_child(act_clean, "none", "0"), 0);
	expect_census(before, "cleaning", "");
}

static int begin_faults(void **state)
{
	machines = NULL;
	memset(&record, 0, sizeof(record));
	return begin_xapi(state);
}

static int end_faults(void **state)
{
	machines_free(machines);
	return end_xapi(state);
}

#define FAULT_TEST(name) cmocka_unit_test_setup_teardown(name, begin_faults, end_faults)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(creating),
		FAULT_TEST(an_answer_lost_by_a_slow_pool),
		FAULT_TEST(attaching_and_detaching),
		FAULT_TEST(checking),
		FAULT_TEST(cutting_over),
		FAULT_TEST(a_guest_without_tools_is_pinged),
		FAULT_TEST(making_a_snapshot),
		FAULT_TEST(destroying_a_snapshot),
		FAULT_TEST(snapshots_of_a_person_are_left_alone),
		FAULT_TEST(one_that_a_person_destroyed_is_forgotten),
		FAULT_TEST(one_of_no_checkpoint_goes),
	};

	if (!is_installed("python3")) {
		puts("python3 is not installed");
		return SKIP;
	}
	if (geteuid() != 0) {
		puts("needs root, for a /etc of its own");
		return SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
