/* What a backup needs now and then: prune and verify. */
#include "chapar/tool_backup.h"

#include "backup/backup_prune.h"
#include "backup/backup_verify.h"
#include "chapar/tool_progress.h"
#include "chapard/admin.h"
#include "chapard/json.h"

struct telling {
	struct tool_progress progress;
	const char *unit;
	bool is_json;
	uint64_t count;
};

static void progress_tell(void *context, uint64_t done, uint64_t total)
{
	struct telling *telling = context;
	struct buffer line = { 0 };

	admin_progress(&line, done, total, telling->unit, "reading");
	if (line.len > 0)
		progress_line(&telling->progress, bytes_of(line.data, line.len - 1));
	buffer_deinit(&line);
}

static void line_put(struct telling *telling, struct buffer *line)
{
	progress_line(&telling->progress, buffer_bytes(line));
	buffer_deinit(line);
}

/* ---- prune ---- */

static void pruned_tell(
	struct telling *telling, const struct backup_prune_result *result, bool is_dry)
{
	struct buffer line = { 0 };

	if (telling->is_json) {
		json_member_number(&line, "{", "points", result->point_count);
		json_member_number(&line, ",", "removed-points", result->removed_point_count);
		json_member_number(&line, ",", "removed-packs", result->removed_pack_count);
		json_member_number(&line, ",", "rewritten-packs", result->rewritten_pack_count);
		json_member_number(&line, ",", "removed-bytes", result->removed_bytes);
		buffer_append_byte(&line, '}');
	} else {
		buffer_printf(&line,
			"%llu of %llu points %s; %llu packs, %llu written anew; %llu bytes less",
			(unsigned long long)result->removed_point_count,
			(unsigned long long)result->point_count, is_dry ? "would go" : "are gone",
			(unsigned long long)result->removed_pack_count,
			(unsigned long long)result->rewritten_pack_count,
			(unsigned long long)result->removed_bytes);
	}
	line_put(telling, &line);
}

int tool_backup_prune(const struct tool_options *options, struct error *error)
{
	struct telling telling = { .unit = "packs", .is_json = options->is_json };
	struct backup_prune_options wanted = {
		.is_dry = options->is_dry, .progress = progress_tell, .context = &telling
	};
	struct backup_prune_result result;
	struct backup_repository *repository = NULL;
	int rc = backup_keep_parse(options->keep, &wanted.keep, error);

	if (rc == 0)
		rc = tool_backup_open(options, false, true, &repository, error);
	if (rc < 0)
		return rc;
	progress_begin(&telling.progress, stdout);
	rc = backup_prune(repository, &wanted, &result, error);
	if (rc == 0)
		pruned_tell(&telling, &result, options->is_dry);
	progress_end(&telling.progress);
	backup_repository_close(&repository);
	return rc;
}

/* ---- verify ---- */

static void damage_tell(void *context, const char *what)
{
	struct telling *telling = context;
	struct buffer line = { 0 };

	if (telling->is_json) {
		buffer_append_string(&line, telling->count == 0 ? "{\"damage\":[" : ",");
		json_string(&line, bytes_of_string(what));
	} else {
		buffer_append_string(&line, what);
	}
	telling->count++;
	line_put(telling, &line);
}

static void verified_tell(struct telling *telling, const struct backup_verify_result *result)
{
	struct buffer line = { 0 };

	if (telling->is_json) {
		buffer_append_string(&line, telling->count == 0 ? "{\"damage\":[]" : "]");
		json_member_number(&line, ",", "points", result->point_count);
		json_member_number(&line, ",", "states", result->state_count);
		json_member_number(&line, ",", "packs", result->pack_count);
		json_member_number(&line, ",", "messages", result->message_count);
		json_member_number(&line, ",", "bytes", result->byte_count);
		json_member_number(&line, ",", "missing-messages", result->missing_count);
		buffer_append_byte(&line, '}');
	} else {
		buffer_printf(&line,
			"%llu points with %llu states of accounts, %llu messages in %llu packs of "
			"%llu "
			"bytes: %s",
			(unsigned long long)result->point_count,
			(unsigned long long)result->state_count,
			(unsigned long long)result->message_count,
			(unsigned long long)result->pack_count,
			(unsigned long long)result->byte_count,
			result->damage_count == 0 ? "undamaged" : "damaged");
		if (result->missing_count > 0)
			buffer_printf(&line, "; %llu messages were never to be had from the node",
				(unsigned long long)result->missing_count);
	}
	line_put(telling, &line);
}

int tool_backup_verify(const struct tool_options *options, struct error *error)
{
	struct telling telling = { .unit = "bytes", .is_json = options->is_json };
	struct backup_verify_options wanted = {
		.progress = progress_tell, .damage = damage_tell, .context = &telling
	};
	struct backup_verify_result result;
	struct backup_repository *repository = NULL;
	int rc = tool_backup_open(options, false, false, &repository, error);

	if (rc < 0)
		return rc;
	progress_begin(&telling.progress, stdout);
	rc = backup_verify(repository, &wanted, &result, error);
	if (rc == 0 || rc == ERR_CORRUPT)
		verified_tell(&telling, &result);
	progress_end(&telling.progress);
	backup_repository_close(&repository);
	return rc;
}
