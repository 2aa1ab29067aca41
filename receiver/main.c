// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * blkferry-receiver: keeps targets in step with the disks of the machines that replicate to it.
 *
 *   agent ══TLS══▶ server.c ─┬─ ALPN enroll ─▶ enroll.c: token in, certificate out
 *                            ├─ HELLO control ▶ session.c: disks, PING/STATUS, replies, cutover.c
 *                            ├─ HELLO stream ─▶ stream.c ─▶ journal.c ─▶ applier.c ─▶ history, targets
 *                            └─ HELLO data ───▶ data.c ─▶ data_jobs.c: restore, check, write/compare
 *                                                 │             │
 *                                      BARRIER ───┘             ▼
 *                                session_data.c:        target.c ─▶ target_nbd.c, _file.c, _auto.c
 *                                flush, have.c, ACK ◀───────────┘
 *
 *                                          target_xcp.c ─▶ xapi/xcp_*.c: VDIs of an XCP-ng pool, attached here
 *
 *   blkferry (CLI) ──unix socket──▶ control*.c ──▶ machine.c (state), session (commands), start.c
 *
 *   NBD client ──▶ nbdkit + view_plugin/ ─┬─▶ target
 *                                         └─unix socket──▶ view_socket.c ──▶ history.c   (view.c)
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/cli.h"
#include "common/log.h"
#include "common/os_file.h"
#include "common/os_notify.h"
#include "receiver/cli.h"
#include "receiver/control.h"
#include "receiver/machine.h"
#include "receiver/options.h"
#include "receiver/server.h"
#include "receiver/snapshots.h"
#include "receiver/view.h"
#include "receiver/xapi/xcp.h"

static const char usage[] =
	"usage: blkferry-receiver init [OPTIONS]     make the certificates, once\n"
	"       blkferry-receiver run [OPTIONS]      serve (what the service runs)\n"
	"\n"
	"Options of run:\n"
	"  --config FILE    default " OPTIONS_PATH "\n"
	"  --check-config   read the configuration, say whether it is right, and end\n"
	"\n"
	"'blkferry-receiver init --help' tells its options. See blkferry-receiver(8).\n";

static int lock_state(const struct receiver_options *options, struct fault *fault)
{
	int fd; /* held until the process ends */
	int error = os_folder_lock(options->state_folder, 0700, &fd);

	if (!error)
		error = os_folder_make(options->storage_folder, 0700);
	if (error == -EWOULDBLOCK)
		return fault_set(fault, FAULT_STOP, -error,
				 "another blkferry-receiver is running with state folder %s",
				 options->state_folder);
	if (error)
		return fault_set(fault, FAULT_STOP, -error,
				 "cannot use state folder %s or storage folder %s: %s",
				 options->state_folder, options->storage_folder, strerror(-error));
	return 0;
}

static void wait_for_end(void)
{
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	(void)sigwait(&set, &number);
	log_info("%s: ending", strsignal(number));
}

static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int serve(const struct receiver_options *options, struct fault *fault)
{
	struct machines *machines = NULL;
	struct server *server = NULL;
	struct control *control = NULL;
	int error;

	block_signals();
	error = lock_state(options, fault);
	if (!error)
		error = machines_load(options, &machines, fault);
	if (!error)
		error = xcp_init(options, fault);
	if (!error)
		error = snapshots_start(machines, fault);
	if (!error)
		error = server_start(machines, &server, fault);
	if (!error) {
		view_clean(options);
		error = control_start(machines, &control, fault);
	}
	if (!error) {
		log_info("listening on port %u, control socket %s", server_port(server),
			 options->control_socket);
		(void)os_notify("READY=1"); /* ignoring: we serve anyway */
		wait_for_end();
		(void)os_notify("STOPPING=1");
	}
	server_stop(server);
	if (machines)
		view_forbid_all(machines); /* test boots end with their views */
	control_stop(control);
	snapshots_stop();
	machines_free(machines);
	return error;
}

static int run(int argc, char **argv)
{
	struct cli_service service = {.config = OPTIONS_PATH};
	struct receiver_options options;
	struct fault fault = {0};
	int error, status = cli_read_service(argc, argv, usage, &service);

	if (status >= 0)
		return status;
	error = options_read(service.config, &options, &fault);
	if (error) {
		fprintf(stderr, "blkferry-receiver: %s\n", fault.text);
		return 2;
	}
	if (service.is_check) {
		printf("%s is fine\n", service.config);
	} else {
		log_init("blkferry-receiver", options.log_level);
		error = serve(&options, &fault);
		if (error)
			log_error("%s", fault.text);
	}
	options_fini(&options);
	return error ? 1 : 0;
}

static void print_usage(FILE *to)
{
	fputs(usage, to);
}

int main(int argc, char **argv)
{
	static const struct cli_command commands[] = {
		{"init", cli_init, "make the certificates, once"},
		{"run", run, "serve (what the service runs)"},
	};
	static const struct cli_program program = {.name = "blkferry-receiver",
						   .commands = commands,
						   .command_count = 2,
						   .print_usage = print_usage};

	return cli_main(&program, argc, argv);
}
