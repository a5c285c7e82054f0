#include "foreign/mbox_read.h"

#include "base/map.h"
#include "base/mem.h"
#include "foreign/files.h"
#include "foreign/maildir_files.h"
#include "foreign/mbox_parse.h"
#include "mail/import.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define CHUNK_SIZE (1u << 20)
#define FOLDER_DEPTH_MAX 32
#define HEADER_SIZE_MAX ((size_t)4 << 20) /* more of it is not looked at */

struct mbox {
	struct source source;
	char *path, *name;
	int root; /* -1: not open, or a single file */
	bool is_file;
	struct buffer place; /* of the mailbox read last */
};

static struct mbox *mbox_of(struct source *source)
{
	return (struct mbox *)source;
}

static int mbox_open(struct source *source, struct error *error)
{
	struct mbox *mbox = mbox_of(source);
	struct buffer folder = { 0 };
	const char *slash = strrchr(mbox->path, '/');
	struct stat info;
	int rc;

	if (stat(mbox->path, &info) == -1)
		return error_set(error, ERR_NOT_FOUND, "%s cannot be found", mbox->path);
	mbox->is_file = S_ISREG(info.st_mode);
	buffer_append(&folder, mbox->path,
		mbox->is_file ? (size_t)(slash - mbox->path) + 1 : strlen(mbox->path));
	rc = files_open_root(buffer_string(&folder), &mbox->root, error);
	buffer_deinit(&folder);
	return rc;
}

static void mbox_free(struct source *source)
{
	struct mbox *mbox = mbox_of(source);

	if (mbox->root != -1)
		close(mbox->root);
	buffer_deinit(&mbox->place);
	free(mbox->path);
	free(mbox->name);
	free(mbox);
}

/* ---- mailboxes ---- */

struct listing {
	struct mbox *mbox;
	struct arena *arena;
	struct source_mailbox *mailboxes;
	size_t count, room;
	struct buffer path, name;
	int depth;
	struct map by_name; /* the value's length is the index */
};

static bool is_mbox(struct listing *listing, struct bytes path)
{
	struct buffer begin = { 0 };
	struct stat info;
	bool is_one = false;
	int fd;

	if (files_open_file(listing->mbox->root, path, &fd, &info) < 0)
		return false;
	is_one = info.st_size == 0 || (files_read_part(fd, 0, 5, &begin) == 0 &&
					      bytes_equal_string(buffer_bytes(&begin), "From "));
	close(fd);
	buffer_deinit(&begin);
	return is_one;
}

static int mailbox_add(struct listing *listing, struct bytes path, struct bytes name)
{
	if (listing->count == SOURCE_MAILBOX_COUNT_MAX)
		return ERR_TOO_LARGE;
	mem_grow((void **)&listing->mailboxes, &listing->room, listing->count + 1,
		sizeof(*listing->mailboxes));
	listing->mailboxes[listing->count++] =
		(struct source_mailbox){ .name = maildir_folder_decode(name, '/', listing->arena),
			.has_mail = true,
			.place = arena_copy(listing->arena, path) };
	return 0;
}

static struct bytes without_end(struct bytes name, const char *end)
{
	struct bytes wanted = bytes_of_string(end);

	if (name.len > wanted.len &&
		bytes_equal(bytes_of(name.ptr + name.len - wanted.len, wanted.len), wanted))
		name.len -= wanted.len;
	return name;
}

static int entry_look(void *context, const char *entry)
{
	struct listing *listing = context;
	struct bytes name = bytes_of_string(entry);
	size_t path_before = listing->path.len, name_before = listing->name.len;
	int rc = 0;

	if (path_before > 0) {
		buffer_append_byte(&listing->path, '/');
		buffer_append_byte(&listing->name, '/');
	}
	buffer_append_bytes(&listing->path, name);
	if (is_mbox(listing, buffer_bytes(&listing->path))) {
		buffer_append_bytes(&listing->name, without_end(name, ".mbox"));
		rc = mailbox_add(
			listing, buffer_bytes(&listing->path), buffer_bytes(&listing->name));
	} else if (listing->depth < FOLDER_DEPTH_MAX) {
		buffer_append_bytes(&listing->name, without_end(name, ".sbd"));
		listing->depth++;
		rc = files_each(listing->mbox->root, buffer_bytes(&listing->path), true, entry_look,
			listing);
		listing->depth--;
		if (rc == ERR_NOT_FOUND || rc == ERR_REFUSED)
			rc = 0; /* another file, or not for us */
	}
	buffer_truncate(&listing->path, path_before);
	buffer_truncate(&listing->name, name_before);
	return rc;
}

