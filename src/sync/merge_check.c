/*
 * Legality (P5): what may take the place of a record here, whoever sends it. Form first (every
 * value within its bounds and of one piece), then that nothing goes back.
 */
#include "sync/merge_private.h"

#include "mail/mail.h"

static int illegal(struct error *error, const char *text)
{
	return error_set(error, ERR_ILLEGAL, "%s", text);
}

static bool is_stamp_over(struct stamp stamp, uint64_t limit)
{
	return stamp.modseq > limit;
}

static int check_flags(const struct message_record *message, uint64_t limit, struct error *error)
{
	if (message->flag_count > MESSAGE_FLAG_COUNT_MAX)
		return illegal(error, "a message has too many flags");
	for (size_t i = 0; i < message->flag_count; i++) {
		const struct flag_state *flag = &message->flags[i];

		if (flag->name.len == 0 || flag->name.len > FLAG_NAME_SIZE_MAX)
			return illegal(error, "a flag's name is empty or too long");
		for (size_t at = 0; at < flag->name.len; at++)
			if (flag->name.ptr[at] <= ' ' || flag->name.ptr[at] == 0x7f)
				return illegal(
					error, "a flag's name has a space or control character");
		if (i > 0 && bytes_compare(message->flags[i - 1].name, flag->name) >= 0)
			return illegal(error, "a message's flags are not in order");
		if (is_stamp_over(flag->stamp, limit))
			return illegal(error, "a flag's stamp lies too far in the future");
	}
	return 0;
}

static int check_message_form(
	const struct message_record *message, uint64_t limit, struct error *error)
{
	bool is_placed = !id128_is_none(message->placed_in);

	if (stamp_is_none(message->instance) || is_stamp_over(message->instance, limit) ||
		is_stamp_over(message->placed, limit) || message->modseq > limit)
		return illegal(
			error, "a message's modseq lies too far in the future, or is missing");
	/* Before it was made by a clock that was wrong, perhaps: of a guest (mail.h, is_of_guest).
	 */
	if (stamp_is_none(message->placed))
		return illegal(error, "a message was never placed");
	/* One that is placed and not shown lies where its sender does not look. */
	if ((message_is_shown(message) && !is_placed) ||
		message_is_shown(message) == id128_is_none(message->mailbox))
		return illegal(error, "a message is shown without being placed, or without a UID");
	if (message->uid == UINT32_MAX)
		return illegal(error, "a UID is too large");
	return check_flags(message, limit, error);
}

/* Where the count of flags is at its bound, the one that changed first may have been dropped. */
static const char *find_step_back(
	const struct message_record *from, const struct message_record *to)
{
	int order = placement_compare(from->instance, to->placed, from->placed);

	if (order < 0 || (order == 0 && !id128_equal(to->placed_in, from->placed_in)))
		return "a message's placement goes back";
	for (size_t i = 0; i < from->flag_count; i++) {
		const struct flag_state *before = &from->flags[i];
		const struct flag_state *after = message_flag(to, before->name);

		if (after == NULL && to->flag_count < MESSAGE_FLAG_COUNT_MAX)
			return "a flag's history is missing";
		if (after == NULL)
			continue;
		order = stamp_compare(after->stamp, before->stamp);
		if (order < 0 || (order == 0 && after->is_set < before->is_set))
			return "a flag goes back to an earlier state";
	}
	return NULL;
}

bool merge_message_follows(const struct message_record *mine, const struct message_record *theirs)
{
	return find_step_back(mine, theirs) == NULL && theirs->modseq >= mine->modseq;
}

int merge_check_message(const struct message_record *mine, const struct message_record *theirs,
	uint64_t modseq_limit, struct error *error)
{
	int rc = check_message_form(theirs, modseq_limit, error);
	const char *step_back;

	if (rc < 0 || mine == NULL)
		return rc;
	if (stamp_compare(mine->instance, theirs->instance) != 0 ||
		!guid_equal(&mine->guid, &theirs->guid) || mine->size != theirs->size ||
		mine->internaldate != theirs->internaldate)
		return illegal(error, "one message with two contents");
	if (theirs->modseq < mine->modseq)
		return illegal(error, "a message's modseq decreases");
	step_back = find_step_back(mine, theirs);
	if (step_back != NULL)
		return illegal(error, step_back);
	if (message_is_shown(mine) && id128_equal(theirs->mailbox, mine->mailbox) &&
		theirs->uid < mine->uid)
		return illegal(error, "a message's UID decreases");
	return 0;
}

