/*
 * What a user pushes of another's account (P9): what the IMAP commands STORE, EXPUNGE and
 * SETMETADATA would do with his rights, and nothing else. The commit has checked that he knows all
 * that happened to what he sees there.
 *
 * (1) Each flag that is now otherwise takes the right to it (RFC 4314, section 4); \Seen is not
 *     looked at, for his own is in his own account. Being expunged takes "e", and "t" unless the
 *     message is marked; a mailbox's shared metadata takes "w".
 * (2) Whatever gives or takes a UID, a place or a name, and all other registers, is refused: what
 *     others see as theirs is arranged at one place only.
 * (3) Nothing that he says of time or of other nodes counts but the stamps of flags and metadata,
 *     where they lie behind now: modseqs are given here, and the clock is not moved.
 */
#include "sync/responder_private.h"

#include "sync/merge.h"

#include "mail/annotation.h"
#include "mail/shared.h"

#define SEEN_FLAG BYTES_LITERAL("\\Seen")
#define DELETED_FLAG BYTES_LITERAL("\\Deleted")

struct foreign_push {
	struct account_write *write;
	const struct view *view;
	const struct foreign_list *list;
	struct error *error;
	uint64_t now; /* modseq: no stamp may lie behind it */
};

static int refuse(struct foreign_push *push, const char *what)
{
	if (push->error->code == 0)
		error_set(push->error, ERR_REFUSED, "your rights do not let you %s", what);
	return ERR_REFUSED;
}

static unsigned rights_to(const struct foreign_push *push, struct id128 mailbox)
{
	return foreign_rights(push->list, push->view->account, mailbox);
}

/* ---- mailboxes: only their modseq, which private \Seen raises ---- */

static int take_mailbox(struct foreign_push *push, const struct mailbox_record *theirs)
{
	struct mailbox_record mine;
	int rc;

	if (!view_has(push->view, theirs->id))
		return refuse(push, "make or see such a mailbox");
	rc = account_get_mailbox(
		push->write->kv, push->view->account, theirs->id, push->write->arena, &mine);
	if (rc < 0)
		return rc;
	if (!mailbox_same(&mine, theirs) || theirs->uidnext > mine.uidnext)
		return refuse(push, "change this mailbox but at its server");
	return 0;
}

/* ---- messages ---- */

static int take_flag(struct foreign_push *push, unsigned rights, const struct flag_state *theirs,
	struct message_record *message, bool *is_changed)
{
	const struct flag_state *mine = message_flag(message, theirs->name);
	struct flag_state flag = *theirs;

	if (bytes_equal_nocase(theirs->name, SEEN_FLAG) ||
		theirs->is_set == (mine != NULL && mine->is_set) ||
		(mine != NULL && stamp_compare(mine->stamp, theirs->stamp) >= 0))
		return 0;
	if ((rights & acl_right_for_flag(theirs->name)) == 0)
		return refuse(push, "change this flag");
	if (flag.stamp.modseq > push->now)
		flag.stamp = account_stamp(push->write);
	*is_changed = true;
	return message_flag_put(message, push->write->arena, flag);
}

static int take_expunge(
	struct foreign_push *push, unsigned rights, const struct message_record *message)
{
	struct message_record gone = *message;
	unsigned needs = ACL_EXPUNGE | (message_has_flag(message, DELETED_FLAG) ? 0u : ACL_MARK);
	int rc;

	if ((rights & needs) != needs)
		return refuse(push, "expunge this message");
	gone.placed = account_stamp(push->write);
	gone.modseq = gone.placed.modseq;
	gone.placed_in = gone.mailbox = (struct id128){ { 0 } };
	gone.uid = 0;
	rc = account_put_message(push->write, &gone);
	return rc < 0 ? rc : annotations_clear_message(push->write, message);
}

static int take_shown(struct foreign_push *push, const struct message_record *theirs,
	struct message_record *message)
{
	unsigned rights = rights_to(push, message->mailbox);
	bool is_changed = false, is_gone = !message_is_shown(theirs);
	int rc = 0;

	if (is_gone ? !id128_is_none(theirs->placed_in)
		    : theirs->uid != message->uid ||
				!id128_equal(theirs->mailbox, message->mailbox))
		return refuse(push, "move or renumber messages but at their server");
	for (size_t i = 0; i < theirs->flag_count && rc == 0; i++)
		rc = take_flag(push, rights, &theirs->flags[i], message, &is_changed);
	if (rc == 0 && is_gone)
		return take_expunge(push, rights, message);
	if (rc < 0 || !is_changed)
		return rc;
	message->modseq = account_tick(push->write, message->modseq);
	return account_put_message(push->write, message);
}

static int take_message(struct foreign_push *push, const struct message_record *theirs)
{
	struct message_record mine;
	int rc = account_get_message(
		push->write->kv, push->view->account, theirs->instance, push->write->arena, &mine);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	/* What he cannot see is as what is not there: it is gone for him, and that is no change. */
	if (rc == ERR_NOT_FOUND || !message_is_shown(&mine) || !view_has(push->view, mine.mailbox))
		return message_is_shown(theirs)
			       ? refuse(push, "put messages there but at its server")
			       : 0;
	if (!guid_equal(&mine.guid, &theirs->guid) || mine.size != theirs->size)
		return error_set(push->error, ERR_ILLEGAL, "one message with two contents");
	return take_shown(push, theirs, &mine);
}

