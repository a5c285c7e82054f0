/*
 * Acts of a guest's clients on his clone, as IMAP commands do them: by the rights that he has
 * there, in what he sees of the account and in his own mailboxes.
 */
#include "sim_guest.h"

#include "mail/shared.h"

#include <stdlib.h>

#define PLACE_COUNT_MAX 64
#define SHOWN_COUNT_MAX 400

struct place {
	struct shared_place at;
	struct bytes name;
	bool is_own;
};

struct acting {
	struct sim *sim;
	struct guest *guest;
	struct mail *mail;
	struct arena *arena;
	struct kv_txn *kv;
	struct identity identity;
	struct error error;
	uint32_t account; /* being listed */
	struct place places[PLACE_COUNT_MAX];
	size_t count;
	uint32_t uids[SHOWN_COUNT_MAX];
	size_t uid_count;
	uint64_t position;
};

static int list_place(void *context, const struct mailbox_record *mailbox)
{
	struct acting *acting = context;
	struct place *place = &acting->places[acting->count];
	bool is_own = acting->account == acting->guest->own;
	unsigned rights = ACL_ALL;

	if (!mailbox_is_live(mailbox) || acting->count == PLACE_COUNT_MAX)
		return 0;
	if (!is_own && acl_rights(acting->kv, &acting->identity, acting->account, mailbox->id,
			       &rights) < 0)
		return 0;
	if ((rights & ACL_LOOKUP) == 0 || (rights & ACL_READ) == 0)
		return 0;
	*place = (struct place){ .name = mailbox->name, .is_own = is_own };
	place->at = (struct shared_place){ .account = acting->account,
		.mailbox = mailbox->id,
		.rights = rights,
		.seen_account = is_own ? 0 : acting->guest->own };
	acting->count++;
	return 0;
}

static void list_account(struct acting *acting, uint32_t account)
{
	struct account_header header;

	acting->account = account;
	if (account == 0 || account_load(acting->kv, account, &header) < 0 ||
		header.hold != ACCOUNT_SERVED)
		return;
	account_each_mailbox(acting->kv, account, acting->arena, list_place, acting);
}

static int list_uid(void *context, const struct message_record *message)
{
	struct acting *acting = context;

	if (acting->uid_count < SHOWN_COUNT_MAX)
		acting->uids[acting->uid_count++] = message->uid;
	return 0;
}

/* One with these rights; NULL: the one that was drawn has them not. */
static const struct place *any_place(struct acting *acting, unsigned needs)
{
	for (int i = 0; i < 4; i++) {
		const struct place *place = &acting->places[sim_below(acting->sim, acting->count)];

		if ((place->at.rights & needs) == needs)
			return place;
	}
	return NULL;
}

/* One that shows messages, and one UID or some neighbours. */
static const struct place *any_messages(
	struct acting *acting, unsigned needs, struct uid_set *uids_r)
{
	const struct place *place = NULL;
	size_t first, last;

	acting->uid_count = 0;
	for (int i = 0; i < 4 && acting->uid_count == 0; i++) {
		place = any_place(acting, needs);
		if (place == NULL)
			return NULL;
		acting->kv = node_read(&acting->guest->clone);
		account_each_message(acting->kv, place->at.account, place->at.mailbox, 1,
			UINT32_MAX, acting->arena, list_uid, acting);
		mail_read_end(&acting->kv);
	}
	if (acting->uid_count == 0)
		return NULL;
	first = last = sim_below(acting->sim, acting->uid_count);
	if (sim_chance(acting->sim, 20))
		last += sim_below(acting->sim, acting->uid_count - first);
	uid_set_add(uids_r, acting->uids[first], acting->uids[last]);
	return place;
}

static void expect(struct acting *acting, int rc, const char *what)
{
	if (rc < 0)
		sim_fail(acting->sim, "a guest's %s: %s (%s)", what, error_name(rc),
			acting->error.text);
}

