/*
 * SYNC requests that write: APPLY, INTEGRATE, FILL.
 *
 * APPLY, in one commit, all or nothing:
 * (1) The account is at the sequence that the peer expects; else CHANGED, with what changed since
 *     their common point.
 * (2) The peer has not forgotten what it knew. A message that was common at that point, and of
 *     which there is no record here, was deleted here and its tombstone has expired: it gets a new
 *     one. A record that does not follow ours, which is later, was forgotten there or, being a
 *     tombstone, never told, and came back by a third copy: ours is written anew as it is. In both
 *     cases the answer is CHANGED, with these records in it. (Full peers only: others are held to
 *     what they know.)
 * (3) All bodies are here; else MISSING.
 * (4) Every change is legal; else ERROR ILLEGAL. If only the UIDs or modseqs are not above what was
 *     announced here, the peer lacked knowledge of ours: CHANGED.
 * (5) The result has the digest that the peer's copy has; else DIFFERS.
 *     An account that was held back (mail/hold.h) is served from now on.
 * (6) The common point is noted in the same commit, so an APPLY that comes again is answered as the
 *     first was (P8).
 */
#include "sync/responder_private.h"

#include "sync/conflict.h"
#include "sync/fill.h"
#include "sync/integrate.h"
#include "sync/merge.h"
#include "sync/point.h"
#include "sync/replica.h"

#include "mail/deletion.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- what APPLY and INTEGRATE have in common ---- */

enum outcome {
	OUTCOME_APPLIED,
	OUTCOME_CHANGED,
	OUTCOME_MISSING,
	OUTCOME_DIFFERS,
	OUTCOME_INTEGRATED,
	OUTCOME_FILLED
};

struct apply {
	struct sync_call *call;
	struct change_set changes; /* of the peer; the staged ones too */
	uint64_t expect;           /* the sequence we are to be at */
	uint64_t since;            /* our sequence up to which the peer knows our changes */
	uint64_t common;           /* our sequence at the last common point */
	uint64_t sequence;         /* the peer's, that its changes reach */
	struct fill_part part;     /* of FILL */
	struct digest result;      /* of the account afterwards */
	uint64_t clock_before;     /* INTEGRATE: before the merge, if that noted conflicts; or 0 */
	uint64_t told_behind;      /* the peer knows that its copy was there once, and is not now */
	struct error checked;      /* what merge_check_*() and merge_integrate() found */
	struct view view;          /* of the commit: as we are, with what the peer told of */
	struct digest digest;      /* when CHANGED or DIFFERS: ours, of what is exchanged */
	struct error illegal;      /* why a change, though legal, could not be taken as it is */

	enum outcome outcome;
	struct account_header header; /* when CHANGED or DIFFERS: as we are */
	struct change_set ours;       /* when CHANGED */
	bool is_reset;                /* when CHANGED: we were never at `since` */
	uint64_t behind; /* when CHANGED: the peer's copy was at this sequence once; 0: it is not
			    behind that */
	struct stamp *missing; /* when MISSING */
	size_t missing_count;
};

/* Records staged for another request, which never came, do not belong to this one. */
static int check_parts(struct sync_call *call)
{
	uint64_t part_count = 0;
	int rc = dlist_get_number(call->map, "PARTS", UINT32_MAX, &part_count);

	if (rc == ERR_INVALID)
		return error_set(call->error, rc, "bad PARTS");
	if (part_count == call->session->part_count)
		return 0;
	session_unstage(call->session);
	return part_count == 0 ? 0 : error_set(call->error, ERR_UNAVAILABLE, "a STAGE is missing");
}

/* Staged records come first, so that those of the request itself count if a record is in both. */
static int read_request(struct apply *apply)
{
	struct sync_call *call = apply->call;
	uint64_t highest = 0;
	int rc = call_number(call, "SINCE", UINT64_MAX, &apply->since);

	if (rc == 0)
		rc = call_number(call, "SEQUENCE", UINT64_MAX, &apply->sequence);
	if (rc == 0)
		rc = call_number(call, "HIGHEST", MODSEQ_MAX, &highest);
	if (rc == 0)
		rc = check_parts(call);
	if (rc < 0)
		return rc;
	(void)dlist_get_number(call->map, "BEHIND", UINT64_MAX, &apply->told_behind);
	apply->changes = call->session->staged;
	call->session->staged = (struct change_set){ 0 };
	apply->changes.sequence = apply->sequence;
	apply->changes.highest = highest;
	rc = wire_get_changes(call->map, call->arena, &apply->changes, call->error);
	if (rc == 0)
		change_set_normalize(&apply->changes);
	return rc;
}

