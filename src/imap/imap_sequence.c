#include "imap/imap_sequence.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdlib.h>

static int parse_member(struct imap_parser *parser, bool allow_star, uint32_t *number_r)
{
	int rc;

	if (allow_star && imap_parse_take(parser, '*')) {
		*number_r = IMAP_STAR;
		return 0;
	}
	rc = imap_parse_number32(parser, number_r);
	if (rc == 0 && *number_r == 0)
		return imap_parse_fail(parser, ERR_INVALID, "Zero in a sequence set");
	return rc;
}

static int parse_range(struct imap_parser *parser, bool allow_star, struct imap_range *range_r)
{
	int rc;

	rc = parse_member(parser, allow_star, &range_r->first);
	if (rc < 0)
		return imap_parse_fail(parser, rc, "Malformed sequence set");
	range_r->last = range_r->first;
	if (!imap_parse_take(parser, ':'))
		return 0;
	rc = parse_member(parser, allow_star, &range_r->last);
	return rc < 0 ? imap_parse_fail(parser, rc, "Malformed sequence set") : 0;
}

static int parse_set(struct imap_parser *parser, bool allow_star, struct imap_sequence *sequence_r)
{
	struct imap_range *ranges = NULL, *copy;
	size_t count = 0, room = 0;
	int rc;

	do {
		if (count == IMAP_RANGE_COUNT_MAX) {
			rc = imap_parse_fail(parser, ERR_TOO_LARGE, "Sequence set too long");
			goto out;
		}
		mem_grow((void **)&ranges, &room, count + 1, sizeof(*ranges));
		rc = parse_range(parser, allow_star, &ranges[count++]);
		if (rc < 0)
			goto out;
	} while (imap_parse_take(parser, ','));
	copy = arena_alloc(parser->arena, count * sizeof(*copy));
	memcpy(copy, ranges, count * sizeof(*copy));
	*sequence_r = (struct imap_sequence){ .ranges = copy, .count = count };
out:
	free(ranges);
	return rc;
}

int imap_parse_sequence(struct imap_parser *parser, struct imap_sequence *sequence_r)
{
	if (imap_parse_take(parser, '$')) {
		*sequence_r = (struct imap_sequence){ .is_saved = true };
		return 0;
	}
	return parse_set(parser, true, sequence_r);
}

int imap_parse_plain_sequence(struct imap_parser *parser, struct imap_sequence *sequence_r)
{
	return parse_set(parser, false, sequence_r);
}

static int range_compare(const void *a, const void *b)
{
	const struct imap_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

void imap_sequence_resolve(struct imap_sequence *sequence, uint32_t star, struct uid_set *set)
{
	for (size_t i = 0; i < sequence->count; i++) {
		struct imap_range *range = &sequence->ranges[i];
		uint32_t first = range->first == IMAP_STAR ? star : range->first;
		uint32_t last = range->last == IMAP_STAR ? star : range->last;

		range->first = first < last ? first : last;
		range->last = first < last ? last : first;
	}
	if (sequence->count == 0) /* "$" */
		return;
	qsort(sequence->ranges, sequence->count, sizeof(sequence->ranges[0]), range_compare);
	for (size_t i = 0; i < sequence->count; i++) {
		if (sequence->ranges[i].last > 0)
			uid_set_add(set,
				sequence->ranges[i].first > 0 ? sequence->ranges[i].first : 1,
				sequence->ranges[i].last);
	}
}

uint32_t imap_sequence_greatest(const struct imap_sequence *sequence, uint32_t star)
{
	uint32_t greatest = 0;

	for (size_t i = 0; i < sequence->count; i++) {
		const struct imap_range *range = &sequence->ranges[i];
		uint32_t first = range->first == IMAP_STAR ? star : range->first;
		uint32_t last = range->last == IMAP_STAR ? star : range->last;

		greatest = first > greatest ? first : greatest;
		greatest = last > greatest ? last : greatest;
	}
	return greatest;
}

void imap_set_write(struct buffer *out, const struct uid_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		buffer_printf(out, "%s%u", i > 0 ? "," : "", set->ranges[i].first);
		if (set->ranges[i].last > set->ranges[i].first)
			buffer_printf(out, ":%u", set->ranges[i].last);
	}
}
