#include "chapard/origin_private.h"

#include "base/log.h"
#include "base/mem.h"
#include "chapard/channel_link.h"
#include "mail/forget.h"
#include "mail/keep.h"
#include "sync/conflict.h"
#include "sync/guest.h"

#include <stdio.h>
#include <stdlib.h>

/* Where messages go that cannot be where they were put: below it the account and the mailbox. */
#define KEPT_LEVEL "Kept"

void origin_hand_begin(struct origin *origin)
{
	struct origin_hand *hand = &origin->hand;

	hand->account = (struct account_header){ 0 };
	hand->count = hand->next = 0;
	hand->act_count = hand->act_next = hand->united_count = 0;
	map_clear(&hand->told);
	arena_free(&hand->arena);
	hand->arena = arena_new();
}

void origin_hand_deinit(struct origin *origin)
{
	map_deinit(&origin->hand.told);
	free(origin->hand.acts);
	free(origin->hand.united);
	arena_free(&origin->hand.arena);
}

static struct bytes instance_key(const struct stamp *instance)
{
	return bytes_of(instance, sizeof(*instance));
}

static void note_told(struct origin_hand *hand, struct stamp instance)
{
	struct stamp *key = arena_alloc(hand->arena, sizeof(*key));

	*key = instance;
	map_put(&hand->told, instance_key(key), key);
}

/* ---- what the origin may not have ---- */

struct unsent {
	const struct origin_hand *hand;
	uint64_t writer;
	uint64_t point; /* our sequence at the last common point */
	struct stamp *list;
	size_t count, room, most;
	uint64_t after; /* our sequence, up to which this is all */
};

static int note_unsent(void *context, const struct message_record *message)
{
	struct unsent *unsent = context;

	if (unsent->count == unsent->most)
		return 1;
	unsent->after = message->sequence;
	/* What another has placed, it has. */
	if (message->instance.node != unsent->writer || message->placed.node != unsent->writer ||
		!message_is_shown(message) || message->placed_sequence <= unsent->point ||
		map_get(&unsent->hand->told, instance_key(&message->instance)) != NULL)
		return 0;
	mem_grow((void **)&unsent->list, &unsent->room, unsent->count + 1, sizeof(*unsent->list));
	unsent->list[unsent->count++] = message->instance;
	return 0;
}

static const struct account_change_functions unsent_functions = { .message = note_unsent };

static int unsent_of(struct origin *origin, struct kv_txn *kv, const struct account_header *header,
	struct unsent *unsent_r)
{
	struct common_point point;
	int rc = point_get(kv, header->number, origin->peer.node, &point);

	*unsent_r = (struct unsent){ .hand = &origin->hand,
		.writer = header->writer,
		.point = point.mine,
		.most = SIZE_MAX };
	return rc;
}

/* The next account of others; ERR_NOT_FOUND at the end. */
static int account_advance(struct origin_hand *hand, struct kv_txn *kv)
{
	int rc;

	do
		rc = account_next(kv, hand->account.number, &hand->account);
	while (rc == 0 && hand->account.writer == 0);
	hand->after = 0;
	hand->has_acts = false;
	return rc;
}

static int list_some(struct origin *origin, struct kv_txn *kv)
{
	struct origin_hand *hand = &origin->hand;
	struct arena *arena = arena_new();
	struct unsent unsent;
	int rc = unsent_of(origin, kv, &hand->account, &unsent);

	unsent.most = HAND_COUNT_MAX;
	unsent.after = hand->after > unsent.point ? hand->after : unsent.point;
	if (rc == 0)
		rc = account_each_change(
			kv, hand->account.number, unsent.after, arena, &unsent_functions, &unsent);
	if (rc == 0)
		unsent.after = UINT64_MAX;
	for (size_t i = 0; i < unsent.count; i++)
		hand->instances[i] = unsent.list[i];
	hand->count = unsent.count;
	hand->next = 0;
	hand->after = unsent.after;
	free(unsent.list);
	arena_free(&arena);
	return rc < 0 ? rc : 0;
}

