/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The watchdog process, and the rules that it and the agent keep about one board. */
#include "agent/linux/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/linux/watchdog_fork.h"
#include "common/os_clock.h"

#define RETRY_NS     (20 * NS_PER_MS) /* between two tries at what is just being frozen */
#define READY_NS     (5 * NS_PER_S)   /* how long its start may take */
#define END_NS	     (2 * NS_PER_S)   /* how long its end is waited for */
#define GIVE_UP_NS   (600 * NS_PER_S) /* after the deadline: what does not thaw by then has no disk */
#define BYTE_READY   'R'
#define BYTE_END     'E'
#define BYTE_NUDGE   'N'
#define OPEN_FDS_MAX 65536

/* What the child needs, all on its stack: the heap of a forked thread's process is not to be used. */
struct child {
	struct watchdog_board *board;
	int socket;
	unsigned int count;
	struct freeze_target targets[FREEZE_LIST_MAX];
	struct freeze_ops ops;
	uint64_t deadline_ns;
};

int watchdog_board_new(struct watchdog *watchdog)
{
	void *page = mmap(NULL, sizeof(*watchdog->board), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (page == MAP_FAILED)
		return -errno;
	watchdog->board = page;
	atomic_store(&watchdog->board->verdict, VERDICT_OPEN);
	return 0;
}

void watchdog_board_free(struct watchdog *watchdog)
{
	if (watchdog->board)
		munmap(watchdog->board, sizeof(*watchdog->board));
	watchdog->board = NULL;
}

bool watchdog_decide(struct watchdog_board *board, enum watchdog_verdict from,
		     enum watchdog_verdict to)
{
	int now = (int)from;

	return atomic_compare_exchange_strong(&board->verdict, &now, (int)to);
}

bool watchdog_commit(struct watchdog_board *board, enum fence_kind fence, uint64_t fence_by_ns)
{
	atomic_store(&board->fence, (int)fence);
	atomic_store(&board->fence_by_ns, fence_by_ns);
	return watchdog_decide(board, VERDICT_OPEN, VERDICT_COMMITTED);
}

bool watchdog_is_committed(const struct watchdog_board *board)
{
	int verdict = atomic_load(&board->verdict);

	return verdict == VERDICT_COMMITTED || verdict == VERDICT_FENCING;
}

int watchdog_freeze_one(struct watchdog_board *board, unsigned int index,
			const struct freeze_target *target, const struct freeze_ops *ops)
{
	int result;

	atomic_store(&board->states[index], FREEZE_FREEZING);
	if (atomic_load(&board->verdict) != VERDICT_OPEN) {
		atomic_store(&board->states[index], FREEZE_IDLE);
		return -ECANCELED;
	}
	result = ops->freeze(target->method, target->fd);
	if (result < 0) {
		atomic_store(&board->states[index], FREEZE_IDLE);
		return result;
	}
	atomic_store(&board->states[index], FREEZE_FROZEN);
	if (atomic_load(&board->verdict) != VERDICT_THAWED)
		return 0;
	(void)ops->thaw(target->method, target->fd);
	atomic_store(&board->states[index], FREEZE_IDLE);
	return -ECANCELED;
}

unsigned int watchdog_thaw_all(struct watchdog_board *board, const struct freeze_target *targets,
			       unsigned int count, const struct freeze_ops *ops)
{
	unsigned int left = 0;

	for (unsigned int i = count; i-- > 0;) {
		if (atomic_load(&board->states[i]) != FREEZE_FROZEN)
			continue;
		if (ops->thaw(targets[i].method, targets[i].fd) == 0)
			atomic_store(&board->states[i], FREEZE_IDLE);
		else
			left++;
	}
	for (unsigned int i = 0; i < count; i++)
		left += atomic_load(&board->states[i]) == FREEZE_FREEZING;
	return left;
}

/* --- the child -------------------------------------------------------------------------------- */

static void close_range_of(unsigned int first, unsigned int last)
{
	if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
		return;
	for (unsigned int fd = first; fd <= last && fd < OPEN_FDS_MAX; fd++)
		close((int)fd);
}

/* All but the targets and the socket: what stays open here would outlive the agent, its connections for
 * example. */
static void close_others(const struct child *child)
{
	unsigned int first = 0;

	for (;;) {
		unsigned int next = (unsigned int)child->socket;

		/* the lowest descriptor to keep that is not below first */
		if (next < first)
			next = ~0u;
		for (unsigned int i = 0; i < child->count; i++) {
			unsigned int fd = (unsigned int)child->targets[i].fd;

			if (fd >= first && fd < next)
				next = fd;
		}
		if (next == ~0u)
			break;
		if (next > first)
			close_range_of(first, next - 1);
		first = next + 1;
	}
	close_range_of(first, ~0u);
}

/* Nothing here may fail the watchdog: each is one more safeguard, and ignoring its failure is right. */
static void settle_in(const struct child *child)
{
	const struct sched_param priority = {.sched_priority = 1};
	sigset_t all;
	int fd;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	(void)setsid();
	(void)prctl(PR_SET_NAME, "blkferry-watchd", 0, 0, 0);
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)!write(fd, "-1000", 5);
	close_others(child);
	(void)sched_setscheduler(0, SCHED_FIFO, &priority);
	/* Not all of the agent's memory, which is a copy on write: what is here, and what we touch. */
	(void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
}

static void wait_until(int socket, uint64_t until_ns)
{
	struct pollfd ready = {.fd = socket, .events = POLLIN};
	uint64_t now_ns = os_monotonic_ns();
	uint64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;
	struct timespec left = {.tv_sec = (time_t)(left_ns / NS_PER_S),
				.tv_nsec = (long)(left_ns % NS_PER_S)};

	(void)ppoll(&ready, 1, &left, NULL);
}

/* A byte of the agent's, 0 when there is none, -1 when the agent is dead. */
static int receive(int socket)
{
	char byte;
	ssize_t got = recv(socket, &byte, 1, MSG_DONTWAIT);

	if (got > 0)
		return byte;
	return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

/* The agent has died, and with it its last call of freeze: what was FREEZING is frozen, or is not and
 * a thaw does no harm. */
static void settle_states(const struct child *child)
{
	for (unsigned int i = 0; i < child->count; i++) {
		int freezing = FREEZE_FREEZING;

		(void)atomic_compare_exchange_strong(&child->board->states[i], &freezing,
						     FREEZE_FROZEN);
	}
}

/* A freeze that ended in the kernel may not be known to have, when the agent is stopped (SIGSTOP, a
 * debugger). These come last: a thaw waits for a freeze that is under way, and we may. */
static void thaw_freezing(const struct child *child)
{
	for (unsigned int i = 0; i < child->count; i++)
		if (atomic_load(&child->board->states[i]) == FREEZE_FREEZING)
			(void)child->ops.thaw(child->targets[i].method, child->targets[i].fd);
}

/* After the commit: either the agent fences, or we do. Without FENCED the receiver waits for a person, so it
 * is safe whatever the agent had said. Returns true when there is nothing left to do: fence() does not
 * return but when it failed, and then the machine is frozen as the receiver believes it to be. */
static bool look_committed(const struct child *child, bool is_orphan)
{
	enum fence_kind fence = (enum fence_kind)atomic_load(&child->board->fence);

	if (!is_orphan && os_monotonic_ns() < atomic_load(&child->board->fence_by_ns))
		return false;
	if (fence == FENCE_HOLD)
		return true;
	if (!watchdog_decide(child->board, VERDICT_COMMITTED, VERDICT_FENCING))
		return false; /* taken back in this moment */
	(void)child->ops.fence(fence);
	return true;
}

/* Returns true when its work is done. */
static bool look(const struct child *child)
{
	int message = receive(child->socket);
	bool is_orphan = message < 0;

	if (message == BYTE_END)
		return true;
	if (is_orphan || os_monotonic_ns() >= child->deadline_ns)
		(void)watchdog_decide(child->board, VERDICT_OPEN, VERDICT_THAWED);
	switch ((enum watchdog_verdict)atomic_load(&child->board->verdict)) {
	case VERDICT_OPEN:
		return false;
	case VERDICT_COMMITTED:
		return look_committed(child, is_orphan);
	case VERDICT_FENCING:
		return true;
	case VERDICT_THAWED:
		break;
	}
	if (is_orphan) {
		settle_states(child);
		if (atomic_exchange(&child->board->is_expedited, false))
			freeze_expedite_end();
	}
	if (watchdog_thaw_all(child->board, child->targets, child->count, &child->ops) == 0)
		return true;
	thaw_freezing(child);
	return os_monotonic_ns() >= child->deadline_ns + GIVE_UP_NS;
}

static void wait_for_work(const struct child *child)
{
	switch ((enum watchdog_verdict)atomic_load(&child->board->verdict)) {
	case VERDICT_OPEN:
		wait_until(child->socket, child->deadline_ns);
		return;
	case VERDICT_COMMITTED:
		wait_until(child->socket, atomic_load(&child->board->fence_by_ns));
		return;
	case VERDICT_THAWED:
	case VERDICT_FENCING:
		os_sleep_ns(RETRY_NS); /* a socket without an agent is always ready */
		return;
	}
}

static void run_child(const struct child *child)
{
	char ready = BYTE_READY;

	settle_in(child);
	/* Once around with everything idle: the pages that it takes are in memory then. */
	(void)watchdog_thaw_all(child->board, child->targets, child->count, &child->ops);
	wait_until(child->socket, 0);
	if (look(child) || send(child->socket, &ready, 1, MSG_NOSIGNAL) != 1)
		return;
	for (;;) {
		wait_for_work(child);
		if (look(child))
			return;
	}
}

/* --- the agent's side ------------------------------------------------------------------------- */

static int await_ready(struct watchdog *watchdog, uint64_t until_ns)
{
	char byte = 0;

	for (;;) {
		ssize_t got = recv(watchdog->socket, &byte, 1, MSG_DONTWAIT);

		if (got == 1 && byte == BYTE_READY)
			return 0;
		if (got >= 0 || (errno != EAGAIN && errno != EINTR))
			return -ECHILD;
		if (os_monotonic_ns() >= until_ns)
			return -ETIMEDOUT;
		wait_until(watchdog->socket, until_ns);
	}
}

int watchdog_start(struct watchdog *watchdog, const struct freeze_target *targets,
		   unsigned int count, const struct freeze_ops *ops, uint64_t deadline_ns)
{
	struct child child = {
		.board = watchdog->board, .count = count, .ops = *ops, .deadline_ns = deadline_ns};
	uint64_t ready_ns = os_monotonic_ns() + READY_NS;
	int ends[2];
	pid_t pid;
	int result;

	if (count > FREEZE_LIST_MAX)
		return -E2BIG;
	memcpy(child.targets, targets, count * sizeof(*targets));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	child.socket = ends[1];
	pid = watchdog_fork();
	if (pid == 0) {
		run_child(&child);
		_exit(0);
	}
	result = pid < 0 ? -errno : 0;
	close(ends[1]);
	if (result < 0) {
		close(ends[0]);
		return result;
	}
	watchdog->pid = pid;
	watchdog->socket = ends[0];
	result = await_ready(watchdog, ready_ns < deadline_ns ? ready_ns : deadline_ns);
	if (result < 0)
		watchdog_end(watchdog);
	return result;
}

bool watchdog_lives(const struct watchdog *watchdog)
{
	char byte;

	if (watchdog->pid == 0)
		return false;
	return recv(watchdog->socket, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 &&
	       (errno == EAGAIN || errno == EINTR);
}

void watchdog_abandon(struct watchdog *watchdog)
{
	if (watchdog->pid == 0)
		return;
	close(watchdog->socket);
	watchdog->pid = 0;
}

static void tell(const struct watchdog *watchdog, char byte)
{
	/* A socket that is full has what wakes it already. */
	if (watchdog->pid != 0)
		(void)send(watchdog->socket, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void watchdog_nudge(const struct watchdog *watchdog)
{
	tell(watchdog, BYTE_NUDGE);
}

void watchdog_end(struct watchdog *watchdog)
{
	uint64_t until_ns = os_monotonic_ns() + END_NS;

	if (watchdog->pid == 0)
		return;
	tell(watchdog, BYTE_END);
	/* It may be stuck on a file system for a moment. Then init reaps it, or we when we look. */
	while (waitpid(watchdog->pid, NULL, WNOHANG) == 0 && os_monotonic_ns() < until_ns)
		os_sleep_ns(NS_PER_MS);
	watchdog_abandon(watchdog);
}
