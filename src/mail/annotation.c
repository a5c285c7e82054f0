/* Keys of annotations, and reading them. */
#include "mail/annotation.h"

#include "base/error.h"
#include "mail/annotation_private.h"

#include <ctype.h>

uint64_t annotation_message_size(const struct register_record *record)
{
	if (record->kind != RECORD_ANNOTATION || !record->is_set ||
		bytes_peek(record->key) != ANNOTATION_MESSAGE_LETTER)
		return 0;
	return record->value.len;
}

bool annotation_was_made(const struct message_record *message)
{
	return message_flag(message, BYTES_LITERAL(ANNOTATION_FLAG)) != NULL;
}

int annotation_entry(struct arena *arena, struct bytes text, bool is_pattern, struct bytes *entry_r)
{
	unsigned char *copy = arena_alloc(arena, text.len + 1);

	if (text.len > ANNOTATION_ENTRY_SIZE_MAX)
		return ERR_TOO_LARGE;
	if (text.len == 0 || (!is_pattern && (text.ptr[0] != '/' || text.ptr[text.len - 1] == '/')))
		return ERR_INVALID;
	for (size_t i = 0; i < text.len; i++) {
		unsigned char byte = text.ptr[i];

		if (byte < ' ' || byte >= 0x7f || (!is_pattern && (byte == '*' || byte == '%')) ||
			(byte == '/' && i > 0 && text.ptr[i - 1] == '/'))
			return ERR_INVALID;
		copy[i] = (unsigned char)tolower(byte);
	}
	*entry_r = bytes_of(copy, text.len);
	return 0;
}

struct bytes metadata_key(
	unsigned char at[REGISTER_KEY_SIZE_MAX], enum annotation_scope scope, struct bytes entry)
{
	assert(entry.len < REGISTER_KEY_SIZE_MAX);
	at[0] = (unsigned char)scope;
	if (entry.len > 0)
		memcpy(at + 1, entry.ptr, entry.len);
	return bytes_of(at, 1 + entry.len);
}

struct bytes message_annotation_key(unsigned char at[REGISTER_KEY_SIZE_MAX], struct stamp instance,
	enum annotation_scope scope, struct bytes entry)
{
	assert(entry.len <= ANNOTATION_ENTRY_SIZE_MAX);
	at[0] = ANNOTATION_MESSAGE_LETTER;
	put_u64(at + 1, instance.modseq);
	put_u64(at + 9, instance.node);
	at[17] = (unsigned char)scope;
	if (entry.len > 0)
		memcpy(at + 18, entry.ptr, entry.len);
	return bytes_of(at, 18 + entry.len);
}

bool annotation_instance(const struct register_record *record, struct stamp *instance_r)
{
	if (record->kind != RECORD_ANNOTATION || record->key.len < 18 ||
		bytes_peek(record->key) != ANNOTATION_MESSAGE_LETTER)
		return false;
	instance_r->modseq = get_u64(record->key.ptr + 1);
	instance_r->node = get_u64(record->key.ptr + 9);
	return true;
}

bool annotation_is_shared(const struct register_record *record)
{
	struct bytes key = record->key;
	struct stamp instance;

	if (record->kind != RECORD_ANNOTATION)
		return false;
	if (annotation_instance(record, &instance))
		bytes_skip(&key, 17);
	return bytes_peek(key) == ANNOTATION_SHARED;
}

struct bytes annotation_prefix(unsigned char at[REGISTER_KEY_SIZE_MAX], struct stamp instance)
{
	struct bytes prefix =
		message_annotation_key(at, instance, ANNOTATION_PRIVATE, bytes_of(NULL, 0));

	prefix.len--; /* both scopes */
	return prefix;
}

struct reading {
	size_t skip; /* bytes of the key before the scope's letter */
	annotation_function *function;
	void *context;
};

static int read_one(void *context, const struct register_record *record)
{
	const struct reading *reading = context;
	struct bytes key = record->key;
	struct annotation annotation = {
		.is_set = record->is_set, .value = record->value, .modseq = record->modseq
	};
	int letter;

	if (key.len < reading->skip + 1)
		return 0;
	bytes_skip(&key, reading->skip);
	letter = bytes_peek(key);
	/* What another version of this program may have put there is no annotation to this one. */
	if (letter != ANNOTATION_PRIVATE && letter != ANNOTATION_SHARED)
		return 0;
	annotation.scope = (enum annotation_scope)letter;
	bytes_skip(&key, 1);
	annotation.entry = key;
	return reading->function(reading->context, &annotation);
}

int metadata_each(struct kv_txn *kv, uint32_t account, struct id128 mailbox,
	enum annotation_scope scope, struct bytes prefix, struct arena *arena,
	annotation_function *function, void *context)
{
	struct reading reading = { 0, function, context };
	unsigned char at[REGISTER_KEY_SIZE_MAX];

	if (prefix.len > ANNOTATION_ENTRY_SIZE_MAX)
		return 0;
	return account_each_register_of(kv, account, RECORD_ANNOTATION, mailbox,
		metadata_key(at, scope, prefix), arena, read_one, &reading);
}

int metadata_get(struct kv_txn *kv, uint32_t account, struct id128 mailbox,
	enum annotation_scope scope, struct bytes entry, struct arena *arena, struct bytes *value_r)
{
	unsigned char at[REGISTER_KEY_SIZE_MAX];
	struct register_record record;
	int rc = account_get_register(kv, account, RECORD_ANNOTATION, mailbox,
		metadata_key(at, scope, entry), arena, &record);

	if (rc == 0 && !record.is_set)
		rc = ERR_NOT_FOUND;
	if (rc == 0)
		*value_r = record.value;
	return rc;
}

int message_annotation_each(struct kv_txn *kv, uint32_t account, struct id128 owner,
	struct stamp instance, struct arena *arena, annotation_function *function, void *context)
{
	struct reading reading = { 17, function, context };
	unsigned char at[REGISTER_KEY_SIZE_MAX];

	return account_each_register_of(kv, account, RECORD_ANNOTATION, owner,
		annotation_prefix(at, instance), arena, read_one, &reading);
}
