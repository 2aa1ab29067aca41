// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading a target; see source.h. A file or device is read through the page cache, which is where its
 * writer writes: nothing is older here than what its writer was told to be done.
 */
#include "receiver/view_plugin/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/os_clock.h"
#include "common/os_io.h"
#include "receiver/target_nbd.h"
#include "receiver/view_plugin/slots.h"

#define NBD_PIECE_BYTES (2u * 1024 * 1024) /* tapdisk takes no more */
#define NBD_ALIGN_BYTES 4096u		   /* no server wants more; tapdisk wants 512 and says 1 */

struct source {
	int fd; /* of a file or device; -1: NBD */
	bool is_file;
	char *target;
	uint64_t size_bytes;
	struct slots slots;
	struct nbd_handle *handles[VIEW_CONNECTIONS_MAX]; /* belongs to who took its slot */
};

static int open_file(struct source *source, struct fault *fault)
{
	struct stat st;
	off_t end;

	source->fd = open(source->target, O_RDONLY | O_CLOEXEC);
	if (source->fd < 0 || fstat(source->fd, &st) < 0)
		return fault_set(fault, FAULT_STOP, errno, "target %s cannot be opened: %s",
				 source->target, strerror(errno));
	end = lseek(source->fd, 0, SEEK_END);
	if (end < 0 || (uint64_t)end < source->size_bytes)
		return fault_set(fault, FAULT_STOP, EINVAL, "target %s is smaller than the disk",
				 source->target);
	source->is_file = S_ISREG(st.st_mode);
	return 0;
}

static int connect_slot(struct source *source, unsigned int slot, struct fault *fault)
{
	return target_nbd_connect(source->target, TARGET_NBD_DATA,
				  os_monotonic_ns() + TARGET_NBD_CONNECT_NS, &source->handles[slot],
				  fault);
}

int source_open(const char *target, uint64_t size_bytes, struct source **ret_source,
		struct fault *fault)
{
	struct source *source = calloc(1, sizeof(*source));
	int error = 0;

	if (!source || !(source->target = strdup(target)))
		error = fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	if (error) {
		free(source);
		return error;
	}
	source->fd = -1;
	source->size_bytes = size_bytes;
	slots_init(&source->slots);
	error = target[0] == '/' ? open_file(source, fault) : connect_slot(source, 0, fault);
	if (error) {
		source_close(source);
		return error;
	}
	*ret_source = source;
	return 0;
}

void source_close(struct source *source)
{
	if (!source)
		return;
	for (unsigned int i = 0; i < VIEW_CONNECTIONS_MAX; i++)
		if (source->handles[i])
			nbd_close(source->handles[i]);
	if (source->fd >= 0)
		close(source->fd);
	slots_fini(&source->slots);
	free(source->target);
	free(source);
}

static int read_file(const struct source *source, char *data, uint64_t offset, uint32_t length,
		     struct fault *fault)
{
	int64_t got = os_pread_up_to(source->fd, data, length, offset);

	if (got < (int64_t)length)
		return fault_set(fault, FAULT_STOP, got < 0 ? (int)-got : EIO,
				 "target %s cannot be read: %s", source->target,
				 got < 0 ? strerror((int)-got) : "it got shorter");
	return 0;
}

/* One aligned piece. A connection that was lost is made anew for the next one. */
static int read_piece(struct source *source, unsigned int slot, void *data, uint64_t offset,
		      uint32_t length, struct fault *fault)
{
	int error = source->handles[slot] ? 0 : connect_slot(source, slot, fault);

	if (error)
		return error;
	if (nbd_pread(source->handles[slot], data, length, offset, 0) == 0)
		return 0;
	error = nbd_get_errno() > 0 ? nbd_get_errno() : EIO;
	fault_set(fault, FAULT_STOP, error, "target %s cannot be read: %s", source->target,
		  target_nbd_words());
	if (!nbd_aio_is_ready(source->handles[slot])) {
		nbd_close(source->handles[slot]);
		source->handles[slot] = NULL;
	}
	return -error;
}

static int read_nbd_aligned(struct source *source, char *data, uint64_t offset, uint32_t length,
			    struct fault *fault)
{
	unsigned int slot = slots_take(&source->slots);
	int error = 0;

	while (!error && length > 0) {
		uint32_t piece = length < NBD_PIECE_BYTES ? length : NBD_PIECE_BYTES;

		error = read_piece(source, slot, data, offset, piece, fault);
		data += piece;
		offset += piece;
		length -= piece;
	}
	slots_give(&source->slots, slot);
	return error;
}

static int read_nbd(struct source *source, void *data, uint64_t offset, uint32_t length,
		    struct fault *fault)
{
	uint64_t first = offset - offset % NBD_ALIGN_BYTES;
	uint64_t end = offset + length;
	char *bounce;
	int error;

	end += (NBD_ALIGN_BYTES - end % NBD_ALIGN_BYTES) % NBD_ALIGN_BYTES;
	if (end > source->size_bytes)
		end = source->size_bytes;
	if (first == offset && end == offset + length)
		return read_nbd_aligned(source, data, offset, length, fault);
	bounce = malloc(end - first);
	if (!bounce)
		return fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	error = read_nbd_aligned(source, bounce, first, (uint32_t)(end - first), fault);
	if (!error)
		memcpy(data, bounce + (offset - first), length);
	free(bounce);
	return error;
}

int source_read(struct source *source, void *data, uint64_t offset, uint32_t length,
		struct fault *fault)
{
	return source->fd >= 0 ? read_file(source, data, offset, length, fault)
			       : read_nbd(source, data, offset, length, fault);
}

bool source_knows_holes(const struct source *source)
{
	return source->is_file;
}

bool source_is_hole(const struct source *source, uint64_t offset, uint64_t limit,
		    uint64_t *ret_length)
{
	off_t data = source->is_file ? lseek(source->fd, (off_t)offset, SEEK_DATA) : (off_t)offset;
	bool is_hole = data > (off_t)offset || (data < 0 && errno == ENXIO);
	off_t end = data;

	/* ENXIO: nothing but hole up to the end. Whatever else fails: it is data. */
	if (data == (off_t)offset && source->is_file)
		end = lseek(source->fd, (off_t)offset, SEEK_HOLE);
	if (end <= (off_t)offset || (uint64_t)end - offset > limit)
		*ret_length = limit;
	else
		*ret_length = (uint64_t)end - offset;
	return is_hole;
}
