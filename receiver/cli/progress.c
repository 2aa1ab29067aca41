// SPDX-License-Identifier: GPL-2.0-or-later
/* Events and live progress of a long command; see progress.h. */
#include "receiver/cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "receiver/cli/client.h"
#include "receiver/cli/exit_codes.h"
#include "receiver/cli/text.h"

#define REDRAW_MS 500

static bool is_shown;

/* Asks for the machine's status and redraws the line. */
static void show(const char *name)
{
	char line[256];
	const json_t *machine;
	json_t *result;
	int exit_code;

	if (!isatty(STDERR_FILENO))
		return;
	result = client_call(json_pack("{s:s, s:s}", "command", "status", "machine", name),
			     &exit_code);
	machine = json_array_get(json_object_get(result, "machines"), 0);
	if (machine) {
		if (is_true(machine, "verifying") && number_of(machine, "verify_bytes"))
			snprintf(line, sizeof(line), "verifying: %s of %s",
				 bytes_of(machine, "verify_done"),
				 bytes_of(machine, "verify_bytes"));
		else
			cli_progress_line(machine, line, sizeof(line));
		fprintf(stderr, "\r\033[K%.*s", 100, line);
		fflush(stderr);
		is_shown = true;
	}
	json_decref(result);
}

/* Before something else is printed. */
static void wipe(void)
{
	if (is_shown)
		fputs("\r\033[K", stderr);
	is_shown = false;
}

static void print_event(const json_t *event, const struct progress *progress)
{
	wipe();
	progress->print_event(event, progress->is_json);
	fflush(stdout);
}

static int print_end(json_t *message, const struct progress *progress)
{
	int exit_code;
	json_t *result = client_result(message, &exit_code);

	if (result)
		exit_code = progress->print_result(progress, result);
	json_decref(result);
	return exit_code;
}

int progress_follow(json_t *request, const struct progress *progress)
{
	struct client *client = client_ask(request);
	int timeout_ms = progress->is_drawn ? REDRAW_MS : -1;
	int exit_code = EXIT_CODE_NO_RECEIVER;
	bool is_over = !client;

	while (!is_over) {
		bool timed_out;
		json_t *message = client_next(client, timeout_ms, &timed_out);

		is_over = !timed_out && !json_object_get(message, "event");
		if (timed_out) {
			show(progress->name);
		} else if (!is_over) {
			print_event(message, progress);
		} else {
			wipe();
			exit_code = print_end(message, progress);
		}
		json_decref(message);
	}
	client_free(client);
	return exit_code;
}