static void apply_deinit(struct apply *apply)
{
	change_set_deinit(&apply->changes);
	change_set_deinit(&apply->ours);
	view_close(&apply->view);
	session_unstage(apply->call->session);
}

/* Another's, of which he sees something. */
static int find_foreign(struct sync_call *call, uint32_t *number_r)
{
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->session->mail, 0, &kv);

	if (rc == 0)
		rc = call_account(call, kv, &header);
	mail_read_end(&kv);
	if (rc == 0)
		*number_r = header.number;
	return rc;
}

static int find_account(struct apply *apply, bool create, uint32_t *number_r)
{
	struct sync_call *call = apply->call;
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	int rc = call_account_name(call, name);

	if (rc == ERR_REFUSED && !create)
		return find_foreign(call, number_r);
	if (rc < 0)
		return rc;
	/* That an account is deleted is brought to it as any change. */
	rc = mail_account_find(call->session->mail, bytes_of_string(name), call->error, number_r);
	if (rc != ERR_NOT_FOUND || !create)
		return rc;
	return mail_account_open(call->session->mail, bytes_of_string(name),
		create && call->session->rights.is_full, call->error, number_r);
}

static bool is_shown_already(const struct message_record *mine, const struct message_record *theirs)
{
	return message_is_shown(mine) && guid_equal(&mine->guid, &theirs->guid);
}

static int open_view(struct apply *apply, struct account_write *write)
{
	view_close(&apply->view);
	return session_view_told(apply->call->session, write->kv, write->header.number,
		&apply->changes, &apply->view, &apply->checked);
}

/* Lists the shown messages whose bodies nobody has brought. */
static int find_missing(struct apply *apply, struct account_write *write)
{
	const struct change_set *changes = &apply->changes;
	const struct sync_session *session = apply->call->session;

	for (size_t i = 0; i < changes->message_count; i++) {
		const struct message_record *message = &changes->messages[i].record;
		struct message_record mine;
		int rc;

		if (!message_is_shown(message) ||
			session_has_body(session, write->kv, &message->guid))
			continue;
		rc = account_get_message(
			write->kv, write->header.number, message->instance, write->arena, &mine);
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
		if (rc == 0 && is_shown_already(&mine, message))
			continue;
		if (apply->missing == NULL)
			apply->missing = arena_alloc(
				apply->call->arena, MISSING_COUNT_MAX * sizeof(struct stamp));
		if (apply->missing_count < MISSING_COUNT_MAX)
			apply->missing[apply->missing_count++] = message->instance;
	}
	if (apply->missing_count > 0)
		apply->outcome = OUTCOME_MISSING;
	return 0;
}

/* Reads our changes for the answer; in the commit, since readers may not see yet what made us
 * refuse. */
static int refuse_changed(struct apply *apply, struct account_write *write)
{
	int rc = view_digest(write->kv, &write->header, &apply->view, &apply->digest);

	if (rc < 0)
		return rc;
	apply->outcome = OUTCOME_CHANGED;
	apply->header = write->header;
	rc = session_highest(write->kv, &apply->view, write->arena, &apply->header);
	if (rc < 0)
		return rc;
	apply->is_reset = apply->since > write->header.sequence || apply->behind != 0;
	/* The peer knows more of this copy than there is: it was restored. */
	if (apply->since > write->header.sequence && apply->call->session->rights.is_full)
		account_hold_return(write);
	change_set_deinit(&apply->ours);
	return view_changes(write->kv, &apply->header, &apply->view,
		apply->is_reset ? 0 : apply->since, apply->is_reset ? 0 : apply->common,
		CHANGES_IN_COMMIT_MAX, apply->call->arena, &apply->ours);
}

/* ---- APPLY ---- */

