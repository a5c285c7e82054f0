#include "sync/integrate.h"

#include "sync/conflict.h"
#include "sync/give_way.h"
#include "sync/merge.h"
#include "sync/replica.h"
#include "sync/responder.h"

#include "mail/hold.h"

uint64_t integrate_modseq_limit(uint64_t now_ms, uint64_t skew_ms)
{
	uint64_t limit = now_ms + (skew_ms > 0 ? skew_ms : SYNC_SKEW_MS_DEFAULT);

	if (limit >= MODSEQ_MAX / MODSEQ_PER_MS)
		return MODSEQ_MAX;
	return modseq_of_ms(limit + 1);
}

int integrate_check(const struct change_set *theirs, uint64_t modseq_limit, struct error *error)
{
	int rc = 0;

	if (theirs->highest > modseq_limit)
		return error_set(error, ERR_ILLEGAL, "the peer's clock is too far in the future");
	for (size_t i = 0; i < theirs->mailbox_count && rc == 0; i++)
		rc = merge_check_mailbox(NULL, &theirs->mailboxes[i], modseq_limit, error);
	for (size_t i = 0; i < theirs->message_count && rc == 0; i++)
		rc = merge_check_message(NULL, &theirs->messages[i].record, modseq_limit, error);
	for (size_t i = 0; i < theirs->register_count && rc == 0; i++)
		rc = merge_check_register(NULL, &theirs->registers[i], modseq_limit, error);
	return rc;
}

int integrate_check_sizes(struct kv_txn *kv, const struct body_set *bodies,
	const struct change_set *theirs, struct error *error)
{
	for (size_t i = 0; i < theirs->message_count; i++) {
		const struct message_record *message = &theirs->messages[i].record;
		uint64_t size;
		int rc;

		if (!message_is_shown(message))
			continue;
		rc = body_set_find(bodies, kv, &message->guid, &size);
		if (rc == 0 && size != message->size)
			return error_set(
				error, ERR_ILLEGAL, "a message's size is not that of its body");
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
	}
	return 0;
}

/* The own copy, as merge looks at it. */
struct own_copy {
	struct kv_txn *kv;
	uint32_t account;
	struct arena *arena;
};

static int own_message(void *context, struct stamp instance, struct message_record *message_r)
{
	struct own_copy *own = context;

	return account_get_message(own->kv, own->account, instance, own->arena, message_r);
}

static int own_mailbox(void *context, struct id128 id, struct mailbox_record *mailbox_r)
{
	struct own_copy *own = context;

	return account_get_mailbox(own->kv, own->account, id, own->arena, mailbox_r);
}

static int own_each_mailbox(
	void *context, account_mailbox_function *function, void *function_context)
{
	struct own_copy *own = context;

	return account_each_mailbox(own->kv, own->account, own->arena, function, function_context);
}

static int own_each_shown(void *context, struct id128 mailbox, account_message_function *function,
	void *function_context)
{
	struct own_copy *own = context;

	return account_each_message(own->kv, own->account, mailbox, 1, UINT32_MAX, own->arena,
		function, function_context);
}

static int own_register(void *context, enum record_kind kind, struct id128 mailbox,
	struct bytes key, struct register_record *record_r)
{
	struct own_copy *own = context;

	return account_get_register(
		own->kv, own->account, kind, mailbox, key, own->arena, record_r);
}

static int own_each_register(void *context, enum record_kind kind, struct id128 mailbox,
	struct bytes prefix, account_register_function *function, void *function_context)
{
	struct own_copy *own = context;

	return account_each_register_of(own->kv, own->account, kind, mailbox, prefix, own->arena,
		function, function_context);
}

/* Deleted mailboxes first give up their names, then live ones take theirs. */
static int write_mailboxes(struct account_write *write, const struct merge_output *output)
{
	int rc = 0;

	for (size_t i = 0; i < output->mailbox_count && rc == 0; i++)
		if (!mailbox_is_live(&output->mailboxes[i]))
			rc = account_put_mailbox(write, &output->mailboxes[i]);
	for (size_t i = 0; i < output->mailbox_count && rc == 0; i++)
		if (mailbox_is_live(&output->mailboxes[i]))
			rc = account_put_mailbox(write, &output->mailboxes[i]);
	return rc;
}

static int write_output(struct account_write *write, const struct merge_output *output)
{
	int rc = write_mailboxes(write, output);

	for (size_t i = 0; i < output->message_count && rc == 0; i++)
		rc = account_put_message(write, &output->messages[i]);
	for (size_t i = 0; i < output->register_count && rc == 0; i++)
		rc = account_put_register(write, &output->registers[i]);
	if (rc < 0)
		return rc;
	account_observe(write, output->clock_last);
	return account_write_flush(write);
}

