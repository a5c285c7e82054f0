/*
 * Mailboxes that the user made, renamed or deleted here in others' accounts, told to the origin in
 * the order in which he did it (sync/guest_arrange.h), together with what he changed of rights
 * (origin_acl.c). An act that is settled, taken or not, has no
 * stamp of ours any more, so that what the origin tells of the mailbox counts.
 */
#include "chapard/origin_private.h"

#include "base/log.h"
#include "base/mem.h"
#include "mail/forget.h"
#include "sync/conflict.h"
#include "sync/guest.h"
#include "sync/guest_arrange.h"
#include "sync/merge.h"

#include <stdio.h>
#include <stdlib.h>

#define SETTLED_MODSEQ 1 /* below all that a clock gives */

static struct stamp act_of(const struct mailbox_record *mailbox)
{
	return mailbox_is_live(mailbox) ? mailbox->name_stamp : mailbox->deleted;
}

bool origin_arrange_is_pending(uint64_t writer, const struct mailbox_record *mailbox)
{
	struct stamp act = act_of(mailbox);

	/* What keeps others from a UIDVALIDITY is no act of his. */
	return writer != 0 && act.node == writer && act.modseq > SETTLED_MODSEQ &&
	       !merge_is_retired(mailbox);
}

struct origin_act *origin_act_add(
	struct origin_hand *hand, struct stamp stamp, struct id128 mailbox)
{
	struct origin_act *act;

	mem_grow((void **)&hand->acts, &hand->act_room, hand->act_count + 1, sizeof(*hand->acts));
	act = &hand->acts[hand->act_count++];
	*act = (struct origin_act){ .stamp = stamp, .mailbox = mailbox };
	return act;
}

struct listing {
	struct origin_hand *hand;
	uint64_t writer;
};

static int note_pending(void *context, const struct mailbox_record *mailbox)
{
	struct listing *listing = context;
	struct origin_hand *hand = listing->hand;

	if (!origin_arrange_is_pending(listing->writer, mailbox))
		return 0;
	origin_act_add(hand, act_of(mailbox), mailbox->id);
	return 0;
}

static int compare_acts(const void *a, const void *b)
{
	const struct origin_act *left = a, *right = b;

	return stamp_compare(left->stamp, right->stamp);
}

int origin_arrange_list(struct origin *origin, struct kv_txn *kv)
{
	struct origin_hand *hand = &origin->hand;
	struct listing listing = { hand, hand->account.writer };
	struct arena *arena = arena_new();
	int rc;

	hand->act_count = hand->act_next = 0;
	rc = account_each_mailbox(kv, hand->account.number, arena, note_pending, &listing);
	if (rc == 0)
		rc = origin_acl_list(origin, kv);
	if (hand->act_count > 1)
		qsort(hand->acts, hand->act_count, sizeof(*hand->acts), compare_acts);
	arena_free(&arena);
	return rc;
}

struct counting {
	uint64_t writer, count;
};

static int count_pending(void *context, const struct mailbox_record *mailbox)
{
	struct counting *counting = context;

	counting->count += origin_arrange_is_pending(counting->writer, mailbox);
	return 0;
}

static int count_entry(void *context, const struct acl_act *act)
{
	struct counting *counting = context;

	(void)act;
	counting->count++;
	return 0;
}

int origin_arrange_count(struct kv_txn *kv, uint32_t account, uint64_t *count_r)
{
	struct arena *arena = arena_new();
	struct counting counting = { 0 };
	struct account_header header;
	int rc = account_load(kv, account, &header);

	counting.writer = header.writer;
	if (rc == 0 && counting.writer != 0)
		rc = account_each_mailbox(kv, account, arena, count_pending, &counting);
	if (rc == 0 && counting.writer != 0)
		rc = acl_guest_each_act(kv, account, arena, count_entry, &counting);
	arena_free(&arena);
	if (rc == 0)
		*count_r = counting.count;
	return rc;
}

