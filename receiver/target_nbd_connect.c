// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Connecting to an NBD server with what tapdisk's server (XCP-ng) needs, and asking a server whether
 * its export is all zero.
 *
 * tapdisk drops clients that offer extended headers, and its structured read replies hide read errors:
 * both are switched off where this libnbd has the setting, except on the short connection that asks for
 * block status and reads nothing.
 */
#include "receiver/target_nbd.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "common/os_clock.h"

#define POLL_MS_MAX	   60000
#define STATUS_PIECE_BYTES (1024u * 1024 * 1024)
#define BASE_ALLOCATION	   "base:allocation"

const char *target_nbd_words(void)
{
	const char *words = nbd_get_error();
	const char *colon;

	if (!words)
		return "unknown error";
	colon = strchr(words, ':');
	if (strncmp(words, "nbd_", 4) == 0 && colon && colon[1] == ' ')
		return colon + 2;
	return words;
}

static int poll_ms(uint64_t deadline_ns)
{
	uint64_t now_ns = os_monotonic_ns();
	uint64_t left_ms;

	if (deadline_ns <= now_ns)
		return 0;
	left_ms = (deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
	return left_ms < POLL_MS_MAX ? (int)left_ms : POLL_MS_MAX;
}

int target_nbd_wait(struct nbd_handle *nbd, uint64_t deadline_ns)
{
	for (;;) {
		int timeout_ms = poll_ms(deadline_ns);
		int got;

		if (nbd_aio_is_dead(nbd) || nbd_aio_is_closed(nbd))
			return -ENOTCONN;
		got = nbd_poll(nbd, timeout_ms);
		if (got > 0)
			return 0;
		if (got == 0 && timeout_ms == 0)
			return -ETIMEDOUT;
		if (got < 0 && nbd_get_errno() != EINTR)
			return nbd_get_errno() > 0 ? -nbd_get_errno() : -EIO;
	}
}

static int configure(struct nbd_handle *nbd, enum target_nbd_use use)
{
#ifdef LIBNBD_HAVE_NBD_SET_REQUEST_EXTENDED_HEADERS
	if (nbd_set_request_extended_headers(nbd, false) < 0)
		return -1;
#endif
#ifdef LIBNBD_HAVE_NBD_SET_PREAD_INITIALIZE
	if (nbd_set_pread_initialize(nbd, false) < 0)
		return -1;
#endif
#ifdef LIBNBD_HAVE_NBD_SET_REQUEST_STRUCTURED_REPLIES
	if (nbd_set_request_structured_replies(nbd, use == TARGET_NBD_STATUS) < 0)
		return -1;
#endif
	if (use == TARGET_NBD_STATUS && nbd_add_meta_context(nbd, BASE_ALLOCATION) < 0)
		return -1;
	/* The URI comes from the receiver's own configuration: its tls-* parameters may name files. */
	return nbd_set_uri_allow_local_file(nbd, true);
}

static int set_connect_fault(const char *uri, int error, struct fault *fault)
{
	enum fault_class class = FAULT_RETRY;

	/* libnbd has no errno for a name that does not resolve. */
	if (error <= 0)
		error = EHOSTUNREACH;
	if (error == EINVAL || error == EOPNOTSUPP || error == EPERM || error == EACCES)
		class = FAULT_STOP;
	/* libnbd has no errno of its own for it. Block devices take the same writes. */
	if (strstr(target_nbd_words(), "eflags == 0"))
		return fault_set(
			fault, FAULT_STOP, EPROTO,
			"%s speaks an NBD too old, as tapdisk of XCP-ng 8.2 does: use the disk's "
			"block device there, block:/dev/sm/backend/SR-UUID/VDI-UUID",
			uri);
	return fault_set(fault, class, error, "%s cannot be reached: %s", uri, target_nbd_words());
}

static int connect_until(struct nbd_handle *nbd, const char *uri, uint64_t deadline_ns,
			 struct fault *fault)
{
	if (nbd_aio_connect_uri(nbd, uri) < 0)
		return set_connect_fault(uri, nbd_get_errno(), fault);
	while (!nbd_aio_is_ready(nbd)) {
		int error = target_nbd_wait(nbd, deadline_ns);

		if (error == -ETIMEDOUT)
			return fault_set(
				fault, FAULT_RETRY, ETIMEDOUT,
				"%s does not answer: is it an NBD server that allows one more "
				"client?",
				uri);
		if (error == -ENOTCONN)
			return fault_set(fault, FAULT_RETRY, ECONNRESET,
					 "%s closed the connection during the handshake", uri);
		if (error)
			return set_connect_fault(uri, nbd_get_errno(), fault);
	}
	return 0;
}

int target_nbd_connect(const char *uri, enum target_nbd_use use, uint64_t deadline_ns,
		       struct nbd_handle **ret_nbd, struct fault *fault)
{
	struct nbd_handle *nbd = nbd_create();
	int error;

	if (!nbd)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "%s: %s", uri, target_nbd_words());
	if (configure(nbd, use) < 0)
		error = fault_set(fault, FAULT_STOP, EINVAL, "%s: %s", uri, target_nbd_words());
	else
		error = connect_until(nbd, uri, deadline_ns, fault);
	if (error) {
		nbd_close(nbd);
		return error;
	}
	*ret_nbd = nbd;
	return 0;
}

