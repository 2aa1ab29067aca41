/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages for the journal or the terminal: one line each on standard error, with a level.
 *
 * Under systemd the line gets an sd-daemon(3) "<N>" prefix, else a time and the program's name.
 * While held (the agent's own disk may be frozen, and whoever reads our standard error may be
 * stuck on it), lines are kept in a fixed buffer and written on release; what does not fit is
 * counted and the count is said. Thread-safe. Never allocates.
 */
#ifndef BLKFERRY_COMMON_LOG_H
#define BLKFERRY_COMMON_LOG_H

enum log_level { LOG_LEVEL_ERROR = 1, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_init(const char *program, enum log_level most_detailed);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_hold(void);
void log_release(void);

#define log_error(...)	 log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)	 log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
