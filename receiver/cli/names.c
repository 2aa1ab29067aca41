// SPDX-License-Identifier: GPL-2.0-or-later
/* The names of the machines, for shell completion: in no time, and without a word when there are none. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "receiver/cli/client.h"
#include "receiver/cli/commands.h"
#include "receiver/cli/text.h"

#define ANSWER_MS 1000

static void set_socket(int word_count, char **words)
{
	for (int i = 0; i + 1 < word_count; i++)
		if (strcmp(words[i], "--socket") == 0)
			client_set_socket(words[i + 1]);
}

/* client.c explains to people what is wrong: nobody reads that here. */
static void be_silent(void)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (null < 0)
		return;
	(void)dup2(null, STDERR_FILENO);
	close(null);
}

void cli_print_names(FILE *to, int word_count, char **words)
{
	struct client *client;
	json_t *message, *machine;
	bool timed_out;
	size_t index;

	be_silent();
	set_socket(word_count, words);
	client = client_ask(json_pack("{s:s}", "command", "status"));
	if (!client)
		return;
	message = client_next(client, ANSWER_MS, &timed_out);
	json_array_foreach(json_object_get(json_object_get(message, "result"), "machines"), index,
			   machine) fprintf(to, "%s\n", text_of(machine, "name"));
	json_decref(message);
	client_free(client);
}
