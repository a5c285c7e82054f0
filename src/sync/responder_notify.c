/*
 * NOTIFY: telling the peer what changes, as it becomes visible, between the answers to its
 * requests.
 *
 * What is kept for it is, for each account that is watched, up to which sequence it was told: not
 * what happened since. So a peer that reads slowly costs nothing; when it reads on, it is told what
 * became of all that happened meanwhile, or, if that is too much, that something did.
 *
 * (1) Each NEWS with SINCE holds all records written after it, up to SEQUENCE; the next one of that
 *     account continues there. One without is a mark: what happened is to be asked for.
 * (2) What was committed before NOTIFY was answered is told for accounts with SINCE only; what is
 *     committed later is told in any case.
 * (3) Nothing is told that CHANGES would not tell.
 * (4) Of another user's account only marks are told, and only if something changed that the user
 *     sees there, or what he sees (foreign.h).
 */
#include "sync/responder_private.h"

#include "base/mem.h"
#include "base/pack.h"
#include "mail/watch.h"

#include <stdlib.h>

struct notify_account {
	uint32_t number;
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	struct watch *watch;
	uint64_t told;
	bool is_due; /* to be looked at, whether or not the watch says so */
	bool is_foreign;
	uint64_t seen; /* of a foreign one: names what the user sees there; 0: nothing */
};

/* All accounts, of a peer node: told up to a place in the feed. What was told of which account is
 * known of some; of the others a mark is told. */
#define TOLD_COUNT 1024u
struct notify_all {
	struct watch *watch;
	uint64_t cursor;
	bool is_due;
	struct {
		uint32_t number;
		uint64_t sequence;
	} told[TOLD_COUNT]; /* by number */
};

struct sync_notify {
	struct watch_set *set;
	uint64_t record_max;    /* told in one NEWS */
	uint64_t body_size_max; /* of a body that is told with its record */
	struct notify_all *all; /* or: */
	struct watch *grants;   /* of what others let a user see; NULL: he did not ask */
	struct notify_account *accounts;
	size_t count, room;
};

void notify_free(struct sync_notify **notify)
{
	if (*notify == NULL)
		return;
	watch_set_free(&(*notify)->set);
	free((*notify)->accounts);
	free((*notify)->all);
	free(*notify);
	*notify = NULL;
}

/* ---- what is watched ---- */

static struct notify_account *account_of(struct sync_notify *notify, uint32_t number)
{
	for (size_t i = 0; i < notify->count; i++)
		if (notify->accounts[i].number == number)
			return &notify->accounts[i];
	return NULL;
}

/* `header` as it is now. */
static struct notify_account *account_add(
	struct sync_notify *notify, const struct account_header *header)
{
	struct notify_account *account = account_of(notify, header->number);

	if (account != NULL)
		return account;
	mem_grow((void **)&notify->accounts, &notify->room, notify->count + 1, sizeof(*account));
	account = &notify->accounts[notify->count++];
	*account = (struct notify_account){ .number = header->number, .told = header->sequence };
	memcpy(account->name, header->name, sizeof(account->name));
	account->watch = watch_add(notify->set, header->number, WATCH_ANY, (struct id128){ { 0 } });
	return account;
}

static uint64_t name_foreign(const struct foreign_list *list)
{
	struct buffer text = { 0 };
	uint64_t name;

	for (size_t i = 0; i < list->count; i++) {
		buffer_append(&text, list->list[i].id.bytes, sizeof(list->list[i].id.bytes));
		pack_u32(&text, list->list[i].rights);
	}
	name = hash64(buffer_bytes(&text), 0);
	buffer_deinit(&text);
	return list->count == 0 ? 0 : name != 0 ? name : 1;
}

/* `header` as it is now; what is seen in it, too, so that only what changes is told. */
static int foreign_add(const struct sync_session *session, struct kv_txn *kv,
	struct sync_notify *notify, const struct account_header *header, bool is_news)
{
	struct foreign_list list = { 0 };
	struct notify_account *account = account_of(notify, header->number);
	int rc;

	if (account != NULL || notify->count == NOTIFY_ACCOUNT_COUNT_MAX)
		return 0;
	rc = session_foreign(session, kv, header->number, &list);
	if (rc == 0) {
		account = account_add(notify, header);
		account->is_foreign = account->is_due = true;
		account->seen = is_news ? 0 : name_foreign(&list);
	}
	foreign_list_deinit(&list);
	return rc;
}

/* All accounts that others let him see something of, and that are not watched yet. */
static int watch_others(const struct sync_session *session, struct kv_txn *kv,
	struct sync_notify *notify, bool is_news)
{
	struct foreign_list list = { 0 };
	struct account_header header;
	int rc = session_foreign(session, kv, 0, &list);

