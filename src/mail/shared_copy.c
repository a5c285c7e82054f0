/* COPY and MOVE, within an account or between two (mail/shared.h). */
#include "mail/shared.h"

#include "base/error.h"
#include "base/mem.h"
#include "mail/annotation.h"
#include "mail/copying.h"
#include "mail/mail_private.h"
#include "mail/seen.h"

#include <limits.h>
#include <stdlib.h>

#define SEEN_FLAG BYTES_LITERAL("\\Seen")

struct copy_context {
	const struct shared_place *from;
	const struct shared_place *to;
	struct account_write *source, *target;
	struct account_write *own;  /* that holds \Seen in the target; NULL: its messages do */
	struct account_write *user; /* what is private to him; NULL: both accounts are his own */
	struct message_step step;
	struct copying copying;
	struct id128 shown_in; /* where this step's copies went */
	bool is_move;
	struct copy_result result;
	size_t room;
};

/* The flags that are set, so far as they may be in the target; \Seen is put back by the caller. */
static void keep_flags(
	const struct copy_context *copy, struct arena *arena, struct message_record *message)
{
	struct flag_state *flags = arena_alloc(arena, (message->flag_count + 1) * sizeof(*flags));
	size_t count = 0;

	for (size_t i = 0; i < message->flag_count; i++) {
		const struct flag_state *flag = &message->flags[i];

		if (flag->is_set && shared_may_set(copy->to, flag->name) &&
			(copy->own == NULL || !bytes_equal(flag->name, SEEN_FLAG)))
			flags[count++] = *flag;
	}
	message->flags = flags;
	message->flag_count = count;
}

/*
 * Within one account the instance stays: a flag set elsewhere meanwhile finds the message, and so
 * does what each user has seen. Not so in a clone's copy of another user's account: to move
 * messages is not a guest's to tell, but to append and to expunge is (sync/foreign.h).
 */
static bool keeps_instance(const struct copy_context *copy)
{
	return copy->is_move && copy->source == copy->target && copy->source->header.writer == 0;
}

static int move_within(
	struct account_write *write, struct message_record *message, struct id128 to, uint32_t uid)
{
	message->uid = uid;
	message->placed = account_stamp(write);
	message->placed_in = message->mailbox = to;
	message->modseq = message->placed.modseq;
	message->savedate_ms = write->now_ms;
	return account_put_message(write, message);
}

static int copy_one(struct copy_context *copy, const struct message_record *message,
	struct id128 to, uint32_t uid)
{
	struct account_write *target = copy->target;
	struct message_record shown = *message, copied = *message;
	int rc;

	if (keeps_instance(copy))
		return move_within(target, &copied, to, uid);
	rc = seen_apply(target->kv, copy->from->seen_account, copy->source->header.id,
		target->arena, &shown);
	if (rc < 0)
		return rc;
	copied = shown;
	keep_flags(copy, target->arena, &copied);
	copied.uid = uid;
	rc = message_append(target, to, &copied);
	if (rc == 0 && copy->own != NULL && message_has_flag(&shown, SEEN_FLAG) &&
		shared_may_set(copy->to, SEEN_FLAG))
		rc = seen_put(copy->own, target->header.id, copied.instance, true, copied.placed);
	/* No guest tells of annotations off line (sync/foreign.h). */
	if (rc == 0 && target->header.writer == 0)
		rc = annotations_copy(target, copy->source->header.number, message, &copied);
	if (rc == 0 && copy->user != NULL)
		rc = annotations_copy_privately(
			copy->user, copy->source, message->instance, target, &copied);
	if (rc == 0 && copy->is_move)
		rc = message_remove(copy->source, message);
	return rc;
}

static int copy_step(struct copy_context *copy)
{
	struct mailbox_record to;
	int rc = message_target_find(copy->target, copy->to->mailbox, &to);

	if (rc == 0)
		rc = message_step_read(copy->source, &copy->step);
	if (rc < 0)
		return rc;
	if (copy->copying.id != 0 && copy->result.uidvalidity != to.uidvalidity)
		return ERR_CHANGED; /* the answer names one */
	copy->result.uidvalidity = to.uidvalidity;
	copy->shown_in = to.id;
	for (size_t i = 0; i < copy->step.count && rc == 0; i++) {
		uint32_t uid = to.uidnext + (uint32_t)i;
		void *pairs = copy->result.pairs;

		mem_grow(&pairs, &copy->room, copy->result.count + 1, sizeof(*copy->result.pairs));
		copy->result.pairs = pairs;
		copy->result.pairs[copy->result.count++] =
			(struct uid_pair){ copy->step.messages[i].uid, uid };
		rc = copy_one(copy, &copy->step.messages[i], to.id, uid);
	}
	return rc;
}

/* COPY is all or nothing (RFC 3501, section 6.4.7): what its steps have copied can be undone. */
static int copy_note(struct copy_context *copy, size_t noted_count)
{
	const struct uid_pair *pairs = copy->result.pairs + noted_count;
	size_t count = copy->result.count - noted_count;

	if (copy->is_move)
		return 0;
	if (copy->step.is_done)
		return copying_end(&copy->copying, copy->target);
	return count == 0 ? 0
			  : copying_note(&copy->copying, copy->target, copy->shown_in, pairs[0].to,
				    pairs[count - 1].to);
}

static int copy_run(struct accounts_write *accounts, void *context)
{
	struct copy_context *copy = context;
	size_t noted_count = copy->result.count;
	int rc = accounts_write_get(accounts, copy->from->account, &copy->source);

	if (rc == 0)
		rc = accounts_write_get(accounts, copy->to->account, &copy->target);
	if (rc == 0 && copy->to->seen_account != 0)
		rc = accounts_write_get(accounts, copy->to->seen_account, &copy->own);
	if (rc == 0 && (copy->from->seen_account != 0 || copy->to->seen_account != 0))
		rc = accounts_write_get(accounts,
			copy->from->seen_account != 0 ? copy->from->seen_account
						      : copy->to->seen_account,
			&copy->user);
	if (rc == 0)
		rc = copy_step(copy);
	return rc < 0 ? rc : copy_note(copy, noted_count);
}

int shared_copy(struct mail *mail, const struct shared_place *from, const struct shared_place *to,
	const struct uid_set *uids, bool is_move, struct error *error, struct copy_result *result_r,
	uint64_t *position_r)
{
	struct copy_context copy = { .from = from,
		.to = to,
		.step = { .mailbox = from->mailbox, .uids = uids },
		.copying = { .run = mail_run_id(mail) },
		.is_move = is_move };
	int rc = 0;

	while (rc == 0 && !copy.step.is_done) {
		copy.own = copy.user = NULL;
		rc = accounts_commit(mail, copy_run, &copy, error, position_r);
	}
	free(copy.step.messages);
	if (rc < 0)
		copying_undo(&copy.copying, mail, position_r);
	if (rc == ERR_NOT_FOUND)
		rc = error_set(error, rc, "the target mailbox does not exist");
	if (rc < 0) {
		free(copy.result.pairs);
		return rc;
	}
	*result_r = copy.result;
	return 0;
}

int message_copy(struct mail *mail, uint32_t account, struct id128 from, struct id128 to,
	const struct uid_set *uids, bool is_move, struct error *error, struct copy_result *result_r,
	uint64_t *position_r)
{
	const struct shared_place source = {
		.account = account, .mailbox = from, .rights = UINT_MAX
	};
	const struct shared_place target = {
		.account = account, .mailbox = to, .rights = UINT_MAX
	};

	return shared_copy(mail, &source, &target, uids, is_move, error, result_r, position_r);
}
