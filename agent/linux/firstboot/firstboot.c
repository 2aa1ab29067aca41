// SPDX-License-Identifier: GPL-2.0-or-later
/* Arming, applying and disarming the mapping of the network; see firstboot.h. */
#include "agent/linux/firstboot/firstboot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/linux/firstboot/managers.h"
#include "common/os_file.h"

static int fail(struct fault *fault, const char *what, int error)
{
	return fault_set(fault, FAULT_STOP, -error, "%s: %s", what, strerror(-error));
}

/* What the firmware says the machine is. It changes with the hypervisor, and with the machine's UUID. */
static int read_hardware(const struct check_root *root, char ret_hardware[KEEP_DIGEST_MAX],
			 struct fault *fault)
{
	static const char *const names[] = {"sys_vendor", "product_name", "product_uuid"};
	char text[600] = "", path[80];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t used = strlen(text);

		snprintf(path, sizeof(path), "/sys/class/dmi/id/%s", names[i]);
		root_read_line(root, path, text + used, 150);
		if (i == 2 && strlen(text) == used)
			return fault_set(
				fault, FAULT_STOP, ENOENT,
				"%s cannot be read: this machine could not be told from the "
				"target (are you root?)",
				path);
		strcat(text, "\n");
	}
	keep_digest_text(text, ret_hardware);
	return 0;
}

static int state_path(const struct check_root *root, const char *state, const char *name,
		      char ret_path[PATH_MAX], struct fault *fault)
{
	char real[PATH_MAX];
	int error = root_resolve(root, state, real, sizeof(real));

	if (!error && snprintf(ret_path, PATH_MAX, "%s%s/%s", root->path, real, name) >= PATH_MAX)
		error = -ENAMETOOLONG;
	return error ? fail(fault, state, error) : 0;
}

/* Each card that is named in the mapping must be here, so that its name is known. */
static int find_names(const struct check_root *root, struct nicmap *mapping, struct fault *fault)
{
	struct nic nics[NICS_MAX];
	unsigned int count = nics_find(root, nics);

	for (unsigned int i = 0; i < mapping->count; i++) {
		struct nicmap_nic *nic = &mapping->nics[i];
		enum manager manager;
		char file[PATH_MAX];
		bool is_there = false;

		for (unsigned int j = 0; j < count; j++)
			if (!strcmp(nics[j].mac, nic->source_mac)) {
				is_there = true;
				memcpy(nic->name, nics[j].name, sizeof(nic->name));
			}
		if (!is_there)
			return fault_set(
				fault, FAULT_STOP, ENODEV,
				"[nic %s]: this machine has no such card ('ip link' shows them)",
				nic->source_mac);
		if (nicmap_sets_addresses(nic) &&
		    manager_find(root, nic->name, &manager, file) != 0)
			return fault_set(
				fault, FAULT_STOP, ENOTSUP,
				"[nic %s]: who configures %s here? ifupdown, NetworkManager, "
				"systemd-networkd, netplan and network scripts are known",
				nic->source_mac, nic->name);
	}
	return 0;
}

static int set_unit(const struct check_root *root, const char *action, struct fault *fault)
{
	return root_run(root,
			(const char *const[]){"systemctl", action,
					      "blkferry-agent-first-boot.service", NULL},
			NULL, fault);
}

int firstboot_arm(const struct check_root *root, const char *state, const char *plan,
		  keep_tell_fn *tell, void *context, struct fault *fault)
{
	struct nicmap mapping;
	char hardware[KEEP_DIGEST_MAX], path[PATH_MAX], *text = NULL;
	int error = nicmap_read(plan, &mapping, fault);

	if (error)
		return error;
	if (mapping.count == 0)
		error = fault_set(fault, FAULT_STOP, EINVAL, "%s: there is no [nic MAC] in it",
				  plan);
	if (!error)
		error = find_names(root, &mapping, fault);
	if (!error)
		error = read_hardware(root, hardware, fault);
	if (!error)
		error = state_path(root, state, "first-boot.ini", path, fault);
	if (!error)
		error = set_unit(root, "enable", fault);
	if (!error) {
		free(mapping.hardware);
		mapping.hardware = strdup(hardware);
		text = nicmap_write(&mapping);
		error = text ? os_file_write_atomic(path, text, strlen(text), 0600) : -ENOMEM;
		if (error)
			fail(fault, path, error);
		else
			tell(context, path,
			     "written: it is applied when this system starts on "
			     "other hardware");
	}
	free(text);
	nicmap_fini(&mapping);
	return error;
}

