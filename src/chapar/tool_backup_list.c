/* What is in a backup: its points, the mailboxes of an account at one, the messages of a mailbox.
 */
#include "chapar/tool_backup.h"

#include "backup/backup_part.h"
#include "chapard/json.h"
#include "sync/wire.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

struct listing {
	struct buffer out;
	bool is_json;
	uint64_t count;
};

static void time_text(uint64_t ms, char text_r[32])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm parts;

	gmtime_r(&seconds, &parts);
	strftime(text_r, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

/* Begins an entry: of JSON with its separator. */
static const char *separator(struct listing *listing)
{
	return listing->count++ == 0 ? "[{" : ",\n{";
}

static void listing_end(struct listing *listing)
{
	if (listing->is_json)
		buffer_append_string(&listing->out, listing->count == 0 ? "[]\n" : "]\n");
	fwrite(listing->out.data, 1, listing->out.len, stdout);
	buffer_deinit(&listing->out);
}

/* ---- points ---- */

static void point_tell(struct listing *listing, const struct backup_point *point)
{
	struct buffer *out = &listing->out;
	char when[32];

	time_text(point->made_ms, when);
	if (listing->is_json) {
		json_member_string(out, separator(listing), "point", bytes_of_string(point->name));
		json_member_string(out, ",", "made", bytes_of_string(when));
		json_member_number(out, ",", "made-ms", point->made_ms);
		json_member_number(out, ",", "begun-ms", point->begun_ms);
		json_member_number(out, ",", "accounts", point->account_count);
		buffer_printf(out, ",\"node\":\"%016" PRIx64 "\"", point->node);
		json_member_string(out, ",", "name", bytes_of_string(point->node_name));
		buffer_append_byte(out, '}');
		return;
	}
	buffer_printf(out, "%s  %zu accounts  from %s\n", when, point->account_count,
		point->node_name[0] != '\0' ? point->node_name : "?");
}

static int points_list(
	struct backup_repository *repository, struct listing *listing, struct error *error)
{
	struct backup_point_name *names = NULL;
	size_t count = 0;
	int rc = backup_point_list(repository, &names, &count, error);

	for (size_t i = 0; i < count && rc == 0; i++) {
		struct backup_point point = { 0 };

		rc = backup_point_get(repository, names[i].name, &point, error);
		if (rc == 0)
			point_tell(listing, &point);
		backup_point_deinit(&point);
	}
	free(names);
	return rc;
}

/* ---- an account ---- */

static void mailbox_tell(struct listing *listing, const struct backup_state *state,
	const struct mailbox_record *mailbox)
{
	struct buffer *out = &listing->out;
	uint64_t count = 0, size = 0;

	for (size_t i = 0; i < state->records.message_count; i++) {
		const struct message_record *message = &state->records.messages[i].record;

		if (!message_is_shown(message) || !id128_equal(message->mailbox, mailbox->id))
			continue;
		count++;
		size += message->size;
	}
	if (listing->is_json) {
		json_member_string(out, separator(listing), "mailbox", mailbox->name);
		json_member_number(out, ",", "messages", count);
		json_member_number(out, ",", "bytes", size);
		json_member_number(out, ",", "uidvalidity", mailbox->uidvalidity);
		json_member_number(out, ",", "uidnext", mailbox->uidnext);
		buffer_append_byte(out, '}');
		return;
	}
	buffer_printf(out, "%.*s: %" PRIu64 " messages, %" PRIu64 " bytes\n",
		BYTES_ARGS(mailbox->name), count, size);
}

static void message_tell(struct listing *listing, const struct message_record *message)
{
	struct buffer *out = &listing->out;
	char id[48], when[32];

	snprintf(id, sizeof(id), "%" PRIu64 ".%016" PRIx64, message->instance.modseq,
		message->instance.node);
	time_text((uint64_t)(message->internaldate > 0 ? message->internaldate : 0) * 1000, when);
	if (listing->is_json) {
		json_member_string(out, separator(listing), "id", bytes_of_string(id));
		json_member_number(out, ",", "uid", message->uid);
		json_member_string(out, ",", "date", bytes_of_string(when));
		json_member_number(out, ",", "bytes", message->size);
		buffer_append_string(out, ",\"guid\":\"");
		for (size_t i = 0; i < sizeof(message->guid.bytes); i++)
			buffer_printf(out, "%02x", message->guid.bytes[i]);
		buffer_append_string(out, "\",\"flags\":[");
	} else {
		buffer_printf(out, "%s  %u  %s  %" PRIu64 " bytes ", id, message->uid, when,
			message->size);
	}
	for (size_t i = 0, told = 0; i < message->flag_count; i++) {
		if (!message->flags[i].is_set)
			continue;
		buffer_append_string(out, listing->is_json ? (told > 0 ? "," : "") : " ");
		if (listing->is_json)
			json_string(out, message->flags[i].name);
		else
			buffer_append_bytes(out, message->flags[i].name);
		told++;
	}
	buffer_append_string(out, listing->is_json ? "]}" : "\n");
}

static int messages_list(const struct backup_state *state, const char *name,
	struct listing *listing, struct error *error)
{
	const struct change_set *records = &state->records;
	const struct mailbox_record *mailbox = NULL;

	for (size_t i = 0; i < records->mailbox_count; i++)
		if (mailbox_is_live(&records->mailboxes[i]) &&
			bytes_equal_string(records->mailboxes[i].name, name))
			mailbox = &records->mailboxes[i];
	if (mailbox == NULL)
		return error_set(error, ERR_NOT_FOUND, "there was no mailbox %.100s then", name);
	for (size_t i = 0; i < records->message_count; i++)
		if (message_is_shown(&records->messages[i].record) &&
			id128_equal(records->messages[i].record.mailbox, mailbox->id))
			message_tell(listing, &records->messages[i].record);
	return 0;
}

static int account_list(struct backup_repository *repository, const struct tool_options *options,
	uint64_t at_ms, struct listing *listing, struct error *error)
{
	struct backup_point point = { 0 };
	struct backup_state state = { 0 };
	const struct backup_account *account;
	char name[ACCOUNT_NAME_SIZE_MAX + 1] = "";
	int rc = backup_point_get_at(repository, at_ms, &point, error);

	if (rc < 0)
		return rc;
	(void)account_name_normalize(bytes_of_string(options->account), name);
	account = backup_point_find(&point, name);
	if (account == NULL)
		rc = error_set(
			error, ERR_NOT_FOUND, "the backup has no account %.100s", options->account);
	else
		rc = backup_state_read(repository, account, &state, error);
	if (rc == 0 && options->mailbox != NULL)
		rc = messages_list(&state, options->mailbox, listing, error);
	for (size_t i = 0; rc == 0 && options->mailbox == NULL && i < state.records.mailbox_count;
		i++)
		if (mailbox_is_live(&state.records.mailboxes[i]))
			mailbox_tell(listing, &state, &state.records.mailboxes[i]);
	backup_state_deinit(&state);
	backup_point_deinit(&point);
	return rc;
}

int tool_backup_list(const struct tool_options *options, struct error *error)
{
	struct listing listing = { .is_json = options->is_json };
	struct backup_repository *repository = NULL;
	uint64_t at_ms;
	int rc = tool_backup_time(options, &at_ms, error);

	if (rc == 0 && options->account == NULL &&
		(options->at != NULL || options->mailbox != NULL))
		rc = error_set(error, ERR_INVALID, "--at and --mailbox need --account");
	if (rc == 0)
		rc = tool_backup_open(options, false, false, &repository, error);
	if (rc < 0)
		return rc;
	rc = options->account != NULL ? account_list(repository, options, at_ms, &listing, error)
				      : points_list(repository, &listing, error);
	listing_end(&listing);
	backup_repository_close(&repository);
	return rc;
}