static int bury_forgotten(struct apply *apply, struct account_write *write)
{
	const struct change_set *changes = &apply->changes;
	int count = 0;

	for (size_t i = 0; i < changes->message_count; i++) {
		struct message_record message = changes->messages[i].record, mine;
		int rc;

		rc = account_get_message(
			write->kv, write->header.number, message.instance, write->arena, &mine);
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
		if (rc == 0)
			view_unhide(&apply->view, &mine, &message);
		if (rc == 0 && guid_equal(&mine.guid, &message.guid) &&
			!merge_message_follows(&mine, &message)) {
			rc = account_put_message(write, &mine); /* so that it is told again */
			if (rc < 0)
				return rc;
			count++;
			continue;
		}
		if (rc == 0 || !changes->messages[i].was_common || !message_is_shown(&message))
			continue;
		account_observe(write, changes->highest);
		message.placed = account_stamp(write);
		message.modseq = message.placed.modseq;
		message.placed_in = message.mailbox = (struct id128){ { 0 } };
		message.uid = 0;
		rc = account_put_message(write, &message);
		if (rc < 0)
			return rc;
		count++;
	}
	return count;
}

static int remind_of_mailboxes(struct apply *apply, struct account_write *write)
{
	const struct change_set *changes = &apply->changes;
	int count = 0;

	for (size_t i = 0; i < changes->mailbox_count; i++) {
		struct mailbox_record mine;
		int rc = account_get_mailbox(write->kv, write->header.number,
			changes->mailboxes[i].id, write->arena, &mine);

		if (rc == ERR_NOT_FOUND ||
			(rc == 0 && merge_mailbox_follows(&mine, &changes->mailboxes[i])))
			continue;
		if (rc == 0)
			rc = account_put_mailbox(write, &mine);
		if (rc < 0)
			return rc;
		count++;
	}
	return count;
}

static int remind_of_registers(struct apply *apply, struct account_write *write)
{
	const struct change_set *changes = &apply->changes;
	int count = 0;

	for (size_t i = 0; i < changes->register_count; i++) {
		const struct register_record *record = &changes->registers[i];
		struct register_record mine;
		int rc = account_get_register(write->kv, write->header.number, record->kind,
			record->mailbox, record->key, write->arena, &mine);

		if (rc == ERR_NOT_FOUND || (rc == 0 && merge_register_follows(&mine, record)))
			continue;
		if (rc == 0)
			rc = account_put_register(write, &mine);
		if (rc < 0)
			return rc;
		count++;
	}
	return count;
}

/* (2) Returns how many records the peer must be told of first. */
static int remind_peer(struct apply *apply, struct account_write *write)
{
	int messages = bury_forgotten(apply, write);
	int mailboxes = messages < 0 ? messages : remind_of_mailboxes(apply, write);
	int registers = mailboxes < 0 ? mailboxes : remind_of_registers(apply, write);

	return registers < 0 ? registers : messages + mailboxes + registers;
}

/* Which record an error is about, so that whoever wrote the peer finds it. Each returns `rc`. */

static int of_mailbox(struct apply *apply, const struct mailbox_record *mailbox, int rc)
{
	char id[2 * sizeof(mailbox->id.bytes) + 1];

	for (size_t i = 0; i < sizeof(mailbox->id.bytes); i++)
		snprintf(id + 2 * i, 3, "%02x", mailbox->id.bytes[i]);
	if (apply->checked.code != 0)
		error_prefix(&apply->checked, "mailbox %s", id);
	return rc;
}

static int of_message(struct apply *apply, const struct message_record *message, int rc)
{
	if (apply->checked.code != 0)
		error_prefix(&apply->checked, "message %llu.%016llx",
			(unsigned long long)message->instance.modseq,
			(unsigned long long)message->instance.node);
	return rc;
}

static int of_register(struct apply *apply, const struct register_record *record, int rc)
{
	if (apply->checked.code != 0)
		error_prefix(&apply->checked, "register %s \"%.*s\"", wire_kind_name(record->kind),
			(int)(record->key.len < 80 ? record->key.len : 80),
			record->key.len > 0 ? (const char *)record->key.ptr : "");
	return rc;
}

