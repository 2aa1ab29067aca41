// SPDX-License-Identifier: GPL-2.0-or-later
/* The control socket's commands about views: view, view-list, view-stop; and test-boot. */
#include <errno.h>
#include <jansson.h>

#include "common/log.h"
#include "receiver/cli/exit_codes.h"
#include "receiver/control_internal.h"
#include "receiver/test_boot.h"
#include "receiver/view.h"

static int exit_code_of(int error)
{
	return error == EAGAIN || error == EBUSY ? EXIT_CODE_NOT_READY : EXIT_CODE_FAILED;
}

static const char *point_of(const json_t *request)
{
	const char *point = json_string_value(json_object_get(request, "point"));

	return point ? point : "latest";
}

static json_t *point_to_json(const struct history_point *point)
{
	return json_pack("{s:I, s:I, s:b, s:s}", "number", (json_int_t)point->number, "time_ns",
			 (json_int_t)point->time_ns, "frozen", (point->flags & HISTORY_FROZEN) != 0,
			 "label", point->label);
}

static json_t *view_to_json(struct view *view)
{
	json_t *disks = json_array();

	for (unsigned int i = 0; i < view_disk_count(view); i++)
		json_array_append_new(disks, json_pack("{s:i, s:I, s:s, s:s}", "disk",
						       (int)view_disk_slot(view, i), "size",
						       (json_int_t)view_disk_bytes(view, i), "uri",
						       view_disk_uri(view, i), "socket",
						       view_disk_socket(view, i)));
	return json_pack("{s:i, s:o, s:b, s:s, s:s, s:o}", "id", (int)view_id(view), "point",
			 point_to_json(view_point(view)), "alive", view_is_alive(view), "key_file",
			 view_key_path(view), "mount", view_note(view), "disks", disks);
}

void control_view(struct control_client *client, struct machine *machine, json_t *request)
{
	json_int_t port = json_integer_value(json_object_get(request, "port"));
	struct view_options options = {
		.point = point_of(request),
		.port = (uint16_t)port,
		.note = json_string_value(json_object_get(request, "mount")),
	};
	struct fault fault = {0};
	struct view *view;

	if (port < 0 || port > UINT16_MAX) {
		control_send_error(client, EXIT_CODE_USAGE, "there is no port %lld",
				   (long long)port);
		return;
	}
	if (view_open(client->machines, machine, &options, &view, &fault)) {
		control_send_error(client, exit_code_of(fault.error), "%s", fault.text);
		return;
	}
	/* Nobody would know of it. */
	if (control_is_gone(client))
		view_close(view);
	else
		control_send_result(client, view_to_json(view));
	view_release(view);
}

void control_view_list(struct control_client *client, struct machine *machine)
{
	json_t *list = json_array();

	for (struct view *view = view_next(machine, NULL); view; view = view_next(machine, view))
		json_array_append_new(list, view_to_json(view));
	control_send_result(client, json_pack("{s:o}", "views", list));
}

/* id 0: all of the machine's. */
void control_view_stop(struct control_client *client, struct machine *machine, json_t *request)
{
	unsigned int id = (unsigned int)json_integer_value(json_object_get(request, "id"));
	struct view *view;
	int count = 0;

	while ((view = view_find(machine, id))) {
		view_close(view);
		view_release(view);
		count++;
	}
	if (id && !count)
		control_send_error(client, EXIT_CODE_FAILED,
				   "%s has no view %u: 'blkferry view %s --list' shows them",
				   machine->name, id, machine->name);
	else
		control_send_result(client, json_pack("{s:i}", "stopped", count));
}

static bool tell_step(void *context, const char *text)
{
	struct control_client *client = context;

	if (control_is_gone(client))
		return false;
	return !text[0] ||
	       control_send(client, json_pack("{s:s, s:s}", "event", "test-boot", "text", text));
}

void control_test_boot(struct control_client *client, struct machine *machine, json_t *request)
{
	struct test_boot_options options = {
		.point = point_of(request),
		.timeout_ns = (uint64_t)json_integer_value(json_object_get(request, "timeout_ns")),
		.tell = tell_step,
		.context = client,
	};
	struct test_boot_result result;
	struct fault fault = {0};

	if (test_boot_run(client->machines, machine, &options, &result, &fault)) {
		control_send_error(client,
				   fault.error == ETIME ? EXIT_CODE_TEST_FAILED
							: exit_code_of(fault.error),
				   "%s", fault.text);
		return;
	}
	control_send_result(client,
			    json_pack("{s:o, s:f, s:i, s:s}", "point", point_to_json(&result.point),
				      "seconds", (double)result.took_ns / 1e9, "checks",
				      (int)result.checks, "text", result.text));
}
