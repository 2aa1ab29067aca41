/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The root folder that the checks look at: "/", or a mounted image, or a tree made up by a test. Paths
 * are absolute in it; links, absolute ones too, are followed inside it and never lead out of it.
 */
#ifndef BLKFERRY_AGENT_CHECK_ROOT_H
#define BLKFERRY_AGENT_CHECK_ROOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/fault.h"

#define ROOT_FILE_MAX  (8u << 20)	     /* configuration files and lists; more is not read */
#define ROOT_NAMES_MAX 4096		     /* of one folder */
#define ROOT_RUN_NS    (900ull * 1000000000) /* how long a command may take */

struct check_root {
	char *path; /* without a slash at its end; "" for "/" */
	int fd;
};

int root_open(const char *path, struct check_root *ret_root, struct fault *fault);
void root_close(struct check_root *root);

/* Opens what path means in the root. 0 or -errno, the descriptor in *ret_fd. */
int root_open_file(const struct check_root *root, const char *path, int flags, int *ret_fd);
bool root_exists(const struct check_root *root, const char *path);
bool root_is_folder(const struct check_root *root, const char *path);
/* A whole file of text. The caller frees. NULL when it is not there, too large, or has a NUL in it. */
char *root_read(const struct check_root *root, const char *path);
/* Reads the first line, without white space at its ends, "" when there is none. */
void root_read_line(const struct check_root *root, const char *path, char *ret_text, size_t size);

/* What path means after all links, as a path in the root. 0 or -errno. */
int root_resolve(const struct check_root *root, const char *path, char *ret_path, size_t size);
/* The same for a path whose last part need not exist: its folder is resolved. */
int root_resolve_new(const struct check_root *root, const char *path, char *ret_path, size_t size);
/* Finds a path whose parts may be written in any case, as FAT has it. 0 or -ENOENT. */
int root_find_nocase(const struct check_root *root, const char *path, char *ret_path, size_t size);
/* Where a path that root_resolve gave lies on this machine. */
int root_outside(const struct check_root *root, const char *path, char *ret_path, size_t size);

/* The names in a folder, sorted; no names when it cannot be read. */
struct root_names {
	char **names;
	unsigned int count;
};
void root_list(const struct check_root *root, const char *folder, struct root_names *ret_names);
void root_names_free(struct root_names *names);

/* Runs a program of the root in it (chroot when it is not "/"), and gives what it wrote to standard
 * output, at most ROOT_FILE_MAX bytes. A program that is not there, fails, or takes too long is a
 * fault with the last line it wrote to standard error. The caller frees *ret_output, NULL if not wanted. */
int root_run(const struct check_root *root, const char *const arguments[], char **ret_output,
	     struct fault *fault);
/* Is there such a program in the usual folders? */
bool root_has_program(const struct check_root *root, const char *name);

#endif
