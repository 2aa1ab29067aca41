// SPDX-License-Identifier: GPL-2.0-or-later
/* The views of each machine: listed, found, closed all at once. See view.h. */
#include <errno.h>
#include <stdlib.h>

#include "common/log.h"
#include "receiver/view_internal.h"

int view_list_add(struct view *view, struct fault *fault)
{
	struct machine *machine = view->machine;
	bool is_refused;

	os_mutex_lock(&machine->lock);
	is_refused = machine->refuses_views || machine->is_removed ||
		     machine->state == MACHINE_COMPLETED;
	if (!is_refused) {
		view->next = machine->views;
		machine->views = view;
		view->is_listed = true;
		view->holds++;
	}
	os_mutex_unlock(&machine->lock);
	if (is_refused)
		return fault_set(fault, FAULT_STOP, EBUSY,
				 "%s has no views any more: it was cut over, is being removed, or "
				 "the receiver ends",
				 machine->name);
	return 0;
}

static void put(struct view *view)
{
	if (--view->holds > 0)
		return;
	os_mutex_fini(&view->close_lock);
	free(view->disks);
	free(view);
}

void view_list_remove(struct view *view)
{
	struct machine *machine = view->machine;
	struct view **at;

	os_mutex_lock(&machine->lock);
	for (at = &machine->views; *at && *at != view; at = &(*at)->next)
		;
	if (*at) {
		*at = view->next;
		view->is_listed = false;
		put(view); /* the caller holds it, too */
	}
	os_mutex_unlock(&machine->lock);
}

void view_release(struct view *view)
{
	struct machine *machine;

	if (!view)
		return;
	machine = view->machine;
	os_mutex_lock(&machine->lock);
	put(view);
	os_mutex_unlock(&machine->lock);
}

struct view *view_find(struct machine *machine, unsigned int id)
{
	struct view *view;

	os_mutex_lock(&machine->lock);
	for (view = machine->views; view && id && view->id != id; view = view->next)
		;
	if (view)
		view->holds++;
	os_mutex_unlock(&machine->lock);
	return view;
}

struct view *view_next(struct machine *machine, struct view *view)
{
	struct view *next;

	os_mutex_lock(&machine->lock);
	next = machine->views;
	/* By number: what was held may have left the list. */
	while (view && next && next->id >= view->id)
		next = next->next;
	if (next)
		next->holds++;
	if (view)
		put(view);
	os_mutex_unlock(&machine->lock);
	return next;
}

bool view_is_open(struct view *view)
{
	bool is_listed;

	os_mutex_lock(&view->machine->lock);
	is_listed = view->is_listed;
	os_mutex_unlock(&view->machine->lock);
	return is_listed;
}

unsigned int view_end_all(struct machine *machine, const char *why)
{
	unsigned int count = 0;
	struct view *view;

	for (; (view = view_find(machine, 0)); count++) {
		log_warning("%s: view %u of checkpoint #%llu ends, so that replication goes on; it "
			    "can be opened again (%s)",
			    machine->name, view->id, (unsigned long long)view->point.number, why);
		view_close(view);
		view_release(view);
	}
	return count;
}

void view_forbid(struct machine *machine)
{
	struct view *view;

	os_mutex_lock(&machine->lock);
	machine->refuses_views = true;
	os_mutex_unlock(&machine->lock);
	while ((view = view_find(machine, 0))) {
		view_close(view);
		view_release(view);
	}
}

void view_allow(struct machine *machine)
{
	os_mutex_lock(&machine->lock);
	machine->refuses_views = false;
	os_mutex_unlock(&machine->lock);
}

void view_forbid_all(struct machines *machines)
{
	for (struct machine *machine = machines_first(machines); machine; machine = machine->next)
		view_forbid(machine);
}
