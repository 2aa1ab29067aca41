/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files xcp_*.c share. */
#ifndef BLKFERRY_RECEIVER_XAPI_XCP_INTERNAL_H
#define BLKFERRY_RECEIVER_XAPI_XCP_INTERNAL_H

#include "receiver/xapi/xapi.h"
#include "receiver/xapi/xcp.h"

/* What a person reads who starts it. A revert to a snapshot brings back the block that there was then. */
#define XCP_BLOCKED                                                                                \
	"replicated by blkferry: its cutover will start it. Was it cut over, and then reverted "   \
	"to "                                                                                      \
	"an earlier snapshot? Then 'xe vm-param-clear param-name=blocked-operations uuid=...'"

/* machines/NAME/xcp.json: what was made for a machine. */
struct xcp_record {
	char id[20]; /* random; in other_config of all of it */
	char vm[XCP_UUID_MAX];
	char vm_name[XAPI_TEXT_MAX];
	char vdis[WIRE_DISKS_MAX][XCP_UUID_MAX]; /* by slot; "": none of ours */
	bool is_complete; /* false: making it was interrupted, or is under way */
};

/* -ENOENT (no fault) when there is none. */
int xcp_record_load(const struct machines *machines, const struct machine *machine,
		    struct xcp_record *ret_record, struct fault *fault);
int xcp_record_store(const struct machines *machines, const struct machine *machine,
		     const struct xcp_record *record, struct fault *fault);
int xcp_record_remove(const struct machines *machines, const struct machine *machine,
		      struct fault *fault);

/* The pool's options (those of [xcp], and the state folder); NULL without [xcp]. */
const struct receiver_options *xcp_pool(void);
/* Copies them, for as long as the process lives. -ENOMEM */
int xcp_set_pool(const struct receiver_options *options);
/* A session with the pool of [xcp]; is_over as in struct xapi_options. */
int xcp_open(struct xapi **ret_xapi, struct fault *fault);
int xcp_open_until(const atomic_bool *is_over, struct xapi **ret_xapi, struct fault *fault);

/* The VDIs that a machine's disks go to, whoever made them. */
struct xcp_disks {
	char vdis[WIRE_DISKS_MAX][XCP_UUID_MAX]; /* by slot; "": its target is not in the pool */
	unsigned int count;
};
void xcp_disks_list(struct machine *machine, struct xcp_disks *ret_disks);
/* Those, and the record. 1: it has no VM in the pool. */
int xcp_disks_load(const struct machines *machines, struct machine *machine,
		   struct xcp_disks *ret_disks, struct xcp_record *ret_record, struct fault *fault);
/* Does other_config of an object of this class say that it belongs to the record of this id? */
int xcp_is_ours(struct xapi *xapi, const char *class, const char *ref, const char *id,
		bool *ret_is_ours, struct fault *fault);

/* xcp_vm.c: the VM shell, blocked. ret_ref is set as soon as there is something to destroy. */
/* What it is called until it bears the record's id: whatever is called so is a leftover. */
void xcp_vm_making_name(const struct xcp_record *record, char *ret_name, size_t size);
int xcp_vm_make(struct xapi *xapi, const struct xcp_record *record,
		const struct wire_machine *facts, const struct xcp_request *request, char *ret_ref,
		struct fault *fault);
/* Puts the block on, or takes it off; whatever else is blocked stays so. */
int xcp_vm_block(struct xapi *xapi, const char *vm, bool is_blocked, struct fault *fault);

/* xcp_device.c: gives the VM this VDI (a UUID) as its index'th disk, unless it has it. */
int xcp_vbd_give(struct xapi *xapi, const char *vm, const char *vdi, unsigned int index,
		 struct fault *fault);
/* The VBD of this VDI on the VM; "" when there is none. */
int xcp_vbd_find(struct xapi *xapi, const char *vm, const char *vdi_ref, char *ret_vbd,
		 struct fault *fault);

/* The device number of the index'th disk: 3 is left to the CD drive. */
static inline unsigned int xcp_device_of(unsigned int index)
{
	return index < 3 ? index : index + 1;
}
/* As xenstore numbers /dev/xvdX: a letter for each device number. */
static inline unsigned int xcp_xenstore_id(unsigned int device)
{
	return device < 16 ? 202u << 8 | device << 4 : 1u << 28 | device << 8;
}
/* Finds the block device of that xenstore id below sys_block ("/sys/block"). -ENOENT. */
int xcp_device_find(const char *sys_block, unsigned int id, char *ret_name, size_t size);

#endif
