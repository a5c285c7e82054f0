#include "chapar/tool_restore_files.h"

#include "chapard/json.h"
#include "sync/wire.h"

#include <string.h>

static int instance_parse(const char *text, struct stamp *instance_r, struct error *error)
{
	struct dlist value = { .kind = DLIST_ATOM, .text = bytes_of_string(text) };

	if (wire_stamp(&value, instance_r) < 0)
		return error_set(error, ERR_INVALID, "\"%.60s\" is no message's id", text);
	return 0;
}

static void files_tell(const struct tool_restored *restored, bool is_json, struct buffer *line)
{
	if (is_json) {
		json_member_string(line, ",", "folder", bytes_of_string(restored->folder));
		json_member_number(line, ",", "keywords-left-out", restored->unnamed_count);
	} else if (restored->unnamed_count > 0) {
		buffer_printf(line, "; %llu times a keyword was left out: the format has no more",
			(unsigned long long)restored->unnamed_count);
	}
}

static void restored_tell(struct tool_telling *telling, const char *account,
	const struct tool_restored *restored, const struct error *error)
{
	const struct backup_restore_result *result = &restored->result;
	bool is_files = restored->folder != NULL;
	struct buffer line = { 0 };

	if (telling->is_json) {
		json_member_string(&line, telling->line_count == 0 ? "[{" : ",{", "account",
			bytes_of_string(account));
		json_member_bool(&line, ",", "exact", result->is_exact);
		json_member_number(&line, ",", "messages", result->message_count);
		json_member_number(&line, ",", "mailboxes", result->mailbox_count);
		json_member_number(&line, ",", "there-already", result->there_count);
		json_member_number(&line, ",", "missing-messages", result->missing_count);
		if (is_files)
			files_tell(restored, true, &line);
		json_member_string(
			&line, ",", "error", bytes_of_string(error->code != 0 ? error->text : ""));
		buffer_append_byte(&line, '}');
		tool_telling_line(telling, &line);
		return;
	}
	if (error->code != 0)
		return;
	buffer_printf(&line, "%s: %llu messages and %llu mailboxes restored%s%s", account,
		(unsigned long long)result->message_count,
		(unsigned long long)result->mailbox_count,
		is_files           ? " into "
		: result->is_exact ? "; it is as it was"
				   : "",
		is_files ? restored->folder : "");
	if (is_files)
		files_tell(restored, false, &line);
	if (result->there_count > 0)
		buffer_printf(&line, "; %llu messages are there already",
			(unsigned long long)result->there_count);
	if (result->missing_count > 0)
		buffer_printf(&line, "; %llu messages left out: %s",
			(unsigned long long)result->missing_count, result->missing.text);
	tool_telling_line(telling, &line);
}

/* Where accounts are restored to: a node, or files. */
struct restoring {
	struct backup_repository *repository;
	const struct backup_restore_options *wanted;
	struct backup_source *source; /* NULL: files */
	struct tool_restore_files *files;
};

static int account_bring(const struct restoring *restoring, const struct backup_account *account,
	struct tool_restored *restored_r, struct error *error)
{
	if (restoring->source == NULL)
		return tool_restore_files_bring(
			restoring->files, account, restoring->wanted, restored_r, error);
	*restored_r = (struct tool_restored){ 0 };
	return backup_restore(restoring->repository, account, restoring->source, restoring->wanted,
		&restored_r->result, error);
}

/* Whether to go on with the next account. */
static bool is_over(const struct restoring *restoring, int rc)
{
	if (restoring->source == NULL)
		return rc == ERR_FULL || rc == ERR_IO;
	return !restoring->source->is_refusal &&
	       (rc == ERR_CLOSED || rc == ERR_IO || rc == ERR_TIMEOUT);
}

/* What fails of one account does not keep the others from coming. */
static int account_restore(const struct restoring *restoring, const struct backup_account *account,
	struct error *first)
{
	struct tool_restored restored;
	const struct backup_restore_result *result = &restored.result;
	struct error own = { 0 };
	int rc = account_bring(restoring, account, &restored, &own);

	if (restored.is_skipped)
		return 0;
	if (rc == 0 && result->missing_count > 0)
		error_set(&own, ERR_CORRUPT, "%s: %llu messages are missing: %.150s", account->name,
			(unsigned long long)result->missing_count, result->missing.text);
	restored_tell(restoring->wanted->context, account->name, &restored,
		rc < 0 ? &own : &(struct error){ 0 });
	if (own.code != 0 && first->code == 0)
		*first = own;
	return is_over(restoring, rc) ? rc : 0;
}

static int accounts_restore(const struct restoring *restoring, const struct backup_point *point,
	const struct tool_options *options, struct error *error)
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
		rc = account_restore(restoring, account, &first);
	}
	for (size_t i = 0; i < point->account_count && options->name_count == 1 && rc == 0; i++)
		rc = account_restore(restoring, &point->accounts[i], &first);
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
	if (!tool_restore_is_files(options))
		return 0;
	if (options->to != NULL || options->as != NULL || options->with_expunged ||
		options->is_exact)
		return error_set(error, ERR_INVALID,
			"--to, --as, --expunged and --exact are for a node, not for "
			"files");
	if (options->password_file != NULL || options->ca_file != NULL || options->pin != NULL ||
		options->is_without_tls)
		return error_set(error, ERR_INVALID,
			"--password-file, --ca-file, --pin and --no-tls are for a node, not for "
			"files");
	return 0;
}

static int restore_run(struct node *node, struct backup_repository *repository,
	const struct backup_point *point, const struct tool_options *options, struct error *error)
{
	struct tool_telling telling = { .is_json = options->is_json };
	struct stamp instance;
	struct backup_restore_options wanted = { .account = options->as,
		.to = options->to,
		.selection = { .mailbox = options->mailbox,
			.instances = &instance,
			.instance_count = options->message != NULL,
			.with_expunged = options->with_expunged || options->message != NULL },
		.keeps_cursors = options->is_exact,
		.made_ms = point->made_ms,
		.progress = tool_telling_progress,
		.context = &telling };
	struct sync_self self = tool_backup_self(repository);
	struct restoring restoring = { .repository = repository, .wanted = &wanted };
	struct tool_link *link = NULL;
	struct backup_source source;
	int rc = options->message != NULL ? instance_parse(options->message, &instance, error) : 0;

	wanted.self = self.node;
	if (rc == 0 && tool_restore_is_files(options)) {
		rc = tool_restore_files_begin(options, repository, &restoring.files, error);
	} else if (rc == 0) {
		restoring.source = &source;
		rc = tool_backup_source(node, options->into, options, &self, &link, &source, error);
	}
	if (rc == 0) {
		progress_begin(&telling.progress, stdout);
		rc = accounts_restore(&restoring, point, options, error);
		progress_end(&telling.progress);
		if (telling.is_json)
			puts(telling.line_count == 0 ? "[]" : "]");
	}
	tool_restore_files_end(&restoring.files);
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
