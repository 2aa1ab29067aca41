// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of the network: cards that are configured by a name that the target does not give them. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/linux/check/bootargs.h"
#include "agent/linux/check/netconf.h"
#include "agent/linux/check/plan.h"

static bool is_bound_in(struct check_context *context, const char *folder, const char *end,
			const struct nic *nic,
			bool (*binds)(const char *text, const char *mac, const char *name))
{
	struct root_names names;
	bool is_bound = false;

	root_list(&context->root, folder, &names);
	for (unsigned int i = 0; i < names.count && !is_bound; i++) {
		char path[PATH_MAX], *text;
		const char *dot = strrchr(names.names[i], '.');

		if (!dot || strcmp(dot, end) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, names.names[i]);
		text = plan_read(context, path);
		is_bound = text && binds(text, nic->mac, nic->name);
		free(text);
	}
	root_names_free(&names);
	return is_bound;
}

static bool is_bound(struct check_context *context, const struct nic *nic)
{
	return is_bound_in(context, "/etc/udev/rules.d", ".rules", nic, netconf_rule_binds) ||
	       is_bound_in(context, "/etc/systemd/network", ".link", nic, netconf_link_binds);
}

static bool plan_rule(struct check_context *context, const struct nic *nic)
{
	char *text = plan_read(context, NETCONF_RULES_PATH), *longer = NULL;

	if (asprintf(&longer, "%s" NETCONF_RULE, text ? text : "", nic->mac, nic->name) < 0)
		longer = NULL;
	free(text);
	return plan_write(context, NETCONF_RULES_PATH, longer);
}

/* Would the target's kernel or udev give the card this very name by itself? */
static bool is_same_there(struct check_context *context, const char *name)
{
	if (strncmp(name, "eth", 3) == 0)
		return bootargs_has(context, "net.ifnames=0");
	return context->target == CHECK_TARGET_XEN && strncmp(name, "enX", 3) == 0;
}

static bool looks_physical(const char *name)
{
	return (!strncmp(name, "eth", 3) && isdigit((unsigned char)name[3])) ||
	       (!strncmp(name, "en", 2) && strchr("opsxX", name[2]) && name[2]) ||
	       (!strncmp(name, "em", 2) && isdigit((unsigned char)name[2]));
}

static void judge_use(struct check_context *context, const struct nic_use *use,
		      const struct nic *nics, unsigned int count)
{
	const struct nic *nic = NULL;
	struct finding *finding;
	bool is_same;

	for (unsigned int i = 0; i < count && !nic; i++)
		if (!strcmp(nics[i].name, use->name))
			nic = &nics[i];
	/* Where the cards are not known (an image), the name must do. */
	if (count > 0 ? !nic : !looks_physical(use->name))
		return;
	if (nic && nic->mac[0] && is_bound(context, nic))
		return;
	is_same = is_same_there(context, use->name);
	if (is_same && count <= 1 && nic)
		return;
	finding = check_add(
		context, "network-name", is_same ? CHECK_WARNING : CHECK_ERROR, use->file,
		"%s is configured by its name; on the target %s, and nobody reaches it", use->name,
		is_same ? "another card may have that name" : "the card has another name");
	if (nic && nic->mac[0])
		check_add_fix(finding, plan_rule(context, nic),
			      "keep the MAC address on the target, and bind the name to it: a rule "
			      "for udev with ATTR{address}==\"%s\", NAME=\"%s\"",
			      nic->mac, nic->name);
	else
		check_add_fix(finding, false,
			      "keep the MAC address on the target, and bind the name %s to it with "
			      "a rule for udev in /etc/udev/rules.d",
			      use->name);
}

static void check_cloud_init(struct check_context *context)
{
	struct root_names names;
	bool is_off = root_exists(&context->root, "/etc/cloud/cloud-init.disabled");

	if (!root_exists(&context->root, "/etc/cloud/cloud.cfg"))
		return;
	root_list(&context->root, "/etc/cloud/cloud.cfg.d", &names);
	for (unsigned int i = 0; i < names.count && !is_off; i++) {
		char path[PATH_MAX], *text;

		snprintf(path, sizeof(path), "/etc/cloud/cloud.cfg.d/%s", names.names[i]);
		text = root_read(&context->root, path);
		is_off = text && strstr(text, "config: disabled");
		free(text);
	}
	root_names_free(&names);
	if (!is_off)
		check_add_fix(
			check_add(context, "network-cloud-init", CHECK_WARNING,
				  "/etc/cloud/cloud.cfg",
				  "cloud-init is active: on the target it finds no or another "
				  "data source, and may write the network's configuration and "
				  "host keys anew"),
			false,
			"echo 'network: {config: disabled}' "
			">/etc/cloud/cloud.cfg.d/99-disable-network-config.cfg, or touch "
			"/etc/cloud/cloud-init.disabled");
}

void check_network(struct check_context *context)
{
	struct nic nics[NICS_MAX];
	unsigned int count = nics_find(&context->root, nics);
	struct nic_uses uses;

	nic_uses_find(&context->root, &uses);
	for (unsigned int i = 0; i < uses.count; i++) {
		bool is_told = false;

		for (unsigned int j = 0; j < i; j++)
			is_told = is_told || !strcmp(uses.list[j].name, uses.list[i].name);
		if (!is_told)
			judge_use(context, &uses.list[i], nics, count);
	}
	nic_uses_fini(&uses);
	check_cloud_init(context);
}
