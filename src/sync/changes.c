#include "sync/changes.h"

#include "base/error.h"
#include "base/mem.h"

#include <limits.h>
#include <stdlib.h>

#define READ_STOP INT_MAX /* the set is full; never seen by callers */

void change_set_deinit(struct change_set *set)
{
	free(set->mailboxes);
	free(set->messages);
	free(set->registers);
	*set = (struct change_set){ 0 };
}

void change_set_add_mailbox(struct change_set *set, const struct mailbox_record *mailbox)
{
	mem_grow((void **)&set->mailboxes, &set->mailbox_room, set->mailbox_count + 1,
		sizeof(*set->mailboxes));
	set->mailboxes[set->mailbox_count++] = *mailbox;
}

void change_set_add_message(
	struct change_set *set, const struct message_record *message, bool was_common)
{
	mem_grow((void **)&set->messages, &set->message_room, set->message_count + 1,
		sizeof(*set->messages));
	set->messages[set->message_count++] =
		(struct message_change){ .record = *message, .was_common = was_common };
}

void change_set_add_register(struct change_set *set, const struct register_record *record)
{
	mem_grow((void **)&set->registers, &set->register_room, set->register_count + 1,
		sizeof(*set->registers));
	set->registers[set->register_count++] = *record;
}

static int compare_mailboxes(const void *a, const void *b)
{
	return id128_compare(
		((const struct mailbox_record *)a)->id, ((const struct mailbox_record *)b)->id);
}

static int compare_messages(const void *a, const void *b)
{
	return stamp_compare(((const struct message_change *)a)->record.instance,
		((const struct message_change *)b)->record.instance);
}

static int compare_registers(const void *a, const void *b)
{
	const struct register_record *left = a, *right = b;
	int order;

	if (left->kind != right->kind)
		return left->kind < right->kind ? -1 : 1;
	order = id128_compare(left->mailbox, right->mailbox);
	return order != 0 ? order : bytes_compare(left->key, right->key);
}

/* Returns the new count. Of equal members the last stays, so the sort must keep their order:
 * merging does. */
static void merge_halves(unsigned char *base, size_t left, size_t count, size_t size,
	int (*compare)(const void *, const void *), unsigned char *scratch)
{
	size_t at = 0, other = left, out = 0;

	memcpy(scratch, base, left * size);
	while (at < left) {
		bool take_other =
			other < count && compare(scratch + at * size, base + other * size) > 0;

		memcpy(base + out++ * size, take_other ? base + other * size : scratch + at * size,
			size);
		if (take_other)
			other++;
		else
			at++;
	}
}

static void sort_stable(unsigned char *base, size_t count, size_t size,
	int (*compare)(const void *, const void *), unsigned char *scratch)
{
	size_t left = count / 2;

	if (count < 2)
		return;
	sort_stable(base, left, size, compare, scratch);
	sort_stable(base + left * size, count - left, size, compare, scratch);
	if (compare(base + (left - 1) * size, base + left * size) > 0)
		merge_halves(base, left, count, size, compare, scratch);
}

static size_t normalize(
	void *array, size_t count, size_t size, int (*compare)(const void *, const void *))
{
	unsigned char *base = array, *scratch;
	size_t kept = 0;

	if (count < 2)
		return count;
	scratch = mem_alloc((count / 2 + 1) * size);
	sort_stable(base, count, size, compare, scratch);
	free(scratch);
	for (size_t i = 0; i < count; i++) {
		if (i + 1 < count && compare(base + i * size, base + (i + 1) * size) == 0)
			continue;
		if (kept != i)
			memcpy(base + kept * size, base + i * size, size);
		kept++;
	}
	return kept;
}

void change_set_normalize(struct change_set *set)
{
	set->mailbox_count = normalize(
		set->mailboxes, set->mailbox_count, sizeof(*set->mailboxes), compare_mailboxes);
	set->message_count = normalize(
		set->messages, set->message_count, sizeof(*set->messages), compare_messages);
	set->register_count = normalize(
		set->registers, set->register_count, sizeof(*set->registers), compare_registers);
}

void change_set_sort_out(struct change_set *set, uint64_t point)
{
	for (size_t i = 0; i < set->message_count; i++) {
		struct message_record *message = &set->messages[i].record;

		if (message->placed_again > point) {
			message->placed_sequence = message->placed_again;
			set->messages[i].was_common = false;
		}
		if (message->shown_again > point)
			message->shown_sequence = message->shown_again;
	}
}

void change_set_all_new(struct change_set *set)
{
	for (size_t i = 0; i < set->message_count; i++)
		set->messages[i].was_common = false;
	for (size_t i = 0; i < set->register_count; i++)
		set->registers[i].was_common = false;
}

static const void *find(const void *key, const void *array, size_t count, size_t size,
	int (*compare)(const void *, const void *))
{
	return count == 0 ? NULL : bsearch(key, array, count, size, compare);
}

const struct mailbox_record *change_set_mailbox(const struct change_set *set, struct id128 id)
{
	struct mailbox_record key = { .id = id };

	return find(&key, set->mailboxes, set->mailbox_count, sizeof(key), compare_mailboxes);
}

const struct message_change *change_set_message(const struct change_set *set, struct stamp instance)
{
	struct message_change key = { .record.instance = instance };

	return find(&key, set->messages, set->message_count, sizeof(key), compare_messages);
}

const struct register_record *change_set_register(
	const struct change_set *set, const struct register_record *key)
{
	return find(key, set->registers, set->register_count, sizeof(*key), compare_registers);
}

struct read_context {
	struct change_set *set;
	uint64_t common;
	uint64_t reached;
	size_t room;
};

static int read_one(struct read_context *read, uint64_t sequence)
{
	if (read->room == 0)
		return READ_STOP;
	read->room--;
	read->reached = sequence;
	return 0;
}

static int read_mailbox(void *context, const struct mailbox_record *mailbox)
{
	struct read_context *read = context;
	int rc = read_one(read, mailbox->sequence);

	if (rc == 0)
		change_set_add_mailbox(read->set, mailbox);
	return rc;
}

static int read_message(void *context, const struct message_record *message)
{
	struct read_context *read = context;
	int rc = read_one(read, message->sequence);

	if (rc == 0)
		change_set_add_message(
			read->set, message, message->placed_sequence <= read->common);
	return rc;
}

static int read_register(void *context, const struct register_record *record)
{
	struct read_context *read = context;
	int rc = read_one(read, record->sequence);

	if (rc == 0)
		change_set_add_register(read->set, record);
	return rc;
}

int change_set_read(struct kv_txn *kv, const struct account_header *header, uint64_t since,
	uint64_t common, size_t count_max, struct arena *arena, struct change_set *set_r)
{
	static const struct account_change_functions functions = { read_mailbox, read_message,
		read_register };
	struct read_context read = { .set = set_r, .common = common, .room = count_max };
	int rc;

	*set_r = (struct change_set){ .account = header->id,
		.since = since,
		.sequence = header->sequence,
		.highest = header->highest,
		.has_forgotten = header->forgotten > common };
	rc = account_each_change(kv, header->number, since, arena, &functions, &read);
	if (rc < 0) {
		change_set_deinit(set_r);
		return rc;
	}
	if (rc == READ_STOP)
		set_r->sequence = read.reached;
	change_set_normalize(set_r);
	return 0;
}
