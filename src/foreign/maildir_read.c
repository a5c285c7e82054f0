#include "foreign/maildir_read.h"

#include "base/mem.h"
#include "foreign/files.h"
#include "foreign/maildir_files.h"
#include "foreign/rights.h"
#include "foreign/unpack.h"
#include "imap/imap_utf7.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define FOLDER_DEPTH_MAX 32
#define ACL_FILE_SIZE_MAX ((uint64_t)1 << 20) /* bytes */
#define NAME_GONE_LOOKS 2 /* how often the folder is searched for a file that was renamed */

struct maildir {
	struct source source;
	char *path, *name;
	int root;           /* -1: not open */
	struct buffer text; /* of the mailbox read last: its relative path */
};

static struct maildir *maildir_of(struct source *source)
{
	return (struct maildir *)source;
}

static int maildir_open(struct source *source, struct error *error)
{
	struct maildir *maildir = maildir_of(source);
	int fd, rc = files_open_root(maildir->path, &maildir->root, error);

	if (rc < 0)
		return rc;
	/* A folder that is empty by mistake must not look like one of which all mail is gone. */
	rc = files_open_folder(maildir->root, BYTES_LITERAL("cur"), &fd);
	if (rc == 0)
		close(fd);
	return rc < 0 ? error_set(error, ERR_INVALID, "%s is no Maildir: it has no folder cur",
				maildir->path)
		      : 0;
}

static void maildir_free(struct source *source)
{
	struct maildir *maildir = maildir_of(source);

	if (maildir->root != -1)
		close(maildir->root);
	buffer_deinit(&maildir->text);
	free(maildir->path);
	free(maildir->name);
	free(maildir);
}

/* ---- mailboxes ---- */

struct listing {
	struct maildir *maildir;
	struct arena *arena;
	struct source_mailbox *mailboxes;
	size_t count, room;
	struct buffer path; /* of the folder looked at */
	int depth;
	struct map by_name;
};

static bool is_mailbox(struct listing *listing, struct bytes path)
{
	struct buffer cur = { 0 };
	int fd, rc;

	buffer_append_bytes(&cur, path);
	buffer_append_string(&cur, path.len > 0 ? "/cur" : "cur");
	rc = files_open_folder(listing->maildir->root, buffer_bytes(&cur), &fd);
	if (rc == 0)
		close(fd);
	buffer_deinit(&cur);
	return rc == 0;
}

static int mailbox_add(struct listing *listing, struct bytes path, struct bytes name)
{
	if (listing->count == SOURCE_MAILBOX_COUNT_MAX)
		return ERR_TOO_LARGE;
	mem_grow((void **)&listing->mailboxes, &listing->room, listing->count + 1,
		sizeof(*listing->mailboxes));
	listing->mailboxes[listing->count++] = (struct source_mailbox){
		.name = name, .has_mail = true, .place = arena_copy(listing->arena, path)
	};
	return 0;
}

static int folder_look(void *context, const char *name)
{
	static const char *const own[] = { "cur", "new", "tmp", "courierimapkeywords",
		"courierimaphieracl" };
	struct listing *listing = context;
	struct bytes text = bytes_of_string(name);
	size_t before = listing->path.len;
	int rc = 0;

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (strcmp(name, own[i]) == 0)
			return 0;
	if (before > 0)
		buffer_append_byte(&listing->path, '/');
	buffer_append_bytes(&listing->path, text);
	text = buffer_bytes(&listing->path);
	if (bytes_peek(text) == '.') {
		if (before == 0 && text.len > 1 && is_mailbox(listing, text)) {
			bytes_skip(&text, 1);
			rc = mailbox_add(listing, buffer_bytes(&listing->path),
				maildir_folder_decode(text, '.', listing->arena));
		}
	} else if (listing->depth < FOLDER_DEPTH_MAX) {
		if (is_mailbox(listing, text))
			rc = mailbox_add(
				listing, text, maildir_folder_decode(text, '/', listing->arena));
		listing->depth++;
		if (rc == 0)
			rc = files_each(listing->maildir->root, buffer_bytes(&listing->path),
				listing->depth > 0, folder_look, listing);
		listing->depth--;
		if (rc == ERR_NOT_FOUND || rc == ERR_REFUSED)
			rc = 0; /* a file, or not for us */
	}
	buffer_truncate(&listing->path, before);
	return rc;
}

