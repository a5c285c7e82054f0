/* STORE (RFC 3501, 6.4.6; RFC 7162, 3.1.3). */
#include "imap/imap_commands.h"
#include "imap/imap_group.h"
#include "imap/imap_reply.h"
#include "imap/imap_select_set.h"
#include "imap/imap_store.h"
#include "imap/imap_update.h"

struct store {
	struct imap_sequence sequence;
	uint64_t unchanged_since;
	enum flag_operation operation;
	bool is_silent;
	struct imap_flags flags;
	struct annotation *annotations; /* instead of flags */
	size_t annotation_count;
};

static int parse_modifiers(
	struct imap_session *session, struct imap_parser *args, struct store *store)
{
	store->unchanged_since = UINT64_MAX;
	if (!imap_parse_take(args, '('))
		return 0;
	if (!imap_parse_take_word(args, "UNCHANGEDSINCE"))
		return imap_parse_fail(args, ERR_INVALID, "Unknown STORE modifier");
	if (imap_parse_space(args) < 0 || imap_parse_modseq(args, &store->unchanged_since) < 0 ||
		imap_parse_expect(args, ')') < 0)
		return ERR_INVALID;
	imap_enable_condstore(session);
	return imap_parse_space(args);
}

static int parse_item(struct imap_parser *args, struct store *store)
{
	if (imap_parse_take_word(args, "ANNOTATION")) {
		if (imap_parse_space(args) < 0)
			return ERR_INVALID;
		return imap_parse_annotations(args, &store->annotations, &store->annotation_count);
	}
	store->operation = FLAGS_REPLACE;
	if (imap_parse_take(args, '+'))
		store->operation = FLAGS_ADD;
	else if (imap_parse_take(args, '-'))
		store->operation = FLAGS_REMOVE;
	store->is_silent = imap_parse_take_word(args, "FLAGS.SILENT");
	if (!store->is_silent && !imap_parse_take_word(args, "FLAGS"))
		return imap_parse_fail(args, ERR_INVALID, "Unknown STORE item");
	if (imap_parse_space(args) < 0)
		return ERR_INVALID;
	return imap_parse_store_flags(args, &store->flags);
}

/* Notes what is to be told of it, and what is not. */
static void note_outcome(struct imap_view *view, const struct store *store,
	const struct uid_set *uids, const struct uid_set *changed, const struct uid_set *modified)
{
	if (store->is_silent) {
		for (size_t i = 0; i < changed->count; i++)
			uid_set_add(
				&view->silent, changed->ranges[i].first, changed->ranges[i].last);
		return;
	}
	/* The new value is told of unchanged messages too (RFC 3501, 6.4.6). */
	if (modified->count == 0) {
		for (size_t i = 0; i < uids->count; i++)
			uid_set_add(&view->changed, uids->ranges[i].first, uids->ranges[i].last);
	}
}

enum net_result imap_store_done(struct imap_session *session, const struct uid_set *modified)
{
	bool is_uid = (session->command->flags & COMMAND_IS_UID) != 0;
	struct buffer text = { NULL, 0, 0 };
	struct uid_set numbers = { 0 };
	enum net_result result;

	if (modified->count == 0)
		return imap_ok(session, "Stored");
	if (!is_uid)
		imap_set_to_numbers(session->view, modified, &numbers);
	imap_set_write(&text, is_uid ? modified : &numbers);
	result = imap_ok(session, "[MODIFIED %s] Conditional STORE failed", buffer_string(&text));
	uid_set_deinit(&numbers);
	buffer_deinit(&text);
	return result;
}

/* Whether at least one of the flags may be changed (RFC 4314, section 4); clearing all is to change
 * any. */
static bool may_store(const struct shared_place *place, const struct store *store)
{
	unsigned rights = 0;

	for (size_t i = 0; i < store->flags.count; i++)
		rights |= acl_right_for_flag(store->flags.names[i]);
	if (store->operation == FLAGS_REPLACE)
		rights = ACL_SEEN | ACL_WRITE | ACL_MARK;
	return rights == 0 || (place->rights & rights) != 0;
}

static enum net_result store_messages(
	struct imap_session *session, const struct store *store, const struct uid_set *uids)
{
	struct imap_view *view = session->view;
	struct shared_place place = imap_view_place(view);
	struct uid_set changed = { 0 }, modified = { 0 };
	struct error error = { 0 };
	enum net_result result;
	uint64_t position = 0;
	int rc;

	if (!may_store(&place, store))
		return imap_no(session, "[NOPERM] You may not change these flags here");
	if (uids->count == 0)
		return imap_ok(session, "No messages");
	rc = shared_store(session->mail, &place, uids, store->operation, store->flags.names,
		store->flags.count, store->unchanged_since, &error, &changed, &modified, &position);
	imap_wrote(session, position);
	note_outcome(view, store, uids, &changed, &modified);
	result = rc < 0 ? imap_fail(session, rc, &error) : imap_store_done(session, &modified);
	uid_set_deinit(&changed);
	uid_set_deinit(&modified);
	return result;
}

/* Others are let in between the steps of a large one. */
static int join_or_leave(
	struct imap_session *session, const struct store *store, const struct uid_set *uids)
{
	bool is_small =
		store->annotations == NULL && uid_set_size(uids) <= IMAP_GROUP_MESSAGE_COUNT_MAX;

	return is_small ? imap_group_join(session) : imap_group_leave(session);
}

enum net_result cmd_store(struct imap_session *session, struct imap_parser *args)
{
	bool is_uid = (session->command->flags & COMMAND_IS_UID) != 0;
	struct uid_set uids = { 0 };
	struct store store = { 0 };
	enum net_result result;

	if (imap_parse_space(args) < 0 || imap_parse_sequence(args, &store.sequence) < 0 ||
		imap_parse_space(args) < 0 || parse_modifiers(session, args, &store) < 0 ||
		parse_item(args, &store) < 0 || imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	if (imap_select_uids(session, &store.sequence, is_uid, &uids) < 0)
		result = imap_bad(session, "Invalid message number");
	else if (join_or_leave(session, &store, &uids) < 0)
		result = imap_bye(session, IMAP_GROUP_LOST_TEXT);
	else if (store.annotations != NULL)
		result = imap_store_annotations(session, &uids, store.annotations,
			store.annotation_count, store.unchanged_since);
	else
		result = store_messages(session, &store, &uids);
	uid_set_deinit(&uids);
	return result;
}
