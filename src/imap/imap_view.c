#include "imap/imap_view.h"

#include "imap/imap_context.h"

#include "base/error.h"
#include "base/mem.h"
#include "mail/seen.h"

#include <stdlib.h>

struct imap_view *imap_view_new(
	const struct mailbox_record *mailbox, const struct shared_place *place, bool is_read_only)
{
	struct imap_view *view = mem_zalloc(sizeof(*view));

	view->name = mem_alloc(mailbox->name.len + 1);
	memcpy(view->name, mailbox->name.ptr, mailbox->name.len);
	view->name[mailbox->name.len] = '\0';
	view->account = place->account;
	view->rights = place->rights;
	view->seen_account = place->seen_account;
	view->mailbox = mailbox->id;
	view->uidvalidity = mailbox->uidvalidity;
	view->is_read_only = is_read_only;
	return view;
}

struct shared_place imap_view_place(const struct imap_view *view)
{
	return (struct shared_place){ view->account, view->mailbox, view->rights,
		view->seen_account };
}

int imap_view_each_message(const struct imap_view *view, struct kv_txn *kv, uint32_t first,
	uint32_t last, struct arena *arena, account_message_function *function, void *context)
{
	return seen_each_message(kv, view->seen_account, view->account, view->mailbox, first, last,
		arena, function, context);
}

bool imap_view_marks_seen(const struct imap_view *view)
{
	return !view->is_read_only && (view->rights & ACL_SEEN) != 0;
}

int imap_view_settle(const struct imap_view *view, struct mail *mail, uint64_t *position_r)
{
	return seen_settle(mail, view->seen_account, view->account, NULL, position_r);
}

void imap_view_free(struct imap_view **view)
{
	if (*view == NULL)
		return;
	for (size_t i = 0; i < (*view)->keyword_count; i++)
		free((*view)->keywords[i]);
	free((*view)->keywords);
	uid_set_deinit(&(*view)->vanished);
	uid_set_deinit(&(*view)->changed);
	uid_set_deinit(&(*view)->held);
	uid_set_deinit(&(*view)->told);
	uid_set_deinit(&(*view)->silent);
	uid_set_deinit(&(*view)->saved);
	uid_set_deinit(&(*view)->recheck);
	imap_contexts_free(&(*view)->contexts);
	free((*view)->uids);
	free((*view)->name);
	free(*view);
	*view = NULL;
}

