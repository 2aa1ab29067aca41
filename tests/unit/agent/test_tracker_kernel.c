/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tracker makes of the type information of kernels that differ: made-up ones, and this one's. */
#include "agent/linux/tracker_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <string.h>

#include <bpf/btf.h>
#include <cmocka.h>

struct op {
	const char *name;
	int value;
};

static const struct op ops_now[] = {
	{"REQ_OP_READ", 0},	    {"REQ_OP_WRITE", 1},	{"REQ_OP_FLUSH", 2},
	{"REQ_OP_DISCARD", 3},	    {"REQ_OP_SECURE_ERASE", 5}, {"REQ_OP_ZONE_APPEND", 7},
	{"REQ_OP_WRITE_ZEROES", 9}, {"REQ_OP_ZONE_FINISH", 15}, {"REQ_OP_ZONE_RESET", 17},
	{"REQ_OP_DRV_IN", 34},	    {"REQ_OP_DRV_OUT", 35},	{NULL, 0},
};

/* 5.10 */
static const struct op ops_old[] = {
	{"REQ_OP_READ", 0},
	{"REQ_OP_WRITE", 1},
	{"REQ_OP_FLUSH", 2},
	{"REQ_OP_DISCARD", 3},
	{"REQ_OP_WRITE_SAME", 7},
	{"REQ_OP_WRITE_ZEROES", 9},
	{"REQ_OP_ZONE_OPEN", 10},
	{"REQ_OP_SCSI_IN", 32},
	{"REQ_OP_SCSI_OUT", 33},
	{"REQ_OP_ZONE_RESET", 15},
	{NULL, 0},
};

/* A tracepoint's typedef: pointers to the named structs after the first void *, then `more` integers. */
static void add_tracepoint(struct btf *btf, const char *name, const char *const *structs, int more)
{
	int number = btf__add_int(btf, "unsigned int", 4, 0);
	int void_pointer = btf__add_ptr(btf, 0);
	int proto, pointers[4], count = 0;

	for (; structs[count]; count++)
		pointers[count] = btf__add_ptr(btf, btf__add_struct(btf, structs[count], 8));
	proto = btf__add_func_proto(btf, 0);
	assert_int_equal(btf__add_func_param(btf, "__data", void_pointer), 0);
	for (int i = 0; i < count; i++)
		assert_int_equal(btf__add_func_param(btf, "p", pointers[i]), 0);
	for (int i = 0; i < more; i++)
		assert_int_equal(btf__add_func_param(btf, "n", number), 0);
	assert_true(btf__add_typedef(btf, name, btf__add_ptr(btf, proto)) > 0);
}

static void add_ops(struct btf *btf, const char *name, const struct op *ops)
{
	assert_true(btf__add_enum(btf, name, 4) > 0);
	for (; ops->name; ops++)
		assert_int_equal(btf__add_enum_value(btf, ops->name, ops->value), 0);
}

static int look(const char *enum_name, const struct op *ops, const char *const *complete,
		const char *const *issue, struct kernel_facts *ret_facts)
{
	struct btf *btf = btf__new_empty();
	int r;

	assert_non_null(btf);
	add_tracepoint(btf, "btf_trace_block_rq_complete", complete, 2);
	add_tracepoint(btf, "btf_trace_block_rq_issue", issue, 0);
	add_ops(btf, enum_name, ops);
	r = kernel_look_btf(btf, ret_facts, NULL);
	btf__free(btf);
	return r;
}

static const char *const request[] = {"request", NULL};
static const char *const queue_request[] = {"request_queue", "request", NULL};
static const char *const bio[] = {"bio", NULL};

static void operations_go_by_their_names(void **state)
{
	struct kernel_facts facts;

	(void)state;
	assert_int_equal(look("req_op", ops_now, request, request, &facts), 0);
	assert_int_equal(facts.op_kinds[0], TRACKER_OP_NONE);
	assert_int_equal(facts.op_kinds[1], TRACKER_OP_WRITE);
	assert_int_equal(facts.op_kinds[3], TRACKER_OP_RANGES);
	assert_int_equal(facts.op_kinds[5], TRACKER_OP_RANGES);
	assert_int_equal(facts.op_kinds[7], TRACKER_OP_APPEND);
	assert_int_equal(facts.op_kinds[9], TRACKER_OP_ZEROES);
	assert_int_equal(facts.op_kinds[15], TRACKER_OP_NONE);
	assert_int_equal(facts.op_kinds[17], TRACKER_OP_ZONE_RESET);
	assert_int_equal(facts.op_kinds[34], TRACKER_OP_COMMAND_IN);
	assert_int_equal(facts.op_kinds[35], TRACKER_OP_COMMAND_OUT);
	assert_false(facts.issue_has_queue);
}

static void unknown_operations_that_send_data_are_suspect(void **state)
{
	struct kernel_facts facts;

	(void)state;
	assert_int_equal(look("req_op", ops_now, request, request, &facts), 0);
	assert_int_equal(facts.op_kinds[11], TRACKER_OP_UNKNOWN);
	assert_int_equal(facts.op_kinds[255], TRACKER_OP_UNKNOWN);
	assert_int_equal(facts.op_kinds[12], TRACKER_OP_NONE);
}

static void old_kernels_names_are_known(void **state)
{
	struct kernel_facts facts;

	(void)state;
	assert_int_equal(look("req_opf", ops_old, request, queue_request, &facts), 0);
	assert_true(facts.issue_has_queue);
	assert_int_equal(facts.op_kinds[7], TRACKER_OP_SAME);
	assert_int_equal(facts.op_kinds[15], TRACKER_OP_ZONE_RESET);
	assert_int_equal(facts.op_kinds[32], TRACKER_OP_COMMAND_IN);
	assert_int_equal(facts.op_kinds[33], TRACKER_OP_COMMAND_OUT);
}

static void other_tracepoints_are_refused(void **state)
{
	struct kernel_facts facts;

	(void)state;
	assert_int_equal(look("req_op", ops_now, bio, request, &facts), -EOPNOTSUPP);
	assert_int_equal(look("req_op", ops_now, queue_request, request, &facts), -EOPNOTSUPP);
	assert_int_equal(look("req_op", ops_now, request, bio, &facts), -EOPNOTSUPP);
}

static void other_operations_are_refused(void **state)
{
	static const struct op renumbered[] = {{"REQ_OP_READ", 0},
					       {"REQ_OP_WRITE", 2},
					       {"REQ_OP_DISCARD", 3},
					       {"REQ_OP_WRITE_ZEROES", 9},
					       {NULL, 0}};
	struct kernel_facts facts;

	(void)state;
	assert_int_equal(look("req_op", renumbered, request, request, &facts), -EOPNOTSUPP);
	assert_int_equal(look("req_something", ops_now, request, request, &facts), -EOPNOTSUPP);
}

static void this_kernel_is_known(void **state)
{
	struct kernel_facts facts;
	struct btf *btf = btf__load_vmlinux_btf();

	(void)state;
	if (!btf)
		skip();
	assert_int_equal(kernel_look_btf(btf, &facts, NULL), 0);
	btf__free(btf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operations_go_by_their_names),
		cmocka_unit_test(unknown_operations_that_send_data_are_suspect),
		cmocka_unit_test(old_kernels_names_are_known),
		cmocka_unit_test(other_tracepoints_are_refused),
		cmocka_unit_test(other_operations_are_refused),
		cmocka_unit_test(this_kernel_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
