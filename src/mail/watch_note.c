#include "mail/watch_note.h"

#include "base/error.h"
#include "base/pack.h"
#include "mail/annotation.h"
#include "mail/tables.h"

void watch_note_encode(struct buffer *out, const struct watch_event *event)
{
	pack_u8(out, (uint8_t)event->kind);
	buffer_append(out, event->mailbox.bytes, sizeof(event->mailbox.bytes));
	pack_u8(out, (uint8_t)event->changes);
	pack_u8(out, event->was_there);
	pack_u64(out, event->position);
	pack_bytes(out, event->name);
	pack_bytes(out, event->value);
}

int watch_note_decode(struct bytes in, struct watch_event *event_r)
{
	struct watch_event event = { 0 };
	uint8_t kind, changes, was_there;

	if (unpack_u8(&in, &kind) < 0 ||
		unpack_raw(&in, event.mailbox.bytes, sizeof(event.mailbox.bytes)) < 0 ||
		unpack_u8(&in, &changes) < 0 || unpack_u8(&in, &was_there) < 0 ||
		unpack_u64(&in, &event.position) < 0 || unpack_bytes(&in, &event.name) < 0 ||
		unpack_bytes(&in, &event.value) < 0 || in.len != 0)
		return ERR_CORRUPT;
	event.kind = (enum record_kind)kind;
	event.changes = changes;
	event.was_there = was_there != 0;
	*event_r = event;
	return 0;
}

void watch_note_put(struct store_write *write, uint32_t account, const struct watch_event *event)
{
	struct buffer note = { 0 };
	unsigned char key[4];

	watch_note_encode(&note, event);
	feed_note(write, account_key(key, account), buffer_bytes(&note));
	buffer_deinit(&note);
}

unsigned watch_note_flag_changes(
	const struct message_record *before, const struct message_record *after)
{
	unsigned changes = 0;

	for (size_t i = 0; i < after->flag_count; i++) {
		const struct flag_state *now = &after->flags[i];
		const struct flag_state *then = message_flag(before, now->name);

		if (then != NULL && stamp_compare(then->stamp, now->stamp) == 0)
			continue;
		changes |= bytes_equal_string(now->name, ANNOTATION_FLAG) ? WATCH_ANNOTATIONS
									  : WATCH_FLAGS;
	}
	return changes;
}
