/* One account of a clone, or what is seen of another's: its exchange with the origin. */
#include "chapard/origin_private.h"

#include "chapard/channel_link.h"
#include "mail/deletion.h"

/* What is named as refused may come of a merge, again and again. */
#define GIVEN_UP_TRIES 4

struct local {
	struct account_header header;
	struct common_point point;
};

static int local_read(struct origin *origin, struct local *local_r)
{
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(origin->mail, mail_position(origin->mail), &kv);

	if (rc == 0)
		rc = account_load(kv, origin->number, &local_r->header);
	if (rc == 0)
		rc = point_get(kv, origin->number, origin->peer.node, &local_r->point);
	mail_read_end(&kv);
	return rc;
}

static void exchange_start(struct origin *origin, bool is_pull)
{
	origin->exchange = exchange_new(origin->mail, origin->number, origin->peer.node, NULL);
	if (is_pull)
		exchange_set_pull(origin->exchange);
	if (!origin->peer.is_full)
		exchange_set_restricted(origin->exchange);
}

/* ---- what is seen of another's account ---- */

static struct origin_foreign foreign_of(const struct origin *origin)
{
	return (struct origin_foreign){ origin->user, origin->number,
		&origin->accounts[origin->account_next].mailboxes };
}

/* Whether something was changed here that an exchange can bring there. */
static int has_unsent(struct origin *origin, bool *has_r)
{
	struct kv_txn *kv = NULL;
	uint64_t count = 0;
	int rc = mail_read_begin(origin->mail, mail_position(origin->mail), &kv);

	if (rc == 0)
		rc = origin_count_unsent(kv, origin->number, origin->peer.node, &count);
	mail_read_end(&kv);
	*has_r = count > 0;
	return rc;
}

static void foreign_exchange_start(struct origin *origin, enum foreign_try try, bool is_anew)
{
	const struct origin_account *theirs = &origin->accounts[origin->account_next];

	origin->foreign_try = try;
	origin->foreign = (struct view_foreign){ theirs->ids, theirs->mailboxes.count };
	origin->filter = (struct view_filter){ .foreign = &origin->foreign };
	exchange_start(origin, !origin->has_unsent || origin->options.mode == ORIGIN_PULL);
	exchange_set_filter(origin->exchange, &origin->filter);
	exchange_set_told(origin->exchange, &origin->hand.told);
	if (is_anew)
		exchange_set_anew(origin->exchange);
}

static int foreign_start(struct origin *origin, struct error *error)
{
	const struct origin_account *theirs = &origin->accounts[origin->account_next];
	enum origin_mode mode = origin->options.mode;
	struct origin_foreign foreign;
	struct local local = { 0 };
	bool is_anew = false, is_theirs_new;
	int rc = origin_foreign_open(origin, theirs, &origin->number, error);

	foreign = foreign_of(origin);
	if (rc == 0)
		rc = origin_arrange_waits(origin, origin->number);
	if (rc > 0) { /* what comes from there would meet what is not there yet */
		origin->account_next++;
		return ORIGIN_MORE;
	}
	if (rc == 0)
		rc = origin_foreign_prepare(origin, &foreign, &is_anew, error);
	if (rc == 0)
		rc = local_read(origin, &local);
	origin->foreign_since = local.point.mine;
	if (rc == 0)
		rc = has_unsent(origin, &origin->has_unsent);
	if (rc < 0)
		return rc;
	is_theirs_new = is_anew || local.point.theirs != theirs->sequence;
	if (mode == ORIGIN_PULL       ? is_theirs_new
		: mode == ORIGIN_PUSH ? origin->has_unsent
				      : is_theirs_new || origin->has_unsent) {
		origin->given_up_tries = 0;
		foreign_exchange_start(origin, FOREIGN_FIRST, is_anew);
		return ORIGIN_MORE;
	}
	rc = origin_foreign_grant(origin, &foreign, error);
	origin->equal_count++;
	origin->account_next++;
	return rc < 0 ? rc : ORIGIN_MORE;
}

/* The origin does not take what was changed here, and says so whenever it is asked. */
static bool is_unwelcome(int code)
{
	return code == ERR_REFUSED || code == ERR_ILLEGAL || code == ERR_INVALID ||
	       code == ERR_TOO_LARGE || code == ERR_CHANGED;
}

