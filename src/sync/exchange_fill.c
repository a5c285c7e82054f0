/*
 * A first copy in parts (fill.h), by the side that begins the exchange: sending ours, or asking for
 * the peer's. Who receives knows how far it is; so each exchange begins by being told that, and
 * each part by which was the last. With the first part go all mailboxes, as nothing tells which the
 * receiver has; with each later one those that changed since.
 */
#include "sync/exchange_private.h"

#include "sync/fill.h"

#include "base/clock.h"

static int postpone(struct exchange *exchange, uint64_t source)
{
	exchange->result.is_postponed = true;
	return error_set(&exchange->result.error, ERR_UNAVAILABLE,
		"the account is being filled from node %016llx", (unsigned long long)source);
}

/* ---- sending ---- */

static int read_part(struct exchange *exchange)
{
	const struct exchange_fill *fill = &exchange->fill;
	struct exchange_push *push = &exchange->push;
	struct kv_txn *kv = NULL;
	int rc = exchange_push_open(exchange, &kv);

	push->is_fill = true;
	if (rc == 0)
		rc = fill_read(kv, &push->header, &push->view, fill->reached, fill->mailboxes,
			fill->part_size, push->arena, &push->changes);
	mail_read_end(&kv);
	if (rc == 0)
		view_leave_out(&push->view, &push->changes);
	if (rc == 0 && fill->reached > push->header.sequence)
		return error_set(&exchange->result.error, ERR_CORRUPT,
			"the peer has more of this account's copy than there is");
	push->is_last = rc == 0 && push->changes.sequence == push->header.sequence;
	return rc < 0 ? error_set(&exchange->result.error, rc, "the account cannot be read") : 0;
}

int exchange_fill_send(struct exchange *exchange)
{
	int rc = read_part(exchange);

	return rc < 0 ? rc : exchange_push_begin(exchange);
}

int exchange_fill_sent(struct exchange *exchange)
{
	const struct exchange_push *push = &exchange->push;
	struct exchange_fill *fill = &exchange->fill;
	bool is_taken = push->reached == push->changes.sequence;
	int rc = 0;

	exchange->result.part_count += is_taken;
	fill->reached = push->reached;
	fill->mailboxes = is_taken ? push->header.sequence : 0;
	if (is_taken)
		exchange->refused_in_row = 0;
	else
		rc = exchange_count_refusal(exchange);
	return rc < 0 ? rc : exchange_fill_send(exchange);
}

static int begin_push(struct exchange *exchange)
{
	struct exchange_fill *fill = &exchange->fill;
	bool is_begun;
	int rc;

	fill->reached = exchange->their_survey.fill_reached;
	is_begun = exchange->their_survey.filling != 0;
	if (!is_begun && exchange->own.sequence <= fill->part_size)
		return 0;
	rc = read_part(exchange);
	if (rc < 0)
		return rc;
	if (!is_begun && exchange->push.is_last) {
		exchange_push_reset(&exchange->push);
		return 0; /* all of it is one part: an APPLY does as well */
	}
	fill->is_on = true;
	rc = exchange_push_begin(exchange);
	return rc < 0 ? rc : 1;
}

/* ---- asking ---- */

static int begin_pull(struct exchange *exchange)
{
	struct fill_driver driver = { .source = exchange->peer,
		.is_pulled = true,
		.view = view_filter_key(exchange->filter) };
	uint64_t reached = 0, other = 0;
	struct kv_txn *kv = NULL;
	int rc = 0;

	if (exchange->own.hold == ACCOUNT_FILLING) {
		rc = mail_read_begin(exchange->mail, 0, &kv);
		if (rc == 0)
			rc = fill_may_go_on(kv, exchange->account, driver,
				clock_now_ms(mail_clock(exchange->mail)), &reached, &other);
		mail_read_end(&kv);
	}
	if (rc == ERR_UNAVAILABLE)
		return postpone(exchange, other);
	if (rc < 0)
		return error_set(&exchange->result.error, rc, "the account cannot be read");
	exchange->fill.is_pull = true;
	exchange->fill.reached = reached;
	rc = exchange_begin_changes(exchange);
	return rc < 0 ? rc : 1;
}

void exchange_fill_ask(struct exchange *exchange, struct dlist_writer *writer)
{
	if (!exchange_fill_is_part(exchange))
		return;
	dlist_put_number_of(writer, "MAILBOXES", exchange->fill.mailboxes);
	dlist_put_number_of(writer, "MOST", exchange->fill.part_size);
}

int exchange_fill_look(struct exchange *exchange, const struct dlist *map)
{
	struct exchange_fill *fill = &exchange->fill;
	bool is_begun = fill->reached != 0 || exchange->own.hold == ACCOUNT_FILLING;
	uint64_t more = 0;

	if (!exchange_fill_is_part(exchange))
		return 0;
	(void)dlist_get_number(map, "MORE", 1, &more);
	if (dlist_get_number(map, "FILL", UINT64_MAX, &fill->told) == 0) {
		fill->is_pull = more != 0 || is_begun;
		return 0;
	}
	if (is_begun)
		return error_set(&exchange->result.error, ERR_UNAVAILABLE,
			"the peer cannot go on with this account's first copy");
	fill->is_pull = false;
	return 0;
}

