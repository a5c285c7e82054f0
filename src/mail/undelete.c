/* Bringing back what was deleted (mail/deletion.h). */
#include "mail/deletion.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/pack.h"
#include "mail/annotation.h"
#include "mail/mail_private.h"
#include "mail/script.h"

#include <stdlib.h>

#define SCAN_COUNT 2000 /* rows of instances looked at in one snapshot or commit */

struct gone_list {
	struct arena *arena;
	struct message_record *messages;
	size_t count, room;
};

static int collect_gone(void *context, const struct message_record *message)
{
	struct gone_list *list = context;

	if (!message->has_body)
		return 0;
	mem_grow((void **)&list->messages, &list->room, list->count + 1, sizeof(*list->messages));
	list->messages[list->count++] = *message;
	return 0;
}

int mail_each_gone(struct mail *mail, uint32_t account, account_message_function *function,
	void *context, struct error *error)
{
	struct gone_list list = { .arena = arena_new() };
	struct stamp after = { 0 };
	int rc = 0, more = 1;

	while (rc == 0 && more > 0) {
		struct kv_txn *kv = NULL;

		arena_reset(list.arena);
		list.count = 0;
		more = mail_read_begin(mail, mail_position(mail), &kv);
		if (more == 0)
			more = account_each_gone(
				kv, account, &after, SCAN_COUNT, list.arena, collect_gone, &list);
		mail_read_end(&kv);
		for (size_t i = 0; i < list.count && rc == 0; i++)
			rc = function(context, &list.messages[i]);
	}
	free(list.messages);
	arena_free(&list.arena);
	return more < 0 ? error_set(error, more, "the account cannot be read") : rc;
}

/* ---- what is asked for ---- */

/* An act of deletion that is undone: all stamps of that node between the two. */
struct deletion_act {
	uint64_t node; /* 0: none; what went otherwise counts too */
	uint64_t first, last;
};

struct run {
	struct undelete *undelete;
	struct deletion_act act;
	struct id128 from; /* only what was shown in it, or none */
	struct stamp after;
	bool is_done;
	/* of the commit being run */
	struct account_write *write;
	struct mailbox_record *targets; /* with uidnext as it is by now */
	size_t target_count, target_room;
};

static bool is_of_act(const struct deletion_act *act, struct stamp stamp)
{
	return act->node == 0 ||
	       (stamp.node == act->node && stamp.modseq >= act->first && stamp.modseq <= act->last);
}

static bool is_wanted(const struct run *run, const struct message_record *message)
{
	const struct undelete *undelete = run->undelete;

	if (!message->has_body || message->gone_ms < undelete->since_ms ||
		!is_of_act(&run->act, message->placed) ||
		(!id128_is_none(run->from) && !id128_equal(run->from, message->gone_from)))
		return false;
	for (size_t i = 0; i < undelete->instance_count; i++)
		if (stamp_compare(undelete->instances[i], message->instance) == 0)
			return true;
	return undelete->instance_count == 0;
}

/* ---- where to ---- */

/* The live mailbox of that name, made if there is none. */
static int open_mailbox(struct run *run, const struct mailbox_record *like, struct bytes name,
	struct mailbox_record *mailbox_r)
{
	struct account_write *write = run->write;
	struct id128 id;
	int rc = account_find_mailbox(
		write->kv, write->header.number, name, write->arena, mailbox_r);

	if (rc != ERR_NOT_FOUND)
		return rc;
	rc = mailbox_make_path(
		write, name, like != NULL ? like->special_use : bytes_of(NULL, 0), &id);
	if (rc == 0)
		rc = account_write_flush(write);
	return rc < 0 ? rc
		      : account_get_mailbox(
				write->kv, write->header.number, id, write->arena, mailbox_r);
}

static int find_target(
	struct run *run, const struct message_record *message, struct mailbox_record *found)
{
	struct account_write *write = run->write;
	struct mailbox_record was;
	int rc;

	if (run->undelete->to.len > 0)
		return open_mailbox(run, NULL, run->undelete->to, found);
	rc = message_target_find(write, message->gone_from, found);
	if (rc != ERR_NOT_FOUND)
		return rc;
	rc = account_get_mailbox(
		write->kv, write->header.number, message->gone_from, write->arena, &was);
	if (rc == ERR_NOT_FOUND)
		return open_mailbox(run, NULL, BYTES_LITERAL("INBOX"), found);
	return rc < 0 ? rc : open_mailbox(run, &was, was.name, found);
}

/* The target with its next UID, counting what this commit has put there. */
static int target_of(
	struct run *run, const struct message_record *message, struct mailbox_record **target_r)
{
	struct mailbox_record found;
	int rc = find_target(run, message, &found);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < run->target_count; i++) {
		if (id128_equal(run->targets[i].id, found.id)) {
			*target_r = &run->targets[i];
			return 0;
		}
	}
	mem_grow((void **)&run->targets, &run->target_room, run->target_count + 1,
		sizeof(*run->targets));
	run->targets[run->target_count] = found;
	*target_r = &run->targets[run->target_count++];
	return 0;
}