	for (size_t i = 0; i < list.count && rc == 0; i++) {
		if (i > 0 && list.list[i].account == list.list[i - 1].account)
			continue;
		rc = account_load(kv, list.list[i].account, &header);
		if (rc == 0)
			rc = foreign_add(session, kv, notify, &header, is_news);
	}
	foreign_list_deinit(&list);
	return rc;
}

/* One member of ACCOUNTS: a name, or %(ACCOUNT name SINCE number). */
static int watch_named(struct sync_call *call, struct kv_txn *kv, struct sync_notify *notify,
	const struct dlist *at)
{
	struct sync_call named = *call;
	struct notify_account *account;
	struct account_header header;
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	struct bytes text;
	uint64_t since;
	uint32_t number;
	int rc, is_foreign;

	named.map = at;
	if (at->kind == DLIST_MAP)
		rc = call_account(&named, kv, &header);
	else if (dlist_text(at, &text) < 0 || account_name_normalize(text, name) < 0)
		rc = error_set(call->error, ERR_INVALID, "bad account name");
	else {
		rc = call_find(call, kv, name, &number);
		if (rc == 0)
			rc = account_load(kv, number, &header);
	}
	is_foreign = rc < 0 ? rc : session_is_foreign(call->session, kv, header.number);
	if (is_foreign != 0)
		return is_foreign < 0 ? is_foreign
				      : foreign_add(call->session, kv, notify, &header, false);
	account = account_add(notify, &header);
	if (at->kind != DLIST_MAP)
		return 0;
	rc = dlist_get_number(at, "SINCE", UINT64_MAX, &since);
	if (rc == ERR_INVALID)
		return error_set(call->error, rc, "bad SINCE");
	if (rc == 0) {
		account->told = since;
		account->is_due = since != header.sequence;
	}
	return 0;
}

static int watch_list(struct sync_call *call, struct kv_txn *kv, struct sync_notify *notify,
	const struct dlist *list)
{
	int rc = 0;

	if (list->count > NOTIFY_ACCOUNT_COUNT_MAX)
		return error_set(call->error, ERR_TOO_LARGE, "too many accounts in one request");
	for (const struct dlist *at = list->first; at != NULL && rc == 0; at = at->next)
		rc = watch_named(call, kv, notify, at);
	return rc;
}

