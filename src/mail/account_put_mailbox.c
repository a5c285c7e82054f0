/*
 * Writing the record of a mailbox, its name's row, its UIDNEXT and its HIGHESTMODSEQ.
 */
#include "mail/account_write_private.h"

#include "base/error.h"
#include "base/pack.h"

static int name_take_away(struct account_write *write, struct bytes id_bytes)
{
	struct account_floor *floor;
	struct id128 id;
	int rc = unpack_raw(&id_bytes, id.bytes, sizeof(id.bytes));

	if (rc == 0)
		rc = account_floor_get(write, id, &floor);
	if (rc == 0)
		floor->has_lost_name = true;
	return rc;
}

static int name_row_replace(struct account_write *write, const struct mailbox_record *before,
	const struct mailbox_record *after)
{
	unsigned char key[4 + MAILBOX_NAME_SIZE_MAX];
	struct bytes value;
	int rc = 0;

	if (before != NULL && mailbox_is_live(before) &&
		(!mailbox_is_live(after) || !bytes_equal(before->name, after->name))) {
		name_key(key, write->header.number, before->name);
		rc = kv_get(write->kv, MAIL_TABLE_MAILBOX_NAME, bytes_of(key, 4 + before->name.len),
			&value);
		/* Another mailbox may have taken the name earlier in this write. */
		if (rc == 0 && bytes_equal(value, bytes_of(before->id.bytes, 16)))
			rc = store_delete(write->store, MAIL_TABLE_MAILBOX_NAME,
				bytes_of(key, 4 + before->name.len));
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
	}
	if (!mailbox_is_live(after))
		return 0;
	name_key(key, write->header.number, after->name);
	rc = kv_get(write->kv, MAIL_TABLE_MAILBOX_NAME, bytes_of(key, 4 + after->name.len), &value);
	if (rc == 0 && !bytes_equal(value, bytes_of(after->id.bytes, 16)))
		rc = name_take_away(write, value);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	return store_put(write->store, MAIL_TABLE_MAILBOX_NAME, bytes_of(key, 4 + after->name.len),
		bytes_of(after->id.bytes, 16));
}

static bool mailbox_may_follow(
	const struct mailbox_record *before, const struct mailbox_record *after)
{
	return after->modseq >= before->modseq && after->uidvalidity >= before->uidvalidity &&
	       (mailbox_is_live(before) || !mailbox_is_live(after));
}

int account_put_mailbox(struct account_write *write, const struct mailbox_record *mailbox)
{
	struct mailbox_record *now;
	struct account_floor *floor;
	uint32_t uidnext;
	int rc = account_user_check(write);

	if (rc == 0)
		rc = account_floor_get(write, mailbox->id, &floor);
	if (rc < 0)
		return rc;
	now = &floor->mailbox;
	if (mailbox->name.len == 0 || mailbox->name.len > MAILBOX_NAME_SIZE_MAX ||
		mailbox->uidvalidity == 0 || mailbox->modseq > MODSEQ_MAX)
		return ERR_ILLEGAL;
	if (floor->exists && !mailbox_may_follow(now, mailbox))
		return ERR_ILLEGAL;
	rc = name_row_replace(write, floor->exists ? now : NULL, mailbox);
	if (rc < 0)
		return rc;
	write->header.mailbox_count += mailbox_is_live(mailbox);
	write->header.mailbox_count -= floor->exists && mailbox_is_live(now);
	uidnext = mailbox->uidnext > 0 ? mailbox->uidnext : 1;
	now->name_stamp = mailbox->name_stamp;
	now->name = arena_copy(write->arena, mailbox->name);
	now->uidvalidity = mailbox->uidvalidity;
	now->special_use_stamp = mailbox->special_use_stamp;
	now->special_use = arena_copy(write->arena, mailbox->special_use);
	now->deleted = mailbox->deleted;
	now->forward = mailbox->forward;
	now->modseq = mailbox->modseq;
	if (uidnext > now->uidnext)
		now->uidnext = uidnext;
	if (!floor->exists && now->highestmodseq < mailbox->modseq)
		now->highestmodseq = mailbox->modseq;
	if (mailbox->uidvalidity > write->header.uidvalidity_last)
		write->header.uidvalidity_last = mailbox->uidvalidity;
	floor->exists = true;
	floor->is_changed = true;
	account_modseq_shown(write, mailbox->modseq);
	return 0;
}

static int floor_find(
	struct account_write *write, struct id128 mailbox, struct account_floor **floor_r)
{
	int rc = account_floor_get(write, mailbox, floor_r);

	return rc == 0 && !(*floor_r)->exists ? ERR_NOT_FOUND : rc;
}

int account_raise_uidnext(struct account_write *write, struct id128 mailbox, uint32_t uidnext)
{
	struct account_floor *floor;
	int rc = floor_find(write, mailbox, &floor);

	if (rc < 0)
		return rc;
	if (uidnext > floor->mailbox.uidnext) {
		floor->mailbox.uidnext = uidnext;
		floor->is_changed = true;
	}
	return 0;
}

static int is_shown(void *context, const struct message_record *message)
{
	(void)context;
	(void)message;
	return ERR_ILLEGAL;
}

int account_restart_uids(struct account_write *write, struct id128 mailbox, uint32_t uidnext)
{
	struct account_floor *floor;
	int rc = floor_find(write, mailbox, &floor);

	if (rc == 0)
		rc = account_each_message(write->kv, write->header.number, mailbox, uidnext,
			UINT32_MAX, write->arena, is_shown, NULL);
	if (rc < 0)
		return rc;
	floor->mailbox.uidvalidity = account_uidvalidity_new(write);
	write->header.uidvalidity_last = floor->mailbox.uidvalidity;
	floor->mailbox.modseq = account_tick(write, floor->mailbox.modseq);
	/* Nobody was told of any UID under this UIDVALIDITY. */
	floor->mailbox.uidnext = floor->uidnext_before = uidnext;
	floor->given_count = 0;
	floor->is_changed = true;
	account_modseq_shown(write, floor->mailbox.modseq);
	return 0;
}

int account_announce(struct account_write *write, struct id128 mailbox, uint64_t modseq)
{
	struct account_floor *floor;
	int rc = floor_find(write, mailbox, &floor);

	if (rc < 0)
		return rc;
	if (modseq > MODSEQ_MAX)
		return ERR_ILLEGAL;
	if (modseq > floor->mailbox.modseq) {
		floor->mailbox.modseq = modseq;
		floor->is_changed = true;
	}
	if (modseq > floor->mailbox.highestmodseq) {
		floor->mailbox.highestmodseq = modseq;
		floor->is_counted = true;
	}
	account_modseq_shown(write, modseq);
	return 0;
}
