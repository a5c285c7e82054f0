#include "mail/shared.h"

#include "base/error.h"
#include "base/mem.h"
#include "mail/annotation.h"
#include "mail/mail_private.h"
#include "mail/seen.h"

#include <stdlib.h>

#define SEEN_FLAG BYTES_LITERAL("\\Seen")
#define FLAG_RIGHTS (ACL_SEEN | ACL_WRITE | ACL_MARK)

enum acl_right acl_right_for_flag(struct bytes flag)
{
	if (bytes_equal_string_nocase(flag, "\\Seen"))
		return ACL_SEEN;
	return bytes_equal_string_nocase(flag, "\\Deleted") ? ACL_MARK : ACL_WRITE;
}

/* Whether the plain calls of mail.h do. */
static bool is_plain(const struct shared_place *place)
{
	return place->seen_account == 0 && (place->rights & FLAG_RIGHTS) == FLAG_RIGHTS;
}

bool shared_may_set(const struct shared_place *place, struct bytes flag)
{
	return (place->rights & acl_right_for_flag(flag)) != 0;
}

/* ---- STORE ---- */

struct flags_context {
	const struct shared_place *place;
	struct message_step step;
	struct flag_edit edit;
	uint64_t unchanged_since;
	struct uid_set *changed;
	struct uid_set *modified;
};

/* What the messages' own records may be changed in: private \Seen is not there. */
static bool may_change(void *context, struct bytes name)
{
	const struct shared_place *place = context;

	return shared_may_set(place, name) &&
	       (place->seen_account == 0 || !bytes_equal(name, SEEN_FLAG));
}

/* What becomes of \Seen. */
static bool wanted_seen(const struct flags_context *store, bool is_seen)
{
	bool is_named = flag_is_named(&store->edit, SEEN_FLAG);

	if (!shared_may_set(store->place, SEEN_FLAG))
		return is_seen;
	if (store->edit.operation == FLAGS_REPLACE)
		return is_named;
	return is_named ? store->edit.operation == FLAGS_ADD : is_seen;
}

static int store_seen(const struct flags_context *store, struct account_write *write,
	struct account_write *own, const struct message_record *shown, struct stamp *stamp)
{
	bool is_seen = message_has_flag(shown, SEEN_FLAG), wanted = wanted_seen(store, is_seen);
	int rc;

	if (wanted == is_seen)
		return 0;
	if (stamp_is_none(*stamp))
		*stamp = (struct stamp){ account_tick(write, own->header.clock_last), write->node };
	rc = seen_put(own, write->header.id, shown->instance, wanted, *stamp);
	return rc < 0 ? rc : account_announce(write, store->place->mailbox, stamp->modseq);
}

/* Of \Seen of his own is not known when it changed apart from the message's other flags. */
static bool flags_stayed(const struct flags_context *store, const struct account_write *write,
	const struct message_record *message)
{
	if (store->place->seen_account != 0 && flag_is_named(&store->edit, SEEN_FLAG))
		return false;
	return message_flags_stayed(write, &store->edit, message, store->unchanged_since);
}

static int store_one(struct flags_context *store, struct account_write *write,
	struct account_write *own, struct message_record *message)
{
	struct message_record shown = *message;
	struct stamp stamp = { 0, 0 };
	int rc = seen_apply(
		write->kv, store->place->seen_account, write->header.id, write->arena, &shown);

	if (rc < 0)
		return rc;
	if (shown.modseq > store->unchanged_since && !flags_stayed(store, write, message)) {
		uid_set_add(store->modified, message->uid, message->uid);
		return 0;
	}
	rc = message_flags_edit(write, &store->edit, message, &stamp);
	if (rc == 0 && !stamp_is_none(stamp)) {
		message->modseq = stamp.modseq;
		rc = account_put_message(write, message);
	}
	if (rc == 0 && own != NULL)
		rc = store_seen(store, write, own, &shown, &stamp);
	if (rc == 0 && !stamp_is_none(stamp))
		uid_set_add(store->changed, message->uid, message->uid);
	return rc;
}

