// SPDX-License-Identifier: GPL-2.0-or-later
/* What a source machine is: as JSON, for its file and for status. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/wire_check.h"
#include "receiver/machine.h"

json_t *machine_facts_to_json(const struct wire_machine *facts)
{
	json_t *nics = json_array();

	for (unsigned int i = 0; i < facts->nics; i++) {
		const uint8_t *mac = facts->nic[i].mac;
		char text[18];

		snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
			 mac[2], mac[3], mac[4], mac[5]);
		json_array_append_new(nics, json_pack("{s:s, s:s}", "name", facts->nic[i].name,
						      "mac", text));
	}
	return json_pack("{s:I, s:i, s:s, s:b, s:o}", "memory", (json_int_t)facts->memory_bytes,
			 "cpus", facts->cpus, "firmware",
			 facts->firmware == WIRE_FIRMWARE_UEFI ? "uefi" : "bios", "secure_boot",
			 facts->flags & WIRE_MACHINE_SECURE_BOOT, "nics", nics);
}

static void take_nic(const json_t *json, struct wire_machine *facts)
{
	struct wire_nic *nic = &facts->nic[facts->nics];
	const char *name = json_string_value(json_object_get(json, "name"));
	const char *mac = json_string_value(json_object_get(json, "mac"));
	uint8_t *to = nic->mac;

	if (facts->nics == WIRE_NICS_MAX || !name || !mac ||
	    sscanf(mac, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &to[0], &to[1], &to[2], &to[3],
		   &to[4], &to[5]) != 6)
		return;
	snprintf(nic->name, sizeof(nic->name), "%s", name);
	facts->nics++;
}

/* A file that is not as it should be leaves facts that are not known. */
void machine_facts_from_json(const json_t *json, struct wire_machine *ret_facts)
{
	const char *firmware = json_string_value(json_object_get(json, "firmware"));
	const json_t *nics = json_object_get(json, "nics");
	struct wire_machine facts = {
		.memory_bytes = (uint64_t)json_integer_value(json_object_get(json, "memory")),
		.cpus = (uint16_t)json_integer_value(json_object_get(json, "cpus")),
		.firmware = firmware && strcmp(firmware, "uefi") == 0 ? WIRE_FIRMWARE_UEFI
								      : WIRE_FIRMWARE_BIOS,
		.flags = json_is_true(json_object_get(json, "secure_boot"))
				 ? WIRE_MACHINE_SECURE_BOOT
				 : 0,
	};

	for (size_t i = 0; i < json_array_size(nics); i++)
		take_nic(json_array_get(nics, i), &facts);
	if (wire_check_payload(WIRE_MACHINE, &facts, sizeof(facts), NULL) == 0)
		*ret_facts = facts;
}
