/* SELECT, EXAMINE, CLOSE, UNSELECT (RFC 3501, 6.3.1 to 6.4.2; RFC 3691; RFC 7162, 3.2.5). */
#include "imap/imap_annotation.h"
#include "imap/imap_commands.h"
#include "imap/imap_mailbox.h"
#include "imap/imap_qresync.h"
#include "imap/imap_quota.h"
#include "imap/imap_reply.h"
#include "imap/imap_server_private.h"
#include "imap/imap_target.h"
#include "imap/imap_update.h"

/* How many messages are looked at for the first unseen one; if it lies beyond, it is not told. */
#define UNSEEN_SCAN_MAX 200

/* Without any of them the answer is READ-ONLY (RFC 4314, 5.2). "s" is not among them, for \Seen is
 * each user's own; with it, it can be set all the same, as PERMANENTFLAGS tells. */
#define WRITING_RIGHTS (ACL_WRITE | ACL_INSERT | ACL_MARK | ACL_EXPUNGE)

struct select {
	struct bytes name;
	struct bytes given; /* the name as the client wrote it */
	bool is_read_only;
	bool wants_annotations; /* told when they change (RFC 5257, 4.2) */
	bool has_qresync;
	struct imap_qresync qresync;
};

static int parse_parameter(
	struct imap_session *session, struct imap_parser *args, struct select *select)
{
	if (imap_parse_take_word(args, "CONDSTORE")) {
		session->is_condstore = true;
		return 0;
	}
	if (imap_parse_take_word(args, "ANNOTATE")) {
		select->wants_annotations = true;
		return 0;
	}
	if (!imap_parse_take_word(args, "QRESYNC"))
		return imap_parse_fail(args, ERR_INVALID, "Unknown parameter");
	if (!session->is_qresync)
		return imap_parse_fail(args, ERR_INVALID, "QRESYNC is not enabled");
	if (select->has_qresync)
		return imap_parse_fail(args, ERR_INVALID, "QRESYNC given twice");
	if (imap_parse_space(args) < 0 || imap_parse_qresync(args, &select->qresync) < 0)
		return ERR_INVALID;
	select->has_qresync = true;
	if (session->is_uidonly && select->qresync.has_numbers)
		return imap_parse_fail(
			args, ERR_INVALID, "[UIDREQUIRED] No message numbers with UIDONLY");
	return 0;
}

static int parse_select(
	struct imap_session *session, struct imap_parser *args, struct select *select)
{
	struct imap_parser before;

