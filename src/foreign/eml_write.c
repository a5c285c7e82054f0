#include "foreign/eml_write.h"

#include "base/error.h"
#include "base/map.h"
#include "base/mem.h"
#include "foreign/files.h"
#include "foreign/maildir_files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NAME_TAKEN_MAX 1000

struct eml_target {
	struct target target;
	char *path;
	int root, folder; /* -1: not open */
	struct arena *arena;
	struct map folders; /* taken by mailboxes of this run */
	struct buffer body;
};

static struct eml_target *eml_of(struct target *target)
{
	return (struct eml_target *)target;
}

static int failed(struct error *error, const char *what)
{
	return error_set_errno(error, error_from_errno(errno), errno, "%s", what);
}

static int entry_found(void *context, const char *name)
{
	(void)context;
	(void)name;
	return 1;
}

static int eml_open(struct target *target, struct error *error)
{
	struct eml_target *eml = eml_of(target);
	int rc;

	if (mkdir(eml->path, 0700) == -1 && errno != EEXIST)
		return failed(error, eml->path);
	rc = files_open_root(eml->path, &eml->root, error);
	if (rc < 0)
		return rc;
	rc = files_each(eml->root, bytes_of(NULL, 0), false, entry_found, NULL);
	if (rc == 1)
		return error_set(error, ERR_EXISTS, "%s is not empty", eml->path);
	return rc < 0 ? error_set(error, rc, "%s cannot be read", eml->path) : 0;
}

/* ---- a mailbox ---- */

static bool ends_in_eml(struct bytes level)
{
	return level.len >= 4 &&
	       bytes_equal_string_nocase(bytes_of(level.ptr + level.len - 4, 4), ".eml");
}

/* Levels that would be hidden, or taken for a message of the mailbox above, get a "_". */
static void folder_name(struct bytes name, struct buffer *out)
{
	struct buffer encoded = { 0 };
	struct bytes rest;

	maildir_folder_encode(name, '/', &encoded);
	rest = buffer_bytes(&encoded);
	while (rest.len > 0) {
		struct bytes level = bytes_take(&rest, bytes_find(rest, '/'));

		if (bytes_peek(level) == '.')
			buffer_append_byte(out, '_');
		buffer_append_bytes(out, level);
		if (ends_in_eml(level))
			buffer_append_byte(out, '_');
		if (rest.len > 0)
			buffer_append_byte(out, bytes_take(&rest, 1).ptr[0]);
	}
	buffer_deinit(&encoded);
}

static int folders_make(struct eml_target *eml, struct bytes path, struct error *error)
{
	struct buffer part = { 0 };
	struct bytes rest = path;
	int rc = 0;

	while (rest.len > 0 && rc == 0) {
		buffer_append_bytes(&part, bytes_take(&rest, bytes_find(rest, '/')));
		if (mkdirat(eml->root, buffer_string(&part), 0700) == -1 && errno != EEXIST)
			rc = failed(error, buffer_string(&part));
		if (rest.len > 0)
			buffer_append_bytes(&part, bytes_take(&rest, 1));
	}
	buffer_deinit(&part);
	return rc;
}

static int eml_mailbox_begin(
	struct target *target, const struct mailbox_record *mailbox, struct error *error)
{
	struct eml_target *eml = eml_of(target);
	struct buffer path = { 0 };
	struct bytes chosen;
	int tries = 0, rc;

	folder_name(mailbox->name, &path);
	while (map_get(&eml->folders, buffer_bytes(&path)) != NULL && tries++ < NAME_TAKEN_MAX)
		buffer_append_byte(&path, '_');
	chosen = arena_copy(eml->arena, buffer_bytes(&path));
	buffer_deinit(&path);
	if (tries > NAME_TAKEN_MAX)
		return error_set(error, ERR_INVALID, "no folder can be called so");
	map_put(&eml->folders, chosen, eml);
	rc = folders_make(eml, chosen, error);
	if (rc == 0 && files_open_folder(eml->root, chosen, &eml->folder) < 0)
		rc = error_set(
			error, ERR_IO, "the folder %.*s cannot be opened", BYTES_ARGS(chosen));
	return rc;
}

/* ---- messages ---- */

static int body_write(int fd, struct bytes body)
{
	while (body.len > 0) {
		ssize_t done = write(fd, body.ptr, body.len);

		if (done == -1 && errno == EINTR)
			continue;
		if (done == -1)
			return -1;
		bytes_skip(&body, (size_t)done);
	}
	return 0;
}

static int eml_message(struct target *target, const struct message_record *message,
	const struct export_body *body, struct export_counts *counts, struct error *error)
{
	struct eml_target *eml = eml_of(target);
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
		{ .tv_sec = message->internaldate } };
	char name[32];
	int fd, rc;

	buffer_clear(&eml->body);
	rc = body->read(body->context, &eml->body, error);
	if (rc < 0)
		return rc;
	snprintf(name, sizeof(name), "%" PRIu32 ".eml", message->uid);
	fd = openat(eml->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd == -1)
		return failed(error, name);
	if (body_write(fd, buffer_bytes(&eml->body)) == -1 || futimens(fd, times) == -1)
		rc = failed(error, name);
	if (close(fd) == -1 && rc == 0)
		rc = failed(error, name);
	counts->new_count++;
	counts->new_bytes += eml->body.len;
	return rc;
}

static int eml_mailbox_end(struct target *target, struct export_counts *counts, struct error *error)
{
	struct eml_target *eml = eml_of(target);

	(void)counts;
	(void)error;
	close(eml->folder);
	eml->folder = -1;
	return 0;
}

static int eml_finish(
	struct target *target, const struct bytes *subscriptions, size_t count, struct error *error)
{
	(void)subscriptions;
	(void)count;
	return syncfs(eml_of(target)->root) == -1 ? failed(error, "syncfs") : 0;
}

static void eml_free(struct target *target)
{
	struct eml_target *eml = eml_of(target);

	if (eml->folder != -1)
		close(eml->folder);
	if (eml->root != -1)
		close(eml->root);
	map_deinit(&eml->folders);
	arena_free(&eml->arena);
	buffer_deinit(&eml->body);
	free(eml->path);
	free(eml);
}

static const struct target_class eml_class = {
	.open = eml_open,
	.mailbox_begin = eml_mailbox_begin,
	.message = eml_message,
	.mailbox_end = eml_mailbox_end,
	.finish = eml_finish,
	.free = eml_free,
};

struct target *eml_write_new(const char *path)
{
	struct eml_target *eml = mem_zalloc(sizeof(*eml));

	eml->target.class = &eml_class;
	eml->path = mem_strdup(path);
	eml->arena = arena_new();
	eml->root = eml->folder = -1;
	return &eml->target;
}
