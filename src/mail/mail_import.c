#include "mail/import_private.h"

#include "mail/mail_private.h"

#include <inttypes.h>

#define HOPS_MAX 100 /* mailboxes that were united one into the other */
/* Greater ones would leave no room for those of later mailboxes. */
#define UIDVALIDITY_KEPT_MAX ((uint32_t)0xf0000000)

/* ---- names ---- */

uint64_t import_node_of(struct bytes source, struct bytes name, uint32_t uidvalidity)
{
	struct buffer text = { 0 };
	uint64_t node;

	buffer_append_string(&text, "chapar import");
	buffer_append_byte(&text, '\0');
	buffer_append_bytes(&text, source);
	buffer_append_byte(&text, '\0');
	buffer_append_bytes(&text, name);
	buffer_printf(&text, "%c%" PRIu32, '\0', uidvalidity);
	node = hash64(buffer_bytes(&text), 0);
	buffer_deinit(&text);
	return node != 0 ? node : 1;
}

struct id128 import_id_of(const struct import_target *target)
{
	unsigned char node[8];

	for (size_t i = 0; i < sizeof(node); i++)
		node[i] = (unsigned char)(target->node >> (56 - 8 * i));
	return id128_derive("chapar import", bytes_of(node, sizeof(node)));
}

/* Of what the source has one of: subscriptions, points. */
uint64_t import_source_node(const struct import_target *target)
{
	return import_node_of(target->source, bytes_of(NULL, 0), 0);
}

/* ---- commits ---- */

struct commit {
	const struct import_target *target;
	mail_run *run;
	void *context;
	struct error refusal;
};

static int operator_run(struct account_write *write, void *context)
{
	struct commit *commit = context;
	int rc = account_mode_check(write, &commit->refusal);

	return rc < 0 ? rc : commit->run(write, commit->context);
}

int import_commit(
	const struct import_target *target, mail_run *run, void *context, struct error *error)
{
	struct commit operated = { .target = target, .run = run, .context = context };
	uint64_t position;
	int rc;

	if (!target->is_over_quota)
		return mail_commit(target->mail, target->account, run, context, error, &position);
	rc = mail_node_commit(
		target->mail, target->account, operator_run, &operated, error, &position);
	if (operated.refusal.code != 0)
		*error = operated.refusal;
	return rc;
}

/* ---- mailboxes ---- */

