#include "mail/record.h"

#include "base/error.h"
#include "base/pack.h"

#define MAILBOX_VERSION 2 /* 1 had no deleted_byte_count */
#define MESSAGE_VERSION 1
#define REGISTER_VERSION 1
/* Of messages and registers that are gone: the same, and then when that was. */
#define GONE_VERSION 2
#define AGAIN_VERSION 3 /* of messages: with placed_again and shown_again */

/* The system flags in bytewise order; a stored flag names one by its place here, counted from 1. */
static const char *const system_flags[] = { "\\Answered", "\\Deleted", "\\Draft", "\\Flagged",
	"\\Seen" };
#define SYSTEM_FLAG_COUNT (sizeof(system_flags) / sizeof(system_flags[0]))

#define FLAG_CODE_MASK 0x0f
#define FLAG_IS_SET 0x40
#define FLAG_AT_APPEND 0x80 /* its stamp is the instance */

const struct flag_state *message_flag(const struct message_record *message, struct bytes name)
{
	for (size_t i = 0; i < message->flag_count; i++)
		if (bytes_equal(message->flags[i].name, name))
			return &message->flags[i];
	return NULL;
}

bool message_has_flag(const struct message_record *message, struct bytes name)
{
	const struct flag_state *flag = message_flag(message, name);

	return flag != NULL && flag->is_set;
}

int message_flag_put(struct message_record *message, struct arena *arena, struct flag_state flag)
{
	struct flag_state *flags;
	size_t at = 0;

	while (at < message->flag_count && bytes_compare(message->flags[at].name, flag.name) < 0)
		at++;
	if (at < message->flag_count && bytes_equal(message->flags[at].name, flag.name)) {
		if (stamp_compare(message->flags[at].stamp, flag.stamp) >= 0)
			return 0;
		flags = arena_alloc(arena, message->flag_count * sizeof(*flags));
		memcpy(flags, message->flags, message->flag_count * sizeof(*flags));
		flags[at] = flag;
		message->flags = flags;
		return 0;
	}
	if (message->flag_count >= MESSAGE_FLAG_COUNT_MAX)
		return ERR_TOO_LARGE;
	flags = arena_alloc(arena, (message->flag_count + 1) * sizeof(*flags));
	if (at > 0)
		memcpy(flags, message->flags, at * sizeof(*flags));
	flags[at] = flag;
	if (at < message->flag_count)
		memcpy(flags + at + 1, message->flags + at,
			(message->flag_count - at) * sizeof(*flags));
	message->flags = flags;
	message->flag_count++;
	return 0;
}

static bool stamp_equal(struct stamp a, struct stamp b)
{
	return a.modseq == b.modseq && a.node == b.node;
}

bool mailbox_same(const struct mailbox_record *a, const struct mailbox_record *b)
{
	return id128_equal(a->id, b->id) && stamp_equal(a->name_stamp, b->name_stamp) &&
	       bytes_equal(a->name, b->name) && a->uidvalidity == b->uidvalidity &&
	       stamp_equal(a->special_use_stamp, b->special_use_stamp) &&
	       bytes_equal(a->special_use, b->special_use) && stamp_equal(a->deleted, b->deleted) &&
	       id128_equal(a->forward, b->forward);
}

bool message_same(const struct message_record *a, const struct message_record *b)
{
	if (!stamp_equal(a->instance, b->instance) || !stamp_equal(a->placed, b->placed) ||
		!id128_equal(a->placed_in, b->placed_in) || !id128_equal(a->mailbox, b->mailbox) ||
		a->uid != b->uid || a->flag_count != b->flag_count)
		return false;
	for (size_t i = 0; i < a->flag_count; i++)
		if (!bytes_equal(a->flags[i].name, b->flags[i].name) ||
			!stamp_equal(a->flags[i].stamp, b->flags[i].stamp) ||
			a->flags[i].is_set != b->flags[i].is_set)
			return false;
	return true;
}

bool register_same(const struct register_record *a, const struct register_record *b)
{
	return a->kind == b->kind && id128_equal(a->mailbox, b->mailbox) &&
	       bytes_equal(a->key, b->key) && stamp_equal(a->stamp, b->stamp) &&
	       a->is_set == b->is_set && bytes_equal(a->value, b->value);
}

static void pack_stamp(struct buffer *out, struct stamp stamp)
{
	pack_varint(out, stamp.modseq);
	pack_u64(out, stamp.node);
}

static int unpack_stamp(struct bytes *in, struct stamp *stamp_r)
{
	if (unpack_varint(in, &stamp_r->modseq) < 0)
		return ERR_CORRUPT;
	return unpack_u64(in, &stamp_r->node);
}

