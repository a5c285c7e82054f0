/*
 * Fuzzing of what is read back from the disk: segment frames and effects, and the stored forms of
 * records. The first byte chooses the reader. What can be read must survive being written and read
 * again.
 */
#include "base/arena.h"
#include "base/pack.h"
#include "mail/record.h"
#include "store/segment.h"
#include "store/store.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void read_effects(struct bytes in)
{
	struct effect effect;

	while (in.len > 0 && effect_decode(&in, STORE_TABLE_COUNT, &effect) == 0) {
		struct buffer again = { 0 };
		struct effect same;
		struct bytes left;

		effect_encode(&again, &effect);
		left = buffer_bytes(&again);
		must(effect_decode(&left, STORE_TABLE_COUNT, &same) == 0 && left.len == 0);
		must(bytes_equal(effect.key, same.key));
		buffer_deinit(&again);
	}
}

static void read_segment(struct bytes in)
{
	int fd = memfd_create("segment", MFD_CLOEXEC);
	struct buffer payload = { 0 };
	uint64_t offset = SEGMENT_HEADER_SIZE;
	struct id128 store = { { 0 } };
	struct frame frame;

	must(fd >= 0 && write(fd, in.ptr, in.len) == (ssize_t)in.len);
	while (segment_read_frame(fd, store, offset, in.len, &frame, &payload) == 0)
		offset += frame_extent(frame.payload_size);
	segment_find_later(fd, store, 0, in.len, 1, &offset);
	close(fd);
	buffer_deinit(&payload);
}

static void read_message(struct bytes in)
{
	struct arena *arena = arena_new();
	struct message_record message, again;
	struct buffer out = { 0 };

	if (message_decode(in, arena, &message) == 0) {
		message_encode(&out, &message);
		must(message_decode(buffer_bytes(&out), arena, &again) == 0);
		must(message_same(&message, &again));
		message_term(&message);
	}
	buffer_deinit(&out);
	arena_free(&arena);
}

static void read_others(struct bytes in)
{
	struct mailbox_record mailbox;
	struct register_record record;

	if (mailbox_decode(in, &mailbox) == 0)
		mailbox_term(&mailbox);
	if (register_decode(in, &record) == 0)
		register_term(&record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size);

	if (size == 0)
		return 0;
	switch (bytes_take(&in, 1).ptr[0] % 4) {
	case 0:
		read_effects(in);
		break;
	case 1:
		read_segment(in);
		break;
	case 2:
		read_message(in);
		break;
	default:
		read_others(in);
	}
	return 0;
}
