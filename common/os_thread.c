// SPDX-License-Identifier: GPL-2.0-or-later
/* Threads, locks and conditions over pthreads; see os_thread.h. */
#include "common/os_thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/os_clock.h"

#define NAME_MAX_BYTES 16 /* pthread_setname_np's limit, NUL included */

/* The sanitizers put red zones into every frame: give them more room. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_BYTES (2048 * 1024)
#else
#define STACK_BYTES (256 * 1024)
#endif

struct start {
	void (*run)(void *);
	void *argument;
	char name[NAME_MAX_BYTES];
};

static void must(int error, const char *what)
{
	if (!error)
		return;
	fprintf(stderr, "blkferry: %s: %s: this is a programming error\n", what, strerror(error));
	abort();
}

static void *run_thread(void *argument)
{
	struct start start = *(struct start *)argument;

	free(argument);
	pthread_setname_np(pthread_self(), start.name);
	start.run(start.argument);
	return NULL;
}

int os_thread_start(struct os_thread *thread, const char *name, void (*run)(void *), void *argument)
{
	struct start *start = malloc(sizeof(*start));
	sigset_t all, before;
	pthread_attr_t attributes;
	int error;

	thread->is_running = false;
	if (!start)
		return -ENOMEM;
	*start = (struct start){.run = run, .argument = argument};
	snprintf(start->name, sizeof(start->name), "%s", name);

	error = pthread_attr_init(&attributes);
	if (error) {
		free(start);
		return -error;
	}
	must(pthread_attr_setstacksize(&attributes, STACK_BYTES), "pthread_attr_setstacksize");
	/* A thread inherits the mask: signals go to the main thread, which waits for them. */
	sigfillset(&all);
	must(pthread_sigmask(SIG_SETMASK, &all, &before), "pthread_sigmask");
	error = pthread_create(&thread->handle, &attributes, run_thread, start);
	must(pthread_sigmask(SIG_SETMASK, &before, NULL), "pthread_sigmask");
	pthread_attr_destroy(&attributes);
	if (error) {
		free(start);
		return -error;
	}
	thread->is_running = true;
	return 0;
}

void os_thread_join(struct os_thread *thread)
{
	if (!thread->is_running)
		return;
	must(pthread_join(thread->handle, NULL), "pthread_join");
	thread->is_running = false;
}

void os_mutex_init(struct os_mutex *mutex)
{
	must(pthread_mutex_init(&mutex->handle, NULL), "pthread_mutex_init");
}

void os_mutex_fini(struct os_mutex *mutex)
{
	must(pthread_mutex_destroy(&mutex->handle), "pthread_mutex_destroy");
}

void os_mutex_lock(struct os_mutex *mutex)
{
	must(pthread_mutex_lock(&mutex->handle), "pthread_mutex_lock");
}

void os_mutex_unlock(struct os_mutex *mutex)
{
	must(pthread_mutex_unlock(&mutex->handle), "pthread_mutex_unlock");
}

void os_cond_init(struct os_cond *cond)
{
	pthread_condattr_t attributes;

	must(pthread_condattr_init(&attributes), "pthread_condattr_init");
	/* The wall clock can jump: never wait by it. */
	must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC), "pthread_condattr_setclock");
	must(pthread_cond_init(&cond->handle, &attributes), "pthread_cond_init");
	pthread_condattr_destroy(&attributes);
}

void os_cond_fini(struct os_cond *cond)
{
	must(pthread_cond_destroy(&cond->handle), "pthread_cond_destroy");
}

void os_cond_wait(struct os_cond *cond, struct os_mutex *mutex)
{
	must(pthread_cond_wait(&cond->handle, &mutex->handle), "pthread_cond_wait");
}

int os_cond_wait_until(struct os_cond *cond, struct os_mutex *mutex, uint64_t deadline_ns)
{
	struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
				    .tv_nsec = (long)(deadline_ns % NS_PER_S)};
	int error = pthread_cond_timedwait(&cond->handle, &mutex->handle, &deadline);

	if (error == ETIMEDOUT)
		return -ETIMEDOUT;
	must(error, "pthread_cond_timedwait");
	return 0;
}

void os_cond_broadcast(struct os_cond *cond)
{
	must(pthread_cond_broadcast(&cond->handle), "pthread_cond_broadcast");
}
