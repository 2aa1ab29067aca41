// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Targets: which variant a URI means, what every variant has in common, and the list of the targets
 * that this process has open, so that none is opened twice. target_channel.c has the requests.
 */
#include "receiver/target.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/wire.h"
#include "receiver/target_ops.h"
#include "receiver/xapi/xcp.h"

static struct os_mutex list_lock = OS_MUTEX_INITIALIZER;
static struct target *list;

void target_init(struct target *target, const struct target_ops *ops)
{
	target->ops = ops;
	target->lock_fd = -1;
	os_mutex_init(&target->lock);
}

void target_fini(struct target *target)
{
	os_mutex_lock(&list_lock);
	for (struct target **at = &list; *at; at = &(*at)->next) {
		if (*at == target) {
			*at = target->next;
			break;
		}
	}
	os_mutex_unlock(&list_lock);
	if (target->lock_fd >= 0)
		close(target->lock_fd);
	free(target->clean_path);
	os_mutex_fini(&target->lock);
}

int target_claim(struct target *target, const char *identity, struct fault *fault)
{
	bool is_taken = false;

	os_mutex_lock(&list_lock);
	for (const struct target *at = list; at; at = at->next)
		is_taken = is_taken || strcmp(at->identity, identity) == 0;
	if (!is_taken) {
		strncpy(target->identity, identity, sizeof(target->identity) - 1);
		target->next = list;
		list = target;
	}
	os_mutex_unlock(&list_lock);
	if (is_taken)
		return fault_set(fault, FAULT_STOP, EBUSY,
				 "%s is in use by another disk of this receiver: give each disk a "
				 "target of its own",
				 target->info.text);
	return 0;
}

int target_check_size(const char *text, uint64_t target_bytes, uint64_t size_bytes,
		      struct fault *fault)
{
	if (target_bytes >= size_bytes)
		return 0;
	return fault_set(
		fault, FAULT_STOP, ENOSPC,
		"%s has %llu bytes, the disk has %llu: enlarge the target or give a larger one",
		text, (unsigned long long)target_bytes, (unsigned long long)size_bytes);
}

/* Inode numbers are used again, and some file systems have no birth times: both together. Not the device's
 * number, which changes when the machine starts. */
void target_identify_file(int fd, char *ret_identity, size_t size)
{
	struct statx file;

	ret_identity[0] = '\0';
	if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &file) < 0)
		return;
	if (!(file.stx_mask & STATX_BTIME))
		memset(&file.stx_btime, 0, sizeof(file.stx_btime));
	snprintf(ret_identity, size, "inode %llu of %lld.%09u", (unsigned long long)file.stx_ino,
		 (long long)file.stx_btime.tv_sec, file.stx_btime.tv_nsec);
}

bool target_fd_is_hole(int fd)
{
	return lseek(fd, 0, SEEK_DATA) < 0 && errno == ENXIO;
}

static bool has_scheme(const char *uri, const char *scheme)
{
	size_t length = strlen(scheme);

	return strncasecmp(uri, scheme, length) == 0 && uri[length] == ':';
}

static bool is_nbd(const char *uri)
{
	static const char *const schemes[] = {"nbd", "nbds", "nbd+unix", "nbds+unix"};

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (has_scheme(uri, schemes[i]))
			return true;
	return false;
}

static bool is_auto(const char *uri)
{
	return strcasecmp(uri, "auto") == 0;
}

/* NAME becomes part of file names: no separators, nothing hidden, nothing that a shell would mind. */
static int check_name(const char *name, struct fault *fault)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
		"._-+:@";
	size_t length = strlen(name);

	if (length == 0 || length > TARGET_NAME_MAX || name[0] == '.' || name[0] == '-' ||
	    strspn(name, allowed) != length)
		return fault_set(
			fault, FAULT_STOP, EINVAL,
			"\"%.40s\" cannot be the name of a target's file: 1 to %d letters, "
			"digits and any of ._-+:@, not beginning with . or -",
			name, TARGET_NAME_MAX);
	return 0;
}

static const char *xcp_vdi(const char *uri)
{
	return has_scheme(uri, "xcp") ? uri + strlen(XCP_SCHEME) : NULL;
}

static int check_path(const char *uri, const char *path, struct fault *fault)
{
	if (path[0] == '/')
		return 0;
	return fault_set(
		fault, FAULT_STOP, EINVAL,
		"target \"%s\": a full path is needed after the colon, such as file:/srv/disk.raw "
		"or block:/dev/vg/disk",
		uri);
}

