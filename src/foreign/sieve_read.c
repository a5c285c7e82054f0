#include "foreign/sieve_read.h"

#include "base/mem.h"
#include "foreign/files.h"
#include "mail/script.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define SCRIPT_COUNT_MAX 1000
#define SINGLE_NAME "dovecot" /* of a .dovecot.sieve that is no link */

struct sieve {
	struct source source;
	char *path, *name;
	int root; /* -1: not open */
};

static struct sieve *sieve_of(struct source *source)
{
	return (struct sieve *)source;
}

static int sieve_open(struct source *source, struct error *error)
{
	struct sieve *sieve = sieve_of(source);

	return files_open_root(sieve->path, &sieve->root, error);
}

static int sieve_list(
	struct source *source, struct arena *arena, struct source_list *list_r, struct error *error)
{
	(void)source;
	(void)arena;
	(void)error;
	*list_r = (struct source_list){ 0 };
	return 0;
}

/* There are no mailboxes, so this is never called. */
static int sieve_read(struct source *source, const struct source_mailbox *mailbox,
	const struct source_point *since, struct arena *arena, struct source_state *state_r,
	struct error *error)
{
	(void)source;
	(void)mailbox;
	(void)since;
	(void)arena;
	(void)state_r;
	return error_set(error, ERR_INVALID, "scripts are no mailboxes");
}

static int sieve_bodies(struct source *source, const struct source_message *messages, size_t count,
	source_body_function *function, void *context, struct error *error)
{
	(void)source;
	(void)messages;
	(void)count;
	(void)function;
	(void)context;
	return error_set(error, ERR_INVALID, "scripts are no messages");
}

static void sieve_free(struct source *source)
{
	struct sieve *sieve = sieve_of(source);

	if (sieve->root != -1)
		close(sieve->root);
	free(sieve->path);
	free(sieve->name);
	free(sieve);
}

/* ---- scripts ---- */

struct reading {
	struct sieve *sieve;
	struct arena *arena;
	struct source_extras *extras;
	const char *below; /* a folder with '/' behind it, or "" */
};

static bool end_take(struct bytes *file, const char *end)
{
	size_t len = strlen(end);

	if (file->len <= len ||
		!bytes_equal_string(bytes_of(file->ptr + file->len - len, len), end))
		return false;
	file->len -= len;
	return true;
}

static int script_add(struct reading *reading, const char *path, struct bytes name)
{
	struct buffer text = { 0 };
	int rc = files_read(reading->sieve->root, path, (uint64_t)1 << 20, &text);

	/* One that is too large for us is told as left out. */
	if (rc == 0)
		source_extra_add(reading->extras, IMPORT_SCRIPTS, reading->arena,
			arena_copy(reading->arena, name),
			arena_copy(reading->arena, buffer_bytes(&text)));
	buffer_deinit(&text);
	return rc == ERR_NOT_FOUND || rc == ERR_TOO_LARGE || rc == ERR_REFUSED ? 0 : rc;
}

static int file_look(void *context, const char *file)
{
	struct reading *reading = context;
	struct bytes name = bytes_of_string(file);

	if (!end_take(&name, ".sieve") && !end_take(&name, ".script"))
		return 0;
	if (reading->extras->of[IMPORT_SCRIPTS].count >= SCRIPT_COUNT_MAX)
		return ERR_TOO_LARGE;
	return script_add(
		reading, arena_printf(reading->arena, "%s%s", reading->below, file), name);
}

/* What a link points at: the name of the active script. */
static bool active_look(struct reading *reading, const char *link)
{
	char target[PATH_MAX];
	ssize_t len = readlinkat(reading->sieve->root, link, target, sizeof(target));
	struct bytes name = bytes_of(target, len > 0 ? (size_t)len : 0);

	while (bytes_find(name, '/') < name.len)
		bytes_skip(&name, bytes_find(name, '/') + 1);
	if (!end_take(&name, ".sieve") && !end_take(&name, ".script") && !end_take(&name, ".bc"))
		return false;
	source_extra_add(reading->extras, IMPORT_SCRIPTS, reading->arena, bytes_of(NULL, 0),
		arena_copy(reading->arena, name));
	return true;
}

static int active_find(struct reading *reading)
{
	size_t before = reading->extras->of[IMPORT_SCRIPTS].count;
	int rc;

	if (active_look(reading, ".dovecot.sieve") || active_look(reading, "defaultbc"))
		return 0;
	rc = script_add(reading, ".dovecot.sieve", BYTES_LITERAL(SINGLE_NAME));
	if (rc == 0 && reading->extras->of[IMPORT_SCRIPTS].count > before)
		source_extra_add(reading->extras, IMPORT_SCRIPTS, reading->arena, bytes_of(NULL, 0),
			BYTES_LITERAL(SINGLE_NAME));
	return rc;
}

static int sieve_extras(struct source *source, const struct source_mailbox *mailbox,
	struct arena *arena, struct source_extras *extras_r, struct error *error)
{
	static const char *const folders[] = { "", "sieve/" };
	struct reading reading = { sieve_of(source), arena, extras_r, "" };
	int rc = 0;

	(void)mailbox;
	extras_r->of[IMPORT_SCRIPTS].is_told = true;
	for (size_t i = 0; i < 2 && rc == 0; i++) {
		struct bytes path = bytes_of_string(folders[i]);

		reading.below = folders[i];
		path.len -= path.len > 0;
		rc = files_each(reading.sieve->root, path, true, file_look, &reading);
		if (rc == ERR_NOT_FOUND && i > 0)
			rc = 0;
	}
	if (rc == 0)
		rc = active_find(&reading);
	return rc < 0 ? error_set(error, rc, "the scripts below %s cannot be read: %s",
				reading.sieve->path, error_name(rc))
		      : 0;
}

static const struct source_class sieve_class = {
	.open = sieve_open,
	.list = sieve_list,
	.read = sieve_read,
	.bodies = sieve_bodies,
	.extras = sieve_extras,
	.free = sieve_free,
};

struct source *sieve_read_new(const char *path)
{
	struct sieve *sieve = mem_zalloc(sizeof(*sieve));
	struct buffer name = { 0 };

	buffer_printf(&name, "sieve:%s", path);
	sieve->source.class = &sieve_class;
	sieve->path = mem_strdup(path);
	sieve->name = mem_strdup(buffer_string(&name));
	sieve->source.name = sieve->name;
	sieve->root = -1;
	buffer_deinit(&name);
	return &sieve->source;
}
