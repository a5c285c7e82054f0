#include "chapar/tool_backup.h"

#include "backup/backup_restore.h"
#include "backup/backup_run.h"
#include "base/clock.h"
#include "base/pack.h"
#include "chapar/tool_link.h"
#include "chapar/tool_password.h"
#include "chapar/tool_progress.h"
#include "chapar/tool_records.h"
#include "chapard/admin.h"
#include "chapard/json.h"
#include "sync/wire.h"

#include <stdlib.h>

#define PASSPHRASE_VARIABLE "CHAPAR_PASSPHRASE"

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

int tool_backup_open(const struct tool_options *options, bool create, bool is_writer,
	struct backup_repository **repository_r, struct error *error)
{
	struct buffer passphrase = { 0 };
	bool needs_secret = false;
	struct backup_repository_options wanted = {
		.target = options->names[0], .is_writer = is_writer, .needs_secret_r = &needs_secret
	};
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

struct telling {
	struct tool_progress progress;
	bool is_json;
	uint64_t line_count;
};

static void progress_tell(void *context, const char *account, uint64_t done, uint64_t total)
{
	struct telling *telling = context;
	struct buffer line = { 0 };

	admin_progress(&line, done, total, "bytes", account);
	if (line.len > 0)
		progress_line(&telling->progress, bytes_of(line.data, line.len - 1));
	buffer_deinit(&line);
}

static void line_put(struct telling *telling, struct buffer *line)
{
	progress_line(&telling->progress, buffer_bytes(line));
	buffer_deinit(line);
	telling->line_count++;
}

static void account_tell(void *context, const char *account, uint64_t record_count,
	uint64_t message_count, const struct error *error)
{
	struct telling *telling = context;
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
	line_put(telling, &line);
}

static void result_json(struct telling *telling, const struct backup_run_result *result)
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
	line_put(telling, &line);
}

static void result_text(struct telling *telling, const struct backup_run_result *result)
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
	line_put(telling, &line);
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

/* The backup is known to nodes by an id that derives from its own. */
static struct sync_self self_of(const struct backup_repository *repository)
{
	struct sync_self self = { .node = get_u64(repository->id.bytes) | 1 };

	snprintf(self.name.name, sizeof(self.name.name), "backup");
	return self;
}

static int source_open(struct node *node, const char *url, const struct tool_options *options,
	const struct sync_self *self, struct tool_link **link, struct backup_source *source,
	struct error *error)
{
	return url != NULL ? tool_link_open(url, options, self, link, source, error)
			   : node_sync(node, self, source, error);
}