static void name_note(struct listing *listing, size_t index)
{
	struct bytes *value = arena_zalloc(listing->arena, sizeof(*value));

	value->len = index;
	map_put(&listing->by_name, listing->mailboxes[index].name, value);
}

/* There may be none of that name. */
static void subscription_add(void *context, struct bytes name)
{
	struct listing *listing = context;
	struct bytes *index = map_get(&listing->by_name, name);
	size_t i = index != NULL ? index->len : listing->count;

	if (index == NULL) {
		if (mailbox_add(listing, bytes_of(NULL, 0), name) < 0)
			return;
		listing->mailboxes[i].name = name;
		listing->mailboxes[i].has_mail = false;
		name_note(listing, i);
	}
	listing->mailboxes[i].is_subscribed = true;
}

static void subscriptions_read(struct listing *listing)
{
	struct buffer text = { 0 };

	for (size_t i = 0; i < listing->count; i++)
		name_note(listing, i);
	if (files_read(listing->mbox->root, ".subscriptions", MAILDIR_FILE_SIZE_MAX, &text) == 0)
		maildir_subscriptions_parse(arena_copy(listing->arena, buffer_bytes(&text)), '/',
			false, listing->arena, subscription_add, listing);
	buffer_deinit(&text);
}

static int mbox_list(
	struct source *source, struct arena *arena, struct source_list *list_r, struct error *error)
{
	struct listing listing = { .mbox = mbox_of(source), .arena = arena };
	const char *file = strrchr(listing.mbox->path, '/') + 1;
	int rc;

	if (listing.mbox->is_file)
		rc = mailbox_add(&listing, bytes_of_string(file), BYTES_LITERAL("INBOX"));
	else
		rc = files_each(listing.mbox->root, bytes_of(NULL, 0), true, entry_look, &listing);
	if (rc < 0)
		error_set(error, rc, "%s cannot be listed: %s", listing.mbox->path, error_name(rc));
	else if (listing.count == 0)
		rc = error_set(error, ERR_INVALID, "%s: no file of mail", listing.mbox->path);
	if (rc == 0) {
		if (!listing.mbox->is_file)
			subscriptions_read(&listing);
		list_r->mailboxes = arena_alloc(arena, listing.count * sizeof(*list_r->mailboxes));
		memcpy(list_r->mailboxes, listing.mailboxes,
			listing.count * sizeof(*list_r->mailboxes));
		list_r->count = listing.count;
	}
	map_deinit(&listing.by_name);
	buffer_deinit(&listing.path);
	buffer_deinit(&listing.name);
	free(listing.mailboxes);
	return rc;
}

/* ---- lines of a file ---- */

struct scan {
	int fd;
	uint64_t size, offset; /* of the next byte that line_next() gives */
	struct buffer chunk;
	uint64_t chunk_at; /* where it lies in the file */
};

/* The line at the offset, without its LF; of one longer than a chunk, its beginning. 0: the end. */
static int line_next(struct scan *scan, struct bytes *line_r)
{
	for (;;) {
		size_t at = (size_t)(scan->offset - scan->chunk_at), len;
		struct bytes rest;
		int rc;

		if (scan->offset >= scan->size)
			return 0;
		if (scan->offset >= scan->chunk_at && at < scan->chunk.len) {
			rest = bytes_of(scan->chunk.data + at, scan->chunk.len - at);
			len = bytes_find(rest, '\n');
			if (len < rest.len || at == 0 ||
				scan->chunk_at + scan->chunk.len >= scan->size) {
				*line_r = bytes_of(rest.ptr, len);
				scan->offset += len + (len < rest.len);
				return 1;
			}
		}
		buffer_clear(&scan->chunk);
		scan->chunk_at = scan->offset;
		rc = files_read_part(scan->fd, scan->offset, CHUNK_SIZE, &scan->chunk);
		if (rc < 0)
			return rc;
		if (scan->chunk.len == 0)
			scan->size = scan->offset; /* it became shorter */
	}
}

