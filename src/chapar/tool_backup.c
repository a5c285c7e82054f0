#include "chapar/tool_backup.h"

#include "backup/backup_run.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/pack.h"
#include "chapar/tool_link.h"
#include "chapar/tool_password.h"
#include "chapar/tool_progress.h"
#include "chapar/tool_records.h"
#include "chapard/admin.h"
#include "chapard/json.h"

#include <stdlib.h>

#define PASSPHRASE_VARIABLE "CHAPAR_PASSPHRASE"
#define TARGET_PASSWORD_VARIABLE "CHAPAR_TARGET_PASSWORD"

/* ---- the target ---- */

static void wipe(struct buffer *secret)
{
	if (secret->data != NULL)
		explicit_bzero(secret->data, secret->room);
	buffer_deinit(secret);
}

/* What was given; nothing is asked for yet, unless a new one is to be encrypted. */
static int secret_take(
	const struct tool_options *options, struct buffer *passphrase, struct error *error)
{
	if (options->key_file != NULL &&
		(options->passphrase_file != NULL || options->is_encrypted))
		return error_set(
			error, ERR_INVALID, "a backup has a key file or a passphrase, not both");
	if (options->passphrase_file != NULL)
		return password_read(options->passphrase_file, passphrase, error);
	return 0;
}

/* Where it was found to be encrypted, or is to be. */
static int passphrase_ask(bool is_new, struct buffer *passphrase, struct error *error)
{
	const char *variable = getenv(PASSPHRASE_VARIABLE);

	if (variable != NULL && variable[0] != '\0') {
		buffer_append_string(passphrase, variable);
		return 0;
	}
	return is_new ? password_read(NULL, passphrase, error)
		      : password_ask("Passphrase of the backup", passphrase, error);
}

/* ---- a node that keeps it ---- */

struct target_way {
	struct tool_login login;
	struct buffer password; /* asked for once, however often it connects */
};

static void target_close(void *source_context)
{
	struct tool_link *link = source_context;

	tool_link_close(&link);
}

static int target_connect(void *context, const char *url, struct backup_source *source_r,
	void (**close_r)(void *source_context), struct error *error)
{
	struct target_way *way = context;
	/* Who we are matters to nobody there: it keeps objects, not accounts. */
	struct sync_self self = { .node = get_u64(id128_random().bytes) | 1 };
	struct tool_link *link = NULL;
	int rc = 0;

	snprintf(self.name.name, sizeof(self.name.name), "backup");
	if (way->password.len == 0)
		rc = tool_login_password(url, &way->login, &way->password, error);
	way->login.password = buffer_bytes(&way->password);
	if (rc == 0)
		rc = tool_link_open(url, &way->login, &self, &link, source_r, error);
	if (rc == 0)
		*close_r = target_close;
	return rc;
}

int tool_backup_open(const struct tool_options *options, bool create, bool is_writer,
	struct backup_repository **repository_r, struct error *error)
{
	struct buffer passphrase = { 0 };
	bool needs_secret = false;
	struct target_way way = { .login = { .password_file = options->target_password_file,
					  .variable = TARGET_PASSWORD_VARIABLE,
					  .ca_file = options->target_ca_file,
					  .pin = options->target_pin,
					  .is_without_tls = options->is_target_without_tls } };
	const struct object_way object_way = { target_connect, &way };
	struct backup_repository_options wanted = { .target = options->names[0],
		.way = &object_way,
		.is_writer = is_writer,
		.needs_secret_r = &needs_secret };
	int rc = secret_take(options, &passphrase, error);

	wanted.secret.key_file = options->key_file;
	wanted.secret.passphrase = passphrase.len > 0 ? buffer_string(&passphrase) : NULL;
	if (rc == 0)
		rc = backup_repository_open(&wanted, repository_r, error);
	if (rc == ERR_REFUSED && needs_secret) {
		*error = (struct error){ 0 };
		rc = passphrase_ask(false, &passphrase, error);
		wanted.secret.passphrase = buffer_string(&passphrase);
		if (rc == 0)
			rc = backup_repository_open(&wanted, repository_r, error);
	} else if (rc == ERR_NOT_FOUND && create) {
		*error = (struct error){ 0 };
		wanted.create = true;
		rc = options->is_encrypted && passphrase.len == 0
			     ? passphrase_ask(true, &passphrase, error)
			     : 0;
		if (passphrase.len > 0)
			wanted.secret.passphrase = buffer_string(&passphrase);
		if (rc == 0)
			rc = backup_repository_open(&wanted, repository_r, error);
	}
	wipe(&passphrase);
	wipe(&way.password);
	return rc;
}

