/*
 * Writing the record of a message: what is shown where, the counts, and the body that it holds.
 */
#include "mail/account_write_private.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/pack.h"
#include "mail/mail.h"
#include "mail/watch_note.h"

static int floor_get_live(
	struct account_write *write, struct id128 id, struct account_floor **floor_r)
{
	int rc = account_floor_get(write, id, floor_r);

	if (rc < 0)
		return rc;
	if (!(*floor_r)->exists)
		return ERR_ILLEGAL;
	return mailbox_is_live(&(*floor_r)->mailbox) || account_is_unseen(write) ? 0 : ERR_ILLEGAL;
}

static void counts_change(struct account_write *write, struct account_floor *floor,
	const struct message_record *message, int by)
{
	struct mailbox_record *mailbox = &floor->mailbox;

	mailbox->message_count += (uint32_t)by;
	if (!message_has_flag(message, BYTES_LITERAL("\\Seen")))
		mailbox->unseen_count += (uint32_t)by;
	if (message_has_flag(message, BYTES_LITERAL("\\Deleted"))) {
		mailbox->deleted_count += (uint32_t)by;
		mailbox->deleted_byte_count += (uint64_t)((int64_t)by * (int64_t)message->size);
	}
	mailbox->byte_count += (uint64_t)((int64_t)by * (int64_t)message->size);
	write->header.message_count += (uint64_t)(int64_t)by;
	write->header.byte_count += (uint64_t)((int64_t)by * (int64_t)message->size);
	if (by > 0)
		account_digest_replace(write, floor, (struct digest){ 0 }, message_term(message));
	else
		account_digest_replace(write, floor, message_term(message), (struct digest){ 0 });
}

/* Takes what was shown away. `vanishes`: clients of its mailbox must be told, at `modseq`. */
static int message_unshow(struct account_write *write, const struct message_record *before,
	bool vanishes, uint64_t modseq)
{
	static const struct bytes vanished = { (const unsigned char *)"V", 1 };
	unsigned char key[MODSEQ_KEY_SIZE];
	struct account_floor *floor;
	uint32_t account = write->header.number;
	int rc = account_floor_get(write, before->mailbox, &floor);

	if (rc < 0)
		return rc;
	if (vanishes && modseq <= floor->highest_before && !account_is_unseen(write))
		return ERR_ILLEGAL;
	rc = store_delete(write->store, MAIL_TABLE_MODSEQ,
		modseq_key(key, account, before->mailbox, before->modseq, before->uid));
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	counts_change(write, floor, before, -1);
	if (!vanishes)
		return 0;
	floor->changes |= WATCH_MESSAGE_EXPUNGE;
	account_highest_raise(floor, modseq);
	rc = store_delete(write->store, MAIL_TABLE_MESSAGE,
		message_key(key, account, before->mailbox, before->uid));
	if (rc < 0 || account_is_unseen(write))
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	return store_put(write->store, MAIL_TABLE_MODSEQ,
		modseq_key(key, account, before->mailbox, modseq, before->uid), vanished);
}

/* A UID not shown before must be one that no client of this copy was ever told of (P2, P3). */
static int uid_check(struct account_write *write, const struct account_floor *floor, uint32_t uid)
{
	unsigned char key[MESSAGE_KEY_SIZE];
	struct bytes value;
	int rc;

	if ((uid < floor->uidnext_before && !account_is_unseen(write)) || uid == UINT32_MAX)
		return ERR_ILLEGAL;
	if (uid >= floor->mailbox.uidnext)
		return 0;
	rc = kv_get(write->kv, MAIL_TABLE_MESSAGE,
		message_key(key, write->header.number, floor->mailbox.id, uid), &value);
	if (rc == ERR_NOT_FOUND)
		return 0;
	return rc < 0 ? rc : ERR_ILLEGAL;
}

