#include "foreign/mbox_write.h"

#include "base/error.h"
#include "base/map.h"
#include "base/mem.h"
#include "foreign/files.h"
#include "foreign/maildir_files.h"
#include "foreign/mbox_parse.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define STATE_FILE "chapar-export"
#define STATE_FILE_SIZE_MAX ((uint64_t)64 << 20)
#define NEW_FILE "chapar-export.new" /* until it is whole */
#define NAME_TAKEN_MAX 1000

struct mbox_target {
	struct target target;
	char *path;
	int root; /* -1: not open */
	struct arena *arena;
	struct map files; /* written, or left as they are, in this run: by path */
	struct map old;   /* of the last run: path to its line of the state */
	struct bytes old_state;
	struct buffer state; /* lines "UIDVALIDITY UIDNEXT HIGHESTMODSEQ PATH" */

	/* Of the mailbox under way. */
	FILE *file; /* NULL: it is left as it is */
	const char *place;
	struct mailbox_record mailbox;
	bool is_first;
	struct buffer raw, lines, restored;
};

static struct mbox_target *mbox_of(struct target *target)
{
	return (struct mbox_target *)target;
}

static int failed(struct error *error, const char *what)
{
	return error_set_errno(error, error_from_errno(errno), errno, "%s", what);
}

/* ---- the folder ---- */

static void old_state_take(struct mbox_target *mbox)
{
	struct bytes rest = mbox->old_state;

	while (rest.len > 0) {
		struct bytes *line = arena_alloc(mbox->arena, sizeof(*line)), path;

		*line = path = bytes_take(&rest, bytes_find(rest, '\n'));
		if (rest.len > 0)
			bytes_skip(&rest, 1);
		for (int i = 0; i < 3; i++) {
			bytes_skip(&path, bytes_find(path, ' '));
			if (path.len > 0)
				bytes_skip(&path, 1);
		}
		if (path.len > 0)
			map_put(&mbox->old, path, line);
	}
}

static int entry_found(void *context, const char *name)
{
	(void)context;
	(void)name;
	return 1;
}

static int mbox_open(struct target *target, struct error *error)
{
	struct mbox_target *mbox = mbox_of(target);
	struct buffer text = { 0 };
	int rc;

	if (mkdir(mbox->path, 0700) == -1 && errno != EEXIST)
		return failed(error, mbox->path);
	rc = files_open_root(mbox->path, &mbox->root, error);
	if (rc < 0)
		return rc;
	rc = files_read(mbox->root, STATE_FILE, STATE_FILE_SIZE_MAX, &text);
	mbox->old_state = arena_copy(mbox->arena, buffer_bytes(&text));
	buffer_deinit(&text);
	if (rc == ERR_NOT_FOUND &&
		files_each(mbox->root, bytes_of(NULL, 0), false, entry_found, NULL) == 1)
		return error_set(
			error, ERR_EXISTS, "%s is not empty, and not from an export", mbox->path);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return error_set(error, rc, "%s/%s cannot be read", mbox->path, STATE_FILE);
	old_state_take(mbox);
	return 0;
}

/* "A.sbd/B": makes the folders. */
static int place_make(struct mbox_target *mbox, struct bytes name, struct error *error)
{
	struct buffer encoded = { 0 }, place = { 0 };
	struct bytes rest;
	int rc = 0, tries = 0;

	maildir_folder_encode(name, '/', &encoded);
	rest = buffer_bytes(&encoded);
	while (rest.len > 0 && rc == 0) {
		struct bytes level = bytes_take(&rest, bytes_find(rest, '/'));

		if (bytes_peek(level) == '.' || bytes_equal_string(level, STATE_FILE) ||
			bytes_equal_string(level, NEW_FILE))
			buffer_append_byte(&place, '_');
		buffer_append_bytes(&place, level);
		if (rest.len == 0)
			break;
		bytes_skip(&rest, 1);
		buffer_append_string(&place, ".sbd");
		if (mkdirat(mbox->root, buffer_string(&place), 0700) == -1 && errno != EEXIST)
			rc = failed(error, buffer_string(&place));
		buffer_append_byte(&place, '/');
	}
	while (map_get(&mbox->files, buffer_bytes(&place)) != NULL && tries++ < NAME_TAKEN_MAX)
		buffer_append_byte(&place, '_');
	mbox->place = arena_string(mbox->arena, buffer_bytes(&place));
	map_put(&mbox->files, bytes_of_string(mbox->place), mbox);
	buffer_deinit(&encoded);
	buffer_deinit(&place);
	return rc;
}