static int find_pending(void *context, const struct mailbox_record *mailbox)
{
	return origin_arrange_is_pending(*(const uint64_t *)context, mailbox);
}

int origin_arrange_waits(struct origin *origin, uint32_t account)
{
	struct arena *arena = arena_new();
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(origin->mail, mail_position(origin->mail), &kv);

	if (rc == 0)
		rc = account_load(kv, account, &header);
	if (rc == 0)
		rc = account_each_mailbox(kv, account, arena, find_pending, &header.writer);
	mail_read_end(&kv);
	arena_free(&arena);
	return rc;
}

struct id128 origin_arrange_home(const struct origin_hand *hand, struct id128 mailbox)
{
	for (size_t i = 0; i < hand->united_count; i++)
		if (id128_equal(hand->united[i].from, mailbox))
			return hand->united[i].to;
	return mailbox;
}

/* ---- settling ---- */

struct settling {
	struct id128 id;
	uint64_t peer;
	bool is_taken;
};

/* What the origin shows is to be listed anew where it did not take the act. */
static int settle_run(struct account_write *write, void *context)
{
	const struct settling *settling = context;
	struct mailbox_record mailbox;
	int rc = account_get_mailbox(
		write->kv, write->header.number, settling->id, write->arena, &mailbox);

	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	mailbox.name_stamp.modseq = SETTLED_MODSEQ;
	mailbox.modseq = account_tick(write, mailbox.modseq);
	rc = account_put_mailbox(write, &mailbox);
	return rc < 0 || settling->is_taken
		       ? rc
		       : point_forget_of(write->store, write->header.number, settling->peer, 0);
}

struct gone {
	struct stamp deleted;
	struct stamp *list;
	size_t count, room;
};

static int note_gone(void *context, const struct message_record *message)
{
	struct gone *gone = context;

	if (message_is_shown(message) || stamp_compare(message->placed, gone->deleted) != 0)
		return 0;
	mem_grow((void **)&gone->list, &gone->room, gone->count + 1, sizeof(*gone->list));
	gone->list[gone->count++] = message->instance;
	return 0;
}

/* So that it can come again: what a delete expunged went by one stamp. */
static int undo_delete(
	struct origin *origin, uint32_t account, struct stamp deleted, struct error *error)
{
	static const struct account_change_functions functions = { .message = note_gone };
	struct gone gone = { .deleted = deleted };
	struct arena *arena = arena_new();
	struct common_point point;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(origin->mail, mail_position(origin->mail), &kv);

	if (rc == 0)
		rc = point_get(kv, account, origin->peer.node, &point);
	if (rc == 0)
		rc = account_each_change(kv, account, point.mine, arena, &functions, &gone);
	mail_read_end(&kv);
	if (rc == 0)
		rc = message_withdraw(origin->mail, account, gone.list, gone.count, error);
	free(gone.list);
	arena_free(&arena);
	return rc;
}

static int settle(struct origin *origin, const struct mailbox_record *mailbox, bool is_taken,
	struct error *error)
{
	struct settling settling = { mailbox->id, origin->peer.node, is_taken };
	uint32_t account = origin->hand.account.number;
	int rc = 0;

	origin->is_changed = true;
	if (mailbox_is_live(mailbox))
		return mail_node_commit(origin->mail, account, settle_run, &settling, error, NULL);
	if (!is_taken)
		rc = undo_delete(origin, account, mailbox->deleted, error);
	return rc < 0 ? rc : mailbox_forget(origin->mail, account, mailbox->id, UINT64_MAX, error);
}

/* ---- one act ---- */

static int act_read(struct origin *origin, struct id128 id, struct arena *arena,
	struct mailbox_record *mailbox_r)
{
	struct origin_hand *hand = &origin->hand;
	struct common_point point;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(origin->mail, mail_position(origin->mail), &kv);

