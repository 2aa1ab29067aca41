/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Views: a checkpoint's disks as NBD exports, to be read and written while replication goes on. What is
 * written to a view is kept apart and ends with it.
 *
 *   NBD client --> nbdkit: cow filter, our plugin --+--> the target
 *                  (view_server.c, view_plugin/)    +--> view_socket.c --> history_reader_read
 *
 * A view holds its machine's replica and a history_reader, so its checkpoint stays. Its files are in a
 * folder of its own beside the control socket: the map, the sockets, with a port also the key.
 *
 * Views are listed with their machine and live until they are closed: by a person, by what makes them
 * invalid (the machine was cut over, removed), or with the receiver. When the receiver is killed, the
 * plugins notice and end their nbdkits.
 */
#ifndef BLKFERRY_RECEIVER_VIEW_H
#define BLKFERRY_RECEIVER_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "common/fault.h"
#include "receiver/history.h"
#include "receiver/machine.h"

#define VIEW_NOTE_MAX 512

struct view;

struct view_options {
	const char *point; /* as history_find takes it */
	uint16_t port;	   /* of the first disk, the next ones follow; 0: unix sockets */
	const char *note;  /* kept for view_note: where it is mounted; may be NULL */
};

/* Opens one and lists it. The caller holds it: view_release. Faults: what history_find says; EBUSY when the
 * machine takes no views (it was cut over, is being removed, the receiver ends). */
int view_open(struct machines *machines, struct machine *machine,
	      const struct view_options *options, struct view **ret_view, struct fault *fault);
/* Ends its servers and lets go of the checkpoint, once; others who hold it find it closed. */
void view_close(struct view *view);
/* A listed one, held; id 0: the newest. NULL: there is none. */
struct view *view_find(struct machine *machine, unsigned int id);
void view_release(struct view *view);

/* Closes all of a machine, and says why in the log. How many there were. */
unsigned int view_end_all(struct machine *machine, const char *why);
/* Closes all of a machine; no more can be opened until view_allow. */
void view_forbid(struct machine *machine);
void view_allow(struct machine *machine);
void view_forbid_all(struct machines *machines); /* the receiver ends */
/* What a receiver that was killed left: before the first view. */
void view_clean(const struct receiver_options *options);

/* What does not change. */
unsigned int view_id(const struct view *view);
const struct history_point *view_point(const struct view *view);
unsigned int view_disk_count(const struct view *view);
unsigned int view_disk_slot(const struct view *view, unsigned int i);
uint64_t view_disk_bytes(const struct view *view, unsigned int i);
const char *view_disk_uri(const struct view *view, unsigned int i);
const char *view_disk_socket(const struct view *view, unsigned int i); /* "" with a port */
const char *view_key_path(const struct view *view);		       /* "" without a port */
const char *view_note(const struct view *view);

bool view_is_open(struct view *view);
/* Do all its servers run? */
bool view_is_alive(struct view *view);
/* The newest listed before `view`, held; NULL: no more. Takes over the caller's hold of view; NULL begins with
 * the newest. */
struct view *view_next(struct machine *machine, struct view *view);

#endif
