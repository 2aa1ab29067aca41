/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of XAPI's client share: the stub of tests/xapi, and orders to it. Included once by a program. */
#ifndef BLKFERRY_TESTS_XAPI_FIXTURE_H
#define BLKFERRY_TESTS_XAPI_FIXTURE_H

#include "receiver/xapi/xapi.h"
#include "target_fixture.h"

static struct xapi *xapi;
static char host_text[128];

/* Starts a stub. Its storage, log and, if it listens on a port, that port's number are in folder/NAME. */
static inline pid_t start_stub(const char *name, const char *arguments)
{
	run(text_of("mkdir %s/%s", folder, name));
	run(text_of("exec tests/xapi/stub.py --storage %s/%s %s </dev/null >%s/%s/log 2>&1 & "
		    "echo $! >%s/%s/pid",
		    folder, name, arguments, folder, name, folder, name));
	return pid_in(text_of("%s/%s/pid", folder, name));
}

static inline void start_unix_stub(void)
{
	server_pid = start_stub("stub", text_of("--unix %s/sock", folder));
	wait_for_file(in_folder("sock"));
	snprintf(host_text, sizeof(host_text), "unix:%s/sock", folder);
}

static inline int try_login(const struct xapi_options *options)
{
	memset(&fault, 0, sizeof(fault));
	return xapi_open(options, &xapi, &fault);
}

static inline void log_in(void)
{
	const struct xapi_options options = {.host = host_text};

	if (try_login(&options))
		fail_msg("%s", fault.text);
}

static inline void order(const char *json)
{
	run(text_of("tests/xapi/order.py %s '%s' >%s/answer", host_text, json, folder));
}

static inline int begin_xapi(void **state)
{
	xapi = NULL;
	return begin(state);
}

/* What the stub thinks of itself counts, too. */
static inline int end_xapi(void **state)
{
	bool is_wrong = try_run(text_of("grep -s 'STUB BUG' -A 20 %s/*/log", folder)) == 0;

	xapi_close(xapi);
	xapi = NULL;
	(void)end(state);
	return is_wrong ? -1 : 0;
}

#define XAPI_TEST(name) cmocka_unit_test_setup_teardown(name, begin_xapi, end_xapi)

#endif