/* ---- the common point within a merge ---- */

/*
 * After the peer has merged what we had at merged_at, and we its result, both copies are the same
 * but for what our clients changed since, and what that made of the merge. If these records are
 * written again, after all others, the sequence before them is a common point. A mailbox that is
 * never quiet would have none otherwise, and every merge would have to go through all that changed
 * since the last quiet moment.
 */
static int renew_mailbox(struct account_write *write, const struct integrate *integrate,
	struct id128 id, struct arena *arena)
{
	const struct mailbox_record *theirs = change_set_mailbox(integrate->theirs, id);
	struct mailbox_record now;
	int rc = account_get_mailbox(write->kv, write->header.number, id, arena, &now);

	if (rc < 0)
		return rc;
	if (theirs != NULL && mailbox_same(&now, theirs) && now.modseq == theirs->modseq &&
		now.uidnext == theirs->uidnext)
		return 0;
	return account_put_mailbox(write, &now);
}

static int renew_message(struct account_write *write, const struct integrate *integrate,
	struct stamp instance, struct arena *arena)
{
	const struct message_change *change = change_set_message(integrate->theirs, instance);
	const struct message_record *theirs = change != NULL ? &change->record : NULL;
	struct message_record now;
	int rc = account_get_message(write->kv, write->header.number, instance, arena, &now);

	if (rc < 0)
		return rc;
	if (theirs != NULL && message_same(&now, theirs) && now.modseq == theirs->modseq)
		return 0;
	write->renews_placed = theirs != NULL ? stamp_compare(now.placed, theirs->placed) != 0
					      : now.placed_sequence > integrate->merged_at;
	write->renews_shown = theirs != NULL ? now.uid != theirs->uid ||
						       !id128_equal(now.mailbox, theirs->mailbox)
					     : now.shown_sequence > integrate->merged_at;
	rc = account_put_message(write, &now);
	write->renews_placed = write->renews_shown = false;
	return rc;
}

static int renew_register(struct account_write *write, const struct integrate *integrate,
	const struct register_record *key, struct arena *arena)
{
	const struct register_record *theirs = change_set_register(integrate->theirs, key);
	struct register_record now;
	int rc = account_get_register(
		write->kv, write->header.number, key->kind, key->mailbox, key->key, arena, &now);

	if (rc < 0)
		return rc;
	if (theirs != NULL && register_same(&now, theirs) && now.modseq == theirs->modseq)
		return 0;
	return account_put_register(write, &now);
}

/* All that was written by the merge, and by clients since the peer merged; each once. */
static void list_written(const struct integrate *integrate, const struct change_set *mine,
	const struct merge_output *output, struct change_set *written)
{
	for (size_t i = 0; i < mine->mailbox_count; i++)
		if (mine->mailboxes[i].sequence > integrate->merged_at)
			change_set_add_mailbox(written, &mine->mailboxes[i]);
	for (size_t i = 0; i < mine->message_count; i++)
		if (mine->messages[i].record.sequence > integrate->merged_at)
			change_set_add_message(written, &mine->messages[i].record, false);
	for (size_t i = 0; i < mine->register_count; i++)
		if (mine->registers[i].sequence > integrate->merged_at)
			change_set_add_register(written, &mine->registers[i]);
	for (size_t i = 0; i < output->mailbox_count; i++)
		change_set_add_mailbox(written, &output->mailboxes[i]);
	for (size_t i = 0; i < output->message_count; i++)
		change_set_add_message(written, &output->messages[i], false);
	for (size_t i = 0; i < output->register_count; i++)
		change_set_add_register(written, &output->registers[i]);
	change_set_normalize(written);
}

static int sort_out_common(struct account_write *write, struct integrate *integrate,
	const struct change_set *mine, const struct merge_output *output, struct arena *arena)
{
	struct change_set written = { 0 };
	int rc = 0;

	integrate->common = write->header.sequence;
	list_written(integrate, mine, output, &written);
	for (size_t i = 0; i < written.mailbox_count && rc == 0; i++)
		rc = renew_mailbox(write, integrate, written.mailboxes[i].id, arena);
	for (size_t i = 0; i < written.message_count && rc == 0; i++)
		rc = renew_message(write, integrate, written.messages[i].record.instance, arena);
	for (size_t i = 0; i < written.register_count && rc == 0; i++)
		rc = renew_register(write, integrate, &written.registers[i], arena);
	change_set_deinit(&written);
	return rc < 0 ? rc : account_write_flush(write);
}

static int tell_also(struct kv_txn *kv, const struct integrate *integrate, struct view *view)
{
	const struct view_also *also = &integrate->also;

	return integrate->is_limited
		       ? view_tell_within(kv, view, integrate->filter->mine, also->ids, also->count)
		       : view_tell(kv, view, also->ids, also->count);
}