	if (imap_parse_space(args) < 0)
		return ERR_INVALID;
	before = *args;
	if (imap_parse_mailbox(args, &select->name) < 0)
		return ERR_INVALID;
	imap_parse_astring(&before, &select->given);
	if (!imap_parse_take(args, ' '))
		return imap_parse_end(args);
	if (imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	do {
		if (parse_parameter(session, args, select) < 0)
			return ERR_INVALID;
	} while (imap_parse_take(args, ' '));
	return imap_parse_expect(args, ')') < 0 ? ERR_INVALID : imap_parse_end(args);
}

struct unseen_scan {
	struct imap_view *view;
	size_t count;
	uint32_t uid; /* 0: not found */
};

static int scan_unseen(void *context, const struct message_record *message)
{
	struct unseen_scan *scan = context;

	imap_view_note_keywords(scan->view, message);
	if (scan->uid == 0 && !message_has_flag(message, BYTES_LITERAL("\\Seen")))
		scan->uid = message->uid;
	return ++scan->count == UNSEEN_SCAN_MAX ? 1 : 0;
}

/* The first unseen message and the keywords, unless it is known that they are as before. */
static int look_at_first(struct imap_session *session, struct kv_txn *kv)
{
	struct imap_view *view = session->view;
	struct unseen_scan scan = { .view = view };
	int rc;

	if (view->looked_modseq == view->modseq && view->looked_modseq != 0)
		return 0;
	rc = imap_view_each_message(view, kv, 1, UINT32_MAX, session->arena, scan_unseen, &scan);
	view->unseen_first = scan.uid;
	if (rc >= 0 && view->seen_account == 0)
		view->looked_modseq = view->modseq;
	return rc < 0 ? rc : 0;
}

/* The name that the client has to know it by (RFC 9051, 6.3.2 and 6.3.9.7). */
static void put_name(struct imap_session *session, const struct select *select)
{
	imap_put(session, "* LIST () \"/\" ");
	imap_put_mailbox(session, select->name);
	if (!bytes_equal(select->given, select->name)) {
		imap_put(session, " (\"OLDNAME\" (");
		imap_put_mailbox(session, select->given);
		imap_put(session, "))");
	}
	imap_put(session, "\r\n");
}

static void put_recent(struct imap_session *session, const struct mailbox_record *mailbox)
{
	struct imap_view *view = session->view;

	view->recent_first = imap_recent_first(
		session->server->recent, mailbox->id, mailbox->uidnext, !view->is_read_only);
	view->recent_told = imap_view_recent_count(view);
	imap_printf(session, "* %zu RECENT\r\n", view->recent_told);
}

static void put_state(struct imap_session *session, const struct select *select,
	const struct mailbox_record *mailbox)
{
	struct imap_view *view = session->view;
	uint64_t modseq = view->modseq > 0 ? view->modseq : 1;

	view->told_count = view->count;
	imap_put_mailbox_flags(session);
	imap_printf(session, "* %zu EXISTS\r\n", view->count);
	/* IMAP4rev2 knows neither \Recent nor UNSEEN. */
	if (!session->is_rev2)
		put_recent(session, mailbox);
	if (view->unseen_first != 0 && !session->is_rev2 && !session->is_uidonly)
		imap_printf(session, "* OK [UNSEEN %zu] First unseen\r\n",
			imap_view_find(view, view->unseen_first) + 1);
	imap_printf(session, "* OK [UIDVALIDITY %u] UIDs valid\r\n", view->uidvalidity);
	imap_printf(session, "* OK [UIDNEXT %u] Next UID\r\n", mailbox->uidnext);
	imap_printf(session, "* OK [HIGHESTMODSEQ %llu] Highest\r\n", (unsigned long long)modseq);
	imap_put(session, "* OK [MAILBOXID (");
	imap_put_mailbox_id(&session->out, mailbox->id);
	imap_put(session, ")] Mailbox id\r\n");
	view->wants_annotations = select->wants_annotations;
	if (view->is_read_only)
		imap_put(session, "* OK [ANNOTATIONS READ-ONLY] Annotations are kept\r\n");
	else
		imap_printf(session, "* OK [ANNOTATIONS %u%s] Annotations are kept\r\n",
			ANNOTATION_VALUE_SIZE_MAX,
			session->identity.account == 0 ? " NOPRIVATE" : "");
	if (session->is_rev2)
		put_name(session, select);
}

/* What is in the mailbox: what was known of it last and what changed since, or all. */
static int fill_view(struct imap_session *session, struct kv_txn *kv, uint64_t highestmodseq)
{
	struct imap_uid_cache *cache = session->server->uid_cache;
	struct imap_view *view = session->view;
	int rc = imap_uid_cache_take(cache, view, highestmodseq)
			 ? imap_view_renew(view, session->mail, kv)
			 : imap_view_gather(view, session->mail, kv);

	if (rc == 0)
		rc = look_at_first(session, kv);
	if (rc == 0)
		imap_uid_cache_put(cache, view);
	view->gathered_count = 0;
	return rc;
}

/* Reads the mailbox and makes it the selected one; all of one snapshot. ERR_CHANGED: as
 * imap_view_gather(). */
static int open_mailbox(
	struct imap_session *session, struct kv_txn *kv, struct select *select, struct error *error)
{
	struct account_header header;
	struct imap_target target;
	struct account_mode mode;
	struct shared_place place;
	int rc;

