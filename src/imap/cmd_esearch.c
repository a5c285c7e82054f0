/*
 * ESEARCH: one search in several mailboxes (RFC 7377), one after the other, each with a view of its
 * own. The mailboxes are those that the user may read at the beginning; one that goes meanwhile is
 * left out.
 */
#include "imap/imap_commands.h"
#include "imap/imap_list.h"
#include "imap/imap_reply.h"
#include "imap/imap_returns.h"
#include "imap/imap_update.h"

#include "base/map.h"
#include "base/mem.h"

#include <stdlib.h>

enum source { /* a set of bits */
	SOURCE_SELECTED = 1,
	SOURCE_INBOXES = 2,
	SOURCE_PERSONAL = 4,
	SOURCE_SUBSCRIBED = 8,
	SOURCE_MAILBOXES = 16,
	SOURCE_SUBTREE = 32,
	SOURCE_SUBTREE_ONE = 64
};

struct named { /* a mailbox of "mailboxes", or the top of a subtree */
	enum source source;
	struct bytes name;
};

struct place { /* a mailbox to be searched */
	struct imap_target target;
	struct bytes name; /* the client's */
	bool is_selected;
};

struct esearch_work {
	struct imap_session *session;
	unsigned sources;
	struct named *named;
	size_t named_count;
	struct imap_returns returns;
	struct place *places;
	size_t place_count;
	size_t place_room;
	struct map known;       /* of mailbox ids: each is searched once */
	size_t at;              /* the place that is searched */
	bool is_open;           /* the look is in it */
	struct imap_view *view; /* its view, unless it is the selected one */
	struct imap_look look;
	int rc;
};

static void work_free(void *context)
{
	struct esearch_work *work = context;

	imap_look_deinit(&work->look);
	imap_view_free(&work->view);
	map_deinit(&work->known);
	free(work->places);
}

/* ---- parsing ---- */

static int add_named(struct imap_parser *args, struct esearch_work *work, enum source source)
{
	if (work->named == NULL)
		work->named = arena_alloc(args->arena, IMAP_LIST_COUNT_MAX * sizeof(*work->named));
	if (work->named_count == IMAP_LIST_COUNT_MAX)
		return imap_parse_fail(args, ERR_TOO_LARGE, "Too many mailboxes");
	work->named[work->named_count].source = source;
	return imap_parse_mailbox(args, &work->named[work->named_count++].name);
}

/* One mailbox, or several in parentheses. */
static int parse_names(struct imap_parser *args, struct esearch_work *work, enum source source)
{
	if (imap_parse_space(args) < 0)
		return ERR_INVALID;
	if (!imap_parse_take(args, '('))
		return add_named(args, work, source);
	do {
		int rc = add_named(args, work, source);

		if (rc < 0)
			return rc;
	} while (imap_parse_take(args, ' '));
	return imap_parse_expect(args, ')');
}

static int parse_source(struct imap_parser *args, struct esearch_work *work)
{
	static const struct {
		const char *name;
		enum source source;
		bool takes_names;
	} names[] = { { "SELECTED", SOURCE_SELECTED, false }, { "INBOXES", SOURCE_INBOXES, false },
		{ "PERSONAL", SOURCE_PERSONAL, false }, { "SUBSCRIBED", SOURCE_SUBSCRIBED, false },
		{ "MAILBOXES", SOURCE_MAILBOXES, true }, { "SUBTREE", SOURCE_SUBTREE, true },
		{ "SUBTREE-ONE", SOURCE_SUBTREE_ONE, true } };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!imap_parse_take_word(args, names[i].name))
			continue;
		work->sources |= names[i].source;
		return names[i].takes_names ? parse_names(args, work, names[i].source) : 0;
	}
	/* Neither selected-delayed nor scope options (none are defined) have a meaning here. */
	return imap_parse_fail(args, ERR_INVALID, "Unknown source option");
}

