/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads, locks and conditions, over pthreads (winpthreads on Windows). Locks never fail: a
 * failure is a programming error and aborts with a message. Timed waits use the monotonic clock.
 */
#ifndef BLKFERRY_COMMON_OS_THREAD_H
#define BLKFERRY_COMMON_OS_THREAD_H

#include <stdbool.h>
#include <stdint.h>
#include <pthread.h>

struct os_thread {
	pthread_t handle;
	bool is_running;
};
struct os_mutex {
	pthread_mutex_t handle;
};
struct os_cond {
	pthread_cond_t handle;
};

#define OS_MUTEX_INITIALIZER                                                                       \
	{                                                                                          \
		PTHREAD_MUTEX_INITIALIZER                                                          \
	}

/* Starts run(argument) on a 256 KiB stack (memory is locked: the default of 8 MiB is too dear), all
 * signals blocked in it. name is at most 15 bytes. Returns 0 or -errno. */
int os_thread_start(struct os_thread *thread, const char *name, void (*run)(void *),
		    void *argument);
/* Waits for the end of the thread; does nothing when it never started or was joined. */
void os_thread_join(struct os_thread *thread);

void os_mutex_init(struct os_mutex *mutex);
void os_mutex_fini(struct os_mutex *mutex);
void os_mutex_lock(struct os_mutex *mutex);
void os_mutex_unlock(struct os_mutex *mutex);

void os_cond_init(struct os_cond *cond);
void os_cond_fini(struct os_cond *cond);
void os_cond_wait(struct os_cond *cond, struct os_mutex *mutex);
/* Waits until signalled or until os_monotonic_ns() reaches deadline_ns. Returns 0 or -ETIMEDOUT. */
int os_cond_wait_until(struct os_cond *cond, struct os_mutex *mutex, uint64_t deadline_ns);
void os_cond_broadcast(struct os_cond *cond);

#endif
