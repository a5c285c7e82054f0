/*
 * Who may do what with others' mailboxes, in a clone: asked of the origin where the user may
 * administer them (right "a"), and what he changed of it here, told to it (sync/guest_acl.h).
 */
#include "chapard/origin_private.h"

#include "base/clock.h"
#include "mail/acl_guest.h"
#include "sync/guest.h"
#include "sync/guest_acl.h"

#define WHOLE_MS (24u * 3600 * 1000) /* all are asked for after that: tombstones expire there */

/* ---- what the origin tells ---- */

/* From where on to ask; false: there is nothing to be asked. */
static int since_when(struct origin *origin, const struct origin_foreign *foreign, bool lacks_any,
	struct acl_guest_point *point_r)
{
	uint64_t now_ms = clock_now_ms(mail_clock(origin->mail));
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(origin->mail, mail_position(origin->mail), &kv);

	if (rc == 0)
		rc = acl_guest_point_get(kv, foreign->number, point_r);
	mail_read_end(&kv);
	if (rc == 0 && (lacks_any || point_r->node != origin->peer.node ||
			       now_ms < point_r->whole_ms || now_ms - point_r->whole_ms > WHOLE_MS))
		*point_r =
			(struct acl_guest_point){ .node = origin->peer.node, .whole_ms = now_ms };
	return rc;
}

static void append_list(
	struct guest_acl_list *all, const struct guest_acl_list *some, struct arena *arena)
{
	struct guest_acl *list = arena_alloc(arena, (all->count + some->count + 1) * sizeof(*list));

	if (all->count > 0)
		memcpy(list, all->list, all->count * sizeof(*list));
	if (some->count > 0)
		memcpy(list + all->count, some->list, some->count * sizeof(*list));
	all->list = list;
	all->count += some->count;
}

int origin_acl_ask(struct origin *origin, const struct origin_foreign *foreign, bool lacks_any,
	struct origin_acl *acl_r, struct error *error)
{
	const struct origin_account *theirs = &origin->accounts[origin->account_next];
	struct guest_acl_list some = { .has_more = true };
	struct id128 after = { { 0 } };
	struct error why = { 0 };
	struct bytes answer;
	int rc = since_when(origin, foreign, lacks_any, &acl_r->point);
	uint64_t since = acl_r->point.sequence;

	if (rc < 0 || (since != 0 && since == theirs->sequence))
		return rc;
	while (rc == 0 && some.has_more) {
		buffer_clear(&origin->request);
		guest_acl_request(theirs->name, since, after, &origin->request);
		rc = origin_ask(origin, &answer, error);
		if (rc < 0)
			break;
		answer = arena_copy(acl_r->arena, answer);
		/* One that does not know the request, or has no time: as it was, then. */
		if (guest_acl_answer(answer, acl_r->arena, &some, &why) < 0)
			return 0;
		if (!acl_r->is_told)
			acl_r->point.sequence = some.sequence;
		acl_r->is_told = true;
		append_list(&acl_r->list, &some, acl_r->arena);
		if (some.count > 0)
			after = some.list[some.count - 1].mailbox;
	}
	return rc;
}

const struct acl *origin_acl_of(const struct origin_acl *acl, struct id128 mailbox)
{
	for (size_t i = 0; i < acl->list.count; i++)
		if (id128_equal(acl->list.list[i].mailbox, mailbox))
			return &acl->list.list[i].entries;
	return NULL;
}

/* ---- what the user changed ---- */

static int note_act(void *context, const struct acl_act *act)
{
	struct origin_hand *hand = context;

	struct acl_act *entry = &origin_act_add(hand, act->stamp, act->mailbox)->entry;

	*entry = *act;
	entry->identifier = arena_copy(hand->arena, act->identifier);
	return 0;
}

int origin_acl_list(struct origin *origin, struct kv_txn *kv)
{
	struct origin_hand *hand = &origin->hand;
	struct arena *arena = arena_new();
	int rc = acl_guest_each_act(kv, hand->account.number, arena, note_act, hand);

	arena_free(&arena);
	return rc;
}

/* 1: it was deleted here, so nobody is to hear who may do what with it. */
static int find_mailbox(struct origin *origin, struct id128 id, struct arena *arena,
	struct mailbox_record *mailbox_r)
{
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(origin->mail, mail_position(origin->mail), &kv);

	if (rc == 0)
		rc = account_get_mailbox(kv, origin->hand.account.number, id, arena, mailbox_r);
	mail_read_end(&kv);
	if (rc == ERR_NOT_FOUND) { /* forgotten, for the origin does not show it any more */
		*mailbox_r = (struct mailbox_record){ .id = id };
		return 0;
	}
	return rc < 0 ? rc : !mailbox_is_live(mailbox_r);
}

int origin_acl_step(struct origin *origin, const struct acl_act *act, struct error *error)
{
	struct origin_hand *hand = &origin->hand;
	struct acl_act told = *act;
	struct arena *arena = arena_new();
	struct mailbox_record mailbox;
	struct error why = { 0 };
	struct bytes answer;
	int rc = find_mailbox(origin, act->mailbox, arena, &mailbox), outcome = 0;
	bool is_void = rc > 0;

	told.mailbox = origin_arrange_home(hand, act->mailbox);
	buffer_clear(&origin->request);
	guest_acl_set_request(hand->account.name, &told, &origin->request);
	if (rc == 0)
		rc = origin_ask(origin, &answer, error);
	if (rc == 0)
		outcome = guest_acl_set_answer(answer, &why);
	if (rc == 0 && outcome < 0 && guest_is_final(outcome)) {
		error_prefix(&why, "what \"%.*s\" may do is not changed there",
			BYTES_ARGS(act->identifier));
		rc = origin_act_refused(origin, &mailbox, act->stamp, &why, error);
		origin->is_changed = true;
	} else if (rc == 0 && outcome < 0) {
		origin_hand_put_off(origin, outcome, &why);
	}
	if (is_void || (rc == 0 && (outcome == 0 || guest_is_final(outcome))))
		rc = acl_guest_settle(origin->mail, hand->account.number, act, outcome == 0, error);
	arena_free(&arena);
	return rc < 0 ? rc : ORIGIN_MORE;
}
