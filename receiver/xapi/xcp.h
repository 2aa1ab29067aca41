/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Machines in an XCP-ng or XenServer pool: their disks are VDIs that the receiver attaches to the VM it runs in
 * (a helper VM, or dom0), and the cutover hands them to a VM made for the machine, and starts it.
 *
 *   create   VDIs and a VM like the source, which must not be started
 *   attach   a VBD of ours for each VDI: /dev/xvdX, or what dom0 has; noted before it is made, so that none is left
 *            behind by a receiver that dies
 *   check    before the freeze: could the VM be started?
 *   start    VBDs off, VBDs of the VM on, VM unblocked and started; on failure all is put back
 *
 * One pool a process, that of receiver.ini's [xcp].
 */
#ifndef BLKFERRY_RECEIVER_XAPI_XCP_H
#define BLKFERRY_RECEIVER_XAPI_XCP_H

#include <jansson.h>
#include <stdbool.h>

#include "receiver/machine.h"

#define XCP_SCHEME   "xcp:"
#define XCP_UUID_MAX 40
#define XCP_KEY	     "blkferry" /* in other_config of what was made by us: the record's id */

enum xcp_attach { XCP_ATTACH_HELPER = 1, XCP_ATTACH_DOM0, XCP_ATTACH_DOM0_NBD };

/* Before anything else here. Begins to detach what an earlier receiver left attached; when the pool cannot be
 * reached now, that is done before the first attach. */
int xcp_init(const struct receiver_options *options, struct fault *fault);
/* Can [xcp] be right? Fault STOP. */
int xcp_check_options(const struct receiver_options *options, struct fault *fault);

/* Where a slot's bytes go when receiver.ini has no target for it: false without [xcp], else "xcp:UUID" in ret_uri,
 * or "xcp:" before 'blkferry xcp create'. */
bool xcp_slot_uri(const struct machines *machines, const struct machine *machine, unsigned int slot,
		  char *ret_uri, size_t size);

struct xcp_request {
	const char *sr;	      /* names or UUIDs */
	const char *template; /* NULL: "Other install media" */
	const char *vm_name;  /* NULL: the machine's */
	const json_t *
		networks; /* array of texts: of the first interface, the second ...; the last of all others */
};
/* What is made is described in ret_result. On failure nothing is left. */
int xcp_create(struct machines *machines, struct machine *machine,
	       const struct xcp_request *request, json_t **ret_result, struct fault *fault);

/* Attaches a VDI for writing; ret_uri: a target that target_open takes (block:, nbd+unix:). One that is
 * attached already stays so. */
int xcp_attach(const char *vdi, char *ret_uri, size_t size, struct fault *fault);
/* Is it that still? To be asked when the target is open, since an open device cannot be taken away: before, it can
 * have become another disk of the same name. Fault RETRY. */
int xcp_confirm(const char *vdi, const char *uri, struct fault *fault);
int xcp_detach(const char *vdi, struct fault *fault); /* one that is not attached: 0 */

/* 0 also for a machine that has no VM in the pool. */
int xcp_check(const struct machines *machines, struct machine *machine, struct fault *fault);
int xcp_start(const struct machines *machines, struct machine *machine, struct fault *fault);

#endif
