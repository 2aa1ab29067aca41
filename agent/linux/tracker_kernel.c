/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asks the kernel's BTF for what differs between kernels: never its version. */
#include "agent/linux/tracker_set.h"

#include <errno.h>
#include <string.h>

#include <bpf/btf.h>

#define OP_MASK 0xff /* REQ_OP_MASK, eight bits since 4.8 */

struct op_name {
	const char *name;
	enum tracker_op_kind kind;
};

/* Names gone since (SCSI_*, WRITE_SAME) stand here as well. Zone opening, closing and finishing
 * change no data. What is odd (REQ_OP_ codes: bit 0 says "sends data") and not here is unknown. */
static const struct op_name op_names[] = {
	{"REQ_OP_WRITE", TRACKER_OP_WRITE},
	{"REQ_OP_WRITE_SAME", TRACKER_OP_SAME},
	{"REQ_OP_WRITE_ZEROES", TRACKER_OP_ZEROES},
	{"REQ_OP_DISCARD", TRACKER_OP_RANGES},
	{"REQ_OP_SECURE_ERASE", TRACKER_OP_RANGES},
	{"REQ_OP_ZONE_APPEND", TRACKER_OP_APPEND},
	{"REQ_OP_ZONE_OPEN", TRACKER_OP_NONE},
	{"REQ_OP_ZONE_CLOSE", TRACKER_OP_NONE},
	{"REQ_OP_ZONE_FINISH", TRACKER_OP_NONE},
	{"REQ_OP_ZONE_RESET", TRACKER_OP_ZONE_RESET},
	{"REQ_OP_ZONE_RESET_ALL", TRACKER_OP_ZONE_RESET},
	{"REQ_OP_SCSI_IN", TRACKER_OP_COMMAND_IN},
	{"REQ_OP_SCSI_OUT", TRACKER_OP_COMMAND_OUT},
	{"REQ_OP_DRV_IN", TRACKER_OP_COMMAND_IN},
	{"REQ_OP_DRV_OUT", TRACKER_OP_COMMAND_OUT},
};

static const struct btf_type *find_type(const struct btf *btf, const char *name, __u32 kind)
{
	__s32 id = btf__find_by_name_kind(btf, name, kind);

	return id < 0 ? NULL : btf__type_by_id(btf, (__u32)id);
}

static int fill_op_kinds(const struct btf *btf, struct kernel_facts *facts, struct fault *fault)
{
	const struct btf_type *type = find_type(btf, "req_op", BTF_KIND_ENUM);
	const struct btf_enum *values;
	bool has_read = false, has_write = false, has_discard = false, has_zeroes = false;

	if (!type)
		type = find_type(btf, "req_opf", BTF_KIND_ENUM);
	if (!type)
		return fault_set(
			fault, FAULT_STOP, EOPNOTSUPP,
			"this kernel's BTF has no enum req_op: the block layer is not one we know");
	for (unsigned int op = 0; op <= OP_MASK; op++)
		facts->op_kinds[op] = op % 2 ? TRACKER_OP_UNKNOWN : TRACKER_OP_NONE;
	values = btf_enum(type);
	for (unsigned int i = 0; i < btf_vlen(type); i++) {
		const char *name = btf__name_by_offset(btf, values[i].name_off);

		if (!name || values[i].val < 0 || values[i].val > OP_MASK)
			continue;
		if (strcmp(name, "REQ_OP_READ") == 0) {
			facts->op_read = (uint8_t)values[i].val;
			has_read = values[i].val % 2 == 0;
		}
		for (size_t known = 0; known < sizeof(op_names) / sizeof(op_names[0]); known++) {
			if (strcmp(name, op_names[known].name) == 0)
				facts->op_kinds[values[i].val] = (uint8_t)op_names[known].kind;
		}
		has_write |= strcmp(name, "REQ_OP_WRITE") == 0 && values[i].val % 2 == 1;
		has_discard |= strcmp(name, "REQ_OP_DISCARD") == 0;
		has_zeroes |= strcmp(name, "REQ_OP_WRITE_ZEROES") == 0;
	}
	if (!has_read || !has_write || !has_discard || !has_zeroes)
		return fault_set(fault, FAULT_STOP, EOPNOTSUPP,
				 "this kernel numbers block operations in a way we do not know");
	return 0;
}

/* Is argument `index` of a tracepoint's prototype a pointer to struct request? */
static bool takes_request(const struct btf *btf, const struct btf_type *prototype,
			  unsigned int index)
{
	const struct btf_type *type;
	const char *name;

	if (!prototype || index >= btf_vlen(prototype))
		return false;
	type = btf__type_by_id(btf, btf_params(prototype)[index].type);
	if (!type || !btf_is_ptr(type))
		return false;
	type = btf__type_by_id(btf, type->type);
	if (!type || !btf_is_struct(type))
		return false;
	name = btf__name_by_offset(btf, type->name_off);
	return name && strcmp(name, "request") == 0;
}

/* The function type behind `typedef void (*btf_trace_NAME)(void *, ...)`. */
static const struct btf_type *find_tracepoint(const struct btf *btf, const char *name)
{
	const struct btf_type *type = find_type(btf, name, BTF_KIND_TYPEDEF);

	if (type)
		type = btf__type_by_id(btf, type->type);
	if (type && btf_is_ptr(type))
		type = btf__type_by_id(btf, type->type);
	return type && btf_is_func_proto(type) ? type : NULL;
}

/* Is there an enumerator of that name? */
static bool has_value(const struct btf *btf, const char *type_name, const char *name)
{
	const struct btf_type *type = find_type(btf, type_name, BTF_KIND_ENUM);

	for (unsigned int i = 0; type && i < btf_vlen(type); i++) {
		const char *found = btf__name_by_offset(btf, btf_enum(type)[i].name_off);

		if (found && strcmp(found, name) == 0)
			return true;
	}
	return false;
}

int kernel_look_btf(const struct btf *btf, struct kernel_facts *ret_facts, struct fault *fault)
{
	struct kernel_facts facts = {0};
	const struct btf_type *complete = find_tracepoint(btf, "btf_trace_block_rq_complete");
	const struct btf_type *issue = find_tracepoint(btf, "btf_trace_block_rq_issue");
	int r;

	/* (void *, request, error or status, bytes) */
	if (!takes_request(btf, complete, 1) || btf_vlen(complete) != 4)
		return fault_set(fault, FAULT_STOP, EOPNOTSUPP,
				 "tracepoint block_rq_complete is missing or not as we know it");
	if (takes_request(btf, issue, 1)) {
		facts.issue_has_queue = false;
	} else if (takes_request(btf, issue, 2)) {
		facts.issue_has_queue = true;
	} else {
		return fault_set(fault, FAULT_STOP, EOPNOTSUPP,
				 "tracepoint block_rq_issue is missing or not as we know it");
	}
	facts.has_loop = has_value(btf, "bpf_func_id", "BPF_FUNC_loop");
	r = fill_op_kinds(btf, &facts, fault);
	if (r < 0)
		return r;
	*ret_facts = facts;
	return 0;
}

int kernel_look(struct kernel_facts *ret_facts, struct fault *fault)
{
	struct btf *btf = btf__load_vmlinux_btf();
	int r;

	if (!btf)
		return fault_set(fault, FAULT_STOP, EOPNOTSUPP,
				 "this kernel has no type information (BTF): it was built without "
				 "CONFIG_DEBUG_INFO_BTF");
	r = kernel_look_btf(btf, ret_facts, fault);
	btf__free(btf);
	return r;
}
