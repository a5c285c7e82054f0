/*
 * The SYNC request APPLY, in one commit, all or nothing:
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
 *     Of a part, which others follow, it is not known: it tells no RESULT, and ends here.
 * (6) The common point is noted in the same commit, so an APPLY that comes again is answered as the
 *     first was (P8).
 */
#include "sync/responder_apply.h"

#include "sync/conflict.h"
#include "sync/integrate.h"
#include "sync/point.h"
#include "sync/replica.h"

/* What the peer is reminded of may be outside of the view here, though it told of it. */
static void add_reminders(struct apply *apply)
{
	const struct change_set *reminders = &apply->reminders;

	if (apply->view.is_whole)
		return;
	for (size_t i = 0; i < reminders->message_count; i++)
		view_add_message(&apply->view, &reminders->messages[i].record, apply->common,
			apply->call->arena, &apply->ours);
	for (size_t i = 0; i < reminders->register_count; i++)
		change_set_add_register(&apply->ours, &reminders->registers[i]);
	change_set_normalize(&apply->ours);
}

/* What was common was so with a copy that was given up since (mail/away.h). */
static bool is_of_before(const struct apply *apply, const struct account_write *write)
{
	uint64_t begun = write->header.begun;

	return (apply->since != 0 && apply->since < begun) ||
	       (apply->common != 0 && apply->common < begun);
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
	apply->is_reset = apply->since > write->header.sequence || apply->behind != 0 ||
			  is_of_before(apply, write);
	/* The peer knows more of this copy than there is: it was restored. */
	if (apply->since > write->header.sequence && apply->call->session->rights.is_full)
		account_hold_return(write);
	change_set_deinit(&apply->ours);
	rc = view_changes(write->kv, &apply->header, &apply->view,
		apply->is_reset ? 0 : apply->since, apply->is_reset ? 0 : apply->common,
		CHANGES_IN_COMMIT_MAX, apply->call->arena, &apply->ours);
	if (rc == 0)
		add_reminders(apply);
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

static int apply_checked(struct apply *apply, struct account_write *write)
{
	struct common_point point;
	struct digest digest;
	int rc = view_digest(write->kv, &write->header, &apply->view, &apply->digest);

	if (rc == 0)
		rc = apply_changes(apply, write);
	if (rc == 0 && !apply->view.is_foreign)
		rc = withheld_drop(
			write, session_withheld_as(apply->call->session), &apply->changes);
	if (rc == 0)
		rc = apply_open_view_again(apply, write);
	if (rc == 0)
		rc = view_digest(write->kv, &write->header, &apply->view, &digest);
	if (rc < 0)
		return rc;
	if (apply->is_part) {
		apply->outcome = OUTCOME_APPLIED;
		apply->header = write->header;
		return replica_report(write, apply->call->session->peer, &apply->changes);
	}
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
		rc = apply_forget_point(apply, write);
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
	rc = call_view(apply->call, write->kv, write->header.number, &view);
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
	if (apply->is_part)
		return 0;
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
	int rc = apply->is_part ? 0 : is_repeated(apply, write);

	apply->header = write->header;
	apply->missing_count = 0;
	change_set_deinit(&apply->reminders);
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
	rc = is_of_before(apply, write) ? 0 : is_expected(apply, write);
	if (rc == 0 && write->header.hold == ACCOUNT_FILLING)
		return error_set(&apply->checked, ERR_UNAVAILABLE,
			"the account is being filled; it is not where that ended");
	if (rc <= 0)
		return rc < 0 ? rc : refuse_changed(apply, write);
	rc = 0;
	if (apply->call->session->rights.is_full)
		rc = apply_remind_peer(apply, write);
	if (rc > 0) {
		error_set(&apply->illegal, ERR_ILLEGAL, "a message returns, or goes back");
		rc = account_write_flush(write);
		return rc < 0 ? rc : refuse_changed(apply, write);
	}
	/* Of others' accounts no bodies are taken. */
	if (rc == 0 && !apply->view.is_foreign)
		rc = apply_find_missing(apply, write);
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

/* It may have told of what it saw when the copies were equal last: what became of that comes
 * first. */
static int refuse_unseen(struct apply *apply, struct account_write *write)
{
	int rc;

	view_close(&apply->view);
	rc = call_view(apply->call, write->kv, write->header.number, &apply->view);
	if (rc == 0)
		rc = is_expected(apply, write);
	if (rc != 0)
		return rc < 0 ? rc : ERR_REFUSED;
	apply->checked = (struct error){ 0 };
	return refuse_changed(apply, write);
}

static int apply_run(struct account_write *write, void *context)
{
	struct apply *apply = context;
	int rc = apply_open_view(apply, write);

	if (rc == ERR_REFUSED)
		return refuse_unseen(apply, write);
	return rc < 0 ? rc : apply_in_view(write, apply);
}

/* The part of (4) that is no fault: our answer must be read in a commit of its own, as this one is
 * undone. */
static int refuse_run(struct account_write *write, void *context)
{
	struct apply *apply = context;
	int rc = apply_open_view(apply, write);

	return rc < 0 ? rc : refuse_changed(apply, write);
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

/* Without RESULT it is one of several parts: of a whole account, by a node. */
static int read_result(struct apply *apply)
{
	struct sync_call *call = apply->call;
	int rc = wire_get_digest(call->map, "RESULT", &apply->result);

	apply->is_part = rc == ERR_NOT_FOUND;
	if (rc < 0 && !apply->is_part)
		return error_set(call->error, ERR_INVALID, "bad RESULT");
	if (apply->is_part && (!call->session->rights.is_full || apply->expect == 0 ||
				      !view_filter_is_whole(&call->session->filter)))
		return error_set(call->error, ERR_INVALID, "RESULT is missing");
	return 0;
}

/*
 * While parts come, the copy is between two states of the peer's, and nobody's channel need tell of
 * it. A peer that says nothing for a while has broken off.
 */
static int apply_and_note(struct apply *apply, uint32_t account)
{
	struct mail *mail = apply->call->session->mail;
	int rc;

	if (apply->is_part)
		mail_partial_note(mail, account);
	rc = apply_commit(apply, account);
	if (rc < 0 || !apply->is_part || apply->outcome != OUTCOME_APPLIED)
		mail_partial_end(mail, account);
	return rc;
}

int respond_apply(struct sync_call *call)
{
	struct apply apply = { .call = call, .view = { .is_whole = true } };
	uint32_t account;
	int rc = call_number(call, "EXPECT", UINT64_MAX, &apply.expect);

	if (rc == 0)
		rc = call_common(call, &apply.common);
	if (rc == 0)
		rc = read_result(&apply);
	if (rc == 0)
		rc = apply_read(&apply);
	if (rc == 0)
		rc = apply_find_account(&apply, apply.expect == 0, &account);
	if (rc == 0)
		rc = apply_and_note(&apply, account);
	if (rc == 0) {
		apply_put_outcome(&apply);
		if (apply.outcome == OUTCOME_APPLIED) {
			if (!apply.is_part) {
				body_set_deinit(&call->session->bodies);
				call->session->put_size = 0;
			}
			notify_own(call->session, account, apply.expect, apply.header.sequence);
		}
	}
	apply_deinit(&apply);
	return rc;
}
