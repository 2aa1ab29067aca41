/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine as the receiver knows it: its name, its disks' slots, how far it is; kept in
 * state_folder/machines/NAME/machine.json and changed only by atomic, durable replacement.
 *
 *   state         what is true in it
 *   REPLICATING   the source is the live copy; the replica is being built or kept in step
 *   COMMITTED     COMMIT was sent for cutover_id; the source has not yet said that it is fenced.
 *                 Nothing is started (I9). The source coming back unfenced ends this state.
 *   COMPLETED     the source is fenced, or a person said that it is dead: the replica is live, and no agent
 *                 may write to it again
 *   ROLLED_BACK   the replica is what it was at a checkpoint, or is on the way there; no agent may write to it
 *                 until a person has chosen: undo it, follow the source again, or cut over (rewind.h)
 *
 * Every field is read and written under `lock`, but for the constant name.
 */
#ifndef BLKFERRY_RECEIVER_MACHINE_H
#define BLKFERRY_RECEIVER_MACHINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/fault.h"
#include "common/os_thread.h"
#include "common/pki.h"
#include "common/wire.h"
#include "receiver/options.h"

struct session;
struct replica;
struct view;

enum machine_state {
	MACHINE_REPLICATING = 1,
	MACHINE_COMMITTED,
	MACHINE_COMPLETED,
	MACHINE_ROLLED_BACK,
};

/* A disk of the replica. Slots are never reordered: slot n is disk n of the target machine. */
struct machine_slot {
	char identity[128]; /* of the source's disk */
	char path[128];	    /* what it was called there last */
	uint64_t size_bytes;
	char target[256];      /* URI */
	char target_text[256]; /* as opened last */
	char target_path[256]; /* file or device, if there is one */
	bool can_flush;
	bool is_present; /* in the current or last session */
	int stream_disk; /* its number in the stream's records; -1: it was in none */
};

struct machine_step {
	bool is_done;
	uint64_t took_ns, bytes;
	char text[128];
};

/* A cutover as far as it came; kept in memory for the CLI that waits and for status. */
struct machine_cutover {
	uint64_t id; /* 0: none was tried since the receiver started */
	bool is_running, is_dry_run;
	bool is_starting; /* somebody runs the start-command: once, whoever hears of FENCED */
	uint64_t freeze_began_ns; /* monotonic, this side; 0: not frozen yet */
	uint64_t data_downtime_ns, downtime_ns;
	uint64_t certified_bytes, repaired_bytes;
	struct machine_step steps[WIRE_STEPS_MAX];
	int error; /* 0, or what ended it, an errno */
	char text[WIRE_TEXT_MAX];
};

/* Snapshots of its VM in the pool, as status shows them; receiver/snapshots.h. */
struct machine_snapshots {
	char rules[128]; /* "": there are none, and never were */
	bool is_due;	 /* the next checkpoint is to become one */
	unsigned int count;
	uint64_t newest_point, newest_ns; /* the newest's checkpoint, and its time at the source */
	char error[WIRE_TEXT_MAX];	  /* of the last attempt; "": it went well */
};

struct machine {
	char name[PKI_NAME_MAX];
	struct os_mutex lock;
	struct os_cond changed; /* a session came or went, a cutover took a step */
	enum machine_state state;
	uint64_t cutover_id;
	uint64_t
		cutover_point; /* checkpoint to go back to before the start-command; 0: none, or done */
	uint64_t rollback_point; /* ROLLED_BACK: which checkpoint */
	bool is_rollback_done;	 /* ... and the replica is that */
	bool is_rewinding;	 /* a rollback is under way: no session may begin */
	bool is_paused, is_removed;
	bool has_started; /* COMPLETED: the start-command succeeded, or there is none */
	uint64_t limit;	  /* bytes a second; 0 none */
	bool has_limit;	  /* it was set here, so it is sent to the agent */
	struct machine_slot slots[WIRE_DISKS_MAX];
	unsigned int slot_count;

	struct session *session;  /* the one control connection; NULL when not connected */
	bool is_ending;		  /* that session is being taken down */
	struct replica *replica;  /* while somebody holds it (receiver/replica.h) */
	bool is_replica_changing; /* it is being opened or closed */
	struct view *views;	  /* receiver/view.h */
	bool refuses_views;
	struct wire_status status;
	uint64_t status_ns;
	uint64_t capture_rate; /* captured bytes a second, between the last two */
	char agent_host[64], agent_version[32];
	struct wire_checks checks; /* as its agent said last; checked_s 0: never */
	struct wire_start
		source_start;	   /* what its last start meant for tracking; kind 0: not known */
	struct wire_machine facts; /* of the source; cpus 0: not known */
	char last_error[WIRE_TEXT_MAX];
	/* Checkpoints that went for lack of space since the receiver started, and when the last of them did. */
	uint64_t dropped_points, dropped_ns;
	struct machine_cutover cutover;
	struct machine_snapshots snapshots;
	struct machine *next;
};

struct machines; /* all of them */

/* Loads what is in the state folder. */
int machines_load(const struct receiver_options *options, struct machines **ret_machines,
		  struct fault *fault);
void machines_free(struct machines *machines);
const struct receiver_options *machines_options(const struct machines *machines);
/* NULL when there is none of that name. Machines live until machines_free. */
struct machine *machines_find(struct machines *machines, const char *name);
struct machine *machines_first(struct machines *machines);
/* Finds or makes it (state REPLICATING, not yet stored). NULL: no memory. */
struct machine *machines_add(struct machines *machines, const char *name);
/* state_folder/machines/NAME, or a file in it. */
void machine_path(const struct machines *machines, const struct machine *machine, const char *file,
		  char *ret_path, size_t size);

/* Stores it durably. The lock is held. */
int machine_store(struct machines *machines, struct machine *machine, struct fault *fault);
/* machine_checks.c: would the source start on the target? And how did it start last? */
void machine_set_start(struct machine *machine, const struct wire_start *start);
json_t *machine_start_to_json(const struct wire_start *start);
void machine_set_checks(struct machine *machine, const struct wire_checks *checks);
json_t *machine_checks_to_json(const struct wire_checks *checks);
/* -EAGAIN when its check found errors. The lock is held. */
int machine_check_readiness(const struct machine *machine, struct fault *fault);

/* machine_facts.c: what the source is, as it is stored and shown. Nothing of it is trusted. */
json_t *machine_facts_to_json(const struct wire_machine *facts);
void machine_facts_from_json(const json_t *json, struct wire_machine *ret_facts);

void machine_set_error(struct machine *machine, const char *text);

#endif
