#include "imap/imap_look.h"

#include "imap/imap_narrow.h"
#include "imap/imap_reply.h"
#include "imap/imap_select_set.h"
#include "imap/imap_server_private.h"
#include "imap/imap_update.h"

#include "base/clock.h"
#include "base/mem.h"
#include "mail/seen.h"

#include <stdlib.h>

#define STEP_COUNT 500                    /* messages per snapshot */
#define STEP_BODY_SIZE (4u * 1024 * 1024) /* bytes of bodies after which it ends */
#define TURN_MS 50                        /* after which the worker is given back */

static void add_match(struct imap_look *look, const struct message_record *message)
{
	mem_grow((void **)&look->matches, &look->match_room, look->match_count + 1,
		sizeof(*look->matches));
	look->matches[look->match_count++] = (struct imap_match){ message->uid, message->modseq };
}

/* ---- the scope ---- */

struct changed_list {
	uint32_t *uids;
	size_t count;
	size_t room;
};

static int collect_changed(void *context, uint32_t uid, uint64_t modseq, bool is_vanished)
{
	struct changed_list *list = context;

	(void)modseq;
	if (is_vanished)
		return 0;
	mem_grow((void **)&list->uids, &list->room, list->count + 1, sizeof(*list->uids));
	list->uids[list->count++] = uid;
	return 0;
}

