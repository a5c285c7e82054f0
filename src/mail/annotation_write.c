/* Changing annotations. */
#include "mail/annotation.h"

#include "base/error.h"
#include "base/mem.h"
#include "mail/annotation_private.h"
#include "mail/mail_private.h"

#include <stdlib.h>

static const struct id128 nobody;

/* Writes one register if it is not so already. */
static int put_one(struct account_write *write, struct id128 mailbox, struct bytes key,
	const struct annotation *change, struct stamp *stamp, bool *is_changed)
{
	struct register_record record = { .kind = RECORD_ANNOTATION,
		.mailbox = mailbox,
		.key = key,
		.is_set = change->is_set,
		.value = change->is_set ? change->value : bytes_of(NULL, 0) };
	struct register_record before;
	int rc = account_get_register(write->kv, write->header.number, RECORD_ANNOTATION, mailbox,
		key, write->arena, &before);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (rc == 0 ? before.is_set == record.is_set &&
				(!record.is_set || bytes_equal(before.value, record.value))
		    : !record.is_set)
		return 0;
	if (stamp_is_none(*stamp))
		*stamp = account_stamp(write);
	*is_changed = true;
	record.stamp = *stamp;
	record.modseq = stamp->modseq;
	return account_put_register(write, &record);
}

struct tally {
	size_t counts[2]; /* private, shared */
	uint64_t sizes[2];
};

static int tally_one(void *context, const struct annotation *annotation)
{
	struct tally *tally = context;
	int at = annotation->scope == ANNOTATION_SHARED;

	tally->counts[at] += annotation->is_set;
	tally->sizes[at] += annotation->is_set ? annotation->value.len : 0;
	return 0;
}

static bool is_over(const struct tally *tally, size_t count_max)
{
	return tally->counts[0] > count_max || tally->counts[1] > count_max ||
	       tally->sizes[0] > ANNOTATION_TOTAL_SIZE_MAX ||
	       tally->sizes[1] > ANNOTATION_TOTAL_SIZE_MAX;
}

static bool sets_any(const struct annotation *changes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (changes[i].is_set)
			return true;
	return false;
}

/* ---- metadata ---- */

static uint32_t metadata_home(const struct metadata_change *change, const struct annotation *entry)
{
	return entry->scope == ANNOTATION_SHARED ? change->account : change->own;
}

int metadata_check(struct account_write *write, struct id128 mailbox)
{
	static const enum annotation_scope scopes[] = { ANNOTATION_PRIVATE, ANNOTATION_SHARED };
	struct tally tally = { 0 };
	int rc = 0;

	for (int i = 0; i < 2 && rc == 0; i++)
		rc = metadata_each(write->kv, write->header.number, mailbox, scopes[i],
			bytes_of(NULL, 0), write->arena, tally_one, &tally);
	return rc == 0 && is_over(&tally, ANNOTATION_COUNT_MAX) ? ERR_TOO_LARGE : rc;
}

/* The entries that are kept in one of the accounts. */
static int set_entries(struct account_write *write, const struct metadata_change *change)
{
	uint32_t account = write->header.number;
	struct stamp stamp = { 0, 0 };
	bool is_changed = false;
	int rc = 0;

	for (size_t i = 0; i < change->count && rc == 0; i++) {
		const struct annotation *entry = &change->entries[i];
		unsigned char at[REGISTER_KEY_SIZE_MAX];

		if (metadata_home(change, entry) == account)
			rc = put_one(write, change->mailbox,
				metadata_key(at, entry->scope, entry->entry), entry, &stamp,
				&is_changed);
	}
	if (rc < 0 || !sets_any(change->entries, change->count))
		return rc;
	return metadata_check(write, change->mailbox);
}

static bool has_entries_in(const struct metadata_change *change, uint32_t account)
{
	for (size_t i = 0; i < change->count; i++) {
		if (metadata_home(change, &change->entries[i]) == account)
			return true;
	}
	return false;
}

