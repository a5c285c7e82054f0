/* Messages as users change them: append, flags, expunge. COPY and MOVE are in shared_copy.c. */
#include "mail/mail.h"

#include "base/error.h"
#include "base/mem.h"
#include "mail/annotation.h"
#include "mail/mail_private.h"
#include "mail/quota.h"

#include <stdlib.h>

struct bytes flag_canonical(struct bytes name)
{
	static const char *const system_flags[] = { "\\Answered", "\\Deleted", "\\Draft",
		"\\Flagged", "\\Seen" };

	for (size_t i = 0; i < sizeof(system_flags) / sizeof(system_flags[0]); i++)
		if (bytes_equal_string_nocase(name, system_flags[i]))
			return bytes_of_string(system_flags[i]);
	return name;
}

/* ---- append ---- */

int message_target_find(
	struct account_write *write, struct id128 id, struct mailbox_record *mailbox_r)
{
	int rc;

	if (write->header.is_deleted)
		return ERR_NOT_FOUND;
	for (int hops = 0; hops < 100; hops++) {
		rc = account_get_mailbox(
			write->kv, write->header.number, id, write->arena, mailbox_r);
		if (rc < 0 || mailbox_is_live(mailbox_r))
			return rc;
		if (id128_is_none(mailbox_r->forward))
			return ERR_NOT_FOUND;
		id = mailbox_r->forward;
	}
	return ERR_CORRUPT;
}

static int append_at(struct account_write *write, struct id128 mailbox, struct stamp instance,
	struct stamp placed, uint64_t modseq, struct message_record *message)
{
	message->instance = instance;
	message->placed = placed;
	message->modseq = modseq;
	message->placed_in = message->mailbox = mailbox;
	message->savedate_ms = write->now_ms;
	for (size_t i = 0; i < message->flag_count; i++) {
		message->flags[i].stamp = placed;
		message->flags[i].is_set = true;
	}
	return account_put_message(write, message);
}

int message_append(
	struct account_write *write, struct id128 mailbox, struct message_record *message)
{
	struct stamp instance = account_stamp(write);

	return append_at(write, mailbox, instance, instance, instance.modseq, message);
}

int message_append_as(struct account_write *write, struct id128 mailbox, struct stamp instance,
	struct message_record *message)
{
	return append_at(
		write, mailbox, instance, instance, account_tick(write, instance.modseq), message);
}

/* Its instance lies in the future, where no act may be that others are to follow. */
static int append_stamped(struct account_write *write, struct id128 mailbox, struct stamp instance,
	struct message_record *message)
{
	struct stamp placed = account_stamp(write);

	return append_at(write, mailbox, instance, placed, placed.modseq, message);
}

static int append_one(struct account_write *write, struct id128 mailbox, uint32_t uid,
	const struct append_message *from)
{
	struct message_record message = { .guid = *mail_body_guid(from->body),
		.size = mail_body_size(from->body),
		.thread = mail_body_thread(from->body),
		.internaldate = from->internaldate,
		.internaldate_zone = from->internaldate_zone,
		.uid = uid };
	bool is_annotated;
	int rc;

	/* Through message_flag_put() for the order of names and their being there once. */
	for (size_t i = 0; i < from->flag_count; i++) {
		struct flag_state flag = { flag_canonical(from->flags[i]), { 1, 0 }, true };

		rc = message_flag_put(&message, write->arena, flag);
		if (rc < 0)
			return rc;
	}
	mail_body_add(write, from->body);
	if (stamp_is_none(from->instance))
		rc = message_append(write, mailbox, &message);
	else if (from->is_of_guest && from->instance.modseq > modseq_of_ms(write->now_ms + 1))
		rc = append_stamped(write, mailbox, from->instance, &message);
	else
		rc = message_append_as(write, mailbox, from->instance, &message);
	if (rc < 0 || from->annotation_count == 0)
		return rc;
	rc = annotations_put(
		write, &message, from->annotations, from->annotation_count, &is_annotated);
	return rc < 0 || !is_annotated ? rc : account_put_message(write, &message);
}

/* Whether a message that was sent elsewhere has come back, or came once before. */
static int is_there(struct account_write *write, struct message_appending *append)
{
	struct message_record message;
	int rc = account_get_message(write->kv, write->header.number, append->messages[0].instance,
		write->arena, &message);

	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	append->uid = message.uid;
	return 1;
}