/* Keeps what is there (check --undo puts it back), then replaces it. */
static int put(const struct check_root *root, struct keep *keep, const char *path, const char *text,
	       unsigned int mode, struct fault *fault)
{
	char real[PATH_MAX], outside[PATH_MAX], digest[KEEP_DIGEST_MAX];
	int error = root_resolve_new(root, path, real, sizeof(real));

	if (error == -ENOENT)
		error = snprintf(real, sizeof(real), "%s", path) < 0 ? -EINVAL : 0;
	if (!error)
		error = root_outside(root, real, outside, sizeof(outside));
	if (error)
		return fail(fault, path, error);
	error = keep_add(keep, real, false, fault);
	if (!error) {
		keep_digest_text(text, digest);
		keep_note(keep, real, digest);
		error = keep_store(keep, fault);
	}
	if (error)
		return error;
	error = keep_replace(outside, text, NULL, mode);
	return error ? fail(fault, path, error) : 0;
}

/* The rule that gives the card its name, in the place of any other of ours for that name or address. */
static int bind_name(const struct check_root *root, struct keep *keep, const struct nicmap_nic *nic,
		     struct fault *fault)
{
	const char *mac = nicmap_target_mac(nic);
	char *old = root_read(root, NETCONF_RULES_PATH), *text = NULL;
	const char *at = old ? old : "";
	struct span line;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	char name[NIC_NAME_MAX + 16];
	int error;

	if (!out) {
		free(old);
		return fail(fault, NETCONF_RULES_PATH, -ENOMEM);
	}
	snprintf(name, sizeof(name), "NAME=\"%s\"", nic->name);
	while (text_line(&at, &line))
		if (!memmem(line.at, line.length, name, strlen(name)) &&
		    !memmem(line.at, line.length, mac, strlen(mac)))
			fprintf(out, "%.*s\n", (int)line.length, line.at);
	fprintf(out, NETCONF_RULE, mac, nic->name);
	error = fclose(out) != 0 ? -ENOMEM : 0;
	if (error)
		fail(fault, NETCONF_RULES_PATH, error);
	else
		error = put(root, keep, NETCONF_RULES_PATH, text, 0644, fault);
	free(text);
	free(old);
	return error;
}

static int set_addresses(const struct check_root *root, struct keep *keep,
			 const struct nicmap_nic *nic, keep_tell_fn *tell, void *context,
			 struct fault *fault)
{
	char path[PATH_MAX], *old, *text;
	enum manager manager;
	int error = manager_find(root, nic->name, &manager, path);

	if (error)
		return fault_set(fault, FAULT_STOP, ENOTSUP, "who configures %s is not known",
				 nic->name);
	manager_path(manager, nic->name, path);
	old = root_read(root, path);
	text = manager_write(manager, nic, old ? old : "");
	free(old);
	if (!text)
		return fail(fault, path, -ENOMEM);
	/* NetworkManager reads a connection only when nobody else can. */
	error = put(root, keep, path, text, manager == MANAGER_NETWORKMANAGER ? 0600 : 0644, fault);
	free(text);
	if (!error)
		tell(context, path, "written");
	return error;
}

/* Has the rule done its work, or is the card not there? */
static bool has_card(const struct check_root *root, const struct nicmap_nic *nic)
{
	struct nic nics[NICS_MAX];
	unsigned int count = nics_find(root, nics);

	for (unsigned int i = 0; i < count; i++)
		if (!strcmp(nics[i].mac, nicmap_target_mac(nic)))
			return true;
	return false;
}

