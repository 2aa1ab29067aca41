// SPDX-License-Identifier: GPL-2.0-or-later
/* Which connections of strangers are kept, and how much is said of them; see admission.h. */
#include "receiver/admission.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "common/os_clock.h"

#define LINES_EVERY_NS NS_PER_S

static void set_address(struct admission_slot *slot, const char *peer)
{
	struct in6_addr address;

	snprintf(slot->address, sizeof(slot->address), "%s", peer);
	if (inet_pton(AF_INET6, peer, &address) != 1 || IN6_IS_ADDR_V4MAPPED(&address))
		return;
	memset(address.s6_addr + 8, 0, 8);
	inet_ntop(AF_INET6, &address, slot->address, sizeof(slot->address));
}

static unsigned int count_of(const struct admission *admission, const char *address)
{
	unsigned int count = 0;

	for (const struct admission_slot *at = admission->oldest; at; at = at->next)
		count += strcmp(at->address, address) == 0;
	return count;
}

static struct admission_slot *oldest_of(const struct admission *admission, const char *address)
{
	struct admission_slot *at = admission->oldest;

	while (at && strcmp(at->address, address) != 0)
		at = at->next;
	return at;
}

/* The oldest of the address that has most of them. */
static struct admission_slot *oldest_of_busiest(const struct admission *admission)
{
	struct admission_slot *found = NULL;
	unsigned int most = 0;

	for (struct admission_slot *at = admission->oldest; at; at = at->next) {
		unsigned int count = count_of(admission, at->address);

		if (count > most) {
			most = count;
			found = at;
		}
	}
	return found;
}

struct admission_slot *admission_enter(struct admission *admission, struct admission_slot *slot,
				       const char *peer)
{
	struct admission_slot **at = &admission->oldest, *victim = NULL;

	set_address(slot, peer);
	if (count_of(admission, slot->address) >= ADMISSION_ADDRESS_MAX)
		victim = oldest_of(admission, slot->address);
	else if (admission->count >= ADMISSION_MAX)
		victim = oldest_of_busiest(admission);
	if (victim)
		admission_leave(admission, victim);
	while (*at)
		at = &(*at)->next;
	*at = slot;
	slot->next = NULL;
	slot->is_inside = true;
	admission->count++;
	return victim;
}

void admission_leave(struct admission *admission, struct admission_slot *slot)
{
	struct admission_slot **at = &admission->oldest;

	if (!slot->is_inside)
		return;
	while (*at != slot)
		at = &(*at)->next;
	*at = slot->next;
	slot->is_inside = false;
	admission->count--;
}

bool stranger_lines_take(struct stranger_lines *lines, uint64_t now_ns,
			 unsigned long long *ret_withheld)
{
	uint64_t due = lines->refilled_ns ? (now_ns - lines->refilled_ns) / LINES_EVERY_NS
					  : STRANGER_LINES_MAX;

	if (due > 0) {
		lines->left = due + lines->left > STRANGER_LINES_MAX
				      ? STRANGER_LINES_MAX
				      : lines->left + (unsigned int)due;
		lines->refilled_ns = now_ns;
	}
	if (lines->left == 0) {
		lines->withheld++;
		return false;
	}
	lines->left--;
	*ret_withheld = lines->withheld;
	lines->withheld = 0;
	return true;
}