int message_append_run(struct account_write *write, void *context)
{
	struct message_appending *append = context;
	struct mailbox_record mailbox;
	int rc = message_target_find(write, append->mailbox, &mailbox);

	if (rc < 0)
		return rc;
	append->mailbox = mailbox.id;
	append->uidvalidity = mailbox.uidvalidity;
	append->uid = mailbox.uidnext;
	if (append->count == 1 && !stamp_is_none(append->messages[0].instance)) {
		rc = is_there(write, append);
		if (rc != 0)
			return rc < 0 ? rc : 0;
	}
	for (size_t i = 0; i < append->count && rc == 0; i++)
		rc = append_one(
			write, mailbox.id, mailbox.uidnext + (uint32_t)i, &append->messages[i]);
	return rc;
}

/* ---- taking a set of messages in steps ---- */

static int collect_step(void *context, const struct message_record *message)
{
	struct message_step *step = context;
	void *messages = step->messages;

	mem_grow(&messages, &step->room, step->count + 1, sizeof(*step->messages));
	step->messages = messages;
	step->messages[step->count++] = *message;
	step->next_uid = message->uid + 1;
	return step->count >= MAIL_STEP_COUNT_MAX ? 1 : 0;
}

int message_step_read(struct account_write *write, struct message_step *step)
{
	static const struct uid_range everything = { 1, UINT32_MAX };
	const struct uid_range *ranges = step->uids != NULL ? step->uids->ranges : &everything;
	size_t range_count = step->uids != NULL ? step->uids->count : 1;
	int rc = 0;

	step->count = 0;
	for (; step->range_index < range_count; step->range_index++) {
		const struct uid_range *range = &ranges[step->range_index];
		uint32_t first = step->next_uid > range->first ? step->next_uid : range->first;

		if (first > range->last)
			continue;
		rc = account_each_message(write->kv, write->header.number, step->mailbox, first,
			range->last, write->arena, collect_step, step);
		if (rc != 0)
			return rc < 0 ? rc : 0;
	}
	step->is_done = true;
	return 0;
}

static int step_commit(struct mail *mail, uint32_t account, struct message_step *step,
	mail_run *run, void *context, struct error *error, uint64_t *position_r)
{
	int rc = 0;

	while (rc == 0 && !step->is_done)
		rc = mail_commit(mail, account, run, context, error, position_r);
	free(step->messages);
	step->messages = NULL;
	return rc;
}

/* ---- flags ---- */

struct store_context {
	struct message_step step;
	struct flag_edit edit;
	uint64_t unchanged_since;
	struct uid_set *changed;
	struct uid_set *modified;
};

bool flag_is_named(const struct flag_edit *edit, struct bytes name)
{
	for (size_t i = 0; i < edit->flag_count; i++)
		if (bytes_equal_nocase(flag_canonical(edit->flags[i]), name))
			return true;
	return false;
}

/*
 * A flag's stamp is the modseq that it was shown with, but for those that a merge took in below
 * what had been shown (docs/replication.md, Modseq of the result): these got fresh modseqs, which
 * the flags do not tell. Every such merge raises the floor of cursors.
 */
bool message_flags_stayed(const struct account_write *write, const struct flag_edit *edit,
	const struct message_record *message, uint64_t since)
{
	bool is_after_merges =
		since >= write->header.vanished_floor && since >= message->placed.modseq;

	if (edit->operation == FLAGS_REPLACE || edit->flag_count == 0)
		return false;
	for (size_t i = 0; i < edit->flag_count; i++) {
		struct bytes name = flag_canonical(edit->flags[i]);
		const struct flag_state *flag = NULL;

		for (size_t j = 0; j < message->flag_count && flag == NULL; j++)
			if (bytes_equal_nocase(message->flags[j].name, name))
				flag = &message->flags[j];
		/* A keyword that it never had is nothing that could have changed. */
		if (flag == NULL && name.len > 0 && name.ptr[0] != '\\')
			continue;
		if (!is_after_merges || (flag != NULL && flag->stamp.modseq > since))
			return false;
	}
	return true;
}

/* The flag's name as this message has it already: keywords are the same in any case. */
static struct bytes flag_known_name(const struct message_record *message, struct bytes name)
{
	name = flag_canonical(name);
	for (size_t i = 0; i < message->flag_count; i++)
		if (bytes_equal_nocase(message->flags[i].name, name))
			return message->flags[i].name;
	return name;
}

static int flag_change(struct account_write *write, const struct flag_edit *edit,
	struct message_record *message, struct bytes name, bool is_set, struct stamp *stamp)
{
	struct flag_state flag = { flag_known_name(message, name), { 0, 0 }, is_set };