/* ERR_NOT_FOUND: there is nothing more. */
static int batch_read(struct origin *origin)
{
	struct origin_hand *hand = &origin->hand;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(origin->mail, mail_position(origin->mail), &kv);

	if (rc == 0 && hand->account.number == 0)
		rc = account_advance(hand, kv);
	while (rc == 0) {
		if (!hand->has_acts) {
			rc = origin_arrange_list(origin, kv);
			hand->has_acts = true;
		} else if (hand->after != UINT64_MAX) {
			rc = list_some(origin, kv);
		}
		if (rc < 0 || hand->count > 0 || hand->act_next < hand->act_count)
			break;
		if (hand->after != UINT64_MAX)
			continue;
		rc = account_advance(hand, kv);
	}
	mail_read_end(&kv);
	return rc;
}

/* ---- one message ---- */

static int request_make(struct origin *origin, struct stamp instance)
{
	struct origin_hand *hand = &origin->hand;
	struct arena *arena = arena_new();
	struct message_record message;
	struct buffer raw = { 0 };
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(origin->mail, mail_position(origin->mail), &kv);

	if (rc == 0)
		rc = account_get_message(kv, hand->account.number, instance, arena, &message);
	if (rc == 0 && !message_is_shown(&message))
		rc = ERR_CHANGED;
	if (rc == 0)
		rc = message_body(origin->mail, kv, &message.guid, &raw);
	mail_read_end(&kv);
	buffer_clear(&origin->request);
	if (rc == 0)
		message.mailbox = message.placed_in = origin_arrange_home(hand, message.mailbox);
	if (rc == 0)
		guest_append_request(
			hand->account.name, &message, buffer_bytes(&raw), &origin->request);
	buffer_deinit(&raw);
	arena_free(&arena);
	return rc;
}

/* ---- what it does not take ---- */

struct keeping {
	struct origin *origin;
	struct bytes name;
};

static int journal(void *context, struct account_write *own, const struct message_record *kept)
{
	const struct keeping *keeping = context;
	struct merge_conflict conflict = { .kind = MERGE_GUEST_KEPT,
		.mailbox = kept->mailbox,
		.instance = kept->instance,
		.uid = kept->uid,
		.name = keeping->name };

	return conflict_put(own, keeping->origin->peer.node, &conflict, 1);
}

static int mailbox_name(struct origin *origin, const struct account_header *account,
	struct stamp instance, struct arena *arena, const char **name_r)
{
	struct mailbox_record mailbox;
	struct id128 id;
	struct kv_txn *kv = NULL;
	uint32_t uid;
	int rc = mail_read_begin(origin->mail, mail_position(origin->mail), &kv);

	if (rc == 0)
		rc = account_find_shown(kv, account->number, instance, &id, &uid);
	if (rc == 0)
		rc = account_get_mailbox(kv, account->number, id, arena, &mailbox);
	if (rc == 0)
		*name_r = arena_string(arena, mailbox.name);
	mail_read_end(&kv);
	return rc;
}

static void tell_kept(struct origin *origin, const char *account, const char *mailbox,
	const char *kept_in, const struct error *why)
{
	log_event(LOG_LEVEL_WARNING, "message-kept", "account", account, "mailbox", mailbox,
		"kept-in", kept_in, "error", why->text, NULL);
	if (origin->options.tell_kept != NULL)
		origin->options.tell_kept(origin->options.context, account, mailbox, kept_in, why);
}

static int keep_one(struct origin *origin, const struct account_header *account,
	struct stamp instance, const struct error *why, struct error *error)
{
	struct kept_message kept = { .from = account->number, .instance = instance };
	struct arena *arena = arena_new();
	const char *mailbox, *name;
	struct keeping keeping;
	int rc = mailbox_name(origin, account, instance, arena, &mailbox);

	if (rc < 0) {
		arena_free(&arena);
		return rc == ERR_NOT_FOUND ? 0 : rc;
	}
	name = arena_printf(arena, KEPT_LEVEL "/%s/%s", account->name, mailbox);
	if (mailbox_name_check(bytes_of_string(name), NULL) < 0)
		name = KEPT_LEVEL;
	kept.name = bytes_of_string(name);
	keeping = (struct keeping){ origin, kept.name };
	rc = mail_account_open(origin->mail, bytes_of_string(origin->user), true, error, &kept.own);
	if (rc == 0)
		rc = message_keep(origin->mail, &kept, journal, &keeping, error);
	if (rc == 0) {
		origin->is_changed = true;
		tell_kept(origin, account->name, mailbox, name, why);
	}
	arena_free(&arena);
	return rc;
}

