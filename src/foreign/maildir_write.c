#include "foreign/maildir_write.h"

#include "base/encode.h"
#include "base/error.h"
#include "base/map.h"
#include "base/mem.h"
#include "foreign/files.h"
#include "foreign/maildir_files.h"
#include "foreign/source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STATE_FILE "chapar-export"
#define STATE_FILE_SIZE_MAX ((uint64_t)64 << 20)
#define NAME_TAKEN_MAX 1000 /* tries to find another folder name */

struct existing {          /* a message's file */
	struct bytes name; /* "cur/..." */
	bool is_wanted;
};

struct maildir_target {
	struct target target;
	char *path;
	bool is_fs;
	int root; /* -1: not open */

	struct arena *arena;    /* of the whole run */
	struct map folders;     /* written in this run */
	struct buffer state;    /* what STATE_FILE will hold */
	struct bytes old_state; /* and what it held */

	/* Of the mailbox under way. */
	int folder; /* -1: none */
	struct arena *scratch;
	struct map existing; /* by the message's name up to the sizes */
	struct existing **all;
	size_t existing_count, existing_room;
	struct maildir_keywords keywords;
	struct buffer list; /* lines of dovecot-uidlist */
	struct mailbox_record mailbox;
	uint32_t uidnext;
	struct buffer raw, body, name;
};

static struct maildir_target *maildir_of(struct target *target)
{
	return (struct maildir_target *)target;
}

static int failed(struct error *error, const char *what)
{
	return error_set_errno(error, error_from_errno(errno), errno, "%s", what);
}

/* ---- files ---- */

static int file_write(int folder, const char *name, struct bytes text, struct error *error)
{
	char path[300];
	int fd, rc = 0;

	snprintf(path, sizeof(path), "%s.new", name);
	fd = openat(folder, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1)
		return failed(error, name);
	while (text.len > 0 && rc == 0) {
		ssize_t written = write(fd, text.ptr, text.len);

		if (written < 0 && errno != EINTR)
			rc = failed(error, name);
		else if (written > 0)
			bytes_skip(&text, (size_t)written);
	}
	if (rc == 0 && fsync(fd) == -1)
		rc = failed(error, name);
	close(fd);
	if (rc == 0 && renameat(folder, path, folder, name) == -1)
		rc = failed(error, name);
	return rc;
}

static int folder_make(int at, const char *path, struct error *error)
{
	return mkdirat(at, path, 0700) == 0 || errno == EEXIST ? 0 : failed(error, path);
}