/* ---- messages ---- */

/*
 * The instance that takes the place of a message that is gone: whoever brings it back makes the
 * same, so that two nodes that do so while apart do not make it two messages.
 */
static struct stamp successor_instance(const struct message_record *gone)
{
	unsigned char at[32];

	put_u64(at, gone->instance.modseq);
	put_u64(at + 8, gone->instance.node);
	put_u64(at + 16, gone->placed.modseq);
	put_u64(at + 24, gone->placed.node);
	return (struct stamp){ gone->placed.modseq, hash64(bytes_of(at, sizeof(at)), 0) | 1 };
}

/* The first that there is no record of. ERR_EXISTS: the message is back already. */
static int new_instance(
	struct run *run, const struct message_record *gone, struct stamp *instance_r)
{
	struct account_write *write = run->write;
	struct message_record record = *gone;

	for (;;) {
		int rc;

		*instance_r = successor_instance(&record);
		rc = account_get_message(
			write->kv, write->header.number, *instance_r, write->arena, &record);
		if (rc < 0)
			return rc == ERR_NOT_FOUND ? 0 : rc;
		if (!id128_is_none(record.placed_in))
			return ERR_EXISTS;
	}
}

static int bring_back(struct run *run, const struct message_record *gone)
{
	struct account_write *write = run->write;
	struct stamp instance;
	struct message_record message = { .guid = gone->guid,
		.size = gone->size,
		.internaldate = gone->internaldate,
		.internaldate_zone = gone->internaldate_zone,
		.thread = gone->thread };
	struct mailbox_record *target;
	int rc = new_instance(run, gone, &instance);

	if (rc == 0)
		rc = target_of(run, gone, &target);
	if (rc < 0)
		return rc == ERR_EXISTS ? 0 : rc;
	message.uid = target->uidnext++;
	message.flags = arena_alloc(write->arena, (gone->flag_count + 1) * sizeof(*message.flags));
	for (size_t i = 0; i < gone->flag_count; i++)
		if (gone->flags[i].is_set && !bytes_equal_string(gone->flags[i].name, "\\Deleted"))
			message.flags[message.flag_count++] = gone->flags[i];
	rc = message_append_as(write, target->id, instance, &message);
	if (rc == 0)
		rc = annotations_bring_back(write, gone, &message);
	if (rc == 0)
		rc = account_give_up_kept(write, gone);
	run->undelete->message_count += rc == 0;
	return rc;
}

static int messages_run(struct account_write *write, void *context)
{
	struct run *run = context;
	struct gone_list list = { 0 };
	int rc = account_each_gone(write->kv, write->header.number, &run->after, SCAN_COUNT,
		write->arena, collect_gone, &list);

	run->write = write;
	run->target_count = 0;
	run->is_done = rc == 0;
	rc = rc < 0 ? rc : 0;
	for (size_t i = 0; i < list.count && rc == 0; i++)
		if (is_wanted(run, &list.messages[i]))
			rc = bring_back(run, &list.messages[i]);
	free(list.messages);
	free(run->targets);
	run->targets = NULL;
	run->target_room = 0;
	return rc;
}

static int bring_messages(struct mail *mail, uint32_t account, struct run *run, struct error *error)
{
	int rc = 0;

	while (rc == 0 && !run->is_done)
		rc = mail_commit(mail, account, messages_run, run, error, NULL);
	return rc;
}

/* ---- a mailbox ---- */

static int find_deleted(void *context, const struct mailbox_record *mailbox)
{
	struct run *run = context;

	if (mailbox_is_live(mailbox) || !id128_is_none(mailbox->forward) ||
		!bytes_equal(mailbox->name, run->undelete->mailbox) ||
		mailbox->deleted.modseq <= run->act.last)
		return 0;
	run->from = mailbox->id;
	run->act = (struct deletion_act){ mailbox->deleted.node, mailbox->deleted.modseq,
		mailbox->deleted.modseq };
	return 0;
}

/* Finds the mailbox of that name; if it was deleted, makes it again. */
static int mailbox_run(struct account_write *write, void *context)
{
	struct run *run = context;
	struct mailbox_record found;
	int rc = account_find_mailbox(
		write->kv, write->header.number, run->undelete->mailbox, write->arena, &found);

	run->write = write;
	if (rc == 0)
		run->from = found.id;
	if (rc != ERR_NOT_FOUND)
		return rc;
	rc = account_each_mailbox(write->kv, write->header.number, write->arena, find_deleted, run);
	if (rc < 0 || id128_is_none(run->from))
		return rc < 0 ? rc : ERR_NOT_FOUND;
	rc = account_get_mailbox(write->kv, write->header.number, run->from, write->arena, &found);
	if (rc == 0 && run->undelete->to.len == 0)
		rc = open_mailbox(run, &found, found.name, &found);
	return rc;
}

/* ---- an account ---- */