static void tell(const struct acting *acting, const char *what, const struct place *place)
{
	sim_trace(acting->sim, "guest %llu: %s %s%.*s", (unsigned long long)acting->guest->clone.id,
		what, place->is_own ? "own " : "", BYTES_ARGS(place->name));
}

/* ---- messages ---- */

static void act_append(struct acting *acting)
{
	const struct place *place = any_place(acting, ACL_INSERT);
	struct bytes flags[] = { BYTES_LITERAL("\\Seen"), BYTES_LITERAL("\\Flagged"),
		BYTES_LITERAL("$Later") };
	struct append_message message = { .flags = flags,
		.flag_count = sim_below(acting->sim, COUNT(flags) + 1),
		.internaldate = (int64_t)(acting->sim->now_ms / 1000) };
	unsigned number = sim_chance(acting->sim, 10) ? 0 : ++acting->sim->append_count;
	struct mail_body *body = NULL;
	uint32_t uidvalidity, uid;

	if (place == NULL)
		return;
	expect(acting,
		mail_body_prepare(acting->mail,
			bytes_of_string(arena_printf(acting->arena,
				"Subject: %u\r\nMessage-Id: <%u@guest>\r\n\r\nText.\r\n", number,
				number)),
			&body),
		"prepare");
	message.body = body;
	tell(acting, "append to", place);
	expect(acting,
		shared_append(acting->mail, &place->at, &message, 1, &acting->error, &uidvalidity,
			&uid, &acting->position),
		"append");
	mail_body_free(&body);
}

static void store(struct acting *acting, const struct place *place, const struct uid_set *uids,
	enum flag_operation operation, struct bytes flag)
{
	struct uid_set changed = { 0 }, modified = { 0 };

	expect(acting,
		shared_store(acting->mail, &place->at, uids, operation, &flag, 1, UINT64_MAX,
			&acting->error, &changed, &modified, &acting->position),
		"store");
	uid_set_deinit(&changed);
	uid_set_deinit(&modified);
}

static void act_store(struct acting *acting)
{
	static const char *const names[] = { "\\Seen", "\\Answered", "\\Flagged", "\\Deleted",
		"$Later" };
	static const enum flag_operation operations[] = { FLAGS_ADD, FLAGS_ADD, FLAGS_REMOVE,
		FLAGS_REPLACE };
	struct uid_set uids = { 0 };
	const struct place *place = any_messages(acting, 0, &uids);
	enum flag_operation operation = operations[sim_below(acting->sim, COUNT(operations))];
	const char *name = names[sim_below(acting->sim, COUNT(names))];

	if (place != NULL) {
		tell(acting, arena_printf(acting->arena, "flags %u %s in", operation, name), place);
		store(acting, place, &uids, operation, bytes_of_string(name));
	}
	uid_set_deinit(&uids);
}

static void act_expunge(struct acting *acting)
{
	struct uid_set uids = { 0 }, expunged = { 0 };
	const struct place *place = any_messages(acting, ACL_EXPUNGE, &uids);

	if (place != NULL) {
		tell(acting, "expunge in", place);
		store(acting, place, &uids, FLAGS_ADD, BYTES_LITERAL("\\Deleted"));
		expect(acting,
			message_expunge(acting->mail, place->at.account, place->at.mailbox, &uids,
				&acting->error, &expunged, &acting->position),
			"expunge");
	}
	uid_set_deinit(&uids);
	uid_set_deinit(&expunged);
}

static void copy(struct acting *acting, bool is_move)
{
	struct uid_set uids = { 0 };
	const struct place *from =
		any_messages(acting, is_move ? ACL_MARK | ACL_EXPUNGE : 0, &uids);
	const struct place *to = any_place(acting, ACL_INSERT);
	struct copy_result result = { 0 };

	if (from != NULL && to != NULL && (!is_move || from != to)) {
		tell(acting, is_move ? "move from" : "copy from", from);
		tell(acting, "  to", to);
		expect(acting,
			shared_copy(acting->mail, &from->at, &to->at, &uids, is_move,
				&acting->error, &result, &acting->position),
			is_move ? "move" : "copy");
	}
	free(result.pairs);
	uid_set_deinit(&uids);
}