static bool is_blank(struct bytes line)
{
	return line.len == 0 || bytes_equal_string(line, "\r");
}

/* ---- messages ---- */

struct reading {
	struct arena *arena;
	struct scan scan;
	struct source_message *messages;
	size_t count, room;
	struct source_point point;
	struct map seen; /* keys: how often */
	struct buffer header, raw, message;
};

/* Reads the header's lines up to the empty one. */
static int header_read(struct reading *reading)
{
	struct bytes line;
	int rc;

	buffer_clear(&reading->header);
	while ((rc = line_next(&reading->scan, &line)) == 1) {
		if (is_blank(line))
			break;
		if (reading->header.len < HEADER_SIZE_MAX) {
			buffer_append_bytes(&reading->header, line);
			buffer_append_byte(&reading->header, '\n');
		}
	}
	return rc < 0 ? rc : 0;
}

/* Whether a message can end there: a line "From " follows, perhaps after an empty one, or nothing.
 */
static int ends_at(struct reading *reading, uint64_t offset, uint64_t *next_r)
{
	struct scan *scan = &reading->scan;
	struct bytes line;
	int64_t date;
	int32_t zone;
	int rc = 0;

	scan->offset = offset;
	for (int i = 0; i < 3; i++) {
		*next_r = scan->offset;
		rc = line_next(scan, &line);
		if (rc <= 0 || mbox_from_line(line, &date, &zone))
			return rc < 0 ? rc : 1;
		if (!is_blank(line))
			return 0;
	}
	return 0;
}

/* Finds where the body that begins here ends, and where the next message begins. */
static int body_end(struct reading *reading, const struct mbox_header *header, uint64_t *end_r,
	uint64_t *next_r, bool *is_counted_r)
{
	struct scan *scan = &reading->scan;
	uint64_t begin = scan->offset, before = scan->offset;
	bool was_blank = true;
	struct bytes line;
	int64_t date;
	int32_t zone;
	int rc;

	*is_counted_r = false;
	if (header->has_length && header->length <= scan->size - begin) {
		rc = ends_at(reading, begin + header->length, next_r);
		*is_counted_r = rc == 1;
		*end_r = begin + header->length;
		if (rc != 0)
			return rc < 0 ? rc : 0;
		scan->offset = begin;
	}
	*end_r = begin;
	for (;;) {
		uint64_t at = scan->offset;

		rc = line_next(scan, &line);
		if (rc <= 0 || (was_blank && mbox_from_line(line, &date, &zone))) {
			*next_r = rc <= 0 ? scan->size : at;
			/* The empty line before "From " belongs to that. */
			*end_r = was_blank && at > begin ? before : at;
			return rc < 0 ? rc : 0;
		}
		was_blank = is_blank(line);
		before = at;
	}
}

static void flags_take(
	struct reading *reading, const struct mbox_header *header, struct source_message *message)
{
	const struct {
		bool is_set;
		const char *name;
	} rows[] = {
		{ header->is_seen, "\\Seen" },
		{ header->is_answered, "\\Answered" },
		{ header->is_flagged, "\\Flagged" },
		{ header->is_draft, "\\Draft" },
		{ header->is_deleted, "\\Deleted" },
	};
	struct bytes words = header->keywords;

	message->flags = arena_alloc(reading->arena, SOURCE_FLAG_COUNT_MAX * sizeof(struct bytes));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].is_set)
			message->flags[message->flag_count++] = bytes_of_string(rows[i].name);
	while (words.len > 0) {
		struct bytes word = bytes_take(&words, bytes_find(words, ' '));

		if (words.len > 0)
			bytes_skip(&words, 1);
		if (source_keyword_is_valid(word) && message->flag_count < SOURCE_FLAG_COUNT_MAX)
			message->flags[message->flag_count++] = arena_copy(reading->arena, word);
	}
}

