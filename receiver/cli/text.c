// SPDX-License-Identifier: GPL-2.0-or-later
/* The receiver's JSON as text; see text.h. */
#include "receiver/cli/text.h"

#include <stdio.h>
#include <string.h>

#include "common/os_clock.h"
#include "common/units.h"

const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

uint64_t number_of(const json_t *object, const char *key)
{
	json_int_t number = json_integer_value(json_object_get(object, key));

	return number > 0 ? (uint64_t)number : 0;
}

double real_of(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

bool is_true(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

const char *bytes_of(const json_t *object, const char *key)
{
	static char buffers[8][32];
	static unsigned int next;

	return units_format_bytes(number_of(object, key), buffers[next++ % 8], 32);
}

void cli_format_point(const json_t *point, char *ret_text, size_t size)
{
	uint64_t time_ns = number_of(point, "time_ns");
	const char *label = text_of(point, "label");
	char when[32];

	snprintf(ret_text, size, "#%llu of %s.%03u%s%s%s",
		 (unsigned long long)number_of(point, "number"),
		 units_format_time(time_ns, when, sizeof(when)),
		 (unsigned int)(time_ns / 1000000u % 1000u), label[0] ? ", " : "", label,
		 is_true(point, "frozen") ? ", frozen" : "");
}

static bool is_copying(const json_t *machine)
{
	const char *phase = text_of(machine, "phase");

	return strcmp(phase, "full") == 0 || strcmp(phase, "resync") == 0 ||
	       strcmp(phase, "delta") == 0 || strcmp(phase, "catch-up") == 0 ||
	       strcmp(phase, "paused") == 0;
}

static bool is_streaming(const json_t *machine)
{
	return strcmp(text_of(machine, "phase"), "streaming") == 0;
}

/* "RPO 412 ms", or "no checkpoint yet". */
static void format_rpo(const json_t *machine, char *ret_text, size_t size)
{
	char duration[40];

	if (!json_is_integer(json_object_get(machine, "rpo_ms")))
		snprintf(ret_text, size, "no checkpoint yet");
	else
		snprintf(ret_text, size, "RPO %s",
			 units_format_duration(number_of(machine, "rpo_ms") * NS_PER_MS, duration,
					       sizeof(duration)));
}

void cli_progress_line(const json_t *machine, char *ret_text, size_t size)
{
	char eta[48] = "", percent[16] = "", duration[40];
	const char *phase = text_of(machine, "phase");

	if (strcmp(phase, "full") == 0 || strcmp(phase, "resync") == 0)
		snprintf(percent, sizeof(percent), " %.1f %%", real_of(machine, "percent"));
	if (number_of(machine, "lag_bytes") && json_is_integer(json_object_get(machine, "eta_s")))
		snprintf(eta, sizeof(eta), ", %s left",
			 units_format_duration(number_of(machine, "eta_s") * NS_PER_S, duration,
					       sizeof(duration)));
	if (is_streaming(machine)) {
		char rpo[64];

		format_rpo(machine, rpo, sizeof(rpo));
		snprintf(ret_text, size, "%-16s streaming%s, %s, %s behind, %s/s%s%s",
			 text_of(machine, "name"), is_true(machine, "ready") ? ", ready" : "", rpo,
			 bytes_of(machine, "lag_bytes"), bytes_of(machine, "rate"),
			 text_of(machine, "last_error")[0] ? "; " : "",
			 text_of(machine, "last_error"));
	} else if (!is_copying(machine))
		snprintf(ret_text, size, "%-16s %s%s%s", text_of(machine, "name"), phase,
			 text_of(machine, "last_error")[0] ? "; " : "",
			 text_of(machine, "last_error"));
	else
		snprintf(ret_text, size, "%-16s %s%s%s, %s behind, %s/s%s%s%s",
			 text_of(machine, "name"), phase, percent,
			 is_true(machine, "ready") ? ", ready" : "", bytes_of(machine, "lag_bytes"),
			 bytes_of(machine, "rate"), eta,
			 text_of(machine, "last_error")[0] ? "; " : "",
			 text_of(machine, "last_error"));
}

static void print_bar(double percent)
{
	int full = (int)(percent * 50 / 100);

	fputs("  [", stdout);
	for (int i = 0; i < 50; i++)
		putchar(i < full ? '#' : '.');
	printf("] %.1f %%\n", percent);
}

static void print_disks(const json_t *disks)
{
	size_t index;
	json_t *disk;

	json_array_foreach((json_t *)disks, index, disk)
		printf("  disk %zu     %s (%s, %s) -> %s%s%s\n", index, text_of(disk, "source"),
		       bytes_of(disk, "size"), text_of(disk, "identity"), text_of(disk, "target"),
		       is_true(disk, "can_flush") ? "" : ", cannot flush",
		       is_true(disk, "present") ? "" : ", NOT THERE at the source");
}

static void print_agent(const json_t *agent)
{
	if (!text_of(agent, "host")[0])
		return;
	printf("  agent      %s, version %s, tracker %s%s\n", text_of(agent, "host"),
	       text_of(agent, "version"), text_of(agent, "tracker"),
	       strcmp(text_of(agent, "tracker"), "scan") == 0
		       ? " (sees no writes: every pass compares whole disks)"
		       : "");
	printf("  memory     %s of %s; %.1f s of CPU\n", bytes_of(agent, "memory_bytes"),
	       bytes_of(agent, "memory_limit"), (double)number_of(agent, "cpu_ns") / NS_PER_S);
	if (number_of(agent, "read_errors"))
		printf("  READ ERRORS at the source: %llu\n",
		       (unsigned long long)number_of(agent, "read_errors"));
}

static void print_stream(const json_t *machine)
{
	const json_t *gaps = json_object_get(machine, "gaps");
	const json_t *dropped = json_object_get(machine, "dropped");
	char duration[40];

	if (number_of(machine, "points"))
		printf("  points     %llu, back to %s ago; history %s, journal %s, of at most %s\n",
		       (unsigned long long)number_of(machine, "points"),
		       units_format_duration(number_of(machine, "span_ms") * NS_PER_MS, duration,
					     sizeof(duration)),
		       bytes_of(machine, "history_bytes"), bytes_of(machine, "journal_bytes"),
		       bytes_of(machine, "journal_size"));
	if (number_of(dropped, "count"))
		printf("  DROPPED    %llu checkpoints, since there was no space for them at the "
		       "receiver\n",
		       (unsigned long long)number_of(dropped, "count"));
	if (number_of(machine, "ring_bytes"))
		printf("  capture    %s/s; ring %s of %s; %s not applied yet\n",
		       bytes_of(machine, "capture_rate"), bytes_of(machine, "ring_used"),
		       bytes_of(machine, "ring_bytes"), bytes_of(machine, "unapplied_bytes"));
	if (number_of(gaps, "count"))
		printf("  gaps       %llu, the last: %s\n",
		       (unsigned long long)number_of(gaps, "count"), text_of(gaps, "reason"));
	else if (text_of(gaps, "reason")[0])
		printf("  no stream  %s: not crash consistent between freezes\n",
		       text_of(gaps, "reason"));
}

/* What keeps the target from starting in full; of warnings only how many there are. */
static void print_readiness(const json_t *readiness)
{
	const json_t *findings = json_object_get(readiness, "findings"), *finding;
	size_t i;

	if (!readiness)
		return;
	if (!number_of(readiness, "errors"))
		printf("  starts     on %s, as far as 'blkferry-agent check' can tell (%llu "
		       "warnings)\n",
		       text_of(readiness, "target"),
		       (unsigned long long)number_of(readiness, "warnings"));
	else
		printf("  NOT READY  would not start on %s: 'blkferry-agent check' found %llu "
		       "errors\n",
		       text_of(readiness, "target"),
		       (unsigned long long)number_of(readiness, "errors"));
	json_array_foreach(findings, i, finding)
	{
		const char *text = json_string_value(finding);

		if (text && strncmp(text, "error ", 6) == 0)
			printf("             %s\n", text);
	}
}

static void print_snapshots(const json_t *snapshots)
{
	const char *error = text_of(snapshots, "error");

	if (!snapshots)
		return;
	printf("  snapshots  %llu in the pool (%s)",
	       (unsigned long long)number_of(snapshots, "count"), text_of(snapshots, "rules"));
	if (number_of(snapshots, "count"))
		printf(", the newest of checkpoint #%llu",
		       (unsigned long long)number_of(snapshots, "newest_point"));
	puts(is_true(snapshots, "due") ? "; one is due at the next checkpoint" : "");
	if (error[0])
		printf("  NO SNAPSHOT  %s\n", error);
}

/* What the last start of the source meant: nothing to compare, or why that had to be. */
static void print_start(const json_t *start)
{
	if (start)
		printf("  last start %s%s\n",
		       is_true(start, "orderly") ? "" : "compared: ", text_of(start, "text"));
}

void cli_print_machine(const json_t *machine)
{
	char line[256];

	cli_progress_line(machine, line, sizeof(line));
	puts(line);
	if (is_copying(machine) && number_of(machine, "pass_bytes"))
		print_bar(real_of(machine, "percent"));
	printf("  pass       %llu: %s to do, %s written since; sent %s (%s on the wire)\n",
	       (unsigned long long)number_of(machine, "pass"), bytes_of(machine, "todo_bytes"),
	       bytes_of(machine, "dirty_bytes"), bytes_of(machine, "sent_bytes"),
	       bytes_of(machine, "wire_bytes"));
	if (number_of(machine, "limit"))
		printf("  limit      %s/s\n", bytes_of(machine, "limit"));
	if (is_true(machine, "verifying"))
		printf("  verify     %s of %s\n", bytes_of(machine, "verify_done"),
		       bytes_of(machine, "verify_bytes"));
	if (is_true(machine, "suspect"))
		puts("  SUSPECT    a write may have been missed: the whole disk is compared");
	print_stream(machine);
	print_snapshots(json_object_get(machine, "snapshots"));
	print_start(json_object_get(machine, "last_start"));
	print_readiness(json_object_get(machine, "readiness"));
	print_disks(json_object_get(machine, "disks"));
	print_agent(json_object_get(machine, "agent"));
	if (is_streaming(machine))
		puts(is_true(machine, "consistent") ? "  the replica follows write by write: "
						      "'blkferry points' lists what it "
						      "can go back to"
						    : "  the replica is building: the next "
						      "checkpoint is not confirmed yet");
	else if (is_copying(machine))
		puts(is_true(machine, "ready")
			     ? "  ready for 'blkferry cutover'. The replica is building until then."
			     : "  the replica is building: it is no consistent disk yet");
}