static int maildir_open(struct target *target, struct error *error)
{
	struct maildir_target *maildir = maildir_of(target);
	struct buffer text = { 0 };
	int rc = folder_make(AT_FDCWD, maildir->path, error);

	if (rc == 0)
		rc = files_open_root(maildir->path, &maildir->root, error);
	if (rc < 0)
		return rc;
	rc = files_read(maildir->root, STATE_FILE, STATE_FILE_SIZE_MAX, &text);
	maildir->old_state = arena_copy(maildir->arena, buffer_bytes(&text));
	buffer_deinit(&text);
	if (rc == ERR_NOT_FOUND && faccessat(maildir->root, "cur", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return error_set(error, ERR_EXISTS,
			"%s is a Maildir already, and not from an export", maildir->path);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* ---- a folder ---- */

/* A level of a name that would be taken for something else. */
static bool is_reserved(struct bytes level)
{
	static const char *const names[] = { "cur", "new", "tmp", "INBOX" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (bytes_equal_string(level, names[i]))
			return true;
	return bytes_peek(level) == '.' || bytes_peek(level) == '~' || level.len == 0;
}

static void folder_name(const struct maildir_target *maildir, struct bytes name, struct buffer *out)
{
	struct buffer encoded = { 0 };
	struct bytes rest;

	if (bytes_equal_string(name, "INBOX"))
		return;
	maildir_folder_encode(name, maildir->is_fs ? '/' : '.', &encoded);
	rest = buffer_bytes(&encoded);
	if (!maildir->is_fs) {
		buffer_append_byte(out, '.');
		buffer_append_bytes(out, rest);
	}
	while (maildir->is_fs && rest.len > 0) {
		struct bytes level = bytes_take(&rest, bytes_find(rest, '/'));

		if (is_reserved(level))
			buffer_append_byte(out, '_');
		buffer_append_bytes(out, level);
		if (rest.len > 0)
			buffer_append_byte(out, bytes_take(&rest, 1).ptr[0]);
	}
	buffer_deinit(&encoded);
}

/* Two mailboxes whose names the format cannot tell apart do not share a folder. */
static int folder_choose(struct maildir_target *maildir, struct bytes name, struct bytes *path_r,
	struct error *error)
{
	struct buffer path = { 0 };
	struct bytes chosen;
	int tries = 0;

	folder_name(maildir, name, &path);
	while (map_get(&maildir->folders, buffer_bytes(&path)) != NULL && tries++ < NAME_TAKEN_MAX)
		buffer_append_byte(&path, '_');
	chosen = arena_copy(maildir->arena, buffer_bytes(&path));
	map_put(&maildir->folders, chosen, maildir);
	buffer_deinit(&path);
	*path_r = chosen;
	return tries < NAME_TAKEN_MAX ? 0
				      : error_set(error, ERR_INVALID, "no folder can be called so");
}

static int folder_enter(struct maildir_target *maildir, struct bytes path, struct error *error)
{
	static const char *const below[] = { "cur", "new", "tmp" };
	struct buffer part = { 0 };
	struct bytes rest = path;
	int rc = 0;

	while (rest.len > 0 && rc == 0) {
		buffer_append_bytes(&part, bytes_take(&rest, bytes_find(rest, '/')));
		rc = folder_make(maildir->root, buffer_string(&part), error);
		if (rest.len > 0)
			buffer_append_bytes(&part, bytes_take(&rest, 1));
	}
	buffer_deinit(&part);
	if (rc == 0 && files_open_folder(maildir->root, path, &maildir->folder) < 0)
		rc = error_set(error, ERR_IO, "the folder %.*s cannot be opened", BYTES_ARGS(path));
	for (size_t i = 0; i < 3 && rc == 0; i++)
		rc = folder_make(maildir->folder, below[i], error);
	if (rc == 0 && path.len > 0 && !maildir->is_fs)
		rc = file_write(maildir->folder, "maildirfolder", bytes_of(NULL, 0), error);
	return rc;
}

/* ---- what is there already ---- */

/* The part that an export gives for ever: without sizes and flags. */
static struct bytes stem_of(struct bytes file)
{
	file.len = bytes_find(file, ':');
	file.len = bytes_find(file, ',');
	return file;
}

static bool is_ours(struct bytes stem)
{
	static const struct bytes end = BYTES_LITERAL(".chapar");

	return stem.len > end.len &&
	       bytes_equal(bytes_of(stem.ptr + stem.len - end.len, end.len), end);
}

/* A file that a crash has left short is not there. */
static bool is_whole(const struct maildir_target *maildir, const char *name, struct bytes file)
{
	struct stat info;
	unsigned long long size = 0;
	char text[300];
	const char *at;

	snprintf(text, sizeof(text), "%.*s", BYTES_ARGS(file));
	at = strstr(text, ",S=");
	if (at == NULL || fstatat(maildir->folder, name, &info, AT_SYMLINK_NOFOLLOW) == -1)
		return false;
	size = strtoull(at + 3, NULL, 10);
	return S_ISREG(info.st_mode) && (unsigned long long)info.st_size == size;
}

struct looking {
	struct maildir_target *maildir;
	const char *below;
};

static int existing_add(void *context, const char *file)
{
	struct looking *looking = context;
	struct maildir_target *maildir = looking->maildir;
	const char *name = arena_printf(maildir->scratch, "%s/%s", looking->below, file);
	struct existing *existing;
	struct bytes bare = bytes_of_string(name);

	bytes_skip(&bare, 4);
	if (!is_ours(stem_of(bare)))
		return 0;
	existing = arena_zalloc(maildir->scratch, sizeof(*existing));
	existing->name = bytes_of_string(name);
	mem_grow((void **)&maildir->all, &maildir->existing_room, maildir->existing_count + 1,
		sizeof(*maildir->all));
	maildir->all[maildir->existing_count++] = existing;
	if (is_whole(maildir, name, bare))
		map_put(&maildir->existing, stem_of(bare), existing);
	return 0;
}

static int existing_read(struct maildir_target *maildir, struct error *error)
{
	static const char *const below[] = { "new", "cur" };
	struct looking looking = { .maildir = maildir };
	int rc = 0;

	map_deinit(&maildir->existing);
	maildir->existing_count = 0;
	for (size_t i = 0; i < 2 && rc == 0; i++) {
		looking.below = below[i];
		rc = files_each(
			maildir->folder, bytes_of_string(below[i]), true, existing_add, &looking);
	}
	return rc < 0 ? error_set(error, rc, "the folder cannot be read: %s", error_name(rc)) : 0;
}

static void keywords_read(struct maildir_target *maildir)
{
	struct buffer text = { 0 };

	maildir->keywords = (struct maildir_keywords){ 0 };
	if (files_read(maildir->folder, "dovecot-keywords", STATE_FILE_SIZE_MAX, &text) == 0)
		maildir_keywords_parse(
			arena_copy(maildir->scratch, buffer_bytes(&text)), &maildir->keywords);
	buffer_deinit(&text);
}

static void mailbox_leave(struct maildir_target *maildir)
{
	if (maildir->folder != -1)
		close(maildir->folder);
	maildir->folder = -1;
	map_deinit(&maildir->existing);
	arena_reset(maildir->scratch);
	buffer_clear(&maildir->list);
}

static int maildir_begin(
	struct target *target, const struct mailbox_record *mailbox, struct error *error)
{
	struct maildir_target *maildir = maildir_of(target);
	struct bytes path;
	int rc;

	mailbox_leave(maildir);
	maildir->mailbox = *mailbox;
	maildir->uidnext = mailbox->uidnext;
	rc = folder_choose(maildir, mailbox->name, &path, error);
	if (rc == 0)
		rc = folder_enter(maildir, path, error);
	if (rc == 0)
		rc = existing_read(maildir, error);
	if (rc < 0)
		return rc;
	buffer_append_bytes(&maildir->state, path);
	buffer_append_byte(&maildir->state, '\n');
	keywords_read(maildir);
	return 0;
}

/* ---- messages ---- */

/* 'a' to 'z', or 0: there is no letter left. */
static int keyword_letter(struct maildir_target *maildir, struct bytes name)
{
	size_t free_at = MAILDIR_KEYWORD_COUNT;

	for (size_t i = 0; i < MAILDIR_KEYWORD_COUNT; i++) {
		if (bytes_equal(maildir->keywords.names[i], name))
			return 'a' + (int)i;
		if (maildir->keywords.names[i].len == 0 && free_at == MAILDIR_KEYWORD_COUNT)
			free_at = i;
	}
	if (free_at == MAILDIR_KEYWORD_COUNT)
		return 0;
	maildir->keywords.names[free_at] = arena_copy(maildir->scratch, name);
	return 'a' + (int)free_at;
}

static int letter_order(const void *left, const void *right)
{
	return *(const char *)left - *(const char *)right;
}

/* Letters of flags, in order. */
static void letters_write(struct maildir_target *maildir, const struct message_record *message,
	struct buffer *out, struct export_counts *counts)
{
	static const struct {
		const char *name;
		int letter;
	} rows[] = {
		{ "\\Draft", 'D' },
		{ "\\Flagged", 'F' },
		{ "\\Answered", 'R' },
		{ "\\Seen", 'S' },
		{ "\\Deleted", 'T' },
	};
	size_t begin = out->len;

	for (size_t i = 0; i < message->flag_count; i++) {
		struct bytes name = message->flags[i].name;
		int letter = 0;

		if (!message->flags[i].is_set)
			continue;
		for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++)
			if (bytes_equal_string(name, rows[k].name))
				letter = rows[k].letter;
		if (letter == 0 && bytes_peek(name) != '\\') {
			letter = keyword_letter(maildir, name);
			counts->unnamed_count += letter == 0;
		}
		if (letter != 0)
			buffer_append_byte(out, letter);
	}
	if (out->len > begin)
		qsort(out->data + begin, out->len - begin, 1, letter_order);
}

static struct bytes stem_make(struct maildir_target *maildir, const struct message_record *message)
{
	buffer_clear(&maildir->name);
	buffer_printf(&maildir->name, "%" PRId64 ".I%" PRIx64 "N%016" PRIx64 ".chapar",
		message->internaldate < 0 ? 0 : message->internaldate, message->instance.modseq,
		message->instance.node);
	return buffer_bytes(&maildir->name);
}

/* LF at the ends of lines, if CRLF comes from that again; else as it is. */
static struct bytes stored_form(struct maildir_target *maildir)
{
	struct bytes raw = buffer_bytes(&maildir->raw);

	buffer_clear(&maildir->body);
	buffer_reserve(&maildir->body, raw.len);
	while (raw.len > 0) {
		size_t len = bytes_find(raw, '\n');
		struct bytes line = bytes_take(&raw, len);

		if (raw.len > 0) {
			if (len == 0 || line.ptr[len - 1] != '\r' ||
				(len > 1 && line.ptr[len - 2] == '\r'))
				return buffer_bytes(&maildir->raw);
			line.len--;
			bytes_skip(&raw, 1);
			buffer_append_bytes(&maildir->body, line);
			buffer_append_byte(&maildir->body, '\n');
		} else {
			buffer_append_bytes(&maildir->body, line);
		}
	}
	return buffer_bytes(&maildir->body);
}

static int body_write(struct maildir_target *maildir, const char *path, struct bytes text,
	int64_t date, struct error *error)
{
	struct timespec times[2] = { { .tv_sec = date }, { .tv_sec = date } };
	int fd, rc = 0;

	unlinkat(maildir->folder, path, 0); /* of a run that was interrupted */
	fd = openat(maildir->folder, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd == -1)
		return failed(error, path);
	while (text.len > 0 && rc == 0) {
		ssize_t written = write(fd, text.ptr, text.len);

		if (written < 0 && errno != EINTR)
			rc = failed(error, path);
		else if (written > 0)
			bytes_skip(&text, (size_t)written);
	}
	if (rc == 0 && futimens(fd, times) == -1)
		rc = failed(error, path);
	if (close(fd) == -1 && rc == 0)
		rc = failed(error, path);
	return rc;
}

/* maildir->name holds the stem; becomes "STEM,S=..,W=..:2,FLAGS". */
static int message_new(struct maildir_target *maildir, const struct message_record *message,
	const struct export_body *body, struct bytes letters, struct export_counts *counts,
	struct error *error)
{
	struct buffer from = { 0 }, to = { 0 };
	struct bytes text;
	int rc;

	buffer_clear(&maildir->raw);
	rc = body->read(body->context, &maildir->raw, error);
	if (rc < 0)
		return rc;
	text = stored_form(maildir);
	buffer_printf(&maildir->name, ",S=%zu,W=%zu", text.len, maildir->raw.len);
	buffer_printf(&from, "tmp/%s", buffer_string(&maildir->name));
	buffer_printf(&to, "cur/%s:2,%.*s", buffer_string(&maildir->name), BYTES_ARGS(letters));
	rc = body_write(maildir, buffer_string(&from), text, message->internaldate, error);
	if (rc == 0 && renameat(maildir->folder, buffer_string(&from), maildir->folder,
			       buffer_string(&to)) == -1)
		rc = failed(error, buffer_string(&to));
	counts->new_count++;
	counts->new_bytes += maildir->raw.len;
	buffer_deinit(&from);
	buffer_deinit(&to);
	return rc;
}

/* It is there: perhaps with other flags. */
static int message_keep(struct maildir_target *maildir, struct existing *existing,
	struct bytes letters, struct export_counts *counts, struct error *error)
{
	struct buffer to = { 0 };
	struct bytes base = existing->name;
	int rc = 0;

	existing->is_wanted = true;
	bytes_skip(&base, 4);
	base.len = bytes_find(base, ':');
	buffer_clear(&maildir->name);
	buffer_append_bytes(&maildir->name, base);
	buffer_printf(&to, "cur/%.*s:2,%.*s", BYTES_ARGS(base), BYTES_ARGS(letters));
	if (!bytes_equal(buffer_bytes(&to), existing->name)) {
		if (renameat(maildir->folder, (const char *)existing->name.ptr, maildir->folder,
			    buffer_string(&to)) == -1)
			rc = failed(error, buffer_string(&to));
		counts->changed_count++;
	}
	buffer_deinit(&to);
	return rc;
}

static int maildir_message(struct target *target, const struct message_record *message,
	const struct export_body *body, struct export_counts *counts, struct error *error)
{
	struct maildir_target *maildir = maildir_of(target);
	struct buffer letters = { 0 };
	struct existing *existing;
	int rc;

	letters_write(maildir, message, &letters, counts);
	existing = map_get(&maildir->existing, stem_make(maildir, message));
	rc = existing != NULL
		     ? message_keep(maildir, existing, buffer_bytes(&letters), counts, error)
		     : message_new(maildir, message, body, buffer_bytes(&letters), counts, error);
	if (rc == 0)
		buffer_printf(&maildir->list, "%" PRIu32 " :%s:2,%s\n", message->uid,
			buffer_string(&maildir->name), buffer_string(&letters));
	if (message->uid >= maildir->uidnext)
		maildir->uidnext = message->uid + 1;
	buffer_deinit(&letters);
	return rc;
}

/* ---- the end ---- */

static int lists_write(struct maildir_target *maildir, struct error *error)
{
	struct buffer text = { 0 };
	int rc;

	buffer_printf(&text, "3 V%" PRIu32 " N%" PRIu32 " G", maildir->mailbox.uidvalidity,
		maildir->uidnext);
	encode_hex(&text, bytes_of(maildir->mailbox.id.bytes, sizeof(maildir->mailbox.id.bytes)));
	buffer_append_byte(&text, '\n');
	buffer_append_bytes(&text, buffer_bytes(&maildir->list));
	/* The list must not name what a power cut could take away. */
	rc = syncfs(maildir->folder) == -1 ? failed(error, "syncfs") : 0;
	if (rc == 0)
		rc = file_write(maildir->folder, "dovecot-uidlist", buffer_bytes(&text), error);
	buffer_clear(&text);
	for (size_t i = 0; i < MAILDIR_KEYWORD_COUNT; i++)
		if (maildir->keywords.names[i].len > 0)
			buffer_printf(
				&text, "%zu %.*s\n", i, BYTES_ARGS(maildir->keywords.names[i]));
	if (rc == 0 && text.len > 0)
		rc = file_write(maildir->folder, "dovecot-keywords", buffer_bytes(&text), error);
	buffer_deinit(&text);
	return rc;
}

static int unwanted_remove(
	struct maildir_target *maildir, struct export_counts *counts, struct error *error)
{
	for (size_t i = 0; i < maildir->existing_count; i++) {
		const char *name = (const char *)maildir->all[i]->name.ptr;

		if (maildir->all[i]->is_wanted)
			continue;
		/* One that was short has its new file under the same name, perhaps. */
		if (!is_whole(maildir, name, bytes_of_string(name)) ||
			map_get(&maildir->existing, stem_of(bytes_of_string(name + 4))) ==
				maildir->all[i]) {
			if (unlinkat(maildir->folder, name, 0) == -1 && errno != ENOENT)
				return failed(error, name);
			counts->removed_count++;
		}
	}
	return 0;
}

static int maildir_end(struct target *target, struct export_counts *counts, struct error *error)
{
	struct maildir_target *maildir = maildir_of(target);
	int rc = unwanted_remove(maildir, counts, error);

	if (rc == 0)
		rc = lists_write(maildir, error);
	mailbox_leave(maildir);
	return rc;
}

static int server_file_remove(void *context, const char *name)
{
	const struct maildir_target *maildir = context;

	if (strncmp(name, "dovecot", 7) == 0 || strcmp(name, "maildirfolder") == 0)
		unlinkat(maildir->folder, name, 0);
	return 0;
}

/* A folder of an earlier run whose mailbox is no more: our files go, and, if there are no others,
 * what a server has noted about them, and the folder. */
static void old_folder_remove(struct maildir_target *maildir, struct bytes path)
{
	static const char *const below[] = { "cur", "new", "tmp" };
	struct error ignored = { 0 };
	bool is_empty = true;

	if (files_open_folder(maildir->root, path, &maildir->folder) < 0)
		return;
	if (existing_read(maildir, &ignored) == 0)
		for (size_t i = 0; i < maildir->existing_count; i++)
			unlinkat(maildir->folder, (const char *)maildir->all[i]->name.ptr, 0);
	for (size_t i = 0; i < 3; i++)
		is_empty &= unlinkat(maildir->folder, below[i], AT_REMOVEDIR) == 0;
	if (is_empty)
		(void)files_each(
			maildir->folder, bytes_of(NULL, 0), true, server_file_remove, maildir);
	mailbox_leave(maildir);
	if (is_empty)
		unlinkat(maildir->root, arena_string(maildir->arena, path), AT_REMOVEDIR);
}

static void old_folders_remove(struct maildir_target *maildir)
{
	struct bytes rest = maildir->old_state;

	while (rest.len > 0) {
		struct bytes line = bytes_take(&rest, bytes_find(rest, '\n'));

		if (rest.len > 0)
			bytes_skip(&rest, 1);
		if (line.len > 0 && map_get(&maildir->folders, line) == NULL)
			old_folder_remove(maildir, line);
	}
}

/* Version 2: levels in modified UTF-7, with tabs between them. */
static int subscriptions_write(struct maildir_target *maildir, const struct bytes *subscriptions,
	size_t count, struct error *error)
{
	struct buffer text = { 0 };
	int rc;

	buffer_append_string(&text, "V\t2\n\n");
	for (size_t i = 0; i < count; i++) {
		maildir_folder_encode(subscriptions[i], '\t', &text);
		buffer_append_byte(&text, '\n');
	}
	rc = file_write(maildir->root, "subscriptions", buffer_bytes(&text), error);
	buffer_deinit(&text);
	return rc;
}

static int maildir_finish(
	struct target *target, const struct bytes *subscriptions, size_t count, struct error *error)
{
	struct maildir_target *maildir = maildir_of(target);
	int rc = subscriptions_write(maildir, subscriptions, count, error);

	if (rc < 0)
		return rc;
	old_folders_remove(maildir);
	return file_write(maildir->root, STATE_FILE, buffer_bytes(&maildir->state), error);
}

static void maildir_free(struct target *target)
{
	struct maildir_target *maildir = maildir_of(target);

	mailbox_leave(maildir);
	if (maildir->root != -1)
		close(maildir->root);
	map_deinit(&maildir->folders);
	free(maildir->all);
	buffer_deinit(&maildir->state);
	buffer_deinit(&maildir->list);
	buffer_deinit(&maildir->raw);
	buffer_deinit(&maildir->body);
	buffer_deinit(&maildir->name);
	arena_free(&maildir->arena);
	arena_free(&maildir->scratch);
	free(maildir->path);
	free(maildir);
}

static const struct target_class maildir_class = {
	.open = maildir_open,
	.mailbox_begin = maildir_begin,
	.message = maildir_message,
	.mailbox_end = maildir_end,
	.finish = maildir_finish,
	.free = maildir_free,
};

struct target *maildir_write_new(const char *path, bool is_fs)
{
	struct maildir_target *maildir = mem_zalloc(sizeof(*maildir));

	maildir->target.class = &maildir_class;
	maildir->path = mem_strdup(path);
	maildir->is_fs = is_fs;
	maildir->root = maildir->folder = -1;
	maildir->arena = arena_new();
	maildir->scratch = arena_new();
	return &maildir->target;
}