int tool_backup_time(const struct tool_options *options, uint64_t *at_ms_r, struct error *error)
{
	int rc;

	*at_ms_r = UINT64_MAX;
	if (options->at == NULL)
		return 0;
	rc = tool_time_parse(options->at, clock_now_ms(clock_system()), at_ms_r, error);
	/* Times are told in whole seconds: a point is found by the time that it is told with. */
	if (rc == 0)
		*at_ms_r += 999;
	return rc;
}

/* ---- backup ---- */

void tool_telling_progress(void *context, const char *account, uint64_t done, uint64_t total)
{
	struct tool_telling *telling = context;
	struct buffer line = { 0 };

	admin_progress(&line, done, total, "bytes", account);
	if (line.len > 0)
		progress_line(&telling->progress, bytes_of(line.data, line.len - 1));
	buffer_deinit(&line);
}

void tool_telling_line(struct tool_telling *telling, struct buffer *line)
{
	progress_line(&telling->progress, buffer_bytes(line));
	buffer_deinit(line);
	telling->line_count++;
}

static void account_tell(void *context, const char *account, uint64_t record_count,
	uint64_t message_count, const struct error *error)
{
	struct tool_telling *telling = context;
	struct buffer line = { 0 };

	if (telling->is_json) {
		json_member_string(&line, telling->line_count == 0 ? "{\"accounts\":[{" : ",{",
			"account", bytes_of_string(account));
		json_member_number(&line, ",", "records", record_count);
		json_member_number(&line, ",", "messages", message_count);
		json_member_string(
			&line, ",", "error", bytes_of_string(error->code != 0 ? error->text : ""));
		buffer_append_byte(&line, '}');
	} else if (error->code != 0) {
		buffer_printf(&line, "%s: not done: %s", account, error->text);
	} else {
		buffer_printf(&line, "%s: %llu changes, %llu new messages", account,
			(unsigned long long)record_count, (unsigned long long)message_count);
	}
	tool_telling_line(telling, &line);
}

static void result_json(struct tool_telling *telling, const struct backup_run_result *result)
{
	struct buffer line = { 0 };

	buffer_append_string(&line, telling->line_count == 0 ? "{\"accounts\":[]" : "]");
	json_member_string(&line, ",", "point", bytes_of_string(result->point));
	json_member_number(&line, ",", "seen", result->account_count);
	json_member_number(&line, ",", "changed", result->changed_count);
	json_member_number(&line, ",", "failed", result->failed_count);
	json_member_number(&line, ",", "absent", result->absent_count);
	json_member_number(&line, ",", "records", result->record_count);
	json_member_number(&line, ",", "messages", result->message_count);
	json_member_number(&line, ",", "message-bytes", result->message_bytes);
	json_member_number(&line, ",", "missing-messages", result->missing_count);
	json_member_number(&line, ",", "written-bytes", result->written_bytes);
	json_member_number(&line, ",", "requests", result->request_count);
	buffer_append_byte(&line, '}');
	tool_telling_line(telling, &line);
}

static void result_text(struct tool_telling *telling, const struct backup_run_result *result)
{
	struct buffer line = { 0 };

	if (!result->has_point && result->failed_count == 0)
		buffer_printf(&line, "nothing new in %llu accounts",
			(unsigned long long)result->account_count);
	else
		buffer_printf(&line,
			"%llu of %llu accounts changed: %llu new messages of %llu bytes, %llu "
			"bytes written",
			(unsigned long long)result->changed_count,
			(unsigned long long)result->account_count,
			(unsigned long long)result->message_count,
			(unsigned long long)result->message_bytes,
			(unsigned long long)result->written_bytes);
	if (result->missing_count > 0)
		buffer_printf(&line, "; %llu messages were not to be had from the node",
			(unsigned long long)result->missing_count);
	tool_telling_line(telling, &line);
}

