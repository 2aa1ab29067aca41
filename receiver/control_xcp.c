// SPDX-License-Identifier: GPL-2.0-or-later
/* The control socket and the pool: the command xcp-create, and what status shows of snapshots. */
#include <errno.h>
#include <jansson.h>

#include "common/log.h"
#include "receiver/cli/exit_codes.h"
#include "receiver/control_internal.h"
#include "receiver/xapi/xcp.h"

void control_add_snapshots(const struct machine *machine, json_t *root)
{
	const struct machine_snapshots *snapshots = &machine->snapshots;

	if (!snapshots->rules[0] && !snapshots->count)
		return;
	json_object_set_new(root, "snapshots",
			    json_pack("{s:s, s:i, s:b, s:I, s:I, s:s}", "rules", snapshots->rules,
				      "count", (int)snapshots->count, "due", snapshots->is_due,
				      "newest_point", (json_int_t)snapshots->newest_point,
				      "newest_ns", (json_int_t)snapshots->newest_ns, "error",
				      snapshots->error));
}

void control_xcp_create(struct control_client *client, struct machine *machine, json_t *request)
{
	const struct xcp_request wanted = {
		.sr = json_string_value(json_object_get(request, "sr")),
		.template = json_string_value(json_object_get(request, "template")),
		.vm_name = json_string_value(json_object_get(request, "vm_name")),
		.networks = json_object_get(request, "networks"),
	};
	struct fault fault = {0};
	json_t *result;

	if (!wanted.sr) {
		control_send_error(client, EXIT_CODE_USAGE,
				   "say with --sr in which storage repository");
		return;
	}
	if (xcp_create(client->machines, machine, &wanted, &result, &fault)) {
		control_send_error(client,
				   fault.error == EAGAIN ? EXIT_CODE_NOT_READY : EXIT_CODE_FAILED,
				   "%s", fault.text);
		return;
	}
	log_info("%s: its disks and its VM were made in the pool", machine->name);
	control_send_result(client, result);
}
