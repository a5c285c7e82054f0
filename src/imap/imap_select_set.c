#include "imap/imap_select_set.h"

#include "base/error.h"

/* UIDs between two known ones are known or gone, so a range of numbers is a range of UIDs. */
static void numbers_to_uids(
	const struct imap_view *view, struct imap_sequence *sequence, struct uid_set *uids)
{
	uint32_t count = (uint32_t)view->count;
	struct uid_set numbers = { 0 };

	imap_sequence_resolve(sequence, count, &numbers);
	for (size_t i = 0; i < numbers.count && numbers.ranges[i].first <= count; i++) {
		uint32_t last = numbers.ranges[i].last < count ? numbers.ranges[i].last : count;

		uid_set_add(uids, view->uids[numbers.ranges[i].first - 1], view->uids[last - 1]);
	}
	uid_set_deinit(&numbers);
}

void imap_search_uids(const struct imap_view *view, struct imap_sequence *sequence, bool is_uid,
	struct uid_set *uids)
{
	struct uid_set named = { 0 };
	uint32_t last;

	if (view->count == 0)
		return;
	if (sequence->is_saved) {
		for (size_t i = 0; i < view->saved.count; i++)
			uid_set_add(uids, view->saved.ranges[i].first, view->saved.ranges[i].last);
		return;
	}
	if (!is_uid) {
		numbers_to_uids(view, sequence, uids);
		return;
	}
	last = view->uids[view->count - 1];
	imap_sequence_resolve(sequence, last, &named);
	/* What arrived since is not known to the client, so he cannot mean it. */
	for (size_t i = 0; i < named.count && named.ranges[i].first <= last; i++)
		uid_set_add(uids, named.ranges[i].first,
			named.ranges[i].last < last ? named.ranges[i].last : last);
	uid_set_deinit(&named);
}

int imap_select_uids(const struct imap_session *session, struct imap_sequence *sequence,
	bool is_uid, struct uid_set *uids)
{
	size_t count = session->view->count;

	if (!is_uid && !sequence->is_saved &&
		(count == 0 || imap_sequence_greatest(sequence, 1) > count))
		return ERR_INVALID;
	imap_search_uids(session->view, sequence, is_uid, uids);
	return 0;
}

void imap_set_to_numbers(
	const struct imap_view *view, const struct uid_set *uids, struct uid_set *numbers)
{
	for (size_t i = 0; i < uids->count; i++) {
		size_t first = imap_view_find(view, uids->ranges[i].first);
		size_t end = first;

		while (end < view->count && view->uids[end] <= uids->ranges[i].last)
			end++;
		if (end > first)
			uid_set_add(numbers, (uint32_t)first + 1, (uint32_t)end);
	}
}

size_t imap_view_count_in(const struct imap_view *view, const struct uid_set *uids)
{
	size_t count = 0;

	for (size_t i = 0; i < uids->count; i++) {
		size_t first = imap_view_find(view, uids->ranges[i].first);
		uint32_t last = uids->ranges[i].last;

		count +=
			(last == UINT32_MAX ? view->count : imap_view_find(view, last + 1)) - first;
	}
	return count;
}