/* From `low` on, behind which the array may be in disorder. */
static size_t find_from(const struct imap_view *view, size_t low, uint32_t uid)
{
	size_t high = view->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (view->uids[middle] < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t imap_view_find(const struct imap_view *view, uint32_t uid)
{
	size_t high = view->count;

	/* No UID is there twice, so it has its place at most that far behind the first; in a
	 * mailbox without gaps, just there. */
	if (high > 0 && uid >= view->uids[0] && uid - view->uids[0] < high) {
		high = uid - view->uids[0];
		if (view->uids[high] == uid)
			return high;
	}
	return find_from(view, 0, uid);
}

bool imap_view_has(const struct imap_view *view, uint32_t uid, size_t *index_r)
{
	size_t at = imap_view_find(view, uid);

	if (at == view->count || view->uids[at] != uid)
		return false;
	*index_r = at;
	return true;
}

/* UIDs as they come, in order of their modseqs. */
struct uid_list {
	uint32_t *uids;
	size_t count;
	size_t room;
};

static void uid_list_add(struct uid_list *list, uint32_t uid)
{
	mem_grow((void **)&list->uids, &list->room, list->count + 1, sizeof(*list->uids));
	list->uids[list->count++] = uid;
}

static int uid_order(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Leaves each once: what changed in two ways was told twice. */
static void uid_list_sort(struct uid_list *list)
{
	size_t kept = 0, at = 1;

	if (list->count == 0)
		return;
	/* Most often messages were not changed in another order than they came. */
	while (at < list->count && list->uids[at - 1] < list->uids[at])
		at++;
	if (at == list->count)
		return;
	qsort(list->uids, list->count, sizeof(list->uids[0]), uid_order);
	for (size_t i = 1; i < list->count; i++) {
		if (list->uids[i] != list->uids[kept])
			list->uids[++kept] = list->uids[i];
	}
	list->count = kept + 1;
}

struct gathering {
	struct imap_view *view;
	struct uid_list arrived;
	struct uid_list changed;
	struct uid_list vanished;
};

static int gather_one(void *context, uint32_t uid, uint64_t modseq, bool is_vanished)
{
	struct gathering *gathering = context;
	const struct imap_view *view = gathering->view;
	bool is_new = view->count == 0 || uid > view->uids[view->count - 1];

	(void)modseq;
	if (is_new && !is_vanished)
		uid_list_add(&gathering->arrived, uid);
	else if (!is_new && is_vanished)
		uid_list_add(&gathering->vanished, uid);
	else if (!is_new)
		uid_list_add(&gathering->changed, uid);
	return 0;
}

static void sort_into(struct uid_list *list, struct uid_set *set)
{
	uid_list_sort(list);
	for (size_t i = 0; i < list->count; i++)
		uid_set_add(set, list->uids[i], list->uids[i]);
}

/* New messages come at the end: no UID below UIDNEXT is ever given (P3). */
static void view_append(struct imap_view *view, struct uid_list *arrived)
{
	if (arrived->count == 0)
		return;
	uid_list_sort(arrived);
	mem_grow((void **)&view->uids, &view->room, view->count + arrived->count,
		sizeof(*view->uids));
	memcpy(view->uids + view->count, arrived->uids, arrived->count * sizeof(*view->uids));
	view->count += arrived->count;
}

static int view_mailbox(const struct imap_view *view, struct kv_txn *kv, struct arena *arena,
	struct mailbox_record *mailbox_r)
{
	int rc = account_get_mailbox(kv, view->account, view->mailbox, arena, mailbox_r);

	if (rc == 0 && (!mailbox_is_live(mailbox_r) || mailbox_r->uidvalidity != view->uidvalidity))
		rc = ERR_NOT_FOUND;
	return rc;
}

int imap_view_verify(const struct imap_view *view, struct kv_txn *kv)
{
	struct arena *arena = arena_new();
	struct mailbox_record mailbox;
	int rc = view_mailbox(view, kv, arena, &mailbox);

	arena_free(&arena);
	return rc;
}

static int gather(struct imap_view *view, struct mail *mail, struct kv_txn *kv, bool is_roaming)
{
	struct gathering gathering = { .view = view };
	struct arena *arena = arena_new();
	struct mailbox_record mailbox;
	int rc;

	rc = view_mailbox(view, kv, arena, &mailbox);
	if (rc < 0)
		goto out;
	rc = seen_is_ahead(mail, kv, view->seen_account, view->account);
	if (rc > 0)
		rc = ERR_CHANGED;
	if (rc < 0)
		goto out;
	if (view->changed.count == 0) /* else NOTIFY left out what changed before */
		view->told_since = view->modseq;
	if (mailbox.highestmodseq == view->modseq)
		goto out;
	rc = seen_each_uid_change(kv, view->seen_account, view->account, view->mailbox,
		view->modseq, is_roaming, gather_one, &gathering);
	if (rc < 0)
		goto out;
	if (view->vanished.count == 0)
		view->vanished_since = view->modseq;
	view->gathered_count +=
		gathering.vanished.count + gathering.changed.count + gathering.arrived.count;
	sort_into(&gathering.vanished, &view->vanished);
	sort_into(&gathering.changed, &view->changed);
	view_append(view, &gathering.arrived);
	view->modseq = mailbox.highestmodseq;
out:
	free(gathering.arrived.uids);
	free(gathering.changed.uids);
	free(gathering.vanished.uids);
	arena_free(&arena);
	return rc;
}

int imap_view_gather(struct imap_view *view, struct mail *mail, struct kv_txn *kv)
{
	return gather(view, mail, kv, false);
}

int imap_view_renew(struct imap_view *view, struct mail *mail, struct kv_txn *kv)
{
	int rc = gather(view, mail, kv, true);

	imap_view_remove(view, &view->vanished);
	uid_set_deinit(&view->vanished);
	uid_set_deinit(&view->changed);
	view->told_since = view->modseq;
	return rc;
}

size_t imap_view_range(const struct imap_view *view, const struct uid_range *range, size_t *first_r)
{
	*first_r = imap_view_find(view, range->first);
	return range->last == UINT32_MAX ? view->count : imap_view_find(view, range->last + 1);
}

static size_t keep(struct imap_view *view, size_t kept, size_t from, size_t end)
{
	if (kept != from)
		memmove(view->uids + kept, view->uids + from, (end - from) * sizeof(*view->uids));
	return kept + end - from;
}

void imap_view_remove(struct imap_view *view, const struct uid_set *uids)
{
	size_t kept = 0, from = 0;

	for (size_t i = 0; i < uids->count; i++) {
		uint32_t last = uids->ranges[i].last;
		size_t first = find_from(view, from, uids->ranges[i].first);

		kept = keep(view, kept, from, first);
		from = last == UINT32_MAX ? view->count : find_from(view, first, last + 1);
	}
	view->count = keep(view, kept, from, view->count);
}

static bool keyword_is_known(const struct imap_view *view, struct bytes name)
{
	for (size_t i = 0; i < view->keyword_count; i++) {
		if (bytes_equal_string_nocase(name, view->keywords[i]))
			return true;
	}
	return false;
}

bool imap_view_add_keyword(struct imap_view *view, struct bytes name)
{
	if (view->keyword_count == IMAP_KEYWORD_COUNT_MAX || keyword_is_known(view, name))
		return false;
	mem_grow((void **)&view->keywords, &view->keyword_room, view->keyword_count + 1,
		sizeof(*view->keywords));
	view->keywords[view->keyword_count] = mem_zalloc(name.len + 1);
	memcpy(view->keywords[view->keyword_count++], name.ptr, name.len);
	return true;
}

bool imap_view_note_keywords(struct imap_view *view, const struct message_record *message)
{
	bool is_news = false;

	for (size_t i = 0; i < message->flag_count; i++) {
		const struct flag_state *flag = &message->flags[i];

		if (flag->is_set && bytes_peek(flag->name) != '\\' &&
			imap_view_add_keyword(view, flag->name))
			is_news = true;
	}
	return is_news;
}

bool imap_view_is_recent(const struct imap_view *view, uint32_t uid)
{
	return view->recent_first != 0 && uid >= view->recent_first;
}

size_t imap_view_recent_count(const struct imap_view *view)
{
	if (view->recent_first == 0)
		return 0;
	return view->count - imap_view_find(view, view->recent_first);
}
