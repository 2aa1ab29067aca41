// SPDX-License-Identifier: GPL-2.0-or-later
/* Connections shared by nbdkit's threads; see slots.h. */
#include "receiver/view_plugin/slots.h"

void slots_init(struct slots *slots)
{
	os_mutex_init(&slots->lock);
	os_cond_init(&slots->changed);
	slots->unused_count = VIEW_CONNECTIONS_MAX;
	for (unsigned int i = 0; i < VIEW_CONNECTIONS_MAX; i++)
		slots->unused[i] = VIEW_CONNECTIONS_MAX - 1 - i;
}

void slots_fini(struct slots *slots)
{
	os_cond_fini(&slots->changed);
	os_mutex_fini(&slots->lock);
}

unsigned int slots_take(struct slots *slots)
{
	unsigned int slot;

	os_mutex_lock(&slots->lock);
	while (slots->unused_count == 0)
		os_cond_wait(&slots->changed, &slots->lock);
	slot = slots->unused[--slots->unused_count];
	os_mutex_unlock(&slots->lock);
	return slot;
}

void slots_give(struct slots *slots, unsigned int slot)
{
	os_mutex_lock(&slots->lock);
	slots->unused[slots->unused_count++] = slot;
	os_cond_broadcast(&slots->changed);
	os_mutex_unlock(&slots->lock);
}
