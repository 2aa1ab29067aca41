// SPDX-License-Identifier: GPL-2.0-or-later
/* Opening a session: connections, HELLO, the disks; the dialogue at the head of common/wire.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/session_internal.h"
#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_file.h"

#define CONNECT_TIMEOUT_NS (15 * NS_PER_S)
/* Opening a target may mean starting its server or asking for a large map of holes. */
#define WELCOME_TIMEOUT_NS (120 * NS_PER_S)
#define ADDRESS_MAX	   512
#define CONNECTIONS_MOST   4 /* unless more are configured */

struct address {
	char host[256];
	uint16_t port;
};

/* agent.ini's receiver, or the one that this machine enrolled with. */
static int find_receiver(const struct agent_options *options, struct address *ret_address,
			 struct fault *fault)
{
	char path[512];
	char *text = NULL;
	size_t size;
	int error;

	if (options->receiver)
		return options_split_host(options->receiver, ret_address->host,
					  sizeof(ret_address->host), &ret_address->port, fault);
	snprintf(path, sizeof(path), "%s/receiver", options->state_folder);
	error = os_file_read(path, ADDRESS_MAX, &text, &size);
	if (error)
		return fault_set(fault, FAULT_STOP, -error,
				 "this machine is not enrolled: run 'blkferry-agent enroll HOST "
				 "TOKEN' with a token from 'blkferry token NAME' at the receiver");
	text[strcspn(text, "\r\n")] = '\0';
	error = options_split_host(text, ret_address->host, sizeof(ret_address->host),
				   &ret_address->port, fault);
	free(text);
	return error;
}

static int new_context(const struct agent_options *options, struct tls_context **ret_context,
		       struct fault *fault)
{
	char ca[512], certificate[512], key[512];

	snprintf(ca, sizeof(ca), "%s/ca.pem", options->state_folder);
	snprintf(certificate, sizeof(certificate), "%s/machine.pem", options->state_folder);
	snprintf(key, sizeof(key), "%s/machine.key", options->state_folder);
	if (!os_file_exists(certificate))
		return fault_set(
			fault, FAULT_STOP, ENOENT,
			"this machine is not enrolled (no %s): run 'blkferry-agent enroll "
			"HOST TOKEN' with a token from 'blkferry token NAME' at the receiver",
			certificate);
	return tls_context_new_agent(ca, certificate, key, ret_context, fault);
}

static int connect_one(const struct address *address, struct tls_context *context,
		       uint64_t deadline, struct tls_stream **ret_stream, char *ret_numeric_host,
		       struct fault *fault)
{
	os_socket_t socket;
	int error = os_socket_connect(address->host, address->port, deadline, &socket, fault);

	if (error)
		return error;
	if (ret_numeric_host)
		os_socket_peer(socket, ret_numeric_host, SESSION_HOST_MAX);
	return tls_stream_connect(context, socket, WIRE_ALPN, deadline, ret_stream, fault);
}

/* Receives one frame that must be of the given type; an ERROR becomes the fault. */
static int expect(struct frame_link *link, enum wire_type type, void *ret_message, size_t size,
		  uint64_t deadline, struct fault *fault)
{
	uint64_t buffer[WIRE_CONTROL_MAX / sizeof(uint64_t)];
	enum wire_type got;
	uint32_t length;
	int error;

	do
		error = frame_receive(link, buffer, sizeof(buffer), &got, &length, deadline, fault);
	while (!error && got == WIRE_PING);
	if (error)
		return error;
	if (got == WIRE_ERROR)
		return frame_error_to_fault(link, (struct wire_error *)buffer, fault);
	if (got != type)
		return fault_set(fault, FAULT_STOP, EPROTO, "the receiver answered out of turn");
	memcpy(ret_message, buffer, size);
	return 0;
}

static void fill_hello(const struct session *session, enum wire_role role,
		       struct wire_hello *ret_hello)
{
	const struct session_setup *setup = &session->setup;
	const struct source *source = setup->source;
	unsigned int cores = host_cores();
	uint64_t wanted = source->options->connections;

	if (!wanted)
		wanted = cores > CONNECTIONS_MOST ? CONNECTIONS_MOST : cores;
	*ret_hello = (struct wire_hello){
		.version = WIRE_VERSION,
		.version_min = WIRE_VERSION,
		.role = (uint16_t)role,
		.disks = (uint16_t)source->count,
		.connections = (uint16_t)wanted,
		.tracker = (uint16_t)source->tracker->ops->kind,
		.fenced = setup->fenced,
	};
	memcpy(ret_hello->session, session->id, sizeof(ret_hello->session));
	memcpy(ret_hello->instance, setup->instance, sizeof(ret_hello->instance));
	(void)process_boot_id(ret_hello->boot);
	host_name(ret_hello->host, sizeof(ret_hello->host));
	snprintf(ret_hello->program, sizeof(ret_hello->program), "%s", BLKFERRY_VERSION);
}

static int send_machine(struct session *session, struct fault *fault)
{
	struct wire_machine machine;

	facts_read(&machine);
	return frame_send(&session->link, WIRE_MACHINE, &machine, sizeof(machine), NULL, 0, fault);
}

static int send_disks(struct session *session, struct fault *fault)
{
	const struct source *source = session->setup.source;

	for (unsigned int i = 0; i < source->count; i++) {
		const struct source_disk *disk = &source->disks[i];
		struct wire_disk message = {
			.index = (uint16_t)i,
			.block_bytes = disk->block_bytes,
			.size_bytes = disk->disk.size_bytes,
			.acked_epoch = disk->memory->acked_epoch,
		};
		int error;

		memcpy(message.replica, disk->memory->replica_id, sizeof(message.replica));
		snprintf(message.path, sizeof(message.path), "%s", disk->disk.path);
		snprintf(message.identity, sizeof(message.identity), "%s", disk->disk.identity);
		error = frame_send(&session->link, WIRE_DISK, &message, sizeof(message), NULL, 0,
				   fault);
		if (error)
			return error;
	}
	return 0;
}

