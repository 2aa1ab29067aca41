// SPDX-License-Identifier: GPL-2.0-or-later
/* The parsers of `check` over any file: nothing is read outside of it, and edits lose nothing. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/check/bootargs.h"
#include "agent/linux/check/devices.h"
#include "agent/linux/check/kernels.h"
#include "agent/linux/check/lvm.h"
#include "agent/linux/check/netconf.h"
#include "agent/linux/check/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

struct text {
	const char *at;
	size_t size;
};

static void must_be_inside(const struct text *text, struct span span)
{
	if (span.at < text->at || span.at + span.length > text->at + text->size)
		abort();
}

static void take_name(void *context, struct span name)
{
	must_be_inside(context, name);
	if (name.length == 0 || name.length >= NIC_NAME_MAX)
		abort();
}

static void try_tables(struct text *text)
{
	struct table_cursor cursor = {.at = text->at};
	struct table_line line;
	struct edits edits;
	size_t grown = 0;
	char *edited, name[40];

	edits_init(&edits, text->at);
	while (table_next(&cursor, &line)) {
		for (unsigned int i = 0; i < line.fields; i++) {
			must_be_inside(text, line.field[i]);
			table_decode(line.field[i], name, sizeof(name));
			(void)device_name_judge(name, CHECK_TARGET_XEN);
			(void)table_has_option(line.field[i], "nofail");
		}
		if (edits.count < EDITS_MAX) {
			edits_add(&edits, line.field[0], "UUID=x");
			grown += 6 - line.field[0].length;
		}
	}
	edited = edits_apply(&edits);
	if (!edited || strlen(edited) != text->size + grown)
		abort();
	free(edited);
}

static void try_keys(struct text *text)
{
	struct ini_cursor cursor = {.at = text->at};
	const char *at = text->at;
	struct shell_line shell;
	struct ini_line ini;
	struct span value;

	while (shell_next(&at, &shell)) {
		must_be_inside(text, shell.name);
		must_be_inside(text, shell.value);
	}
	while (ini_next(&cursor, &ini)) {
		must_be_inside(text, ini.key);
		must_be_inside(text, ini.value);
	}
	if (lvm_setting(text->at, "filter", &value))
		must_be_inside(text, value);
	(void)lvm_devices_are_bound(text->at);
}

static void try_bootargs(struct text *text)
{
	static struct span spans[BOOTARGS_SPANS_MAX];

	for (enum bootargs_kind kind = BOOTARGS_PLAIN; kind <= BOOTARGS_ENV; kind++) {
		unsigned int count = bootargs_find(kind, text->at, spans);

		for (unsigned int i = 0; i < count; i++) {
			must_be_inside(text, spans[i]);
			(void)bootargs_is_for_all(text->at, spans[i]);
		}
	}
	free(bootargs_pad_env(strdup(text->at)));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *copy = malloc(size + 1);
	struct text text = {.at = copy};

	if (size > 0)
		memcpy(copy, bytes, size);
	copy[size] = '\0';
	text.size = strlen(copy);
	try_tables(&text);
	try_keys(&text);
	try_bootargs(&text);
	netconf_interfaces(copy, take_name, &text);
	netconf_keyfile(copy, take_name, &text);
	netconf_ifcfg(copy, take_name, &text);
	netconf_networkd(copy, take_name, &text);
	netconf_netplan(copy, take_name, &text);
	(void)netconf_rule_binds(copy, "00:aa:bb:cc:dd:ee", "ens3");
	(void)netconf_link_binds(copy, "00:aa:bb:cc:dd:ee", "ens3");
	(void)netconf_is_mac(copy);
	(void)modules_list_has(copy, "xen-blkfront");
	(void)kernel_config_value(copy, "CONFIG_XEN");
	free(copy);
	return 0;
}
