/* Records on the wire; keys as in docs/protocol.md. A key whose value is usual is left out. */
#include "sync/wire.h"

#include <stdio.h>
#include <stdlib.h>

#define DATE_MAX INT64_C(253402300799) /* end of the year 9999, seconds since 1970 */
#define ZONE_MAX (24 * 60)             /* minutes */

static int bad(struct error *error, const char *what, const char *key)
{
	return error_set(error, ERR_INVALID, "%s: bad or missing %s", what, key);
}

/* 0 if the key is missing and *value keeps its default; ERR_INVALID if it is malformed. */
static int optional(int rc)
{
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int get_stamp(const struct dlist *map, const char *key, struct stamp *stamp_r)
{
	const struct dlist *value = dlist_get(map, key);

	return value == NULL ? ERR_NOT_FOUND : wire_stamp(value, stamp_r);
}

static int get_u32(const struct dlist *map, const char *key, uint32_t *number_r)
{
	uint64_t number;
	int rc = dlist_get_number(map, key, UINT32_MAX, &number);

	if (rc == 0)
		*number_r = (uint32_t)number;
	return rc;
}

/* A number that may have a minus before it. */
static int get_signed(const struct dlist *map, const char *key, int64_t max, int64_t *number_r)
{
	struct dlist plain = { .kind = DLIST_ATOM };
	uint64_t number;
	bool is_negative;
	int rc = dlist_get_text(map, key, &plain.text);

	if (rc < 0)
		return rc;
	is_negative = bytes_peek(plain.text) == '-';
	if (is_negative)
		bytes_skip(&plain.text, 1);
	rc = dlist_number(&plain, (uint64_t)max, &number);
	if (rc == 0)
		*number_r = is_negative ? -(int64_t)number : (int64_t)number;
	return rc;
}

static void put_signed_of(struct dlist_writer *writer, const char *key, int64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)number);
	dlist_put_atom(writer, key);
	dlist_put_atom(writer, text);
}

static void put_stamp_if_any(struct dlist_writer *writer, const char *key, struct stamp stamp)
{
	if (!stamp_is_none(stamp))
		wire_put_stamp_of(writer, key, stamp);
}

/* ---- mailboxes ---- */

void wire_put_mailbox(struct dlist_writer *writer, const struct mailbox_record *mailbox)
{
	dlist_begin_map(writer);
	wire_put_id_of(writer, "ID", mailbox->id);
	dlist_put_text_of(writer, "NAME", mailbox->name);
	put_stamp_if_any(writer, "NAMED", mailbox->name_stamp);
	dlist_put_number_of(writer, "UIDVALIDITY", mailbox->uidvalidity);
	dlist_put_number_of(writer, "UIDNEXT", mailbox->uidnext);
	dlist_put_number_of(writer, "MODSEQ", mailbox->modseq);
	if (!stamp_is_none(mailbox->special_use_stamp)) {
		dlist_put_text_of(writer, "USE", mailbox->special_use);
		wire_put_stamp_of(writer, "USED", mailbox->special_use_stamp);
	}
	put_stamp_if_any(writer, "DELETED", mailbox->deleted);
	if (!id128_is_none(mailbox->forward))
		wire_put_id_of(writer, "FORWARD", mailbox->forward);
	dlist_end_map(writer);
}

