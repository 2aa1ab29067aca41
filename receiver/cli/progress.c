// SPDX-License-Identifier: GPL-2.0-or-later
/* Live progress of a long command; see progress.h. */
#include "receiver/cli/progress.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "receiver/cli/client.h"
#include "receiver/cli/commands.h"
#include "receiver/cli/text.h"

static bool is_shown;

void progress_show(const char *name)
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

void progress_clear(void)
{
	if (is_shown)
		fputs("\r\033[K", stderr);
	is_shown = false;
}