static int apply_mailbox(struct apply *apply, struct account_write *write,
	const struct mailbox_record *mailbox, uint64_t limit)
{
	struct mailbox_record mine;
	int rc = account_get_mailbox(
		write->kv, write->header.number, mailbox->id, write->arena, &mine);
	bool exists = rc == 0;

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (exists && mailbox_same(&mine, mailbox) && mine.modseq == mailbox->modseq)
		return account_raise_uidnext(write, mailbox->id, mailbox->uidnext);
	rc = merge_check_mailbox(exists ? &mine : NULL, mailbox, limit, &apply->checked);
	if (rc == 0)
		rc = rights_check_mailbox(&apply->call->session->rights, exists ? &mine : NULL,
			mailbox, &apply->checked);
	return rc < 0 ? of_mailbox(apply, mailbox, rc) : account_put_mailbox(write, mailbox);
}

/*
 * A message that was moved out of what is exchanged, into a mailbox that we have: it is to be shown
 * there, which takes a merge.
 */
static int check_hidden(struct account_write *write, const struct message_record *message)
{
	struct mailbox_record mailbox;
	int rc;

	if (message_is_shown(message) || id128_is_none(message->placed_in))
		return 0;
	rc = account_get_mailbox(
		write->kv, write->header.number, message->placed_in, write->arena, &mailbox);
	if (rc == 0)
		return ERR_ILLEGAL;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int apply_message(struct apply *apply, struct account_write *write,
	const struct message_record *theirs, uint64_t limit)
{
	struct message_record mine, told = *theirs;
	const struct message_record *message = &told;
	int rc = account_get_message(
		write->kv, write->header.number, message->instance, write->arena, &mine);
	bool exists = rc == 0;

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (exists)
		view_unhide(&apply->view, &mine, &told);
	if (exists && message_same(&mine, message) && mine.modseq == message->modseq)
		return 0;
	rc = check_hidden(write, message);
	if (rc < 0)
		return rc;
	rc = merge_check_message(exists ? &mine : NULL, message, limit, &apply->checked);
	if (rc == 0)
		rc = rights_check_message(&apply->call->session->rights, exists ? &mine : NULL,
			message, &apply->checked);
	return rc < 0 ? of_message(apply, message, rc) : account_put_message(write, message);
}

static int apply_register(struct apply *apply, struct account_write *write,
	const struct register_record *record, uint64_t limit)
{
	struct register_record mine;
	int rc = account_get_register(write->kv, write->header.number, record->kind,
		record->mailbox, record->key, write->arena, &mine);
	bool exists = rc == 0;

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (exists && register_same(&mine, record) && mine.modseq == record->modseq)
		return 0;
	rc = merge_check_register(exists ? &mine : NULL, record, limit, &apply->checked);
	if (rc == 0)
		rc = rights_check_register(&apply->call->session->rights, exists ? &mine : NULL,
			record, &apply->checked);
	return rc < 0 ? of_register(apply, record, rc) : account_put_register(write, record);
}

static int compare_places(const void *a, const void *b)
{
	const struct message_record *left = *(const struct message_record *const *)a;
	const struct message_record *right = *(const struct message_record *const *)b;
	int order = id128_compare(left->mailbox, right->mailbox);

	if (order != 0 || left->uid == right->uid)
		return order;
	return left->uid < right->uid ? -1 : 1;
}

static int apply_messages(struct apply *apply, struct account_write *write, uint64_t limit)
{
	const struct change_set *changes = &apply->changes;
	const struct message_record **sorted = arena_alloc(
		apply->call->arena, (changes->message_count + 1) * sizeof(struct message_record *));
	int rc = 0;

	for (size_t i = 0; i < changes->message_count; i++)
		sorted[i] = &changes->messages[i].record;
	qsort(sorted, changes->message_count, sizeof(struct message_record *), compare_places);
	for (size_t i = 0; i < changes->message_count && rc == 0; i++)
		rc = apply_message(apply, write, sorted[i], limit);
	return rc;
}

/* (4) Deleted mailboxes come first, to give up their names. */
static int apply_changes(struct apply *apply, struct account_write *write)
{
	const struct change_set *changes = &apply->changes;
	uint64_t limit =
		integrate_modseq_limit(write->now_ms, apply->call->session->rights.skew_ms);
	int rc = 0;

	if (apply->view.is_foreign)
		return foreign_apply(
			apply->call->session, write, &apply->view, changes, &apply->checked);
	if (changes->highest > limit)
		return error_set(
			&apply->checked, ERR_ILLEGAL, "the peer's clock is too far in the future");
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < changes->mailbox_count && rc == 0; i++)
			if (mailbox_is_live(&changes->mailboxes[i]) == (pass == 1))
				rc = apply_mailbox(apply, write, &changes->mailboxes[i], limit);
	if (rc == 0)
		rc = apply_messages(apply, write, limit);
	for (size_t i = 0; i < changes->register_count && rc == 0; i++)
		rc = apply_register(apply, write, &changes->registers[i], limit);
	if (rc == 0) {
		account_observe(write, changes->highest);
		rc = account_write_flush(write);
	}
	return rc;
}

