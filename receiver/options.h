/* SPDX-License-Identifier: GPL-2.0-or-later */
/* receiver.ini: what the receiver can be told. */
#ifndef BLKFERRY_RECEIVER_OPTIONS_H
#define BLKFERRY_RECEIVER_OPTIONS_H

#include <stdint.h>

#include "common/fault.h"
#include "common/pki.h"
#include "common/wire.h"

#define OPTIONS_PATH	     "/etc/blkferry/receiver.ini"
#define OPTIONS_STATE_FOLDER "/var/lib/blkferry" /* where nothing else is said */
#define OPTIONS_MACHINES_MAX 256

/* A [machine NAME] section. */
struct machine_options {
	char name[PKI_NAME_MAX];
	char *disks[WIRE_DISKS_MAX]; /* URIs by slot; NULL: auto */
	char *start_command;
	uint64_t start_timeout_ns;
	uint64_t journal_size_bytes; /* 0: as [receiver] says */
	char *retention;	     /* NULL: as [receiver] says */
	char *xcp_snapshots;	     /* NULL: as [xcp] says */
	char *ping;		     /* an address of the machine at the target; NULL: none */
	char *test_start_command;    /* test_boot.h */
	char *check_command;
	char *test_stop_command;
	uint64_t test_timeout_ns;
};

struct receiver_options {
	char *listen; /* ADDRESS[:PORT], "" all addresses */
	char *state_folder;
	char *storage_folder;
	char *control_socket;
	char *control_group;
	uint64_t token_lifetime_ns;
	uint64_t certificate_days;
	uint64_t journal_size_bytes; /* of each machine: journal and undo records */
	char *retention;	     /* of checkpoints: receiver/retention.h */
	int log_level;		     /* enum log_level */
	/* [xcp]: NULL when not set; see struct xapi_options */
	char *xcp_host, *xcp_user, *xcp_password_file, *xcp_fingerprint, *xcp_ca_file;
	int xcp_attach;	     /* enum xcp_attach */
	char *xcp_snapshots; /* receiver/snapshot_rules.h; NULL: none */
	struct machine_options *machines;
	unsigned int machine_count;
};

int options_read(const char *path, struct receiver_options *ret_options, struct fault *fault);
void options_fini(struct receiver_options *options);
/* The section of a machine; NULL when it has none. */
const struct machine_options *options_machine(const struct receiver_options *options,
					      const char *name);
/* What holds for a machine. */
uint64_t options_journal_size(const struct receiver_options *options, const char *name);
const char *options_retention(const struct receiver_options *options, const char *name);
const char *options_xcp_snapshots(const struct receiver_options *options, const char *name);
/* Splits `listen`. address_size at least 256. */
int options_split_listen(const char *text, char *ret_address, unsigned int address_size,
			 uint16_t *ret_port, struct fault *fault);

#endif
