/*
 * What a user sees of another's account, and its digest: the sum of the terms of the shared
 * annotations as everywhere, of the mailboxes as if their UIDVALIDITY and UIDNEXT were 0, and of
 * the messages as if their modseq was 0 and they had no \Seen.
 */
#include "sync/view.h"

#include "mail/annotation.h"

#define SEEN_FLAG BYTES_LITERAL("\\Seen")

static void drop_seen(struct arena *arena, struct message_record *message)
{
	const struct flag_state *flags = message->flags;
	size_t count = message->flag_count;

	if (message_flag(message, SEEN_FLAG) == NULL)
		return;
	message->flags = arena_alloc(arena, count * sizeof(*flags));
	message->flag_count = 0;
	for (size_t i = 0; i < count; i++)
		if (!bytes_equal(flags[i].name, SEEN_FLAG))
			message->flags[message->flag_count++] = flags[i];
}

void view_mask(const struct view *view, struct arena *arena, struct message_record *message)
{
	if (!view->is_foreign || !view->is_discreet)
		return;
	/* What was done to it where he does not look is not for him. */
	if (message_is_shown(message))
		drop_seen(arena, message);
	else
		message->flag_count = 0;
}

struct foreign_sum {
	struct kv_txn *kv;
	uint32_t account;
	struct arena *arena; /* of one message */
	struct digest digest;
};

static int add_register(void *context, const struct register_record *record)
{
	struct foreign_sum *sum = context;

	if (annotation_is_shared(record))
		digest_add(&sum->digest, register_term(record));
	return 0;
}

static int add_message(void *context, const struct message_record *message)
{
	struct foreign_sum *sum = context;
	struct message_record told = *message;
	unsigned char at[REGISTER_KEY_SIZE_MAX];
	int rc = 0;

	drop_seen(sum->arena, &told);
	told.modseq = 0;
	digest_add(&sum->digest, message_term(&told));
	if (annotation_was_made(message))
		rc = account_each_register_of(sum->kv, sum->account, RECORD_ANNOTATION,
			(struct id128){ { 0 } }, annotation_prefix(at, message->instance),
			sum->arena, add_register, sum);
	arena_reset(sum->arena);
	return rc;
}

static int add_mailbox(struct foreign_sum *sum, struct id128 id)
{
	struct mailbox_record mailbox;
	int rc = account_get_mailbox(sum->kv, sum->account, id, sum->arena, &mailbox);

	if (rc < 0 || !mailbox_is_live(&mailbox))
		return rc == ERR_NOT_FOUND ? 0 : rc;
	mailbox.uidvalidity = mailbox.uidnext = 0;
	digest_add(&sum->digest, mailbox_term(&mailbox));
	rc = account_each_mailbox_register(
		sum->kv, sum->account, RECORD_ANNOTATION, id, sum->arena, add_register, sum);
	arena_reset(sum->arena);
	return rc < 0 ? rc
		      : account_each_message(sum->kv, sum->account, id, 1, UINT32_MAX, sum->arena,
				add_message, sum);
}

int view_foreign_digest(struct kv_txn *kv, const struct view *view, struct digest *digest_r)
{
	struct foreign_sum sum = { .kv = kv, .account = view->account, .arena = arena_new() };
	int rc = 0;

	for (size_t i = 0; i < view->id_count && rc == 0; i++)
		rc = add_mailbox(&sum, view->ids[i]);
	arena_free(&sum.arena);
	*digest_r = sum.digest;
	return rc;
}