int wire_mailbox(const struct dlist *map, struct mailbox_record *mailbox_r, struct error *error)
{
	struct mailbox_record mailbox = { 0 };

	if (wire_get_id(map, "ID", &mailbox.id) < 0 || id128_is_none(mailbox.id))
		return bad(error, "mailbox", "ID");
	if (dlist_get_text(map, "NAME", &mailbox.name) < 0 || mailbox.name.len == 0 ||
		mailbox.name.len > MAILBOX_NAME_SIZE_MAX)
		return bad(error, "mailbox", "NAME");
	if (optional(get_stamp(map, "NAMED", &mailbox.name_stamp)) < 0)
		return bad(error, "mailbox", "NAMED");
	if (get_u32(map, "UIDVALIDITY", &mailbox.uidvalidity) < 0 || mailbox.uidvalidity == 0)
		return bad(error, "mailbox", "UIDVALIDITY");
	if (get_u32(map, "UIDNEXT", &mailbox.uidnext) < 0 || mailbox.uidnext == 0)
		return bad(error, "mailbox", "UIDNEXT");
	if (dlist_get_number(map, "MODSEQ", MODSEQ_MAX, &mailbox.modseq) < 0)
		return bad(error, "mailbox", "MODSEQ");
	if (optional(dlist_get_text(map, "USE", &mailbox.special_use)) < 0 ||
		mailbox.special_use.len > FLAG_NAME_SIZE_MAX ||
		optional(get_stamp(map, "USED", &mailbox.special_use_stamp)) < 0)
		return bad(error, "mailbox", "USE");
	if (optional(get_stamp(map, "DELETED", &mailbox.deleted)) < 0)
		return bad(error, "mailbox", "DELETED");
	if (optional(wire_get_id(map, "FORWARD", &mailbox.forward)) < 0)
		return bad(error, "mailbox", "FORWARD");
	*mailbox_r = mailbox;
	return 0;
}

/* ---- messages ---- */

static void put_flags(struct dlist_writer *writer, const struct message_record *message)
{
	dlist_put_atom(writer, "FLAGS");
	dlist_begin_list(writer);
	for (size_t i = 0; i < message->flag_count; i++) {
		const struct flag_state *flag = &message->flags[i];

		dlist_put_text(writer, flag->name);
		dlist_put_atom(writer, flag->is_set ? "+" : "-");
		if (stamp_compare(flag->stamp, message->instance) == 0)
			dlist_put_atom(writer, "=");
		else
			wire_put_stamp(writer, flag->stamp);
	}
	dlist_end_list(writer);
}

void wire_put_message(struct dlist_writer *writer, const struct message_change *change)
{
	const struct message_record *message = &change->record;

	dlist_begin_map(writer);
	wire_put_stamp_of(writer, "INSTANCE", message->instance);
	if (message_is_shown(message)) {
		wire_put_id_of(writer, "MAILBOX", message->mailbox);
		dlist_put_number_of(writer, "UID", message->uid);
	}
	dlist_put_number_of(writer, "MODSEQ", message->modseq);
	if (message->flag_count > 0)
		put_flags(writer, message);
	if (stamp_compare(message->placed, message->instance) != 0)
		wire_put_stamp_of(writer, "PLACED", message->placed);
	if (!id128_equal(message->placed_in, message->mailbox))
		wire_put_id_of(writer, "PLACEDIN", message->placed_in);
	dlist_put_hex_of(
		writer, "GUID", bytes_of(message->guid.bytes, sizeof(message->guid.bytes)));
	dlist_put_number_of(writer, "SIZE", message->size);
	put_signed_of(writer, "INTERNALDATE", message->internaldate);
	if (message->internaldate_zone != 0)
		put_signed_of(writer, "ZONE", message->internaldate_zone);
	dlist_put_number_of(writer, "SAVEDATE", message->savedate_ms);
	if (!id128_is_none(message->thread))
		wire_put_id_of(writer, "THREAD", message->thread);
	if (change->was_common)
		dlist_put_number_of(writer, "COMMON", 1);
	dlist_end_map(writer);
}

static int compare_flags(const void *a, const void *b)
{
	return bytes_compare(
		((const struct flag_state *)a)->name, ((const struct flag_state *)b)->name);
}

/* As IMAP can show it: an atom, with one backslash before it if it is a system flag. */
static bool is_flag_name(struct bytes name)
{
	if (bytes_peek(name) == '\\')
		bytes_skip(&name, 1);
	if (name.len == 0 || name.len > FLAG_NAME_SIZE_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] <= ' ' || name.ptr[i] >= 0x7f ||
			strchr("(){%*\"\\", name.ptr[i]) != NULL)
			return false;
	return true;
}