/* In the account of the mailbox, or of the server. */
static int set_there(struct accounts_write *accounts, const struct metadata_change *change)
{
	struct mailbox_record mailbox;
	struct account_write *write;
	int rc = accounts_write_get(accounts, change->account, &write);

	if (rc < 0)
		return rc;
	if (!id128_is_none(change->mailbox)) {
		rc = account_get_mailbox(
			write->kv, change->account, change->mailbox, write->arena, &mailbox);
		if (rc < 0 || !mailbox_is_live(&mailbox))
			return rc < 0 ? rc : ERR_NOT_FOUND;
	}
	if (change->sets_special_use)
		rc = mailbox_put_special_use(write, change->mailbox, change->special_use);
	return rc < 0 ? rc : set_entries(write, change);
}

static int metadata_run(struct accounts_write *accounts, void *context)
{
	const struct metadata_change *change = context;
	struct account_write *own;
	int rc = 0;

	if (change->sets_special_use || has_entries_in(change, change->account))
		rc = set_there(accounts, change);
	if (rc < 0 || change->own == change->account || !has_entries_in(change, change->own))
		return rc;
	rc = accounts_write_get(accounts, change->own, &own);
	return rc < 0 ? rc : set_entries(own, change);
}

int metadata_set(struct mail *mail, const struct metadata_change *change, struct error *error,
	uint64_t *position_r)
{
	int rc = accounts_commit(mail, metadata_run, (void *)change, error, position_r);

	if (rc == ERR_NOT_FOUND)
		return error_set(error, rc, "the mailbox does not exist any more");
	if (rc == ERR_TOO_LARGE)
		return error_set(error, rc, "too many annotations, or too much in them");
	return rc == ERR_EXISTS ? error_set(error, rc, "another mailbox has that special use") : rc;
}

struct metadata_copy {
	struct account_write *write;
	struct id128 to;
	struct stamp stamp;
};

static int copy_metadata_one(void *context, const struct annotation *annotation)
{
	struct metadata_copy *copy = context;
	unsigned char at[REGISTER_KEY_SIZE_MAX];
	bool is_changed = false;

	if (!annotation->is_set)
		return 0;
	return put_one(copy->write, copy->to,
		metadata_key(at, annotation->scope, annotation->entry), annotation, &copy->stamp,
		&is_changed);
}

int annotations_copy_mailbox(struct account_write *write, struct id128 from, struct id128 to)
{
	struct metadata_copy copy = { .write = write, .to = to };
	int rc = metadata_each(write->kv, write->header.number, from, ANNOTATION_PRIVATE,
		bytes_of(NULL, 0), write->arena, copy_metadata_one, &copy);

	if (rc == 0)
		rc = metadata_each(write->kv, write->header.number, from, ANNOTATION_SHARED,
			bytes_of(NULL, 0), write->arena, copy_metadata_one, &copy);
	return rc;
}

/* ---- messages ---- */

static int put_changes(struct account_write *write, struct id128 owner, struct stamp instance,
	const struct annotation *changes, size_t count, struct stamp *stamp, bool *is_changed)
{
	struct tally tally = { 0 };
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		unsigned char at[REGISTER_KEY_SIZE_MAX];

		rc = put_one(write, owner,
			message_annotation_key(at, instance, changes[i].scope, changes[i].entry),
			&changes[i], stamp, is_changed);
	}
	if (rc < 0 || !*is_changed || !sets_any(changes, count))
		return rc;
	rc = message_annotation_each(
		write->kv, write->header.number, owner, instance, write->arena, tally_one, &tally);
	return rc == 0 && is_over(&tally, ANNOTATION_MESSAGE_COUNT_MAX) ? ERR_TOO_LARGE : rc;
}

int annotations_put(struct account_write *write, struct message_record *message,
	const struct annotation *changes, size_t count, bool *is_changed_r)
{
	struct flag_state flag = { BYTES_LITERAL(ANNOTATION_FLAG), { 0, 0 }, false };
	struct stamp stamp = { 0, 0 };
	int rc;

	*is_changed_r = false;
	rc = put_changes(write, nobody, message->instance, changes, count, &stamp, is_changed_r);
	if (rc < 0 || !*is_changed_r)
		return rc;
	flag.stamp = stamp;
	message->modseq = stamp.modseq;
	return message_flag_put(message, write->arena, flag);
}