static int apply(const struct check_root *root, const struct nicmap *mapping, struct keep *keep,
		 keep_tell_fn *tell, void *context, struct fault *fault)
{
	int error = 0;

	for (unsigned int i = 0; i < mapping->count && !error; i++) {
		const struct nicmap_nic *nic = &mapping->nics[i];

		if (!has_card(root, nic))
			return fault_set(
				fault, FAULT_STOP, ENODEV,
				"there is no network card %s, which was to be %s; give it "
				"that address, or correct STATE/first-boot.ini; it is tried "
				"again at the next start",
				nicmap_target_mac(nic), nic->name);
		error = bind_name(root, keep, nic, fault);
		if (!error)
			tell(context, nic->name, "bound to its card");
		if (!error && nicmap_sets_addresses(nic))
			error = set_addresses(root, keep, nic, tell, context, fault);
	}
	return error;
}

/* Its drivers may still be loading. Without udev there is nothing to wait for. */
static void wait_for_cards(const struct check_root *root)
{
	if (root->path[0] == '\0')
		(void)root_run(root,
			       (const char *const[]){"udevadm", "settle", "--timeout=60", NULL},
			       NULL, NULL);
}

/* The cards have been named already: udev looks at them again, with the rules that there are now. */
static void rename_cards(const struct check_root *root, keep_tell_fn *tell, void *context)
{
	static const char *const commands[][5] = {
		{"udevadm", "control", "--reload", NULL},
		{"udevadm", "trigger", "--action=add", "--subsystem-match=net", NULL},
		{"udevadm", "settle", "--timeout=30", NULL},
	};
	struct fault fault = {.text = ""};

	/* Another root is not running: its udev reads the rules when it starts. */
	for (size_t i = 0; root->path[0] == '\0' && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (root_run(root, commands[i], NULL, &fault) != 0)
			tell(context, "udev", fault.text);
}

int firstboot_apply(const struct check_root *root, const char *state, keep_tell_fn *tell,
		    void *context, struct fault *fault)
{
	char path[PATH_MAX], done[PATH_MAX], hardware[KEEP_DIGEST_MAX];
	struct nicmap mapping;
	struct keep keep;
	int error = state_path(root, state, "first-boot.ini", path, fault);

	if (!error)
		error = state_path(root, state, "first-boot.done", done, fault);
	if (error)
		return error;
	if (!os_file_exists(path)) {
		tell(context, path, "not there: nothing to do");
		return 0;
	}
	error = nicmap_read(path, &mapping, fault);
	if (error)
		return error;
	error = read_hardware(root, hardware, fault);
	if (!error && (!mapping.hardware || !strcmp(mapping.hardware, hardware))) {
		tell(context, path, "this is the machine that it was made on: nothing to do");
		nicmap_fini(&mapping);
		return 0;
	}
	if (!error)
		error = keep_open(root, state, &keep, fault);
	if (!error) {
		wait_for_cards(root);
		error = apply(root, &mapping, &keep, tell, context, fault);
		keep_close(&keep);
	}
	nicmap_fini(&mapping);
	if (error)
		return error;
	rename_cards(root, tell, context);
	if (rename(path, done) != 0)
		return fail(fault, path, -errno);
	*strrchr(done, '/') = '\0';
	error = os_folder_sync(done);
	return error ? fail(fault, done, error) : 0;
}

int firstboot_cancel(const struct check_root *root, const char *state, struct fault *fault)
{
	char path[PATH_MAX];
	int error = state_path(root, state, "first-boot.ini", path, fault);

	if (error)
		return error;
	if (unlink(path) != 0)
		return errno == ENOENT ? fault_set(fault, FAULT_STOP, ENOENT, "it is not armed")
				       : fail(fault, path, -errno);
	*strrchr(path, '/') = '\0';
	error = os_folder_sync(path);
	return error ? fail(fault, path, error) : set_unit(root, "disable", fault);
}
