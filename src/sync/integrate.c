#include "sync/integrate.h"

#include "sync/conflict.h"
#include "sync/merge.h"
#include "sync/responder.h"

#define CLOCK_COUNTER_BITS 10

uint64_t integrate_modseq_limit(uint64_t now_ms, uint64_t skew_ms)
{
	uint64_t limit = now_ms + (skew_ms > 0 ? skew_ms : SYNC_SKEW_MS_DEFAULT);

	if (limit > MODSEQ_MAX >> CLOCK_COUNTER_BITS)
		return MODSEQ_MAX;
	return (limit + 1) << CLOCK_COUNTER_BITS;
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

static int merge_and_write(struct account_write *write, struct integrate *integrate,
	const struct change_set *mine, struct arena *arena, struct error *error)
{
	struct own_copy own = { write->kv, write->header.number, arena };
	struct merge_input input = {
		.mine = { &own, own_message, own_mailbox, own_each_mailbox, own_each_shown,
			own_register },
		.my_changes = mine,
		.their_changes = integrate->theirs,
		.node = write->node,
		.clock_last = write->header.clock_last,
		.now_ms = write->now_ms,
		.my_highest = write->header.highest,
		.uidvalidity_last = write->header.uidvalidity_last,
		.is_repair = integrate->compared != NULL,
	};
	struct merge_output output;
	int rc = merge_integrate(&input, arena, error, &output);

	if (rc < 0)
		return rc;
	body_set_offer(integrate->bodies, write);
	rc = write_output(write, &output);
	if (rc == ERR_ILLEGAL)
		return error_set(error, rc, "the merged changes break a promise of this copy");
	if (rc == 0)
		rc = conflict_put(write, integrate->peer, output.conflicts, output.conflict_count);
	integrate->conflict_count = output.conflict_count;
	integrate->sequence = write->header.sequence;
	return rc;
}

int integrate_run(struct account_write *write, struct integrate *integrate, struct error *error)
{
	struct arena *arena = arena_new();
	struct change_set mine = { 0 };
	int rc;

	integrate->sequence_before = write->header.sequence;
	rc = integrate_check(integrate->theirs,
		integrate_modseq_limit(write->now_ms, integrate->skew_ms), error);

	if (rc == 0)
		rc = integrate_check_sizes(write->kv, integrate->bodies, integrate->theirs, error);
	if (rc == 0 && integrate->compared != NULL && write->header.sequence != integrate->expect)
		rc = error_set(error, ERR_CHANGED, "this copy changed during a repair");
	if (rc == 0 && integrate->compared == NULL)
		rc = change_set_read(
			write->kv, &write->header, integrate->since, SIZE_MAX, arena, &mine);
	if (rc == 0)
		rc = merge_and_write(write, integrate,
			integrate->compared != NULL ? integrate->compared : &mine, arena, error);
	change_set_deinit(&mine);
	arena_free(&arena);
	return rc;
}