/* One answer of the server about what a range holds. */
struct status {
	bool is_ended;
	bool has_failed;
	bool has_data;
	uint64_t covered_bytes;
};

static int on_extent(void *user_data, const char *context, uint64_t offset, uint32_t *entries,
		     size_t count, int *error)
{
	struct status *status = user_data;

	if (*error || strcmp(context, BASE_ALLOCATION) != 0)
		return 0;
	for (size_t i = 0; i + 1 < count; i += 2) {
		status->covered_bytes += entries[i];
		if (!(entries[i + 1] & LIBNBD_STATE_ZERO))
			status->has_data = true;
	}
	return 0;
}

static int on_status(void *user_data, int *error)
{
	struct status *status = user_data;

	if (*error)
		status->has_failed = true;
	status->is_ended = true;
	return 1;
}

/* Returns how many zero bytes there are at offset; 0 when there are none or nobody knows. */
static uint64_t zero_bytes_at(struct nbd_handle *nbd, uint64_t offset, uint64_t length,
			      uint64_t deadline_ns)
{
	struct status status = {0};

	if (nbd_aio_block_status(
		    nbd, length, offset,
		    (nbd_extent_callback){.callback = on_extent, .user_data = &status},
		    (nbd_completion_callback){.callback = on_status, .user_data = &status}, 0) < 0)
		return 0;
	while (!status.is_ended)
		if (target_nbd_wait(nbd, deadline_ns) != 0)
			return 0;
	return status.has_failed || status.has_data ? 0 : status.covered_bytes;
}

static bool walk_status(struct nbd_handle *nbd, uint64_t size_bytes, uint64_t deadline_ns)
{
	int64_t advertised = nbd_get_block_size(nbd, LIBNBD_SIZE_MAXIMUM);
	uint64_t piece_bytes = STATUS_PIECE_BYTES;
	uint64_t offset = 0;

	/* tapdisk: 2 MiB, and it closes the connection on more. Others advertise what data may be, and
	 * answer more about status. */
	if (advertised > 0 && advertised <= TARGET_DATA_PIECE_BYTES)
		piece_bytes = (uint64_t)advertised;
	while (offset < size_bytes && os_monotonic_ns() < deadline_ns) {
		uint64_t left = size_bytes - offset;
		uint64_t got = zero_bytes_at(nbd, offset, left < piece_bytes ? left : piece_bytes,
					     deadline_ns);

		if (got == 0 && advertised > 0 && (uint64_t)advertised < piece_bytes)
			piece_bytes = (uint64_t)advertised;
		else if (got == 0)
			return false;
		offset += got;
	}
	return offset >= size_bytes;
}

bool target_nbd_is_zero(const char *uri, uint64_t size_bytes)
{
	uint64_t deadline_ns = os_monotonic_ns() + TARGET_NBD_PROBE_NS;
	struct nbd_handle *nbd;
	bool is_zero = false;

	if (target_nbd_connect(uri, TARGET_NBD_STATUS, deadline_ns, &nbd, NULL) != 0)
		return false;
	if (nbd_can_meta_context(nbd, BASE_ALLOCATION) > 0)
		is_zero = walk_status(nbd, size_bytes, deadline_ns);
	nbd_close(nbd);
	return is_zero;
}
