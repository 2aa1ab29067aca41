/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads the BPF object, fills its maps, attaches its programs and pins it all in one folder. */
#include "agent/linux/tracker_set.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <xxhash.h>

#include "agent/linux/capture_internal.h"
#include "agent/platform.h"
#include "bpf/tracker.skel.h"
#include "common/log.h"
#include "common/os_file.h"

#define LIBBPF_TEXT_MAX 4096

struct loading {
	struct tracker_bpf *skeleton;
	struct bpf_map *maps[SET_MAPS];
	struct bpf_program *programs[TRACKER_PROGRAMS];
	struct bpf_link *links[TRACKER_PROGRAMS];
	struct tracker_slot slots[TRACKER_SLOTS_MAX];
	unsigned int count;
	uint64_t dirty_words, coarse_words, pending_words, ring_bytes;
	enum capture_availability availability;
};

/* The fault that follows says what matters; this is for whoever looks closer. Of the verifier's log, which
 * may be long, the end says why. */
static int log_libbpf(enum libbpf_print_level level, const char *format, va_list arguments)
{
	char *text, *line, *rest;
	size_t length;

	if (level != LIBBPF_WARN || vasprintf(&text, format, arguments) < 0)
		return 0;
	length = strlen(text);
	rest = length > LIBBPF_TEXT_MAX ? text + length - LIBBPF_TEXT_MAX : text;
	while ((line = strsep(&rest, "\n"))) {
		if (*line)
			log_debug("%s", line);
	}
	free(text);
	return 0;
}

uint64_t set_programs_hash(void)
{
	size_t size;
	const void *bytes = tracker_bpf__elf_bytes(&size);

	return XXH3_64bits(bytes, size);
}

static int fault_bpf(struct fault *fault, int error, const char *what)
{
	error = error < 0 ? -error : error;
	return fault_set(fault, FAULT_STOP, EOPNOTSUPP, "cannot %s the BPF programs: %s%s", what,
			 strerror(error),
			 error == EPERM ? " (needs root, and a kernel that is not locked down)"
					: "");
}

static int prepare(struct loading *loading, const struct kernel_facts *facts)
{
	struct tracker_bpf *skeleton = loading->skeleton;
	int r;

	loading->maps[SET_STATE] = skeleton->maps.data_state;
	loading->maps[SET_DIRTY] = skeleton->maps.dirty;
	loading->maps[SET_COARSE] = skeleton->maps.coarse;
	loading->maps[SET_TODO] = skeleton->maps.todo;
	loading->maps[SET_PENDING] = skeleton->maps.pending;
	loading->maps[SET_PERCPU] = skeleton->maps.percpu;
	loading->maps[SET_RING] = skeleton->maps.ring;
	loading->programs[TRACKER_COMPLETE_1] = skeleton->progs.complete_1;
	loading->programs[TRACKER_COMPLETE_2] = skeleton->progs.complete_2;
	loading->programs[TRACKER_COMPLETE_3] = skeleton->progs.complete_3;
	loading->programs[TRACKER_ISSUE] = facts->issue_has_queue ? skeleton->progs.issue_with_queue
								  : skeleton->progs.issue;

	skeleton->rodata->can_capture = loading->availability == CAPTURE_READY;
	memcpy((void *)skeleton->rodata->op_kinds, facts->op_kinds, sizeof(facts->op_kinds));
	bpf_program__set_autoload(skeleton->progs.issue, !facts->issue_has_queue);
	bpf_program__set_autoload(skeleton->progs.issue_with_queue, facts->issue_has_queue);
	r = bpf_map__set_max_entries(skeleton->maps.dirty, (uint32_t)loading->dirty_words);
	if (r == 0)
		r = bpf_map__set_max_entries(skeleton->maps.todo, (uint32_t)loading->dirty_words);
	if (r == 0)
		r = bpf_map__set_max_entries(skeleton->maps.coarse,
					     (uint32_t)loading->coarse_words);
	if (r == 0)
		r = bpf_map__set_max_entries(skeleton->maps.pending,
					     (uint32_t)loading->pending_words);
	if (r == 0)
		r = bpf_map__set_max_entries(skeleton->maps.ring, (uint32_t)loading->ring_bytes);
	return r;
}

/* Ids of what belongs together, so that set_open can tell. */
static int note_ids(struct loading *loading, struct tracker_header *header)
{
	for (int i = 0; i < SET_MAPS; i++) {
		struct bpf_map_info info = {0};
		uint32_t size = sizeof(info);

		if (bpf_obj_get_info_by_fd(bpf_map__fd(loading->maps[i]), &info, &size) < 0)
			return -errno;
		header->map_ids[i] = info.id;
	}
	for (int i = 0; i < TRACKER_PROGRAMS; i++) {
		struct bpf_prog_info info = {0};
		uint32_t size = sizeof(info);

		if (bpf_obj_get_info_by_fd(bpf_program__fd(loading->programs[i]), &info, &size) < 0)
			return -errno;
		header->program_ids[i] = info.id;
	}
	return 0;
}

