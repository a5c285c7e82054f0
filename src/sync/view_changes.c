/* Reading what changed within a view. */
#include "sync/view.h"

#include "base/error.h"
#include "base/mem.h"
#include "mail/annotation.h"

#include <limits.h>
#include <stdlib.h>

#define READ_STOP INT_MAX /* the set is full; never seen by callers */

struct view_read {
	struct kv_txn *kv;
	const struct view *view;
	struct change_set *set;
	struct arena *arena;
	uint64_t since, common;
	uint64_t reached;
	size_t room;
	struct id128 *entered; /* what mailboxes among the changes forward to */
	size_t entered_count, entered_room;
};

static bool has_id(const struct id128 *ids, size_t count, struct id128 id)
{
	for (size_t i = 0; i < count; i++)
		if (id128_equal(ids[i], id))
			return true;
	return false;
}

/* A mailbox in the view was united with it, which brings it into the view. */
static void note_entered(struct view_read *read, struct id128 mailbox)
{
	if (id128_is_none(mailbox) || has_id(read->entered, read->entered_count, mailbox))
		return;
	mem_grow((void **)&read->entered, &read->entered_room, read->entered_count + 1,
		sizeof(*read->entered));
	read->entered[read->entered_count++] = mailbox;
}

/* Records outside of the view take no room, but are passed. */
static int take_room(struct view_read *read, uint64_t sequence, bool is_seen)
{
	if (is_seen && read->room == 0)
		return READ_STOP;
	read->room -= is_seen;
	read->reached = sequence;
	return 0;
}

static int read_mailbox(void *context, const struct mailbox_record *mailbox)
{
	struct view_read *read = context;
	bool is_seen = view_has(read->view, mailbox->id);
	int rc = take_room(read, mailbox->sequence, is_seen);

	if (rc == 0 && is_seen) {
		change_set_add_mailbox(read->set, mailbox);
		note_entered(read, mailbox->forward);
	}
	return rc;
}

/*
 * To whom nothing is to be said of what he does not see: whether the message's last move was out of
 * the view. The move vanished a UID there, as of its stamp; a move that a merge restamped, or one
 * of several, is found by comparing digests.
 */
static int has_left(const struct view_read *read, const struct message_record *message)
{
	const struct view *view = read->view;
	int rc = 0;

	if (message->placed_sequence <= read->since ||
		stamp_compare(message->placed, message->instance) == 0)
		return 0;
	for (size_t i = 0; i < view->id_count && rc == 0; i++)
		rc = account_has_vanished(
			read->kv, view->account, view->ids[i], message->placed.modseq);
	return rc;
}

/*
 * What is gone may have been in the view; what was moved out of it, only if the peer can have it.
 * A message that has never been moved was not. 1, 0, or an error of reading.
 */
static int has_message(const struct view_read *read, const struct message_record *message)
{
	const struct view *view = read->view;

	if (message_is_shown(message) && view_has(view, message->mailbox))
		return 1;
	if (message_is_shown(message) && view->is_discreet)
		return has_left(read, message);
	if (message_is_shown(message))
		return read->common != 0 && message->placed_sequence > read->common &&
		       stamp_compare(message->placed, message->instance) != 0;
	if (!id128_is_none(message->gone_from))
		return view_has(view, message->gone_from);
	/* Not shown here either: nothing of it but that it left is of concern. */
	if (!id128_is_none(message->placed_in) && message->placed_sequence <= read->common)
		return 0;
	return !view->is_discreet;
}

void view_add_message(const struct view *view, const struct message_record *message,
	uint64_t common, struct arena *arena, struct change_set *set)
{
	struct message_record told = *message;

	view_hide(view, &told);
	view_mask(view, arena, &told);
	change_set_add_message(set, &told, view_message_is_common(view, message, common));
}

static void add_message(struct view_read *read, const struct message_record *message)
{
	view_add_message(read->view, message, read->common, read->arena, read->set);
}

static int read_message(void *context, const struct message_record *message)
{
	struct view_read *read = context;
	int is_seen = has_message(read, message);
	int rc = is_seen < 0 ? is_seen : take_room(read, message->sequence, is_seen);

	if (rc == 0 && is_seen)
		add_message(read, message);
	return rc;
}

static int read_register(void *context, const struct register_record *record)
{
	struct view_read *read = context;
	int is_seen = view_has_register(read->kv, read->view, record, read->arena);
	int rc = is_seen < 0 ? is_seen : take_room(read, record->sequence, is_seen);

	if (rc == 0 && is_seen)
		change_set_add_register(read->set, record);
	return rc;
}

/* ---- what comes into the view, with all that belongs to it ---- */

static int add_register(void *context, const struct register_record *record)
{
	struct view_read *read = context;
	int is_seen = view_has_register(read->kv, read->view, record, read->arena);

	if (is_seen > 0)
		change_set_add_register(read->set, record);
	return is_seen < 0 ? is_seen : 0;
}

