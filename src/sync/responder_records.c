/* The records of an APPLY, checked one by one and written as they are. */
#include "sync/responder_apply.h"

#include "base/map.h"
#include "sync/integrate.h"
#include "sync/merge.h"

#include <stdio.h>
#include <stdlib.h>

/* Which record an error is about, so that whoever wrote the peer finds it. Each returns `rc`. */

static int of_mailbox(struct apply *apply, const struct mailbox_record *mailbox, int rc)
{
	char id[2 * sizeof(mailbox->id.bytes) + 1];

	for (size_t i = 0; i < sizeof(mailbox->id.bytes); i++)
		snprintf(id + 2 * i, 3, "%02x", mailbox->id.bytes[i]);
	if (apply->checked.code != 0)
		error_prefix(&apply->checked, "mailbox %s", id);
	return rc;
}

static int of_message(struct apply *apply, const struct message_record *message, int rc)
{
	if (apply->checked.code != 0)
		error_prefix(&apply->checked, "message %llu.%016llx",
			(unsigned long long)message->instance.modseq,
			(unsigned long long)message->instance.node);
	return rc;
}

static int of_register(struct apply *apply, const struct register_record *record, int rc)
{
	if (apply->checked.code != 0)
		error_prefix(&apply->checked, "register %s \"%.*s\"", wire_kind_name(record->kind),
			(int)(record->key.len < 80 ? record->key.len : 80),
			record->key.len > 0 ? (const char *)record->key.ptr : "");
	return rc;
}

struct uidvalidity_search {
	const struct change_set *changes;
	struct map by_uidvalidity; /* those told of that have one that they had not here */
};

static int find_uidvalidity(void *context, const struct mailbox_record *mine)
{
	const struct uidvalidity_search *search = context;
	const struct mailbox_record *told = map_get(
		&search->by_uidvalidity, bytes_of(&mine->uidvalidity, sizeof(mine->uidvalidity)));

	if (told == NULL || (!mailbox_is_live(told) && !mailbox_is_live(mine)) ||
		change_set_mailbox(search->changes, mine->id) != NULL)
		return 0;
	return ERR_ILLEGAL;
}

static int apply_mailbox(struct apply *apply, struct account_write *write,
	struct mailbox_record *mailbox, uint64_t limit, struct map *by_uidvalidity)
{
	struct bytes key = bytes_of(&mailbox->uidvalidity, sizeof(mailbox->uidvalidity));
	struct mailbox_record mine;
	int rc = account_get_mailbox(
		write->kv, write->header.number, mailbox->id, write->arena, &mine);
	bool exists = rc == 0;

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (exists && mailbox_same(&mine, mailbox) && mine.modseq == mailbox->modseq)
		return account_raise_uidnext(write, mailbox->id, mailbox->uidnext);
	if ((!exists || mine.uidvalidity != mailbox->uidvalidity) &&
		(mailbox_is_live(mailbox) || map_get(by_uidvalidity, key) == NULL))
		map_put(by_uidvalidity, key, mailbox);
	rc = merge_check_mailbox(exists ? &mine : NULL, mailbox, limit, &apply->checked);
	if (rc == 0)
		rc = rights_check_mailbox(&apply->call->session->rights, exists ? &mine : NULL,
			mailbox, &apply->checked);
	return rc < 0 ? of_mailbox(apply, mailbox, rc) : account_put_mailbox(write, mailbox);
}

/*
 * Deleted ones come first, to give up their names. Who pushes may not know what has, or had, the
 * UIDVALIDITY of a mailbox of his: it is outside of the view, or was deleted while that was another
 * one, and is in no digest. Two of one need a merge (P2).
 */
static int apply_mailboxes(struct apply *apply, struct account_write *write, uint64_t limit)
{
	const struct change_set *changes = &apply->changes;
	struct uidvalidity_search search = { changes, { 0 } };
	int rc = 0;

	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < changes->mailbox_count && rc == 0; i++)
			if (mailbox_is_live(&changes->mailboxes[i]) == (pass == 1))
				rc = apply_mailbox(apply, write, &changes->mailboxes[i], limit,
					&search.by_uidvalidity);
	if (rc == 0 && search.by_uidvalidity.count > 0)
		rc = account_each_mailbox(
			write->kv, write->header.number, write->arena, find_uidvalidity, &search);
	map_deinit(&search.by_uidvalidity);
	return rc;
}

/*
 * A message that was moved out of what is exchanged, into a mailbox that we have: it is to be shown
 * there, which takes a merge. So does what a restored copy may keep.
 */