/* The mailboxes listed so far, by name; the value's length is the index. */
static void names_map(struct listing *listing)
{
	for (size_t i = 0; i < listing->count; i++) {
		struct bytes *index = arena_zalloc(listing->arena, sizeof(*index));

		index->len = i;
		map_put(&listing->by_name, listing->mailboxes[i].name, index);
	}
}

/* There may be none of that name. */
static void subscription_add(void *context, struct bytes name)
{
	struct listing *listing = context;
	struct bytes *index = map_get(&listing->by_name, name);

	if (index == NULL) {
		if (mailbox_add(listing, bytes_of(NULL, 0), name) < 0)
			return;
		index = arena_zalloc(listing->arena, sizeof(*index));
		index->len = listing->count - 1;
		map_put(&listing->by_name, name, index);
		listing->mailboxes[index->len].has_mail = false;
	}
	listing->mailboxes[index->len].is_subscribed = true;
}

static void subscriptions_read(struct listing *listing, const char *file, bool is_courier)
{
	struct buffer text = { 0 };
	int separator = '/';

	for (size_t i = 0; i < listing->count; i++)
		if (bytes_peek(listing->mailboxes[i].place) == '.')
			separator = '.';
	if (files_read(listing->maildir->root, file, MAILDIR_FILE_SIZE_MAX, &text) == 0)
		maildir_subscriptions_parse(arena_copy(listing->arena, buffer_bytes(&text)),
			is_courier ? '.' : separator, is_courier, listing->arena, subscription_add,
			listing);
	buffer_deinit(&text);
}

static int maildir_list(
	struct source *source, struct arena *arena, struct source_list *list_r, struct error *error)
{
	struct listing listing = { .maildir = maildir_of(source), .arena = arena };
	int rc = mailbox_add(&listing, bytes_of(NULL, 0), BYTES_LITERAL("INBOX"));

	if (rc == 0)
		rc = files_each(
			listing.maildir->root, bytes_of(NULL, 0), false, folder_look, &listing);
	if (rc < 0) {
		error_set(error, rc, "%s cannot be listed: %s", listing.maildir->path,
			error_name(rc));
	} else {
		names_map(&listing);
		subscriptions_read(&listing, "subscriptions", false);
		subscriptions_read(&listing, "courierimapsubscribed", true);
		list_r->mailboxes = arena_alloc(arena, listing.count * sizeof(*list_r->mailboxes));
		memcpy(list_r->mailboxes, listing.mailboxes,
			listing.count * sizeof(*list_r->mailboxes));
		list_r->count = listing.count;
	}
	map_deinit(&listing.by_name);
	buffer_deinit(&listing.path);
	free(listing.mailboxes);
	return rc;
}

/* ---- what is in one ---- */

struct reading {
	struct arena *arena;
	int folder;
	const char *below; /* "cur" or "new" ... */
	int below_folder;  /* ... and that */
	struct map seen;   /* bases */
	struct maildir_keywords keywords;
	struct courier_keywords courier;
	struct maildir_uids uids;
	struct source_message *messages;
	size_t count, room;
	struct bytes *flags; /* scratch */
};

static int file_text(struct reading *reading, const char *file, struct bytes *text_r)
{
	struct buffer text = { 0 };
	int rc = files_read(reading->folder, file, MAILDIR_FILE_SIZE_MAX, &text);

	*text_r = bytes_of(NULL, 0);
	if (rc == 0)
		*text_r = arena_copy(reading->arena, buffer_bytes(&text));
	buffer_deinit(&text);
	return rc;
}

/* Courier puts what changed last into a file for each message. */
static void courier_file_flags(
	struct reading *reading, struct bytes base, struct bytes *flags, size_t *count)
{
	struct bytes text;
	const char *file =
		arena_printf(reading->arena, "courierimapkeywords/%.*s", BYTES_ARGS(base));

	if (file_text(reading, file, &text) == 0)
		maildir_flags_of_lines(text, flags, count);
	else
		maildir_flags_of_courier(&reading->courier, base, flags, count);
}