/* All that a user may see: his own. */
static int watch_own(struct sync_call *call, struct kv_txn *kv, struct sync_notify *notify)
{
	struct account_header header;
	uint32_t number;
	int rc = account_find(kv, bytes_of_string(call->session->rights.account), &number);

	if (rc == 0)
		rc = account_load(kv, number, &header);
	if (rc == 0)
		account_add(notify, &header);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int watch_all_of_user(struct sync_call *call, struct kv_txn *kv, struct sync_notify *notify)
{
	uint64_t wants_others = 0;
	int rc = watch_own(call, kv, notify);

	(void)dlist_get_number(call->map, "OTHERS", 1, &wants_others);
	if (rc < 0 || wants_others == 0)
		return rc;
	notify->grants = watch_add_grants(notify->set, &call->session->rights.identity);
	return watch_others(call->session, kv, notify, false);
}

static int watch_all(struct sync_call *call, struct kv_txn *kv, struct sync_notify *notify)
{
	int rc;

	if (!call->session->rights.is_full)
		return watch_all_of_user(call, kv, notify);
	notify->all = mem_zalloc(sizeof(*notify->all));
	notify->all->watch =
		watch_add(notify->set, WATCH_ALL_ACCOUNTS, WATCH_ANY, (struct id128){ { 0 } });
	rc = feed_last(kv, &notify->all->cursor);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

void notify_own(struct sync_session *session, uint32_t account, uint64_t from, uint64_t to)
{
	struct sync_notify *notify = session->notify;
	struct notify_account *watched = notify != NULL ? account_of(notify, account) : NULL;
	size_t slot = account % TOLD_COUNT;

	if (watched != NULL && watched->told == from)
		watched->told = to;
	if (notify == NULL || notify->all == NULL)
		return;
	if (notify->all->told[slot].number == account && notify->all->told[slot].sequence != from)
		return;
	notify->all->told[slot].number = account;
	notify->all->told[slot].sequence = to;
}

/* ---- NOTIFY ---- */

static int limit(
	struct sync_call *call, const char *key, uint64_t usual, uint64_t max, uint64_t *number_r)
{
	int rc = dlist_get_number(call->map, key, UINT64_MAX, number_r);

	if (rc == ERR_NOT_FOUND)
		*number_r = usual;
	else if (rc < 0)
		return error_set(call->error, ERR_INVALID, "bad %s", key);
	if (*number_r > max)
		*number_r = max;
	return 0;
}

/* Watching begins before the snapshot is taken, so that nothing falls between them. */
static int notify_begin(struct sync_call *call, struct sync_notify *notify)
{
	struct sync_session *session = call->session;
	const struct dlist *list;
	struct kv_txn *kv = NULL;
	uint64_t is_all;
	int rc = dlist_get_list(call->map, "ACCOUNTS", &list);

	if (rc == ERR_INVALID)
		return error_set(call->error, rc, "bad ACCOUNTS");
	if (rc == ERR_NOT_FOUND) {
		list = NULL;
		rc = call_number(call, "ALL", 1, &is_all);
	}
	if (rc == 0)
		rc = limit(call, "RECORDS", NOTIFY_RECORD_COUNT, NOTIFY_RECORD_COUNT_MAX,
			&notify->record_max);
	if (rc == 0)
		rc = limit(call, "BODIES", 0, NOTIFY_BODY_SIZE_MAX, &notify->body_size_max);
	if (rc < 0)
		return rc;
	notify->set = watch_set_new(session->mail, session->wake, session->wake_context);
	rc = mail_read_begin(session->mail, mail_position(session->mail), &kv);
	if (rc == 0)
		rc = list != NULL ? watch_list(call, kv, notify, list)
				  : watch_all(call, kv, notify);
	mail_read_end(&kv);
	/* A change between the snapshot and a watch has told nobody. */
	for (size_t i = 0; i < notify->count && rc == 0; i++)
		notify->accounts[i].is_due = true;
	if (notify->all != NULL)
		notify->all->is_due = true;
	return rc;
}

int respond_notify(struct sync_call *call)
{
	struct sync_session *session = call->session;
	struct sync_notify *notify;
	struct dlist_writer writer;
	uint64_t is_none;
	int rc = dlist_get_number(call->map, "NONE", 1, &is_none);

	if (session->wake == NULL)
		return error_set(call->error, ERR_UNAVAILABLE, "nothing can be told here");
	if (rc == 0) {
		notify_free(&session->notify);
	} else {
		notify = mem_zalloc(sizeof(*notify));
		rc = notify_begin(call, notify);
		if (rc < 0) {
			notify_free(&notify);
			return rc;
		}
		notify_free(&session->notify);
		session->notify = notify;
		session->wake(session->wake_context);
	}
	notify = session->notify;
	writer = wire_begin(call->answer, DLIST_ANSWER, "NOTIFY");
	if (notify != NULL && notify->all != NULL)
		dlist_put_number_of(&writer, "ALL", 1);
	else
		dlist_put_number_of(&writer, "COUNT", notify != NULL ? notify->count : 0);
	if (notify != NULL) {
		dlist_put_number_of(&writer, "RECORDS", notify->record_max);
		dlist_put_number_of(&writer, "BODIES", notify->body_size_max);
	}
	dlist_end_map(&writer);
	return 0;
}

/* ---- NEWS ---- */

struct news {
	struct sync_session *session;
	struct kv_txn *kv;
	struct arena *arena;
	struct account_header header;
	struct digest digest; /* of what the peer sees of it */
	uint64_t since;
	bool has_since;
};

static bool is_new_body(const struct news *news, const struct message_record *message)
{
	return message_is_shown(message) && message->placed_sequence > news->since &&
	       stamp_compare(message->placed, message->instance) == 0 &&
	       message->size <= news->session->notify->body_size_max;
}

static int put_bodies(struct news *news, const struct change_set *set, struct dlist_writer *writer)
{
	struct buffer body = { 0 };
	size_t size = 0;
	bool is_begun = false;
	int rc = 0;

	for (size_t i = 0; i < set->message_count && rc == 0; i++) {
		const struct message_record *message = &set->messages[i].record;

		if (!is_new_body(news, message) || size + message->size > NOTIFY_SIZE_MAX)
			continue;
		buffer_clear(&body);
		rc = message_body(news->session->mail, news->kv, &message->guid, &body);
		if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT) {
			rc = 0; /* who asks for it with GET is told */
			continue;
		}
		if (rc < 0)
			break;
		if (!is_begun) {
			dlist_put_atom(writer, "BODIES");
			dlist_begin_list(writer);
			is_begun = true;
		}
		dlist_put_hex(writer, bytes_of(message->guid.bytes, sizeof(message->guid.bytes)));
		dlist_put_literal(writer, buffer_bytes(&body));
		size += body.len;
	}
	if (is_begun)
		dlist_end_list(writer);
	buffer_deinit(&body);
	return rc;
}

/* `set` NULL: a mark. */
static int put_news(struct news *news, const struct change_set *set, struct buffer *answer)
{
	struct dlist_writer writer = wire_begin(answer, DLIST_ANSWER, "NEWS");
	int rc = 0;

	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(news->header.name));
	if (set != NULL)
		dlist_put_number_of(&writer, "SINCE", news->since);
	dlist_put_number_of(&writer, "SEQUENCE", news->header.sequence);
	dlist_put_number_of(&writer, "HIGHEST", news->header.highest);
	wire_put_digest_of(&writer, "DIGEST", news->digest);
	if (set != NULL) {
		wire_put_changes(&writer, set);
		rc = put_bodies(news, set, &writer);
	}
	dlist_end_map(&writer);
	return rc;
}

