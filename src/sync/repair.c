#include "sync/repair.h"

struct register_sum {
	struct digest digest;
	uint64_t count;
};

static int sum_register(void *context, const struct register_record *record)
{
	struct register_sum *sum = context;

	if (record->is_set) {
		digest_add(&sum->digest, register_term(record));
		sum->count++;
	}
	return 0;
}

int repair_sum_registers(struct kv_txn *kv, uint32_t account, struct arena *arena,
	struct digest *digest_r, uint64_t *count_r)
{
	struct register_sum sum = { 0 };
	int rc = 0;

	for (int kind = RECORD_ACCOUNT; kind <= RECORD_SCRIPT && rc == 0; kind++)
		if (kind != RECORD_MAILBOX && kind != RECORD_MESSAGE)
			rc = account_each_register(
				kv, account, (enum record_kind)kind, arena, sum_register, &sum);
	*digest_r = sum.digest;
	*count_r = sum.count;
	return rc;
}

struct collect {
	struct change_set *set;
	uint64_t since;
};

/* One written since may have been so before; but then it is told as new, which loses nothing. */
static int collect_register(void *context, const struct register_record *record)
{
	struct collect *collect = context;
	struct register_record told = *record;

	told.was_common = record->sequence <= collect->since;
	change_set_add_register(collect->set, &told);
	return 0;
}

int repair_collect_registers(struct kv_txn *kv, uint32_t account, uint64_t since,
	struct arena *arena, struct change_set *set)
{
	struct collect collect = { set, since };
	int rc = 0;

	for (int kind = RECORD_ACCOUNT; kind <= RECORD_SCRIPT && rc == 0; kind++)
		if (kind != RECORD_MAILBOX && kind != RECORD_MESSAGE)
			rc = account_each_register(kv, account, (enum record_kind)kind, arena,
				collect_register, &collect);
	return rc;
}

static int collect_mailbox(void *context, const struct mailbox_record *mailbox)
{
	change_set_add_mailbox(context, mailbox);
	return 0;
}

int repair_collect_mailboxes(
	struct kv_txn *kv, uint32_t account, struct arena *arena, struct change_set *set)
{
	return account_each_mailbox(kv, account, arena, collect_mailbox, set);
}

static int collect_message(void *context, const struct message_record *message)
{
	struct collect *collect = context;

	change_set_add_message(collect->set, message, message->placed_sequence <= collect->since);
	return 0;
}

int repair_collect_messages(struct kv_txn *kv, uint32_t account, struct id128 mailbox,
	uint32_t first, uint32_t last, uint64_t since, struct arena *arena, struct change_set *set)
{
	struct collect collect = { set, since };

	return account_each_message(
		kv, account, mailbox, first, last, arena, collect_message, &collect);
}

int repair_collect_instance(struct kv_txn *kv, uint32_t account, struct stamp instance,
	uint64_t since, struct arena *arena, struct change_set *set)
{
	struct collect collect = { set, since };
	struct message_record message;
	int rc = account_get_message(kv, account, instance, arena, &message);

	if (rc == ERR_NOT_FOUND)
		return 0;
	return rc < 0 ? rc : collect_message(&collect, &message);
}
