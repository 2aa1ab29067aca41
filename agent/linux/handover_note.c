/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the last start of the system found, kept in RUN_FOLDER/start until the next: a word, and a sentence. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/handover_start.h"
#include "common/os_file.h"

#define NOTE_NAME "start"

static const char *const kind_names[] = {
	[START_NONE] = "none", [START_ORDERLY] = "orderly", [START_COMPARED] = "compared"};

int start_note_write(const char *run_folder, const struct start_note *note)
{
	char path[256], text[START_TEXT_MAX + 32];
	int error = os_folder_make(run_folder, 0700);

	snprintf(path, sizeof(path), "%s/" NOTE_NAME, run_folder);
	snprintf(text, sizeof(text), "%s\n%s\n", kind_names[note->kind], note->text);
	return error ? error : os_file_write_atomic(path, text, strlen(text), 0600);
}

void start_note_read(const char *run_folder, struct start_note *ret_note)
{
	char path[256], *text = NULL, *sentence;
	size_t size;

	*ret_note = (struct start_note){.kind = START_NONE};
	snprintf(path, sizeof(path), "%s/" NOTE_NAME, run_folder);
	if (os_file_read(path, START_TEXT_MAX + 32, &text, &size) != 0)
		return;
	sentence = strchr(text, '\n');
	if (sentence) {
		*sentence++ = '\0';
		sentence[strcspn(sentence, "\n")] = '\0';
		snprintf(ret_note->text, sizeof(ret_note->text), "%s", sentence);
		if (!strcmp(text, kind_names[START_ORDERLY]))
			ret_note->kind = START_ORDERLY;
		else if (!strcmp(text, kind_names[START_COMPARED]))
			ret_note->kind = START_COMPARED;
	}
	free(text);
}