/* Beside a directory's packs; else where this user's caches are. */
static void cache_path(const struct tool_options *options,
	const struct backup_repository *repository, struct buffer *path)
{
	const char *target = options->names[0];
	const char *caches = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

	if (options->cache != NULL) {
		buffer_append_string(path, options->cache);
	} else if (strstr(target, "://") == NULL) {
		buffer_printf(path, "%s/cache", target);
	} else {
		if (caches != NULL && caches[0] == '/')
			buffer_append_string(path, caches);
		else
			buffer_printf(path, "%s/.cache", home != NULL ? home : "/var/cache");
		buffer_printf(path, "/chapar/backup-%016llx",
			(unsigned long long)get_u64(repository->id.bytes));
	}
}

struct sync_self tool_backup_self(const struct backup_repository *repository)
{
	struct sync_self self = { .node = get_u64(repository->id.bytes) | 1 };

	snprintf(self.name.name, sizeof(self.name.name), "backup");
	return self;
}

int tool_backup_source(struct node *node, const char *url, const struct tool_options *options,
	const struct sync_self *self, struct tool_link **link, struct backup_source *source,
	struct error *error)
{
	struct tool_login login = tool_login_of(options);

	return url != NULL ? tool_link_open(url, &login, self, link, source, error)
			   : node_sync(node, self, source, error);
}

int tool_backup_run(struct node *node, const struct tool_options *options, struct error *error)
{
	struct tool_telling telling = { .is_json = options->is_json };
	struct backup_run_options wanted = { .accounts = options->accounts,
		.is_whole = options->is_whole,
		.progress = tool_telling_progress,
		.tell = account_tell,
		.context = &telling };
	struct backup_run_result result = { 0 };
	struct backup_repository *repository = NULL;
	struct backup_cache *cache = NULL;
	struct backup_source source;
	struct tool_link *link = NULL;
	struct sync_self self;
	struct buffer path = { 0 };
	int rc = options->accounts != NULL ? account_filter_check(options->accounts, error) : 0;

	if (rc == 0)
		rc = tool_backup_open(options, true, true, &repository, error);
	if (rc < 0)
		return rc;
	self = tool_backup_self(repository);
	cache_path(options, repository, &path);
	rc = tool_backup_source(node, options->from, options, &self, &link, &source, error);
	if (rc == 0)
		rc = backup_cache_open(buffer_string(&path), repository, &cache, error);
	if (rc == 0) {
		progress_begin(&telling.progress, stdout);
		rc = backup_run(repository, cache, &source, &wanted, &result, error);
		if (telling.is_json)
			result_json(&telling, &result);
		else if (rc == 0 || result.first_error.code != 0)
			result_text(&telling, &result);
		progress_end(&telling.progress);
		if (rc == 0 && result.missing_count > 0)
			rc = error_set(error, ERR_CORRUPT,
				"the node does not give %llu messages that it shows (chapar verify "
				"--bodies there)",
				(unsigned long long)result.missing_count);
	}
	backup_cache_close(&cache);
	tool_link_close(&link);
	backup_repository_close(&repository);
	buffer_deinit(&path);
	return rc;
}

/* ---- which ---- */

bool tool_backup_is_bare(const struct tool_options *options)
{
	switch (options->command) {
	case TOOL_BACKUP:
		return options->from != NULL;
	case TOOL_RESTORE:
		return options->into != NULL;
	case TOOL_BACKUP_LIST:
	case TOOL_BACKUP_PRUNE:
	case TOOL_BACKUP_VERIFY:
		return true;
	default:
		return false;
	}
}

int tool_backup(struct node *node, const struct tool_options *options, struct error *error)
{
	switch (options->command) {
	case TOOL_BACKUP:
		return tool_backup_run(node, options, error);
	case TOOL_RESTORE:
		return tool_restore(node, options, error);
	case TOOL_BACKUP_PRUNE:
		return tool_backup_prune(options, error);
	case TOOL_BACKUP_VERIFY:
		return tool_backup_verify(options, error);
	default:
		return tool_backup_list(options, error);
	}
}