/* (6) An APPLY whose answer was lost. */
static int is_repeated(struct apply *apply, struct account_write *write)
{
	struct common_point point;
	int rc = point_get_of(write->kv, write->header.number, apply->call->session->peer,
		view_filter_key(&apply->call->session->filter), &point);

	if (rc < 0)
		return rc;
	if (point.theirs != apply->sequence || point.mine != write->header.sequence)
		return 0;
	rc = view_digest(write->kv, &write->header, &apply->view, &apply->digest);
	return rc < 0 ? rc : digest_equal(apply->digest, apply->result);
}

/* What we had in common with a copy that was restored since is true no more. */
static int forget_point(struct apply *apply, struct account_write *write)
{
	const struct sync_session *session = apply->call->session;

	return apply->told_behind == 0 || !session->rights.is_full
		       ? 0
		       : point_forget_of(write->store, write->header.number, session->peer,
				 view_filter_key(&session->filter));
}

static int apply_checked(struct apply *apply, struct account_write *write)
{
	struct common_point point;
	struct digest digest;
	int rc = view_digest(write->kv, &write->header, &apply->view, &apply->digest);

	if (rc == 0)
		rc = apply_changes(apply, write);

	/* Names may be others now. */
	if (rc == 0)
		rc = open_view(apply, write);
	if (rc == 0)
		rc = view_digest(write->kv, &write->header, &apply->view, &digest);
	if (rc < 0)
		return rc;
	if (!digest_equal(digest, apply->result)) {
		apply->outcome = OUTCOME_DIFFERS;
		return ERR_CHANGED; /* undoes it */
	}
	apply->outcome = OUTCOME_APPLIED;
	apply->header = write->header;
	if (!apply->call->session->rights.is_full)
		return 0; /* what node an ordinary user says he is proves nothing */
	rc = account_hold_end(write);
	if (rc == 0)
		rc = replica_report(write, apply->call->session->peer, &apply->changes);
	if (rc < 0)
		return rc;
	rc = conflict_take(write, apply->call->session->peer, apply->call->map, &apply->checked);
	if (rc == 0)
		rc = forget_point(apply, write);
	if (rc < 0)
		return rc;
	point = (struct common_point){ write->header.sequence, apply->sequence };
	return view_save(write->store, apply->call->session->peer, &apply->call->session->filter,
		&apply->view, point);
}

/* We are elsewhere than the peer expects, but what it sees is as it was there. */
static int is_unchanged(struct apply *apply, struct account_write *write)
{
	const struct sync_session *session = apply->call->session;
	struct change_set changes = { 0 };
	struct view view;
	int rc, is_empty;

	if ((view_filter_is_whole(&session->filter) && !apply->view.is_foreign) ||
		apply->expect == 0 || apply->expect > write->header.sequence)
		return 0;
	rc = session_view(session, write->kv, write->header.number, &view);
	if (rc == 0)
		rc = view_changes(write->kv, &write->header, &view, apply->expect, apply->common, 1,
			write->arena, &changes);
	is_empty = changes.mailbox_count + changes.message_count + changes.register_count == 0;
	change_set_deinit(&changes);
	view_close(&view);
	return rc < 0 ? rc : is_empty;
}

static int is_expected(struct apply *apply, struct account_write *write)
{
	bool is_new = apply->expect == 0 && write->header.highest <= 1 &&
		      !apply->view.is_foreign; /* INBOX only */

	if (write->header.sequence == apply->expect || is_new)
		return 1;
	return is_unchanged(apply, write);
}