static int parse_sources(struct imap_parser *args, struct esearch_work *work)
{
	if (!imap_parse_take_word(args, "IN")) {
		work->sources = SOURCE_SELECTED;
		return 0;
	}
	if (imap_parse_space(args) < 0 || imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	do {
		int rc = parse_source(args, work);

		if (rc < 0)
			return rc;
	} while (imap_parse_take(args, ' '));
	if (imap_parse_expect(args, ')') < 0)
		return ERR_INVALID;
	return imap_parse_space(args);
}

/* What has no meaning in the mailboxes that are to be searched. */
static int check(
	const struct imap_session *session, struct imap_parser *args, struct esearch_work *work)
{
	bool only_selected = work->sources == SOURCE_SELECTED;

	if ((work->sources & SOURCE_SELECTED) != 0 && session->view == NULL)
		return imap_parse_fail(args, ERR_INVALID, "No mailbox selected");
	if (!only_selected && (work->returns.options & RETURN_SAVE) != 0)
		return imap_parse_fail(args, ERR_INVALID, "SAVE is for the selected mailbox alone");
	/* RFC 7377, 2.2: of what is not selected it is not kept up to date. */
	if ((work->returns.options & RETURN_UPDATE) != 0 && session->view == NULL)
		return imap_parse_fail(args, ERR_INVALID, "No mailbox selected for UPDATE");
	if (!only_selected && work->look.search.has_numbers)
		return imap_parse_fail(
			args, ERR_INVALID, "Message numbers are for the selected mailbox alone");
	return 0;
}

static int parse(struct imap_session *session, struct imap_parser *args, struct esearch_work *work)
{
	int rc = imap_parse_space(args);

	if (rc == 0)
		rc = parse_sources(args, work);
	if (rc == 0)
		rc = imap_parse_returns(args, &work->returns);
	if (rc == 0)
		rc = imap_parse_search(args, false, &work->look.search);
	if (!work->returns.is_extended) {
		work->returns.is_extended = true;
		work->returns.options = RETURN_ALL;
	}
	return rc == 0 ? check(session, args, work) : rc;
}

/* ---- finding the mailboxes ---- */

/* `needs`: the rights without which it is passed over. */
static void add_place(struct esearch_work *work, const struct imap_target *target,
	struct bytes name, unsigned needs)
{
	const struct imap_view *selected = work->session->view;
	struct bytes id;
	struct place *place;

	if ((target->rights & needs) != needs)
		return;
	id = arena_copy(work->session->arena,
		bytes_of(target->mailbox.id.bytes, sizeof(target->mailbox.id.bytes)));
	if (map_get(&work->known, id) != NULL)
		return;
	map_put(&work->known, id, work);
	mem_grow((void **)&work->places, &work->place_room, work->place_count + 1,
		sizeof(*work->places));
	place = &work->places[work->place_count++];
	*place = (struct place){ .target = *target, .name = name };
	place->is_selected = selected != NULL && selected->account == target->account &&
			     id128_equal(selected->mailbox, target->mailbox.id);
}

/* Whether `name` is `top`, or below it: at any depth, or just one level. */
static bool is_in_subtree(struct bytes name, struct bytes top, bool is_one)
{
	if (top.len > 0 && bytes_equal(name, top))
		return true;
	if (top.len > 0) {
		if (!bytes_start_with(name, top) || name.ptr[top.len] != '/')
			return false;
		bytes_skip(&name, top.len + 1);
	}
	return !is_one || bytes_find(name, '/') == name.len;
}

static bool is_source(const struct esearch_work *work, const struct imap_list_entry *entry)
{
	const struct imap_target *target = entry->target;

	if ((work->sources & SOURCE_PERSONAL) != 0 && target->is_own)
		return true;
	/* Mail is delivered to INBOX. */
	if ((work->sources & SOURCE_INBOXES) != 0 && target->is_own &&
		bytes_equal_string(target->name, "INBOX"))
		return true;
	if ((work->sources & SOURCE_SUBSCRIBED) != 0 && entry->is_subscribed)
		return true;
	for (size_t i = 0; i < work->named_count; i++) {
		const struct named *named = &work->named[i];

		if (named->source == SOURCE_MAILBOXES
				? bytes_equal(entry->name, named->name)
				: is_in_subtree(entry->name, named->name,
					  named->source == SOURCE_SUBTREE_ONE))
			return true;
	}
	return false;
}

/* Those named, found as by SELECT: LIST may not show all that one may read. */
static int find_named(struct esearch_work *work, struct kv_txn *kv)
{
	for (size_t i = 0; i < work->named_count; i++) {
		struct imap_target target;
		int rc;

		if (work->named[i].source != SOURCE_MAILBOXES)
			continue;
		rc = imap_target_find(
			work->session, kv, work->named[i].name, ACL_READ, &target, NULL);
		if (rc == 0)
			add_place(work, &target, work->named[i].name, ACL_READ);
		else if (rc != ERR_NOT_FOUND && rc != ERR_REFUSED)
			return rc;
	}
	return 0;
}

static int find_selected(struct esearch_work *work, struct kv_txn *kv, const struct imap_list *list)
{
	const struct imap_view *view = work->session->view;
	struct imap_target target = { .account = view->account,
		.rights = view->rights | ACL_LOOKUP | ACL_READ,
		.seen_account = view->seen_account };
	struct bytes name = bytes_of_string(view->name);
	int rc = account_get_mailbox(
		kv, view->account, view->mailbox, work->session->arena, &target.mailbox);

	/* It may have been renamed since. */
	for (size_t i = 0; i < list->count; i++) {
		if (list->entries[i].target != NULL &&
			list->entries[i].target->account == view->account &&
			id128_equal(list->entries[i].target->mailbox.id, view->mailbox))
			name = list->entries[i].name;
	}
	if (rc == 0)
		add_place(work, &target, name, ACL_LOOKUP | ACL_READ);
	return rc;
}

static int find_places(struct esearch_work *work)
{
	struct imap_session *session = work->session;
	struct imap_list list = { NULL, 0 };
	struct kv_txn *kv;
	int rc;

	imap_catch_up(session);
	rc = imap_read_begin(session, &kv);
	if (rc < 0)
		return rc;
	rc = imap_list_read(session, kv, true, &list);
	if (rc == 0 && (work->sources & SOURCE_SELECTED) != 0)
		rc = find_selected(work, kv, &list);
	if (rc == 0)
		rc = find_named(work, kv);
	for (size_t i = 0; i < list.count && rc == 0; i++) {
		if (list.entries[i].target != NULL && is_source(work, &list.entries[i]))
			add_place(work, list.entries[i].target, list.entries[i].name,
				ACL_LOOKUP | ACL_READ);
	}
	mail_read_end(&kv);
	return rc;
}

/* ---- searching one after the other ---- */

/* The place's view, as it is now. ERR_NOT_FOUND: the mailbox is gone. */
static int place_open(struct esearch_work *work, const struct place *place)
{
	struct imap_session *session = work->session;
	const struct imap_view *view = session->view;
	struct shared_place shared = imap_target_place(&place->target);
	int rc = 0;

	if (!place->is_selected) {
		view = work->view = imap_view_new(&place->target.mailbox, &shared, true);
		rc = imap_update_gather(session, work->view);
	}
	if (rc < 0)
		return rc;
	imap_look_begin(&work->look, view);
	work->is_open = true;
	work->look.is_of_many = work->place_count > 1;
	return 0;
}

static void place_close(struct esearch_work *work)
{
	imap_view_free(&work->view);
	work->is_open = false;
	work->at++;
}

/* What is found in a mailbox is told at once; nothing is of one without matches (RFC 7377, 2.1). */
static void put_place(struct esearch_work *work, const struct place *place)
{
	struct imap_session *session = work->session;
	struct imap_results results = { .view = work->look.search.view,
		.matches = work->look.matches,
		.count = work->look.match_count,
		.is_uid = true,
		.tells_modseq = work->look.search.has_modseq,
		.mailbox = place->name };

	if ((work->returns.options & RETURN_SAVE) != 0)
		imap_save_results(session, &work->returns, &results);
	if (results.count > 0 && work->returns.options != RETURN_SAVE)
		imap_put_esearch(session, &work->returns, &results);
}

static enum net_result esearch_run(struct imap_session *session)
{
	struct esearch_work *work = session->work;

	while (work->at < work->place_count) {
		const struct place *place = &work->places[work->at];
		enum net_result result;
		int rc = work->is_open ? 0 : place_open(work, place);

		if (rc == 0)
			rc = imap_look_turn(&work->look, esearch_run, &result);
		if (rc > 0)
			return result;
		if (rc == 0)
			put_place(work, place);
		else if (rc != ERR_NOT_FOUND && work->rc == 0)
			work->rc = rc;
		place_close(work);
		if (imap_is_full(session)) {
			session->resume = esearch_run;
			return NET_AGAIN;
		}
	}
	if (work->rc == 0)
		return imap_ok(session, "Searched");
	if ((work->returns.options & RETURN_SAVE) != 0)
		uid_set_deinit(&session->view->saved);
	return imap_fail(session, work->rc, NULL);
}

enum net_result cmd_esearch(struct imap_session *session, struct imap_parser *args)
{
	struct esearch_work *work = arena_zalloc(session->arena, sizeof(*work));
	int rc;

	session->work = work;
	session->work_free = work_free;
	work->session = session;
	imap_look_prepare(&work->look, session);
	rc = parse(session, args, work);
	if (rc < 0)
		return imap_look_refuse(session, args, rc);
	/* Only the selected mailbox is watched: no updates of searches in others (RFC 5267, 4.3.1).
	 */
	if ((work->returns.options & RETURN_UPDATE) != 0) {
		imap_put(session, "* NO [NOUPDATE ");
		imap_put_string(&session->out, bytes_of_string(session->tag));
		imap_put(session, "] Use UID SEARCH for updates\r\n");
	}
	rc = find_places(work);
	if (rc < 0)
		return imap_fail(session, rc, NULL);
	return esearch_run(session);
}
