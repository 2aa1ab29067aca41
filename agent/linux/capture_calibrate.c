/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds out how an address comes from a page: the kernel does not say it everywhere (kallsyms lacks the variables,
 * /proc/kcore may not be there), but it can be observed. A page whose frame number /proc/self/pagemap tells
 * is read into, and the request shows its struct page: that gives the array of all of them. Then the page gets
 * random contents, and these are looked for in kernel memory, below the request itself, which lies in
 * the map of all memory, too. A second page proves both.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "agent/bpf/peek_shared.h"
#include "agent/linux/capture_internal.h"
#include "bpf/peek.skel.h"
#include "common/log.h"
#include "common/os_file.h"

#define PAGE_BYTES     4096u
#define PAGES	       2
#define TRIES	       16
#define FRAME_MASK     ((1ull << 55) - 1) /* of a pagemap entry */
#define FRAME_PRESENT  (1ull << 63)
#define CANDIDATE_STEP (1ull << 30) /* the map begins at a multiple of 1 GiB, also under KASLR */
#define CANDIDATES_MAX (64u << 10)  /* 64 TiB of memory */

struct calibration {
	struct tracker_set *set;
	const struct tracked_disk *disk;
	int fd, pagemap_fd;
	uint8_t *pages; /* PAGES of them, locked */
	struct peek_bpf *peek;
	uint64_t struct_bytes;
};

/* Where a page lies in memory, and what the programs saw of a read into it. */
struct seen_page {
	uint64_t frame, request, page;
};

static uint64_t frame_of(const struct calibration *calibration, const void *page)
{
	uint64_t entry;

	if (pread(calibration->pagemap_fd, &entry, sizeof(entry),
		  (off_t)((uintptr_t)page / PAGE_BYTES * sizeof(entry))) != sizeof(entry) ||
	    !(entry & FRAME_PRESENT))
		return 0;
	return entry & FRAME_MASK;
}

static enum capture_availability look_at_page(const struct calibration *calibration, void *page,
					      struct seen_page *ret_seen)
{
	const struct tracker_sighting *seen =
		&calibration->set->state->selftest.seen[TRACKER_ISSUE];
	uint64_t blocks = calibration->disk->size_bytes / PAGE_BYTES;

	for (int try = 0; try < TRIES; try++) {
		uint64_t frame = frame_of(calibration, page), offset, skipped;

		if (!frame)
			return CAPTURE_NO_ADDRESS;
		os_random(&offset, sizeof(offset));
		offset = offset % blocks * PAGE_BYTES;
		if (selftest_probe(calibration->set, calibration->fd, calibration->disk, offset,
				   PAGE_BYTES, page) < 0)
			return CAPTURE_NO_SIGHTING;
		/* The kernel may have moved the page meanwhile, or somebody else may have read there. */
		if (seen->count != 1 || frame_of(calibration, page) != frame)
			continue;
		skipped = seen->page_offset / PAGE_BYTES;
		*ret_seen = (struct seen_page){
			.frame = frame,
			.request = seen->request,
			.page = seen->page + skipped * calibration->struct_bytes,
		};
		return CAPTURE_READY;
	}
	return CAPTURE_NO_SIGHTING;
}

/* Looks for the beginning of page at first, first - step, ... */
static bool look_for(const struct calibration *calibration, const void *page, uint64_t first,
		     uint64_t step, uint32_t tries, uint64_t *ret_found)
{
	struct peek *peek = &calibration->peek->bss->peek;
	int fd = bpf_program__fd(calibration->peek->progs.look_for);

	memcpy(peek->wanted, page, sizeof(peek->wanted));
	peek->step = step;
	for (uint32_t done = 0; done < tries; done += PEEK_TRIES) {
		LIBBPF_OPTS(bpf_test_run_opts, run);

		peek->first = first - done * step;
		peek->tries = tries - done < PEEK_TRIES ? tries - done : PEEK_TRIES;
		if (bpf_prog_test_run_opts(fd, &run) < 0)
			return false;
		if (run.retval == 1) {
			*ret_found = peek->found;
			return true;
		}
	}
	return false;
}

