/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opens a set of pins and checks that it is whole: nothing that is read there is believed unseen. */
#include "agent/linux/tracker_set.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "agent/platform.h"

const char *const set_map_names[SET_MAPS] = {"state",	"dirty",  "coarse", "todo",
					     "pending", "percpu", "ring"};
const char *const set_program_names[TRACKER_PROGRAMS] = {"complete_1", "complete_2", "complete_3",
							 "issue"};

_Static_assert(sizeof(struct tracker_disk_memory) <= sizeof(((struct tracker_slot *)0)->memory),
	       "the agent's memory must fit its place in the slot");
_Static_assert(TRACKER_SLOTS_MAX == TRACKER_DISKS_MAX, "a slot for every disk");

static uint64_t page_align(uint64_t bytes)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) / page * page;
}

void set_init(struct tracker_set *set)
{
	memset(set, 0, sizeof(*set));
	for (int i = 0; i < SET_MAPS; i++)
		set->map_fds[i] = -1;
	for (int i = 0; i < TRACKER_PROGRAMS; i++) {
		set->program_fds[i] = -1;
		set->link_fds[i] = -1;
	}
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void unmap(void *data, uint64_t bytes)
{
	if (data)
		munmap(data, page_align(bytes));
}

void set_close(struct tracker_set *set)
{
	if (set->state) {
		unmap(set->dirty, set->state->header.dirty_words * sizeof(uint64_t));
		unmap(set->todo, set->state->header.dirty_words * sizeof(uint64_t));
		unmap(set->pending, set->state->header.pending_words * sizeof(*set->pending));
		unmap(set->coarse, set->state->header.coarse_words * sizeof(uint64_t));
		unmap(set->state, sizeof(*set->state));
	}
	capture_ring_unmap(&set->ring);
	free(set->pending_seen);
	for (int i = 0; i < SET_MAPS; i++)
		close_fd(&set->map_fds[i]);
	for (int i = 0; i < TRACKER_PROGRAMS; i++) {
		close_fd(&set->program_fds[i]);
		close_fd(&set->link_fds[i]);
	}
	set_init(set);
}

static int get_pin(const char *folder, const char *kind, const char *name)
{
	char path[SET_PATH_MAX + 32];
	int fd;

	snprintf(path, sizeof(path), "%s/%s%s", folder, kind, name);
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

static int stale(struct fault *fault, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static int stale(struct fault *fault, const char *format, ...)
{
	char text[160];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return fault_set(fault, FAULT_RESYNC, ESTALE, "what an earlier agent left pinned: %s",
			 text);
}

static uint32_t map_type(enum set_map which)
{
	switch (which) {
	case SET_PERCPU:
		return BPF_MAP_TYPE_PERCPU_ARRAY;
	case SET_RING:
		return BPF_MAP_TYPE_RINGBUF;
	case SET_STATE:
	case SET_DIRTY:
	case SET_COARSE:
	case SET_TODO:
	case SET_PENDING:
	case SET_MAPS:
		break;
	}
	return BPF_MAP_TYPE_ARRAY;
}

/* Opens a map's pin, checks its shape, and maps it unless ret_data is NULL. */
static int open_map(struct tracker_set *set, const char *folder, enum set_map which,
		    uint32_t value_size, uint64_t entries, void **ret_data, struct fault *fault)
{
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	uint64_t bytes = page_align(value_size * entries);
	int fd = get_pin(folder, "map_", set_map_names[which]);
	void *data;

	if (fd < 0)
		return stale(fault, "map %s: %s", set_map_names[which], strerror(-fd));
	set->map_fds[which] = fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		return stale(fault, "map %s: %s", set_map_names[which], strerror(errno));
	if (info.value_size != value_size || info.max_entries != entries ||
	    info.type != map_type(which))
		return stale(fault, "map %s is not of the kind or size that this agent knows",
			     set_map_names[which]);
	if (which != SET_STATE && info.id != set->state->header.map_ids[which])
		return stale(fault, "map %s belongs to something else", set_map_names[which]);
	if (which == SET_RING) {
		int r = capture_ring_map(fd, entries, &set->ring);

		if (r < 0)
			return fault_set(fault, FAULT_STOP, -r, "cannot map the tracker's ring: %s",
					 strerror(-r));
		/* Not in set->bytes: it counts as the process's own, being mapped. */
		return 0;
	}
	if (!ret_data) {
		set->bytes += bytes * (uint64_t)libbpf_num_possible_cpus();
		return 0;
	}
	data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		return fault_set(fault, FAULT_STOP, errno, "cannot map the tracker's map %s: %s",
				 set_map_names[which], strerror(errno));
	set->bytes += bytes;
	*ret_data = data;
	return 0;
}

static int check_header(const struct tracker_set *set, struct fault *fault)
{
	const struct tracker_header *header = &set->state->header;
	uint8_t boot_id[16];

	if (header->magic != TRACKER_MAGIC || header->layout != TRACKER_LAYOUT)
		return stale(fault, "it has layout %u, this agent knows %u", header->layout,
			     TRACKER_LAYOUT);
	if (process_boot_id(boot_id) < 0 || memcmp(boot_id, header->boot_id, sizeof(boot_id)) != 0)
		return stale(fault, "it is from before this boot");
	if (header->slots == 0 || header->slots > TRACKER_SLOTS_MAX ||
	    header->dirty_words > SET_BITMAP_BYTES_MAX / sizeof(uint64_t) ||
	    header->coarse_words > header->dirty_words ||
	    header->pending_words > SET_BITMAP_BYTES_MAX / sizeof(struct tracker_request) ||
	    set->state->capture.ring_bytes > SET_RING_BYTES_MAX ||
	    set->state->capture.mode < TRACKER_CAPTURE_OFF ||
	    set->state->capture.mode > TRACKER_CAPTURE_FULL)
		return stale(fault, "its header makes no sense");
	for (unsigned int i = 0; i < header->slots; i++) {
		const struct tracker_slot *slot = &set->state->slots[i];

		if (slot->words > header->dirty_words ||
		    slot->dirty_word > header->dirty_words - slot->words || slot->bits == 0 ||
		    bitmap_words(slot->bits) != slot->words || slot->sector_shift > 31 ||
		    slot->coarse_word >= header->coarse_words ||
		    slot->words / TRACKER_CHUNK_WORDS / 64 >=
			    header->coarse_words - slot->coarse_word ||
		    slot->pending_count > header->pending_words ||
		    slot->pending_first > header->pending_words - slot->pending_count ||
		    memchr(slot->identity, '\0', sizeof(slot->identity)) == NULL)
			return stale(fault, "its slot %u makes no sense", i);
	}
	return 0;
}

static int open_programs(struct tracker_set *set, const char *folder, struct fault *fault)
{
	for (int i = 0; i < TRACKER_PROGRAMS; i++) {
		const char *name = set_program_names[i];
		uint32_t expected = set->state->header.program_ids[i];
		struct bpf_prog_info program = {0};
		struct bpf_link_info link = {0};
		uint32_t size = sizeof(program);

		set->program_fds[i] = get_pin(folder, "program_", name);
		set->link_fds[i] = get_pin(folder, "link_", name);
		if (set->program_fds[i] < 0 || set->link_fds[i] < 0)
			return stale(fault, "program %s is not there or not attached", name);
		if (bpf_obj_get_info_by_fd(set->program_fds[i], &program, &size) < 0)
			return stale(fault, "program %s: %s", name, strerror(errno));
		size = sizeof(link);
		if (bpf_obj_get_info_by_fd(set->link_fds[i], &link, &size) < 0)
			return stale(fault, "link of %s: %s", name, strerror(errno));
		if (program.id != expected || link.prog_id != expected)
			return stale(fault, "program %s belongs to something else", name);
	}
	return 0;
}

static int open_all(struct tracker_set *set, const char *folder, enum tracker_broken *ret_broken,
		    struct fault *fault)
{
	const struct tracker_header *header;
	int r;

	*ret_broken = TRACKER_BROKEN_LAYOUT;
	r = open_map(set, folder, SET_STATE, sizeof(*set->state), 1, (void **)&set->state, fault);
	if (r < 0)
		return r;
	r = check_header(set, fault);
	if (r < 0)
		return r;
	*ret_broken = TRACKER_BROKEN_PINS;
	header = &set->state->header;
	r = open_map(set, folder, SET_DIRTY, sizeof(uint64_t), header->dirty_words,
		     (void **)&set->dirty, fault);
	if (r == 0)
		r = open_map(set, folder, SET_COARSE, sizeof(uint64_t), header->coarse_words,
			     (void **)&set->coarse, fault);
	if (r == 0)
		r = open_map(set, folder, SET_TODO, sizeof(uint64_t), header->dirty_words,
			     (void **)&set->todo, fault);
	if (r == 0)
		r = open_map(set, folder, SET_PENDING, sizeof(*set->pending), header->pending_words,
			     (void **)&set->pending, fault);
	if (r == 0)
		r = open_map(set, folder, SET_PERCPU, sizeof(struct tracker_cpu), 1, NULL, fault);
	if (r == 0)
		r = open_map(set, folder, SET_RING, 0, set->state->capture.ring_bytes, NULL, fault);
	if (r == 0)
		r = open_programs(set, folder, fault);
	if (r < 0)
		return r;
	set->pending_seen = calloc(header->pending_words, sizeof(uint64_t));
	return set->pending_seen ? 0 : fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
}

int set_open(const char *folder, struct tracker_set *ret_set, enum tracker_broken *ret_broken,
	     struct fault *fault)
{
	enum tracker_broken broken = TRACKER_BROKEN_FRESH;
	struct tracker_set set;
	int r;

	set_init(&set);
	if (access(folder, F_OK) < 0) {
		*ret_broken = broken;
		return -ENOENT;
	}
	r = open_all(&set, folder, &broken, fault);
	if (r < 0) {
		*ret_broken = broken;
		set_close(&set);
		return r;
	}
	*ret_set = set;
	return 0;
}

struct bitmap set_dirty(const struct tracker_set *set, unsigned int slot)
{
	const struct tracker_slot *info = &set->state->slots[slot];

	return (struct bitmap){.words = set->dirty + info->dirty_word, .bits = info->bits};
}

struct bitmap set_todo(const struct tracker_set *set, unsigned int slot)
{
	const struct tracker_slot *info = &set->state->slots[slot];

	return (struct bitmap){.words = set->todo + info->dirty_word, .bits = info->bits};
}
