/*
 * Where clients of a copy of another user's account were told of UIDs that its owner's node has
 * given to other messages, the owner's copy leads: the mailbox gets a new UIDVALIDITY here, and
 * under that the UIDs that it has there. What was shown since the common point is hidden for the
 * length of the merge, which then shows it where the owner does; what the owner's node has not got
 * yet is shown again behind that. Nobody is renumbered but the clients of this copy.
 */
#include "sync/give_way.h"

#include "base/mem.h"

#include <stdlib.h>

struct listing {
	struct give_way *way;
	uint64_t since; /* our sequence */
};

static bool is_in_the_way(const struct give_way *way, const struct message_record *message)
{
	for (size_t i = 0; i < way->mailbox_count; i++)
		if (id128_equal(way->mailboxes[i].id, message->mailbox))
			return message->uid >= way->mailboxes[i].first;
	return false;
}

static void note_clash(struct give_way *way, struct id128 mailbox, uint32_t uid)
{
	for (size_t i = 0; i < way->mailbox_count; i++) {
		struct give_way_mailbox *at = &way->mailboxes[i];

		if (!id128_equal(at->id, mailbox))
			continue;
		if (uid < at->first)
			at->first = uid;
		return;
	}
	mem_grow((void **)&way->mailboxes, &way->mailbox_room, way->mailbox_count + 1,
		sizeof(*way->mailboxes));
	way->mailboxes[way->mailbox_count++] = (struct give_way_mailbox){ mailbox, uid };
}

/* Their message is shown at a UID that is not good here. */
static int look_at(
	struct give_way *way, struct account_write *write, const struct message_record *theirs)
{
	struct mailbox_record mailbox;
	struct id128 shown_in;
	uint32_t uid;
	int rc;

	if (!message_is_shown(theirs))
		return 0;
	rc = account_get_mailbox(
		write->kv, write->header.number, theirs->mailbox, write->arena, &mailbox);
	if (rc < 0 || !mailbox_is_live(&mailbox) || theirs->uid >= mailbox.uidnext)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	rc = account_find_shown(write->kv, write->header.number, theirs->instance, &shown_in, &uid);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (rc == ERR_NOT_FOUND || !id128_equal(shown_in, theirs->mailbox) || uid != theirs->uid)
		note_clash(way, theirs->mailbox, theirs->uid);
	return 0;
}

static int note_message(void *context, const struct message_record *message)
{
	struct listing *listing = context;
	struct give_way *way = listing->way;

	if (!message_is_shown(message) || message->shown_sequence <= listing->since ||
		!is_in_the_way(way, message))
		return 0;
	mem_grow((void **)&way->hidden, &way->hidden_room, way->hidden_count + 1,
		sizeof(*way->hidden));
	way->hidden[way->hidden_count++] = message->instance;
	return 0;
}

static int hide(struct account_write *write, struct stamp instance)
{
	struct message_record message;
	int rc = account_get_message(
		write->kv, write->header.number, instance, write->arena, &message);

	if (rc < 0)
		return rc;
	message.placed_in = message.mailbox;
	message.mailbox = (struct id128){ { 0 } };
	message.uid = 0;
	message.modseq = account_tick(write, message.modseq);
	return account_put_message(write, &message);
}

static int make_way(struct give_way *way, struct account_write *write, uint64_t since)
{
	static const struct account_change_functions functions = { .message = note_message };
	struct listing listing = { way, since };
	int rc = account_each_change(
		write->kv, write->header.number, since, write->arena, &functions, &listing);

	for (size_t i = 0; i < way->hidden_count && rc == 0; i++)
		rc = hide(write, way->hidden[i]);
	for (size_t i = 0; i < way->mailbox_count && rc == 0; i++)
		rc = account_restart_uids(write, way->mailboxes[i].id, way->mailboxes[i].first);
	return rc < 0 ? rc : account_write_flush(write);
}

int give_way_begin(struct give_way *way, struct account_write *write,
	const struct change_set *theirs, uint64_t since)
{
	int rc = 0;

	for (size_t i = 0; i < theirs->message_count && rc == 0; i++)
		rc = look_at(way, write, &theirs->messages[i].record);
	return rc < 0 || way->mailbox_count == 0 ? rc : make_way(way, write, since);
}

static int show_again(struct account_write *write, struct stamp instance)
{
	struct message_record message;
	struct mailbox_record mailbox;
	int rc = account_get_message(
		write->kv, write->header.number, instance, write->arena, &message);

	if (rc < 0 || message_is_shown(&message) || id128_is_none(message.placed_in))
		return rc;
	rc = account_get_mailbox(
		write->kv, write->header.number, message.placed_in, write->arena, &mailbox);
	if (rc < 0 || !mailbox_is_live(&mailbox))
		return rc < 0 ? rc : ERR_CHANGED;
	message.mailbox = mailbox.id;
	message.uid = mailbox.uidnext;
	message.modseq = account_tick(write, message.modseq);
	rc = account_put_message(write, &message);
	return rc < 0 ? rc : account_write_flush(write);
}

int give_way_end(const struct give_way *way, struct account_write *write)
{
	int rc = 0;

	for (size_t i = 0; i < way->hidden_count && rc == 0; i++)
		rc = show_again(write, way->hidden[i]);
	return rc;
}

void give_way_deinit(struct give_way *way)
{
	free(way->mailboxes);
	free(way->hidden);
	*way = (struct give_way){ 0 };
}