static int read_flag(const struct dlist **at, struct stamp instance, struct flag_state *flag_r)
{
	const struct dlist *name = *at, *state, *stamp;
	struct bytes text;

	if (name->next == NULL || name->next->next == NULL)
		return ERR_INVALID;
	state = name->next;
	stamp = state->next;
	*at = stamp->next;
	if (dlist_text(name, &flag_r->name) < 0 || !is_flag_name(flag_r->name) ||
		dlist_text(state, &text) < 0)
		return ERR_INVALID;
	flag_r->is_set = bytes_equal_string(text, "+");
	if (!flag_r->is_set && !bytes_equal_string(text, "-"))
		return ERR_INVALID;
	if (dlist_text(stamp, &text) < 0)
		return ERR_INVALID;
	if (!bytes_equal_string(text, "="))
		return wire_stamp(stamp, &flag_r->stamp);
	flag_r->stamp = instance;
	return 0;
}

static int read_flags(const struct dlist *map, struct arena *arena, struct message_record *message)
{
	const struct dlist *list, *at;
	int rc = dlist_get_list(map, "FLAGS", &list);

	if (rc < 0)
		return optional(rc);
	if (list->count % 3 != 0)
		return ERR_INVALID;
	message->flag_count = list->count / 3;
	if (message->flag_count > MESSAGE_FLAG_COUNT_MAX)
		return ERR_INVALID;
	message->flags = arena_alloc(arena, (message->flag_count + 1) * sizeof(*message->flags));
	at = list->first;
	for (size_t i = 0; i < message->flag_count; i++)
		if (read_flag(&at, message->instance, &message->flags[i]) < 0)
			return ERR_INVALID;
	if (message->flag_count > 1)
		qsort(message->flags, message->flag_count, sizeof(*message->flags), compare_flags);
	for (size_t i = 1; i < message->flag_count; i++)
		if (bytes_equal(message->flags[i - 1].name, message->flags[i].name))
			return ERR_INVALID;
	return 0;
}

static int read_dates(const struct dlist *map, struct message_record *message, struct error *error)
{
	int64_t zone = 0;

	if (get_signed(map, "INTERNALDATE", DATE_MAX, &message->internaldate) < 0)
		return bad(error, "message", "INTERNALDATE");
	if (optional(get_signed(map, "ZONE", ZONE_MAX, &zone)) < 0)
		return bad(error, "message", "ZONE");
	message->internaldate_zone = (int32_t)zone;
	if (dlist_get_number(map, "SAVEDATE", MODSEQ_MAX, &message->savedate_ms) < 0)
		return bad(error, "message", "SAVEDATE");
	return 0;
}

static int read_place(const struct dlist *map, struct message_record *message, struct error *error)
{
	if (optional(wire_get_id(map, "MAILBOX", &message->mailbox)) < 0)
		return bad(error, "message", "MAILBOX");
	if (optional(get_u32(map, "UID", &message->uid)) < 0 || message->uid == UINT32_MAX ||
		(message->uid == 0) != id128_is_none(message->mailbox))
		return bad(error, "message", "UID");
	message->placed = message->instance;
	if (optional(get_stamp(map, "PLACED", &message->placed)) < 0 ||
		stamp_is_none(message->placed))
		return bad(error, "message", "PLACED");
	message->placed_in = message->mailbox;
	if (optional(wire_get_id(map, "PLACEDIN", &message->placed_in)) < 0 ||
		(id128_is_none(message->placed_in) && message->uid != 0))
		return bad(error, "message", "PLACEDIN");
	return 0;
}

int wire_message(const struct dlist *map, struct arena *arena, struct message_change *change_r,
	struct error *error)
{
	struct message_record message = { 0 };
	const struct dlist *guid;
	uint64_t common = 0;
	int rc;

