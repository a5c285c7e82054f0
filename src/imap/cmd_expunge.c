/* EXPUNGE and UID EXPUNGE (RFC 3501, 6.4.3; RFC 4315, 2.1). */
#include "imap/imap_commands.h"
#include "imap/imap_reply.h"
#include "imap/imap_select_set.h"
#include "imap/imap_target.h"

/* `uids` NULL: all with \Deleted. */
static enum net_result expunge(struct imap_session *session, const struct uid_set *uids)
{
	struct imap_view *view = session->view;
	struct uid_set expunged = { 0 };
	struct error error = { 0 };
	uint64_t position = 0;
	bool is_empty;
	int rc;

	rc = imap_view_check(session, ACL_EXPUNGE, &error);
	if (rc < 0)
		return imap_fail(session, rc, &error);
	rc = message_expunge(
		session->mail, view->account, view->mailbox, uids, &error, &expunged, &position);
	is_empty = expunged.count == 0;
	uid_set_deinit(&expunged);
	imap_wrote(session, position);
	if (rc < 0)
		return imap_fail(session, rc, &error);
	if (is_empty || !session->is_condstore)
		return imap_ok(session, "Expunged");
	return imap_ok_highestmodseq(session, "Expunged");
}

enum net_result cmd_expunge(struct imap_session *session, struct imap_parser *args)
{
	if (imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	return expunge(session, NULL);
}

enum net_result cmd_uid_expunge(struct imap_session *session, struct imap_parser *args)
{
	struct imap_sequence sequence;
	struct uid_set uids = { 0 };
	enum net_result result;

	if (imap_parse_space(args) < 0 || imap_parse_sequence(args, &sequence) < 0 ||
		imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	if (imap_select_uids(session, &sequence, true, &uids) < 0)
		result = imap_bad(session, "Invalid sequence set");
	else if (uids.count == 0)
		result = imap_ok(session, "Nothing to expunge");
	else
		result = expunge(session, &uids);
	uid_set_deinit(&uids);
	return result;
}