static int check_mailbox_form(
	const struct mailbox_record *mailbox, uint64_t limit, struct error *error)
{
	int rc;

	if (id128_is_none(mailbox->id))
		return illegal(error, "a mailbox has no id");
	if (mailbox->modseq > limit || is_stamp_over(mailbox->name_stamp, limit) ||
		is_stamp_over(mailbox->special_use_stamp, limit) ||
		is_stamp_over(mailbox->deleted, limit))
		return illegal(error, "a mailbox's modseq lies too far in the future");
	if (mailbox->uidvalidity == 0 || mailbox->uidnext == 0)
		return illegal(error, "a mailbox's UIDVALIDITY or UIDNEXT is 0");
	if (mailbox_is_live(mailbox) && !id128_is_none(mailbox->forward))
		return illegal(error, "a mailbox that is not deleted has a forward");
	if (id128_equal(mailbox->id, mailbox->forward))
		return illegal(error, "a mailbox forwards to itself");
	if (mailbox->special_use.len > FLAG_NAME_SIZE_MAX)
		return illegal(error, "a mailbox's special use is too long");
	rc = merge_is_retired(mailbox) ? 0 : mailbox_name_check(mailbox->name, error);
	return rc < 0 ? ERR_ILLEGAL : 0;
}

bool merge_mailbox_follows(const struct mailbox_record *mine, const struct mailbox_record *theirs)
{
	return theirs->modseq >= mine->modseq && theirs->uidvalidity >= mine->uidvalidity &&
	       theirs->uidnext >= mine->uidnext &&
	       stamp_compare(theirs->name_stamp, mine->name_stamp) >= 0 &&
	       stamp_compare(theirs->special_use_stamp, mine->special_use_stamp) >= 0 &&
	       stamp_compare(theirs->deleted, mine->deleted) >= 0;
}

int merge_check_mailbox(const struct mailbox_record *mine, const struct mailbox_record *theirs,
	uint64_t modseq_limit, struct error *error)
{
	int rc = check_mailbox_form(theirs, modseq_limit, error);

	if (rc < 0 || mine == NULL)
		return rc;
	if (!id128_equal(mine->id, theirs->id))
		return illegal(error, "one mailbox with two ids");
	if (theirs->modseq < mine->modseq)
		return illegal(error, "a mailbox's modseq decreases");
	if (theirs->uidvalidity < mine->uidvalidity)
		return illegal(error, "a mailbox's UIDVALIDITY decreases");
	if (theirs->uidnext < mine->uidnext)
		return illegal(error, "a mailbox's UIDNEXT decreases");
	if (stamp_compare(theirs->name_stamp, mine->name_stamp) < 0 ||
		stamp_compare(theirs->special_use_stamp, mine->special_use_stamp) < 0)
		return illegal(
			error, "a mailbox's name or special use goes back to an earlier one");
	if (stamp_compare(theirs->deleted, mine->deleted) < 0)
		return illegal(error, "a deleted mailbox returns");
	if (merge_is_inbox(mine) && (!merge_is_inbox(theirs) || !mailbox_is_live(theirs)))
		return illegal(error, "INBOX cannot be renamed or deleted");
	return 0;
}

bool merge_register_follows(
	const struct register_record *mine, const struct register_record *theirs)
{
	int order = stamp_compare(theirs->stamp, mine->stamp);

	return theirs->modseq >= mine->modseq &&
	       (order > 0 || (order == 0 && (mine->is_set || !theirs->is_set)));
}

int merge_check_register(const struct register_record *mine, const struct register_record *theirs,
	uint64_t modseq_limit, struct error *error)
{
	if (theirs->kind < RECORD_ACCOUNT || theirs->kind > RECORD_SCRIPT ||
		theirs->kind == RECORD_MAILBOX || theirs->kind == RECORD_MESSAGE)
		return illegal(error, "a register is of no known kind");
	if (theirs->modseq > modseq_limit || is_stamp_over(theirs->stamp, modseq_limit))
		return illegal(error, "a register's modseq lies too far in the future");
	if (theirs->key.len > REGISTER_KEY_SIZE_MAX || theirs->value.len > REGISTER_VALUE_SIZE_MAX)
		return illegal(error, "a register's key or value is too long");
	if (mine == NULL)
		return 0;
	if (mine->kind != theirs->kind || !id128_equal(mine->mailbox, theirs->mailbox) ||
		!bytes_equal(mine->key, theirs->key))
		return illegal(error, "one register with two keys");
	if (theirs->modseq < mine->modseq)
		return illegal(error, "a register's modseq decreases");
	if (stamp_compare(theirs->stamp, mine->stamp) < 0)
		return illegal(error, "a register goes back to an earlier value");
	return 0;
}
