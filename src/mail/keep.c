#include "mail/keep.h"

#include "base/error.h"
#include "mail/forget.h"
#include "mail/mail_private.h"
#include "mail/seen.h"

struct keeping {
	const struct kept_message *message;
	keep_function *also;
	void *context;
};

static int mailbox_find(
	struct account_write *own, struct bytes name, struct mailbox_record *mailbox_r)
{
	struct id128 id;
	int rc = account_find_mailbox(own->kv, own->header.number, name, own->arena, mailbox_r);

	if (rc != ERR_NOT_FOUND)
		return rc;
	rc = mailbox_make_path(own, name, bytes_of(NULL, 0), &id);
	if (rc == 0)
		rc = account_write_flush(own);
	return rc < 0 ? rc
		      : account_get_mailbox(own->kv, own->header.number, id, own->arena, mailbox_r);
}

/* As message_append() takes them: those that are set. */
static void flags_take(struct arena *arena, struct message_record *message)
{
	struct flag_state *flags = arena_alloc(arena, (message->flag_count + 1) * sizeof(*flags));
	size_t count = 0;

	for (size_t i = 0; i < message->flag_count; i++)
		if (message->flags[i].is_set)
			flags[count++] = message->flags[i];
	message->flags = flags;
	message->flag_count = count;
}

static int keep_run(struct accounts_write *accounts, void *context)
{
	const struct keeping *keeping = context;
	const struct kept_message *kept = keeping->message;
	struct account_write *own, *from;
	struct message_record message;
	struct mailbox_record mailbox;
	int rc = accounts_write_get(accounts, kept->own, &own);

	if (rc == 0)
		rc = accounts_write_get(accounts, kept->from, &from);
	if (rc == 0)
		rc = account_get_message(
			from->kv, kept->from, kept->instance, from->arena, &message);
	if (rc < 0 || !message_is_shown(&message))
		return rc == ERR_NOT_FOUND ? 0 : rc;
	rc = seen_apply(own->kv, kept->own, from->header.id, own->arena, &message);
	if (rc == 0)
		rc = mailbox_find(own, kept->name, &mailbox);
	if (rc < 0)
		return rc;
	message.uid = mailbox.uidnext;
	flags_take(own->arena, &message);
	rc = message_append(own, mailbox.id, &message);
	if (rc == 0)
		rc = message_forget_in(from, kept->instance);
	return rc < 0 ? rc : keeping->also(keeping->context, own, &message);
}

int message_keep(struct mail *mail, const struct kept_message *message, keep_function *also,
	void *context, struct error *error)
{
	struct keeping keeping = { message, also, context };
	uint64_t position;

	return accounts_commit(mail, keep_run, &keeping, error, &position);
}
