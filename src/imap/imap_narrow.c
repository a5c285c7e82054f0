#include "imap/imap_narrow.h"

#include "imap/imap_server_private.h"

#include "base/mem.h"
#include "mail/seen.h"

#include <stdlib.h>

#define UNKNOWN_COUNT_MAX 500 /* that a column may lack, or that changed since ... */
#define UNKNOWN_PART 16       /* ... or one in so many; else it is filled anew */
#define GAP_MAX 8 /* messages between two to be looked at, which cost less than to go there */

/* A key that a column can decide; what it takes from the key. */
struct question {
	struct imap_search_key *key; /* of the flag or the header */
	struct bytes name;           /* of the column */
	bool is_set;
};

static bool question_of(
	struct imap_search_key *key, const struct imap_view *view, struct question *question_r)
{
	bool is_set = key->kind != SEARCH_NOT;

	if (!is_set)
		key = key->children;
	*question_r = (struct question){ key, { NULL, 0 }, is_set };
	if (key->kind == SEARCH_FLAG)
		return imap_column_has_flag(key->text) &&
		       (view->seen_account == 0 || !bytes_equal_string_nocase(key->text, "\\Seen"));
	question_r->name = key->text;
	return key->kind == SEARCH_HEADER && is_set && key->text.len > 0 &&
	       mime_needle_folded(&key->needle).len > 0;
}

/* What others keep of \\Seen is not of the mailbox: from such a view flags are not kept. */
static bool is_kept(const struct imap_view *view, struct bytes name)
{
	return name.len > 0 || view->seen_account == 0;
}

/* ---- what changed ---- */

struct changed {
	uint32_t *uids;
	size_t count, room, count_max;
};

static int note_changed(void *context, uint32_t uid, uint64_t modseq, bool is_vanished)
{
	struct changed *changed = context;

	(void)modseq;
	if (is_vanished)
		return 0;
	if (changed->count == changed->count_max)
		return 1;
	mem_grow((void **)&changed->uids, &changed->room, changed->count + 1,
		sizeof(*changed->uids));
	changed->uids[changed->count++] = uid;
	return 0;
}

