// SPDX-License-Identifier: GPL-2.0-or-later
/* `blkferry xcp create`: a machine's disks and VM in an XCP-ng pool. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/units.h"
#include "receiver/cli/client.h"
#include "receiver/cli/commands.h"
#include "receiver/cli/exit_codes.h"
#include "receiver/cli/text.h"

static const char usage[] =
	"usage: blkferry xcp create NAME --sr SR [--network NETWORK]... [--template TEMPLATE]\n"
	"                          [--vm-name VM] [--json]\n"
	"\n"
	"Makes in the pool of receiver.ini's [xcp] what machine NAME will be after its cutover: a VDI\n"
	"for each disk, and a VM with the source's memory, processors, firmware and MAC addresses,\n"
	"which must not be started before. Its agent must have connected once. All are named by UUID\n"
	"or by name.\n"
	"\n"
	"  --sr SR               the storage repository of the disks\n"
	"  --network NETWORK     of the interfaces: once for all, or once for each, in their order\n"
	"                        (default: the one that the pool has)\n"
	"  --template TEMPLATE   what the VM is cloned from (default: Other install media)\n"
	"  --vm-name VM          the VM's name (default: the machine's)\n"
	"  --json                print the result as JSON\n";

static void print_result(const json_t *result)
{
	const json_t *source = json_object_get(result, "source");
	const json_t *disk;
	char size[32];
	size_t i;

	units_format_bytes((uint64_t)json_integer_value(json_object_get(source, "memory")), size,
			   sizeof(size));
	printf("%s: VM '%s' (%s): %s, %d processors, %s%s, %d interfaces; blocked until the "
	       "cutover\n",
	       text_of(result, "name"), text_of(result, "vm_name"), text_of(result, "vm"), size,
	       (int)json_integer_value(json_object_get(source, "cpus")),
	       text_of(source, "firmware"),
	       json_is_true(json_object_get(source, "secure_boot")) ? " with secure boot" : "",
	       (int)json_integer_value(json_object_get(result, "nics")));
	json_array_foreach(json_object_get(result, "disks"), i, disk)
	{
		units_format_bytes((uint64_t)json_integer_value(json_object_get(disk, "size")),
				   size, sizeof(size));
		printf("  disk %d  %s, %s -> VDI %s\n",
		       (int)json_integer_value(json_object_get(disk, "disk")),
		       text_of(disk, "source"), size, text_of(disk, "vdi"));
	}
}

static int create(json_t *request, bool is_json)
{
	int exit_code;
	json_t *result = client_call(request, &exit_code);

	if (!result)
		return exit_code;
	if (is_json) {
		json_dumpf(result, stdout, JSON_INDENT(2));
		puts("");
	} else {
		print_result(result);
	}
	json_decref(result);
	return EXIT_CODE_OK;
}

int cli_xcp(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"sr", required_argument, NULL, 's'},
		{"network", required_argument, NULL, 'n'},
		{"template", required_argument, NULL, 't'},
		{"vm-name", required_argument, NULL, 'v'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	json_t *networks = json_array();
	json_t *request = json_pack("{s:s, s:o}", "command", "xcp-create", "networks", networks);
	bool is_json = false;
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (option) {
		case 's':
			json_object_set_new(request, "sr", json_string(optarg));
			break;
		case 'n':
			json_array_append_new(networks, json_string(optarg));
			break;
		case 't':
			json_object_set_new(request, "template", json_string(optarg));
			break;
		case 'v':
			json_object_set_new(request, "vm_name", json_string(optarg));
			break;
		case 'j':
			is_json = true;
			break;
		default:
			json_decref(request);
			return cli_usage(usage, option);
		}
	}
	if (argc - optind != 2 || strcmp(argv[optind], "create") != 0) {
		json_decref(request);
		return cli_usage(usage, '?');
	}
	json_object_set_new(request, "machine", json_string(argv[optind + 1]));
	return create(request, is_json);
}
