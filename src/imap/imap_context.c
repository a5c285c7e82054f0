#include "imap/imap_context.h"

#include "imap/imap_reply.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

#define STEP_COUNT 200 /* messages per snapshot */

struct imap_context *imap_context_find(struct imap_view *view, struct bytes tag)
{
	struct imap_context *context = view->contexts;

	while (context != NULL && !bytes_equal_string(tag, context->tag))
		context = context->next;
	return context;
}

static void context_free(struct imap_context *context)
{
	imap_search_deinit(&context->search);
	arena_free(&context->arena);
	free(context->uids);
	free(context);
}

bool imap_context_remove(struct imap_view *view, struct bytes tag)
{
	struct imap_context **at = &view->contexts, *context;

	while (*at != NULL && !bytes_equal_string(tag, (*at)->tag))
		at = &(*at)->next;
	context = *at;
	if (context == NULL)
		return false;
	*at = context->next;
	context_free(context);
	return true;
}

void imap_contexts_free(struct imap_context **contexts)
{
	while (*contexts != NULL) {
		struct imap_context *context = *contexts;

		*contexts = context->next;
		context_free(context);
	}
}

/* ---- making ---- */

static const char *reason_against(
	const struct imap_session *session, const struct imap_search *search)
{
	size_t count = 0;

	for (const struct imap_context *context = session->view->contexts; context != NULL;
		context = context->next)
		count++;
	if (count >= IMAP_CONTEXT_COUNT_MAX)
		return "Too many contexts";
	if (search->has_numbers)
		return "Message numbers change their meaning";
	if (search->has_ages)
		return "Ages change by themselves";
	return NULL;
}

/* The program lives longer than the command's text, so it is read again from a copy. */
static int program_read(struct imap_context *context, struct imap_session *session,
	struct bytes program, struct bytes items)
{
	struct imap_parser args = { .arena = context->arena, .is_utf8 = session->is_utf8 };
	int rc = 0;

	args.rest = arena_copy(context->arena, items);
	if (items.len > 0)
		rc = imap_parse_fetch_list(&args, &context->fetch);
	args.rest = arena_copy(context->arena, program);
	context->search.session = session;
	if (rc == 0 && context->is_sort)
		rc = imap_parse_sort(&args, &context->sort);
	if (rc == 0 && context->is_sort)
		rc = imap_parse_space(&args);
	return rc < 0 ? rc : imap_parse_search(&args, context->is_sort, &context->search);
}

void imap_context_add(struct imap_session *session, struct bytes program, struct bytes items,
	const struct imap_search *search, bool is_sort, const struct imap_results *results)
{
	const char *reason = reason_against(session, search);
	struct imap_context *context;

	if (reason != NULL) {
		imap_put(session, "* NO [NOUPDATE ");
		imap_put_string(&session->out, bytes_of_string(session->tag));
		imap_printf(session, "] %s\r\n", reason);
		return;
	}
	context = mem_zalloc(sizeof(*context));
	memcpy(context->tag, session->tag, sizeof(context->tag));
	context->is_uid = results->is_uid;
	context->is_sort = is_sort;
	context->arena = arena_new();
	if (program_read(context, session, program, items) < 0) {
		/* It was read a moment ago. */
		assert(false);
		context_free(context);
		return;
	}
	mem_grow((void **)&context->uids, &context->room, results->count + 1,
		sizeof(*context->uids));
	for (size_t i = 0; i < results->count; i++)
		context->uids[i] = results->matches[i].uid;
	context->count = results->count;
	context->next = session->view->contexts;
	session->view->contexts = context;
}

/* ---- telling ---- */

/* Changes of one context, as pairs of positions and sets. */
struct telling {
	struct imap_session *session;
	struct imap_context *context;
	struct imap_results results; /* for numbers; its matches are those of one pair */
	const char *item;            /* that is open; NULL: none */
	bool is_begun;
};

static void telling_end_item(struct telling *telling)
{
	if (telling->item != NULL)
		imap_put(telling->session, ")");
	telling->item = NULL;
}

static void tell_pair(struct telling *telling, const char *item, size_t position,
	const struct imap_match *matches, size_t count)
{
	struct imap_results results = { .view = telling->session->view,
		.matches = (struct imap_match *)matches,
		.count = count,
		.is_uid = telling->context->is_uid };

	if (!telling->is_begun)
		imap_put_correlator(telling->session, telling->context->tag, &results);
	telling->is_begun = true;
	if (telling->item == NULL || strcmp(telling->item, item) != 0) {
		telling_end_item(telling);
		imap_printf(telling->session, " %s (", item);
	} else {
		imap_put(telling->session, " ");
	}
	telling->item = item;
	imap_printf(telling->session, "%zu ", position);
	imap_put_ordered(&telling->session->out, &results, 0, count);
}

static void telling_end(struct telling *telling)
{
	telling_end_item(telling);
	if (telling->is_begun)
		imap_put(telling->session, "\r\n");
}