static int check_hidden(struct account_write *write, const struct message_record *mine,
	const struct message_record *message)
{
	struct mailbox_record mailbox;
	int rc;

	if (message_is_shown(message) || id128_is_none(message->placed_in))
		return 0;
	if (mine == NULL || !message_is_shown(mine))
		return 0; /* nobody here has it: a merge would show it nowhere */
	if (write->header.hold == ACCOUNT_RETURNING)
		return ERR_ILLEGAL;
	rc = account_get_mailbox(
		write->kv, write->header.number, message->placed_in, write->arena, &mailbox);
	if (rc == 0)
		return ERR_ILLEGAL;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int apply_message(struct apply *apply, struct account_write *write,
	const struct message_record *theirs, uint64_t limit)
{
	struct message_record mine, told = *theirs;
	const struct message_record *message = &told;
	int rc = account_get_message(
		write->kv, write->header.number, message->instance, write->arena, &mine);
	bool exists = rc == 0;

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (exists)
		view_unhide(&apply->view, &mine, &told);
	if (exists && message_same(&mine, message) && mine.modseq == message->modseq)
		return 0;
	rc = check_hidden(write, exists ? &mine : NULL, message);
	if (rc == 0 && exists && message_is_shown(&mine) && mine.uid != message->uid &&
		view_is_fresh(&apply->view, mine.mailbox))
		rc = ERR_ILLEGAL; /* before the mailbox came into the view, UIDs were our own */
	if (rc < 0)
		return rc;
	rc = merge_check_message(exists ? &mine : NULL, message, limit, &apply->checked);
	if (rc == 0)
		rc = rights_check_message(&apply->call->session->rights, exists ? &mine : NULL,
			message, &apply->checked);
	return rc < 0 ? of_message(apply, message, rc) : account_put_message(write, message);
}

static int apply_register(struct apply *apply, struct account_write *write,
	const struct register_record *record, uint64_t limit)
{
	struct register_record mine;
	int rc = account_get_register(write->kv, write->header.number, record->kind,
		record->mailbox, record->key, write->arena, &mine);
	bool exists = rc == 0;

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (exists && register_same(&mine, record) && mine.modseq == record->modseq)
		return 0;
	rc = merge_check_register(exists ? &mine : NULL, record, limit, &apply->checked);
	if (rc == 0)
		rc = rights_check_register(&apply->call->session->rights, exists ? &mine : NULL,
			record, &apply->checked);
	return rc < 0 ? of_register(apply, record, rc) : account_put_register(write, record);
}

static int compare_places(const void *a, const void *b)
{
	const struct message_record *left = *(const struct message_record *const *)a;
	const struct message_record *right = *(const struct message_record *const *)b;
	int order = id128_compare(left->mailbox, right->mailbox);

	if (order != 0 || left->uid == right->uid)
		return order;
	return left->uid < right->uid ? -1 : 1;
}

static int apply_messages(struct apply *apply, struct account_write *write, uint64_t limit)
{
	const struct change_set *changes = &apply->changes;
	const struct message_record **sorted = arena_alloc(
		apply->call->arena, (changes->message_count + 1) * sizeof(struct message_record *));
	int rc = 0;

	for (size_t i = 0; i < changes->message_count; i++)
		sorted[i] = &changes->messages[i].record;
	qsort(sorted, changes->message_count, sizeof(struct message_record *), compare_places);
	for (size_t i = 0; i < changes->message_count && rc == 0; i++)
		rc = apply_message(apply, write, sorted[i], limit);
	return rc;
}

/* (4) */
int apply_changes(struct apply *apply, struct account_write *write)
{
	const struct change_set *changes = &apply->changes;
	uint64_t limit =
		integrate_modseq_limit(write->now_ms, apply->call->session->rights.skew_ms);
	int rc;

	if (apply->view.is_foreign)
		return foreign_apply(apply->call, write, &apply->view, changes, &apply->checked);
	if (changes->highest > limit)
		return error_set(
			&apply->checked, ERR_ILLEGAL, "the peer's clock is too far in the future");
	rc = apply_mailboxes(apply, write, limit);
	if (rc == 0)
		rc = apply_messages(apply, write, limit);
	for (size_t i = 0; i < changes->register_count && rc == 0; i++)
		rc = apply_register(apply, write, &changes->registers[i], limit);
	if (rc == 0) {
		account_observe(write, changes->highest);
		rc = account_write_flush(write);
	}
	return rc;
}
