// SPDX-License-Identifier: GPL-2.0-or-later
/* One line a message on standard error, or held in memory while the disk is frozen; see log.h. */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/os_thread.h"

#define LINE_MAX_BYTES 1024
#define HELD_MAX_BYTES (32 * 1024)

static struct {
	struct os_mutex lock;
	char program[32];
	enum log_level most_detailed;
	bool is_journal; /* standard error goes to the systemd journal */
	bool is_held;
	uint64_t lost; /* lines that did not fit while held */
	size_t held_bytes;
	char held[HELD_MAX_BYTES];
} state = {
	.lock = OS_MUTEX_INITIALIZER,
	.program = "blkferry",
	.most_detailed = LOG_LEVEL_INFO,
};

/* sd-daemon(3): JOURNAL_STREAM holds device:inode of the journal's socket. It is inherited by what we
 * were not started for, hence the comparison. */
static bool goes_to_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat status;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device &&
	       status.st_ino == inode;
}

void log_init(const char *program, enum log_level most_detailed)
{
	tzset(); /* reads files: not while the disk is frozen */
	os_mutex_lock(&state.lock);
	snprintf(state.program, sizeof(state.program), "%s", program);
	state.most_detailed = most_detailed;
	state.is_journal = goes_to_journal();
	os_mutex_unlock(&state.lock);
}

static int level_to_syslog(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return 3;
	case LOG_LEVEL_WARNING:
		return 4;
	case LOG_LEVEL_INFO:
		return 6;
	case LOG_LEVEL_DEBUG:
		return 7;
	}
	return 3;
}

static const char *level_prefix(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error: ";
	case LOG_LEVEL_WARNING:
		return "warning: ";
	case LOG_LEVEL_INFO:
		return "";
	case LOG_LEVEL_DEBUG:
		return "debug: ";
	}
	return "";
}

static void put(const char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t done = write(STDERR_FILENO, bytes, size);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return; /* ignoring: there is nowhere to say so */
		bytes += done;
		size -= (size_t)done;
	}
}

/* What stands before the message. Called under the lock. */
static size_t format_head(enum log_level level, char *line, size_t room)
{
	time_t now = time(NULL);
	struct tm local;
	char when[32];

	if (state.is_journal)
		return (size_t)snprintf(line, room, "<%d>", level_to_syslog(level));
	localtime_r(&now, &local);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local);
	return (size_t)snprintf(line, room, "%s %s: %s", when, state.program, level_prefix(level));
}

/* A peer's text may be part of the message: it must not start lines of its own or drive a terminal. */
static void make_one_line(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = ' ';
}

void log_write(enum log_level level, const char *format, ...)
{
	int saved_errno = errno;
	char line[LINE_MAX_BYTES];
	va_list arguments;
	size_t length;

	os_mutex_lock(&state.lock);
	if (level > state.most_detailed) {
		os_mutex_unlock(&state.lock);
		return;
	}
	length = format_head(level, line, sizeof(line) - 1);
	va_start(arguments, format);
	vsnprintf(line + length, sizeof(line) - 1 - length, format, arguments);
	va_end(arguments);
	make_one_line(line + length);
	length += strlen(line + length);
	line[length++] = '\n';

	if (!state.is_held) {
		put(line, length);
	} else if (length <= sizeof(state.held) - state.held_bytes) {
		memcpy(state.held + state.held_bytes, line, length);
		state.held_bytes += length;
	} else {
		state.lost++;
	}
	os_mutex_unlock(&state.lock);
	errno = saved_errno;
}

void log_hold(void)
{
	os_mutex_lock(&state.lock);
	state.is_held = true;
	os_mutex_unlock(&state.lock);
}

void log_release(void)
{
	uint64_t lost;

	os_mutex_lock(&state.lock);
	put(state.held, state.held_bytes);
	lost = state.lost;
	state.held_bytes = 0;
	state.lost = 0;
	state.is_held = false;
	os_mutex_unlock(&state.lock);
	if (lost)
		log_warning("%llu more messages were lost while the disks were frozen",
			    (unsigned long long)lost);
}