/*
 * Takes the results that are in `gone` out and tells so. What goes from one place together is one
 * pair; each pair's position is that after the pairs before it. A search has no positions.
 */
static void remove_all(struct telling *telling, const struct uid_set *gone)
{
	struct imap_context *context = telling->context;
	struct imap_match *run = NULL;
	size_t run_count = 0, room = 0, kept = 0;

	for (size_t i = 0; i <= context->count; i++) {
		bool is_gone = i < context->count && uid_set_has(gone, context->uids[i]);

		if (is_gone) {
			mem_grow((void **)&run, &room, run_count + 1, sizeof(*run));
			run[run_count++] = (struct imap_match){ context->uids[i], 0 };
			continue;
		}
		if (run_count > 0 && (context->is_sort || i == context->count)) {
			tell_pair(telling, "REMOVEFROM", context->is_sort ? kept + 1 : 0, run,
				run_count);
			run_count = 0;
		}
		if (i < context->count)
			context->uids[kept++] = context->uids[i];
	}
	context->count = kept;
	free(run);
}

void imap_contexts_tell_vanished(struct imap_session *session)
{
	for (struct imap_context *context = session->view->contexts; context != NULL;
		context = context->next) {
		struct telling telling = { .session = session, .context = context };

		remove_all(&telling, &session->view->vanished);
		telling_end(&telling);
	}
}

bool imap_contexts_fetch(const struct imap_view *view)
{
	for (const struct imap_context *context = view->contexts; context != NULL;
		context = context->next)
		if (context->fetch.item_count > 0)
			return true;
	return false;
}

int imap_contexts_tell_new(
	struct imap_session *session, struct kv_txn *kv, const struct message_record *message)
{
	int rc = 0;

	for (struct imap_context *context = session->view->contexts; context != NULL && rc >= 0;
		context = context->next) {
		if (context->fetch.item_count == 0)
			continue;
		context->search.now_ms = clock_now_ms(clock_system());
		imap_search_bind(&context->search, session->view);
		rc = imap_search_match(&context->search, kv, message);
		if (rc > 0)
			rc = imap_fetch_write(session, &context->fetch, kv, message, false);
	}
	return rc < 0 ? rc : 0;
}

/* ---- looking again ---- */

struct step {
	struct imap_session *session;
	struct imap_context *context;
	struct kv_txn *kv;
	struct arena *arena;
	struct message_record *messages; /* that are looked at */
	size_t message_count;
	size_t room;
	int rc;
};

static int step_collect(void *context, const struct message_record *message)
{
	struct step *step = context;
	struct imap_view *view = step->session->view;
	size_t index;

	view->recheck_next = (uint64_t)message->uid + 1;
	if (uid_set_has(&view->recheck, message->uid) &&
		imap_view_has(view, message->uid, &index)) {
		mem_grow((void **)&step->messages, &step->room, step->message_count + 1,
			sizeof(*step->messages));
		step->messages[step->message_count++] = *message;
	}
	return step->message_count >= STEP_COUNT ? 1 : 0;
}