static enum capture_availability measure(const struct calibration *calibration)
{
	struct tracker_capture *capture = &calibration->set->state->capture;
	void *first = calibration->pages, *second = calibration->pages + PAGE_BYTES;
	uint64_t vmemmap_base, highest, found;
	struct seen_page page;
	enum capture_availability result = look_at_page(calibration, first, &page);

	if (result != CAPTURE_READY)
		return result;
	vmemmap_base = page.page - page.frame * calibration->struct_bytes;
	os_random(first, PAGE_BYTES);
	highest = page.request / CANDIDATE_STEP * CANDIDATE_STEP;
	if (!look_for(calibration, first, highest + page.frame * PAGE_BYTES, CANDIDATE_STEP,
		      CANDIDATES_MAX, &found))
		return CAPTURE_NO_MAP;
	capture->page_struct_bytes = calibration->struct_bytes;
	capture->vmemmap_base = vmemmap_base;
	capture->direct_map_base = found - page.frame * PAGE_BYTES;

	result = look_at_page(calibration, second, &page);
	if (result != CAPTURE_READY)
		return result;
	os_random(second, PAGE_BYTES);
	if (page.page != vmemmap_base + page.frame * calibration->struct_bytes ||
	    !look_for(calibration, second, capture->direct_map_base + page.frame * PAGE_BYTES, 0, 1,
		      &found))
		return CAPTURE_WRONG;
	log_debug("capture: struct page of %" PRIu64 " bytes from %#" PRIx64
		  ", memory from %#" PRIx64,
		  calibration->struct_bytes, (uint64_t)capture->vmemmap_base,
		  (uint64_t)capture->direct_map_base);
	return CAPTURE_READY;
}

static uint64_t page_struct_bytes(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	int32_t id = btf ? btf__find_by_name_kind(btf, "page", BTF_KIND_STRUCT) : -1;
	uint64_t bytes = id < 0 ? 0 : btf__type_by_id(btf, (uint32_t)id)->size;

	btf__free(btf);
	return bytes;
}

/* Pages of their own: no huge page, and nobody else's. */
static uint8_t *lock_pages(void)
{
	uint8_t *pages = mmap(NULL, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		return NULL;
	(void)madvise(pages, PAGES * PAGE_BYTES, MADV_NOHUGEPAGE);
	memset(pages, 1, PAGES * PAGE_BYTES);
	if (mlock(pages, PAGES * PAGE_BYTES) < 0) {
		munmap(pages, PAGES * PAGE_BYTES);
		return NULL;
	}
	return pages;
}

enum capture_availability calibrate(struct tracker_set *set, const struct tracked_disk *disk)
{
	struct calibration calibration = {
		.set = set,
		.disk = disk,
		.fd = open(disk->path, O_RDONLY | O_DIRECT | O_CLOEXEC),
		.pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC),
		.pages = lock_pages(),
		.struct_bytes = page_struct_bytes(),
	};
	enum capture_availability result = CAPTURE_NO_SIGHTING;
	libbpf_print_fn_t former;

	if (calibration.pagemap_fd < 0)
		result = CAPTURE_NO_ADDRESS;
	else if (calibration.fd >= 0 && calibration.pages && calibration.struct_bytes &&
		 disk->size_bytes >= PAGE_BYTES) {
		former = libbpf_set_print(NULL);
		calibration.peek = peek_bpf__open_and_load();
		libbpf_set_print(former);
		result = calibration.peek ? measure(&calibration) : CAPTURE_REFUSED;
	}
	peek_bpf__destroy(calibration.peek);
	if (calibration.pages)
		munmap(calibration.pages, PAGES * PAGE_BYTES);
	if (calibration.pagemap_fd >= 0)
		close(calibration.pagemap_fd);
	if (calibration.fd >= 0)
		close(calibration.fd);
	return result;
}
