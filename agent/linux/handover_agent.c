/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The agent's part of a restart of the system: at its begin, at its end, and setting it up; see platform.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/linux/handover_place.h"
#include "agent/linux/handover_rest.h"
#include "agent/linux/handover_start.h"
#include "agent/options.h"
#include "agent/platform.h"
#include "common/log.h"
#include "common/os_file.h"

#define FALLBACK_FOLDER "/etc/blkferry"

struct paths {
	char file[REST_PATH_MAX], plan[REST_PATH_MAX], run[128];
};

/* The file has to be readable up to the end, so it lies on the root file system. */
static int find_paths(const struct agent_options *options, struct paths *ret_paths,
		      struct fault *fault)
{
	const char *base = strrchr(options->pin_folder, '/'), *folder = options->state_folder;
	struct stat root, state;
	int length;

	base = base ? base + 1 : options->pin_folder;
	if (stat("/", &root) != 0 || stat(folder, &state) != 0 || root.st_dev != state.st_dev)
		folder = FALLBACK_FOLDER;
	if (options->handover_file)
		length = snprintf(ret_paths->file, sizeof(ret_paths->file), "%s",
				  options->handover_file);
	else
		length = snprintf(ret_paths->file, sizeof(ret_paths->file), "%s/handover", folder);
	if (length >= (int)sizeof(ret_paths->file) ||
	    snprintf(ret_paths->plan, sizeof(ret_paths->plan), "%s/handover.plan",
		     options->state_folder) >= (int)sizeof(ret_paths->plan) ||
	    snprintf(ret_paths->run, sizeof(ret_paths->run), "/run/%s-agent", base) >=
		    (int)sizeof(ret_paths->run) ||
	    strlen(options->pin_folder) >= sizeof(((struct rest *)0)->pin_folder))
		return fault_set(fault, FAULT_STOP, ENAMETOOLONG,
				 "the paths of the state or pin folder are too long");
	return 0;
}

int handover_prepare(const struct agent_options *options, struct fault *fault)
{
	struct handover_plan plan = {0};
	struct paths paths;
	int error = find_paths(options, &paths, fault);

	if (!error)
		error = handover_make_file(paths.file, plan.file_id, fault);
	if (!error)
		error = handover_locate(paths.file, &plan, fault);
	if (error)
		return error;
	memcpy(plan.run_folder, paths.run, sizeof(plan.run_folder));
	handover_plan_seal(&plan);
	error = os_file_write_atomic(paths.plan, &plan, sizeof(plan), 0600);
	return error ? fault_set(fault, FAULT_STOP, -error, "cannot write %s: %s", paths.plan,
				 strerror(-error))
		     : 0;
}

int handover_plan_path(const struct agent_options *options, char *ret_path, size_t size,
		       struct fault *fault)
{
	struct paths paths;
	int error = find_paths(options, &paths, fault);

	if (!error && snprintf(ret_path, size, "%s", paths.plan) >= (int)size)
		return fault_set(fault, FAULT_STOP, ENAMETOOLONG, "the path is too long");
	return error;
}

int handover_remove(const struct agent_options *options, struct fault *fault)
{
	struct paths paths;
	int error = find_paths(options, &paths, fault);

	if (error)
		return error;
	if ((unlink(paths.plan) < 0 && errno != ENOENT) ||
	    (unlink(paths.file) < 0 && errno != ENOENT))
		return fault_set(fault, FAULT_STOP, errno, "cannot remove %s: %s", paths.plan,
				 strerror(errno));
	return 0;
}

/* Is the file still where the plan says? */
static int check_place(const struct paths *paths, struct handover_plan *ret_plan,
		       struct fault *fault)
{
	struct handover_plan now = {0};
	int error = handover_read_plan(paths->plan, ret_plan, fault);

	if (!error)
		error = handover_locate(paths->file, &now, fault);
	if (!error && !handover_is_same_place(&now, ret_plan))
		error = fault_set(fault, FAULT_STOP, ESTALE,
				  "%s has moved: run 'blkferry-agent initramfs'", paths->file);
	memcpy(ret_plan->disk_path, now.disk_path, sizeof(now.disk_path));
	return error;
}

/* A record that is still there was not used by this start, and must not be by a later one. */
static int use_up(const struct handover_plan *plan, struct fault *fault)
{
	struct handover_plan place;
	struct handover_block *blocks = handover_new_blocks();
	int fd = -1, error = blocks ? handover_open_disk(plan->disk_path, &fd, fault)
				    : fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");

	if (!error) {
		error = handover_read(fd, plan, 0, 1, blocks, fault);
		close(fd);
	}
	if (!error && blocks[0].state == HANDOVER_CLEAN) {
		error = handover_open_place(plan, plan->disk_path, &place, &fd, fault);
		if (!error) {
			error = handover_set_state(fd, &place, HANDOVER_CONSUMED, NULL, fault);
			close(fd);
		}
	}
	free(blocks);
	return error;
}

int handover_begin(const struct agent_options *options, struct fault *fault)
{
	struct handover_plan plan;
	struct fault why = {0};
	struct paths paths;
	char path[REST_PATH_MAX];
	int error = find_paths(options, &paths, fault);

	if (error)
		return error;
	rest_path(paths.run, path);
	if (unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
		return fault_set(fault, FAULT_STOP, errno, "cannot remove %s: %s", path,
				 strerror(errno));
	error = check_place(&paths, &plan, &why);
	if (!error)
		error = use_up(&plan, &why);
	if (error)
		log_info("after the next start of this system the disks will be compared: %s",
			 why.text);
	return 0;
}

int handover_end(const struct agent_options *options, const struct tracked_disk *disks,
		 unsigned int count, struct fault *fault)
{
	const uint64_t ring = options->capture == OPTIONS_CAPTURE_OFF ? 0 : options->ring_bytes;
	struct rest *rest = calloc(1, sizeof(*rest));
	struct paths paths;
	int error = find_paths(options, &paths, fault);

	if (!rest)
		error = fault_set(fault, FAULT_STOP, ENOMEM, "out of memory");
	if (!error) {
		rest->bitmap_bytes = options_bitmap_bytes(options);
		rest->ring_bytes = ring;
		memcpy(rest->file_path, paths.file, sizeof(rest->file_path));
		memcpy(rest->plan_path, paths.plan, sizeof(rest->plan_path));
		snprintf(rest->pin_folder, sizeof(rest->pin_folder), "%s", options->pin_folder);
		rest_survey(disks, count, rest);
		error = rest_write(paths.run, rest, fault);
	}
	free(rest);
	return error;
}

void handover_read_note(const struct agent_options *options, struct start_note *ret_note)
{
	struct paths paths;
	struct fault ignored;

	*ret_note = (struct start_note){.kind = START_NONE};
	if (find_paths(options, &paths, &ignored) == 0)
		start_note_read(paths.run, ret_note);
}

void handover_keep_note(const struct agent_options *options, const struct start_note *note)
{
	struct paths paths;
	struct fault ignored;

	/* Only shown: what cannot be kept is not shown again. Ignoring failure. */
	if (find_paths(options, &paths, &ignored) == 0)
		(void)start_note_write(paths.run, note);
}
