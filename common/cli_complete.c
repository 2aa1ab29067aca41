// SPDX-License-Identifier: GPL-2.0-or-later
/* Shell completion out of the help texts; see cli.h for what it understands of them. */
#include "common/cli.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/os_capture.h"

#define HELP_MAX_BYTES 65536
#define WORD_MAX       128

/* One question: the words, and the help text that says what can come. */
struct question {
	const struct cli_program *program;
	int word_count;
	char **words;
	const char *typed; /* the word that is being completed */
	FILE *to;
};

static void offer(const struct question *question, const char *word, const char *help)
{
	if (strncmp(word, question->typed, strlen(question->typed)) == 0)
		fprintf(question->to, help && *help ? "%s\t%s\n" : "%s\n", word, help);
}

/* Copies the word at *text, up to a space or the end of the line, and moves *text behind it. */
static bool take_word(const char **text, char ret_word[WORD_MAX])
{
	size_t length;

	*text += strspn(*text, " ");
	length = strcspn(*text, " \n");
	if (length == 0 || length >= WORD_MAX)
		return false;
	memcpy(ret_word, *text, length);
	ret_word[length] = '\0';
	*text += length;
	return true;
}

/* "  --config FILE    default ...": ret_argument is "" when it takes none. */
static bool parse_option_line(const char *line, char ret_name[WORD_MAX],
			      char ret_argument[WORD_MAX], const char **ret_help)
{
	ret_argument[0] = '\0';
	if (strncmp(line, "  --", 4) != 0 || !take_word(&line, ret_name))
		return false;
	if (line[0] == ' ' && line[1] != ' ' && !take_word(&line, ret_argument))
		return false;
	*ret_help = line + strspn(line, " ");
	return true;
}

static const char *next_line(const char *line)
{
	const char *end = strchr(line, '\n');

	return end ? end + 1 : NULL;
}

static void offer_options(const struct question *question, const char *help)
{
	char name[WORD_MAX], argument[WORD_MAX], text[256];
	const char *meaning;

	for (const char *line = help; line; line = next_line(line)) {
		if (!parse_option_line(line, name, argument, &meaning))
			continue;
		snprintf(text, sizeof(text), "%.*s", (int)strcspn(meaning, "\n"), meaning);
		offer(question, name, text);
	}
	offer(question, "--help", "");
}

/* What the option takes: false when it takes nothing or is not known. */
static bool find_argument(const char *help, const char *option, char ret_argument[WORD_MAX])
{
	char name[WORD_MAX];
	const char *meaning;

	for (const char *line = help; line; line = next_line(line))
		if (parse_option_line(line, name, ret_argument, &meaning) &&
		    strcmp(name, option) == 0)
			return ret_argument[0] != '\0';
	return false;
}

static void offer_names(const struct question *question)
{
	char *names = NULL, *rest, *name;
	size_t size;
	FILE *stream;

	if (!question->program->print_names)
		return;
	stream = open_memstream(&names, &size);
	if (!stream)
		return;
	question->program->print_names(stream, question->word_count, question->words);
	if (fclose(stream) == 0)
		for (name = strtok_r(names, "\n", &rest); name; name = strtok_r(NULL, "\n", &rest))
			offer(question, name, NULL);
	free(names);
}

/* slot is a word of the help text: NAME, FILE, poweroff|halt|hold ... */
static void offer_slot(const struct question *question, char *slot)
{
	char *rest, *word;

	if (strcmp(slot, "NAME") == 0) {
		offer_names(question);
	} else if (strcmp(slot, "FILE") == 0 || strcmp(slot, "DIR") == 0 ||
		   strcmp(slot, "PATH") == 0) {
		fputs(CLI_FILES "\n", question->to);
	} else if (strchr(slot, '|')) {
		for (word = strtok_r(slot, "|", &rest); word; word = strtok_r(NULL, "|", &rest))
			offer(question, word, NULL);
	}
}