struct annotate_context {
	struct message_step step;
	const struct annotation *changes;
	size_t count;
	uint64_t unchanged_since;
	struct uid_set *changed;
	struct uid_set *modified;
};

static int annotate_run(struct account_write *write, void *context)
{
	struct annotate_context *annotate = context;
	int rc = message_step_read(write, &annotate->step);

	for (size_t i = 0; i < annotate->step.count && rc == 0; i++) {
		struct message_record *message = &annotate->step.messages[i];
		bool is_changed;

		if (message->modseq > annotate->unchanged_since) {
			uid_set_add(annotate->modified, message->uid, message->uid);
			continue;
		}
		rc = annotations_put(
			write, message, annotate->changes, annotate->count, &is_changed);
		if (rc < 0 || !is_changed)
			continue;
		uid_set_add(annotate->changed, message->uid, message->uid);
		rc = account_put_message(write, message);
	}
	return rc;
}

static int annotate_result(int rc, struct error *error)
{
	return rc == ERR_TOO_LARGE ? error_set(error, rc, "too many annotations of one message")
				   : rc;
}

int message_annotate(struct mail *mail, uint32_t account, struct id128 mailbox,
	const struct uid_set *uids, const struct annotation *changes, size_t count,
	uint64_t unchanged_since, struct error *error, struct uid_set *changed_r,
	struct uid_set *modified_r, uint64_t *position_r)
{
	struct annotate_context annotate = { .step = { .mailbox = mailbox, .uids = uids },
		.changes = changes,
		.count = count,
		.unchanged_since = unchanged_since,
		.changed = changed_r,
		.modified = modified_r };
	int rc = 0;

	while (rc == 0 && !annotate.step.is_done)
		rc = mail_commit(mail, account, annotate_run, &annotate, error, position_r);
	free(annotate.step.messages);
	return annotate_result(rc, error);
}

struct private_context {
	struct id128 owner;
	const struct stamp *instances;
	size_t instance_count;
	const struct annotation *changes;
	size_t count;
};

static int private_run(struct account_write *write, void *context)
{
	const struct private_context *set = context;
	int rc = 0;

	for (size_t i = 0; i < set->instance_count && rc == 0; i++) {
		struct stamp stamp = { 0, 0 };
		bool is_changed = false;

		rc = put_changes(write, set->owner, set->instances[i], set->changes, set->count,
			&stamp, &is_changed);
	}
	return rc;
}

int message_annotate_privately(struct mail *mail, uint32_t account, struct id128 owner,
	const struct stamp *instances, size_t instance_count, const struct annotation *changes,
	size_t count, struct error *error, uint64_t *position_r)
{
	struct private_context set = { owner, instances, instance_count, changes, count };

	return annotate_result(
		mail_commit(mail, account, private_run, &set, error, position_r), error);
}

/* ---- along with messages and mailboxes ---- */

struct registers {
	struct register_record *list;
	size_t count, room;
};

static int collect_set(void *context, const struct register_record *record)
{
	struct registers *registers = context;

	if (!record->is_set)
		return 0;
	mem_grow((void **)&registers->list, &registers->room, registers->count + 1,
		sizeof(*registers->list));
	registers->list[registers->count++] = *record;
	return 0;
}

/* `keeps_values`: in the tombstones, so that they can be brought back with what they are of. */
static int clear_all(
	struct account_write *write, struct id128 mailbox, struct bytes prefix, bool keeps_values)
{
	struct registers registers = { 0 };
	int rc = account_each_register_of(write->kv, write->header.number, RECORD_ANNOTATION,
		mailbox, prefix, write->arena, collect_set, &registers);

