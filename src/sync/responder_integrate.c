/* The SYNC requests INTEGRATE and FILL. */
#include "sync/responder_apply.h"

#include "mail/away.h"
#include "sync/conflict.h"
#include "sync/integrate.h"
#include "sync/point.h"

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
		.filter = &apply->call->session->filter,
		.is_limited = session_is_limited(apply->call->session),
		.also = apply->call->also };
	int rc = apply_open_view(apply, write); /* refuses what the peer may not see */

	if (rc < 0)
		return rc;

	apply->missing_count = 0;
	apply->outcome = OUTCOME_INTEGRATED;
	apply->header = write->header;
	/* Who fills it may have to, where another source has brought what he cannot see. */
	rc = session_check_fill(apply->call->session, write->kv, &write->header, &apply->checked);
	if (rc < 0)
		return rc;
	rc = is_outdated(apply, write);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (apply->since != 0 && apply->since < write->header.begun)
		return error_set(&apply->checked, ERR_UNAVAILABLE,
			"the account has begun anew since the copies were equal");
	rc = apply_find_missing(apply, write);
	if (rc < 0 || apply->outcome == OUTCOME_MISSING)
		return rc;
	rc = rights_check_changes(
		&apply->call->session->rights, write, &apply->changes, &apply->checked);
	if (rc == 0)
		rc = apply_forget_point(apply, write);
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
	int rc = apply_read(&apply);

	if (rc == 0)
		rc = apply_find_account(&apply, true, &account);
	if (rc == 0)
		rc = mail_node_commit(call->session->mail, account, integrate_request_run, &apply,
			call->error, &position);
	if (apply.checked.code != 0)
		*call->error = apply.checked;
	if (rc == 0)
		apply_put_outcome(&apply);
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
	if (write->header.hold == ACCOUNT_AWAY)
		return account_away_refuse(write->kv, &write->header, &apply->checked);
	rc = apply_find_missing(apply, write);
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
	if (session_is_limited(session))
		return error_set(call->error, ERR_REFUSED,
			"FILL is not for peers that may see some mailboxes only");
	apply->part = (struct fill_part){ .driver = { session->peer, false,
						  view_filter_key(&session->filter) },
		.is_last = rc == 0,
		.result = apply->result,
		.bodies = &session->bodies,
		.filter = &session->filter,
		.also = call->also,
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
		rc = apply_read(&apply);
	apply.part.since = apply.since;
	apply.part.changes = &apply.changes;
	if (rc == 0)
		rc = apply_find_account(&apply, true, &account);
	if (rc == 0)
		rc = mail_node_commit(session->mail, account, fill_run, &apply, call->error, NULL);
	if (apply.checked.code != 0)
		*call->error = apply.checked;
	if (rc == 0) {
		apply_put_outcome(&apply);
		if (apply.outcome != OUTCOME_MISSING) {
			body_set_deinit(&session->bodies);
			session->put_size = 0;
		}
	}
	apply_deinit(&apply);
	return rc;
}