	if (get_stamp(map, "INSTANCE", &message.instance) < 0 || stamp_is_none(message.instance))
		return bad(error, "message", "INSTANCE");
	rc = read_place(map, &message, error);
	if (rc < 0)
		return rc;
	if (dlist_get_number(map, "MODSEQ", MODSEQ_MAX, &message.modseq) < 0)
		return bad(error, "message", "MODSEQ");
	if (read_flags(map, arena, &message) < 0)
		return bad(error, "message", "FLAGS");
	guid = dlist_get(map, "GUID");
	if (guid == NULL || wire_guid(guid, &message.guid) < 0)
		return bad(error, "message", "GUID");
	if (dlist_get_number(map, "SIZE", UINT32_MAX, &message.size) < 0)
		return bad(error, "message", "SIZE");
	rc = read_dates(map, &message, error);
	if (rc < 0)
		return rc;
	if (optional(wire_get_id(map, "THREAD", &message.thread)) < 0)
		return bad(error, "message", "THREAD");
	if (optional(dlist_get_number(map, "COMMON", 1, &common)) < 0)
		return bad(error, "message", "COMMON");
	*change_r = (struct message_change){ .record = message, .was_common = common != 0 };
	return 0;
}

/* ---- registers ---- */

static const struct kind_name {
	enum record_kind kind;
	const char *name;
} kind_names[] = {
	{ RECORD_ACCOUNT, "ACCOUNT" },
	{ RECORD_ACL, "ACL" },
	{ RECORD_ANNOTATION, "ANNOTATION" },
	{ RECORD_SUBSCRIPTION, "SUBSCRIPTION" },
	{ RECORD_SEEN, "SEEN" },
	{ RECORD_SCRIPT, "SCRIPT" },
};
#define KIND_COUNT (sizeof(kind_names) / sizeof(kind_names[0]))

const char *wire_kind_name(enum record_kind kind)
{
	for (size_t i = 0; i < KIND_COUNT; i++)
		if (kind_names[i].kind == kind)
			return kind_names[i].name;
	return "";
}

void wire_put_register(struct dlist_writer *writer, const struct register_record *record)
{
	dlist_begin_map(writer);
	for (size_t i = 0; i < KIND_COUNT; i++) {
		if (kind_names[i].kind == record->kind) {
			dlist_put_atom(writer, "KIND");
			dlist_put_atom(writer, kind_names[i].name);
		}
	}
	if (!id128_is_none(record->mailbox))
		wire_put_id_of(writer, "MAILBOX", record->mailbox);
	dlist_put_text_of(writer, "KEY", record->key);
	wire_put_stamp_of(writer, "STAMP", record->stamp);
	dlist_put_number_of(writer, "MODSEQ", record->modseq);
	if (record->is_set || record->value.len > 0)
		dlist_put_text_of(writer, record->is_set ? "VALUE" : "WAS", record->value);
	if (record->was_common)
		dlist_put_number_of(writer, "COMMON", 1);
	dlist_end_map(writer);
}

int wire_register(const struct dlist *map, struct register_record *record_r, struct error *error)
{
	struct register_record record = { 0 };
	uint64_t was_common = 0;
	struct bytes kind;
	int rc;

	if (dlist_get_text(map, "KIND", &kind) < 0)
		return bad(error, "register", "KIND");
	for (size_t i = 0; i < KIND_COUNT; i++)
		if (bytes_equal_string(kind, kind_names[i].name))
			record.kind = kind_names[i].kind;
	if (record.kind == 0)
		return bad(error, "register", "KIND");
	if (optional(wire_get_id(map, "MAILBOX", &record.mailbox)) < 0)
		return bad(error, "register", "MAILBOX");
	if (dlist_get_text(map, "KEY", &record.key) < 0 || record.key.len > REGISTER_KEY_SIZE_MAX)
		return bad(error, "register", "KEY");
	if (get_stamp(map, "STAMP", &record.stamp) < 0)
		return bad(error, "register", "STAMP");
	if (dlist_get_number(map, "MODSEQ", MODSEQ_MAX, &record.modseq) < 0)
		return bad(error, "register", "MODSEQ");
	rc = dlist_get_text(map, "VALUE", &record.value);
	record.is_set = rc == 0;
	if (rc == ERR_NOT_FOUND)
		rc = dlist_get_text(map, "WAS", &record.value);
	if (optional(rc) < 0 || record.value.len > REGISTER_VALUE_SIZE_MAX)
		return bad(error, "register", "VALUE");
	if (optional(dlist_get_number(map, "COMMON", 1, &was_common)) < 0)
		return bad(error, "register", "COMMON");
	record.was_common = was_common == 1;
	*record_r = record;
	return 0;
}

