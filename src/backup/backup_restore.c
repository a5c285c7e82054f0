#include "backup/backup_restore.h"

#include "backup/backup_merge.h"
#include "backup/backup_send.h"
#include "base/clock.h"
#include "sync/wire.h"

#include <stdio.h>

/* ---- what is asked for ---- */

static bool is_in_mailbox(
	const struct backup_state *state, const char *name, const struct message_record *message)
{
	const struct mailbox_record *mailbox =
		change_set_mailbox(&state->records, message->mailbox);

	return mailbox != NULL && bytes_equal_string(mailbox->name, name);
}

bool backup_is_selected(const struct backup_state *state, const struct backup_selection *selection,
	const struct message_record *message)
{
	bool is_listed = selection->instance_count == 0;

	if (!message_is_shown(message) && !selection->with_expunged)
		return false;
	if (!message_is_shown(message) && backup_state_place(state, message) == NULL)
		return false;
	for (size_t i = 0; i < selection->instance_count && !is_listed; i++)
		is_listed = stamp_compare(selection->instances[i], message->instance) == 0;
	return is_listed &&
	       (selection->mailbox == NULL || is_in_mailbox(state, selection->mailbox, message));
}

static bool is_all(const struct backup_restore_options *options)
{
	return options->to == NULL && options->selection.mailbox == NULL &&
	       options->selection.instance_count == 0 && !options->selection.with_expunged;
}

/* ---- exactly as it was ---- */

static const struct backup_place *place_of(void *context, const struct message_record *message)
{
	return backup_state_place(context, message);
}

static int apply_ask(struct backup_restore_run *run, const struct change_set *records,
	struct digest digest, uint64_t part_count, struct error *error)
{
	struct buffer request = { 0 };
	struct dlist_writer writer = wire_begin(&request, DLIST_REQUEST, "APPLY");
	struct arena *arena = arena_new();
	const struct dlist *map;
	struct bytes verb;
	int rc;

	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(run->account));
	dlist_put_number_of(&writer, "EXPECT", 0);
	dlist_put_number_of(&writer, "SINCE", 0);
	dlist_put_number_of(&writer, "SEQUENCE", records->sequence);
	dlist_put_number_of(&writer, "HIGHEST", records->highest);
	wire_put_digest_of(&writer, "RESULT", digest);
	dlist_put_number_of(&writer, "PARTS", part_count);
	dlist_end_map(&writer);
	rc = backup_ask_any(run->node, buffer_bytes(&request), arena, &verb, &map, error);
	if (rc == 0 && !bytes_equal_string(verb, "APPLIED"))
		rc = error_set(error, ERR_CHANGED, "the node answers %.*s: it is changing",
			(int)(verb.len < 40 ? verb.len : 40), (const char *)verb.ptr);
	arena_free(&arena);
	buffer_deinit(&request);
	return rc;
}

/* Messages of other mailboxes; ERR_NOT_FOUND: there is none of that name. */
static int others_take_out(struct backup_restore_run *run, struct error *error)
{
	const struct backup_selection *selection = &run->options->selection;
	struct change_set *records = &run->state->records;
	size_t kept = 0;
	bool is_there = false;

	for (size_t i = 0; i < records->mailbox_count; i++)
		is_there |= mailbox_is_live(&records->mailboxes[i]) &&
			    bytes_equal_string(records->mailboxes[i].name, selection->mailbox);
	if (!is_there)
		return error_set(error, ERR_NOT_FOUND, "there was no mailbox %.100s then",
			selection->mailbox);
	for (size_t i = 0; i < records->message_count; i++)
		if (backup_is_selected(run->state, selection, &records->messages[i].record))
			records->messages[kept++] = records->messages[i];
	records->message_count = kept;
	return 0;
}

/*
 * What clients may have seen of the account after the point: UIDs below UIDNEXT + the gap, and
 * modseqs up to now. Those UIDs are given to nothing else, and QRESYNC tells that they are gone
 * (account_each_uid_change_roaming()); flags that went back to what they were are told as changed.
 */
