// SPDX-License-Identifier: GPL-2.0-or-later
/* Writes that are overwritten before anybody could see them; see stream_coalesce.h. */
#include "agent/stream_coalesce.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS	   16384u /* a power of two; a ring of 32 MiB holds half as many whole records */
#define PROBES_MAX 16u

/* A range, and where its last record begins. length 0: free. */
struct range {
	uint64_t offset, length, position;
	unsigned int disk;
};

struct stream_coalesce {
	uint64_t end;
	struct range ranges[SLOTS];
};

struct stream_coalesce *stream_coalesce_new(void)
{
	return calloc(1, sizeof(struct stream_coalesce));
}

void stream_coalesce_free(struct stream_coalesce *coalesce)
{
	free(coalesce);
}

static uint32_t slot_of(const struct capture_record *record, uint32_t probe)
{
	uint64_t key = record->offset ^ record->length << 44 ^ (uint64_t)record->disk << 56;

	return ((uint32_t)(key * 0x9e3779b97f4a7c15ull >> 40) + probe) % SLOTS;
}

/* The range's slot, or a free one for it; NULL when neither is near: then it is not remembered, and travels. */
static struct range *find(const struct stream_coalesce *coalesce,
			  const struct capture_record *record)
{
	for (uint32_t probe = 0; probe < PROBES_MAX; probe++) {
		const struct range *range = &coalesce->ranges[slot_of(record, probe)];

		if (!range->length ||
		    (range->offset == record->offset && range->length == record->length &&
		     range->disk == record->disk))
			return (struct range *)range;
	}
	return NULL;
}

void stream_coalesce_look(struct stream_coalesce *coalesce, struct capture *capture,
			  uint64_t position, uint64_t until, struct capture_record *record)
{
	memset(coalesce->ranges, 0, sizeof(coalesce->ranges));
	while (position < until && capture_next(capture, &position, record)) {
		struct range *range = find(coalesce, record);

		if (range)
			*range = (struct range){record->offset, record->length, record->position,
						record->disk};
	}
	coalesce->end = position;
}

uint64_t stream_coalesce_end(const struct stream_coalesce *coalesce)
{
	return coalesce->end;
}

bool stream_coalesce_is_overwritten(const struct stream_coalesce *coalesce,
				    const struct capture_record *record)
{
	const struct range *range;

	if (record->position >= coalesce->end)
		return false;
	range = find(coalesce, record);
	return range && range->length && range->position > record->position;
}
