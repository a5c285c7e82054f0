/* REPLACE and UID REPLACE (RFC 8508): APPEND and EXPUNGE in one commit. */
#include "imap/imap_append.h"
#include "imap/imap_commands.h"
#include "imap/imap_reply.h"
#include "imap/imap_select_set.h"
#include "imap/imap_target.h"

#include "mail/shared.h"

#define EXPUNGE_RIGHTS (ACL_MARK | ACL_EXPUNGE)

static enum net_result replace_done(
	struct imap_session *session, uint32_t uidvalidity, uint32_t uid)
{
	/* Before the EXPUNGE (RFC 8508, 4.1). */
	imap_printf(
		session, "* OK [APPENDUID %u %u] Replacement message ready\r\n", uidvalidity, uid);
	return session->is_condstore ? imap_ok_highestmodseq(session, "Replaced")
				     : imap_ok(session, "Replaced");
}

static enum net_result replace_run(
	struct imap_session *session, struct imap_append *append, uint32_t old, struct bytes name)
{
	struct shared_place from = imap_view_place(session->view), to;
	const char *answer = NULL;
	struct imap_target target;
	struct error error = { 0 };
	uint32_t uidvalidity, uid;
	uint64_t position = 0;
	int rc;

	if ((session->view->rights & EXPUNGE_RIGHTS) != EXPUNGE_RIGHTS)
		return imap_no(session, "[NOPERM] You may not expunge this message");
	rc = imap_target_find(session, NULL, name, ACL_INSERT, &target, &error);
	if (rc == ERR_NOT_FOUND)
		return imap_no_destination(session, name);
	if (rc == 0 && (answer = imap_append_refusal(append, &target)) != NULL)
		return imap_no(session, "%s", answer);
	if (rc == 0)
		rc = imap_append_join(session, append, &answer);
	if (rc < 0 && answer != NULL)
		return imap_no(session, "%s", answer);
	if (rc == 0)
		rc = imap_append_prepare(session->mail, append);
	if (rc == 0) {
		to = imap_target_place(&target);
		rc = shared_replace(session->mail, &from, old, &to, &append->message, &error,
			&uidvalidity, &uid, &position);
	}
	if (rc == ERR_NOT_FOUND)
		return imap_no_destination(session, name);
	if (rc == ERR_CHANGED)
		return imap_no(session, "[EXPUNGEISSUED] The message to replace is gone");
	if (rc < 0)
		return imap_fail(session, rc, &error);
	imap_wrote(session, position);
	return replace_done(session, uidvalidity, uid);
}

/* The UID of the one message that is named; 0 if there is none. */
static int find_old(struct imap_session *session, uint32_t number, uint32_t *uid_r)
{
	const struct imap_view *view = session->view;
	size_t index;

	if ((session->command->flags & COMMAND_IS_UID) != 0) {
		*uid_r = imap_view_has(view, number, &index) ? number : 0;
		return 0;
	}
	if (number > view->count)
		return ERR_INVALID;
	*uid_r = view->uids[number - 1];
	return 0;
}

static int parse_number(struct imap_session *session, struct imap_parser *args, uint32_t *number_r)
{
	const struct imap_view *view = session->view;
	bool is_uid = (session->command->flags & COMMAND_IS_UID) != 0;
	uint32_t last = view->count == 0 ? 0 : view->uids[view->count - 1];

	if (imap_parse_take(args, '*'))
		*number_r = is_uid ? last : (uint32_t)view->count;
	else if (imap_parse_number32(args, number_r) < 0)
		return ERR_INVALID;
	if (*number_r == 0)
		return imap_parse_fail(args, ERR_INVALID, "Invalid message number");
	return imap_parse_space(args);
}

enum net_result cmd_replace(struct imap_session *session, struct imap_parser *args)
{
	struct imap_append append = { .parts = NULL };
	uint32_t number, old = 0;
	enum net_result result;
	struct bytes name;

	if (imap_parse_space(args) < 0 || parse_number(session, args, &number) < 0 ||
		imap_parse_mailbox(args, &name) < 0 || imap_parse_append(args, &append) < 0 ||
		imap_parse_end(args) < 0)
		result = imap_bad_args(session, args);
	else if (find_old(session, number, &old) < 0)
		result = imap_bad(session, "Invalid message number");
	else if (old == 0)
		result = imap_no(session, "[NONEXISTENT] No message has that UID");
	else
		result = replace_run(session, &append, old, name);
	imap_append_deinit(&append);
	return result;
}