	if (session->identity.is_read_only)
		select->is_read_only = true;
	rc = imap_target_find(session, kv, select->name, ACL_READ, &target, error);
	if (rc < 0)
		return rc;
	rc = account_load(kv, target.account, &header);
	if (rc == 0)
		rc = account_mode_get(kv, target.account, &mode);
	if (rc < 0)
		return rc;
	if (account_mode_is_replica(&mode, mail_node(session->mail)))
		select->is_read_only = true;
	place = imap_target_place(&target);
	session->view = imap_view_new(&target.mailbox, &place, select->is_read_only);
	session->view->owner = header.id;
	rc = fill_view(session, kv, target.mailbox.highestmodseq);
	if (rc < 0)
		return rc;
	put_state(session, select, &target.mailbox);
	imap_quota_warn(session, kv, target.account);
	if (!select->has_qresync || select->qresync.uidvalidity != target.mailbox.uidvalidity)
		return 0;
	/* Changed messages are told by the update that ends the command. */
	return imap_find_earlier(session, kv, select->qresync.modseq,
		select->qresync.has_known ? &select->qresync.known : NULL, true,
		&session->view->changed);
}

/* ERR_CHANGED: once more. */
static int try_open(struct imap_session *session, struct select *select, struct error *error)
{
	uint64_t position = 0;
	struct kv_txn *kv;
	int rc = imap_read_begin(session, &kv);

	if (rc < 0)
		return rc;
	rc = open_mailbox(session, kv, select, error);
	mail_read_end(&kv);
	if (rc != ERR_CHANGED)
		return rc;
	rc = imap_view_settle(session->view, session->mail, &position);
	imap_wrote(session, position);
	imap_session_unselect(session);
	return rc < 0 ? rc : ERR_CHANGED;
}

static enum net_result run_select(struct imap_session *session, struct select *select)
{
	struct error error = { 0 };
	bool is_read_only;
	int rc;

	if (session->view != NULL) {
		imap_session_unselect(session);
		imap_put(session, "* OK [CLOSED] Previous mailbox closed\r\n");
	}
	imap_catch_up(session);
	do
		rc = try_open(session, select, &error);
	while (rc == ERR_CHANGED);
	if (rc < 0) {
		imap_session_unselect(session);
		return imap_fail(session, rc, &error);
	}
	session->state = IMAP_SELECTED;
	is_read_only = select->is_read_only || (session->view->rights & WRITING_RIGHTS) == 0;
	return imap_ok(session, "[%s] Selected", is_read_only ? "READ-ONLY" : "READ-WRITE");
}

static enum net_result select_or_examine(
	struct imap_session *session, struct imap_parser *args, bool is_read_only)
{
	struct select select = { .is_read_only = is_read_only };
	enum net_result result;

	if (parse_select(session, args, &select) < 0)
		result = imap_bad_args(session, args);
	else
		result = run_select(session, &select);
	imap_qresync_deinit(&select.qresync);
	return result;
}

enum net_result cmd_select(struct imap_session *session, struct imap_parser *args)
{
	return select_or_examine(session, args, false);
}

enum net_result cmd_examine(struct imap_session *session, struct imap_parser *args)
{
	return select_or_examine(session, args, true);
}

enum net_result cmd_unselect(struct imap_session *session, struct imap_parser *args)
{
	if (imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	imap_session_unselect(session);
	return imap_ok(session, "Unselected");
}

/* Expunges without telling of it. */
enum net_result cmd_close(struct imap_session *session, struct imap_parser *args)
{
	struct uid_set expunged = { 0 };
	struct error error = { 0 };
	uint64_t position = 0;
	int rc = 0;

	if (imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	/* Without the right it is closed all the same (RFC 4314, section 4). */
	if (!session->view->is_read_only && (session->view->rights & ACL_EXPUNGE) != 0)
		rc = message_expunge(session->mail, session->view->account, session->view->mailbox,
			NULL, &error, &expunged, &position);
	imap_wrote(session, position);
	uid_set_deinit(&expunged);
	if (rc < 0)
		return imap_fail(session, rc, &error);
	imap_session_unselect(session);
	return imap_ok(session, "Closed");
}