static void pack_id(struct buffer *out, struct id128 id)
{
	buffer_append(out, id.bytes, sizeof(id.bytes));
}

static int unpack_id(struct bytes *in, struct id128 *id_r)
{
	return unpack_raw(in, id_r->bytes, sizeof(id_r->bytes));
}

static void pack_digest(struct buffer *out, struct digest digest)
{
	pack_u64(out, digest.high);
	pack_u64(out, digest.low);
}

static int check_gone_version(struct bytes *in, bool *is_gone_r)
{
	uint8_t version;

	if (unpack_u8(in, &version) < 0)
		return ERR_CORRUPT;
	*is_gone_r = version == GONE_VERSION;
	return *is_gone_r || version == MESSAGE_VERSION ? 0 : ERR_VERSION;
}

void mailbox_encode(struct buffer *out, const struct mailbox_record *mailbox)
{
	pack_u8(out, MAILBOX_VERSION);
	pack_id(out, mailbox->id);
	pack_stamp(out, mailbox->name_stamp);
	pack_bytes(out, mailbox->name);
	pack_varint(out, mailbox->uidvalidity);
	pack_stamp(out, mailbox->special_use_stamp);
	pack_bytes(out, mailbox->special_use);
	pack_stamp(out, mailbox->deleted);
	pack_id(out, mailbox->forward);
	pack_varint(out, mailbox->modseq);
	pack_varint(out, mailbox->uidnext);
	pack_varint(out, mailbox->sequence);
	pack_varint(out, mailbox->highestmodseq);
	pack_varint(out, mailbox->message_count);
	pack_varint(out, mailbox->unseen_count);
	pack_varint(out, mailbox->deleted_count);
	pack_varint(out, mailbox->byte_count);
	pack_varint(out, mailbox->deleted_byte_count);
	pack_digest(out, mailbox->digest);
}

int mailbox_decode(struct bytes in, struct mailbox_record *mailbox_r)
{
	struct mailbox_record mailbox = { 0 };
	uint8_t version;

	if (unpack_u8(&in, &version) < 0)
		return ERR_CORRUPT;
	if (version == 0 || version > MAILBOX_VERSION)
		return ERR_VERSION;
	if (unpack_id(&in, &mailbox.id) < 0 || unpack_stamp(&in, &mailbox.name_stamp) < 0 ||
		unpack_bytes(&in, &mailbox.name) < 0 ||
		unpack_varint32(&in, &mailbox.uidvalidity) < 0 ||
		unpack_stamp(&in, &mailbox.special_use_stamp) < 0 ||
		unpack_bytes(&in, &mailbox.special_use) < 0 ||
		unpack_stamp(&in, &mailbox.deleted) < 0 || unpack_id(&in, &mailbox.forward) < 0 ||
		unpack_varint(&in, &mailbox.modseq) < 0 ||
		unpack_varint32(&in, &mailbox.uidnext) < 0 ||
		unpack_varint(&in, &mailbox.sequence) < 0 ||
		unpack_varint(&in, &mailbox.highestmodseq) < 0 ||
		unpack_varint32(&in, &mailbox.message_count) < 0 ||
		unpack_varint32(&in, &mailbox.unseen_count) < 0 ||
		unpack_varint32(&in, &mailbox.deleted_count) < 0 ||
		unpack_varint(&in, &mailbox.byte_count) < 0 ||
		(version > 1 && unpack_varint(&in, &mailbox.deleted_byte_count) < 0) ||
		unpack_u64(&in, &mailbox.digest.high) < 0 ||
		unpack_u64(&in, &mailbox.digest.low) < 0 || in.len != 0)
		return ERR_CORRUPT;
	if (version == 1 && mailbox.deleted_count > 0)
		mailbox.deleted_byte_count = MAILBOX_BYTES_UNKNOWN;
	*mailbox_r = mailbox;
	return 0;
}

static unsigned system_flag_code(struct bytes name)
{
	for (unsigned i = 0; i < SYSTEM_FLAG_COUNT; i++)
		if (bytes_equal_string(name, system_flags[i]))
			return i + 1;
	return 0;
}

static void flag_encode(struct buffer *out, const struct flag_state *flag, struct stamp instance)
{
	unsigned code = system_flag_code(flag->name);
	bool at_append = stamp_equal(flag->stamp, instance);

	pack_u8(out, (uint8_t)(code | (flag->is_set ? FLAG_IS_SET : 0) |
			       (at_append ? FLAG_AT_APPEND : 0)));
	if (code == 0)
		pack_bytes(out, flag->name);
	if (!at_append)
		pack_stamp(out, flag->stamp);
}

static int flag_decode(
	struct bytes *in, struct arena *arena, struct stamp instance, struct flag_state *flag_r)
{
	uint8_t head;
	unsigned code;