/* ---- sets of changes ---- */

void wire_put_changes(struct dlist_writer *writer, const struct change_set *changes)
{
	if (changes->has_forgotten)
		dlist_put_number_of(writer, "FORGOT", 1);
	if (changes->mailbox_count > 0) {
		dlist_put_atom(writer, "MAILBOXES");
		dlist_begin_list(writer);
		for (size_t i = 0; i < changes->mailbox_count; i++)
			wire_put_mailbox(writer, &changes->mailboxes[i]);
		dlist_end_list(writer);
	}
	if (changes->message_count > 0) {
		dlist_put_atom(writer, "MESSAGES");
		dlist_begin_list(writer);
		for (size_t i = 0; i < changes->message_count; i++)
			wire_put_message(writer, &changes->messages[i]);
		dlist_end_list(writer);
	}
	if (changes->register_count > 0) {
		dlist_put_atom(writer, "REGISTERS");
		dlist_begin_list(writer);
		for (size_t i = 0; i < changes->register_count; i++)
			wire_put_register(writer, &changes->registers[i]);
		dlist_end_list(writer);
	}
}

/* The list's first member, or NULL if it is missing or empty. */
static int list_of_maps(
	const struct dlist *map, const char *key, const struct dlist **first_r, struct error *error)
{
	const struct dlist *list;
	int rc = dlist_get_list(map, key, &list);

	*first_r = NULL;
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return error_set(error, ERR_INVALID, "%s is no list", key);
	for (const struct dlist *at = list->first; at != NULL; at = at->next)
		if (at->kind != DLIST_MAP)
			return error_set(error, ERR_INVALID, "%s: a record is no map", key);
	*first_r = list->first;
	return 0;
}

static int get_messages(const struct dlist *map, struct arena *arena, struct change_set *changes,
	struct error *error)
{
	const struct dlist *at;
	int rc = list_of_maps(map, "MESSAGES", &at, error);

	for (; at != NULL && rc == 0; at = at->next) {
		struct message_change change;

		rc = wire_message(at, arena, &change, error);
		if (rc == 0)
			change_set_add_message(changes, &change.record, change.was_common);
	}
	return rc;
}

int wire_get_changes(const struct dlist *map, struct arena *arena, struct change_set *changes,
	struct error *error)
{
	const struct dlist *at;
	uint64_t has_forgotten = 0;
	int rc;

	if (optional(dlist_get_number(map, "FORGOT", 1, &has_forgotten)) < 0)
		return bad(error, "set of changes", "FORGOT");
	changes->has_forgotten = changes->has_forgotten || has_forgotten == 1;
	rc = list_of_maps(map, "MAILBOXES", &at, error);

	for (; at != NULL && rc == 0; at = at->next) {
		struct mailbox_record mailbox;

		rc = wire_mailbox(at, &mailbox, error);
		if (rc == 0)
			change_set_add_mailbox(changes, &mailbox);
	}
	if (rc == 0)
		rc = get_messages(map, arena, changes, error);
	if (rc == 0)
		rc = list_of_maps(map, "REGISTERS", &at, error);
	for (; rc == 0 && at != NULL; at = at->next) {
		struct register_record record;

		rc = wire_register(at, &record, error);
		if (rc == 0)
			change_set_add_register(changes, &record);
	}
	return rc;
}
