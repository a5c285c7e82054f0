#include "foreign/source.h"

#include "base/hash.h"
#include "mail/import.h"

bool source_keyword_is_valid(struct bytes name)
{
	if (name.len == 0 || name.len > FLAG_NAME_SIZE_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] <= ' ' || name.ptr[i] >= 0x7f ||
			memchr("(){%*\"\\]", name.ptr[i], 8) != NULL)
			return false;
	return true;
}

void source_body_normalize(struct bytes raw, struct buffer *out)
{
	/* Room for what most messages need; lines of 40 bytes on the average. */
	buffer_reserve(out, raw.len + raw.len / 40);
	while (raw.len > 0) {
		size_t len = bytes_find(raw, '\n');
		struct bytes line = bytes_take(&raw, len);
		size_t at = out->len;

		buffer_append_bytes(out, line);
		for (unsigned char *nul; line.len > 0 && (nul = memchr(out->data + at, '\0',
								  out->len - at)) != NULL;)
			*nul = 0x80;
		if (raw.len == 0)
			break;
		bytes_skip(&raw, 1);
		if (out->len == 0 || len == 0 || out->data[out->len - 1] != '\r')
			buffer_append_byte(out, '\r');
		buffer_append_byte(out, '\n');
	}
}

#define EXTRA_STEP 64

void source_extra_add(struct source_extras *extras, enum import_extra extra, struct arena *arena,
	struct bytes name, struct bytes value)
{
	struct source_extra *all = &extras->of[extra];

	all->is_told = true;
	if (all->count % EXTRA_STEP == 0) {
		size_t room = all->count + EXTRA_STEP;
		struct import_entry *entries = arena_alloc(arena, room * sizeof(*entries));

		if (all->count > 0)
			memcpy(entries, all->entries, all->count * sizeof(*entries));
		all->entries = entries;
	}
	all->entries[all->count++] = (struct import_entry){ name, value };
}

uint64_t source_key_of(struct bytes text)
{
	uint64_t key = hash64(text, 0) & IMPORT_KEY_MAX;

	return key != 0 ? key : 1;
}
