// SPDX-License-Identifier: GPL-2.0-or-later
/* The beginning of a session: is this agent welcome, what are its disks, and is the machine free? */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "receiver/session_internal.h"

#define HELLO_TIMEOUT_NS   (15 * NS_PER_S)
#define OPEN_TIMEOUT_NS	   (300 * NS_PER_S)
#define REPLACE_TIMEOUT_NS (60 * NS_PER_S) /* for the old session's last writes to end */

/* Before WELCOME the agent has nothing to say: claiming the machine and opening targets may take long. */
bool session_is_silent(const struct session *session)
{
	uint64_t most = session->is_welcomed ? WIRE_SILENCE_MS * NS_PER_MS : OPEN_TIMEOUT_NS;

	return os_monotonic_ns() - session->heard_ns > most;
}

void session_refuse(struct session *session, enum wire_error_code code, const struct fault *fault)
{
	log_warning("%s: %s", session->machine->name, fault->text);
	machine_set_error(session->machine, fault->text);
	frame_send_error(session->link, code, fault->class, fault->text);
}

/* Takes the machine for this session. The same agent coming back, or a dead one's successor, replaces the
 * old session; a live twin is refused. */
static int claim_machine(struct session *session, struct fault *fault)
{
	struct machine *machine = session->machine;
	uint64_t deadline = os_monotonic_ns() + REPLACE_TIMEOUT_NS;
	int error = 0;

	os_mutex_lock(&machine->lock);
	while (machine->session && !error) {
		struct session *old = machine->session;
		bool is_same = memcmp(old->hello.instance, session->hello.instance,
				      sizeof(old->hello.instance)) == 0;

		os_mutex_lock(&old->lock);
		is_same |= session_is_silent(old) || old->has_failed;
		os_mutex_unlock(&old->lock);
		if (!is_same) {
			error = fault_set(
				fault, FAULT_RETRY, EBUSY,
				"another agent with the certificate of %s is connected, from "
				"host '%s': stop one of them",
				machine->name, old->hello.host);
			break;
		}
		machine->is_ending = true;
		session_mark_failed(old);
		if (os_cond_wait_until(&machine->changed, &machine->lock, deadline))
			error = fault_set(fault, FAULT_RETRY, EBUSY,
					  "the last session of %s is still writing to its target",
					  machine->name);
	}
	/* Once more: that may have begun, or been done, since this agent said HELLO. */
	if (!error && (machine->is_rewinding || machine->state == MACHINE_ROLLED_BACK))
		error = fault_set(fault, FAULT_RETRY, EBUSY,
				  "%s is being rolled back at the receiver", machine->name);
	if (!error && machine->state == MACHINE_COMPLETED && !session->hello.fenced)
		error = fault_set(fault, FAULT_STOP, EALREADY,
				  "%s was cut over: its replica is live now and must not be "
				  "written",
				  machine->name);
	if (!error) {
		machine->session = session;
		machine->is_ending = false;
		machine->is_removed = false; /* enrolled again under the same name */
		if (session->facts.cpus)
			machine->facts = session->facts;
		snprintf(machine->agent_host, sizeof(machine->agent_host), "%s",
			 session->hello.host);
		snprintf(machine->agent_version, sizeof(machine->agent_version), "%s",
			 session->hello.program);
		memset(&machine->status, 0, sizeof(machine->status));
		/* It may have been started anew: it says so itself, once the disks are open. */
		memset(&machine->source_start, 0, sizeof(machine->source_start));
	}
	os_mutex_unlock(&machine->lock);
	return error;
}

static int check_hello(struct session *session, enum wire_error_code *ret_code, struct fault *fault)
{
	const struct wire_hello *hello = &session->hello;
	struct machine *machine = session->machine;
	bool is_completed, is_rolled_back;

	*ret_code = WIRE_ERROR_VERSION;
	if (hello->version_min > WIRE_VERSION || hello->version < WIRE_VERSION)
		return fault_set(
			fault, FAULT_STOP, EPROTO,
			"the agent speaks versions %u to %u of the protocol, this receiver "
			"version %d: upgrade the older one",
			hello->version_min, hello->version, WIRE_VERSION);
	*ret_code = WIRE_ERROR_PROTOCOL;
	if (hello->disks < 1 || hello->disks > WIRE_DISKS_MAX)
		return fault_set(fault, FAULT_STOP, EPROTO,
				 "the agent announces %u disks; 1 to %d "
				 "are allowed",
				 hello->disks, WIRE_DISKS_MAX);
	os_mutex_lock(&machine->lock);
	is_completed = machine->state == MACHINE_COMPLETED;
	is_rolled_back = machine->state == MACHINE_ROLLED_BACK || machine->is_rewinding;
	os_mutex_unlock(&machine->lock);
	*ret_code = WIRE_ERROR_COMPLETED;
	if (is_completed && !hello->fenced)
		return fault_set(
			fault, FAULT_STOP, EALREADY,
			"%s was cut over: its replica is live now and must not be written. "
			"To replicate it anew, 'blkferry remove %s' and enroll it again",
			machine->name, machine->name);
	*ret_code = WIRE_ERROR_TARGET;
	if (is_rolled_back)
		return fault_set(fault, FAULT_STOP, EBUSY,
				 "%s was rolled back at the receiver: 'blkferry rollback %s "
				 "--undo' there, or "
				 "'blkferry resume %s' to follow this machine again",
				 machine->name, machine->name, machine->name);
	return 0;
}

static int receive_disks(struct session *session, struct fault *fault)
{
	uint64_t buffer[WIRE_CONTROL_MAX / sizeof(uint64_t)];
	uint64_t deadline = os_monotonic_ns() + HELLO_TIMEOUT_NS;
	const struct wire_disk *disk = (const struct wire_disk *)buffer;

	for (unsigned int i = 0; i < session->disk_count;) {
		enum wire_type type;
		uint32_t length;
		int error = frame_receive(session->link, buffer, sizeof(buffer), &type, &length,
					  deadline, fault);

		if (error)
			return error;
		if (type == WIRE_MACHINE && i == 0 && !session->facts.cpus) {
			session->facts = *(const struct wire_machine *)buffer;
			continue;
		}
		if (type != WIRE_DISK || disk->index != i)
			return fault_set(fault, FAULT_STOP, EPROTO, "the agent spoke out of turn");
		session->announced[i++] = *disk;
	}
	return 0;
}

int session_greet(struct session *session)
{
	enum wire_error_code code;
	struct fault fault = {0};
	int error = check_hello(session, &code, &fault);

	if (!error) {
		code = WIRE_ERROR_PROTOCOL;
		error = receive_disks(session, &fault);
	}
	if (!error) {
		code = WIRE_ERROR_BUSY;
		error = claim_machine(session, &fault);
	}
	if (error)
		session_refuse(session, code, &fault);
	return error;
}
