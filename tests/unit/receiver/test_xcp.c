/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machines in a pool, against the stub: what is made for them, and what never is. */
#include "xapi_fixture.h"
#include "receiver/xapi/xcp_internal.h"

static struct receiver_options options;
static struct machines *machines;
static struct machine *machine;

static void have_pool(void)
{
	start_unix_stub();
	options = (struct receiver_options){
		.state_folder = folder,
		.storage_folder = folder,
		.xcp_host = host_text,
		.xcp_attach = XCP_ATTACH_HELPER,
	};
	assert_int_equal(xcp_set_pool(&options), 0);
	assert_int_equal(machines_load(&options, &machines, &fault), 0);
	machine = machines_add(machines, "web1");
	assert_int_equal(machine_store(machines, machine, &fault), 0);
	log_in();
}

static void add_disk(uint64_t size_bytes)
{
	struct machine_slot *slot = &machine->slots[machine->slot_count++];

	slot->size_bytes = size_bytes;
	snprintf(slot->path, sizeof(slot->path), "/dev/vd%c", 'a' + (char)machine->slot_count - 1);
	snprintf(slot->target, sizeof(slot->target), "xcp:");
}

static void add_facts(unsigned int firmware, unsigned int flags)
{
	machine->facts = (struct wire_machine){.memory_bytes = 4 * GIB,
					       .cpus = 6,
					       .firmware = (uint16_t)firmware,
					       .flags = (uint16_t)flags,
					       .nics = 2,
					       .nic = {{.mac = {0x52, 0x54, 0, 0, 0, 1}},
						       {.mac = {0x52, 0x54, 0, 0, 0, 2}}}};
}

static int try_create(void)
{
	const struct xcp_request request = {.sr = "Local storage"};
	json_t *result = NULL;
	int error;

	memset(&fault, 0, sizeof(fault));
	error = xcp_create(machines, machine, &request, &result, &fault);
	json_decref(result);
	return error;
}

static void create(void)
{
	if (try_create())
		fail_msg("%s", fault.text);
}

/* Does jq say true of the call's answer? */
static void assert_pool(const char *method, const char *filter)
{
	order(text_of("{\"call\": \"%s\", \"params\": []}", method));
	run(text_of("jq -e '%s' %s/answer >/dev/null || { cat %s/answer; false; }", filter, folder,
		    folder));
}

#define WEB1 "[.[] | select(.name_label == \"web1\")][0] | "

static void the_vm_is_like_the_source(void **state)
{
	have_pool();
	add_disk(10 * GIB);
	add_facts(WIRE_FIRMWARE_BIOS, 0);
	create();
	assert_pool("VM.get_all_records", WEB1
		    ".VCPUs_max == 6 and .VCPUs_at_startup == 6 and "
		    ".memory_static_max == 4294967296 and .memory_dynamic_min == 4294967296 and "
		    ".HVM_boot_params.firmware == \"bios\" and .is_a_template == false and "
		    ".platform.secureboot == \"false\" and .platform.acpi == \"1\" and "
		    "(.blocked_operations | has(\"start\") and has(\"start_on\") and "
		    "has(\"reverting\")) and (.VBDs | length) == 1");
	assert_pool("VBD.get_all_records",
		    "[.[]] | length == 1 and .[0].userdevice == \"0\" and .[0].bootable and "
		    "(.[0].currently_attached | not)");
	assert_pool("VIF.get_all_records", "[.[]] | sort_by(.device) | map(.device + .MAC) == "
					   "[\"052:54:00:00:00:01\", \"152:54:00:00:00:02\"]");
}

static void firmware_and_secure_boot_are_the_sources(void **state)
{
	have_pool();
	add_disk(10 * GIB);
	add_facts(WIRE_FIRMWARE_UEFI, WIRE_MACHINE_SECURE_BOOT);
	create();
	assert_pool("VM.get_all_records", WEB1
		    ".HVM_boot_params.firmware == \"uefi\" and .platform.secureboot == \"true\" "
		    "and .platform.\"device-model\" == \"qemu-upstream-uefi\"");
}

static void a_disk_too_large_for_vhd_becomes_qcow2(void **state)
{
	have_pool();
	add_disk(2041 * GIB);
	add_disk(2040 * GIB);
	add_facts(WIRE_FIRMWARE_BIOS, 0);
	order("{\"change\": \"SR\", \"fields\": {\"physical_size\": 9000000000000}}");
	create();
	assert_pool("VDI.get_all_records",
		    "[.[]] | sort_by(.name_label) | map(.sm_config.\"image-format\") == "
		    "[\"qcow2\", null]");
}

static void what_was_made_goes_when_the_rest_fails(void **state)
{
	have_pool();
	add_disk(3 * GIB);
	add_disk(200 * GIB); /* the storage has 100 */
	add_facts(WIRE_FIRMWARE_BIOS, 0);
	assert_int_equal(try_create(), -ENOSPC);
	assert_pool("VDI.get_all", "length == 0");
	assert_pool("VM.get_all", "length == 3"); /* the pool's own */
}

static void a_disk_too_large_for_its_storage_is_refused(void **state)
{
	have_pool();
	add_disk(2041 * GIB);
	add_facts(WIRE_FIRMWARE_BIOS, 0);
	order("{\"change\": \"SR\", \"fields\": {\"type\": \"smb\"}}");
	assert_int_equal(try_create(), -EFBIG);
	assert_non_null(strstr(fault.text, "2040 GiB"));
	order("{\"change\": \"SR\", \"fields\": {\"type\": \"ext\"}}");
	machine->slots[0].size_bytes = 16382 * GIB;
	assert_int_equal(try_create(), -EFBIG);
	assert_non_null(strstr(fault.text, "16381 GiB"));
}

