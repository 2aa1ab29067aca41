// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * NBD targets: what the server can do is asked, never configured, and a target that cannot hold the
 * disk is refused before a byte is written. target_nbd_channel.c has the requests.
 *
 * What no NBD client can do: learn when a server has executed the writes of a connection that is gone. Not
 * even a flush on another connection waits for them. So a channel is drained before it is closed; when it
 * cannot be (the connection lost, the receiver killed) the target is not clean (target_is_clean). An auto
 * target's nbdkit is then ended before the next write. A foreign server is given time, and its replica is
 * compared anew; a write that it sits on for even longer can still land on newer data, unseen until the
 * next verify, or the one that every cutover makes.
 */
#include "receiver/target_nbd.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "common/os_clock.h"

#define CHANNELS_MAX	64
#define BLOCK_BYTES_MIN 512
#define BLOCK_BYTES_MAX 65536 /* the NBD protocol's own limit */

static struct target_nbd *as_nbd(struct target *target)
{
	return (struct target_nbd *)target;
}

static void nbd_target_close(struct target *target)
{
	struct target_nbd *nbd_target = as_nbd(target);

	if (nbd_target->spare)
		nbd_close(nbd_target->spare);
	target_fini(target);
	free(nbd_target);
}

static const struct target_ops nbd_ops = {
	.name = "nbd",
	.close = nbd_target_close,
	.channel_open = target_nbd_channel_open,
	.channel_close = target_nbd_channel_close,
	.start = target_nbd_start,
	.progress = target_nbd_progress,
	.flush = target_nbd_flush,
};

/* One server and export however the URI spells them: the peer's address, or which socket file. */
static void describe_peer(struct nbd_handle *nbd, char *text, size_t size)
{
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof(address);
	char host[80] = "?", port[16] = "?";
	struct stat st;
	char *export_name = nbd_get_export_name(nbd);
	const char *name = export_name ? export_name : "";

	if (getpeername(nbd_aio_get_fd(nbd), (struct sockaddr *)&address, &length) < 0)
		address.ss_family = AF_UNSPEC;
	if (address.ss_family == AF_UNIX) {
		const char *path = ((struct sockaddr_un *)&address)->sun_path;

		if (stat(path, &st) == 0)
			snprintf(text, size, "unix %llx:%llx %s", (unsigned long long)st.st_dev,
				 (unsigned long long)st.st_ino, name);
		else
			snprintf(text, size, "unix %s %s", path, name);
	} else {
		getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port,
			    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
		snprintf(text, size, "tcp %s %s %s", host, port, name);
	}
	free(export_name);
}

/* Splitting and aligning. A server that says 1, or nothing, is taken to mean sectors: tapdisk says 1 and
 * writes to the wrong place what is not aligned to 512. */
static int set_limits(struct target_nbd *target, struct nbd_handle *nbd, struct fault *fault)
{
	int64_t least = nbd_get_block_size(nbd, LIBNBD_SIZE_MINIMUM);
	int64_t most = nbd_get_block_size(nbd, LIBNBD_SIZE_MAXIMUM);
	uint32_t block_bytes = BLOCK_BYTES_MIN;

	if (least > BLOCK_BYTES_MAX || (least > 0 && (least & (least - 1)) != 0) ||
	    (most > 0 && most < least))
		return fault_set(
			fault, FAULT_STOP, EINVAL,
			"%s has block sizes that the NBD protocol does not allow (%lld, %lld)",
			target->base.info.text, (long long)least, (long long)most);
	if (least > BLOCK_BYTES_MIN)
		block_bytes = (uint32_t)least;
	target->piece_bytes = TARGET_DATA_PIECE_BYTES;
	target->zero_piece_bytes = TARGET_ZERO_PIECE_BYTES;
	if (most >= block_bytes && most < target->piece_bytes)
		target->piece_bytes = (uint32_t)most & ~(block_bytes - 1);
	if (most >= block_bytes && most < target->zero_piece_bytes)
		target->zero_piece_bytes = (uint32_t)most & ~(block_bytes - 1);
	target->base.info.block_bytes = block_bytes;
	return 0;
}

static int ask_server(struct target_nbd *target, struct nbd_handle *nbd, uint64_t size_bytes,
		      struct fault *fault)
{
	struct target_info *info = &target->base.info;
	int64_t server_bytes = nbd_get_size(nbd);
	int error = set_limits(target, nbd, fault);

	if (error)
		return error;
	if (server_bytes < 0)
		return fault_set(fault, FAULT_STOP, EINVAL, "%s does not say its size: %s",
				 info->text, target_nbd_words());
	if (nbd_is_read_only(nbd) != 0)
		return fault_set(fault, FAULT_STOP, EROFS,
				 "%s is read-only: export it writable, or give another target",
				 info->text);
	info->size_bytes = (uint64_t)server_bytes - (uint64_t)server_bytes % info->block_bytes;
	info->is_foreign = true;
	info->can_flush = nbd_can_flush(nbd) > 0;
	info->can_zero = nbd_can_zero(nbd) > 0;
	info->channels_max = nbd_can_multi_conn(nbd) > 0 ? CHANNELS_MAX : 1;
	return target_check_size(info->text, info->size_bytes, size_bytes, fault);
}

int target_nbd_open(const char *uri, uint64_t size_bytes, struct target **ret_target,
		    struct fault *fault)
{
	struct target_nbd *target = calloc(1, sizeof(*target));
	char identity[sizeof(target->base.identity)];
	int error;

	if (!target)
		return fault_set(fault, FAULT_RETRY, ENOMEM, "%s: out of memory", uri);
	target_init(&target->base, &nbd_ops);
	snprintf(target->uri, sizeof(target->uri), "%s", uri);
	snprintf(target->base.info.text, sizeof(target->base.info.text), "%s", uri);
	error = target_nbd_connect(uri, TARGET_NBD_DATA, os_monotonic_ns() + TARGET_NBD_CONNECT_NS,
				   &target->spare, fault);
	if (!error)
		error = ask_server(target, target->spare, size_bytes, fault);
	if (!error) {
		describe_peer(target->spare, identity, sizeof(identity));
		error = target_claim(&target->base, identity, fault);
	}
	if (error) {
		nbd_target_close(&target->base);
		return error;
	}
	/* The look takes a second connection. A server with zero requests and no room for several
	 * clients (qemu-nbd) would let it wait, and can do without: zeroing is cheap there. */
	if (target->base.info.channels_max > 1 || !target->base.info.can_zero)
		target->base.info.is_known_zero =
			target_nbd_is_zero(uri, target->base.info.size_bytes);
	*ret_target = &target->base;
	return 0;
}