static int message_show(struct account_write *write, const struct message_record *before,
	const struct message_record *after, bool is_new_place, bool is_changed)
{
	static const struct bytes shown = { (const unsigned char *)"S", 1 };
	unsigned char key[MODSEQ_KEY_SIZE];
	struct account_floor *floor;
	struct buffer value = { 0 };
	int rc = floor_get_live(write, after->mailbox, &floor);

	if (rc == 0 && is_new_place)
		rc = uid_check(write, floor, after->uid);
	if (rc == 0 && is_changed && after->modseq <= floor->highest_before &&
		!account_is_unseen(write))
		rc = ERR_ILLEGAL;
	if (rc < 0)
		return rc;
	if (after->uid >= floor->mailbox.uidnext) {
		floor->mailbox.uidnext = after->uid + 1;
		floor->is_changed = true;
	}
	if (is_new_place)
		floor->given_count++;
	if (is_new_place)
		floor->changes |= WATCH_MESSAGE_NEW;
	else if (is_changed)
		floor->changes |= watch_note_flag_changes(before, after);
	account_highest_raise(floor, after->modseq);
	counts_change(write, floor, after, 1);
	rc = store_put(write->store, MAIL_TABLE_MODSEQ,
		modseq_key(key, write->header.number, after->mailbox, after->modseq, after->uid),
		shown);
	if (rc < 0)
		return rc;
	message_encode(&value, after);
	rc = store_put(write->store, MAIL_TABLE_MESSAGE,
		message_key(key, write->header.number, after->mailbox, after->uid),
		buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

int account_instance_put(struct account_write *write, const struct message_record *after)
{
	unsigned char key[INSTANCE_KEY_SIZE];
	struct buffer value = { 0 };
	int rc;

	if (message_is_shown(after)) {
		pack_u8(&value, ENTRY_SHOWN);
		buffer_append(&value, after->mailbox.bytes, sizeof(after->mailbox.bytes));
		pack_u32(&value, after->uid);
	} else {
		pack_u8(&value, ENTRY_TOMBSTONE);
		message_encode(&value, after);
	}
	rc = store_put(write->store, MAIL_TABLE_INSTANCE,
		instance_key(key, write->header.number, after->instance), buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

static bool message_may_follow(
	const struct message_record *before, const struct message_record *after)
{
	if (!guid_equal(&before->guid, &after->guid) || before->size != after->size)
		return false; /* one instance is one message, for ever */
	return after->modseq >= before->modseq &&
	       placement_compare(before->instance, after->placed, before->placed) >= 0;
}

static void release_later(struct account_write *write, const struct guid *guid)
{
	void *releases = write->releases;

	mem_grow(&releases, &write->release_room, write->release_count + 1,
		sizeof(*write->releases));
	write->releases = releases;
	write->releases[write->release_count++] = *guid;
}

static void kept_change(struct account_write *write, const struct message_record *message, int by)
{
	write->header.kept_count += (uint64_t)(int64_t)by;
	write->header.kept_bytes += (uint64_t)((int64_t)by * (int64_t)message->size);
	write->is_counted = true;
}

/* A message holds its body while it is shown, and its tombstone as long as it can be brought back.
 */
static int bodies_change(struct account_write *write, const struct message_record *before,
	const struct message_record *after)
{
	bool was_kept = before != NULL && before->has_body;
	bool had_body = was_kept || (before != NULL && message_is_shown(before));
	bool has_body = message_is_shown(after) || after->has_body;

	if (was_kept != after->has_body)
		kept_change(write, after, after->has_body ? 1 : -1);
	if (has_body && !had_body)
		return mail_body_reference(write, &after->guid);
	if (!has_body && had_body)
		release_later(write, &before->guid);
	return 0;
}

int account_release_kept(struct account_write *write, const struct message_record *message)
{
	if (!message->has_body)
		return 0;
	kept_change(write, message, -1);
	release_later(write, &message->guid);
	return 0;
}

int account_give_up_kept(struct account_write *write, const struct message_record *message)
{
	struct message_record without = *message;

	if (!message->has_body)
		return 0;
	without.has_body = false;
	account_release_kept(write, message);
	return account_instance_put(write, &without);
}

static void local_fields_fill(const struct account_write *write, struct message_record *after,
	const struct message_record *before, bool is_new_place)
{
	/* One that was only known to be elsewhere told nobody that it is here. */
	bool appears = before != NULL && !id128_is_none(before->placed_in) &&
		       !message_is_shown(before) && message_is_shown(after);
	bool is_new_placement = before == NULL || write->counts_as_placed || appears ||
				stamp_compare(before->placed, after->placed) != 0;

	after->placed_sequence = is_new_placement ? after->sequence : before->placed_sequence;
	after->placed_again = is_new_placement       ? 0
			      : write->renews_placed ? after->sequence
						     : before->placed_again;
	after->shown_sequence = is_new_place ? after->sequence : before->shown_sequence;
	after->shown_again = is_new_place          ? 0
			     : write->renews_shown ? after->sequence
						   : before->shown_again;
}

int account_put_message(struct account_write *write, const struct message_record *message)
{
	struct message_record found, after = *message;
	const struct message_record *before = &found;
	unsigned char entry[17];
	bool is_new_place;
	int rc = account_user_check(write);

	if (rc == 0)
		rc = account_get_message(
			write->kv, write->header.number, message->instance, write->arena, &found);
	if (rc == ERR_NOT_FOUND)
		before = NULL;
	else if (rc < 0)
		return rc;
	if (message->modseq > MODSEQ_MAX || message->flag_count > MESSAGE_FLAG_COUNT_MAX ||
		message_is_shown(message) == id128_is_none(message->mailbox) ||
		(before != NULL && !message_may_follow(before, message)))
		return ERR_ILLEGAL;
	is_new_place = before == NULL || before->uid != after.uid ||
		       !id128_equal(before->mailbox, after.mailbox);
	after.sequence = before != NULL ? before->sequence : 0;
	rc = expiry_note_message(write, before, &after);
	if (rc == 0)
		rc = bodies_change(write, before, &after);
	if (rc == 0)
		rc = account_sequence_renew(
			write, &after.sequence, sequence_value_message(entry, after.instance));
	if (rc < 0)
		return rc;
	local_fields_fill(write, &after, before, is_new_place);
	if (before != NULL && message_is_shown(before)) {
		rc = message_unshow(write, before, is_new_place, after.modseq);
		if (rc < 0)
			return rc;
	}
	if (message_is_shown(&after)) {
		rc = message_show(write, before, &after, is_new_place,
			before == NULL || !message_same(before, &after));
		if (rc < 0)
			return rc;
	}
	account_modseq_shown(write, after.modseq);
	if (is_new_place || !message_is_shown(&after))
		rc = account_instance_put(write, &after);
	return rc;
}