/* The peer's copy was further than it is now: its store was restored, and it has forgotten. */
static int is_behind(struct apply *apply, struct account_write *write)
{
	struct common_point point;
	int rc;

	if (!apply->call->session->rights.is_full)
		return 0;
	rc = point_get_of(write->kv, write->header.number, apply->call->session->peer,
		view_filter_key(&apply->call->session->filter), &point);
	if (rc < 0 || point.theirs <= apply->sequence || point.theirs == apply->told_behind)
		return rc;
	apply->behind = point.theirs;
	return 1;
}

static int apply_in_view(struct account_write *write, struct apply *apply)
{
	int rc = is_repeated(apply, write);

	apply->header = write->header;
	apply->missing_count = 0;
	if (rc != 0) {
		apply->outcome = OUTCOME_APPLIED;
		if (rc < 0 || !apply->call->session->rights.is_full)
			return rc < 0 ? rc : 0;
		return account_hold_end(write);
	}
	rc = session_check_fill(apply->call->session, write->kv, &write->header, &apply->checked);
	if (rc < 0)
		return rc;
	if (!apply->call->session->rights.is_full) {
		rc = account_mode_check(write, &apply->checked);
		if (rc < 0)
			return rc;
	}
	rc = is_behind(apply, write);
	if (rc != 0)
		return rc < 0 ? rc : refuse_changed(apply, write);
	rc = is_expected(apply, write);
	if (rc == 0 && write->header.hold == ACCOUNT_FILLING)
		return error_set(&apply->checked, ERR_UNAVAILABLE,
			"the account is being filled; it is not where that ended");
	if (rc <= 0)
		return rc < 0 ? rc : refuse_changed(apply, write);
	rc = 0;
	if (apply->call->session->rights.is_full)
		rc = remind_peer(apply, write);
	if (rc > 0) {
		error_set(&apply->illegal, ERR_ILLEGAL, "a message returns, or goes back");
		rc = account_write_flush(write);
		return rc < 0 ? rc : refuse_changed(apply, write);
	}
	/* Of others' accounts no bodies are taken. */
	if (rc == 0 && !apply->view.is_foreign)
		rc = find_missing(apply, write);
	if (rc < 0 || apply->outcome == OUTCOME_MISSING)
		return rc;
	if (!apply->view.is_foreign)
		rc = integrate_check_sizes(
			write->kv, &apply->call->session->bodies, &apply->changes, &apply->checked);
	if (rc < 0)
		return rc;
	body_set_offer(&apply->call->session->bodies, write);
	return apply_checked(apply, write);
}

static int apply_run(struct account_write *write, void *context)
{
	struct apply *apply = context;
	int rc = open_view(apply, write);

	return rc < 0 ? rc : apply_in_view(write, apply);
}

/* The part of (4) that is no fault: our answer must be read in a commit of its own, as this one is
 * undone. */
static int refuse_run(struct account_write *write, void *context)
{
	struct apply *apply = context;
	int rc = open_view(apply, write);

	return rc < 0 ? rc : refuse_changed(apply, write);
}

static void put_changed(struct apply *apply, struct dlist_writer *writer)
{
	if (apply->is_reset)
		dlist_put_number_of(writer, "RESET", 1);
	if (apply->behind != 0)
		dlist_put_number_of(writer, "BEHIND", apply->behind);
	if (apply->illegal.code != 0)
		dlist_put_text_of(writer, "ILLEGAL", bytes_of_string(apply->illegal.text));
	answer_changes(writer, &apply->header, apply->digest, &apply->ours);
}

/* That they cannot be read is no reason to call the merge failed. */
static void tell_conflicts(const struct apply *apply, struct dlist_writer *writer)
{
	struct sync_session *session = apply->call->session;
	struct kv_txn *kv = NULL;

	if (mail_read_begin(session->mail, mail_position(session->mail), &kv) == 0)
		(void)conflict_tell(
			kv, apply->header.number, session->peer, apply->clock_before, writer);
	mail_read_end(&kv);
}

