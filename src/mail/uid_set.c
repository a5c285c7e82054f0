#include "mail/mail.h"

#include "base/mem.h"

#include <stdlib.h>

void uid_set_deinit(struct uid_set *set)
{
	free(set->ranges);
	*set = (struct uid_set){ 0 };
}

/* Index of the first range that ends at or after `uid`. */
static size_t range_index(const struct uid_set *set, uint32_t uid)
{
	size_t low = 0, high = set->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (set->ranges[middle].last < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool uid_set_has(const struct uid_set *set, uint32_t uid)
{
	size_t at = range_index(set, uid);

	return at < set->count && set->ranges[at].first <= uid;
}

uint64_t uid_set_size(const struct uid_set *set)
{
	uint64_t size = 0;

	for (size_t i = 0; i < set->count; i++)
		size += (uint64_t)set->ranges[i].last - set->ranges[i].first + 1;
	return size;
}

void uid_set_add(struct uid_set *set, uint32_t first, uint32_t last)
{
	void *ranges = set->ranges;
	size_t from, to;

	if (first > last) {
		uint32_t swapped = first;

		first = last;
		last = swapped;
	}
	/* Ranges that touch or overlap [first, last] are replaced by their union with it. */
	from = range_index(set, first > 0 ? first - 1 : 0);
	for (to = from;
		to < set->count && (last == UINT32_MAX || set->ranges[to].first <= last + 1);
		to++) {
		if (set->ranges[to].first < first)
			first = set->ranges[to].first;
		if (set->ranges[to].last > last)
			last = set->ranges[to].last;
	}
	mem_grow(&ranges, &set->room, set->count + 1, sizeof(*set->ranges));
	set->ranges = ranges;
	if (to - from != 1)
		memmove(&set->ranges[from + 1], &set->ranges[to],
			(set->count - to) * sizeof(*set->ranges));
	set->count = set->count + 1 - (to - from);
	set->ranges[from] = (struct uid_range){ first, last };
}