/*
 * The origin may have it: that a message looks new here can come of a merge, or of an answer that
 * was lost. So it is told once more; only what is not taken now is kept.
 */
static int tell_or_keep(struct origin *origin, struct stamp instance, struct error *error)
{
	struct guest_place place;
	struct error why = { 0 };
	struct bytes answer;
	int rc = request_make(origin, instance);

	if (rc < 0)
		return rc == ERR_CHANGED || rc == ERR_NOT_FOUND ? 0 : rc;
	rc = origin_ask(origin, &answer, error);
	if (rc < 0 || guest_append_answer(answer, &place, &why) == 0)
		return rc;
	return keep_one(origin, &origin->hand.account, instance, &why, error);
}

int origin_hand_keep_all(struct origin *origin, uint32_t account, struct id128 mailbox,
	uint64_t *until_r, struct error *error)
{
	struct arena *arena = arena_new();
	struct account_header header;
	struct unsent unsent = { 0 };
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(origin->mail, mail_position(origin->mail), &kv);

	if (rc == 0)
		rc = account_load(kv, account, &header);
	if (rc == 0)
		rc = unsent_of(origin, kv, &header, &unsent);
	if (rc == 0 && header.writer != 0)
		rc = account_each_message(
			kv, account, mailbox, 1, UINT32_MAX, arena, note_unsent, &unsent);
	*until_r = rc == 0 ? header.sequence : 0;
	mail_read_end(&kv);
	if (rc == 0)
		origin->hand.account = header;
	for (size_t i = 0; i < unsent.count && rc == 0; i++)
		rc = tell_or_keep(origin, unsent.list[i], error);
	free(unsent.list);
	arena_free(&arena);
	return rc;
}

/* ---- all of it ---- */

/* It stays here, and so does what else was appended to this account, for the next time. */
void origin_hand_put_off(struct origin *origin, int rc, struct error *why)
{
	struct exchange_result result = { 0 };
	struct origin_hand *hand = &origin->hand;

	if (why->code == 0)
		error_set(why, rc, "%s", error_name(rc));
	error_prefix(why, "what was appended here waits");
	result.error = *why;
	if (origin->options.tell != NULL)
		origin->options.tell(origin->options.context, hand->account.name, &result);
	if (origin->first_error.code == 0) {
		origin->first_error = *why;
		error_prefix(&origin->first_error, "%s", hand->account.name);
	}
	hand->count = hand->next = hand->act_count = hand->act_next = 0;
	hand->after = UINT64_MAX;
}

static int answer_take(
	struct origin *origin, struct stamp instance, struct bytes answer, struct error *error)
{
	struct origin_hand *hand = &origin->hand;
	struct guest_place place;
	struct error why = { 0 };
	int rc = guest_append_answer(answer, &place, &why);

	if (rc == 0) {
		origin->is_changed = true;
		note_told(hand, instance);
		if (place.uid != 0)
			return 0;
		return message_forget(origin->mail, hand->account.number, &instance, 1, error);
	}
	if (guest_is_final(rc)) {
		struct error kept = { 0 };

		rc = keep_one(origin, &hand->account, instance, &why, &kept);
		why = kept;
	}
	if (rc < 0)
		origin_hand_put_off(origin, rc, &why);
	return 0;
}

int origin_hand_step(struct origin *origin, struct error *error)
{
	struct origin_hand *hand = &origin->hand;
	struct error why = { 0 };
	struct stamp instance;
	struct bytes answer;
	int rc;

	if (hand->act_next < hand->act_count)
		return origin_arrange_step(origin, error);
	if (hand->next == hand->count) {
		hand->count = hand->next = 0;
		rc = batch_read(origin);
		if (rc == ERR_NOT_FOUND)
			origin->phase = PHASE_SURVEY;
		return rc < 0 && rc != ERR_NOT_FOUND ? rc : ORIGIN_MORE;
	}
	instance = hand->instances[hand->next++];
	rc = request_make(origin, instance);
	if (rc == ERR_CHANGED)
		return ORIGIN_MORE; /* it went meanwhile */
	if (rc < 0) {
		origin_hand_put_off(origin, rc, &why);
		return ORIGIN_MORE;
	}
	rc = origin_ask(origin, &answer, error);
	if (rc == 0)
		rc = answer_take(origin, instance, answer, error);
	return rc < 0 ? rc : ORIGIN_MORE;
}