static void put_outcome(struct apply *apply)
{
	static const char *const verbs[] = { "APPLIED", "CHANGED", "MISSING", "DIFFERS",
		"INTEGRATED", "FILLED" };
	struct dlist_writer writer =
		wire_begin(apply->call->answer, DLIST_ANSWER, verbs[apply->outcome]);

	switch (apply->outcome) {
	case OUTCOME_APPLIED:
	case OUTCOME_INTEGRATED:
		dlist_put_number_of(&writer, "SEQUENCE", apply->header.sequence);
		if (apply->clock_before != 0)
			tell_conflicts(apply, &writer);
		break;
	case OUTCOME_FILLED:
		dlist_put_number_of(&writer, "SEQUENCE", apply->header.sequence);
		dlist_put_number_of(&writer, "REACHED", apply->part.reached);
		if (apply->part.is_whole)
			dlist_put_number_of(&writer, "WHOLE", 1);
		break;
	case OUTCOME_CHANGED:
		put_changed(apply, &writer);
		break;
	case OUTCOME_MISSING:
		dlist_put_atom(&writer, "INSTANCES");
		dlist_begin_list(&writer);
		for (size_t i = 0; i < apply->missing_count; i++)
			wire_put_stamp(&writer, apply->missing[i]);
		dlist_end_list(&writer);
		break;
	case OUTCOME_DIFFERS:
		dlist_put_number_of(&writer, "SEQUENCE", apply->header.sequence);
		wire_put_digest_of(&writer, "DIGEST", apply->digest);
		break;
	}
	dlist_end_map(&writer);
}

static int apply_commit(struct apply *apply, uint32_t account)
{
	struct sync_call *call = apply->call;
	struct mail *mail = call->session->mail;
	uint64_t position;
	/* A user is held to his quota; a merge between nodes that was refused would lose mail. */
	int rc = call->session->rights.is_full
			 ? mail_node_commit(mail, account, apply_run, apply, call->error, &position)
			 : mail_commit(mail, account, apply_run, apply, call->error, &position);

	if (rc == ERR_CHANGED && apply->outcome == OUTCOME_DIFFERS)
		return 0;
	if (apply->checked.code != 0)
		*call->error = apply->checked;
	else if (rc == ERR_ILLEGAL) {
		error_set(&apply->illegal, rc, "a UID or modseq was announced here before");
		rc = mail_node_commit(mail, account, refuse_run, apply, call->error, &position);
	}
	return rc;
}

int respond_apply(struct sync_call *call)
{
	struct apply apply = { .call = call, .view = { .is_whole = true } };
	uint32_t account;
	int rc = call_number(call, "EXPECT", UINT64_MAX, &apply.expect);

	if (rc == 0)
		rc = call_common(call, &apply.common);
	if (rc == 0 && wire_get_digest(call->map, "RESULT", &apply.result) < 0)
		rc = error_set(call->error, ERR_INVALID, "bad or missing RESULT");
	if (rc == 0)
		rc = read_request(&apply);
	if (rc == 0)
		rc = find_account(&apply, apply.expect == 0, &account);
	if (rc == 0)
		rc = apply_commit(&apply, account);
	if (rc == 0) {
		put_outcome(&apply);
		if (apply.outcome == OUTCOME_APPLIED) {
			body_set_deinit(&call->session->bodies);
			call->session->put_size = 0;
			notify_own(call->session, account, apply.expect, apply.header.sequence);
		}
	}
	apply_deinit(&apply);
	return rc;
}

/* ---- INTEGRATE ---- */

/* An INTEGRATE of the past: copies that were equal since then need no merging with it (P8). */
static int is_outdated(struct apply *apply, struct account_write *write)
{
	struct common_point point;
	int rc;

	if (!apply->call->session->rights.is_full)
		return 0;
	rc = point_get_of(write->kv, write->header.number, apply->call->session->peer,
		view_filter_key(&apply->call->session->filter), &point);
	return rc < 0 ? rc : point.theirs >= apply->sequence && point.theirs != apply->told_behind;
}