static int flags_run(struct accounts_write *accounts, void *context)
{
	struct flags_context *store = context;
	const struct shared_place *place = store->place;
	struct account_write *write, *own = NULL;
	int rc = accounts_write_get(accounts, place->account, &write);

	if (rc == 0 && place->seen_account != 0)
		rc = accounts_write_get(accounts, place->seen_account, &own);
	if (rc == 0)
		rc = message_step_read(write, &store->step);
	/* A stamp is good in both accounts. */
	store->edit.clock_floor = own != NULL ? own->header.clock_last : 0;
	for (size_t i = 0; rc == 0 && i < store->step.count; i++)
		rc = store_one(store, write, own, &store->step.messages[i]);
	return rc;
}

int shared_store(struct mail *mail, const struct shared_place *place, const struct uid_set *uids,
	enum flag_operation operation, const struct bytes *flags, size_t flag_count,
	uint64_t unchanged_since, struct error *error, struct uid_set *changed_r,
	struct uid_set *modified_r, uint64_t *position_r)
{
	struct flags_context store = { .place = place,
		.step = { .mailbox = place->mailbox, .uids = uids },
		.edit = { .operation = operation,
			.flags = flags,
			.flag_count = flag_count,
			.may_change = may_change,
			.context = (void *)place },
		.unchanged_since = unchanged_since,
		.changed = changed_r,
		.modified = modified_r };
	int rc = 0;

	if (is_plain(place))
		return message_store(mail, place->account, place->mailbox, uids, operation, flags,
			flag_count, unchanged_since, error, changed_r, modified_r, position_r);
	while (rc == 0 && !store.step.is_done)
		rc = accounts_commit(mail, flags_run, &store, error, position_r);
	free(store.step.messages);
	if (rc == ERR_TOO_LARGE)
		return error_set(
			error, rc, "a message has more than %d flags", MESSAGE_FLAG_COUNT_MAX);
	return rc;
}

/* ---- APPEND ---- */

struct append_context {
	const struct shared_place *place;
	struct message_appending appending;
	const bool *seen;                      /* of each message */
	const struct append_message *messages; /* with the annotations that are kept apart */
};

/* The \Seen that was given with an append has the append's own stamp. Private annotations are his
 * who appends. */
static int append_private(struct accounts_write *accounts, const struct append_context *append,
	struct account_write *write)
{
	const struct message_appending *appending = &append->appending;
	struct account_write *own;
	int rc = accounts_write_get(accounts, append->place->seen_account, &own);

	for (size_t i = 0; rc == 0 && i < appending->count; i++) {
		const struct append_message *given = &append->messages[i];
		struct message_record message;

		if (!append->seen[i] && given->annotation_count == 0)
			continue;
		rc = account_get_message_at(write->kv, write->header.number, appending->mailbox,
			appending->uid + (uint32_t)i, write->arena, &message);
		if (rc == 0 && append->seen[i])
			rc = seen_put(
				own, write->header.id, message.instance, true, message.instance);
		if (rc == 0)
			rc = annotations_put_privately(own, write->header.id, message.instance,
				given->annotations, given->annotation_count);
	}
	return rc;
}

static int append_run(struct accounts_write *accounts, void *context)
{
	struct append_context *append = context;
	struct account_write *write;
	int rc = accounts_write_get(accounts, append->place->account, &write);

	if (rc == 0)
		rc = message_append_run(write, &append->appending);
	if (rc == 0 && append->place->seen_account != 0)
		rc = append_private(accounts, append, write);
	return rc;
}

/* Leaves the flags that the record may have, and in another's account shared annotations; true if
 * \Seen was among those that are kept apart. */
static bool take_allowed(const struct shared_place *place, const struct append_message *from,
	struct append_message *to, struct arena *arena)
{
	struct bytes *flags = arena_alloc(arena, (from->flag_count + 1) * sizeof(*flags));
	struct annotation *shared =
		arena_alloc(arena, (from->annotation_count + 1) * sizeof(*shared));
	size_t count = 0, shared_count = 0;
	bool is_seen = false;