static void flags_take(
	struct reading *reading, const struct maildir_name *name, struct source_message *message)
{
	size_t count = 0;

	maildir_flags_of_letters(name->letters, &reading->keywords, reading->flags, &count);
	if (reading->courier.names != NULL)
		courier_file_flags(reading, name->base, reading->flags, &count);
	message->flags = arena_alloc(reading->arena, (count + 1) * sizeof(struct bytes));
	message->flag_count = count;
	if (count > 0)
		memcpy(message->flags, reading->flags, count * sizeof(struct bytes));
}

static int message_look(void *context, const char *file)
{
	struct reading *reading = context;
	const char *place = arena_printf(reading->arena, "%s/%s", reading->below, file);
	struct bytes path = bytes_of_string(place);
	struct maildir_name name;
	struct source_message *message;
	const struct maildir_uid *uid;
	struct stat info;

	bytes_skip(&path, strlen(reading->below) + 1);
	name = maildir_name_parse(path);
	if (name.base.len == 0 || map_get(&reading->seen, name.base) != NULL)
		return 0;
	if (reading->count == SOURCE_MESSAGE_COUNT_MAX)
		return ERR_TOO_LARGE;
	if (fstatat(reading->below_folder, file, &info, AT_SYMLINK_NOFOLLOW) == -1 ||
		!S_ISREG(info.st_mode))
		return 0; /* renamed just now: the second look finds it; or no message */
	map_put(&reading->seen, name.base, reading);
	mem_grow((void **)&reading->messages, &reading->room, reading->count + 1,
		sizeof(*reading->messages));
	message = &reading->messages[reading->count++];
	*message = (struct source_message){ .key = source_key_of(name.base),
		.date = info.st_mtim.tv_sec,
		.size = name.size,
		.place = bytes_of_string(place) };
	uid = map_get(&reading->uids.of, name.base);
	if (uid != NULL)
		message->uid = uid->uid;
	if (uid != NULL && message->size == 0)
		message->size = uid->size;
	flags_take(reading, &name, message);
	return 0;
}

/* By UID; those without one last, in the order of their names. */
static int message_order(const void *left, const void *right)
{
	const struct source_message *a = left, *b = right;
	struct bytes a_name = a->place, b_name = b->place;

	if (a->uid != b->uid)
		return a->uid - 1 < b->uid - 1 ? -1 : 1;
	bytes_skip(&a_name, 4); /* "cur/", "new/" */
	bytes_skip(&b_name, 4);
	return bytes_compare(a_name, b_name);
}

static void lists_read(struct reading *reading)
{
	struct bytes text;

	if (file_text(reading, "dovecot-uidlist", &text) < 0 ||
		maildir_uids_parse(text, reading->arena, &reading->uids) < 0)
		if (file_text(reading, "courierimapuiddb", &text) == 0)
			(void)maildir_uids_parse(text, reading->arena, &reading->uids);
	if (file_text(reading, "dovecot-keywords", &text) == 0)
		maildir_keywords_parse(text, &reading->keywords);
	if (file_text(reading, "courierimapkeywords/:list", &text) == 0)
		courier_keywords_parse(text, reading->arena, &reading->courier);
}

static int below_read(struct reading *reading, const char *below)
{
	int rc = files_open_folder(reading->folder, bytes_of_string(below), &reading->below_folder);

	if (rc < 0)
		return rc;
	reading->below = below;
	rc = files_each(reading->below_folder, bytes_of(NULL, 0), true, message_look, reading);
	close(reading->below_folder);
	return rc;
}

static int messages_read(struct reading *reading)
{
	int rc = below_read(reading, "new");

	if (rc == 0 || rc == ERR_NOT_FOUND)
		rc = below_read(reading, "cur");
	/* Twice, for what is renamed between two looks. */
	return rc < 0 ? rc : below_read(reading, "cur");
}

