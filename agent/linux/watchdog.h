/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watchdog of a freeze (I9): a process of its own that thaws everything when the deadline passes, and
 * at once when the agent dies. Once the freeze was committed it fences instead: a machine that is frozen,
 * and whose agent has died, would else stay so for ever.
 *
 * It and the agent share a board, one page of locked memory. Who may do what is decided by one compare
 * and swap of the verdict there, so that no decision needs an answer that could get lost:
 *
 *   OPEN ---agent commits---> COMMITTED --agent dead, or late to fence--> FENCING
 *     |                           |
 *     |  deadline, agent dead,    |  agent takes it back
 *     |  or a freeze failed       v  (before it said FENCED)
 *     +----------------------> THAWED
 *
 * THAWED: everybody thaws what he finds frozen. FENCING: the watchdog ends the machine, and nobody thaws. With
 * FENCE_HOLD the watchdog just ends: frozen until a person acts is what was asked for.
 *
 * A freeze that hangs may succeed after all was thawed. The rule that leaves nothing frozen:
 *   freezing  state = FREEZING; only if the verdict is still OPEN: freeze; state = FROZEN;
 *             then if the verdict is not OPEN any more: thaw
 *   thawing   verdict = THAWED; then look at the states. The watchdog stays as long as one is FREEZING
 *             and the agent lives; when the agent has died, all its freezes have ended, one way or
 *             the other, and it thaws them all for the last time.
 */
#ifndef BLKFERRY_AGENT_LINUX_WATCHDOG_H
#define BLKFERRY_AGENT_LINUX_WATCHDOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/linux/freeze_expedite.h"
#include "agent/linux/freeze_list.h"
#include "agent/linux/freeze_method.h"
#include "agent/platform.h"

enum watchdog_verdict { VERDICT_OPEN = 1, VERDICT_THAWED, VERDICT_COMMITTED, VERDICT_FENCING };
enum freeze_state { FREEZE_IDLE = 0, FREEZE_FREEZING, FREEZE_FROZEN };

struct watchdog_board {
	atomic_int verdict;
	atomic_bool is_expedited; /* freeze_expedite.h: to be undone when the agent dies */
	atomic_int states[FREEZE_LIST_MAX];
	/* Both set before the verdict is COMMITTED, and not changed any more then. */
	atomic_int fence; /* enum fence_kind */
	_Atomic uint64_t fence_by_ns;
};

struct freeze_target {
	int fd;
	enum freeze_method method;
};

/* How to freeze, thaw and fence; the tests put something else there. */
struct freeze_ops {
	int (*freeze)(enum freeze_method method, int fd);
	int (*thaw)(enum freeze_method method, int fd);
	int (*fence)(enum fence_kind kind);
};

struct watchdog {
	pid_t pid;  /* 0: none */
	int socket; /* its end means our death */
	struct watchdog_board *board;
};

/* board is NULL until watchdog_board_new. */
int watchdog_board_new(struct watchdog *watchdog);
void watchdog_board_free(struct watchdog *watchdog);

/* Forks it and waits until it is ready. Targets in the order of freezing. 0 or -errno. */
int watchdog_start(struct watchdog *watchdog, const struct freeze_target *targets,
		   unsigned int count, const struct freeze_ops *ops, uint64_t deadline_ns);
/* False when it has ended, whatever made it. */
bool watchdog_lives(const struct watchdog *watchdog);
/* Makes it look at the board, which it does else at its deadline only. */
void watchdog_nudge(const struct watchdog *watchdog);
/* Lets it end without a thaw, since nothing is frozen any more, and waits for its end. */
void watchdog_end(struct watchdog *watchdog);
/* Leaves it to it to thaw what would not thaw for us, or to fence. */
void watchdog_abandon(struct watchdog *watchdog);

/* from -> to. False when it was decided otherwise before. */
bool watchdog_decide(struct watchdog_board *board, enum watchdog_verdict from,
		     enum watchdog_verdict to);
/* OPEN -> COMMITTED. */
bool watchdog_commit(struct watchdog_board *board, enum fence_kind fence, uint64_t fence_by_ns);
/* Nobody thaws any more. */
bool watchdog_is_committed(const struct watchdog_board *board);
/* Freezes one, by the rule above. -ECANCELED when the verdict came first. */
int watchdog_freeze_one(struct watchdog_board *board, unsigned int index,
			const struct freeze_target *target, const struct freeze_ops *ops);
/* Thaws all that are frozen, outermost first, and leaves alone what is just being frozen: a thaw would
 * wait for it. Returns how many are still frozen, or may be so soon. */
unsigned int watchdog_thaw_all(struct watchdog_board *board, const struct freeze_target *targets,
			       unsigned int count, const struct freeze_ops *ops);

#endif