/* The line of the synopsis that begins with "PROGRAM COMMAND"; what follows that. */
static const char *find_synopsis(const struct question *question, const char *command,
				 const char *help)
{
	char start[2 * WORD_MAX];
	const char *found;
	size_t length;

	snprintf(start, sizeof(start), "%s %s", question->program->name, command);
	length = strlen(start);
	for (found = strstr(help, start); found; found = strstr(found + 1, start))
		if (strchr(" \n", found[length]))
			return found + length;
	return NULL;
}

/* The index-th word of the synopsis that is neither an option nor what an option takes. */
static bool find_slot(const char *synopsis, int index, char ret_slot[WORD_MAX])
{
	int depth = 0;

	/* Behind two spaces stands what it does. */
	while (strncmp(synopsis, "  ", 2) != 0 && take_word(&synopsis, ret_slot)) {
		bool is_option = depth > 0 || strncmp(ret_slot, "[-", 2) == 0 ||
				 strcmp(ret_slot, "[OPTIONS]") == 0;
		size_t length;

		for (const char *c = ret_slot; *c; c++)
			depth += (*c == '[') - (*c == ']');
		if (is_option || index-- > 0)
			continue;
		length = strlen(ret_slot);
		if (ret_slot[0] == '[' && ret_slot[length - 1] == ']') {
			memmove(ret_slot, ret_slot + 1, length);
			ret_slot[length - 2] = '\0';
		}
		return true;
	}
	return false;
}

/* Completes behind `first` words of which the last was the subcommand (NULL: there is none yet). */
static void answer(const struct question *question, const struct cli_command *command, int first,
		   const char *help)
{
	int last = question->word_count - 1, place = 0;
	char slot[WORD_MAX];
	const char *synopsis;

	for (int i = first; i < last; i++) {
		if (question->words[i][0] != '-') {
			place++;
		} else if (find_argument(help, question->words[i], slot) && ++i == last) {
			offer_slot(question, slot);
			return;
		}
	}
	synopsis = command ? find_synopsis(question, command->name, help) : NULL;
	if (question->typed[0] == '-')
		offer_options(question, help);
	else if (synopsis && find_slot(synopsis, place, slot))
		offer_slot(question, slot);
	else if (command && question->typed[0] == '\0')
		offer_options(question, help);
	for (size_t i = 0; !command && i < question->program->command_count; i++)
		offer(question, question->program->commands[i].name,
		      question->program->commands[i].help);
}

static char *program_help(const struct cli_program *program)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	if (!stream)
		return NULL;
	program->print_usage(stream);
	if (fclose(stream) == 0)
		return text;
	free(text);
	return NULL;
}

static char *command_help(const struct cli_command *command)
{
	char help[] = "--help", *argv[] = {strdup(command->name), help, NULL}, *text = NULL;

	optind = 0; /* the program's main has used getopt before */
	if (!argv[0] || os_capture_stdout(command->run, 2, argv, HELP_MAX_BYTES, &text))
		text = NULL;
	free(argv[0]);
	return text;
}

void cli_complete(const struct cli_program *program, int word_count, char **words, FILE *to)
{
	static char nothing[] = "";
	static char *one_empty_word[] = {nothing};
	struct question question = {.program = program, .to = to};
	const struct cli_command *command = NULL;
	char *help = program_help(program), argument[WORD_MAX];
	int first;

	if (word_count == 0) {
		words = one_empty_word;
		word_count = 1;
	}
	question.words = words;
	question.word_count = word_count;
	question.typed = words[word_count - 1];
	for (first = 0; help && first < word_count - 1; first++) {
		if (words[first][0] != '-') {
			command = cli_find(program, words[first]);
			break;
		}
		first += find_argument(help, words[first], argument);
	}
	if (command) {
		free(help);
		help = command_help(command);
		answer(&question, command, first + 1, help ? help : "");
	} else if (help && first >= word_count - 1) {
		answer(&question, NULL, 0, help);
	}
	free(help);
}