/* Whether the records are told; if they cannot be, or are too many, a mark is. */
static bool put_records(struct news *news, const struct change_set *set, struct buffer *answer)
{
	size_t begin = answer->len;

	if (news->session->notify->record_max > 0 && set->sequence == news->header.sequence &&
		put_news(news, set, answer) == 0 && answer->len - begin <= 2 * NOTIFY_SIZE_MAX)
		return true;
	buffer_truncate(answer, begin);
	return false;
}

static size_t set_count(const struct change_set *set)
{
	return set->mailbox_count + set->message_count + set->register_count;
}

/* Returns 1 if there was something to tell: within what the peer sees of the account (view.h). */
static int tell_account(struct news *news, struct buffer *answer)
{
	uint64_t record_max = news->session->notify->record_max;
	bool knows_since = news->has_since && news->since <= news->header.sequence;
	bool is_hidden = false, is_told = false;
	struct change_set set = { 0 };
	struct view view;
	int rc = session_view(news->session, news->kv, news->header.number, &view);

	if (rc == 0)
		rc = view_digest(news->kv, &news->header, &view, &news->digest);
	if (rc == 0 && knows_since)
		rc = view_changes(news->kv, &news->header, &view, news->since, news->since,
			record_max > 0 ? (size_t)record_max : 1, news->arena, &set);
	if (rc == 0 && knows_since) {
		is_hidden = !view.is_whole && set_count(&set) == 0 &&
			    set.sequence == news->header.sequence;
		is_told = !is_hidden && put_records(news, &set, answer);
	}
	if (rc == 0 && !is_hidden && !is_told)
		rc = put_news(news, NULL, answer);
	change_set_deinit(&set);
	view_close(&view);
	return rc < 0 ? rc : !is_hidden;
}

/* ---- of others' accounts ---- */

/* Whether anything that he sees changed since it was told: 1, 0, or an error of reading. */
static int has_foreign_news(
	struct news *news, const struct foreign_list *list, const struct notify_account *account)
{
	struct change_set set = { 0 };
	struct view view;
	bool has_news;
	int rc = session_view(news->session, news->kv, news->header.number, &view);

	if (rc == 0)
		rc = view_changes(news->kv, &news->header, &view, account->told, account->told, 1,
			news->arena, &set);
	has_news = set_count(&set) > 0 || name_foreign(list) != account->seen;
	change_set_deinit(&set);
	view_close(&view);
	return rc < 0 ? rc : has_news;
}

static int tell_foreign(struct news *news, struct notify_account *account, struct buffer *answer)
{
	struct foreign_list list = { 0 };
	struct dlist_writer writer;
	int rc = session_foreign(news->session, news->kv, news->header.number, &list);

	if (rc == 0)
		rc = has_foreign_news(news, &list, account);
	if (rc > 0) {
		writer = wire_begin(answer, DLIST_ANSWER, "NEWS");
		dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(news->header.name));
		if (list.count == 0)
			dlist_put_number_of(&writer, "GONE", 1);
		else
			dlist_put_number_of(&writer, "SEQUENCE", news->header.sequence);
		dlist_end_map(&writer);
	}
	if (rc >= 0)
		account->seen = name_foreign(&list);
	foreign_list_deinit(&list);
	return rc;
}

/* Accounts that he sees something of since he was granted it, and what he saw of all. */
static int look_at_grants(struct sync_session *session)
{
	struct sync_notify *notify = session->notify;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(session->mail, 0, &kv);

	if (rc == 0)
		rc = watch_others(session, kv, notify, true);
	mail_read_end(&kv);
	for (size_t i = 0; i < notify->count; i++)
		notify->accounts[i].is_due |= notify->accounts[i].is_foreign;
	return rc;
}