	for (size_t i = 0; i < from->flag_count; i++) {
		struct bytes flag = flag_canonical(from->flags[i]);

		if (!shared_may_set(place, flag))
			continue;
		if (place->seen_account != 0 && bytes_equal(flag, SEEN_FLAG))
			is_seen = true;
		else
			flags[count++] = flag;
	}
	for (size_t i = 0; i < from->annotation_count; i++)
		if (place->seen_account == 0 || from->annotations[i].scope == ANNOTATION_SHARED)
			shared[shared_count++] = from->annotations[i];
	*to = *from;
	to->flags = flags;
	to->flag_count = count;
	to->annotations = shared;
	to->annotation_count = shared_count;
	return is_seen;
}

int shared_append(struct mail *mail, const struct shared_place *place,
	const struct append_message *messages, size_t count, struct error *error,
	uint32_t *uidvalidity_r, uint32_t *uid_r, uint64_t *position_r)
{
	struct append_context append = { .place = place };
	struct append_message *allowed;
	struct arena *arena;
	bool *seen;
	int rc;

	if (is_plain(place))
		return mailbox_append(mail, place->account, place->mailbox, messages, count, error,
			uidvalidity_r, uid_r, position_r);
	arena = arena_new();
	allowed = arena_alloc(arena, (count + 1) * sizeof(*allowed));
	seen = arena_alloc(arena, (count + 1) * sizeof(*seen));
	for (size_t i = 0; i < count; i++)
		seen[i] = take_allowed(place, &messages[i], &allowed[i], arena);
	append.appending = (struct message_appending){
		.mailbox = place->mailbox, .messages = allowed, .count = count
	};
	append.seen = seen;
	append.messages = messages;
	rc = accounts_commit(mail, append_run, &append, error, position_r);
	arena_free(&arena);
	if (rc == ERR_NOT_FOUND)
		return error_set(error, rc, "the mailbox does not exist any more");
	if (rc == ERR_TOO_LARGE)
		return error_set(error, rc, "too many annotations of one message");
	if (rc < 0)
		return rc;
	*uidvalidity_r = append.appending.uidvalidity;
	*uid_r = append.appending.uid;
	return 0;
}

/* ---- REPLACE (RFC 8508) ---- */

struct replace_context {
	struct append_context append; /* first, for append_run() */
	const struct shared_place *from;
	uint32_t uid;
};

static int replace_run(struct accounts_write *accounts, void *context)
{
	struct replace_context *replace = context;
	struct message_record message;
	struct account_write *write;
	int rc = append_run(accounts, &replace->append);

	if (rc == 0)
		rc = accounts_write_get(accounts, replace->from->account, &write);
	if (rc < 0)
		return rc;
	rc = account_get_message_at(write->kv, write->header.number, replace->from->mailbox,
		replace->uid, write->arena, &message);
	if (rc == ERR_NOT_FOUND)
		return ERR_CHANGED;
	return rc < 0 ? rc : message_remove(write, &message);
}

int shared_replace(struct mail *mail, const struct shared_place *from, uint32_t uid,
	const struct shared_place *to, const struct append_message *message, struct error *error,
	uint32_t *uidvalidity_r, uint32_t *uid_r, uint64_t *position_r)
{
	struct arena *arena = arena_new();
	struct append_message allowed;
	bool is_seen = take_allowed(to, message, &allowed, arena);
	struct replace_context replace = {
		.append = { .place = to,
			.appending = { .mailbox = to->mailbox, .messages = &allowed, .count = 1 },
			.seen = &is_seen,
			.messages = message },
		.from = from,
		.uid = uid
	};
	int rc = accounts_commit(mail, replace_run, &replace, error, position_r);

	arena_free(&arena);
	if (rc == ERR_NOT_FOUND)
		return error_set(error, rc, "the mailbox does not exist any more");
	if (rc == ERR_CHANGED)
		return error_set(error, rc, "the message to replace is gone");
	if (rc < 0)
		return rc;
	*uidvalidity_r = replace.append.appending.uidvalidity;
	*uid_r = replace.append.appending.uid;
	return 0;
}