/* The place of a search's result: by its UID. */
static size_t place_of_uid(const struct imap_context *context, uint32_t uid)
{
	size_t low = 0, high = context->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (context->uids[middle] < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int message_order(const void *key, const void *member)
{
	uint32_t uid = *(const uint32_t *)key;
	const struct message_record *message = member;

	return uid < message->uid ? -1 : uid > message->uid;
}

/* Which of the messages, that are in order of UIDs, are results as yet. */
static void results_mark(const struct step *step, bool *marks)
{
	const struct imap_context *context = step->context;

	memset(marks, 0, step->message_count * sizeof(*marks));
	for (size_t i = 0; i < step->message_count && !context->is_sort; i++) {
		size_t at = place_of_uid(context, step->messages[i].uid);

		marks[i] = at < context->count && context->uids[at] == step->messages[i].uid;
	}
	for (size_t i = 0; i < context->count && context->is_sort; i++) {
		const struct message_record *found = bsearch(&context->uids[i], step->messages,
			step->message_count, sizeof(*step->messages), message_order);

		if (found != NULL)
			marks[found - step->messages] = true;
	}
}

/* Whether the result at `at` comes before the message with `key`. */
static int is_before(struct step *step, size_t at, const struct message_record *message,
	struct bytes key, bool *is_before_r)
{
	const struct imap_view *view = step->session->view;
	struct imap_context *context = step->context;
	struct message_record other;
	struct buffer other_key = { NULL, 0, 0 };
	int order, rc = account_get_message_at(step->kv, view->account, view->mailbox,
			   context->uids[at], step->arena, &other);

	if (rc == 0)
		rc = imap_sort_key(
			&context->sort, step->session, step->kv, view->account, &other, &other_key);
	order = bytes_compare(buffer_bytes(&other_key), key);
	*is_before_r = order < 0 || (order == 0 && context->uids[at] < message->uid);
	buffer_deinit(&other_key);
	return rc;
}

/*
 * Where the message belongs in the order. A result that is expunged, though not yet told to be, has
 * no key any more: the search for a place goes past it.
 */
static int place_find(struct step *step, const struct message_record *message, size_t *place_r)
{
	struct imap_context *context = step->context;
	size_t low = 0, high = context->count;
	struct buffer key = { NULL, 0, 0 };
	int rc;

	if (!context->is_sort) {
		*place_r = place_of_uid(context, message->uid);
		return 0;
	}
	rc = imap_sort_key(&context->sort, step->session, step->kv, step->session->view->account,
		message, &key);
	while (rc == 0 && low < high) {
		size_t middle = low + (high - low) / 2, at = middle;
		bool before = false;

		do
			rc = is_before(step, at, message, buffer_bytes(&key), &before);
		while (rc == ERR_NOT_FOUND && ++at < high);
		if (rc == ERR_NOT_FOUND) {
			rc = 0;
			high = middle;
			continue;
		}
		if (before)
			low = at + 1;
		else
			high = middle;
	}
	buffer_deinit(&key);
	*place_r = low;
	return rc;
}

static int insert(struct step *step, struct telling *telling, const struct message_record *message)
{
	struct imap_context *context = step->context;
	struct imap_match match = { message->uid, 0 };
	size_t place;
	int rc = place_find(step, message, &place);

	if (rc < 0)
		return rc;
	mem_grow((void **)&context->uids, &context->room, context->count + 1,
		sizeof(*context->uids));
	memmove(context->uids + place + 1, context->uids + place,
		(context->count - place) * sizeof(*context->uids));
	context->uids[place] = message->uid;
	context->count++;
	if (context->is_sort)
		tell_pair(telling, "ADDTO", place + 1, &match, 1);
	return 0;
}

/* Those that came into a search are told in one set, as they have no positions. */
static void tell_additions(struct telling *telling, const struct uid_set *added)
{
	struct imap_match *matches = NULL;
	size_t count = 0, room = 0;

	for (size_t i = 0; i < added->count; i++) {
		for (uint64_t uid = added->ranges[i].first; uid <= added->ranges[i].last; uid++) {
			mem_grow((void **)&matches, &room, count + 1, sizeof(*matches));
			matches[count++] = (struct imap_match){ (uint32_t)uid, 0 };
		}
	}
	if (count > 0)
		tell_pair(telling, "ADDTO", 0, matches, count);
	free(matches);
}

static void context_step(struct step *step)
{
	struct imap_context *context = step->context;
	struct telling telling = { .session = step->session, .context = context };
	struct uid_set gone = { 0 }, added = { 0 };
	bool marks[STEP_COUNT];
	int rc;

	if (step->message_count == 0)
		return;
	results_mark(step, marks);
	context->search.now_ms = clock_now_ms(clock_system());
	imap_search_bind(&context->search, step->session->view);
	for (size_t i = 0; i < step->message_count; i++) {
		const struct message_record *message = &step->messages[i];
		bool was_result = marks[i];

		rc = imap_search_match(&context->search, step->kv, message);
		if (rc < 0 && step->rc == 0)
			step->rc = rc;
		if (rc == 0 && was_result)
			uid_set_add(&gone, message->uid, message->uid);
		else if (rc > 0 && !was_result)
			uid_set_add(&added, message->uid, message->uid);
	}
	if (gone.count > 0)
		remove_all(&telling, &gone);
	for (size_t i = 0; i < step->message_count && added.count > 0; i++) {
		if (!uid_set_has(&added, step->messages[i].uid))
			continue;
		rc = insert(step, &telling, &step->messages[i]);
		if (rc < 0 && step->rc == 0)
			step->rc = rc;
	}
	if (!context->is_sort)
		tell_additions(&telling, &added);
	telling_end(&telling);
	uid_set_deinit(&gone);
	uid_set_deinit(&added);
}

static int step_read(struct step *step)
{
	struct imap_view *view = step->session->view;
	int rc = 0;

	for (size_t i = 0; i < view->recheck.count && rc == 0; i++) {
		const struct uid_range *range = &view->recheck.ranges[i];
		uint64_t first = range->first;

		first = first > view->recheck_next ? first : view->recheck_next;
		if (first <= range->last)
			rc = imap_view_each_message(view, step->kv, (uint32_t)first, range->last,
				step->arena, step_collect, step);
	}
	return rc;
}

int imap_contexts_step(struct imap_session *session)
{
	struct imap_view *view = session->view;
	struct step step = { .session = session };
	int rc;

	if (view->contexts == NULL || view->recheck.count == 0)
		return 0;
	rc = imap_read_begin(session, &step.kv);
	if (rc < 0)
		return rc;
	step.arena = arena_new();
	rc = step_read(&step);
	for (step.context = view->contexts; rc >= 0 && step.context != NULL;
		step.context = step.context->next)
		context_step(&step);
	mail_read_end(&step.kv);
	mail_summaries_keep(session->mail);
	imap_body_deinit(&session->body);
	arena_free(&step.arena);
	free(step.messages);
	if (step.rc < 0)
		imap_log_failure(session, step.rc, NULL);
	return rc;
}
