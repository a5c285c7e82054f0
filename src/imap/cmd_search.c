/* SEARCH (RFC 3501, 6.4.4; RFC 4731; RFC 5182; RFC 7162, 3.1.5). */
#include "imap/imap_commands.h"
#include "imap/imap_qresync.h"
#include "imap/imap_reply.h"
#include "imap/imap_search.h"
#include "imap/imap_select_set.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

#define STEP_COUNT 500     /* messages per snapshot */
#define STEP_BODY_COUNT 50 /* the same if their bodies are read */

enum search_return {
	RETURN_MIN = 1,
	RETURN_MAX = 2,
	RETURN_ALL = 4,
	RETURN_COUNT = 8,
	RETURN_SAVE = 16
};

struct match {
	uint32_t uid;
	uint64_t modseq;
};

struct search_work {
	struct imap_search search;
	bool is_esearch;
	unsigned returns;
	struct uid_set scope; /* UIDs that may match */
	uint64_t next_uid;
	size_t step_count;
	struct match *matches;
	size_t match_count;
	size_t match_room;
	int rc; /* the first failure to read a message */
	struct kv_txn *kv;
};

static void work_free(void *context)
{
	struct search_work *work = context;

	imap_search_deinit(&work->search);
	uid_set_deinit(&work->scope);
	free(work->matches);
}

