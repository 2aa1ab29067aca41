// SPDX-License-Identifier: GPL-2.0-or-later
/* What a session offers its data and stream connections and those who send commands: attach, barrier,
 * command. */
#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "common/os_clock.h"
#include "common/os_file.h"
#include "receiver/session_internal.h"

struct session *session_attach(struct machine *machine, struct frame_link *link,
			       const struct wire_hello *hello, unsigned int *ret_number,
			       struct fault *fault)
{
	struct session *session;
	unsigned int i = 0;

	os_mutex_lock(&machine->lock);
	session = machine->is_ending ? NULL : machine->session;
	if (session && memcmp(session->id, hello->session, sizeof(session->id)) != 0)
		session = NULL;
	if (session) {
		os_mutex_lock(&session->lock);
		while (i < session->connections && session->was_attached[i])
			i++;
		if (session->has_failed || i == session->connections) {
			os_mutex_unlock(&session->lock);
			session = NULL;
		} else {
			session->data[i] = link;
			session->was_attached[i] = true;
			session->barriers[i] = session->acked_epoch;
			os_mutex_unlock(&session->lock);
		}
	}
	os_mutex_unlock(&machine->lock);
	if (!session)
		fault_set(fault, FAULT_RETRY, ENOTCONN, "there is no such session any more");
	else
		*ret_number = i;
	return session;
}

void session_detach(struct session *session, unsigned int number)
{
	os_mutex_lock(&session->lock);
	session->data[number] = NULL;
	os_cond_broadcast(&session->changed);
	os_mutex_unlock(&session->lock);
}

struct session *session_attach_stream(struct machine *machine, struct frame_link *link,
				      const struct wire_hello *hello, struct fault *fault)
{
	struct session *session;
	bool is_free = false;

	os_mutex_lock(&machine->lock);
	session = machine->is_ending ? NULL : machine->session;
	if (session && memcmp(session->id, hello->session, sizeof(session->id)) == 0) {
		os_mutex_lock(&session->lock);
		is_free = session->is_welcomed && !session->has_failed &&
			  !session->was_stream_attached;
		if (is_free) {
			session->stream = link;
			session->was_stream_attached = true;
		}
		os_mutex_unlock(&session->lock);
	}
	os_mutex_unlock(&machine->lock);
	if (is_free)
		return session;
	fault_set(fault, FAULT_RETRY, ENOTCONN,
		  "there is no such session any more, or it has a stream already");
	return NULL;
}

void session_detach_stream(struct session *session)
{
	os_mutex_lock(&session->lock);
	session->stream = NULL;
	os_cond_broadcast(&session->changed);
	os_mutex_unlock(&session->lock);
}

struct machines *session_machines(const struct session *session)
{
	return session->machines;
}

/* The newest epoch that every connection has sent its barrier for. Under the lock. */
static uint64_t complete_epoch(const struct session *session)
{
	uint64_t epoch = UINT64_MAX;

	for (unsigned int i = 0; i < session->connections; i++)
		if (session->barriers[i] < epoch)
			epoch = session->barriers[i];
	return epoch;
}

/* I6: target flushed, then the have bitmap, then the acknowledgement. */
static int make_durable(struct session *session, struct target_channel *const *channels,
			uint64_t epoch, struct fault *fault)
{
	for (unsigned int i = 0; i < session->disk_count; i++) {
		int error = target_channel_flush(channels[i], TARGET_STALL_NS);

		if (error)
			return fault_set(fault, FAULT_RETRY, -error,
					 "flushing the target failed: %s",
					 target_channel_error(channels[i]));
	}
	for (unsigned int i = 0; i < session->disk_count; i++) {
		int error = have_commit(session_disk(session, i)->have, epoch);

		if (error)
			return fault_set(fault, FAULT_RETRY, -error,
					 "cannot store what the replica has: %s", strerror(-error));
	}
	return 0;
}

int session_barrier(struct session *session, unsigned int number, uint64_t epoch,
		    struct target_channel *const *channels, struct fault *fault)
{
	struct wire_ack ack;
	bool is_due;
	int error = 0;

	os_mutex_lock(&session->lock);
	if (epoch <= session->barriers[number] && session->barriers[number] != 0) {
		os_mutex_unlock(&session->lock);
		return fault_set(fault, FAULT_STOP, EPROTO, "the agent's barriers go backwards");
	}
	session->barriers[number] = epoch;
	os_mutex_unlock(&session->lock);

	os_mutex_lock(&session->flush_lock);
	os_mutex_lock(&session->lock);
	ack.epoch = complete_epoch(session);
	is_due = ack.epoch > session->acked_epoch;
	os_mutex_unlock(&session->lock);
	if (is_due) {
		error = make_durable(session, channels, ack.epoch, fault);
		if (!error) {
			os_mutex_lock(&session->lock);
			session->acked_epoch = ack.epoch;
			os_mutex_unlock(&session->lock);
			error = frame_send(session->link, WIRE_ACK, &ack, sizeof(ack), NULL, 0,
					   fault);
		}
	}
	os_mutex_unlock(&session->flush_lock);
	return error;
}

int session_command_start(struct session *session, const struct wire_command *command)
{
	return frame_send(session->link, WIRE_COMMAND, command, sizeof(*command), NULL, 0, NULL);
}

static struct session_waiter *take_waiter(struct session *session)
{
	for (unsigned int i = 0; i < SESSION_WAITERS_MAX; i++)
		if (!session->waiters[i].id)
			return &session->waiters[i];
	return NULL;
}

int session_command(struct session *session, struct wire_command *command, uint64_t timeout_ns,
		    struct wire_reply *ret_reply, session_ranges_fn *ranges, void *context)
{
	uint64_t deadline = os_monotonic_ns() + timeout_ns;
	struct session_waiter *waiter;
	int error = 0;

	do
		os_random(&command->id, sizeof(command->id));
	while (!command->id);
	os_mutex_lock(&session->lock);
	waiter = take_waiter(session);
	if (waiter)
		*waiter = (struct session_waiter){
			.id = command->id, .ranges = ranges, .context = context};
	os_mutex_unlock(&session->lock);
	if (!waiter)
		return -EBUSY;
	error = session_command_start(session, command);

	os_mutex_lock(&session->lock);
	while (!error && !waiter->has_reply) {
		if (session->has_failed)
			error = -ECONNRESET;
		else if (!timeout_ns)
			os_cond_wait(&session->changed, &session->lock);
		else
			error = os_cond_wait_until(&session->changed, &session->lock, deadline);
	}
	if (waiter->has_reply) {
		*ret_reply = waiter->reply;
		error = 0;
	}
	waiter->id = 0;
	os_mutex_unlock(&session->lock);
	return error;
}