static void cursors_raise(struct change_set *records, uint64_t made_ms)
{
	uint64_t now_ms = clock_now_ms(clock_system());
	uint64_t gap = BACKUP_UID_GAP + (now_ms > made_ms ? (now_ms - made_ms) / 1000 : 0);
	uint64_t modseq = now_ms * 1024 > records->highest ? now_ms * 1024 : records->highest + 1;

	for (size_t i = 0; i < records->mailbox_count; i++) {
		struct mailbox_record *mailbox = &records->mailboxes[i];

		if (!mailbox_is_live(mailbox))
			continue;
		if (mailbox->uidnext <= UINT32_MAX - gap)
			mailbox->uidnext += (uint32_t)gap;
		mailbox->modseq = modseq;
	}
	for (size_t i = 0; i < records->message_count; i++)
		if (message_is_shown(&records->messages[i].record))
			records->messages[i].record.modseq = modseq;
	records->highest = modseq;
}

static int restore_exactly(struct backup_restore_run *run, struct error *error)
{
	struct change_set *records = &run->state->records;
	bool keeps_cursors = run->options->is_exact || run->options->keeps_cursors;
	size_t count_before = records->message_count;
	uint64_t part_count = 0;
	int rc = run->options->selection.mailbox != NULL ? others_take_out(run, error) : 0;

	if (rc == 0)
		rc = backup_send_bodies(run, records, place_of, run->state, error);
	if (rc == 0 && !keeps_cursors)
		cursors_raise(records, run->options->made_ms);
	/* Without what was left out it is another state, which has another digest. */
	if (rc == 0 && (!keeps_cursors || records->message_count != count_before))
		run->state->digest = backup_digest_of(records);
	if (rc == 0)
		rc = backup_send_records(run, records, &part_count, error);
	if (rc == 0)
		rc = apply_ask(run, records, run->state->digest, part_count, error);
	if (rc < 0)
		return rc;
	run->result->is_exact = true;
	for (size_t i = 0; i < records->message_count; i++)
		run->result->message_count += message_is_shown(&records->messages[i].record);
	for (size_t i = 0; i < records->mailbox_count; i++)
		run->result->mailbox_count += mailbox_is_live(&records->mailboxes[i]);
	return 0;
}

/* ---- both ways ---- */

/* Whether the node has nothing that a user ever saw. INBOX, as every node makes it, is nothing. */
static int is_fresh(struct backup_restore_run *run, struct error *error)
{
	struct bytes name = bytes_of_string(run->account);
	struct arena *arena = arena_new();
	struct buffer request = { 0 };
	struct survey_account *accounts;
	struct bytes answer;
	uint64_t cursor;
	size_t count;
	int rc;

	survey_request(&name, 1, &request);
	rc = run->node->ask(run->node->context, buffer_bytes(&request), &answer, error);
	if (rc == 0)
		rc = survey_answer(
			arena_copy(arena, answer), arena, &accounts, &count, &cursor, error);
	if (rc == 0 && count != 1)
		rc = error_set(error, ERR_INVALID, "bad answer to POINTS");
	if (rc == 0)
		rc = !accounts[0].exists || accounts[0].highest <= 1;
	arena_free(&arena);
	buffer_deinit(&request);
	return rc;
}

int backup_restore(struct backup_repository *repository, const struct backup_account *account,
	struct backup_source *node, const struct backup_restore_options *options,
	struct backup_restore_result *result_r, struct error *error)
{
	struct backup_state state = { 0 };
	struct backup_restore_run run = { .repository = repository,
		.node = node,
		.options = options,
		.result = result_r,
		.state = &state };
	const char *name = options->account != NULL ? options->account : account->name;
	int rc;

	*result_r = (struct backup_restore_result){ 0 };
	if (account_name_normalize(bytes_of_string(name), run.account) < 0)
		return error_set(error, ERR_INVALID, "%.100s can be no account's name", name);
	if (!node->peer.is_full)
		return error_set(error, ERR_REFUSED,
			"restoring needs a login that may replicate all accounts (sync-user)");
	rc = backup_state_read(repository, account, &state, error);
	if (rc == 0)
		rc = is_all(options) || options->is_exact ? is_fresh(&run, error) : 0;
	/* The id of INBOX derives from the account's name: under another it is not the same copy.
	 */
	if (rc == 1 && strcmp(run.account, account->name) == 0)
		rc = restore_exactly(&run, error);
	else if (rc >= 0 && options->is_exact)
		rc = error_set(error, ERR_EXISTS, "it is there already");
	else if (rc >= 0)
		rc = backup_merge(&run, error);
	backup_state_deinit(&state);
	return rc < 0 ? error_prefix(error, "%s", run.account) : rc;
}
