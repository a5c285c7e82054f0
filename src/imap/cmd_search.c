/*
 * SEARCH and SORT (RFC 3501, 6.4.4; RFC 4731; RFC 5182; RFC 5256; RFC 5267; RFC 7162, 3.1.5;
 * RFC 9394), and CANCELUPDATE.
 */
#include "imap/imap_commands.h"
#include "imap/imap_context.h"
#include "imap/imap_reply.h"

#include "base/mem.h"

#include <stdlib.h>

struct sorted {
	size_t at; /* of the key, in `keys` */
	size_t len;
	struct imap_match match;
};

struct search_work {
	struct imap_returns returns;
	struct imap_look look;
	struct bytes program; /* the command's text from the criteria or keys on */
	bool is_sort;
	struct imap_sort sort;
	struct buffer keys; /* of the matches, in order of UIDs */
	size_t *key_ends;
	size_t key_count;
	size_t key_room;
};

static void work_free(void *context)
{
	struct search_work *work = context;

	imap_look_deinit(&work->look);
	buffer_deinit(&work->keys);
	free(work->key_ends);
}

/* ---- sorting ---- */

/* A match whose key cannot be made keeps its place among the keys. */
static int note_key(void *context, struct kv_txn *kv, const struct message_record *message)
{
	struct search_work *work = context;
	int rc = imap_sort_key(&work->sort, work->look.session, kv, work->look.search.view->account,
		message, &work->keys);

	mem_grow((void **)&work->key_ends, &work->key_room, work->key_count + 1,
		sizeof(*work->key_ends));
	work->key_ends[work->key_count++] = work->keys.len;
	return rc;
}

static int sorted_order(const void *a, const void *b, void *keys)
{
	const struct sorted *x = a, *y = b;
	const unsigned char *data = keys;
	int order = bytes_compare(bytes_of(data + x->at, x->len), bytes_of(data + y->at, y->len));

	if (order != 0)
		return order;
	return x->match.uid < y->match.uid ? -1 : x->match.uid > y->match.uid;
}

static void sort_matches(struct search_work *work)
{
	struct imap_look *look = &work->look;
	struct sorted *sorted = mem_zalloc_array(look->match_count + 1, sizeof(*sorted));

	for (size_t i = 0; i < look->match_count; i++) {
		sorted[i].at = i > 0 ? work->key_ends[i - 1] : 0;
		sorted[i].len = work->key_ends[i] - sorted[i].at;
		sorted[i].match = look->matches[i];
	}
	if (look->match_count > 0)
		qsort_r(sorted, look->match_count, sizeof(*sorted), sorted_order, work->keys.data);
	for (size_t i = 0; i < look->match_count; i++)
		look->matches[i] = sorted[i].match;
	free(sorted);
}

/* ---- answering ---- */

static void put_plain(
	struct imap_session *session, const struct search_work *work, struct imap_results *results)
{
	imap_printf(session, "* %s", work->is_sort ? "SORT" : "SEARCH");
	for (size_t i = 0; i < results->count; i++)
		imap_printf(session, " %u", imap_result_number(results, results->matches[i].uid));
	if (results->tells_modseq && results->count > 0)
		imap_printf(session, " (MODSEQ %llu)",
			(unsigned long long)imap_results_modseq(&work->returns, results));
	imap_put(session, "\r\n");
}

static enum net_result search_fail(struct imap_session *session, struct search_work *work, int rc)
{
	/* RFC 5182, 2.1: what ends in NO saves nothing. */
	if ((work->returns.options & RETURN_SAVE) != 0)
		uid_set_deinit(&session->view->saved);
	return imap_fail(session, rc, NULL);
}

static enum net_result search_end(struct imap_session *session, struct search_work *work)
{
	unsigned options = work->returns.options;
	struct imap_results results = { .view = session->view,
		.matches = work->look.matches,
		.count = work->look.match_count,
		.is_uid = (session->command->flags & COMMAND_IS_UID) != 0,
		.tells_modseq = work->look.search.has_modseq };

