/* COPY and MOVE (RFC 3501, 6.4.7; RFC 6851; RFC 4315, section 3). */
#include "imap/imap_commands.h"
#include "imap/imap_reply.h"
#include "imap/imap_select_set.h"
#include "imap/imap_target.h"

#include <stdlib.h>

/* "38505 304,319:320 3956:3958"; both sets are in the order of the sources. */
static void write_copyuid(struct buffer *out, const struct copy_result *result)
{
	struct uid_set from = { 0 }, to = { 0 };

	for (size_t i = 0; i < result->count; i++) {
		uid_set_add(&from, result->pairs[i].from, result->pairs[i].from);
		uid_set_add(&to, result->pairs[i].to, result->pairs[i].to);
	}
	buffer_printf(out, "[COPYUID %u ", result->uidvalidity);
	imap_set_write(out, &from);
	buffer_append_byte(out, ' ');
	imap_set_write(out, &to);
	buffer_append_string(out, "]");
	uid_set_deinit(&from);
	uid_set_deinit(&to);
}

static enum net_result copy_done(
	struct imap_session *session, const struct copy_result *copied, bool is_move)
{
	struct buffer code = { NULL, 0, 0 };
	enum net_result result;

	if (copied->count == 0)
		return imap_ok(session, "No messages");
	write_copyuid(&code, copied);
	if (!is_move) {
		result = imap_ok(session, "%s Copied", buffer_string(&code));
	} else {
		/* Before the EXPUNGEs (RFC 6851, 4.3). */
		imap_printf(session, "* OK %s Moved\r\n", buffer_string(&code));
		result = session->is_condstore ? imap_ok_highestmodseq(session, "Done")
					       : imap_ok(session, "Done");
	}
	buffer_deinit(&code);
	return result;
}

static enum net_result copy_run(
	struct imap_session *session, const struct uid_set *uids, struct bytes name, bool is_move)
{
	struct copy_result copied = { 0 };
	struct shared_place from_place = imap_view_place(session->view), to_place;
	struct imap_target to;
	struct error error = { 0 };
	enum net_result result;
	uint64_t position = 0;
	int rc;

	rc = imap_target_find(session, NULL, name, ACL_INSERT, &to, &error);
	if (rc == ERR_NOT_FOUND)
		return imap_no_destination(session, name);
	if (rc == 0 && is_move)
		rc = imap_view_check(session, ACL_MARK | ACL_EXPUNGE, &error);
	if (rc == 0 && uids->count > 0) {
		to_place = imap_target_place(&to);
		rc = shared_copy(session->mail, &from_place, &to_place, uids, is_move, &error,
			&copied, &position);
	}
	imap_wrote(session, position);
	result = rc < 0 ? imap_fail(session, rc, &error) : copy_done(session, &copied, is_move);
	free(copied.pairs);
	return result;
}

static enum net_result copy_or_move(
	struct imap_session *session, struct imap_parser *args, bool is_move)
{
	bool is_uid = (session->command->flags & COMMAND_IS_UID) != 0;
	struct imap_sequence sequence;
	struct uid_set uids = { 0 };
	enum net_result result;
	struct bytes name;

	if (imap_parse_space(args) < 0 || imap_parse_sequence(args, &sequence) < 0 ||
		imap_parse_space(args) < 0 || imap_parse_mailbox(args, &name) < 0 ||
		imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	if (imap_select_uids(session, &sequence, is_uid, &uids) < 0)
		result = imap_bad(session, "Invalid message number");
	else
		result = copy_run(session, &uids, name, is_move);
	uid_set_deinit(&uids);
	return result;
}

enum net_result cmd_copy(struct imap_session *session, struct imap_parser *args)
{
	return copy_or_move(session, args, false);
}

enum net_result cmd_move(struct imap_session *session, struct imap_parser *args)
{
	return copy_or_move(session, args, true);
}