/* ---- shared metadata ---- */

static int take_register(struct foreign_push *push, const struct register_record *theirs)
{
	struct account_write *write = push->write;
	struct register_record mine, record = *theirs;
	int rc;

	if (!annotation_is_shared(theirs) || id128_is_none(theirs->mailbox) ||
		(rights_to(push, theirs->mailbox) & ACL_WRITE) == 0)
		return refuse(push, "change this setting");
	rc = account_get_register(write->kv, push->view->account, theirs->kind, theirs->mailbox,
		theirs->key, write->arena, &mine);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (rc == 0 &&
		(register_same(&mine, theirs) || stamp_compare(mine.stamp, theirs->stamp) >= 0))
		return 0;
	if (record.stamp.modseq > push->now)
		record.stamp = account_stamp(write);
	record.modseq = account_tick(write, rc == 0 ? mine.modseq : 0);
	rc = account_put_register(write, &record);
	return rc < 0 ? rc : metadata_check(write, theirs->mailbox);
}

/* ---- all of it ---- */

/* The form of each. Stamps that lie in the future are given anew where they are taken over. */
static int check_form(struct foreign_push *push, const struct change_set *changes)
{
	int rc = 0;

	for (size_t i = 0; i < changes->mailbox_count && rc == 0; i++)
		rc = merge_check_mailbox(NULL, &changes->mailboxes[i], MODSEQ_MAX, push->error);
	for (size_t i = 0; i < changes->message_count && rc == 0; i++)
		rc = merge_check_message(
			NULL, &changes->messages[i].record, MODSEQ_MAX, push->error);
	for (size_t i = 0; i < changes->register_count && rc == 0; i++)
		rc = merge_check_register(NULL, &changes->registers[i], MODSEQ_MAX, push->error);
	return rc;
}

/* All that is refused is named, so that he need not give up the rest. */
static int take_messages(struct foreign_push *push, const struct change_set *changes,
	struct foreign_refused *refused)
{
	int rc = 0;

	for (size_t i = 0; i < changes->message_count && rc == 0; i++) {
		rc = take_message(push, &changes->messages[i].record);
		if (rc == ERR_REFUSED) {
			refused->instances[refused->instance_count++] =
				changes->messages[i].record.instance;
			rc = 0;
		}
	}
	return rc;
}

static int take_registers(struct foreign_push *push, const struct change_set *changes,
	struct foreign_refused *refused)
{
	int rc = 0;

	for (size_t i = 0; i < changes->register_count && rc == 0; i++) {
		rc = take_register(push, &changes->registers[i]);
		if (rc == ERR_REFUSED) {
			refused->settings[refused->setting_count++] = changes->registers[i];
			rc = 0;
		}
	}
	return rc;
}

int foreign_apply(struct sync_call *call, struct account_write *write, const struct view *view,
	const struct change_set *changes, struct error *error)
{
	struct foreign_refused refused = {
		.instances = arena_alloc(
			call->arena, (changes->message_count + 1) * sizeof(*refused.instances)),
		.settings = arena_alloc(
			call->arena, (changes->register_count + 1) * sizeof(*refused.settings)),
	};
	struct foreign_list list = { 0 };
	struct foreign_push push = { .write = write,
		.view = view,
		.list = &list,
		.error = error,
		.now = modseq_of_ms(write->now_ms + 1) };
	int rc = session_foreign(call->session, write->kv, view->account, &list);

	if (rc == 0)
		rc = check_form(&push, changes);
	for (size_t i = 0; i < changes->mailbox_count && rc == 0; i++)
		rc = take_mailbox(&push, &changes->mailboxes[i]);
	if (rc == 0)
		rc = take_messages(&push, changes, &refused);
	if (rc == 0)
		rc = take_registers(&push, changes, &refused);
	foreign_list_deinit(&list);
	call->refused = (struct foreign_refused){ 0 };
	if (rc == 0 && refused.instance_count + refused.setting_count > 0) {
		call->refused = refused;
		return error->code;
	}
	return rc < 0 ? rc : account_write_flush(write);
}

void foreign_put_refused(
	struct buffer *answer, const char *text, const struct foreign_refused *refused)
{
	struct dlist_writer writer = wire_begin(answer, DLIST_ANSWER, "ERROR");

	dlist_put_atom(&writer, "CODE");
	dlist_put_atom(&writer, "REFUSED");
	dlist_put_text_of(&writer, "TEXT", bytes_of_string(text));
	dlist_put_atom(&writer, "INSTANCES");
	dlist_begin_list(&writer);
	for (size_t i = 0; i < refused->instance_count; i++)
		wire_put_stamp(&writer, refused->instances[i]);
	dlist_end_list(&writer);
	dlist_put_atom(&writer, "SETTINGS");
	dlist_begin_list(&writer);
	for (size_t i = 0; i < refused->setting_count; i++) {
		dlist_begin_map(&writer);
		wire_put_id_of(&writer, "MAILBOX", refused->settings[i].mailbox);
		dlist_put_text_of(&writer, "KEY", refused->settings[i].key);
		dlist_end_map(&writer);
	}
	dlist_end_list(&writer);
	dlist_end_map(&writer);
}