	if ((options & RETURN_SAVE) != 0)
		imap_save_results(session, &work->returns, &results);
	if ((options & RETURN_UPDATE) != 0)
		imap_context_add(session, work->program, work->returns.update_items,
			&work->look.search, work->is_sort, &results);
	if (!work->returns.is_extended)
		put_plain(session, work, &results);
	else if ((options & (RETURN_MIN | RETURN_MAX | RETURN_ALL | RETURN_COUNT |
				    RETURN_PARTIAL)) != 0)
		imap_put_esearch(session, &work->returns, &results);
	return imap_ok(session, work->is_sort ? "Sorted" : "Searched");
}

static enum net_result search_run(struct imap_session *session)
{
	struct search_work *work = session->work;
	enum net_result result;
	int rc = imap_look_turn(&work->look, search_run, &result);

	if (rc > 0)
		return result;
	if (rc < 0)
		return search_fail(session, work, rc);
	if (work->is_sort)
		sort_matches(work);
	return search_end(session, work);
}

static int parse(struct imap_session *session, struct imap_parser *args, struct search_work *work)
{
	int rc;

	if (imap_parse_space(args) < 0 || imap_parse_returns(args, &work->returns) < 0)
		return ERR_INVALID;
	if ((work->returns.options & RETURN_UPDATE) != 0 &&
		imap_context_find(session->view, bytes_of_string(session->tag)) != NULL)
		return imap_parse_fail(args, ERR_INVALID, "Tag reuse");
	work->program = args->rest;
	if (work->is_sort && (imap_parse_sort(args, &work->sort) < 0 || imap_parse_space(args) < 0))
		return ERR_INVALID;
	rc = imap_parse_search(args, work->is_sort, &work->look.search);
	/* IMAP4rev2 has no SEARCH response. */
	if (session->is_rev2 && !work->is_sort && !work->returns.is_extended) {
		work->returns.is_extended = true;
		work->returns.options = RETURN_ALL;
	}
	return rc;
}

static enum net_result search_begin(
	struct imap_session *session, struct imap_parser *args, bool is_sort)
{
	struct search_work *work = arena_zalloc(session->arena, sizeof(*work));
	int rc;

	session->work = work;
	session->work_free = work_free;
	work->is_sort = is_sort;
	imap_look_prepare(&work->look, session);
	rc = parse(session, args, work);
	if (rc == ERR_NOT_FOUND && (work->returns.options & RETURN_SAVE) != 0)
		uid_set_deinit(&session->view->saved);
	/* BAD leaves "$" as it is (RFC 5182, 2.1). */
	if (rc < 0)
		return imap_look_refuse(session, args, rc);
	imap_look_begin(&work->look, session->view);
	work->look.context = work;
	work->look.found = is_sort ? note_key : NULL;
	return search_run(session);
}

enum net_result cmd_search(struct imap_session *session, struct imap_parser *args)
{
	return search_begin(session, args, false);
}

enum net_result cmd_sort(struct imap_session *session, struct imap_parser *args)
{
	return search_begin(session, args, true);
}

/* RFC 5267, 4.3.5. */
enum net_result cmd_cancelupdate(struct imap_session *session, struct imap_parser *args)
{
	struct bytes tags[IMAP_CONTEXT_COUNT_MAX];
	size_t count = 0, missing = 0;

	do {
		if (count == IMAP_CONTEXT_COUNT_MAX)
			return imap_bad(session, "Too many tags");
		if (imap_parse_space(args) < 0)
			return imap_bad_args(session, args);
		if (bytes_peek(args->rest) != '"')
			return imap_bad(session, "Tags are quoted here");
		if (imap_parse_string(args, &tags[count++]) < 0)
			return imap_bad_args(session, args);
	} while (!imap_parse_at_end(args));
	for (size_t i = 0; i < count; i++)
		missing += imap_context_remove(session->view, tags[i]) ? 0 : 1;
	if (missing > 0)
		return imap_no(session, "No updates were due to %zu of these", missing);
	return imap_ok(session, "No further updates");
}