static int open_control(struct session *session, struct fault *fault)
{
	uint64_t deadline = os_monotonic_ns() + WELCOME_TIMEOUT_NS;
	struct wire_hello hello;
	struct wire_welcome welcome;
	int error;

	fill_hello(session, WIRE_ROLE_CONTROL, &hello);
	error = frame_send(&session->link, WIRE_HELLO, &hello, sizeof(hello), NULL, 0, fault);
	if (!error)
		error = send_machine(session, fault);
	if (!error)
		error = send_disks(session, fault);
	if (!error)
		error = expect(&session->link, WIRE_WELCOME, &welcome, sizeof(welcome), deadline,
			       fault);
	if (error)
		return error;
	if (welcome.version != WIRE_VERSION || welcome.connections < 1)
		return fault_set(fault, FAULT_STOP, EPROTO,
				 "the receiver speaks version %u of the protocol, this agent "
				 "version %d: upgrade the older one",
				 welcome.version, WIRE_VERSION);
	memcpy(session->id, welcome.session, sizeof(session->id));
	session->connections = welcome.connections;
	for (unsigned int i = 0; i < session->setup.source->count; i++) {
		error = expect(&session->link, WIRE_DISK_READY, &session->disks[i],
			       sizeof(session->disks[i]), deadline, fault);
		if (error)
			return error;
		if (session->disks[i].index != i)
			return fault_set(fault, FAULT_STOP, EPROTO,
					 "the receiver answered out of turn");
	}
	return 0;
}

/* HELLO and WELCOME of a further connection. */
static int open_other(struct session *session, struct tls_stream *stream, enum wire_role role,
		      struct fault *fault)
{
	struct frame_link link;
	struct wire_hello hello;
	struct wire_welcome welcome;
	int error;

	frame_link_init(&link, stream, "the receiver");
	fill_hello(session, role, &hello);
	error = frame_send(&link, WIRE_HELLO, &hello, sizeof(hello), NULL, 0, fault);
	if (!error)
		error = expect(&link, WIRE_WELCOME, &welcome, sizeof(welcome),
			       os_monotonic_ns() + WELCOME_TIMEOUT_NS, fault);
	frame_link_fini(&link);
	return error;
}

/* Where the receiver is, and with what to connect to it. The caller frees *ret_context. */
static int find_way(const struct agent_options *options, struct address *ret_address,
		    struct tls_context **ret_context, struct fault *fault)
{
	int error = find_receiver(options, ret_address, fault);

	return error ? error : new_context(options, ret_context, fault);
}

int session_repeat_fenced(const struct session_setup *setup, uint64_t deadline_ns,
			  struct fault *fault)
{
	struct session session = {.setup = *setup};
	struct tls_context *context = NULL;
	struct address address;
	struct wire_hello hello;
	struct wire_fenced heard;
	int error = find_way(setup->source->options, &address, &context, fault);

	if (!error && setup->numeric_host[0])
		snprintf(address.host, sizeof(address.host), "%s", setup->numeric_host);
	if (!error)
		error = connect_one(&address, context, deadline_ns, &session.control, NULL, fault);
	tls_context_free(context);
	if (error)
		return error;
	frame_link_init(&session.link, session.control, "the receiver");
	fill_hello(&session, WIRE_ROLE_CONTROL, &hello);
	error = frame_send(&session.link, WIRE_HELLO, &hello, sizeof(hello), NULL, 0, fault);
	if (!error)
		error = send_disks(&session, fault);
	if (!error)
		error = expect(&session.link, WIRE_FENCED, &heard, sizeof(heard), deadline_ns,
			       fault);
	frame_link_fini(&session.link);
	tls_stream_free(session.control);
	return error;
}

int session_connect(struct session *session, struct fault *fault)
{
	const struct agent_options *options = session->setup.source->options;
	struct tls_context *context = NULL;
	struct address address;
	int error;

	error = find_way(options, &address, &context, fault);
	if (error)
		return error;
	error = connect_one(&address, context, os_monotonic_ns() + CONNECT_TIMEOUT_NS,
			    &session->control, session->setup.numeric_host, fault);
	if (!error) {
		frame_link_init(&session->link, session->control, "the receiver");
		error = open_control(session, fault);
	}
	for (unsigned int i = 0; !error && i < session->connections; i++) {
		error = connect_one(&address, context, os_monotonic_ns() + CONNECT_TIMEOUT_NS,
				    &session->data[i], NULL, fault);
		if (!error)
			error = open_other(session, session->data[i], WIRE_ROLE_DATA, fault);
	}
	tls_context_free(context);
	if (!error)
		log_info("connected to the receiver at %s:%u, %u data connections", address.host,
			 address.port, session->connections);
	return error;
}

int session_connect_stream(struct session *session, struct fault *fault)
{
	struct tls_context *context = NULL;
	struct address address;
	int error = find_way(session->setup.source->options, &address, &context, fault);

	if (!error)
		error = connect_one(&address, context, os_monotonic_ns() + CONNECT_TIMEOUT_NS,
				    &session->stream_connection, NULL, fault);
	tls_context_free(context);
	if (error)
		return error;
	frame_link_init(&session->stream_link, session->stream_connection, "the receiver");
	return open_other(session, session->stream_connection, WIRE_ROLE_STREAM, fault);
}