static int parse_return(struct imap_parser *args, struct search_work *work)
{
	static const struct {
		const char *name;
		enum search_return option;
	} names[] = { { "MIN", RETURN_MIN }, { "MAX", RETURN_MAX }, { "ALL", RETURN_ALL },
		{ "COUNT", RETURN_COUNT }, { "SAVE", RETURN_SAVE } };

	if (!imap_parse_take_word(args, "RETURN"))
		return 0;
	work->is_esearch = true;
	if (imap_parse_space(args) < 0 || imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	while (!imap_parse_take(args, ')')) {
		size_t i = 0;

		while (i < sizeof(names) / sizeof(names[0]) &&
			!imap_parse_take_word(args, names[i].name))
			i++;
		if (i == sizeof(names) / sizeof(names[0]))
			return imap_parse_fail(args, ERR_INVALID, "Unknown RETURN option");
		work->returns |= names[i].option;
		imap_parse_take(args, ' ');
	}
	if (work->returns == 0)
		work->returns = RETURN_ALL;
	return imap_parse_space(args);
}

/* ---- looking ---- */

static void add_match(struct search_work *work, uint32_t uid, uint64_t modseq)
{
	mem_grow((void **)&work->matches, &work->match_room, work->match_count + 1,
		sizeof(*work->matches));
	work->matches[work->match_count++] = (struct match){ uid, modseq };
}

static int look_at(void *context, const struct message_record *message)
{
	struct search_work *work = context;
	size_t step_max =
		work->search.root->cost >= SEARCH_NEEDS_BODY ? STEP_BODY_COUNT : STEP_COUNT;
	size_t index;

	work->next_uid = (uint64_t)message->uid + 1;
	work->step_count++;
	if (imap_view_has(work->search.session->view, message->uid, &index)) {
		int rc = imap_search_match(&work->search, work->kv, message);

		if (rc > 0)
			add_match(work, message->uid, message->modseq);
		if (rc < 0 && work->rc == 0)
			work->rc = rc;
	}
	return work->step_count >= step_max ? 1 : 0;
}

static int look_step(struct search_work *work, struct arena *arena)
{
	const struct imap_session *session = work->search.session;

	work->step_count = 0;
	for (size_t i = 0; i < work->scope.count; i++) {
		const struct uid_range *range = &work->scope.ranges[i];
		uint64_t first = range->first > work->next_uid ? range->first : work->next_uid;
		int rc;

		if (first > range->last)
			continue;
		rc = account_each_message(work->kv, session->view->account, session->view->mailbox,
			(uint32_t)first, range->last, arena, look_at, work);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int look_in_store(struct imap_session *session, struct search_work *work)
{
	int rc = 1;

	while (rc > 0) {
		struct arena *arena;

		if (net_connection_is_gone(session->connection))
			return ERR_CLOSED;
		arena = arena_new();
		rc = imap_read_begin(session, &work->kv);
		if (rc == 0) {
			rc = look_step(work, arena);
			mail_read_end(&work->kv);
		}
		arena_free(&arena);
	}
	imap_body_deinit(&session->body);
	return rc;
}

/* What the UIDs alone decide. */
static void look_in_view(struct imap_session *session, struct search_work *work)
{
	const struct imap_view *view = session->view;

	for (size_t i = 0; i < view->count; i++) {
		struct message_record message = { .uid = view->uids[i] };

		if (!uid_set_has(&view->vanished, message.uid) &&
			imap_search_match(&work->search, NULL, &message) > 0)
			add_match(work, message.uid, 0);
	}
}

/* One set or MODSEQ that all matches must have bounds what is looked at. */
static int find_scope(struct imap_session *session, struct search_work *work)
{
	const struct imap_view *view = session->view;
	struct kv_txn *kv;
	int rc;

	for (const struct imap_search_key *key = work->search.root->children; key != NULL;
		key = key->next) {
		if (key->kind == SEARCH_SET) {
			for (size_t i = 0; i < key->uids.count; i++)
				uid_set_add(&work->scope, key->uids.ranges[i].first,
					key->uids.ranges[i].last);
			return 0;
		}
		if (key->kind != SEARCH_MODSEQ || key->number == 0)
			continue;
		rc = imap_read_begin(session, &kv);
		if (rc < 0)
			return rc;
		rc = imap_find_earlier(session, kv, key->number - 1, NULL, false, &work->scope);
		mail_read_end(&kv);
		return rc;
	}
	if (view->count > 0)
		uid_set_add(&work->scope, view->uids[0], view->uids[view->count - 1]);
	return 0;
}

/* ---- answering ---- */

static uint32_t number_of(const struct imap_session *session, uint32_t uid)
{
	if ((session->command->flags & COMMAND_IS_UID) != 0)
		return uid;
	return (uint32_t)imap_view_find(session->view, uid) + 1;
}

/* The greatest modseq of what is returned (RFC 4731, 3.2). */
static uint64_t greatest_modseq(const struct search_work *work)
{
	uint64_t greatest = 0, modseq;
	bool only_ends = work->is_esearch && (work->returns & (RETURN_ALL | RETURN_COUNT)) == 0;
	size_t last = work->match_count - 1;

	for (size_t i = 0; i < work->match_count; i++) {
		if (only_ends && !(i == 0 && (work->returns & RETURN_MIN) != 0) &&
			!(i == last && (work->returns & RETURN_MAX) != 0))
			continue;
		modseq = work->matches[i].modseq;
		greatest = modseq > greatest ? modseq : greatest;
	}
	return greatest;
}

static void put_search(struct imap_session *session, const struct search_work *work)
{
	imap_put(session, "* SEARCH");
	for (size_t i = 0; i < work->match_count; i++)
		imap_printf(session, " %u", number_of(session, work->matches[i].uid));
	if (work->search.has_modseq && work->match_count > 0)
		imap_printf(session, " (MODSEQ %llu)", (unsigned long long)greatest_modseq(work));
	imap_put(session, "\r\n");
}

static void put_esearch(struct imap_session *session, const struct search_work *work)
{
	struct uid_set all = { 0 };
	const struct match *matches = work->matches;
	size_t count = work->match_count;

	imap_put(session, "* ESEARCH (TAG ");
	imap_put_string(&session->out, bytes_of_string(session->tag));
	imap_printf(session, ")%s", (session->command->flags & COMMAND_IS_UID) != 0 ? " UID" : "");
	if ((work->returns & RETURN_MIN) != 0 && count > 0)
		imap_printf(session, " MIN %u", number_of(session, matches[0].uid));
	if ((work->returns & RETURN_MAX) != 0 && count > 0)
		imap_printf(session, " MAX %u", number_of(session, matches[count - 1].uid));
	if ((work->returns & RETURN_COUNT) != 0)
		imap_printf(session, " COUNT %zu", count);
	if ((work->returns & RETURN_ALL) != 0 && count > 0) {
		for (size_t i = 0; i < count; i++) {
			uint32_t number = number_of(session, matches[i].uid);

			uid_set_add(&all, number, number);
		}
		imap_put(session, " ALL ");
		imap_set_write(&session->out, &all);
		uid_set_deinit(&all);
	}
	if (work->search.has_modseq && count > 0)
		imap_printf(session, " MODSEQ %llu", (unsigned long long)greatest_modseq(work));
	imap_put(session, "\r\n");
}

/* What "$" means from now on (RFC 5182, 2.1: with MIN or MAX alone, only those). */
static void save_result(struct imap_session *session, const struct search_work *work)
{
	struct uid_set *saved = &session->view->saved;
	bool only_ends = (work->returns & (RETURN_MIN | RETURN_MAX)) != 0 &&
			 (work->returns & (RETURN_ALL | RETURN_COUNT)) == 0;
	size_t count = work->match_count;

	uid_set_deinit(saved);
	for (size_t i = 0; i < count; i++) {
		bool is_end = (i == 0 && (work->returns & RETURN_MIN) != 0) ||
			      (i == count - 1 && (work->returns & RETURN_MAX) != 0);

		if (!only_ends || is_end)
			uid_set_add(saved, work->matches[i].uid, work->matches[i].uid);
	}
}

static enum net_result search_run(struct imap_session *session, struct search_work *work)
{
	int rc = find_scope(session, work);

	if (rc == 0 && work->search.root->cost == SEARCH_NEEDS_NOTHING)
		look_in_view(session, work);
	else if (rc == 0)
		rc = look_in_store(session, work);
	if (rc < 0)
		return imap_fail(session, rc, NULL);
	/* A message that cannot be read must not look as if it did not match. */
	if (work->rc < 0)
		return imap_fail(session, work->rc, NULL);
	if ((work->returns & RETURN_SAVE) != 0)
		save_result(session, work);
	if (!work->is_esearch)
		put_search(session, work);
	else if (work->returns != RETURN_SAVE)
		put_esearch(session, work);
	return imap_ok(session, "Searched");
}

enum net_result cmd_search(struct imap_session *session, struct imap_parser *args)
{
	struct search_work *work = arena_zalloc(session->arena, sizeof(*work));
	int rc;

	session->work = work;
	session->work_free = work_free;
	work->search.session = session;
	work->search.now_ms = clock_now_ms(clock_system());
	rc = imap_parse_space(args);
	if (rc == 0)
		rc = parse_return(args, work);
	if (rc == 0)
		rc = imap_parse_search(args, &work->search);
	/* IMAP4rev2 has no SEARCH response. */
	if (session->is_rev2 && !work->is_esearch) {
		work->is_esearch = true;
		work->returns = RETURN_ALL;
	}
	if ((work->returns & RETURN_SAVE) != 0 && rc < 0)
		uid_set_deinit(&session->view->saved);
	if (rc == ERR_NOT_FOUND)
		return imap_no(session, "[BADCHARSET (US-ASCII UTF-8)] Unknown charset");
	if (rc < 0)
		return imap_bad_args(session, args);
	if (work->search.has_modseq)
		session->is_condstore = true;
	return search_run(session, work);
}
