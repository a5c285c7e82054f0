/* What a clone remembers of its origin, for those who ask how it is. */
#include "chapard/origin_private.h"

#include "base/pack.h"
#include "mail/tables.h"
#include "sync/point.h"

#define STATE_VERSION 2                    /* 1 has no prefixes */
#define STATE_KEY BYTES_LITERAL("@origin") /* no channel is called so */

static int unpack_text(struct bytes *in, char *text_r, size_t size)
{
	struct bytes text;

	if (unpack_bytes(in, &text) < 0 || text.len >= size)
		return ERR_CORRUPT;
	if (text.len > 0)
		memcpy(text_r, text.ptr, text.len);
	return 0;
}

static int state_decode(struct bytes in, struct origin_state *state)
{
	uint8_t version;

	if (unpack_u8(&in, &version) < 0)
		return ERR_CORRUPT;
	if (version == 0 || version > STATE_VERSION)
		return ERR_VERSION;
	if (unpack_u64(&in, &state->peer) < 0 || unpack_varint(&in, &state->attempt_ms) < 0 ||
		unpack_varint(&in, &state->success_ms) < 0 ||
		unpack_text(&in, state->error, sizeof(state->error)) < 0)
		return ERR_CORRUPT;
	if (version > 1 && (unpack_text(&in, state->other_users_prefix, ORIGIN_PREFIX_SIZE) < 0 ||
				   unpack_text(&in, state->shared_prefix, ORIGIN_PREFIX_SIZE) < 0))
		return ERR_CORRUPT;
	return in.len > 0 ? ERR_CORRUPT : 0;
}

int origin_state_get(struct kv_txn *kv, struct origin_state *state_r)
{
	struct origin_state state = { 0 };
	struct bytes value;
	int rc = kv_get(kv, MAIL_TABLE_CHANNEL, STATE_KEY, &value);

	if (rc == 0)
		rc = state_decode(value, &state);
	else if (rc == ERR_NOT_FOUND)
		rc = 0;
	if (rc == 0)
		*state_r = state;
	return rc;
}

static int put_run(struct store_write *write, void *context)
{
	const struct origin_state *state = context;
	struct buffer value = { 0 };
	int rc;

	pack_u8(&value, STATE_VERSION);
	pack_u64(&value, state->peer);
	pack_varint(&value, state->attempt_ms);
	pack_varint(&value, state->success_ms);
	pack_bytes(&value, bytes_of_string(state->error));
	pack_bytes(&value, bytes_of_string(state->other_users_prefix));
	pack_bytes(&value, bytes_of_string(state->shared_prefix));
	rc = store_put(write, MAIL_TABLE_CHANNEL, STATE_KEY, buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

int origin_state_put(struct mail *mail, const struct origin_state *state, struct error *error)
{
	struct origin_state copy = *state;
	uint64_t position;

	return store_commit(mail_store(mail), put_run, &copy, error, &position);
}

struct pending {
	uint64_t count;
	uint64_t writer; /* of a foreign account, without a common point: only what bears his stamps
			  */
};

static bool is_his(const struct pending *pending, struct stamp stamp)
{
	return pending->writer == 0 || stamp.node == pending->writer;
}

static int count_annotation(void *context, const struct register_record *record)
{
	struct pending *pending = context;

	pending->count += record->kind == RECORD_ANNOTATION && is_his(pending, record->stamp);
	return 0;
}

static int count_act(void *context, const struct message_record *message)
{
	struct pending *pending = context;
	bool is_act = is_his(pending, message->placed);

	for (size_t i = 0; i < message->flag_count && !is_act; i++)
		is_act = is_his(pending, message->flags[i].stamp);
	pending->count += is_act;
	return 0;
}

static int count_mailbox(void *context, const struct mailbox_record *mailbox)
{
	(void)mailbox;
	++((struct pending *)context)->count;
	return 0;
}

static int count_message(void *context, const struct message_record *message)
{
	(void)message;
	++((struct pending *)context)->count;
	return 0;
}

static int count_register(void *context, const struct register_record *record)
{
	(void)record;
	++((struct pending *)context)->count;
	return 0;
}

int origin_count_unsent(struct kv_txn *kv, uint32_t account, uint64_t peer, uint64_t *count_r)
{
	static const struct account_change_functions count = { count_mailbox, count_message,
		count_register };
	/* Of what is seen of another's account it is what was done to messages, and metadata. */
	static const struct account_change_functions count_foreign = { .message = count_act,
		.record = count_annotation };
	struct arena *arena = arena_new();
	struct pending pending = { 0 };
	struct account_header header;
	struct common_point point;
	bool is_foreign;
	int rc = origin_is_foreign(kv, account, &is_foreign);

	if (rc == 0)
		rc = point_get(kv, account, peer, &point);
	if (rc == 0)
		rc = account_load(kv, account, &header);
	/* Without a common point all else comes from there. */
	if (rc == 0 && is_foreign && point.mine == 0)
		pending.writer = header.writer;
	if (rc == 0)
		rc = account_each_change(kv, account, point.mine, arena,
			is_foreign ? &count_foreign : &count, &pending);
	arena_free(&arena);
	if (rc == 0)
		*count_r = pending.count;
	return rc;
}

int origin_count_pending(struct kv_txn *kv, uint32_t account, uint64_t peer, uint64_t *count_r)
{
	uint64_t unsent, acts;
	int rc = origin_count_unsent(kv, account, peer, &unsent);

	if (rc == 0)
		rc = origin_arrange_count(kv, account, &acts);
	if (rc == 0)
		*count_r = unsent + acts;
	return rc;
}
