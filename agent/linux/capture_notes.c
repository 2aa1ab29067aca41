/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The requests on their way at one moment, and what became of them; see agent/capture.h. */
#include "agent/capture.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/linux/capture_internal.h"

/* A copy of the map `pending`, of the entries that had a note. */
struct capture_notes {
	unsigned int count;
	struct noted {
		uint32_t at;
		unsigned int slot;
		struct tracker_request request;
	} * noted;
};

int capture_notes_new(const struct capture *capture, struct capture_notes **ret_notes)
{
	struct capture_notes *notes = calloc(1, sizeof(*notes));

	if (!notes)
		return -ENOMEM;
	notes->noted = calloc(capture->set->state->header.pending_words, sizeof(*notes->noted));
	if (!notes->noted) {
		free(notes);
		return -ENOMEM;
	}
	*ret_notes = notes;
	return 0;
}

void capture_notes_free(struct capture_notes *notes)
{
	if (!notes)
		return;
	free(notes->noted);
	free(notes);
}

void capture_notes_take(struct capture *capture, struct capture_notes *notes)
{
	const struct tracker_state *state = capture->set->state;

	notes->count = 0;
	for (unsigned int slot = 0; slot < state->header.slots; slot++) {
		uint32_t first = state->slots[slot].pending_first;

		for (uint32_t at = first; at < first + state->slots[slot].pending_count; at++) {
			struct tracker_request *request = &capture->set->pending[at];
			uint64_t note = __atomic_load_n(&request->note, __ATOMIC_ACQUIRE);

			if (!note)
				continue;
			notes->noted[notes->count++] = (struct noted){
				.at = at,
				.slot = slot,
				/* After the note: whose it is, or who has come since. */
				.request = {.note = note,
					    .life = __atomic_load_n(&request->life,
								    __ATOMIC_SEQ_CST)},
			};
		}
	}
}

static bool is_settled(const struct capture *capture, const struct noted *noted)
{
	const struct tracker_request *request = &capture->set->pending[noted->at];

	return __atomic_load_n(&request->note, __ATOMIC_SEQ_CST) == 0 ||
	       __atomic_load_n(&request->life, __ATOMIC_SEQ_CST) != noted->request.life;
}

/* Its disk is idle, so it has completed, and no program saw that: as when its tag is used again. */
static void make_hole(struct capture *capture, const struct noted *noted)
{
	struct tracker_state *state = capture->set->state;
	uint64_t note = noted->request.note;

	pending_mark(capture->set, noted->slot, note);
	__atomic_store_n(&state->capture.last_hole, TRACKER_HOLE_UNSEEN, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&state->capture.holes, 1, __ATOMIC_SEQ_CST);
	/* After both: killed in between, it is found again. */
	__atomic_compare_exchange_n(&capture->set->pending[noted->at].note, &note, 0, false,
				    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

bool capture_notes_have_settled(struct capture *capture, struct capture_notes *notes)
{
	unsigned int left = 0;

	for (unsigned int i = 0; i < notes->count; i++) {
		if (!is_settled(capture, &notes->noted[i]))
			notes->noted[left++] = notes->noted[i];
	}
	notes->count = left;
	for (unsigned int i = 0; i < notes->count; i++) {
		const struct noted *noted = &notes->noted[i];
		uint64_t since = pending_idle_since(capture->set, noted->slot);

		/* In this order: what is still noted after the disk was seen idle has completed. */
		if (noted->request.life < since || is_settled(capture, noted))
			continue;
		make_hole(capture, noted);
	}
	for (unsigned int i = left = 0; i < notes->count; i++) {
		if (!is_settled(capture, &notes->noted[i]))
			notes->noted[left++] = notes->noted[i];
	}
	notes->count = left;
	return left == 0;
}