static int add_annotations(struct view_read *read, const struct message_record *message)
{
	unsigned char at[REGISTER_KEY_SIZE_MAX];

	if (!annotation_was_made(message))
		return 0;
	return account_each_register_of(read->kv, read->view->account, RECORD_ANNOTATION,
		(struct id128){ { 0 } }, annotation_prefix(at, message->instance), read->arena,
		add_register, read);
}

static int add_whole_message(void *context, const struct message_record *message)
{
	struct view_read *read = context;

	add_message(read, message);
	return add_annotations(read, message);
}

static int add_whole_mailbox(struct view_read *read, const struct mailbox_record *mailbox)
{
	static const enum record_kind kinds[] = { RECORD_ACL, RECORD_ANNOTATION };
	uint32_t account = read->view->account;
	int rc = 0;

	change_set_add_mailbox(read->set, mailbox);
	for (size_t i = 0; i < 2 && rc == 0; i++)
		rc = account_each_mailbox_register(
			read->kv, account, kinds[i], mailbox->id, read->arena, add_register, read);
	return rc < 0 ? rc
		      : account_each_message(read->kv, account, mailbox->id, 1, UINT32_MAX,
				read->arena, add_whole_message, read);
}

static bool is_news(const struct view_read *read, const struct mailbox_record *mailbox)
{
	const struct view *view = read->view;

	return has_id(view->told, view->told_count, mailbox->id) ||
	       has_id(read->entered, read->entered_count, mailbox->id) ||
	       (mailbox->sequence > read->since && mailbox->sequence <= read->reached);
}

/* Forwards go on. */
static int follow_entered(struct view_read *read)
{
	int rc = 0;

	for (size_t i = 0; i < read->entered_count && rc == 0; i++) {
		struct mailbox_record mailbox;

		rc = account_get_mailbox(
			read->kv, read->view->account, read->entered[i], read->arena, &mailbox);
		if (rc == 0)
			note_entered(read, mailbox.forward);
		rc = rc == ERR_NOT_FOUND ? 0 : rc;
	}
	return rc;
}

static int add_fresh_mailboxes(struct view_read *read)
{
	const struct view *view = read->view;
	int rc = follow_entered(read);

	for (size_t i = 0; i < view->id_count && rc == 0; i++) {
		struct mailbox_record mailbox;

		if (!view_is_fresh(view, view->ids[i]))
			continue;
		rc = account_get_mailbox(
			read->kv, view->account, view->ids[i], read->arena, &mailbox);
		if (rc == 0 && is_news(read, &mailbox))
			rc = add_whole_mailbox(read, &mailbox);
		rc = rc == ERR_NOT_FOUND ? 0 : rc;
	}
	return rc;
}

/* Moved into the view, or from a mailbox outside that was united with one in it. */
static bool has_come_in(const struct view_read *read, const struct message_record *message)
{
	return message_is_shown(message) &&
	       !view_message_is_common(read->view, message, read->since) &&
	       (stamp_compare(message->placed, message->instance) != 0 ||
		       !id128_equal(message->placed_in, message->mailbox));
}

/* Annotations of messages that came into the view are no changes by themselves. */
static int add_annotations_of_arrived(struct view_read *read)
{
	int rc = 0;

	for (size_t i = 0, count = read->set->message_count; i < count && rc == 0; i++) {
		struct message_record message = read->set->messages[i].record;

		if (has_come_in(read, &message))
			rc = add_annotations(read, &message);
	}
	return rc;
}

int view_changes(struct kv_txn *kv, const struct account_header *header, const struct view *view,
	uint64_t since, uint64_t common, size_t count_max, struct arena *arena,
	struct change_set *set_r)
{
	static const struct account_change_functions functions = { read_mailbox, read_message,
		read_register };
	struct view_read read = { .kv = kv,
		.view = view,
		.set = set_r,
		.arena = arena,
		.since = since,
		.common = common,
		.room = count_max };
	int rc;

	if (view->is_whole) {
		rc = change_set_read(kv, header, since, common, count_max, arena, set_r);
		if (rc == 0)
			view_leave_out(view, set_r);
		return rc;
	}
	*set_r = (struct change_set){ .account = header->id,
		.since = since,
		.sequence = header->sequence,
		.highest = header->highest,
		.has_forgotten = header->forgotten > common };
	rc = account_each_change(kv, header->number, since, arena, &functions, &read);
	if (rc == READ_STOP)
		set_r->sequence = read.reached;
	read.reached = set_r->sequence;
	if (rc == READ_STOP)
		rc = 0;
	if (rc == 0 && since != 0 && !view->is_in_parts) /* else all of them was read */
		rc = add_fresh_mailboxes(&read);
	if (rc == 0)
		rc = add_annotations_of_arrived(&read);
	free(read.entered);
	if (rc < 0) {
		change_set_deinit(set_r);
		return rc;
	}
	change_set_normalize(set_r);
	view_leave_out(view, set_r);
	return 0;
}