static void act_copy(struct acting *acting)
{
	copy(acting, false);
}

static void act_move(struct acting *acting)
{
	copy(acting, true);
}

/* ---- mailboxes ---- */

static bool is_inbox(const struct place *place)
{
	return bytes_equal_string(place->name, "INBOX");
}

/* A name below a mailbox where he may make one. */
static struct bytes name_below(struct acting *acting, const struct place *place)
{
	static const char *const names[] = { "Deep", "Sub" };

	return bytes_of_string(arena_printf(acting->arena, "%.*s/%s", BYTES_ARGS(place->name),
		names[sim_below(acting->sim, COUNT(names))]));
}

static void expect_name(struct acting *acting, int rc, const char *what)
{
	if (rc != ERR_EXISTS && rc != ERR_INVALID)
		expect(acting, rc, what);
}

static void act_create(struct acting *acting)
{
	const struct place *above = any_place(acting, ACL_CREATE);
	struct bytes name;
	struct id128 id;

	if (above == NULL)
		return;
	name = name_below(acting, above);
	tell(acting, arena_printf(acting->arena, "create %.*s in", BYTES_ARGS(name)), above);
	expect_name(acting,
		mailbox_create(acting->mail, above->at.account, name, (struct bytes){ 0 },
			&acting->error, &id, &acting->position),
		"create");
}

static void act_rename(struct acting *acting)
{
	const struct place *place = any_place(acting, ACL_DELETE);
	const struct place *above = any_place(acting, ACL_CREATE);
	struct bytes name;

	if (place == NULL || above == NULL || is_inbox(place) ||
		place->at.account != above->at.account)
		return;
	name = name_below(acting, above);
	tell(acting, arena_printf(acting->arena, "rename to %.*s", BYTES_ARGS(name)), place);
	expect_name(acting,
		mailbox_rename(acting->mail, place->at.account, place->name, name, &acting->error,
			&acting->position),
		"rename");
}

static void act_delete(struct acting *acting)
{
	const struct place *place = any_place(acting, ACL_DELETE);

	if (place == NULL || is_inbox(place))
		return;
	tell(acting, "delete", place);
	expect(acting,
		mailbox_delete(acting->mail, place->at.account, place->name, &acting->error,
			&acting->position),
		"delete");
}

static const struct {
	void (*run)(struct acting *acting);
	size_t weight;
} acts[] = { { act_append, 28 }, { act_store, 26 }, { act_expunge, 10 }, { act_move, 12 },
	{ act_copy, 6 }, { act_create, 6 }, { act_rename, 5 }, { act_delete, 4 } };

void guest_act(struct guest *guest)
{
	struct acting acting = { .sim = guest->sim,
		.guest = guest,
		.mail = guest->clone.mail,
		.arena = arena_new(),
		.identity = guest_identity(guest->own) };
	size_t sum = 0, draw, act = 0;

	guest_note_synced(guest);
	acting.kv = node_read(&guest->clone);
	list_account(&acting, guest->clone.account);
	/* what is others' is what this is about */
	if (acting.count == 0 || sim_chance(guest->sim, 40))
		list_account(&acting, guest->own);
	mail_read_end(&acting.kv);
	for (size_t i = 0; i < COUNT(acts); i++)
		sum += acts[i].weight;
	draw = sim_below(guest->sim, sum);
	while (draw >= acts[act].weight)
		draw -= acts[act++].weight;
	guest->sim->counts.acts++;
	if (acting.count > 0)
		acts[act].run(&acting);
	guest->clone.position = mail_position(guest->clone.mail);
	arena_free(&acting.arena);
	guest_note_act(guest);
}