static struct bytes state_line(struct mbox_target *mbox)
{
	const struct mailbox_record *mailbox = &mbox->mailbox;

	return bytes_of_string(arena_printf(mbox->arena, "%" PRIu32 " %" PRIu32 " %" PRIu64 " %s",
		mailbox->uidvalidity, mailbox->uidnext, mailbox->highestmodseq, mbox->place));
}

static int mbox_begin(
	struct target *target, const struct mailbox_record *mailbox, struct error *error)
{
	struct mbox_target *mbox = mbox_of(target);
	const struct bytes *old;
	struct bytes line;
	int fd, rc;

	mbox->mailbox = *mailbox;
	mbox->is_first = true;
	rc = place_make(mbox, mailbox->name, error);
	if (rc < 0)
		return rc;
	line = state_line(mbox);
	buffer_append_bytes(&mbox->state, line);
	buffer_append_byte(&mbox->state, '\n');
	old = map_get(&mbox->old, bytes_of_string(mbox->place));
	if (old != NULL && bytes_equal(*old, line) &&
		faccessat(mbox->root, mbox->place, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	fd = openat(
		mbox->root, NEW_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	mbox->file = fd != -1 ? fdopen(fd, "w") : NULL;
	return mbox->file != NULL ? 0 : failed(error, NEW_FILE);
}

/* ---- messages ---- */

static void flags_write(struct mbox_target *mbox, const struct message_record *message)
{
	static const struct {
		const char *name;
		int letter;
	} rows[] = {
		{ "\\Answered", 'A' },
		{ "\\Deleted", 'D' },
		{ "\\Flagged", 'F' },
		{ "\\Draft", 'T' },
	};
	bool has_keywords = false;

	fprintf(mbox->file, "Status: %sO\nX-Status: ",
		message_has_flag(message, BYTES_LITERAL("\\Seen")) ? "R" : "");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (message_has_flag(message, bytes_of_string(rows[i].name)))
			fputc(rows[i].letter, mbox->file);
	for (size_t i = 0; i < message->flag_count; i++) {
		const struct flag_state *flag = &message->flags[i];

		if (!flag->is_set || bytes_peek(flag->name) == '\\')
			continue;
		fprintf(mbox->file, "%s %.*s",
			has_keywords ? "" : "\nX-Keywords:", BYTES_ARGS(flag->name));
		has_keywords = true;
	}
	fprintf(mbox->file, "\nX-UID: %" PRIu32 "\n", message->uid);
}

/* CRLF becomes LF. */
static void lines_make(struct mbox_target *mbox)
{
	struct bytes raw = buffer_bytes(&mbox->raw);

	buffer_clear(&mbox->lines);
	buffer_reserve(&mbox->lines, raw.len);
	while (raw.len > 0) {
		struct bytes line = bytes_take(&raw, bytes_find(raw, '\n'));
		bool has_end = raw.len > 0;

		if (has_end)
			bytes_skip(&raw, 1);
		if (has_end && line.len > 0 && line.ptr[line.len - 1] == '\r')
			line.len--;
		buffer_append_bytes(&mbox->lines, line);
		if (has_end)
			buffer_append_byte(&mbox->lines, '\n');
	}
}

static bool needs_quote(struct bytes line)
{
	while (bytes_peek(line) == '>')
		bytes_skip(&line, 1);
	return bytes_start_with(line, BYTES_LITERAL("From "));
}

/* A line "From " in the header is quoted, too: it would begin a message. */
static void text_write(struct mbox_target *mbox, struct bytes text)
{
	while (text.len > 0) {
		struct bytes line = bytes_take(&text, bytes_find(text, '\n'));

		if (text.len > 0)
			bytes_skip(&text, 1);
		if (needs_quote(line))
			fputc('>', mbox->file);
		if (line.len > 0)
			fwrite(line.ptr, 1, line.len, mbox->file);
		fputc('\n', mbox->file);
	}
	fputc('\n', mbox->file);
}

static int mbox_message(struct target *target, const struct message_record *message,
	const struct export_body *body, struct export_counts *counts, struct error *error)
{
	struct mbox_target *mbox = mbox_of(target);
	time_t date = message->internaldate < 0 ? 0 : (time_t)message->internaldate;
	char when[64];
	struct tm parts;
	int rc;

	if (mbox->file == NULL)
		return 0;
	buffer_clear(&mbox->raw);
	rc = body->read(body->context, &mbox->raw, error);
	if (rc < 0)
		return rc;
	lines_make(mbox);
	buffer_clear(&mbox->restored);
	mbox_message_restore(buffer_bytes(&mbox->lines), false, &mbox->restored);
	gmtime_r(&date, &parts);
	strftime(when, sizeof(when), "%a %b %e %H:%M:%S %Y", &parts);
	fprintf(mbox->file, "From MAILER-DAEMON %s\n", when);
	if (mbox->is_first)
		fprintf(mbox->file, "X-IMAPbase: %" PRIu32 " %010" PRIu32 "\n",
			mbox->mailbox.uidvalidity, mbox->mailbox.uidnext - 1);
	mbox->is_first = false;
	flags_write(mbox, message);
	text_write(mbox, buffer_bytes(&mbox->restored));
	counts->new_count++;
	counts->new_bytes += mbox->raw.len;
	return ferror(mbox->file) ? failed(error, mbox->place) : 0;
}

static int mbox_end(struct target *target, struct export_counts *counts, struct error *error)
{
	struct mbox_target *mbox = mbox_of(target);
	FILE *file = mbox->file;
	int rc = 0;

	(void)counts;
	if (file == NULL)
		return 0;
	mbox->file = NULL;
	if (fflush(file) != 0 || fsync(fileno(file)) == -1)
		rc = failed(error, mbox->place);
	if (fclose(file) != 0 && rc == 0)
		rc = failed(error, mbox->place);
	if (rc == 0 && renameat(mbox->root, NEW_FILE, mbox->root, mbox->place) == -1)
		rc = failed(error, mbox->place);
	return rc;
}

/* ---- the end ---- */

static int file_write(
	struct mbox_target *mbox, const char *name, struct bytes text, struct error *error)
{
	int fd = openat(
		mbox->root, NEW_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	FILE *file = fd != -1 ? fdopen(fd, "w") : NULL;
	bool is_good = file != NULL;

	if (is_good && text.len > 0)
		is_good = fwrite(text.ptr, 1, text.len, file) == text.len;
	if (is_good)
		is_good = fflush(file) == 0 && fsync(fd) == 0;
	if (file != NULL)
		is_good = fclose(file) == 0 && is_good;
	if (is_good)
		is_good = renameat(mbox->root, NEW_FILE, mbox->root, name) == 0;
	return is_good ? 0 : failed(error, name);
}

/* Files of mailboxes that are no more. */
static void old_files_remove(struct mbox_target *mbox)
{
	struct bytes rest = mbox->old_state;

	while (rest.len > 0) {
		struct bytes path = bytes_take(&rest, bytes_find(rest, '\n'));

		if (rest.len > 0)
			bytes_skip(&rest, 1);
		for (int i = 0; i < 3; i++) {
			bytes_skip(&path, bytes_find(path, ' '));
			if (path.len > 0)
				bytes_skip(&path, 1);
		}
		if (path.len > 0 && path.ptr[0] != '/' && map_get(&mbox->files, path) == NULL)
			unlinkat(mbox->root, arena_string(mbox->arena, path), 0);
	}
}

static int mbox_finish(
	struct target *target, const struct bytes *subscriptions, size_t count, struct error *error)
{
	struct mbox_target *mbox = mbox_of(target);
	struct buffer text = { 0 };
	int rc;

	for (size_t i = 0; i < count; i++) {
		maildir_folder_encode(subscriptions[i], '/', &text);
		buffer_append_byte(&text, '\n');
	}
	rc = file_write(mbox, ".subscriptions", buffer_bytes(&text), error);
	buffer_deinit(&text);
	if (rc < 0)
		return rc;
	old_files_remove(mbox);
	return file_write(mbox, STATE_FILE, buffer_bytes(&mbox->state), error);
}

static void mbox_free(struct target *target)
{
	struct mbox_target *mbox = mbox_of(target);

	if (mbox->file != NULL)
		fclose(mbox->file);
	if (mbox->root != -1)
		close(mbox->root);
	map_deinit(&mbox->files);
	map_deinit(&mbox->old);
	buffer_deinit(&mbox->state);
	buffer_deinit(&mbox->raw);
	buffer_deinit(&mbox->lines);
	buffer_deinit(&mbox->restored);
	arena_free(&mbox->arena);
	free(mbox->path);
	free(mbox);
}

static const struct target_class mbox_class = {
	.open = mbox_open,
	.mailbox_begin = mbox_begin,
	.message = mbox_message,
	.mailbox_end = mbox_end,
	.finish = mbox_finish,
	.free = mbox_free,
};

struct target *mbox_write_new(const char *path)
{
	struct mbox_target *mbox = mem_zalloc(sizeof(*mbox));

	mbox->target.class = &mbox_class;
	mbox->path = mem_strdup(path);
	mbox->root = -1;
	mbox->arena = arena_new();
	return &mbox->target;
}