	for (size_t i = 0; i < registers.count && rc == 0; i++) {
		struct register_record *record = &registers.list[i];

		record->is_set = false;
		if (!keeps_values)
			record->value = bytes_of(NULL, 0);
		record->stamp = account_stamp(write);
		record->modseq = record->stamp.modseq;
		rc = account_put_register(write, record);
	}
	free(registers.list);
	return rc;
}

int annotations_clear_mailbox(struct account_write *write, struct id128 mailbox)
{
	return clear_all(write, mailbox, bytes_of(NULL, 0), false);
}

int annotations_clear_message(struct account_write *write, const struct message_record *message)
{
	unsigned char at[REGISTER_KEY_SIZE_MAX];

	if (!annotation_was_made(message))
		return 0;
	return clear_all(write, nobody, annotation_prefix(at, message->instance), true);
}

struct copying {
	bool is_foreign;
	bool is_gone; /* those that went with their message, and not by their user before */
	struct annotation *list;
	size_t count, room;
};

static int copy_one(void *context, const struct annotation *annotation)
{
	struct copying *copying = context;
	bool is_there = copying->is_gone ? !annotation->is_set && annotation->value.len > 0
					 : annotation->is_set;

	if (!is_there || (copying->is_foreign && annotation->scope == ANNOTATION_PRIVATE))
		return 0;
	mem_grow((void **)&copying->list, &copying->room, copying->count + 1,
		sizeof(*copying->list));
	copying->list[copying->count] = *annotation;
	copying->list[copying->count++].is_set = true;
	return 0;
}

static int copy_private_one(void *context, const struct annotation *annotation)
{
	return annotation->scope == ANNOTATION_PRIVATE ? copy_one(context, annotation) : 0;
}

int annotations_put_privately(struct account_write *own, struct id128 owner, struct stamp instance,
	const struct annotation *changes, size_t count)
{
	struct copying copying = { .is_foreign = false };
	struct stamp stamp = { 0, 0 };
	bool is_changed = false;
	int rc = 0;

	for (size_t i = 0; i < count; i++)
		copy_private_one(&copying, &changes[i]);
	if (copying.count > 0)
		rc = put_changes(
			own, owner, instance, copying.list, copying.count, &stamp, &is_changed);
	free(copying.list);
	return rc;
}

int annotations_copy_privately(struct account_write *own, const struct account_write *from,
	struct stamp instance, struct account_write *to, struct message_record *copy)
{
	struct copying copying = { .is_foreign = false };
	bool is_changed = false;
	int rc = message_annotation_each(own->kv, own->header.number,
		from == own ? nobody : from->header.id, instance, own->arena, copy_private_one,
		&copying);

	if (rc == 0 && to != own)
		rc = annotations_put_privately(
			own, to->header.id, copy->instance, copying.list, copying.count);
	else if (rc == 0)
		rc = annotations_put(to, copy, copying.list, copying.count, &is_changed);
	if (rc == 0 && is_changed)
		rc = account_put_message(to, copy);
	free(copying.list);
	return rc;
}

static int copy_all(struct account_write *write, uint32_t from_account, bool is_gone,
	const struct message_record *from, struct message_record *copy)
{
	struct copying copying = { .is_foreign = from_account != write->header.number,
		.is_gone = is_gone };
	bool is_changed = false;
	int rc = 0;

	if (!annotation_was_made(from))
		return 0;
	rc = message_annotation_each(
		write->kv, from_account, nobody, from->instance, write->arena, copy_one, &copying);
	if (rc == 0)
		rc = annotations_put(write, copy, copying.list, copying.count, &is_changed);
	if (rc == 0 && is_changed)
		rc = account_put_message(write, copy);
	free(copying.list);
	return rc;
}

int annotations_copy(struct account_write *write, uint32_t from_account,
	const struct message_record *from, struct message_record *copy)
{
	return copy_all(write, from_account, false, from, copy);
}

int annotations_bring_back(struct account_write *write, const struct message_record *gone,
	struct message_record *message)
{
	return copy_all(write, write->header.number, true, gone, message);
}