/* What he sees there, or what mailboxes there are here: since that was told, or listed. */
static bool has_changed(struct origin *origin)
{
	return exchange_their_sequence(origin->exchange) !=
		       origin->accounts[origin->account_next].sequence ||
	       origin_arrange_waits(origin, origin->number) > 0;
}

/* It did not come to what the origin shows; or there is something that was not to be brought. */
static bool has_failed(const struct origin *origin, const struct exchange_result *result)
{
	return result->error.code != 0 || (result->point.mine == 0 && !origin->has_unsent);
}

/*
 * The next try. Where the copies differ in what no change tells, or the origin does not take our
 * changes, all is listed first; then the copy is begun anew, with what he flagged; and where it
 * still does not take that, it is given up, for it would stand in the way for ever.
 */
static int next_try(struct origin *origin, struct exchange_result *result, struct error *error)
{
	struct origin_foreign foreign = foreign_of(origin);

	if (result->error.code == 0 && origin->foreign_try != FOREIGN_FIRST)
		error_set(&result->error, ERR_CORRUPT,
			"what came is not what the origin says it shows");
	switch (origin->foreign_try) {
	case FOREIGN_FIRST:
		return 1;
	case FOREIGN_LISTED:
		return origin_foreign_forget(origin, &foreign, true, error);
	case FOREIGN_BEGUN_ANEW:
		error_prefix(&result->error, "what was changed here is given up");
		origin->has_unsent = false;
		return origin_foreign_forget(origin, &foreign, false, error);
	default:
		return 0;
	}
}

/* 1: it is to be tried once more. */
static int foreign_finish(
	struct origin *origin, struct exchange_result *result, struct error *error)
{
	struct origin_foreign foreign = foreign_of(origin);
	int rc;

	if (result->error.code != 0 && !is_unwelcome(result->error.code))
		return 0;
	if (result->given_up_count > 0 && origin->given_up_tries++ < GIVEN_UP_TRIES) {
		error_prefix(&result->error, "%u changes made here are given up",
			result->given_up_count);
		rc = has_unsent(origin, &origin->has_unsent);
		return rc < 0 ? rc : 1;
	}
	/* Then that may be all, and the next sync begins with it. */
	if (origin->foreign_try != FOREIGN_FIRST &&
		(result->error.code != 0 || result->point.mine == 0) && has_changed(origin)) {
		error_prefix(&result->error, "what was changed here waits");
		return 0;
	}
	if (has_failed(origin, result)) {
		rc = next_try(origin, result, error);
		return rc < 0 ? rc : origin->foreign_try < FOREIGN_GIVEN_UP;
	}
	rc = origin_foreign_tidy(origin, origin->number, origin->foreign_since, error);
	return rc < 0 ? rc : origin_foreign_grant(origin, &foreign, error);
}

int origin_account_start(struct origin *origin, struct error *error)
{
	const struct origin_account *theirs = &origin->accounts[origin->account_next];
	enum origin_mode mode = origin->options.mode;
	struct local local = { 0 };
	bool is_mine_new, is_theirs_new;
	int rc;

	if (theirs->is_foreign)
		return foreign_start(origin, error);
	rc = mail_account_find(origin->mail, bytes_of_string(theirs->name), error, &origin->number);
	if (rc == ERR_NOT_FOUND)
		rc = mail_account_open(
			origin->mail, bytes_of_string(theirs->name), true, error, &origin->number);
	if (rc == 0)
		rc = local_read(origin, &local);
	if (rc < 0)
		return error_set(error, rc, "%s cannot be read: %s", theirs->name, error_name(rc));
	is_mine_new = local.header.sequence != local.point.mine;
	is_theirs_new = theirs->sequence != local.point.theirs;
	/* An account that was never here holds nothing to send, though it was written. */
	if ((local.point.mine == 0 && local.header.highest <= 1) ||
		local.header.hold == ACCOUNT_FILLING)
		is_mine_new = false;
	if ((is_mine_new || is_theirs_new) && local.header.hold == ACCOUNT_SERVED &&
		survey_is_settled(&local.header, &theirs->digest, theirs->highest)) {
		local.point = (struct common_point){ local.header.sequence, theirs->sequence };
		rc = point_save(
			origin->mail, origin->number, origin->peer.node, local.point, error);
		is_mine_new = is_theirs_new = false;
	}
	if (rc < 0)
		return rc;
	if ((!is_theirs_new && (!is_mine_new || mode == ORIGIN_PULL)) ||
		(!is_mine_new && mode == ORIGIN_PUSH)) {
		origin->equal_count++;
		origin->account_next++;
		return ORIGIN_MORE;
	}
	origin->is_comparing = false;
	exchange_start(origin, mode == ORIGIN_PULL || !is_mine_new);
	return ORIGIN_MORE;
}