static int message_load(struct scan *scan, const struct source_message *message, struct buffer *raw,
	struct buffer *restored)
{
	uint64_t size;
	struct bytes place = message->place;
	int rc;

	memcpy(&size, place.ptr, sizeof(size));
	buffer_clear(raw);
	buffer_clear(restored);
	rc = files_read_part(scan->fd, message->offset, size, raw);
	if (rc == 0)
		mbox_message_restore(buffer_bytes(raw), place.ptr[sizeof(size)] != 0, restored);
	return rc;
}

/* The same bytes again are another message. How many ends of lines it ends in may change when
 * another message is put behind it. */
static uint64_t key_of(struct reading *reading, struct bytes text)
{
	struct buffer counted = { 0 };
	uint64_t *count, key, *name;

	while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
		text.len--;
	key = source_key_of(text);
	name = arena_alloc(reading->arena, sizeof(*name));
	*name = key;
	count = map_get(&reading->seen, bytes_of(name, sizeof(*name)));
	if (count == NULL) {
		count = arena_zalloc(reading->arena, sizeof(*count));
		map_put(&reading->seen, bytes_of(name, sizeof(*name)), count);
	}
	if (++*count > 1) {
		buffer_printf(
			&counted, "%llu %llu", (unsigned long long)key, (unsigned long long)*count);
		key = source_key_of(buffer_bytes(&counted));
		buffer_deinit(&counted);
	}
	return key;
}

static int message_add(struct reading *reading, const struct mbox_header *header,
	struct source_message message, uint64_t size, bool is_quoted)
{
	unsigned char *place = arena_alloc(reading->arena, sizeof(size) + 1);
	int rc;

	memcpy(place, &size, sizeof(size));
	place[sizeof(size)] = is_quoted;
	message.place = bytes_of(place, sizeof(size) + 1);
	message.uid = header->uid;
	if (size > SOURCE_BODY_SIZE_MAX) {
		message.key = source_key_of(message.place);
		message.size = size;
	} else {
		rc = message_load(&reading->scan, &message, &reading->raw, &reading->message);
		if (rc < 0)
			return rc;
		message.key = key_of(reading, buffer_bytes(&reading->message));
	}
	flags_take(reading, header, &message);
	if (reading->count == SOURCE_MESSAGE_COUNT_MAX)
		return ERR_TOO_LARGE;
	mem_grow((void **)&reading->messages, &reading->room, reading->count + 1,
		sizeof(*reading->messages));
	reading->messages[reading->count++] = message;
	return 0;
}

/* One message, whose line "From " was just read. */
static int message_read(struct reading *reading, struct source_message message)
{
	struct mbox_header header;
	uint64_t end = 0, next = 0;
	bool is_counted = false;
	int rc;

	message.offset = reading->scan.offset;
	rc = header_read(reading);
	mbox_header_parse(buffer_bytes(&reading->header), &header);
	if (rc == 0)
		rc = body_end(reading, &header, &end, &next, &is_counted);
	if (rc < 0)
		return rc;
	if (header.uidvalidity != 0 && reading->point.uidvalidity == 0) {
		reading->point.uidvalidity = header.uidvalidity;
		reading->point.uidnext = header.uid_last + 1;
	}
	if (!header.is_internal || reading->count > 0)
		rc = message_add(reading, &header, message, end - message.offset, !is_counted);
	reading->scan.offset = next;
	return rc;
}

static int messages_read(struct reading *reading)
{
	struct source_message message;
	struct bytes line;
	int rc;

	while ((rc = line_next(&reading->scan, &line)) == 1) {
		if (is_blank(line))
			continue;
		message = (struct source_message){ 0 };
		if (!mbox_from_line(line, &message.date, &message.zone))
			return ERR_INVALID;
		rc = message_read(reading, message);
		if (rc < 0)
			return rc;
	}
	return rc;
}