	if (unpack_u8(in, &head) < 0)
		return ERR_CORRUPT;
	code = head & FLAG_CODE_MASK;
	if (code > SYSTEM_FLAG_COUNT)
		return ERR_CORRUPT;
	if (code > 0)
		flag_r->name = bytes_of_string(system_flags[code - 1]);
	else if (unpack_bytes(in, &flag_r->name) < 0)
		return ERR_CORRUPT;
	else
		flag_r->name = arena_copy(arena, flag_r->name);
	flag_r->is_set = (head & FLAG_IS_SET) != 0;
	flag_r->stamp = instance;
	return (head & FLAG_AT_APPEND) != 0 ? 0 : unpack_stamp(in, &flag_r->stamp);
}

void message_encode(struct buffer *out, const struct message_record *message)
{
	bool is_again = message->placed_again != 0 || message->shown_again != 0;

	pack_u8(out, message->gone_ms != 0 ? GONE_VERSION
		     : is_again            ? AGAIN_VERSION
					   : MESSAGE_VERSION);
	pack_stamp(out, message->instance);
	buffer_append(out, message->guid.bytes, sizeof(message->guid.bytes));
	pack_varint(out, message->size);
	pack_u64(out, (uint64_t)message->internaldate);
	pack_varint(out, (uint64_t)(message->internaldate_zone + 1440));
	pack_varint(out, message->savedate_ms);
	pack_id(out, message->thread);
	pack_stamp(out, message->placed);
	pack_id(out, message->placed_in);
	pack_id(out, message->mailbox);
	pack_varint(out, message->uid);
	pack_varint(out, message->modseq);
	pack_varint(out, message->sequence);
	pack_varint(out, message->placed_sequence);
	pack_varint(out, message->shown_sequence);
	pack_varint(out, message->flag_count);
	for (size_t i = 0; i < message->flag_count; i++)
		flag_encode(out, &message->flags[i], message->instance);
	if (message->gone_ms == 0 && is_again) {
		pack_varint(out, message->placed_again);
		pack_varint(out, message->shown_again);
	}
	if (message->gone_ms == 0)
		return;
	pack_varint(out, message->gone_ms);
	pack_id(out, message->gone_from);
	pack_u8(out, message->has_body);
}

static int message_decode_gone(struct bytes *in, struct message_record *message)
{
	uint8_t has_body;

	if (unpack_varint(in, &message->gone_ms) < 0 || unpack_id(in, &message->gone_from) < 0 ||
		unpack_u8(in, &has_body) < 0 || has_body > 1 || message->gone_ms == 0)
		return ERR_CORRUPT;
	message->has_body = has_body == 1;
	return 0;
}

static int message_decode_fields(struct bytes *in, struct message_record *message)
{
	uint64_t date, zone;

	if (unpack_stamp(in, &message->instance) < 0 ||
		unpack_raw(in, message->guid.bytes, sizeof(message->guid.bytes)) < 0 ||
		unpack_varint(in, &message->size) < 0 || unpack_u64(in, &date) < 0 ||
		unpack_varint(in, &zone) < 0 || zone > 2880 ||
		unpack_varint(in, &message->savedate_ms) < 0 ||
		unpack_id(in, &message->thread) < 0 || unpack_stamp(in, &message->placed) < 0 ||
		unpack_id(in, &message->placed_in) < 0 || unpack_id(in, &message->mailbox) < 0 ||
		unpack_varint32(in, &message->uid) < 0 || unpack_varint(in, &message->modseq) < 0 ||
		unpack_varint(in, &message->sequence) < 0 ||
		unpack_varint(in, &message->placed_sequence) < 0 ||
		unpack_varint(in, &message->shown_sequence) < 0)
		return ERR_CORRUPT;
	message->internaldate = (int64_t)date;
	message->internaldate_zone = (int32_t)zone - 1440;
	return 0;
}

int message_decode(struct bytes in, struct arena *arena, struct message_record *message_r)
{
	struct message_record message = { 0 };
	uint64_t flag_count;
	bool is_gone = false, is_again = in.len > 0 && in.ptr[0] == AGAIN_VERSION;
	int rc = 0;

	if (is_again)
		bytes_skip(&in, 1);
	else
		rc = check_gone_version(&in, &is_gone);
	if (rc < 0)
		return rc;
	if (message_decode_fields(&in, &message) < 0 || unpack_varint(&in, &flag_count) < 0 ||
		flag_count > MESSAGE_FLAG_COUNT_MAX)
		return ERR_CORRUPT;
	message.flag_count = (size_t)flag_count;
	if (flag_count > 0)
		message.flags = arena_alloc(arena, message.flag_count * sizeof(*message.flags));
	for (size_t i = 0; i < message.flag_count; i++)
		if (flag_decode(&in, arena, message.instance, &message.flags[i]) < 0)
			return ERR_CORRUPT;
	if (is_gone && message_decode_gone(&in, &message) < 0)
		return ERR_CORRUPT;
	if (is_again && (unpack_varint(&in, &message.placed_again) < 0 ||
				unpack_varint(&in, &message.shown_again) < 0))
		return ERR_CORRUPT;
	if (in.len != 0)
		return ERR_CORRUPT;
	*message_r = message;
	return 0;
}