static void state_make(struct reading *reading, struct source_state *state_r)
{
	struct source_point point = { reading->uids.uidvalidity, reading->uids.uidnext, 0 };

	if (reading->count > 1)
		qsort(reading->messages, reading->count, sizeof(*reading->messages), message_order);
	for (size_t i = 0; i < reading->count && point.uidvalidity != 0; i++)
		if (reading->messages[i].uid == 0 && point.uidnext < UINT32_MAX)
			reading->messages[i].uid = point.uidnext++;
	*state_r = (struct source_state){ .point = point,
		.messages = arena_alloc(
			reading->arena, (reading->count + 1) * sizeof(*reading->messages)),
		.count = reading->count };
	if (reading->count > 0)
		memcpy(state_r->messages, reading->messages,
			reading->count * sizeof(*reading->messages));
}

static int maildir_read(struct source *source, const struct source_mailbox *mailbox,
	const struct source_point *since, struct arena *arena, struct source_state *state_r,
	struct error *error)
{
	struct maildir *maildir = maildir_of(source);
	struct reading reading = { .arena = arena };
	int rc = files_open_folder(maildir->root, mailbox->place, &reading.folder);

	(void)since; /* it cannot tell what changed */
	if (rc < 0)
		return error_set(error, ERR_NOT_FOUND, "%s/%.*s cannot be opened: %s",
			maildir->path, BYTES_ARGS(mailbox->place), error_name(rc));
	buffer_clear(&maildir->text);
	buffer_append_bytes(&maildir->text, mailbox->place);
	reading.flags = arena_alloc(arena, SOURCE_FLAG_COUNT_MAX * sizeof(struct bytes));
	lists_read(&reading);
	rc = messages_read(&reading);
	if (rc == 0)
		state_make(&reading, state_r);
	else
		error_set(error, rc == ERR_REFUSED ? ERR_REFUSED : ERR_INVALID,
			"%s/%.*s cannot be read: %s", maildir->path, BYTES_ARGS(mailbox->place),
			error_name(rc));
	close(reading.folder);
	map_deinit(&reading.seen);
	map_deinit(&reading.uids.of);
	map_deinit(&reading.courier.messages);
	free(reading.messages);
	return rc;
}

/* ---- bodies ---- */

struct search {
	struct bytes base;
	struct buffer found;
	const char *below;
};

static int name_compare(void *context, const char *file)
{
	struct search *search = context;

	if (!bytes_equal(maildir_name_parse(bytes_of_string(file)).base, search->base))
		return 0;
	buffer_printf(&search->found, "%s/%s", search->below, file);
	return 1;
}

/* Its flags changed, or it came from new/ to cur/, since the folder was read. */
static int renamed_find(int folder, struct bytes place, struct buffer *found)
{
	static const char *const below[] = { "cur", "new" };
	struct search search = { 0 };
	int rc = 0;

	bytes_skip(&place, 4);
	search.base = maildir_name_parse(place).base;
	for (size_t i = 0; i < 2 && rc == 0; i++) {
		search.below = below[i];
		rc = files_each(folder, bytes_of_string(below[i]), true, name_compare, &search);
	}
	buffer_append_bytes(found, buffer_bytes(&search.found));
	buffer_deinit(&search.found);
	return rc == 1 ? 0 : rc == 0 ? ERR_NOT_FOUND : rc;
}

static int body_open(int folder, struct bytes place, int *fd_r, struct stat *info_r)
{
	struct buffer found = { 0 };
	int rc = files_open_file(folder, place, fd_r, info_r);

	for (int looks = 0; looks < NAME_GONE_LOOKS && rc == ERR_NOT_FOUND; looks++) {
		buffer_clear(&found);
		rc = renamed_find(folder, place, &found);
		if (rc == 0)
			rc = files_open_file(folder, buffer_bytes(&found), fd_r, info_r);
		else
			looks = NAME_GONE_LOOKS;
	}
	buffer_deinit(&found);
	return rc;
}

struct body_reading {
	struct buffer raw, unpacked, body;
};

/* `reading->raw` as an IMAP server has it. */
static int body_make(struct body_reading *reading)
{
	struct bytes raw = buffer_bytes(&reading->raw);
	enum unpack_form form = unpack_form_of(raw);
	int rc = 0;

	if (form != UNPACK_PLAIN) {
		buffer_clear(&reading->unpacked);
		rc = unpack(form, raw, SOURCE_BODY_SIZE_MAX, &reading->unpacked);
		raw = buffer_bytes(&reading->unpacked);
	}
	if (rc < 0)
		return rc;
	buffer_clear(&reading->body);
	source_body_normalize(raw, &reading->body);
	return reading->body.len > SOURCE_BODY_SIZE_MAX ? ERR_TOO_LARGE : 0;
}

