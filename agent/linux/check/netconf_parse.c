// SPDX-License-Identifier: GPL-2.0-or-later
/* The parsers of network configuration; see netconf.h. */
#include <ctype.h>
#include <string.h>

#include "agent/linux/check/netconf.h"

static bool is_pattern(struct span name)
{
	for (size_t i = 0; i < name.length; i++)
		if (strchr("*?[]!/|$ ", name.at[i]))
			return true;
	return name.length == 0 || name.length >= NIC_NAME_MAX;
}

void netconf_interfaces(const char *text, nic_name_fn *tell, void *context)
{
	struct table_cursor cursor = {.at = text};
	struct table_line line;

	while (table_next(&cursor, &line))
		if (line.fields >= 2 && span_is(line.field[0], "iface") &&
		    !span_is(line.field[1], "lo") && !is_pattern(line.field[1]))
			tell(context, line.field[1]);
}

void netconf_keyfile(const char *text, nic_name_fn *tell, void *context)
{
	struct ini_cursor cursor = {.at = text};
	struct span name = {.length = 0};
	struct ini_line line;
	bool is_ethernet = true;

	while (ini_next(&cursor, &line)) {
		if (!line.section.at || !span_is(line.section, "connection"))
			continue;
		if (span_is(line.key, "type"))
			is_ethernet = span_is(line.value, "ethernet") ||
				      span_is(line.value, "802-3-ethernet");
		else if (span_is(line.key, "interface-name"))
			name = line.value;
	}
	if (is_ethernet && name.at && !is_pattern(name))
		tell(context, name);
}

void netconf_ifcfg(const char *text, nic_name_fn *tell, void *context)
{
	struct span name = {.length = 0};
	struct shell_line line;

	while (shell_next(&text, &line))
		if (span_is(line.name, "DEVICE"))
			name = line.value;
	if (name.at && !span_is(name, "lo") && !is_pattern(name))
		tell(context, name);
}

void netconf_networkd(const char *text, nic_name_fn *tell, void *context)
{
	struct ini_cursor cursor = {.at = text};
	struct ini_line line;
	struct span word;

	while (ini_next(&cursor, &line)) {
		if (!line.section.at || !span_is(line.section, "Match") ||
		    !span_is(line.key, "Name"))
			continue;
		while (text_word(&line.value, &word))
			if (!is_pattern(word))
				tell(context, word);
	}
}

static size_t indent_of(struct span line)
{
	size_t indent = 0;

	while (indent < line.length && line.at[indent] == ' ')
		indent++;
	return indent;
}

/* The key of "  key: value", without quotes; false when the line has none. */
static bool find_key(struct span line, struct span *ret_key, struct span *ret_value)
{
	const char *colon;

	line = span_trim(line);
	if (line.length == 0 || line.at[0] == '#' || line.at[0] == '-')
		return false;
	colon = memchr(line.at, ':', line.length);
	if (!colon)
		return false;
	*ret_key = span_trim((struct span){.at = line.at, .length = (size_t)(colon - line.at)});
	*ret_value = span_trim((struct span){
		.at = colon + 1, .length = line.length - (size_t)(colon - line.at) - 1});
	if (ret_key->length >= 2 && strchr("\"'", ret_key->at[0])) {
		ret_key->at++;
		ret_key->length -= 2;
	}
	return ret_key->length > 0;
}

/* Of YAML only what netplan's own documentation writes: blocks by indentation. Under "ethernets" the keys
 * one step in are names, unless the card is matched by its address. */
void netconf_netplan(const char *text, nic_name_fn *tell, void *context)
{
	size_t ethernets = 0, step = 0;
	bool is_inside = false, is_matched = false;
	struct span line, key, value, name = {.length = 0};

	while (text_line(&text, &line)) {
		size_t indent = indent_of(line);

		if (!find_key(line, &key, &value))
			continue;
		if (is_inside && indent <= ethernets) {
			is_inside = false;
			if (name.at && !is_matched && !is_pattern(name))
				tell(context, name);
			name.at = NULL;
		}
		if (!is_inside && span_is(key, "ethernets")) {
			is_inside = true;
			ethernets = indent;
			step = 0;
		} else if (is_inside && (step == 0 || indent == step)) {
			if (name.at && !is_matched && !is_pattern(name))
				tell(context, name);
			step = indent;
			name = key;
			is_matched = false;
		} else if (is_inside && (span_is(key, "macaddress") || span_is(key, "match"))) {
			/* "match: {macaddress: ...}" or a block; one by name or driver is a pattern. */
			is_matched = true;
		}
	}
	if (is_inside && name.at && !is_matched && !is_pattern(name))
		tell(context, name);
}

bool netconf_is_mac(const char *text)
{
	for (unsigned int i = 0; i < 17; i++)
		if (i % 3 == 2 ? text[i] != ':' : !isxdigit((unsigned char)text[i]))
			return false;
	return text[17] == '\0';
}

/* Is there needle in the line, in any case, with no letter or digit after it? */
static bool line_has(struct span line, const char *needle)
{
	size_t length = strlen(needle);

	for (size_t i = 0; i + length <= line.length; i++)
		if (!strncasecmp(line.at + i, needle, length) &&
		    (i + length == line.length || !isalnum((unsigned char)line.at[i + length])))
			return true;
	return false;
}

bool netconf_rule_binds(const char *text, const char *mac, const char *name)
{
	struct span line;

	while (text_line(&text, &line)) {
		struct span at = span_trim(line);
		const char *given = at.length ? memmem(at.at, at.length, "NAME=\"", 6) : NULL;
		const char *found = given;
		size_t left;

		/* The last one: "ENV{INTERFACE_NAME}" and the like come before. */
		while (found) {
			given = found + 6;
			left = at.length - (size_t)(given - at.at);
			found = memmem(given, left, "NAME=\"", 6);
		}
		if (!given || at.at[0] == '#' || !line_has(at, mac))
			continue;
		left = at.length - (size_t)(given - at.at);
		if (left > strlen(name) && !memcmp(given, name, strlen(name)) &&
		    given[strlen(name)] == '"')
			return true;
	}
	return false;
}

bool netconf_link_binds(const char *text, const char *mac, const char *name)
{
	struct ini_cursor cursor = {.at = text};
	bool has_mac = false, has_name = false;
	struct ini_line line;

	while (ini_next(&cursor, &line)) {
		if (span_is(line.key, "MACAddress") || span_is(line.key, "PermanentMACAddress"))
			has_mac = has_mac || line_has(line.value, mac);
		else if (span_is(line.key, "Name"))
			has_name = has_name || span_is(line.value, name);
	}
	return has_mac && has_name;
}