void register_encode(struct buffer *out, const struct register_record *record)
{
	pack_u8(out, record->gone_ms != 0 ? GONE_VERSION : REGISTER_VERSION);
	pack_u8(out, (uint8_t)record->kind);
	pack_id(out, record->mailbox);
	pack_bytes(out, record->key);
	pack_stamp(out, record->stamp);
	pack_u8(out, record->is_set);
	pack_bytes(out, record->value);
	pack_varint(out, record->modseq);
	pack_varint(out, record->sequence);
	if (record->gone_ms != 0)
		pack_varint(out, record->gone_ms);
}

int register_decode(struct bytes in, struct register_record *record_r)
{
	struct register_record record = { 0 };
	uint8_t kind, is_set;
	bool is_gone;
	int rc = check_gone_version(&in, &is_gone);

	if (rc < 0)
		return rc;
	if (unpack_u8(&in, &kind) < 0 || unpack_id(&in, &record.mailbox) < 0 ||
		unpack_bytes(&in, &record.key) < 0 || unpack_stamp(&in, &record.stamp) < 0 ||
		unpack_u8(&in, &is_set) < 0 || is_set > 1 || unpack_bytes(&in, &record.value) < 0 ||
		unpack_varint(&in, &record.modseq) < 0 ||
		unpack_varint(&in, &record.sequence) < 0 || kind < RECORD_ACCOUNT ||
		kind > RECORD_SCRIPT)
		return ERR_CORRUPT;
	if (is_gone && (unpack_varint(&in, &record.gone_ms) < 0 || record.gone_ms == 0))
		return ERR_CORRUPT;
	if (in.len != 0)
		return ERR_CORRUPT;
	record.kind = (enum record_kind)kind;
	record.is_set = is_set == 1;
	*record_r = record;
	return 0;
}

/* The canonical forms below are hashed by every node: a change is a change of the digest algorithm.
 */

struct digest mailbox_term(const struct mailbox_record *mailbox)
{
	struct buffer form = { 0 };
	struct digest term;

	if (!mailbox_is_live(mailbox))
		return (struct digest){ 0 };
	pack_u8(&form, RECORD_MAILBOX);
	pack_id(&form, mailbox->id);
	pack_stamp(&form, mailbox->name_stamp);
	pack_bytes(&form, mailbox->name);
	pack_varint(&form, mailbox->uidvalidity);
	pack_varint(&form, mailbox->uidnext);
	pack_stamp(&form, mailbox->special_use_stamp);
	pack_bytes(&form, mailbox->special_use);
	term = digest_of(buffer_bytes(&form));
	buffer_deinit(&form);
	return term;
}

struct digest message_term(const struct message_record *message)
{
	unsigned char head[1 + 16 + 4 + 32 + 16 + 8];
	struct buffer form = { 0 };
	struct digest term;

	if (!message_is_shown(message))
		return (struct digest){ 0 };
	head[0] = RECORD_MESSAGE;
	memcpy(head + 1, message->mailbox.bytes, 16);
	put_u32(head + 17, message->uid);
	memcpy(head + 21, message->guid.bytes, 32);
	put_u64(head + 53, message->instance.modseq);
	put_u64(head + 61, message->instance.node);
	put_u64(head + 69, message->modseq);
	if (message->flag_count == 0)
		return digest_of(bytes_of(head, sizeof(head)));
	buffer_append(&form, head, sizeof(head));
	for (size_t i = 0; i < message->flag_count; i++)
		if (message->flags[i].is_set)
			pack_bytes(&form, message->flags[i].name);
	term = digest_of(buffer_bytes(&form));
	buffer_deinit(&form);
	return term;
}

struct digest register_term(const struct register_record *record)
{
	struct buffer form = { 0 };
	struct digest term;

	if (!record->is_set)
		return (struct digest){ 0 };
	pack_u8(&form, (uint8_t)record->kind);
	pack_id(&form, record->mailbox);
	pack_bytes(&form, record->key);
	pack_stamp(&form, record->stamp);
	pack_bytes(&form, record->value);
	term = digest_of(buffer_bytes(&form));
	buffer_deinit(&form);
	return term;
}