static int body_read(int folder, const struct source_message *message, struct body_reading *reading)
{
	struct stat info;
	int fd, rc = body_open(folder, message->place, &fd, &info);

	if (rc < 0)
		return rc;
	buffer_clear(&reading->raw);
	rc = (uint64_t)info.st_size > SOURCE_BODY_SIZE_MAX
		     ? ERR_TOO_LARGE
		     : files_read_part(fd, 0, (uint64_t)info.st_size, &reading->raw);
	close(fd);
	return rc < 0 ? rc : body_make(reading);
}

static int maildir_bodies(struct source *source, const struct source_message *messages,
	size_t count, source_body_function *function, void *context, struct error *error)
{
	struct maildir *maildir = maildir_of(source);
	struct body_reading reading = { 0 };
	int folder, rc = files_open_folder(maildir->root, buffer_bytes(&maildir->text), &folder);

	if (rc < 0)
		return error_set(error, ERR_NOT_FOUND, "%s/%s is gone", maildir->path,
			buffer_string(&maildir->text));
	for (size_t i = 0; i < count && rc == 0; i++) {
		rc = body_read(folder, &messages[i], &reading);
		if (rc == 0)
			rc = function(context, i, buffer_bytes(&reading.body));
		else if (rc == ERR_NOT_FOUND || rc == ERR_TOO_LARGE || rc == ERR_REFUSED ||
			 rc == ERR_INVALID)
			rc = 0; /* left out */
		else
			error_set(error, rc, "%s/%.*s cannot be read", maildir->path,
				BYTES_ARGS(messages[i].place));
	}
	close(folder);
	buffer_deinit(&reading.raw);
	buffer_deinit(&reading.unpacked);
	buffer_deinit(&reading.body);
	return rc;
}

/* ---- rights ---- */

static int maildir_extras(struct source *source, const struct source_mailbox *mailbox,
	struct arena *arena, struct source_extras *extras_r, struct error *error)
{
	struct maildir *maildir = maildir_of(source);
	struct buffer path = { 0 }, text = { 0 };
	struct bytes rest;
	int rc;

	(void)error;
	if (mailbox == NULL)
		return 0;
	buffer_append_bytes(&path, mailbox->place);
	buffer_append_string(&path, mailbox->place.len > 0 ? "/dovecot-acl" : "dovecot-acl");
	rc = files_read(maildir->root, buffer_string(&path), ACL_FILE_SIZE_MAX, &text);
	/* Without the file there are no rights of others. */
	extras_r->of[IMPORT_RIGHTS].is_told = rc == 0 || rc == ERR_NOT_FOUND;
	rest = arena_copy(arena, buffer_bytes(&text));
	while (rest.len > 0) {
		struct bytes line = bytes_take(&rest, bytes_find(rest, '\n'));
		struct rights_entry entry;

		bytes_skip(&rest, rest.len > 0);
		if (rights_of_line(line, arena, &entry))
			source_extra_add(
				extras_r, IMPORT_RIGHTS, arena, entry.identifier, entry.letters);
	}
	buffer_deinit(&path);
	buffer_deinit(&text);
	return 0;
}

static const struct source_class maildir_class = {
	.keys_are_uids = false,
	.open = maildir_open,
	.list = maildir_list,
	.read = maildir_read,
	.bodies = maildir_bodies,
	.extras = maildir_extras,
	.free = maildir_free,
};

struct source *maildir_read_new(const char *path)
{
	struct maildir *maildir = mem_zalloc(sizeof(*maildir));
	struct buffer name = { 0 };

	buffer_printf(&name, "maildir:%s", path);
	maildir->source.class = &maildir_class;
	maildir->path = mem_strdup(path);
	maildir->name = mem_strdup(buffer_string(&name));
	maildir->source.name = maildir->name;
	maildir->root = -1;
	buffer_deinit(&name);
	return &maildir->source;
}