/*
 * What was only pulled and is not equal now, though nothing had changed here, differs in what no
 * change tells: then all is compared.
 */
static bool should_compare(struct origin *origin, const struct exchange_result *result)
{
	struct local local = { 0 };

	if (origin->options.mode == ORIGIN_PULL || origin->is_comparing ||
		result->error.code != 0 || result->point.mine != 0)
		return false;
	return local_read(origin, &local) == 0;
}

/*
 * What was appended meanwhile to a mailbox that the origin has not heard of is in no view, so a
 * common point may lie above it; but what is below a point counts as told.
 */
static int save_point(
	struct origin *origin, struct exchange_result *result, bool is_foreign, struct error *error)
{
	int rc = 0;

	if (result->point.mine != 0 && is_foreign)
		rc = origin_arrange_waits(origin, origin->number);
	if (rc > 0)
		result->point = (struct common_point){ 0 };
	if (rc < 0 || result->point.mine == 0)
		return rc < 0 ? rc : 0;
	return point_save(origin->mail, origin->number, origin->peer.node, result->point, error);
}

static int account_finish(struct origin *origin, struct error *error)
{
	struct exchange_result result = *exchange_result(origin->exchange);
	const struct origin_account *account = &origin->accounts[origin->account_next];
	bool is_again, gives_up;
	int rc;

	origin->is_changed = true;
	rc = save_point(origin, &result, account->is_foreign, error);
	if (rc == 0 && account->is_foreign)
		rc = foreign_finish(origin, &result, error);
	if (rc < 0)
		return rc;
	is_again = rc > 0;
	/* Of a try that leads to another only what is given up is told. */
	gives_up = result.given_up_count > 0 && origin->given_up_tries <= GIVEN_UP_TRIES;
	if (is_again && origin->foreign_try < FOREIGN_BEGUN_ANEW && !gives_up) {
		exchange_free(&origin->exchange);
		foreign_exchange_start(origin, origin->foreign_try + 1, true);
		return ORIGIN_MORE;
	}
	if (origin->options.tell != NULL)
		origin->options.tell(origin->options.context, account->name, &result);
	if (result.error.code != 0 && origin->first_error.code == 0) {
		origin->first_error = result.error;
		error_prefix(&origin->first_error, "%s", account->name);
	}
	if (is_again) {
		exchange_free(&origin->exchange);
		foreign_exchange_start(origin, gives_up ? FOREIGN_LISTED : FOREIGN_GIVEN_UP, true);
		return ORIGIN_MORE;
	}
	if (!account->is_foreign && should_compare(origin, &result)) {
		exchange_free(&origin->exchange);
		origin->is_comparing = true;
		exchange_start(origin, false);
		return ORIGIN_MORE;
	}
	exchange_free(&origin->exchange);
	origin->account_next++;
	return ORIGIN_MORE;
}

int origin_account_step(struct origin *origin, struct error *error)
{
	for (;;) {
		enum exchange_step step = exchange_next(origin->exchange, &origin->request);
		struct bytes answer;
		int rc;

		if (step == EXCHANGE_SEND) {
			origin->request_count++;
			rc = channel_link_request(
				origin->link, buffer_bytes(&origin->request), error);
			if (rc < 0)
				return rc;
			continue;
		}
		if (step != EXCHANGE_WAIT)
			return account_finish(origin, error);
		rc = channel_link_flush(origin->link, error);
		if (rc == 0)
			rc = channel_link_answer(origin->link, &answer, error);
		if (rc < 0)
			return rc;
		exchange_answer(origin->exchange, answer);
		return ORIGIN_MORE;
	}
}