int target_check_uri(const char *uri, struct fault *fault)
{
	const char *vdi = xcp_vdi(uri);

	if (is_nbd(uri) || is_auto(uri))
		return 0;
	if (vdi && (!vdi[0] ||
		    (strlen(vdi) == 36 && strspn(vdi, "0123456789abcdefABCDEF-") == strlen(vdi))))
		return 0;
	if (has_scheme(uri, "file") || has_scheme(uri, "block"))
		return check_path(uri, strchr(uri, ':') + 1, fault);
	return fault_set(
		fault, FAULT_STOP, EINVAL,
		"target \"%s\" is not known: auto, nbd://HOST[:PORT][/EXPORT], nbds://..., "
		"nbd+unix:///EXPORT?socket=PATH, file:/PATH, block:/dev/X or xcp:VDI-UUID is "
		"expected",
		uri);
}

static int open_variant(const char *uri, const char *storage_folder, const char *name,
			uint64_t size_bytes, struct target **ret_target, struct fault *fault)
{
	int error = target_check_uri(uri, fault);

	if (error)
		return error;
	if (is_nbd(uri))
		return target_nbd_open(uri, size_bytes, ret_target, fault);
	if (xcp_vdi(uri))
		return target_xcp_open(xcp_vdi(uri), name, size_bytes, ret_target, fault);
	if (is_auto(uri)) {
		error = check_name(name, fault);
		if (error)
			return error;
		return target_auto_open(storage_folder, name, size_bytes, ret_target, fault);
	}
	return has_scheme(uri, "file")
		       ? target_file_open(strchr(uri, ':') + 1, size_bytes, ret_target, fault)
		       : target_block_open(strchr(uri, ':') + 1, size_bytes, ret_target, fault);
}

int target_open(const char *uri, const char *storage_folder, const char *name, uint64_t size_bytes,
		struct target **ret_target, struct fault *fault)
{
	struct target *target;
	int error;

	if (strlen(uri) > TARGET_URI_MAX)
		return fault_set(fault, FAULT_STOP, EINVAL,
				 "the target \"%.40s...\" is longer than %d characters", uri,
				 TARGET_URI_MAX);
	if (size_bytes == 0 || size_bytes > WIRE_DISK_BYTES_MAX)
		return fault_set(
			fault, FAULT_STOP, EINVAL,
			"a disk of %llu bytes cannot be replicated: 1 to %llu are possible",
			(unsigned long long)size_bytes, (unsigned long long)WIRE_DISK_BYTES_MAX);
	error = open_variant(uri, storage_folder, name, size_bytes, &target, fault);
	if (error)
		return error;
	if (target->info.block_bytes > WIRE_SECTOR)
		error = target_blocks_open(target, &target, fault);
	if (error)
		return error;
	if (target->info.channels_max == 1)
		return target_single_open(target, ret_target, fault);
	*ret_target = target;
	return 0;
}

const struct target_info *target_info(const struct target *target)
{
	return &target->info;
}

void target_mark_unclean(struct target *target)
{
	os_mutex_lock(&target->lock);
	target->is_unclean = true;
	os_mutex_unlock(&target->lock);
}

bool target_is_clean(struct target *target)
{
	bool is_clean;

	os_mutex_lock(&target->lock);
	is_clean = !target->is_unclean;
	os_mutex_unlock(&target->lock);
	return is_clean;
}

/* Without the file the next user starts the server anew, which costs little: errors are ignored. */
static void leave_clean_mark(const struct target *target)
{
	int fd = open(target->clean_path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0)
		close(fd);
}

void target_close(struct target *target)
{
	if (!target)
		return;
	assert(target->channels == 0);
	if (target->clean_path && target_is_clean(target))
		leave_clean_mark(target);
	target->ops->close(target);
}

int target_forget(const char *uri, const char *storage_folder, const char *name, bool remove_data,
		  struct fault *fault)
{
	int error;

	if (xcp_vdi(uri))
		return xcp_vdi(uri)[0] ? xcp_detach(xcp_vdi(uri), fault) : 0;
	if (!is_auto(uri))
		return 0;
	error = check_name(name, fault);
	if (error)
		return error;
	return target_auto_forget(storage_folder, name, remove_data, fault);
}