/* Nothing is told of one that is being filled, or away (mail/away.h). */
static bool is_told(const struct account_header *header)
{
	return header->hold != ACCOUNT_FILLING && header->hold != ACCOUNT_AWAY;
}

/* Returns 1 if there was something to tell. */
static int tell_one(
	struct sync_session *session, struct notify_account *account, struct buffer *answer)
{
	struct news news = {
		.session = session, .since = account->told, .has_since = true, .arena = arena_new()
	};
	int rc = mail_read_begin(session->mail, 0, &news.kv);

	account->is_due = false;
	if (rc == 0)
		rc = account_load(news.kv, account->number, &news.header);
	if (rc == 0 && account->is_foreign) {
		rc = tell_foreign(&news, account, answer);
		account->told = news.header.sequence;
	} else if (rc == 0 && is_told(&news.header) && news.header.sequence != account->told) {
		rc = tell_account(&news, answer);
		account->told = news.header.sequence;
	}
	mail_read_end(&news.kv);
	arena_free(&news.arena);
	return rc;
}

static int tell_accounts(struct sync_session *session, struct buffer *answer)
{
	struct sync_notify *notify = session->notify;
	int rc = 0;

	for (;;) {
		struct notify_account *account;
		struct watch_news unused;
		struct arena *arena;
		struct watch *watch;

		for (size_t i = 0; i < notify->count && rc == 0; i++)
			if (notify->accounts[i].is_due)
				rc = tell_one(session, &notify->accounts[i], answer);
		if (rc != 0)
			return rc;
		arena = arena_new();
		watch = watch_next(notify->set, arena, NULL, &unused);
		arena_free(&arena);
		if (watch == NULL)
			return 0;
		account = account_of(notify, watch_account(watch));
		if (account != NULL)
			account->is_due = true;
		rc = watch == notify->grants ? look_at_grants(session) : 0;
		if (rc < 0)
			return rc;
	}
}

/* ---- of all accounts ---- */

static int tell_fed(
	struct sync_session *session, struct kv_txn *kv, uint32_t number, struct buffer *answer)
{
	struct notify_all *all = session->notify->all;
	struct news news = { .session = session, .kv = kv, .arena = arena_new() };
	size_t slot = number % TOLD_COUNT;
	int rc = account_load(kv, number, &news.header);

	if (rc == 0 && is_told(&news.header) &&
		rights_sees_account(&session->rights, news.header.name)) {
		news.has_since = all->told[slot].number == number;
		news.since = all->told[slot].sequence;
		if (!news.has_since || news.since != news.header.sequence)
			rc = tell_account(&news, answer);
		all->told[slot].number = number;
		all->told[slot].sequence = news.header.sequence;
	}
	arena_free(&news.arena);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int tell_feed(struct sync_session *session, struct buffer *answer)
{
	struct notify_all *all = session->notify->all;
	struct buffer key = { 0 };
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(session->mail, 0, &kv);

	while (rc == 0) {
		uint64_t sequence;

		buffer_clear(&key);
		rc = feed_next(kv, all->cursor, &sequence, &key);
		if (rc < 0)
			break;
		all->cursor = sequence;
		if (key.len == 4)
			rc = tell_fed(session, kv, get_u32(key.data), answer);
	}
	mail_read_end(&kv);
	buffer_deinit(&key);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int tell_all(struct sync_session *session, struct buffer *answer)
{
	struct notify_all *all = session->notify->all;

	for (;;) {
		struct watch_news unused;
		struct arena *arena;
		int rc = all->is_due ? tell_feed(session, answer) : 0;

		if (rc != 0)
			return rc;
		arena = arena_new();
		all->is_due = watch_next(session->notify->set, arena, NULL, &unused) != NULL;
		arena_free(&arena);
		if (!all->is_due)
			return 0;
	}
}

bool sync_is_watching(const struct sync_session *session)
{
	return session != NULL && session->notify != NULL;
}

int sync_news(struct sync_session *session, struct buffer *answer)
{
	size_t begin = answer->len;
	struct bytes told;
	int rc;

	if (!sync_is_watching(session))
		return 0;
	rc = session->notify->all != NULL ? tell_all(session, answer)
					  : tell_accounts(session, answer);
	told = buffer_bytes(answer);
	bytes_skip(&told, begin);
	if (rc > 0)
		session_tell_trace(session, TRACE_SENT, told, (struct bytes){ 0 }, TRACE_UNTIMED);
	return rc;
}