static void what_is_not_known_is_not_made(void **state)
{
	have_pool();
	assert_int_equal(try_create(), -EAGAIN);
	add_disk(GIB);
	assert_int_equal(try_create(), -EAGAIN);
	add_facts(WIRE_FIRMWARE_BIOS, 0);
	machine->state = MACHINE_COMPLETED;
	assert_int_equal(try_create(), -EALREADY);
}

static void an_interrupted_create_is_taken_away_by_the_next(void **state)
{
	struct xcp_record record;

	have_pool();
	add_disk(GIB);
	add_facts(WIRE_FIRMWARE_BIOS, 0);
	create();
	/* As if the receiver had died before it noted the end. */
	assert_int_equal(xcp_record_load(machines, machine, &record, &fault), 0);
	record.is_complete = false;
	record.vm[0] = record.vdis[0][0] = '\0';
	assert_int_equal(xcp_record_store(machines, machine, &record, &fault), 0);
	create();
	assert_pool("VDI.get_all", "length == 1");
	assert_pool("VM.get_all", "length == 4");
}

static void what_others_made_is_not_destroyed(void **state)
{
	have_pool();
	add_disk(GIB);
	add_facts(WIRE_FIRMWARE_BIOS, 0);
	create();
	xcp_record_remove(machines, machine, &fault);
	order("{\"fail\": \"VIF.create\", \"error\": [\"MAC_INVALID\", \"x\"]}");
	assert_int_equal(try_create(), -EINVAL);
	/* Of the same names, but of another record. */
	assert_pool("VDI.get_all", "length == 1");
	assert_pool("VM.get_all", "length == 4");
}

static void a_disk_that_came_later_is_added(void **state)
{
	struct xcp_record before, after;

	have_pool();
	add_disk(GIB);
	add_facts(WIRE_FIRMWARE_BIOS, 0);
	create();
	assert_int_equal(try_create(), -EEXIST);
	assert_int_equal(xcp_record_load(machines, machine, &before, &fault), 0);
	add_disk(2 * GIB);
	add_disk(200 * GIB);
	assert_int_equal(try_create(), -ENOSPC);
	assert_pool("VDI.get_all", "length == 1");
	machine->slot_count--;
	create();
	assert_int_equal(xcp_record_load(machines, machine, &after, &fault), 0);
	assert_string_equal(after.vdis[0], before.vdis[0]);
	assert_string_equal(after.vm, before.vm);
	assert_true(after.vdis[1][0] != '\0');
	assert_pool("VDI.get_all", "length == 2");
}

static void a_slot_goes_to_its_vdi(void **state)
{
	struct xcp_record record;
	char uri[256], expected[64];

	have_pool();
	add_disk(GIB);
	add_facts(WIRE_FIRMWARE_BIOS, 0);
	assert_true(xcp_slot_uri(machines, machine, 0, uri, sizeof(uri)));
	assert_string_equal(uri, "xcp:");
	create();
	assert_int_equal(xcp_record_load(machines, machine, &record, &fault), 0);
	snprintf(expected, sizeof(expected), "xcp:%s", record.vdis[0]);
	assert_true(xcp_slot_uri(machines, machine, 0, uri, sizeof(uri)));
	assert_string_equal(uri, expected);
	assert_int_equal(target_check_uri(uri, &fault), 0);
	options.xcp_host = NULL;
	assert_false(xcp_slot_uri(machines, machine, 0, uri, sizeof(uri)));
}

static void make_device(const char *name, const char *nodename)
{
	run(text_of("mkdir -p %s/block/%s/device; echo %s >%s/block/%s/device/nodename", folder,
		    name, nodename, folder, name));
}

static void a_device_is_known_by_its_number_not_its_name(void **state)
{
	char found[64];

	make_device("xvda", "device/vbd/51712");
	make_device("xvdc", "device/vbd/51728");
	make_device("xvdb", "device/vbd/5172");
	run(text_of("mkdir -p %s/block/sda/device", folder));
	assert_int_equal(
		xcp_device_find(in_folder("block"), xcp_xenstore_id(1), found, sizeof(found)), 0);
	assert_string_equal(found, "xvdc");
	assert_int_equal(xcp_device_find(in_folder("block"), xcp_xenstore_id(2), found,
					 sizeof(found)),
			 -ENOENT);
	assert_int_equal(xcp_xenstore_id(16), (1 << 28) | (16 << 8));
	assert_int_equal(xcp_device_of(2), 2);
	assert_int_equal(xcp_device_of(3), 4);
}

static int begin_xcp(void **state)
{
	machines = NULL;
	machine = NULL;
	return begin_xapi(state);
}

static int end_xcp(void **state)
{
	machines_free(machines);
	return end_xapi(state);
}

#define XCP_TEST(name) cmocka_unit_test_setup_teardown(name, begin_xcp, end_xcp)

int main(void)
{
	const struct CMUnitTest tests[] = {
		XCP_TEST(the_vm_is_like_the_source),
		XCP_TEST(firmware_and_secure_boot_are_the_sources),
		XCP_TEST(a_disk_too_large_for_vhd_becomes_qcow2),
		XCP_TEST(what_was_made_goes_when_the_rest_fails),
		XCP_TEST(a_disk_too_large_for_its_storage_is_refused),
		XCP_TEST(what_is_not_known_is_not_made),
		XCP_TEST(an_interrupted_create_is_taken_away_by_the_next),
		XCP_TEST(what_others_made_is_not_destroyed),
		XCP_TEST(a_disk_that_came_later_is_added),
		XCP_TEST(a_slot_goes_to_its_vdi),
		XCP_TEST(a_device_is_known_by_its_number_not_its_name),
	};

	if (!is_installed("python3") || !is_installed("jq")) {
		puts("python3 or jq is not installed");
		return SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