bool exchange_fill_is_part(const struct exchange *exchange)
{
	return exchange->fill.is_pull && exchange->repair == NULL;
}

struct taking {
	struct fill_part part;
	struct account_header header; /* afterwards */
	struct error error;
};

static int take_run(struct account_write *write, void *context)
{
	struct taking *taking = context;
	int rc;

	taking->error = (struct error){ 0 };
	rc = fill_take(write, &taking->part, &taking->error);
	taking->header = write->header;
	return rc;
}

/* The part is dealt with; asks for the next, or ends. */
static int go_on(struct exchange *exchange, const struct taking *taking)
{
	const struct fill_part *part = &taking->part;
	struct exchange_fill *fill = &exchange->fill;
	bool is_taken = part->reached == exchange->theirs.sequence;
	int rc = 0;

	exchange->result.part_count += is_taken;
	fill->reached = part->reached;
	fill->mailboxes = is_taken ? fill->told : 0;
	if (part->is_whole) {
		exchange->result.point =
			(struct common_point){ taking->header.sequence, exchange->theirs.sequence };
		exchange->is_done = true;
		return 0;
	}
	if (is_taken)
		exchange->refused_in_row = 0;
	else
		rc = exchange_count_refusal(exchange);
	if (rc < 0)
		return rc;
	if (is_taken && part->is_last) {
		/* Another source had something that this one has not. */
		exchange->push.header = taking->header;
		return exchange_begin_repair(exchange);
	}
	exchange_forget_theirs(exchange);
	return exchange_begin_changes(exchange);
}

int exchange_fill_take(struct exchange *exchange)
{
	struct taking taking = {
		.part = { .driver = { exchange->peer, true, view_filter_key(exchange->filter) },
			.since = exchange->fill.reached,
			.changes = &exchange->theirs,
			.is_last = !exchange->has_more,
			.result = exchange->their_digest,
			.bodies = &exchange->bodies,
			.filter = exchange->filter,
			.also = exchange->also }
	};
	int rc = mail_node_commit(exchange->mail, exchange->account, take_run, &taking,
		&exchange->result.error, &exchange->position);

	if (rc == ERR_NOT_FOUND) {
		/* A body that was here has gone meanwhile: look again. */
		exchange->result.error = (struct error){ 0 };
		exchange_forget_theirs(exchange);
		rc = exchange_count_refusal(exchange);
		return rc < 0 ? rc : exchange_begin_changes(exchange);
	}
	if (rc < 0) {
		if (taking.error.code != 0)
			exchange->result.error = taking.error;
		exchange->result.is_postponed = rc == ERR_UNAVAILABLE;
		return rc;
	}
	body_set_deinit(&exchange->bodies);
	return go_on(exchange, &taking);
}

int exchange_return(struct exchange *exchange, uint64_t behind)
{
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_hold_return(
		exchange->mail, exchange->account, behind, &exchange->result.error);

	if (rc == 0)
		rc = mail_read_begin(exchange->mail, mail_position(exchange->mail), &kv);
	if (rc == 0)
		rc = account_load(kv, exchange->account, &header);
	mail_read_end(&kv);
	if (rc < 0)
		return error_set(&exchange->result.error, rc, "the account cannot be read");
	if (header.sequence >= behind)
		return error_set(&exchange->result.error, ERR_UNAVAILABLE,
			"another exchange of the account was quicker");
	exchange->own.hold = header.hold;
	exchange->behind = behind;
	return 0;
}

int exchange_end_hold(struct exchange *exchange)
{
	struct error error = { 0 };
	int rc;

	if (exchange->own.hold == ACCOUNT_SERVED && !exchange->fill.is_pull)
		return 0;
	rc = mail_hold_end(exchange->mail, exchange->account, &error);
	if (rc < 0 && rc != ERR_NOT_FOUND) {
		exchange->result.error = error;
		return rc;
	}
	exchange->own.hold = ACCOUNT_SERVED;
	exchange->fill.is_pull = false;
	return 0;
}

/* ---- which of them ---- */

/* What the peer did meanwhile counts. */
static int read_own(struct exchange *exchange)
{
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(exchange->mail, exchange->position, &kv);

	if (rc == 0)
		rc = account_load(kv, exchange->account, &exchange->own);
	mail_read_end(&kv);
	return rc;
}

int exchange_fill_begin(struct exchange *exchange)
{
	const struct survey_account *theirs = &exchange->their_survey;
	bool is_foreign = exchange->filter != NULL && exchange->filter->foreign != NULL, is_filling;
	int rc = read_own(exchange);

	if (rc < 0)
		return rc;
	is_filling = exchange->own.hold == ACCOUNT_FILLING;

	if (theirs->filling != 0 && !theirs->may_fill)
		return postpone(exchange, theirs->filling);
	if (is_filling && (is_foreign || !theirs->exists)) {
		exchange->result.is_postponed = true;
		return error_set(&exchange->result.error, ERR_UNAVAILABLE,
			"the account is being filled from another node");
	}
	if (is_filling || (!is_foreign && fill_is_pristine(&exchange->own) && theirs->exists &&
				  theirs->highest > 1))
		return begin_pull(exchange);
	if (!is_foreign && theirs->may_fill && !exchange->is_pull && !exchange->is_restricted)
		return begin_push(exchange);
	return 0;
}