static int uid_order(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* 1: too many. */
static int find_changed(const struct imap_view *view, struct kv_txn *kv,
	const struct imap_column *column, struct changed *changed)
{
	int rc = account_each_uid_change(kv, view->account, view->mailbox,
		imap_column_modseq(column), note_changed, changed);

	if (rc == 0 && changed->count > 0)
		qsort(changed->uids, changed->count, sizeof(*changed->uids), uid_order);
	return rc;
}

/* ---- narrowing ---- */

struct narrowing {
	const struct imap_view *view;
	const struct uid_set *scope;
	const struct imap_column *column;
	const bool *may; /* of the column's messages */
	struct changed changed;
	size_t unknown_count;  /* messages that the column lacks */
	struct uid_set narrow; /* the outcome */
};

/* Goes through the view, the column and the changes side by side. */
static void pass_over(struct narrowing *narrowing)
{
	const struct imap_view *view = narrowing->view;
	const uint32_t *uids = imap_column_uids(narrowing->column);
	size_t count = imap_column_count(narrowing->column), at = 0, changed_at = 0;
	size_t last = 0; /* index of the last message to be looked at, counted from 1 */

	for (size_t i = 0; i < view->count; i++) {
		uint32_t uid = view->uids[i];
		bool may = true;

		while (at < count && uids[at] < uid)
			at++;
		while (changed_at < narrowing->changed.count &&
			narrowing->changed.uids[changed_at] < uid)
			changed_at++;
		if (at < count && uids[at] == uid)
			may = narrowing->may[at] ||
			      (changed_at < narrowing->changed.count &&
				      narrowing->changed.uids[changed_at] == uid);
		else
			narrowing->unknown_count++;
		if (!may || !uid_set_has(narrowing->scope, uid))
			continue;
		uid_set_add(&narrowing->narrow,
			last > 0 && i - last < GAP_MAX ? view->uids[last] : uid, uid);
		last = i + 1;
	}
}

/* 1: the column is too old to be of use. */
static int narrow_by(struct imap_search *search, struct kv_txn *kv, const struct question *question,
	const struct imap_column *column, struct uid_set *scope)
{
	size_t count = imap_column_count(column), unknown_max = search->view->count / UNKNOWN_PART;
	bool *may = mem_zalloc(count + 1);
	struct narrowing narrowing = {
		.view = search->view, .scope = scope, .column = column, .may = may
	};
	int rc = 0;

	if (unknown_max < UNKNOWN_COUNT_MAX)
		unknown_max = UNKNOWN_COUNT_MAX;
	narrowing.changed.count_max = unknown_max;
	if (question->key->kind == SEARCH_FLAG) {
		imap_column_find_flag(column, question->key->text, question->is_set, may);
		rc = find_changed(search->view, kv, column, &narrowing.changed);
	} else {
		imap_column_find_text(column, &question->key->needle, may);
	}
	if (rc == 0)
		pass_over(&narrowing);
	if (rc == 0 && narrowing.unknown_count > unknown_max)
		rc = 1;
	if (rc == 0) {
		uid_set_deinit(scope);
		*scope = narrowing.narrow;
		narrowing.narrow = (struct uid_set){ 0 };
	}
	uid_set_deinit(&narrowing.narrow);
	free(narrowing.changed.uids);
	free(may);
	return rc;
}

static int narrow_all(
	struct imap_search *search, struct kv_txn *kv, struct uid_set *scope, bool is_whole)
{
	struct imap_columns *columns = search->session->server->columns;
	const struct imap_view *view = search->view;
	struct arena *arena = arena_new();
	struct mailbox_record mailbox;
	int rc = account_get_mailbox(kv, view->account, view->mailbox, arena, &mailbox);
	bool is_narrow = false;

	for (struct imap_search_key *key = search->root->children; key != NULL && rc == 0;
		key = key->next) {
		struct imap_column *column;
		struct question question;
		bool is_of_use = false;

		if (!question_of(key, view, &question))
			continue;
		column = imap_columns_take(columns, view, question.name);
		if (column != NULL) {
			rc = narrow_by(search, kv, &question, column, scope);
			is_of_use = rc == 0;
			rc = rc > 0 ? 0 : rc;
		}
		imap_column_release(&column);
		is_narrow = is_narrow || is_of_use;
		if (!is_of_use && is_whole && question.key->column == NULL &&
			is_kept(view, question.name))
			question.key->column = imap_column_new(
				columns, view, question.name, mailbox.highestmodseq);
	}
	arena_free(&arena);
	if (is_narrow)
		imap_narrow_end(search, false);
	return rc;
}

int imap_narrow(struct imap_search *search, struct uid_set *scope, bool is_whole)
{
	struct kv_txn *kv;
	int rc;

	if (search->view->count < search->session->options->search_cache_count_min ||
		search->root->cost == SEARCH_NEEDS_NOTHING)
		return 0;
	rc = imap_read_begin(search->session, &kv);
	if (rc < 0)
		return rc;
	rc = narrow_all(search, kv, scope, is_whole);
	mail_read_end(&kv);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

void imap_narrow_note(struct imap_search *search, const struct message_record *message)
{
	for (struct imap_search_key *key = search->newest; key != NULL; key = key->older) {
		if (key->column != NULL && key->kind == SEARCH_FLAG)
			imap_column_add_flags(key->column, message);
	}
}

void imap_narrow_end(struct imap_search *search, bool is_done)
{
	for (struct imap_search_key *key = search->newest; key != NULL; key = key->older) {
		if (key->column != NULL && is_done)
			imap_columns_keep(search->session->server->columns, &key->column);
		imap_column_release(&key->column);
	}
}

/* ---- noting without a search ---- */

static struct imap_column *column_missing(
	const struct imap_session *session, struct kv_txn *kv, struct bytes name, uint64_t modseq)
{
	struct imap_columns *columns = session->server->columns;
	const struct imap_view *view = session->view;
	struct changed changed = { .count_max = UNKNOWN_COUNT_MAX };
	struct imap_column *kept;
	int rc = 1;

	if (!is_kept(view, name))
		return NULL;
	kept = imap_columns_take(columns, view, name);
	/* One that searches would find too old is made anew. */
	if (kept != NULL && imap_column_count(kept) + UNKNOWN_COUNT_MAX >= view->count)
		rc = name.len > 0 ? 0 : find_changed(view, kv, kept, &changed);
	free(changed.uids);
	imap_column_release(&kept);
	return rc == 0 ? NULL : imap_column_new(columns, view, name, modseq);
}

void imap_noting_begin(struct imap_noting *noting, const struct imap_session *session,
	struct kv_txn *kv, bool with_subjects)
{
	const struct imap_view *view = session->view;
	struct arena *arena = arena_new();
	struct mailbox_record mailbox;

	if (view->count >= session->options->search_cache_count_min &&
		account_get_mailbox(kv, view->account, view->mailbox, arena, &mailbox) == 0) {
		noting->flags =
			column_missing(session, kv, BYTES_LITERAL(""), mailbox.highestmodseq);
		if (with_subjects)
			noting->subjects = column_missing(
				session, kv, BYTES_LITERAL("subject"), mailbox.highestmodseq);
	}
	arena_free(&arena);
}

static void column_end(
	struct imap_column **column, const struct imap_session *session, bool is_done)
{
	if (*column != NULL && is_done)
		imap_columns_keep(session->server->columns, column);
	imap_column_release(column);
}

void imap_noting_end(struct imap_noting *noting, const struct imap_session *session, bool is_done)
{
	column_end(&noting->flags, session, is_done);
	column_end(&noting->subjects, session, is_done);
}
