/*
 * What a peer must be told before its changes are taken: it has forgotten what it knew, or never
 * heard of it (part (2) of APPLY, responder_apply.c).
 */
#include "sync/responder_apply.h"

#include "sync/merge.h"

static int bury_forgotten(struct apply *apply, struct account_write *write)
{
	const struct change_set *changes = &apply->changes;
	int count = 0;

	for (size_t i = 0; i < changes->message_count; i++) {
		struct message_record message = changes->messages[i].record, mine;
		int rc;

		rc = account_get_message(write->kv, write->header.number, message.instance,
			apply->call->arena, &mine);
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
		if (rc == 0)
			view_unhide(&apply->view, &mine, &message);
		if (rc == 0 && guid_equal(&mine.guid, &message.guid) &&
			!merge_message_follows(&mine, &message)) {
			rc = account_put_message(write, &mine); /* so that it is told again */
			if (rc < 0)
				return rc;
			change_set_add_message(&apply->reminders, &mine, false);
			count++;
			continue;
		}
		if (rc == 0 || !changes->messages[i].was_common || !message_is_shown(&message))
			continue;
		account_observe(write, changes->highest);
		message.placed = account_stamp(write);
		message.modseq = message.placed.modseq;
		message.placed_in = message.mailbox = (struct id128){ { 0 } };
		message.uid = 0;
		rc = account_put_message(write, &message);
		if (rc < 0)
			return rc;
		count++;
	}
	return count;
}

static int remind_of_mailboxes(struct apply *apply, struct account_write *write)
{
	const struct change_set *changes = &apply->changes;
	int count = 0;

	for (size_t i = 0; i < changes->mailbox_count; i++) {
		struct mailbox_record mine;
		int rc = account_get_mailbox(write->kv, write->header.number,
			changes->mailboxes[i].id, write->arena, &mine);

		if (rc == ERR_NOT_FOUND ||
			(rc == 0 && merge_mailbox_follows(&mine, &changes->mailboxes[i])))
			continue;
		if (rc == 0)
			rc = account_put_mailbox(write, &mine);
		if (rc < 0)
			return rc;
		count++;
	}
	return count;
}

static int remind_of_registers(struct apply *apply, struct account_write *write)
{
	const struct change_set *changes = &apply->changes;
	int count = 0;

	for (size_t i = 0; i < changes->register_count; i++) {
		const struct register_record *record = &changes->registers[i];
		struct register_record mine;
		int rc = account_get_register(write->kv, write->header.number, record->kind,
			record->mailbox, record->key, apply->call->arena, &mine);

		if (rc == ERR_NOT_FOUND || (rc == 0 && merge_register_follows(&mine, record)))
			continue;
		if (rc == 0)
			rc = account_put_register(write, &mine);
		if (rc < 0)
			return rc;
		change_set_add_register(&apply->reminders, &mine);
		count++;
	}
	return count;
}

int apply_remind_peer(struct apply *apply, struct account_write *write)
{
	int messages = bury_forgotten(apply, write);
	int mailboxes = messages < 0 ? messages : remind_of_mailboxes(apply, write);
	int registers = mailboxes < 0 ? mailboxes : remind_of_registers(apply, write);

	return registers < 0 ? registers : messages + mailboxes + registers;
}