static int integrate_request_run(struct account_write *write, void *context)
{
	struct apply *apply = context;
	struct integrate integrate = { .theirs = &apply->changes,
		.since = apply->since,
		.peer = apply->call->session->peer,
		.skew_ms = apply->call->session->rights.skew_ms,
		.bodies = &apply->call->session->bodies,
		.filter = &apply->call->session->filter };
	int rc = open_view(apply, write); /* refuses what the peer may not see */

	if (rc < 0)
		return rc;

	apply->missing_count = 0;
	apply->outcome = OUTCOME_INTEGRATED;
	apply->header = write->header;
	rc = is_outdated(apply, write);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (write->header.hold == ACCOUNT_FILLING)
		return error_set(&apply->checked, ERR_UNAVAILABLE, "the account is being filled");
	rc = find_missing(apply, write);
	if (rc < 0 || apply->outcome == OUTCOME_MISSING)
		return rc;
	rc = rights_check_changes(
		&apply->call->session->rights, write, &apply->changes, &apply->checked);
	if (rc == 0)
		rc = forget_point(apply, write);
	if (rc == 0)
		rc = conflict_take(
			write, apply->call->session->peer, apply->call->map, &apply->checked);
	apply->clock_before = write->header.clock_last + 1; /* what was just taken is no news */
	if (rc == 0)
		rc = integrate_run(write, &integrate, &apply->checked);
	if (integrate.conflict_count == 0)
		apply->clock_before = 0;
	apply->header = write->header;
	return rc;
}

int respond_integrate(struct sync_call *call)
{
	struct apply apply = { .call = call, .view = { .is_whole = true } };
	uint64_t position;
	uint32_t account;
	int rc = read_request(&apply);

	if (rc == 0)
		rc = find_account(&apply, true, &account);
	if (rc == 0)
		rc = mail_node_commit(call->session->mail, account, integrate_request_run, &apply,
			call->error, &position);
	if (apply.checked.code != 0)
		*call->error = apply.checked;
	if (rc == 0)
		put_outcome(&apply);
	apply_deinit(&apply);
	return rc;
}

/* ---- FILL ---- */

static int fill_run(struct account_write *write, void *context)
{
	struct apply *apply = context;
	struct sync_session *session = apply->call->session;
	struct fill_part *part = &apply->part;
	int rc;

	apply->missing_count = 0;
	apply->outcome = OUTCOME_FILLED;
	rc = find_missing(apply, write);
	if (rc < 0 || apply->outcome == OUTCOME_MISSING)
		return rc;
	rc = rights_check_changes(&session->rights, write, &apply->changes, &apply->checked);
	if (rc == 0)
		rc = fill_take(write, part, &apply->checked);
	apply->header = write->header;
	apply->digest = part->digest;
	if (rc == 0 && part->is_last && !part->is_whole && part->reached == apply->sequence)
		apply->outcome = OUTCOME_DIFFERS;
	return rc;
}

static int read_part(struct apply *apply)
{
	struct sync_call *call = apply->call;
	struct sync_session *session = call->session;
	int rc = wire_get_digest(call->map, "RESULT", &apply->result);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return error_set(call->error, ERR_INVALID, "bad RESULT");
	if (!view_filter_is_whole(&session->filter))
		return error_set(call->error, ERR_REFUSED, "FILL is for whole accounts");
	apply->part = (struct fill_part){ .driver.source = session->peer,
		.is_last = rc == 0,
		.result = apply->result,
		.bodies = &session->bodies,
		.skew_ms = session->rights.skew_ms };
	return 0;
}

int respond_fill(struct sync_call *call)
{
	struct apply apply = { .call = call, .view = { .is_whole = true } };
	struct sync_session *session = call->session;
	uint32_t account;
	int rc = read_part(&apply);

	if (rc == 0)
		rc = read_request(&apply);
	apply.part.since = apply.since;
	apply.part.changes = &apply.changes;
	if (rc == 0)
		rc = find_account(&apply, true, &account);
	if (rc == 0)
		rc = mail_node_commit(session->mail, account, fill_run, &apply, call->error, NULL);
	if (apply.checked.code != 0)
		*call->error = apply.checked;
	if (rc == 0) {
		put_outcome(&apply);
		if (apply.outcome != OUTCOME_MISSING) {
			body_set_deinit(&session->bodies);
			session->put_size = 0;
		}
	}
	apply_deinit(&apply);
	return rc;
}