static int uid_order(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int scope_of_modseq(struct imap_look *look, uint64_t modseq)
{
	const struct imap_view *view = look->search.view;
	struct changed_list list = { 0 };
	struct kv_txn *kv;
	int rc = imap_read_begin(look->session, &kv);

	if (rc < 0)
		return rc;
	rc = seen_each_uid_change(kv, view->seen_account, view->account, view->mailbox, modseq - 1,
		false, collect_changed, &list);
	mail_read_end(&kv);
	if (list.count > 0)
		qsort(list.uids, list.count, sizeof(*list.uids), uid_order);
	for (size_t i = 0; i < list.count; i++)
		uid_set_add(&look->scope, list.uids[i], list.uids[i]);
	free(list.uids);
	return rc;
}

/* One set or MODSEQ that all matches must have bounds what is looked at. */
static int find_scope(struct imap_look *look, bool *is_whole_r)
{
	const struct imap_view *view = look->search.view;

	for (const struct imap_search_key *key = look->search.root->children; key != NULL;
		key = key->next) {
		if (key->kind == SEARCH_SET) {
			for (size_t i = 0; i < key->uids.count; i++)
				uid_set_add(&look->scope, key->uids.ranges[i].first,
					key->uids.ranges[i].last);
			return 0;
		}
		if (key->kind == SEARCH_MODSEQ && key->number > 0)
			return scope_of_modseq(look, key->number);
	}
	if (view->count > 0)
		uid_set_add(&look->scope, view->uids[0], view->uids[view->count - 1]);
	*is_whole_r = true;
	return 0;
}

/* ---- looking ---- */

static void note_outcome(void *context, const struct message_record *message, int outcome)
{
	struct imap_look *look = context;

	if (outcome > 0) {
		add_match(look, message);
		outcome = look->found == NULL ? 0 : look->found(look->context, look->kv, message);
	}
	if (outcome < 0 && look->rc == 0)
		look->rc = outcome;
}

static bool asks_bodies_apart(const struct imap_look *look)
{
	return look->search.root->cost == SEARCH_NEEDS_BODY &&
	       look->search.body_key_count <= IMAP_SEARCH_BODY_KEY_MAX;
}

static void look_at_one(struct imap_look *look, const struct message_record *message)
{
	int rc;

	if (!asks_bodies_apart(look)) {
		note_outcome(look, message, imap_search_match(&look->search, look->kv, message));
		return;
	}
	rc = imap_search_decide(&look->search, look->kv, message);
	if (rc > 0)
		rc = imap_look_batch_add(&look->batch, &look->search, look->kv, message, rc == 1);
	if (rc < 0)
		note_outcome(look, message, rc);
}

static int look_at(void *context, const struct message_record *message)
{
	struct imap_look *look = context;
	size_t index;

	look->next_uid = (uint64_t)message->uid + 1;
	look->step_count++;
	if (imap_view_has(look->search.view, message->uid, &index)) {
		look_at_one(look, message);
		imap_narrow_note(&look->search, message);
		look->looked_count++;
	}
	return look->step_count >= STEP_COUNT ||
			       look->search.body_bytes - look->step_body_bytes >= STEP_BODY_SIZE
		       ? 1
		       : 0;
}

static int look_in_scope(struct imap_look *look, struct arena *arena)
{
	const struct imap_view *view = look->search.view;

	look->step_count = 0;
	look->step_body_bytes = look->search.body_bytes;
	for (size_t i = 0; i < look->scope.count; i++) {
		const struct uid_range *range = &look->scope.ranges[i];
		uint64_t first = range->first > look->next_uid ? range->first : look->next_uid;
		int rc;

		if (first > range->last)
			continue;
		rc = imap_view_each_message(
			view, look->kv, (uint32_t)first, range->last, arena, look_at, look);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int look_step(struct imap_look *look)
{
	struct arena *arena = arena_new();
	int rc = imap_read_begin(look->session, &look->kv);

	if (rc == 0) {
		rc = look_in_scope(look, arena);
		imap_look_batch_run(&look->batch, look->kv, note_outcome, look);
		mail_read_end(&look->kv);
		mail_summaries_keep(look->session->mail);
	}
	arena_free(&arena);
	return rc;
}

/* What the UIDs alone decide. */
static void look_in_view(struct imap_look *look)
{
	const struct imap_view *view = look->search.view;

	for (size_t i = 0; i < view->count; i++) {
		struct message_record message = { .uid = view->uids[i] };

		if (!uid_set_has(&view->vanished, message.uid) &&
			imap_search_match(&look->search, NULL, &message) > 0)
			add_match(look, &message);
	}
}

static void tell_progress(struct imap_look *look, uint64_t now_ms)
{
	struct imap_session *session = look->session;
	struct bytes tag = bytes_of_string(session->tag);

	if (now_ms - look->told_ms < session->options->progress_interval_ms)
		return;
	if (!look->is_of_many && look->looked_count >= look->scope_count)
		return;
	look->told_ms = now_ms;
	imap_put(session, "* OK [INPROGRESS (");
	/* RFC 9585, section 4. */
	if (bytes_find(tag, ']') < tag.len)
		imap_put(session, "NIL");
	else
		imap_put_string(&session->out, tag);
	if (look->is_of_many)
		imap_printf(session, " %llu NIL)] Looked at %llu messages\r\n",
			(unsigned long long)look->looked_count,
			(unsigned long long)look->looked_count);
	else
		imap_printf(session, " %llu %llu)] Looked at %llu of %llu messages\r\n",
			(unsigned long long)look->looked_count,
			(unsigned long long)look->scope_count,
			(unsigned long long)look->looked_count,
			(unsigned long long)look->scope_count);
}

static int find_out_scope(struct imap_look *look)
{
	bool is_whole = false;
	int rc;

	look->has_scope = true;
	if (look->told_ms == 0)
		look->told_ms = clock_now_ms(clock_system());
	rc = find_scope(look, &is_whole);
	if (rc == 0)
		rc = imap_narrow(&look->search, &look->scope, is_whole);
	look->scope_count = imap_view_count_in(look->search.view, &look->scope);
	if (rc == 0 && look->search.root->cost == SEARCH_NEEDS_NOTHING && look->found == NULL) {
		look_in_view(look);
		look->is_done = true;
	}
	return rc;
}

static int look_run(struct imap_look *look)
{
	uint64_t began_ms = clock_now_ms(clock_system()), now_ms = began_ms;
	int rc = look->has_scope ? 0 : find_out_scope(look);

	while (rc == 0 && !look->is_done) {
		if (net_connection_is_gone(look->session->connection))
			return ERR_CLOSED;
		rc = look_step(look);
		look->is_done = rc == 0;
		now_ms = clock_now_ms(clock_system());
		if (rc <= 0)
			break;
		tell_progress(look, now_ms);
		if (now_ms - began_ms >= TURN_MS)
			return 1;
		rc = 0;
	}
	if (rc == 0)
		imap_narrow_end(&look->search, true);
	imap_body_deinit(&look->session->body);
	return rc;
}

/* ---- as a part of a command ---- */

void imap_look_prepare(struct imap_look *look, struct imap_session *session)
{
	look->session = session;
	look->search.session = session;
	look->search.now_ms = clock_now_ms(clock_system());
}

enum net_result imap_look_refuse(
	struct imap_session *session, const struct imap_parser *args, int rc)
{
	return rc == ERR_NOT_FOUND ? imap_no(session, IMAP_BADCHARSET)
				   : imap_bad_args(session, args);
}

static void forget_view(struct imap_look *look)
{
	imap_narrow_end(&look->search, false);
	imap_look_batch_deinit(&look->batch);
	uid_set_deinit(&look->scope);
	free(look->matches);
	look->matches = NULL;
	look->match_count = look->match_room = 0;
	look->has_scope = look->is_done = false;
	look->next_uid = 0;
	look->rc = 0;
}

void imap_look_begin(struct imap_look *look, const struct imap_view *view)
{
	forget_view(look);
	if (look->search.has_modseq)
		imap_enable_condstore(look->session);
	/* No EXPUNGE in a UID SEARCH with message numbers (RFC 7162, 3.2.10.2). */
	if (look->search.has_numbers)
		look->session->holds_expunges = true;
	imap_search_bind(&look->search, view);
}

int imap_look_turn(struct imap_look *look, enum net_result (*resume)(struct imap_session *session),
	enum net_result *result_r)
{
	int rc = look_run(look);

	if (rc <= 0 && !net_connection_is_gone(look->session->connection))
		return rc == 0 ? look->rc : rc;
	look->session->resume = resume;
	*result_r = rc > 0 ? NET_AGAIN : NET_CLOSE;
	return 1;
}

void imap_look_deinit(struct imap_look *look)
{
	forget_view(look);
	imap_search_deinit(&look->search);
}