/* The one that took its mail if it was united; IMPORT_MAILBOX_DELETED: it was just deleted. */
static int follow(struct kv_txn *kv, uint32_t account, struct arena *arena,
	struct mailbox_record *mailbox, enum import_mailbox_state *state_r)
{
	*state_r = IMPORT_MAILBOX_THERE;
	for (int hops = 0; hops < HOPS_MAX && !mailbox_is_live(mailbox); hops++) {
		int rc;

		if (id128_is_none(mailbox->forward)) {
			*state_r = IMPORT_MAILBOX_DELETED;
			return 0;
		}
		rc = account_get_mailbox(kv, account, mailbox->forward, arena, mailbox);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int mailbox_locate(struct kv_txn *kv, struct import_target *target, struct arena *arena,
	struct mailbox_record *mailbox, enum import_mailbox_state *state_r)
{
	int rc;

	target->node = import_node_of(
		target->source, target->name, target->keys_are_uids ? target->uidvalidity : 0);
	target->mailbox = import_id_of(target);
	rc = account_get_mailbox(kv, target->account, target->mailbox, arena, mailbox);
	if (rc == 0)
		rc = follow(kv, target->account, arena, mailbox, state_r);
	else if (rc == ERR_NOT_FOUND) {
		*state_r = IMPORT_MAILBOX_THERE;
		rc = account_find_mailbox(kv, target->account, target->name, arena, mailbox);
	}
	if (rc == ERR_NOT_FOUND) {
		*state_r = IMPORT_MAILBOX_NEW;
		return 0;
	}
	target->mailbox = mailbox->id;
	target->uidvalidity_here = mailbox->uidvalidity;
	return rc;
}

/* Nobody has seen a UID of it. */
static bool takes_uidvalidity(
	const struct mailbox_record *mailbox, const struct import_target *target)
{
	return mailbox->uidnext <= 1 && mailbox->message_count == 0 &&
	       target->uidvalidity > mailbox->uidvalidity &&
	       target->uidvalidity <= UIDVALIDITY_KEPT_MAX;
}

int import_mailbox_find(
	struct kv_txn *kv, struct import_target *target, enum import_mailbox_state *state_r)
{
	struct arena *arena = arena_new();
	struct mailbox_record mailbox = { 0 };
	int rc = mailbox_locate(kv, target, arena, &mailbox, state_r);

	if (rc == 0 && (*state_r == IMPORT_MAILBOX_NEW || takes_uidvalidity(&mailbox, target)))
		target->uidvalidity_here = target->uidvalidity;
	arena_free(&arena);
	return rc;
}

struct mailbox_opening {
	struct import_target *target;
	struct bytes special_use;
	enum import_mailbox_state state;
};

static int has_special_use(void *context, const struct mailbox_record *mailbox)
{
	const struct mailbox_opening *opening = context;

	return mailbox_is_live(mailbox) && bytes_equal(mailbox->special_use, opening->special_use);
}

static int import_make(struct account_write *write, struct mailbox_opening *opening)
{
	struct import_target *target = opening->target;
	struct mailbox_record mailbox = { .id = import_id_of(target),
		.name = target->name,
		.uidvalidity = target->uidvalidity,
		.uidnext = 1 };
	int rc = 0;

	if (mailbox.uidvalidity > UIDVALIDITY_KEPT_MAX)
		mailbox.uidvalidity = 0; /* then it gets a new one */
	mailbox.name_stamp = (struct stamp){ account_tick(write, 0), target->node };
	if (opening->special_use.len > 0)
		rc = account_each_mailbox(
			write->kv, write->header.number, write->arena, has_special_use, opening);
	if (rc == 0 && opening->special_use.len > 0) {
		mailbox.special_use = opening->special_use;
		mailbox.special_use_stamp = mailbox.name_stamp;
	}
	rc = rc < 0 ? rc : mailbox_make_as(write, &mailbox);
	target->mailbox = mailbox.id;
	target->uidvalidity_here = mailbox.uidvalidity;
	return rc;
}

static int open_run(struct account_write *write, void *context)
{
	struct mailbox_opening *opening = context;
	struct import_target *target = opening->target;
	struct mailbox_record mailbox = { 0 };
	int rc = write->header.is_deleted ? ERR_NOT_FOUND
					  : mailbox_locate(write->kv, target, write->arena,
						    &mailbox, &opening->state);

	if (rc < 0 || opening->state == IMPORT_MAILBOX_DELETED)
		return rc;
	if (opening->state == IMPORT_MAILBOX_NEW)
		return import_make(write, opening);
	if (!takes_uidvalidity(&mailbox, target))
		return 0;
	mailbox.uidvalidity = target->uidvalidity;
	mailbox.modseq = account_tick(write, mailbox.highestmodseq);
	target->uidvalidity_here = mailbox.uidvalidity;
	return account_put_mailbox(write, &mailbox);
}

int import_snapshot(const struct import_target *target, struct kv_txn **kv_r, struct error *error)
{
	int rc = mail_read_begin(target->mail, mail_position(target->mail), kv_r);

	return rc < 0 ? error_set(error, rc, "the store cannot be read: %s", error_name(rc)) : 0;
}

/* 1: it is there as it is to be. */
static int is_open(struct mailbox_opening *opening, struct error *error)
{
	struct import_target *target = opening->target;
	struct mailbox_record mailbox = { 0 };
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	int rc = import_snapshot(target, &kv, error);

	if (rc == 0)
		rc = mailbox_locate(kv, target, arena, &mailbox, &opening->state);
	if (rc == 0)
		rc = opening->state != IMPORT_MAILBOX_NEW && !takes_uidvalidity(&mailbox, target);
	mail_read_end(&kv);
	arena_free(&arena);
	return rc;
}

int import_mailbox_open(struct import_target *target, struct bytes special_use,
	enum import_mailbox_state *state_r, struct error *error)
{
	struct mailbox_opening opening = { .target = target, .special_use = special_use };
	int rc = mailbox_name_check(target->name, error);

	if (rc == 0)
		rc = is_open(&opening, error);
	if (rc == 0)
		rc = import_commit(target, open_run, &opening, error);
	else if (rc > 0)
		rc = 0;
	if (rc == 0)
		*state_r = opening.state;
	return rc;
}