struct account_return {
	struct run *run;
	struct account_write *write;
	struct mailbox_record *mailboxes;
	size_t mailbox_count, mailbox_room;
	struct register_record *registers;
	size_t register_count, register_room;
};

static int collect_mailbox(void *context, const struct mailbox_record *mailbox)
{
	struct account_return *back = context;

	if (mailbox_is_live(mailbox) || !id128_is_none(mailbox->forward) ||
		!is_of_act(&back->run->act, mailbox->deleted))
		return 0;
	mem_grow((void **)&back->mailboxes, &back->mailbox_room, back->mailbox_count + 1,
		sizeof(*back->mailboxes));
	back->mailboxes[back->mailbox_count++] = *mailbox;
	return 0;
}

static int collect_register(void *context, const struct register_record *record)
{
	struct account_return *back = context;
	struct stamp instance;

	/* Annotations of messages are of instances that stay gone: they come back with the new
	 * ones. That the account was being deleted is over. */
	if (record->is_set || !is_of_act(&back->run->act, record->stamp) ||
		annotation_instance(record, &instance) || deletion_is_mark(record))
		return 0;
	mem_grow((void **)&back->registers, &back->register_room, back->register_count + 1,
		sizeof(*back->registers));
	back->registers[back->register_count++] = *record;
	return 0;
}

/* Registers that belong to a mailbox go to the one that takes its place. */
static struct id128 successor_of(
	const struct account_return *back, const struct id128 *successors, struct id128 mailbox)
{
	for (size_t i = 0; i < back->mailbox_count; i++)
		if (id128_equal(back->mailboxes[i].id, mailbox))
			return successors[i];
	return mailbox;
}

static int put_back(struct account_return *back)
{
	struct account_write *write = back->write;
	struct id128 *successors =
		arena_alloc(write->arena, (back->mailbox_count + 1) * sizeof(struct id128));
	int rc = 0;

	for (size_t i = 0; i < back->mailbox_count && rc == 0; i++) {
		struct mailbox_record made;

		rc = open_mailbox(back->run, &back->mailboxes[i], back->mailboxes[i].name, &made);
		successors[i] = made.id;
	}
	for (size_t i = 0; i < back->register_count && rc == 0; i++) {
		struct register_record *record = &back->registers[i];

		record->value = script_next_value(record, write->arena);
		record->mailbox = successor_of(back, successors, record->mailbox);
		record->is_set = true;
		record->stamp = account_stamp(write);
		record->modseq = record->stamp.modseq;
		rc = account_put_register(write, record);
	}
	if (rc == 0)
		rc = register_write(write, RECORD_ACCOUNT, BYTES_LITERAL(ACCOUNT_DELETED_KEY),
			false, BYTES_LITERAL(""));
	return rc;
}

static int account_run(struct account_write *write, void *context)
{
	struct run *run = context;
	struct account_return back = { .run = run, .write = write };
	struct register_record mark;
	int rc = account_get_register(write->kv, write->header.number, RECORD_ACCOUNT,
		(struct id128){ { 0 } }, BYTES_LITERAL(ACCOUNT_DELETED_KEY), write->arena, &mark);

	if (rc < 0)
		return rc;
	run->write = write;
	run->act = (struct deletion_act){ mark.stamp.node,
		strtoull(arena_string(write->arena, mark.value), NULL, 10), mark.stamp.modseq };
	rc = account_each_mailbox(
		write->kv, write->header.number, write->arena, collect_mailbox, &back);
	for (int kind = RECORD_ACCOUNT; kind <= RECORD_SCRIPT && rc == 0; kind++)
		if (kind != RECORD_MAILBOX && kind != RECORD_MESSAGE)
			rc = account_each_register(write->kv, write->header.number,
				(enum record_kind)kind, write->arena, collect_register, &back);
	if (rc == 0)
		rc = put_back(&back);
	run->undelete->has_account = rc == 0;
	free(back.mailboxes);
	free(back.registers);
	return rc;
}

int mail_undelete(
	struct mail *mail, uint32_t account, struct undelete *undelete, struct error *error)
{
	struct run run = { .undelete = undelete };
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, mail_position(mail), &kv);

	if (rc == 0)
		rc = account_load(kv, account, &header);
	mail_read_end(&kv);
	if (rc < 0)
		return error_set(error, rc, "the account cannot be read");
	if (header.is_deleted && (undelete->mailbox.len > 0 || undelete->instance_count > 0))
		return error_set(error, ERR_REFUSED,
			"the account is deleted: it must be brought back as a whole first");
	if (header.is_deleted)
		rc = mail_commit(mail, account, account_run, &run, error, NULL);
	else if (undelete->mailbox.len > 0)
		rc = mail_commit(mail, account, mailbox_run, &run, error, NULL);
	if (rc == ERR_NOT_FOUND)
		return error_set(error, rc, "there is no such mailbox, and was none");
	return rc < 0 ? rc : bring_messages(mail, account, &run, error);
}
