/*
 * What the clients of guests' clones were told had been done, and whether it is so in the end. What
 * the node that holds the account took is in its own ledger from then on (sim_ledger.c), as any act
 * there; here is the rest: what was appended is there, or is kept in a mailbox of the guest's own,
 * once; and where his rights stay as they are his flags are as he set them, or as somebody set them
 * later.
 */
#include "sim_guest.h"

#include "base/mem.h"

#include <stdlib.h>

struct noted {
	struct stamp instance;
	struct guid guid;
	bool is_own;
	bool is_created; /* by an act of his; else it was there */
	bool is_gone;    /* by an act of his */
};

struct noted_flag {
	struct stamp instance;
	struct stamp placed; /* as he saw it */
	struct stamp stamp;
	char name[16];
	bool is_set;
};

struct guest_notes {
	struct map by_instance;
	struct noted **messages;
	size_t count, room;
	struct noted_flag *flags;
	size_t flag_count, flag_room;
};

struct guest_notes *guest_notes_new(void)
{
	return mem_zalloc(sizeof(struct guest_notes));
}

void guest_notes_free(struct guest_notes **notes)
{
	for (size_t i = 0; i < (*notes)->count; i++)
		free((*notes)->messages[i]);
	free((*notes)->messages);
	free((*notes)->flags);
	map_deinit(&(*notes)->by_instance);
	free(*notes);
	*notes = NULL;
}

/* ---- noting ---- */

struct noting {
	struct guest_notes *notes;
	uint64_t writer; /* of what he appends there */
	uint64_t before; /* modseq: all that was there before the act is not above it */
	bool is_own;
};

static struct noted *find(const struct guest_notes *notes, struct stamp instance)
{
	return map_get(&notes->by_instance, bytes_of(&instance, sizeof(instance)));
}

static struct noted *note(struct guest_notes *notes, const struct message_record *message)
{
	struct noted *noted = find(notes, message->instance);

	if (noted != NULL)
		return noted;
	noted = mem_zalloc(sizeof(*noted));
	noted->instance = message->instance;
	noted->guid = message->guid;
	mem_grow((void **)&notes->messages, &notes->room, notes->count + 1, sizeof(noted));
	notes->messages[notes->count++] = noted;
	map_put(&notes->by_instance, bytes_of(&noted->instance, sizeof(noted->instance)), noted);
	return noted;
}

/* The latest change of this flag. */
static struct noted_flag *flag_slot(
	struct guest_notes *notes, struct stamp instance, struct bytes name)
{
	struct noted_flag *noted = notes->flags;

	while (noted < notes->flags + notes->flag_count &&
		(stamp_compare(noted->instance, instance) != 0 ||
			!bytes_equal_string(name, noted->name)))
		noted++;
	if (noted < notes->flags + notes->flag_count)
		return noted;
	mem_grow((void **)&notes->flags, &notes->flag_room, notes->flag_count + 1,
		sizeof(*notes->flags));
	noted = &notes->flags[notes->flag_count++];
	*noted = (struct noted_flag){ .instance = instance };
	memcpy(noted->name, name.ptr, name.len);
	return noted;
}

static void note_flags(struct noting *noting, const struct message_record *message)
{
	struct guest_notes *notes = noting->notes;

	for (size_t i = 0; i < message->flag_count; i++) {
		const struct flag_state *flag = &message->flags[i];
		struct noted_flag *noted;

		if (flag->stamp.node != noting->writer || flag->name.len >= sizeof(noted->name) ||
			bytes_equal_string(flag->name, "\\Seen"))
			continue;
		noted = flag_slot(notes, message->instance, flag->name);
		if (stamp_compare(noted->stamp, flag->stamp) >= 0)
			continue;
		noted->placed = message->placed;
		noted->stamp = flag->stamp;
		noted->is_set = flag->is_set;
	}
}

static int note_message(void *context, const struct message_record *message)
{
	struct noting *noting = context;
	struct noted *noted = note(noting->notes, message);

	noted->is_own = noting->is_own;
	noted->is_created = noted->is_created || (message->instance.node == noting->writer &&
							 message->instance.modseq > noting->before);
	if (!message_is_shown(message))
		noted->is_gone = true;
	else if (!noting->is_own)
		note_flags(noting, message);
	return 0;
}

static void note_since(
	struct guest *guest, uint32_t account, bool is_act, struct guest_cursor *cursor)
{
	static const struct account_change_functions functions = { .message = note_message };
	struct noting noting = { .notes = guest->sim->guests->notes,
		.is_own = account == guest->own };
	struct account_header header;
	struct arena *arena;
	struct kv_txn *kv;

	if (account == 0)
		return;
	kv = node_read(&guest->clone);
	arena = arena_new();
	if (account_load(kv, account, &header) < 0)
		sim_fail(guest->sim, "a guest's copy cannot be read");
	noting.writer = header.writer != 0 ? header.writer : guest->clone.id;
	noting.before = cursor->clock;
	if (is_act &&
		account_each_change(kv, account, cursor->sequence, arena, &functions, &noting) < 0)
		sim_fail(guest->sim, "the changes cannot be read");
	*cursor = (struct guest_cursor){ header.sequence, header.clock_last };
	mail_read_end(&kv);
	arena_free(&arena);
}

void guest_note_synced(struct guest *guest)
{
	note_since(guest, guest->clone.account, false, &guest->account_seen);
	note_since(guest, guest->own, false, &guest->own_seen);
}

void guest_note_act(struct guest *guest)
{
	note_since(guest, guest->clone.account, true, &guest->account_seen);
	note_since(guest, guest->own, true, &guest->own_seen);
}