	if (message_has_flag(message, flag.name) == is_set ||
		(edit->may_change != NULL && !edit->may_change(edit->context, flag.name)))
		return 0;
	if (stamp_is_none(*stamp))
		*stamp = (struct stamp){ account_tick(write, edit->clock_floor), write->node };
	flag.stamp = *stamp;
	return message_flag_put(message, write->arena, flag);
}

int message_flags_edit(struct account_write *write, const struct flag_edit *edit,
	struct message_record *message, struct stamp *stamp)
{
	int rc = 0;

	for (size_t i = 0; i < edit->flag_count && rc == 0; i++)
		rc = flag_change(write, edit, message, edit->flags[i],
			edit->operation != FLAGS_REMOVE, stamp);
	if (edit->operation != FLAGS_REPLACE)
		return rc;
	for (size_t i = 0; i < message->flag_count && rc == 0; i++)
		if (message->flags[i].is_set && !flag_is_named(edit, message->flags[i].name))
			rc = flag_change(
				write, edit, message, message->flags[i].name, false, stamp);
	return rc;
}

static int flags_run(struct account_write *write, void *context)
{
	struct store_context *store = context;
	int rc = message_step_read(write, &store->step);

	for (size_t i = 0; i < store->step.count && rc == 0; i++) {
		struct message_record *message = &store->step.messages[i];
		struct stamp stamp = { 0, 0 };

		if (message->modseq > store->unchanged_since &&
			!message_flags_stayed(
				write, &store->edit, message, store->unchanged_since)) {
			uid_set_add(store->modified, message->uid, message->uid);
			continue;
		}
		rc = message_flags_edit(write, &store->edit, message, &stamp);
		if (rc < 0 || stamp_is_none(stamp))
			continue;
		message->modseq = stamp.modseq;
		uid_set_add(store->changed, message->uid, message->uid);
		rc = account_put_message(write, message);
	}
	return rc;
}

int message_store(struct mail *mail, uint32_t account, struct id128 mailbox,
	const struct uid_set *uids, enum flag_operation operation, const struct bytes *flags,
	size_t flag_count, uint64_t unchanged_since, struct error *error, struct uid_set *changed_r,
	struct uid_set *modified_r, uint64_t *position_r)
{
	struct store_context store = { .step = { .mailbox = mailbox, .uids = uids },
		.edit = { .operation = operation, .flags = flags, .flag_count = flag_count },
		.unchanged_since = unchanged_since,
		.changed = changed_r,
		.modified = modified_r };
	int rc = step_commit(mail, account, &store.step, flags_run, &store, error, position_r);

	if (rc == ERR_TOO_LARGE)
		return error_set(
			error, rc, "a message has more than %d flags", MESSAGE_FLAG_COUNT_MAX);
	return rc;
}

/* ---- expunge ---- */

int message_remove(struct account_write *write, const struct message_record *message)
{
	return message_remove_at(write, message, account_stamp(write));
}

int message_remove_at(
	struct account_write *write, const struct message_record *message, struct stamp stamp)
{
	return message_remove_as(write, message, stamp, stamp.modseq);
}

int message_remove_as(struct account_write *write, const struct message_record *message,
	struct stamp stamp, uint64_t modseq)
{
	struct message_record gone = *message;
	int rc;

	gone.placed = stamp;
	gone.placed_in = gone.mailbox = (struct id128){ { 0 } };
	gone.uid = 0;
	gone.modseq = modseq;
	rc = account_put_message(write, &gone);
	return rc < 0 ? rc : annotations_clear_message(write, message);
}

struct expunge_context {
	struct message_step step;
	struct uid_set *expunged;
};

static int expunge_run(struct account_write *write, void *context)
{
	struct expunge_context *expunge = context;
	int rc = message_step_read(write, &expunge->step);

	for (size_t i = 0; i < expunge->step.count && rc == 0; i++) {
		const struct message_record *message = &expunge->step.messages[i];

		if (!message_has_flag(message, BYTES_LITERAL("\\Deleted")))
			continue;
		uid_set_add(expunge->expunged, message->uid, message->uid);
		rc = message_remove(write, message);
	}
	return rc;
}

int message_expunge(struct mail *mail, uint32_t account, struct id128 mailbox,
	const struct uid_set *uids, struct error *error, struct uid_set *expunged_r,
	uint64_t *position_r)
{
	struct expunge_context expunge = { .step = { .mailbox = mailbox, .uids = uids },
		.expunged = expunged_r };

	return step_commit(mail, account, &expunge.step, expunge_run, &expunge, error, position_r);
}
