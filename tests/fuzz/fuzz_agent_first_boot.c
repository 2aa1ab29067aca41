// SPDX-License-Identifier: GPL-2.0-or-later
/* A mapping of network cards: what is accepted is written, and then reads the same; any interfaces(5) is rewritten, and
 * rewriting it again changes nothing. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/firstboot/managers.h"
#include "agent/linux/firstboot/nicmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void try_mapping(const char *text, size_t size)
{
	static struct nicmap map, again;
	char *written, *second;

	if (nicmap_read_text("fuzz", text, size, &map, NULL) != 0)
		return;
	written = nicmap_write(&map);
	if (!written || nicmap_read_text("fuzz", written, strlen(written), &again, NULL) != 0)
		abort();
	second = nicmap_write(&again);
	if (!second || strcmp(written, second) != 0)
		abort();
	for (unsigned int i = 0; i < map.count; i++)
		for (enum manager manager = MANAGER_IFUPDOWN; manager <= MANAGER_IFCFG; manager++)
			free(manager_write(manager, &map.nics[i], text));
	free(written);
	free(second);
	nicmap_fini(&map);
	nicmap_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const struct nicmap_nic nic = {
		.name = "ens3", .addresses = {.text = {"192.0.2.1/24", "::1/64"}, .count = 2}};
	char *copy = malloc(size + 1), *once, *twice;

	if (size > 0)
		memcpy(copy, bytes, size);
	copy[size] = '\0';
	try_mapping(copy, strlen(copy));
	once = interfaces_rewrite(copy, &nic);
	twice = once ? interfaces_rewrite(once, &nic) : NULL;
	if (!twice || strcmp(once, twice) != 0)
		abort();
	free(once);
	free(twice);
	free(copy);
	return 0;
}