	if (rc == 0)
		rc = account_get_mailbox(kv, hand->account.number, id, arena, mailbox_r);
	if (rc == 0)
		rc = point_get(kv, hand->account.number, origin->peer.node, &point);
	mail_read_end(&kv);
	if (rc == 0 && !origin_arrange_is_pending(hand->account.writer, mailbox_r))
		return ERR_NOT_FOUND;
	buffer_clear(&origin->request);
	if (rc == 0)
		guest_arrange_request(
			hand->account.name, mailbox_r, point.theirs, &origin->request);
	return rc;
}

struct journal {
	uint64_t peer;
	struct merge_conflict conflict;
};

static int journal_run(struct account_write *write, void *context)
{
	const struct journal *journal = context;

	return conflict_put(write, journal->peer, &journal->conflict, 1);
}

int origin_act_refused(struct origin *origin, const struct mailbox_record *mailbox,
	struct stamp act, const struct error *why, struct error *error)
{
	struct journal journal = { origin->peer.node,
		{ .kind = MERGE_GUEST_REFUSED, .mailbox = mailbox->id, .lost = act } };
	struct exchange_result result = { .error = *why };
	const char *account = origin->hand.account.name;
	char name[MAILBOX_NAME_SIZE_MAX + 1], shown[sizeof(name) + ACCOUNT_NAME_SIZE_MAX + 1];
	uint32_t own;
	int rc;

	snprintf(name, sizeof(name), "%.*s", BYTES_ARGS(mailbox->name));
	snprintf(shown, sizeof(shown), "%s/%s", account, name);
	journal.conflict.name = bytes_of_string(shown);
	error_prefix(&result.error, "mailbox \"%s\"", name);
	log_event(LOG_LEVEL_WARNING, "mailbox-act-refused", "account", account, "mailbox", name,
		"error", result.error.text, NULL);
	if (origin->options.tell != NULL)
		origin->options.tell(origin->options.context, account, &result);
	if (origin->first_error.code == 0) {
		origin->first_error = result.error;
		error_prefix(&origin->first_error, "%s", account);
	}
	rc = mail_account_open(origin->mail, bytes_of_string(origin->user), true, error, &own);
	return rc < 0 ? rc
		      : mail_node_commit(origin->mail, own, journal_run, &journal, error, NULL);
}

static int arrange_refused(struct origin *origin, const struct mailbox_record *mailbox,
	struct error *why, struct error *error)
{
	error_prefix(why, mailbox_is_live(mailbox) ? "it is not made or renamed there"
						   : "it is not deleted there");
	return origin_act_refused(origin, mailbox, act_of(mailbox), why, error);
}

static void note_united(struct origin_hand *hand, struct id128 from, struct id128 to)
{
	if (id128_equal(from, to))
		return;
	mem_grow((void **)&hand->united, &hand->united_room, hand->united_count + 1,
		sizeof(*hand->united));
	hand->united[hand->united_count++] = (struct origin_united){ from, to };
}

int origin_arrange_step(struct origin *origin, struct error *error)
{
	struct origin_hand *hand = &origin->hand;
	const struct origin_act act = hand->acts[hand->act_next++];
	struct id128 id = act.mailbox, there = id;
	struct mailbox_record mailbox;
	struct error why = { 0 };
	struct arena *arena;
	struct bytes answer;
	int rc, outcome = 0;

	if (act.entry.identifier.len > 0)
		return origin_acl_step(origin, &act.entry, error);
	arena = arena_new();
	rc = act_read(origin, id, arena, &mailbox);
	if (rc == 0)
		rc = origin_ask(origin, &answer, error);
	if (rc == 0) {
		outcome = guest_arrange_answer(answer, &there, &why);
		if (outcome == 0)
			note_united(hand, id, there);
		else if (guest_is_final(outcome))
			rc = arrange_refused(origin, &mailbox, &why, error);
		if (rc == 0 && (outcome == 0 || guest_is_final(outcome)))
			rc = settle(origin, &mailbox, outcome == 0, error);
		else if (rc == 0)
			origin_hand_put_off(origin, outcome, &why);
	}
	arena_free(&arena);
	return rc < 0 && rc != ERR_NOT_FOUND ? rc : ORIGIN_MORE;
}