/* ---- checking ---- */

struct counting {
	const struct guest_notes *notes;
	const struct guid *guid;
	size_t count;
};

/* What he did not put there himself was kept. */
static int count_kept(void *context, const struct message_record *message)
{
	struct counting *counting = context;
	const struct noted *noted = find(counting->notes, message->instance);

	counting->count += guid_equal(&message->guid, counting->guid) &&
			   (noted == NULL || !noted->is_created) && message_is_shown(message);
	return 0;
}

/* Messages of these bytes in his own account at the server that he did not put there. */
static size_t kept_count(struct sim *sim, const struct guid *guid)
{
	static const struct account_change_functions functions = { .message = count_kept };
	struct counting counting = { sim->guests->notes, guid, 0 };
	struct arena *arena = arena_new();
	struct kv_txn *kv = node_read(guests_server(sim));

	if (account_each_change(kv, guests_own_there(sim), 0, arena, &functions, &counting) < 0)
		sim_fail(sim, "a guest's account cannot be read");
	mail_read_end(&kv);
	arena_free(&arena);
	return counting.count;
}

/* Whether a message of these bytes that was kept was expunged, or moved, by him. */
static bool was_kept_one_taken(const struct guest_notes *notes, const struct guid *guid)
{
	for (size_t i = 0; i < notes->count; i++)
		if (notes->messages[i]->is_own && notes->messages[i]->is_gone &&
			!notes->messages[i]->is_created &&
			guid_equal(&notes->messages[i]->guid, guid))
			return true;
	return false;
}

/* It came there, whatever became of it then. */
static bool was_taken(struct sim *sim, const struct noted *noted)
{
	return ledger_has(sim->ledger, noted->instance);
}

static size_t wanted_count(struct sim *sim, const struct guid *guid)
{
	const struct guest_notes *notes = sim->guests->notes;
	size_t count = 0;

	for (size_t i = 0; i < notes->count; i++) {
		const struct noted *noted = notes->messages[i];

		count += !noted->is_own && noted->is_created && !noted->is_gone &&
			 guid_equal(&noted->guid, guid) && !was_taken(sim, noted);
	}
	return count;
}

static void check_own(struct sim *sim, const struct noted *noted)
{
	struct arena *arena = arena_new();
	struct kv_txn *kv = node_read(guests_server(sim));
	struct message_record message;
	int rc = account_get_message(kv, guests_own_there(sim), noted->instance, arena, &message);

	if (noted->is_created && !noted->is_gone && (rc < 0 || !message_is_shown(&message)))
		sim_fail(sim, "P1: message %llu.%llu of a guest's own is lost",
			(unsigned long long)noted->instance.modseq,
			(unsigned long long)noted->instance.node);
	mail_read_end(&kv);
	arena_free(&arena);
}

/* It came, went, and was forgotten: who tells of it once more is not told that it was there. */
static size_t expired_count(struct sim *sim, const struct guid *guid)
{
	const struct guest_notes *notes = sim->guests->notes;
	size_t count = 0;

	for (size_t i = 0; i < notes->count; i++)
		count += !notes->messages[i]->is_own &&
			 guid_equal(&notes->messages[i]->guid, guid) &&
			 ledger_has_expired(sim->ledger, notes->messages[i]->instance);
	return count;
}

static void check_others(struct sim *sim, const struct noted *noted)
{
	size_t wanted = wanted_count(sim, &noted->guid), kept = kept_count(sim, &noted->guid);

	if (kept > wanted + expired_count(sim, &noted->guid) ||
		(kept < wanted && !was_kept_one_taken(sim->guests->notes, &noted->guid)))
		sim_fail(sim,
			"P1: of message %llu.%llu, which a guest appended, %zu are kept in place "
			"of %zu",
			(unsigned long long)noted->instance.modseq,
			(unsigned long long)noted->instance.node, kept, wanted);
}

static void check_flag(struct sim *sim, const struct noted_flag *noted)
{
	struct identity identity = guest_identity(guests_own_there(sim));
	struct sim_node *server = guests_server(sim);
	struct arena *arena = arena_new();
	struct kv_txn *kv = node_read(server);
	const struct flag_state *flag = NULL;
	struct message_record message;
	unsigned rights = 0;
	int rc = account_get_message(kv, server->account, noted->instance, arena, &message);

	if (rc == 0 && message_is_shown(&message))
		acl_rights(kv, &identity, server->account, message.mailbox, &rights);
	/* Moved meanwhile, it may have been where he did not see it. */
	if ((rights & (ACL_LOOKUP | ACL_READ)) == (ACL_LOOKUP | ACL_READ) &&
		stamp_compare(message.placed, noted->placed) == 0) {
		flag = message_flag(&message, bytes_of_string(noted->name));
		if ((flag != NULL && flag->is_set) != noted->is_set &&
			(flag == NULL || stamp_compare(flag->stamp, noted->stamp) < 0))
			sim_fail(sim, "P7: a guest's change of %s of message %llu.%llu is lost",
				noted->name, (unsigned long long)noted->instance.modseq,
				(unsigned long long)noted->instance.node);
	}
	mail_read_end(&kv);
	arena_free(&arena);
}

void guest_notes_check(struct sim *sim)
{
	struct guest_notes *notes = sim->guests->notes;

	for (size_t i = 0; i < notes->count && !sim->has_failed; i++)
		if (notes->messages[i]->is_own)
			check_own(sim, notes->messages[i]);
		else
			check_others(sim, notes->messages[i]);
	for (size_t i = 0; i < notes->flag_count && !sim->has_failed && sim->guests->is_steady; i++)
		check_flag(sim, &notes->flags[i]);
}
