// SPDX-License-Identifier: GPL-2.0-or-later
/* Rewriting interfaces(5) of ifupdown; see managers.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/firstboot/managers.h"

/* What begins a stanza, and so ends the one before. */
static bool begins_stanza(struct span word)
{
	static const char *const words[] = {
		"iface",	"auto",	      "mapping", "source",  "source-directory",
		"no-auto-down", "no-scripts", "rename",	 "template"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (span_is(word, words[i]))
			return true;
	return span_starts(word, "allow-");
}

/* Options of a stanza that the mapping replaces. */
static bool is_about_addresses(struct span word)
{
	static const char *const words[] = {"address",	       "netmask",	 "broadcast",
					    "network",	       "gateway",	 "pointopoint",
					    "scope",	       "dns-nameserver", "dns-search",
					    "dns-nameservers", "dns-domain",	 "hostname",
					    "accept_ra",       "autoconf",	 "dhcp",
					    "metric"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (span_is(word, words[i]))
			return true;
	return false;
}

/* One stanza an address. The first has what belongs to the card as a whole: a hook must run once. */
static void write_stanzas(FILE *out, const struct nicmap_nic *nic, const char *others)
{
	bool has_gateway[2] = {false, false};

	if (nic->is_dhcp)
		fprintf(out, "iface %s inet dhcp\n%s", nic->name, others);
	for (unsigned int i = 0; i < nic->addresses.count; i++) {
		bool is_v6 = address_is_v6(nic->addresses.text[i]);

		fprintf(out, "iface %s %s static\n\taddress %s\n", nic->name,
			is_v6 ? "inet6" : "inet", nic->addresses.text[i]);
		for (unsigned int j = 0; !has_gateway[is_v6] && j < nic->gateways.count; j++)
			if (address_is_v6(nic->gateways.text[j]) == is_v6)
				fprintf(out, "\tgateway %s\n", nic->gateways.text[j]);
		has_gateway[is_v6] = true;
		if (i > 0)
			continue;
		for (unsigned int j = 0; j < nic->dns.count; j++)
			fprintf(out, "%s%s%s", j ? " " : "\tdns-nameservers ", nic->dns.text[j],
				j + 1 == nic->dns.count ? "\n" : "");
		if (nic->search[0])
			fprintf(out, "\tdns-search %s\n", nic->search);
		fputs(others, out);
	}
}

struct rewriting {
	const char *name;
	FILE *before, *after, *others;
	bool is_ours; /* in a stanza of the card */
	bool had_any;
};

static void rewrite_line(struct rewriting *rewriting, struct span line)
{
	FILE *out = rewriting->had_any ? rewriting->after : rewriting->before;
	struct span rest = line, word = {.length = 0}, name = {.length = 0};

	(void)text_word(&rest, &word);
	if (word.length && begins_stanza(word)) {
		rewriting->is_ours = span_is(word, "iface") && text_word(&rest, &name) &&
				     span_is(name, rewriting->name);
		if (rewriting->is_ours) {
			rewriting->had_any = true;
			return;
		}
	}
	if (!rewriting->is_ours || !word.length || word.at[0] == '#')
		fprintf(out, "%.*s\n", (int)line.length, line.at);
	else if (!is_about_addresses(word))
		fprintf(rewriting->others, "%.*s\n", (int)line.length, line.at);
}

char *interfaces_rewrite(const char *old, const struct nicmap_nic *nic)
{
	char *before = NULL, *after = NULL, *others = NULL, *text = NULL;
	size_t before_size, after_size, others_size, size;
	struct rewriting rewriting = {.name = nic->name};
	struct span line;
	FILE *out = open_memstream(&text, &size);
	bool is_good;

	rewriting.before = open_memstream(&before, &before_size);
	rewriting.after = open_memstream(&after, &after_size);
	rewriting.others = open_memstream(&others, &others_size);
	is_good = out && rewriting.before && rewriting.after && rewriting.others;
	while (is_good && text_line(&old, &line))
		rewrite_line(&rewriting, line);
	is_good = rewriting.before && fclose(rewriting.before) == 0 && is_good;
	is_good = rewriting.after && fclose(rewriting.after) == 0 && is_good;
	is_good = rewriting.others && fclose(rewriting.others) == 0 && is_good;
	if (is_good) {
		fputs(before, out);
		if (!rewriting.had_any)
			fprintf(out, "\nauto %s\n", nic->name);
		write_stanzas(out, nic, others);
		fputs(after, out);
	}
	is_good = out && fclose(out) == 0 && is_good;
	free(before);
	free(after);
	free(others);
	if (is_good)
		return text;
	free(text);
	return NULL;
}
