// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads receiver.ini; see options.h and blkferry-receiver.ini(5). */
#include "receiver/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/config.h"
#include "common/log.h"
#include "common/os_clock.h"
#include "receiver/retention.h"
#include "receiver/snapshot_rules.h"
#include "receiver/target.h"
#include "receiver/xapi/xcp.h"

#define START_TIMEOUT_NS   (600 * NS_PER_S)
#define TEST_TIMEOUT_NS	   (300 * NS_PER_S)
#define JOURNAL_SIZE	   (20ull << 30)
#define JOURNAL_SIZE_LEAST (256ull << 20) /* a few of the journal's segments */
#define RETENTION	   "5m:1s, 1h:1m, 24h:10m, 7d:1h"

static const char *const level_names[] = {"error", "warning", "info", "debug", NULL};

#define KEY(key, kind, field, ...)                                                                 \
	{                                                                                          \
		.section = "receiver", .name = (key), .type = (kind),                              \
		.offset = offsetof(struct receiver_options, field), ##__VA_ARGS__                  \
	}
#define XCP_KEY_OF(key, kind, field, ...)                                                          \
	{                                                                                          \
		.section = "xcp", .name = (key), .type = (kind),                                   \
		.offset = offsetof(struct receiver_options, field), ##__VA_ARGS__                  \
	}
#define MACHINE_KEY(key, kind, field, ...)                                                         \
	{                                                                                          \
		.section = "machine *", .name = (key), .type = (kind),                             \
		.offset = offsetof(struct machine_options, field), ##__VA_ARGS__                   \
	}

#define DISK_KEY(n) MACHINE_KEY("disk" #n, CONFIG_STRING, disks[n])

static const char *const attach_names[] = {"helper", "dom0", "dom0-nbd", NULL};

static const struct config_key keys[] = {
	KEY("listen", CONFIG_STRING, listen),
	KEY("state-folder", CONFIG_STRING, state_folder),
	KEY("storage-folder", CONFIG_STRING, storage_folder),
	KEY("control-socket", CONFIG_STRING, control_socket),
	KEY("control-group", CONFIG_STRING, control_group),
	KEY("token-lifetime", CONFIG_DURATION, token_lifetime_ns),
	KEY("certificate-days", CONFIG_NUMBER, certificate_days, .least = 1, .most = 36500),
	KEY("journal-size", CONFIG_BYTES, journal_size_bytes, .least = JOURNAL_SIZE_LEAST),
	KEY("retention", CONFIG_STRING, retention),
	KEY("log-level", CONFIG_CHOICE, log_level, .choices = level_names),
	XCP_KEY_OF("host", CONFIG_STRING, xcp_host),
	XCP_KEY_OF("user", CONFIG_STRING, xcp_user),
	XCP_KEY_OF("password-file", CONFIG_STRING, xcp_password_file),
	XCP_KEY_OF("fingerprint", CONFIG_STRING, xcp_fingerprint),
	XCP_KEY_OF("ca-file", CONFIG_STRING, xcp_ca_file),
	XCP_KEY_OF("attach", CONFIG_CHOICE, xcp_attach, .choices = attach_names),
	XCP_KEY_OF("xcp-snapshots", CONFIG_STRING, xcp_snapshots),
	MACHINE_KEY("start-command", CONFIG_STRING, start_command),
	MACHINE_KEY("start-timeout", CONFIG_DURATION, start_timeout_ns),
	MACHINE_KEY("ping", CONFIG_STRING, ping),
	MACHINE_KEY("journal-size", CONFIG_BYTES, journal_size_bytes, .least = JOURNAL_SIZE_LEAST),
	MACHINE_KEY("retention", CONFIG_STRING, retention),
	MACHINE_KEY("xcp-snapshots", CONFIG_STRING, xcp_snapshots),
	MACHINE_KEY("test-start-command", CONFIG_STRING, test_start_command),
	MACHINE_KEY("check-command", CONFIG_STRING, check_command),
	MACHINE_KEY("test-stop-command", CONFIG_STRING, test_stop_command),
	MACHINE_KEY("test-timeout", CONFIG_DURATION, test_timeout_ns),
	DISK_KEY(0),
	DISK_KEY(1),
	DISK_KEY(2),
	DISK_KEY(3),
	DISK_KEY(4),
	DISK_KEY(5),
	DISK_KEY(6),
	DISK_KEY(7),
	DISK_KEY(8),
	DISK_KEY(9),
	DISK_KEY(10),
	DISK_KEY(11),
	DISK_KEY(12),
	DISK_KEY(13),
	DISK_KEY(14),
	DISK_KEY(15),
	{.name = NULL},
};

static struct machine_options *find_or_add(struct receiver_options *options, const char *name)
{
	struct machine_options *machine = (struct machine_options *)options_machine(options, name);

	if (machine || options->machine_count == OPTIONS_MACHINES_MAX)
		return machine;
	if (!options->machines)
		options->machines = calloc(OPTIONS_MACHINES_MAX, sizeof(*options->machines));
	if (!options->machines)
		return NULL;
	machine = &options->machines[options->machine_count++];
	strcpy(machine->name, name); /* pki_name_is_valid checked its length */
	machine->start_timeout_ns = START_TIMEOUT_NS;
	machine->test_timeout_ns = TEST_TIMEOUT_NS;
	return machine;
}

static int check_retention(const char *text, struct fault *fault)
{
	struct history_rule rules[HISTORY_RULES_MAX];
	unsigned int count;

	return retention_parse(text, rules, &count, fault);
}

static int check_snapshots(const char *text, struct fault *fault)
{
	struct snapshot_rule rules[SNAPSHOT_RULES_MAX];
	unsigned int count;

	return text ? snapshot_rules_parse(text, rules, &count, fault) : 0;
}

