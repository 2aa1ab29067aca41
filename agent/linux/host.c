// SPDX-License-Identifier: GPL-2.0-or-later
/* What the agent asks about its host, and the signals that end it; see platform.h. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "agent/platform.h"
#include "common/log.h"

unsigned int host_cores(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	return cores < 1 ? 1 : (unsigned int)cores;
}

void host_name(char *ret_name, size_t size)
{
	if (gethostname(ret_name, size))
		ret_name[0] = '\0';
	ret_name[size - 1] = '\0';
}

/* SIGUSR1 comes from ourselves: to end the thread that waits. */
static void fill_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGUSR1);
}

void host_block_signals(void)
{
	sigset_t set;

	fill_set(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void wait_for_signal(void *argument)
{
	struct host_waiter *waiter = argument;
	sigset_t set;
	int number;

	fill_set(&set);
	if (sigwait(&set, &number) != 0 || number == SIGUSR1)
		return;
	log_info("%s: ending; tracking goes on", strsignal(number));
	waiter->stop(waiter->context);
}

int host_wait_for_end(struct host_waiter *waiter)
{
	return os_thread_start(&waiter->thread, "signals", wait_for_signal, waiter);
}

void host_stop_waiting(struct host_waiter *waiter)
{
	if (waiter->thread.is_running)
		pthread_kill(waiter->thread.handle, SIGUSR1);
	os_thread_join(&waiter->thread);
}
