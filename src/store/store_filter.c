/*
 * Which rows the puts of a segment may concern: a Bloom filter, made once by reading the segment's
 * commits, and kept in memory (about a thousandth of the segment's size).
 *
 * Compaction has to carry a delete on only while an older segment may hold a put of that row. Rows
 * whose keys come once (by modseq, by sequence) would else leave a delete each, for ever.
 */
#include "store/store_private.h"

#include "base/mem.h"

#include <stdlib.h>

#define FILTER_BITS_PER_PUT 8 /* with FILTER_PROBE_COUNT: 2 % of the answers are a false yes */
#define FILTER_PROBE_COUNT 5
#define FILTER_BITS_MIN 64

struct put_filter {
	uint64_t bit_count; /* a power of two */
	unsigned char bits[];
};

static uint64_t row_hash(unsigned table, struct bytes key)
{
	return hash64(key, table);
}

static uint64_t probe_at(const struct put_filter *filter, uint64_t hash, unsigned probe)
{
	return (hash + probe * ((hash >> 32) | 1)) & (filter->bit_count - 1);
}

static struct put_filter *filter_of(const uint64_t *hashes, size_t count)
{
	uint64_t bit_count = FILTER_BITS_MIN;
	struct put_filter *filter;

	while (bit_count < count * FILTER_BITS_PER_PUT)
		bit_count *= 2;
	filter = mem_zalloc(sizeof(*filter) + (size_t)(bit_count / 8));
	filter->bit_count = bit_count;
	for (size_t i = 0; i < count; i++)
		for (unsigned probe = 0; probe < FILTER_PROBE_COUNT; probe++) {
			uint64_t at = probe_at(filter, hashes[i], probe);

			filter->bits[at / 8] |= (unsigned char)(1u << (at % 8));
		}
	return filter;
}

int put_filter_make(struct log_files *log, struct log_segment *segment)
{
	struct buffer payload = { 0 };
	uint64_t offset = SEGMENT_HEADER_SIZE, *hashes = NULL;
	size_t count = 0, room = 0;
	int rc = 0;

	while (offset < segment->size && rc == 0) {
		struct bytes effects = { NULL, 0 };
		struct frame frame;

		rc = segment_read_header(segment->fd, log->store, offset, segment->size, &frame);
		if (rc == 0 && frame.type == FRAME_COMMIT) {
			rc = segment_read_frame(
				segment->fd, log->store, offset, segment->size, &frame, &payload);
			effects = buffer_bytes(&payload);
		}
		while (rc == 0 && effects.len > 0) {
			struct effect effect;

			rc = effect_decode(&effects, STORE_TABLE_COUNT, &effect);
			if (rc < 0 || effect.operation != EFFECT_PUT)
				continue;
			mem_grow((void **)&hashes, &room, count + 1, sizeof(*hashes));
			hashes[count++] = row_hash(effect.table, effect.key);
		}
		offset += frame_extent(frame.payload_size);
	}
	if (rc == 0)
		segment->filter = filter_of(hashes, count);
	free(hashes);
	buffer_deinit(&payload);
	return rc;
}

bool put_filter_may_hold(const struct put_filter *filter, unsigned table, struct bytes key)
{
	uint64_t hash = row_hash(table, key);

	for (unsigned probe = 0; probe < FILTER_PROBE_COUNT; probe++) {
		uint64_t at = probe_at(filter, hash, probe);

		if ((filter->bits[at / 8] & (1u << (at % 8))) == 0)
			return false;
	}
	return true;
}
