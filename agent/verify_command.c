// SPDX-License-Identifier: GPL-2.0-or-later
/* The verify command: runs a verify, reports its ranges and its sums to the receiver. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/verify.h"
#include "common/log.h"
#include "common/units.h"

struct ranges_message {
	le64 id;
	struct wire_range ranges[WIRE_RANGES_MAX];
} __attribute__((packed));

static int send_ranges(struct session *session, struct ranges_message *message, unsigned int count)
{
	if (!count)
		return 0;
	return session_send(session, WIRE_RANGES, message,
			    sizeof(message->id) + count * sizeof(message->ranges[0]));
}

/* The findings as ranges, neighbours of a kind put together. */
static int report_findings(const struct verify *verify, uint64_t id)
{
	struct ranges_message message = {.id = id};
	struct session *session = verify->replicator->session;
	unsigned int count = 0;

	for (unsigned int i = 0; i < verify->findings_count; i++) {
		const struct verify_finding *finding = &verify->findings[i];
		struct wire_range *last = count ? &message.ranges[count - 1] : NULL;
		uint16_t kind = finding->kind == WIRE_DIGEST_NEVER_COPIED ? WIRE_RANGE_NEVER_COPIED
									  : WIRE_RANGE_DIFFERS;

		if (!finding->length)
			continue;
		if (last && last->disk == finding->disk && last->kind == kind &&
		    last->offset + last->length == finding->offset) {
			last->length += finding->length;
			continue;
		}
		if (count == WIRE_RANGES_MAX) {
			int error = send_ranges(session, &message, count);

			if (error)
				return error;
			count = 0;
		}
		message.ranges[count++] = (struct wire_range){
			.offset = finding->offset,
			.length = finding->length,
			.disk = finding->disk,
			.kind = kind,
		};
	}
	return send_ranges(session, &message, count);
}

static void say_result(const struct verify *verify, struct wire_reply *reply)
{
	char compared[32], differed[32], never[32], changing[32], repaired[32];
	int length;

	length = snprintf(reply->text, sizeof(reply->text),
			  "%s found the same; %s differ; %s allocated but never copied; %s changed "
			  "in every look",
			  units_format_bytes(verify->compared_bytes, compared, sizeof(compared)),
			  units_format_bytes(verify->differed_bytes, differed, sizeof(differed)),
			  units_format_bytes(verify->never_copied_bytes, never, sizeof(never)),
			  units_format_bytes(verify->changing_bytes, changing, sizeof(changing)));
	if (verify->repaired_bytes && length > 0 && (size_t)length < sizeof(reply->text))
		snprintf(reply->text + length, sizeof(reply->text) - (size_t)length,
			 "; %s sent again and the same now",
			 units_format_bytes(verify->repaired_bytes, repaired, sizeof(repaired)));
}

void verify_command(struct replicator *replicator, const struct wire_command *command)
{
	struct wire_reply reply = {.id = command->id};
	enum verify_scope scope = command->flags & WIRE_VERIFY_ALL ? VERIFY_EVERYTHING
								   : VERIFY_ALLOCATED;
	struct fault fault = {0};
	struct verify verify;
	int error;

	if (!replicator->has_been_complete) {
		reply.error = EAGAIN;
		snprintf(reply.text, sizeof(reply.text),
			 "the first copy is not complete: verify when status says delta");
		(void)session_reply(replicator->session, &reply);
		return;
	}
	error = verify_init(&verify, replicator, scope, &fault);
	if (!error) {
		log_info("verify begins");
		error = verify_run(&verify, &fault);
		if (!error)
			error = report_findings(&verify, command->id);
		if (!error && command->flags & WIRE_VERIFY_REPAIR &&
		    verify.differed_bytes + verify.never_copied_bytes > 0)
			error = verify_repair(&verify, &fault);
	}
	if (error) {
		reply.error = (uint32_t)-error;
		snprintf(reply.text, sizeof(reply.text), "%s", fault.text);
	} else {
		reply.values[0] = verify.compared_bytes;
		reply.values[1] = verify.differed_bytes;
		reply.values[2] = verify.never_copied_bytes;
		reply.values[3] = verify.repaired_bytes;
		reply.values[4] = verify.changing_bytes;
		say_result(&verify, &reply);
		log_info("verify: %s", reply.text);
		if (verify.unrepaired_bytes)
			reply.error = EIO;
	}
	if (verify.scope)
		verify_fini(&verify);
	(void)session_reply(replicator->session, &reply);
}