static int on_instance(void *target, const char *instance, const struct config_key *key,
		       const char *value, struct fault *fault)
{
	struct machine_options *machine;

	if (!pki_name_is_valid(instance))
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "'%s' cannot be a machine's name: use letters, digits, '.', '_' "
				 "and '-', at most %d, and a letter or digit first",
				 instance, PKI_NAME_MAX - 1);
	machine = find_or_add(target, instance);
	if (!machine)
		return fault_set(fault, FAULT_STOP, E2BIG, "more than %d machines",
				 OPTIONS_MACHINES_MAX);
	if (strncmp(key->name, "disk", 4) == 0 && target_check_uri(value, fault))
		return -EINVAL;
	if (strcmp(key->name, "retention") == 0 && check_retention(value, fault))
		return -EINVAL;
	if (strcmp(key->name, "xcp-snapshots") == 0 && check_snapshots(value, fault))
		return -EINVAL;
	return config_set(key, machine, value, fault);
}

/* What config_read cannot know: whether there is an address in it. */
static int check_values(const char *path, const struct receiver_options *options,
			struct fault *fault)
{
	char address[256];
	uint16_t port;

	if (options_split_listen(options->listen, address, sizeof(address), &port, fault) ||
	    check_retention(options->retention, fault) ||
	    check_snapshots(options->xcp_snapshots, fault) || xcp_check_options(options, fault))
		return fault_prefix(fault, "%s", path);
	return 0;
}

int options_read(const char *path, struct receiver_options *ret_options, struct fault *fault)
{
	struct receiver_options options = {
		.listen = strdup(""),
		.state_folder = strdup(OPTIONS_STATE_FOLDER),
		.storage_folder = strdup("/var/lib/blkferry/storage"),
		.control_socket = strdup("/run/blkferry/control.sock"),
		.control_group = strdup("blkferry"),
		.token_lifetime_ns = 3600 * NS_PER_S,
		.certificate_days = 3650,
		.journal_size_bytes = JOURNAL_SIZE,
		.retention = strdup(RETENTION),
		.log_level = LOG_LEVEL_INFO,
		.xcp_attach = XCP_ATTACH_HELPER,
	};
	int error = 0;

	if (!options.listen || !options.state_folder || !options.storage_folder ||
	    !options.control_socket || !options.control_group || !options.retention)
		error = fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	else if (strcmp(path, OPTIONS_PATH) != 0 || access(path, F_OK) == 0)
		error = config_read(path, keys, &options, on_instance, fault);
	if (!error && options.listen)
		error = check_values(path, &options, fault);
	if (error) {
		options_fini(&options);
		return error;
	}
	*ret_options = options;
	return 0;
}

void options_fini(struct receiver_options *options)
{
	for (unsigned int i = 0; i < options->machine_count; i++) {
		for (unsigned int k = 0; k < WIRE_DISKS_MAX; k++)
			free(options->machines[i].disks[k]);
		free(options->machines[i].start_command);
		free(options->machines[i].retention);
		free(options->machines[i].xcp_snapshots);
		free(options->machines[i].ping);
		free(options->machines[i].test_start_command);
		free(options->machines[i].check_command);
		free(options->machines[i].test_stop_command);
	}
	free(options->machines);
	options->machines = NULL;
	options->machine_count = 0;
	config_fini(keys, options);
}

const struct machine_options *options_machine(const struct receiver_options *options,
					      const char *name)
{
	for (unsigned int i = 0; i < options->machine_count; i++)
		if (strcmp(options->machines[i].name, name) == 0)
			return &options->machines[i];
	return NULL;
}

uint64_t options_journal_size(const struct receiver_options *options, const char *name)
{
	const struct machine_options *machine = options_machine(options, name);

	return machine && machine->journal_size_bytes ? machine->journal_size_bytes
						      : options->journal_size_bytes;
}

const char *options_retention(const struct receiver_options *options, const char *name)
{
	const struct machine_options *machine = options_machine(options, name);

	return machine && machine->retention ? machine->retention : options->retention;
}

const char *options_xcp_snapshots(const struct receiver_options *options, const char *name)
{
	const struct machine_options *machine = options_machine(options, name);
	const char *text = machine && machine->xcp_snapshots ? machine->xcp_snapshots
							     : options->xcp_snapshots;

	return options->xcp_host && text ? text : "none";
}

int options_split_listen(const char *text, char *ret_address, unsigned int address_size,
			 uint16_t *ret_port, struct fault *fault)
{
	const char *colon = strrchr(text, ':'), *start = text, *end;
	unsigned long port = WIRE_PORT;
	char *rest;

	if (text[0] == '[') {
		start = text + 1;
		end = strchr(text, ']');
		if (!end || (end[1] != '\0' && end[1] != ':'))
			goto bad;
		colon = end[1] == ':' ? end + 1 : NULL;
	} else if (colon && strchr(text, ':') != colon) {
		colon = NULL; /* a bare IPv6 address */
		end = text + strlen(text);
	} else {
		end = colon ? colon : text + strlen(text);
	}
	if (colon) {
		port = strtoul(colon + 1, &rest, 10);
		if (colon[1] < '0' || colon[1] > '9' || *rest != '\0' || port > 65535)
			goto bad;
	}
	if ((size_t)(end - start) >= address_size)
		goto bad;
	memcpy(ret_address, start, (size_t)(end - start));
	ret_address[end - start] = '\0';
	if (strcmp(ret_address, "*") == 0)
		ret_address[0] = '\0';
	*ret_port = (uint16_t)port;
	return 0;
bad:
	return fault_set(fault, FAULT_STOP, EINVAL,
			 "listen = '%s' is not ADDRESS, ADDRESS:PORT, [IPv6]:PORT or :PORT", text);
}