int tool_backup_run(struct node *node, const struct tool_options *options, struct error *error)
{
	struct telling telling = { .is_json = options->is_json };
	struct backup_run_options wanted = { .accounts = options->accounts,
		.is_whole = options->is_whole,
		.progress = progress_tell,
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
	self = self_of(repository);
	cache_path(options, repository, &path);
	rc = source_open(node, options->from, options, &self, &link, &source, error);
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

/* ---- restore ---- */

static int instance_parse(const char *text, struct stamp *instance_r, struct error *error)
{
	struct dlist value = { .kind = DLIST_ATOM, .text = bytes_of_string(text) };

	if (wire_stamp(&value, instance_r) < 0)
		return error_set(error, ERR_INVALID, "\"%.60s\" is no message's id", text);
	return 0;
}

static void restored_tell(struct telling *telling, const char *account,
	const struct backup_restore_result *result, const struct error *error)
{
	struct buffer line = { 0 };

	if (telling->is_json) {
		json_member_string(&line, telling->line_count == 0 ? "[{" : ",{", "account",
			bytes_of_string(account));
		json_member_bool(&line, ",", "exact", result->is_exact);
		json_member_number(&line, ",", "messages", result->message_count);
		json_member_number(&line, ",", "mailboxes", result->mailbox_count);
		json_member_number(&line, ",", "there-already", result->there_count);
		json_member_number(&line, ",", "missing-messages", result->missing_count);
		json_member_string(
			&line, ",", "error", bytes_of_string(error->code != 0 ? error->text : ""));
		buffer_append_byte(&line, '}');
		line_put(telling, &line);
		return;
	}
	if (error->code != 0)
		return;
	buffer_printf(&line, "%s: %llu messages and %llu mailboxes restored%s", account,
		(unsigned long long)result->message_count,
		(unsigned long long)result->mailbox_count,
		result->is_exact ? "; it is exactly as it was" : "");
	if (result->there_count > 0)
		buffer_printf(&line, "; %llu messages are there already",
			(unsigned long long)result->there_count);
	if (result->missing_count > 0)
		buffer_printf(&line, "; %llu messages left out: %s",
			(unsigned long long)result->missing_count, result->missing.text);
	line_put(telling, &line);
}

/* What fails of one account does not keep the others from coming. */
static int account_restore(struct backup_repository *repository,
	const struct backup_account *account, struct backup_source *source,
	const struct backup_restore_options *wanted, struct error *first)
{
	struct backup_restore_result result;
	struct error own = { 0 };
	int rc = backup_restore(repository, account, source, wanted, &result, &own);

	if (rc == 0 && result.missing_count > 0)
		error_set(&own, ERR_CORRUPT, "%s: %llu messages are missing: %.150s", account->name,
			(unsigned long long)result.missing_count, result.missing.text);
	restored_tell(
		wanted->context, account->name, &result, rc < 0 ? &own : &(struct error){ 0 });
	if (own.code != 0 && first->code == 0)
		*first = own;
	if (source->is_refusal)
		return 0;
	return rc == ERR_CLOSED || rc == ERR_IO || rc == ERR_TIMEOUT ? rc : 0;
}

static int accounts_restore(struct backup_repository *repository, const struct backup_point *point,
	struct backup_source *source, const struct tool_options *options,
	const struct backup_restore_options *wanted, struct error *error)
{
	struct error first = { 0 };
	int rc = 0;

	for (size_t i = 1; i < options->name_count && rc == 0; i++) {
		char name[ACCOUNT_NAME_SIZE_MAX + 1];
		const struct backup_account *account = NULL;

		if (account_name_normalize(bytes_of_string(options->names[i]), name) == 0)
			account = backup_point_find(point, name);
		if (account == NULL)
			return error_set(error, ERR_NOT_FOUND, "the backup has no account %.100s",
				options->names[i]);
		rc = account_restore(repository, account, source, wanted, &first);
	}
	for (size_t i = 0; i < point->account_count && options->name_count == 1 && rc == 0; i++)
		rc = account_restore(repository, &point->accounts[i], source, wanted, &first);
	if (first.code != 0)
		*error = first;
	return rc < 0 ? rc : first.code;
}

static int restore_check(const struct tool_options *options, struct error *error)
{
	bool is_part = options->mailbox != NULL || options->message != NULL ||
		       options->to != NULL || options->as != NULL || options->with_expunged;

	if (is_part && options->name_count != 2)
		return error_set(error, ERR_INVALID,
			"--mailbox, --message, --to, --as and --expunged are for one account");
	return 0;
}

static int restore_run(struct node *node, struct backup_repository *repository,
	const struct backup_point *point, const struct tool_options *options, struct error *error)
{
	struct telling telling = { .is_json = options->is_json };
	struct stamp instance;
	struct backup_restore_options wanted = { .account = options->as,
		.to = options->to,
		.selection = { .mailbox = options->mailbox,
			.instances = &instance,
			.instance_count = options->message != NULL,
			.with_expunged = options->with_expunged || options->message != NULL },
		.progress = progress_tell,
		.context = &telling };
	struct sync_self self = self_of(repository);
	struct tool_link *link = NULL;
	struct backup_source source;
	int rc = options->message != NULL ? instance_parse(options->message, &instance, error) : 0;

	wanted.self = self.node;
	if (rc == 0)
		rc = source_open(node, options->into, options, &self, &link, &source, error);
	if (rc == 0) {
		progress_begin(&telling.progress, stdout);
		rc = accounts_restore(repository, point, &source, options, &wanted, error);
		progress_end(&telling.progress);
		if (telling.is_json)
			puts(telling.line_count == 0 ? "[]" : "]");
	}
	tool_link_close(&link);
	return rc;
}

int tool_restore(struct node *node, const struct tool_options *options, struct error *error)
{
	struct backup_repository *repository = NULL;
	struct backup_point point = { 0 };
	uint64_t at_ms;
	int rc = restore_check(options, error);

	if (rc == 0)
		rc = tool_backup_time(options, &at_ms, error);
	if (rc == 0)
		rc = tool_backup_open(options, false, false, &repository, error);
	if (rc == 0)
		rc = backup_point_get_at(repository, at_ms, &point, error);
	if (rc == 0)
		rc = restore_run(node, repository, &point, options, error);
	backup_point_deinit(&point);
	backup_repository_close(&repository);
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
