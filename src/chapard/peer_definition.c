#include "chapard/peer_definition.h"

#include "base/pack.h"
#include "chapard/config.h"
#include "mail/tables.h"

#define DEFINITION_VERSION 1
#define WORD_COUNT_MAX 64
#define PREFIX '=' /* no channel's name begins with it: theirs are the rows of cursors */
#define DEFINITION_COUNT_MAX 1024

static struct bytes definition_key(unsigned char at[CONFIG_NAME_SIZE_MAX + 1], const char *name)
{
	size_t length = strnlen(name, CONFIG_NAME_SIZE_MAX);

	at[0] = PREFIX;
	memcpy(at + 1, name, length);
	return bytes_of(at, length + 1);
}

static void definition_encode(struct buffer *out, const struct peer_definition *definition)
{
	pack_u8(out, DEFINITION_VERSION);
	pack_u8(out, definition->is_paused);
	pack_u8(out, definition->is_added);
	pack_varint(out, definition->word_count);
	for (size_t i = 0; i < definition->word_count; i++)
		pack_bytes(out, bytes_of_string(definition->words[i]));
}

static int definition_decode(
	struct bytes in, struct arena *arena, struct peer_definition *definition)
{
	uint8_t version, is_paused, is_added;
	const char **words;
	uint64_t count;

	if (unpack_u8(&in, &version) < 0)
		return ERR_CORRUPT;
	if (version != DEFINITION_VERSION)
		return ERR_VERSION;
	if (unpack_u8(&in, &is_paused) < 0 || unpack_u8(&in, &is_added) < 0 ||
		unpack_varint(&in, &count) < 0 || count > WORD_COUNT_MAX)
		return ERR_CORRUPT;
	words = arena_zalloc(arena, ((size_t)count + 1) * sizeof(*words));
	for (size_t i = 0; i < count; i++) {
		struct bytes word;

		if (unpack_bytes(&in, &word) < 0)
			return ERR_CORRUPT;
		words[i] = arena_string(arena, word);
	}
	definition->is_paused = is_paused != 0;
	definition->is_added = is_added != 0;
	definition->words = words;
	definition->word_count = (size_t)count;
	return in.len == 0 ? 0 : ERR_CORRUPT;
}

static int delete_row(struct store_write *write, struct bytes key)
{
	int rc = store_delete(write, MAIL_TABLE_CHANNEL, key);

	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int put_run(struct store_write *write, void *context)
{
	const struct peer_definition *definition = context;
	unsigned char at[CONFIG_NAME_SIZE_MAX + 1];
	struct bytes key = definition_key(at, definition->name);
	struct buffer value = { 0 };
	int rc;

	if (!definition->is_paused && !definition->is_added)
		return delete_row(write, key);
	definition_encode(&value, definition);
	rc = store_put(write, MAIL_TABLE_CHANNEL, key, buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

int peer_definition_put(
	struct mail *mail, const struct peer_definition *definition, struct error *error)
{
	struct peer_definition copy = *definition;
	uint64_t position;

	if (definition->word_count > WORD_COUNT_MAX)
		return error_set(error, ERR_INVALID, "more than %d keys", WORD_COUNT_MAX);
	return store_commit(mail_store(mail), put_run, &copy, error, &position);
}

static int forget_run(struct store_write *write, void *context)
{
	unsigned char at[CONFIG_NAME_SIZE_MAX + 1];
	int rc = delete_row(write, definition_key(at, context));

	return rc < 0 ? rc : delete_row(write, bytes_of_string(context));
}

int peer_definition_forget(struct mail *mail, const char *name, struct error *error)
{
	char copy[CONFIG_NAME_SIZE_MAX + 1] = "";
	uint64_t position;

	strncpy(copy, name, CONFIG_NAME_SIZE_MAX);
	return store_commit(mail_store(mail), forget_run, copy, error, &position);
}

int peer_definition_get(struct mail *mail, const char *name, struct arena *arena,
	struct peer_definition *definition_r, struct error *error)
{
	unsigned char at[CONFIG_NAME_SIZE_MAX + 1];
	struct kv_txn *kv = NULL;
	struct bytes value;
	int rc = mail_read_begin(mail, mail_position(mail), &kv);

	*definition_r = (struct peer_definition){ .name = name };
	if (rc == 0)
		rc = kv_get(kv, MAIL_TABLE_CHANNEL, definition_key(at, name), &value);
	if (rc == 0)
		rc = definition_decode(value, arena, definition_r);
	mail_read_end(&kv);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		error_set(error, rc, "the definition of channel %s cannot be read: %s", name,
			error_name(rc));
	return rc;
}

int peer_definition_list(struct mail *mail, struct arena *arena,
	struct peer_definition **definitions_r, size_t *count_r, struct error *error)
{
	static const unsigned char prefix = PREFIX;
	struct peer_definition *list = arena_zalloc(arena, DEFINITION_COUNT_MAX * sizeof(*list));
	struct kv_cursor *cursor = NULL;
	struct kv_txn *kv = NULL;
	size_t count = 0;
	int rc = mail_read_begin(mail, mail_position(mail), &kv);

	if (rc == 0)
		rc = kv_cursor_open(kv, MAIL_TABLE_CHANNEL, &cursor);
	if (rc == 0)
		rc = kv_cursor_seek(cursor, bytes_of(&prefix, 1));
	while (rc == 0 && count < DEFINITION_COUNT_MAX &&
		bytes_peek(kv_cursor_key(cursor)) == PREFIX) {
		struct bytes name = kv_cursor_key(cursor);

		bytes_skip(&name, 1);
		list[count].name = arena_string(arena, name);
		rc = definition_decode(kv_cursor_value(cursor), arena, &list[count]);
		if (rc == 0 && list[count].is_added)
			count++;
		if (rc == 0)
			rc = kv_cursor_next(cursor);
	}
	kv_cursor_close(&cursor);
	mail_read_end(&kv);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return error_set(error, rc, "the definitions of channels cannot be read: %s",
			error_name(rc));
	*definitions_r = list;
	*count_r = count;
	return 0;
}