static int fill_state(struct loading *loading, struct fault *fault)
{
	struct tracker_state *state = &loading->skeleton->data_state->state;
	struct tracker_header *header = &state->header;
	const struct tracker_slot *slots = loading->slots;
	int r;

	header->magic = TRACKER_MAGIC;
	header->layout = TRACKER_LAYOUT;
	header->slots = loading->count;
	header->programs_hash = set_programs_hash();
	header->dirty_words = loading->dirty_words;
	header->coarse_words = loading->coarse_words;
	header->pending_words = loading->pending_words;
	state->capture.mode = TRACKER_CAPTURE_OFF;
	state->capture.last_hole = TRACKER_HOLE_NONE;
	state->capture.ring_bytes = loading->ring_bytes;
	state->capture.availability = loading->availability;
	os_random(&state->capture.stream_id, sizeof(state->capture.stream_id));
	memcpy(state->slots, slots, loading->count * sizeof(*slots));
	r = process_boot_id(header->boot_id);
	if (r < 0)
		return fault_set(fault, FAULT_STOP, -r, "this machine has no boot id: %s",
				 strerror(-r));
	r = note_ids(loading, header);
	if (r < 0)
		return fault_bpf(fault, r, "look at");
	for (unsigned int i = 0; i < loading->count; i++) {
		r = layout_add_device(state->devices,
				      tracker_device_key(slots[i].major, slots[i].minor), i);
		if (r == -EEXIST)
			return fault_set(fault, FAULT_STOP, EINVAL, "disk %u:%u is listed twice",
					 slots[i].major, slots[i].minor);
		if (r < 0)
			return fault_set(fault, FAULT_STOP, -r,
					 "these disks' numbers do not fit the tracker's table");
	}
	return 0;
}

static int attach(struct loading *loading, struct fault *fault)
{
	for (int i = 0; i < TRACKER_PROGRAMS; i++) {
		loading->links[i] = bpf_program__attach(loading->programs[i]);
		if (!loading->links[i])
			return fault_bpf(fault, errno, "attach");
	}
	return 0;
}

static int pin(struct loading *loading, const char *folder, struct fault *fault)
{
	char path[SET_PATH_MAX + 32];
	int r = 0;

	if (mkdir(folder, 0700) < 0)
		return fault_set(fault, FAULT_STOP, errno, "cannot make %s: %s", folder,
				 strerror(errno));
	for (int i = 0; i < SET_MAPS && r == 0; i++) {
		snprintf(path, sizeof(path), "%s/map_%s", folder, set_map_names[i]);
		r = bpf_map__pin(loading->maps[i], path);
	}
	for (int i = 0; i < TRACKER_PROGRAMS && r == 0; i++) {
		snprintf(path, sizeof(path), "%s/program_%s", folder, set_program_names[i]);
		r = bpf_program__pin(loading->programs[i], path);
	}
	for (int i = 0; i < TRACKER_PROGRAMS && r == 0; i++) {
		snprintf(path, sizeof(path), "%s/link_%s", folder, set_program_names[i]);
		r = bpf_link__pin(loading->links[i], path);
	}
	return r < 0 ? fault_bpf(fault, r, "pin") : 0;
}

static int load_skeleton(struct loading *loading, const struct kernel_facts *facts,
			 struct fault *fault)
{
	int r;

	loading->skeleton = tracker_bpf__open();
	if (!loading->skeleton)
		return fault_bpf(fault, errno, "open");
	r = prepare(loading, facts);
	if (r == 0)
		r = tracker_bpf__load(loading->skeleton);
	return r < 0 ? fault_bpf(fault, r, "load") : 0;
}

/* slots: planned. */
static enum capture_availability choose_capture(const struct kernel_facts *facts,
						const struct tracker_options *options,
						const struct tracker_slot *slots,
						unsigned int count)
{
	if (!options->ring_bytes)
		return CAPTURE_UNWANTED;
	/* A mark would be confirmed though a write before it is still on its way. */
	for (unsigned int i = 0; i < count; i++)
		if (!slots[i].pending_count)
			return CAPTURE_NO_NOTES;
	if (sysconf(_SC_PAGESIZE) != TRACKER_PIECE_BYTES)
		return CAPTURE_PAGE_SIZE;
	return facts->has_loop ? CAPTURE_READY : CAPTURE_NO_LOOP;
}

static int load(struct loading *loading, const char *folder, const struct kernel_facts *facts,
		struct fault *fault)
{
	int r = load_skeleton(loading, facts, fault);

	if (r < 0 && loading->availability == CAPTURE_READY) {
		/* Tracking needs less than capture. */
		tracker_bpf__destroy(loading->skeleton);
		loading->availability = CAPTURE_REFUSED;
		r = load_skeleton(loading, facts, fault);
	}
	if (r < 0)
		return r;
	r = fill_state(loading, fault);
	if (r == 0)
		r = attach(loading, fault);
	if (r == 0)
		r = pin(loading, folder, fault);
	return r;
}

uint64_t set_ring_bytes(const struct tracker_options *options)
{
	return options->ring_bytes ? options->ring_bytes : SET_RING_BYTES_MIN;
}

int set_create(const char *folder, const struct kernel_facts *facts,
	       const struct tracker_options *options, const struct tracked_disk *disks,
	       unsigned int count, struct fault *fault)
{
	struct loading loading = {.count = count};
	libbpf_print_fn_t former;
	int r = layout_plan(disks, count, options->bitmap_bytes, loading.slots,
			    &loading.dirty_words, &loading.coarse_words, fault);

	if (r < 0)
		return r;
	pending_plan(loading.slots, count, &loading.pending_words);
	loading.ring_bytes = set_ring_bytes(options);
	loading.availability = choose_capture(facts, options, loading.slots, count);
	former = libbpf_set_print(log_libbpf);
	r = load(&loading, folder, facts, fault);
	/* What is pinned lives on; what is not goes with its file descriptors. */
	for (int i = 0; i < TRACKER_PROGRAMS; i++)
		bpf_link__destroy(loading.links[i]);
	tracker_bpf__destroy(loading.skeleton);
	libbpf_set_print(former);
	return r;
}