/* UIDs count only if they are those of one numbering, and grow. */
static void uids_check(struct reading *reading)
{
	uint32_t last = 0;
	bool is_good = reading->point.uidvalidity != 0;

	for (size_t i = 0; i < reading->count && is_good; i++) {
		if (reading->messages[i].uid == 0)
			reading->messages[i].uid = reading->point.uidnext++;
		is_good = reading->messages[i].uid > last;
		last = reading->messages[i].uid;
		if (last >= reading->point.uidnext)
			reading->point.uidnext = last + 1;
	}
	if (is_good)
		return;
	reading->point = (struct source_point){ 0 };
	for (size_t i = 0; i < reading->count; i++)
		reading->messages[i].uid = 0;
}

static int mbox_read(struct source *source, const struct source_mailbox *mailbox,
	const struct source_point *since, struct arena *arena, struct source_state *state_r,
	struct error *error)
{
	struct mbox *mbox = mbox_of(source);
	struct reading reading = { .arena = arena };
	struct stat info;
	int rc = files_open_file(mbox->root, mailbox->place, &reading.scan.fd, &info);

	(void)since; /* it cannot tell what changed */
	if (rc < 0)
		return error_set(error, ERR_NOT_FOUND, "%.*s cannot be opened: %s",
			BYTES_ARGS(mailbox->place), error_name(rc));
	buffer_clear(&mbox->place);
	buffer_append_bytes(&mbox->place, mailbox->place);
	reading.scan.size = (uint64_t)info.st_size;
	rc = messages_read(&reading);
	close(reading.scan.fd);
	if (rc == 0) {
		uids_check(&reading);
		*state_r = (struct source_state){ .point = reading.point,
			.messages =
				arena_alloc(arena, (reading.count + 1) * sizeof(*reading.messages)),
			.count = reading.count };
		if (reading.count > 0)
			memcpy(state_r->messages, reading.messages,
				reading.count * sizeof(*reading.messages));
	} else {
		error_set(error, rc, "%.*s: %s", BYTES_ARGS(mailbox->place),
			rc == ERR_INVALID ? "this is no mbox" : error_name(rc));
	}
	map_deinit(&reading.seen);
	buffer_deinit(&reading.scan.chunk);
	buffer_deinit(&reading.header);
	buffer_deinit(&reading.raw);
	buffer_deinit(&reading.message);
	free(reading.messages);
	return rc;
}

static int mbox_bodies(struct source *source, const struct source_message *messages, size_t count,
	source_body_function *function, void *context, struct error *error)
{
	struct mbox *mbox = mbox_of(source);
	struct buffer raw = { 0 }, restored = { 0 }, body = { 0 };
	struct scan scan = { 0 };
	struct stat info;
	int rc = files_open_file(mbox->root, buffer_bytes(&mbox->place), &scan.fd, &info);

	if (rc < 0)
		return error_set(error, ERR_NOT_FOUND, "%s is gone", buffer_string(&mbox->place));
	for (size_t i = 0; i < count && rc == 0; i++) {
		if (messages[i].size > SOURCE_BODY_SIZE_MAX)
			continue; /* left out */
		rc = message_load(&scan, &messages[i], &raw, &restored);
		buffer_clear(&body);
		source_body_normalize(buffer_bytes(&restored), &body);
		if (rc == 0 && body.len <= SOURCE_BODY_SIZE_MAX)
			rc = function(context, i, buffer_bytes(&body));
	}
	close(scan.fd);
	buffer_deinit(&raw);
	buffer_deinit(&restored);
	buffer_deinit(&body);
	return rc;
}

static const struct source_class mbox_class = {
	.keys_are_uids = false,
	.open = mbox_open,
	.list = mbox_list,
	.read = mbox_read,
	.bodies = mbox_bodies,
	.free = mbox_free,
};

struct source *mbox_read_new(const char *path)
{
	struct mbox *mbox = mem_zalloc(sizeof(*mbox));
	struct buffer name = { 0 };

	buffer_printf(&name, "mbox:%s", path);
	mbox->source.class = &mbox_class;
	mbox->path = mem_strdup(path);
	mbox->name = mem_strdup(buffer_string(&name));
	mbox->source.name = mbox->name;
	mbox->root = -1;
	buffer_deinit(&name);
	return &mbox->source;
}