int integrate_tell(struct kv_txn *kv, const struct change_set *theirs, struct view *view)
{
	int rc = 0;

	for (size_t i = 0; i < theirs->mailbox_count && rc == 0; i++)
		rc = view_tell(kv, view, &theirs->mailboxes[i].id, 1);
	for (size_t i = 0; i < theirs->message_count && rc == 0; i++) {
		const struct message_record *message = &theirs->messages[i].record;

		if (message_is_shown(message) && !view_has(view, message->mailbox))
			rc = view_tell(kv, view, &message->mailbox, 1);
	}
	return rc;
}

static int merge_and_write(struct account_write *write, struct integrate *integrate,
	const struct change_set *mine, const struct view *view, struct arena *arena,
	struct error *error)
{
	struct own_copy own = { write->kv, write->header.number, arena };
	struct merge_input input = {
		.mine = { &own, own_message, own_mailbox, own_each_mailbox, own_each_shown,
			own_register, own_each_register },
		.my_changes = mine,
		.their_changes = integrate->theirs,
		.view = view,
		.node = write->node,
		.clock_last = write->header.clock_last,
		.now_ms = write->now_ms,
		.my_highest = write->header.highest,
		.uidvalidity_last = write->header.uidvalidity_last,
		.is_repair = integrate->compared != NULL,
		.is_returning = write->header.hold == ACCOUNT_RETURNING,
	};
	struct merge_output output;
	int rc = merge_integrate(&input, arena, error, &output);

	if (rc < 0)
		return rc;
	body_set_offer(integrate->bodies, write);
	rc = write_output(write, &output);
	if (rc == ERR_ILLEGAL)
		return error_set(error, rc, "the merged changes break a promise of this copy");
	if (rc == 0 && integrate->merged_at != 0)
		rc = sort_out_common(write, integrate, mine, &output, arena);
	if (rc == 0)
		rc = conflict_put(write, integrate->peer, output.conflicts, output.conflict_count);
	integrate->conflict_count = output.conflict_count;
	if (rc == 0)
		rc = replica_report(write, integrate->peer, integrate->theirs);
	if (rc == 0)
		rc = withheld_drop(write, integrate->peer, integrate->theirs);
	return rc;
}

static bool is_of_another(const struct integrate *integrate)
{
	return integrate->filter != NULL && integrate->filter->foreign != NULL;
}

/* A merge may give UIDs that the source of a first copy gives to others. */
static int note_mixed(struct account_write *write)
{
	struct account_fill fill;
	int rc;

	if (write->header.hold != ACCOUNT_FILLING)
		return 0;
	rc = account_fill_get(write->kv, write->header.number, &fill);
	if (rc < 0 || fill.is_mixed)
		return rc;
	fill.is_mixed = true;
	return account_fill_put(write, &fill);
}

int integrate_run(struct account_write *write, struct integrate *integrate, struct error *error)
{
	struct arena *arena = arena_new();
	struct give_way way = { 0 };
	struct change_set mine = { 0 };
	struct view view;
	int rc = integrate_check(integrate->theirs,
		integrate_modseq_limit(write->now_ms, integrate->skew_ms), error);

	if (rc == 0)
		rc = integrate_check_sizes(write->kv, integrate->bodies, integrate->theirs, error);
	if (rc == 0 && integrate->compared != NULL && write->header.sequence != integrate->expect)
		rc = error_set(error, ERR_CHANGED, "this copy changed during a repair");
	view = (struct view){ .is_whole = true };
	if (rc == 0 && is_of_another(integrate))
		rc = give_way_begin(&way, write, integrate->theirs, integrate->since);
	if (rc == 0)
		rc = view_open(
			write->kv, write->header.number, integrate->filter, integrate->peer, &view);
	view.is_limited = integrate->is_limited;
	if (rc == 0)
		rc = view_withhold(write->kv, &view, integrate->peer);
	if (rc == 0)
		rc = tell_also(write->kv, integrate, &view);
	if (rc == 0)
		rc = integrate_tell(write->kv, integrate->theirs, &view);
	if (rc == 0 && integrate->compared == NULL)
		rc = view_changes(write->kv, &write->header, &view, integrate->since,
			integrate->since, SIZE_MAX, arena, &mine);
	if (integrate->is_sorted_out)
		change_set_sort_out(&mine, integrate->since);
	if (rc == 0)
		rc = merge_and_write(write, integrate,
			integrate->compared != NULL ? integrate->compared : &mine, &view, arena,
			error);
	if (rc == 0)
		rc = give_way_end(&way, write);
	if (rc == 0)
		rc = note_mixed(write);
	give_way_deinit(&way);
	view_close(&view);
	change_set_deinit(&mine);
	arena_free(&arena);
	return rc;
}
