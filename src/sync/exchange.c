#include "sync/exchange_private.h"

#include "sync/integrate.h"

#include "base/mem.h"

#include <stdlib.h>

struct exchange *exchange_new(
	struct mail *mail, uint32_t account, uint64_t peer, const struct common_point *known)
{
	struct exchange *exchange = mem_zalloc(sizeof(*exchange));

	exchange->mail = mail;
	exchange->account = account;
	exchange->peer = peer;
	if (known != NULL)
		exchange->known = *known;
	exchange->fill.part_size = FILL_RECORD_COUNT_MAX;
	exchange->answers_end = &exchange->answers;
	exchange->scratch = arena_new();
	exchange->their_arena = arena_new();
	return exchange;
}

void exchange_set_pull(struct exchange *exchange)
{
	exchange->is_pull = true;
}

void exchange_set_restricted(struct exchange *exchange)
{
	exchange->is_restricted = true;
}

void exchange_set_anew(struct exchange *exchange)
{
	exchange->is_anew = true;
}

void exchange_set_told(struct exchange *exchange, const struct map *told)
{
	exchange->told_there = told;
}

void exchange_set_lossy(struct exchange *exchange)
{
	exchange->is_lossy = true;
}

void exchange_set_packed(struct exchange *exchange)
{
	exchange->puts_packed = true;
}

void exchange_set_filter(struct exchange *exchange, const struct view_filter *filter)
{
	exchange->filter = filter;
}

void exchange_set_part_size(struct exchange *exchange, size_t record_count)
{
	exchange->fill.part_size = record_count;
}

int exchange_view(struct exchange *exchange, struct kv_txn *kv, struct view *view_r)
{
	int rc = view_open(kv, exchange->account, exchange->filter, exchange->peer, view_r);

	if (rc == 0)
		rc = view_withhold(kv, view_r, exchange->peer);
	if (rc == 0)
		rc = view_tell(kv, view_r, exchange->told, exchange->told_count);
	return rc < 0 ? rc
		      : view_also_read(kv, view_r, exchange->tells_all ? NULL : exchange->filter,
				&exchange->also);
}

void exchange_put_also(const struct exchange *exchange, struct dlist_writer *writer)
{
	if (exchange->also.count == 0)
		return;
	dlist_put_atom(writer, "ALSO");
	dlist_begin_list(writer);
	for (size_t i = 0; i < exchange->also.count; i++)
		dlist_put_hex(writer,
			bytes_of(exchange->also.ids[i].bytes, sizeof(exchange->also.ids[i].bytes)));
	dlist_end_list(writer);
}

/* Reads our digest of what is exchanged. */
static int read_digest(struct exchange *exchange, struct kv_txn *kv,
	const struct account_header *header, struct digest *digest_r)
{
	struct view view;
	int rc = exchange_view(exchange, kv, &view);

	if (rc == 0)
		rc = view_digest(kv, header, &view, digest_r);
	view_close(&view);
	return rc;
}

static void drop_answer(struct exchange *exchange)
{
	struct queued_answer *answer = exchange->answers;

	exchange->answers = answer->next;
	if (exchange->answers == NULL)
		exchange->answers_end = &exchange->answers;
	buffer_deinit(&answer->text);
	free(answer);
}

void exchange_free(struct exchange **exchange_ptr)
{
	struct exchange *exchange = *exchange_ptr;

	if (exchange == NULL)
		return;
	while (exchange->answers != NULL)
		drop_answer(exchange);
	exchange_push_reset(&exchange->push);
	exchange_repair_free(&exchange->repair);
	change_set_deinit(&exchange->theirs);
	body_set_deinit(&exchange->bodies);
	free(exchange->wanted);
	free(exchange->wanted_sizes);
	free(exchange->told);
	view_also_deinit(&exchange->also);
	arena_free(&exchange->their_arena);
	arena_free(&exchange->scratch);
	free(exchange);
	*exchange_ptr = NULL;
}

uint64_t exchange_their_sequence(const struct exchange *exchange)
{
	return exchange->expect;
}

const struct exchange_result *exchange_result(const struct exchange *exchange)
{
	return &exchange->result;
}

void exchange_get_progress(const struct exchange *exchange, struct exchange_progress *progress_r)
{
	*progress_r = exchange->progress;
}

void exchange_answer(struct exchange *exchange, struct bytes text)
{
	struct queued_answer *answer = mem_zalloc(sizeof(*answer));

	buffer_append_bytes(&answer->text, text);
	*exchange->answers_end = answer;
	exchange->answers_end = &answer->next;
}

/* ---- the beginning: where are we, where is the peer? ---- */

static int survey_send(struct exchange *exchange, struct buffer *request)
{
	struct bytes name = bytes_of_string(exchange->name);

	if (exchange->is_asked)
		return 0;
	exchange->is_asked = true;
	survey_request(&name, 1, request);
	return 1;
}

static int survey_take(
	struct exchange *exchange, struct bytes verb, const struct dlist *map, struct bytes text)
{
	struct survey_account *accounts;
	uint64_t cursor;
	size_t count;
	int rc = survey_answer(
		text, exchange->scratch, &accounts, &count, &cursor, &exchange->result.error);

	(void)verb;
	(void)map;
	if (rc < 0)
		return rc;
	if (count != 1)
		return error_set(&exchange->result.error, ERR_INVALID, "bad answer to POINTS");
	exchange->exists_there = accounts[0].exists;
	exchange->expect = accounts[0].sequence;
	exchange->their_digest = accounts[0].digest;
	exchange->their_highest = accounts[0].highest;
	exchange->their_survey = accounts[0];
	exchange->their_survey.name = bytes_of(NULL, 0); /* borrowed, as these */
	exchange->their_survey.mailboxes = (struct foreign_list){ 0 };
	return 0;
}

/* Where we are, and our digest of what is exchanged. */
static int read_header(
	struct exchange *exchange, struct account_header *header_r, struct digest *digest_r)
{
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(exchange->mail, exchange->position, &kv);

	if (rc == 0)
		rc = account_load(kv, exchange->account, header_r);
	if (rc == 0)
		rc = read_digest(exchange, kv, header_r, digest_r);
	mail_read_end(&kv);
	return rc;
}

static int survey_finish(struct exchange *exchange)
{
	struct account_header header;
	struct digest digest;
	int rc;

	if (exchange->their_survey.away != 0) {
		exchange->result.away_to = exchange->their_survey.away;
		return error_set(&exchange->result.error, ERR_REPLICA,
			"the peer does not have the account any more: it was moved to node %016llx",
			(unsigned long long)exchange->result.away_to);
	}
	rc = exchange_fill_begin(exchange);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (!exchange->exists_there)
		return exchange_begin_push(exchange);
	rc = read_header(exchange, &header, &digest);
	if (rc < 0)
		return rc;
	/* See survey_is_settled(); of a part of the account modseqs tell nothing. */
	if (!digest_equal(digest, exchange->their_digest) ||
		(view_filter_is_whole(exchange->filter) &&
			header.highest != exchange->their_highest))
		return exchange_begin_changes(exchange);
	exchange->point = (struct common_point){ header.sequence, exchange->expect };
	return exchange_begin_push(exchange);
}

static const struct exchange_phase survey_phase = { survey_send, survey_take, survey_finish };

/*
 * The peer could not answer for now. If that is because its copy is being filled, as what we had in
 * common with it before was nothing, it may be ours to go on with that.
 */
static int setback_finish(struct exchange *exchange)
{
	if (exchange->their_survey.filling == 0 && !exchange->their_survey.may_fill) {
		exchange->result.error = exchange->setback;
		return exchange->setback.code;
	}
	exchange->point = (struct common_point){ 0 };
	return survey_finish(exchange);
}

static const struct exchange_phase setback_phase = { survey_send, survey_take, setback_finish };

/* Whether there is more to try after an error. */
static bool try_again(struct exchange *exchange)
{
	if (exchange->result.error.code != ERR_UNAVAILABLE || !exchange->is_refused_by_peer ||
		exchange->has_surveyed || exchange->own.hold == ACCOUNT_FILLING)
		return false;
	exchange->setback = exchange->result.error;
	exchange->result.error = (struct error){ 0 };
	exchange->has_surveyed = true;
	exchange->is_asked = false;
	exchange_push_reset(&exchange->push);
	exchange_repair_free(&exchange->repair);
	exchange->phase = &setback_phase;
	return true;
}

static int begin(struct exchange *exchange)
{
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = exchange_release(exchange);

	if (rc < 0)
		return rc;
	rc = mail_read_begin(exchange->mail, exchange->position, &kv);
	if (rc == 0)
		rc = account_load(kv, exchange->account, &header);
	if (rc == 0)
		rc = point_get_of(kv, exchange->account, exchange->peer,
			view_filter_key(exchange->filter), &exchange->point);
	mail_read_end(&kv);
	if (rc == 0 && header.hold == ACCOUNT_AWAY)
		return error_set(&exchange->result.error, ERR_REPLICA,
			"the account was moved away from here");
	if (rc < 0)
		return error_set(&exchange->result.error, rc, "the account cannot be read");
	memcpy(exchange->name, header.name, sizeof(exchange->name));
	exchange->own = header;
	if (common_point_is_later(exchange->known, exchange->point))
		exchange->point = exchange->known;
	if (exchange->point.mine > header.sequence || exchange->point.mine < header.begun ||
		exchange->is_anew || header.hold == ACCOUNT_FILLING)
		exchange->point = (struct common_point){ 0 };
	exchange->expect = exchange->point.theirs;
	if (exchange->point.mine != 0)
		return exchange->is_pull ? exchange_begin_changes(exchange)
					 : exchange_begin_push(exchange);
	/* Who sees something of another's account takes all of it in (exchange_foreign.c). */
	if (exchange_is_foreign(exchange))
		return exchange_begin_changes(exchange);
	exchange->has_surveyed = true;
	exchange->phase = &survey_phase;
	return 0;
}

/* ---- merging ---- */

int exchange_count_refusal(struct exchange *exchange)
{
	struct exchange_result *result = &exchange->result;

	result->refused_count++;
	exchange->refused_in_row++;
	if (exchange->refused_in_row > 2 * EXCHANGE_REFUSED_MAX ||
		result->integrate_count > EXCHANGE_INTEGRATE_MAX)
		return error_set(&result->error, ERR_UNAVAILABLE,
			"the copies kept changing; what was exchanged so far stays");
	return 0;
}

struct merge_context {
	struct integrate integrate;
	bool is_filling; /* this exchange brings the account's first copy */
	uint64_t clock_before;
	struct error error;
};

static int merge_run(struct account_write *write, void *context)
{
	struct merge_context *merge = context;

	merge->error = (struct error){ 0 };
	/* Its first copy began to come from another node meanwhile: that is not to be mixed up. */
	if (write->header.hold == ACCOUNT_FILLING && !merge->is_filling)
		return error_set(&merge->error, ERR_UNAVAILABLE,
			"the account is being filled from another node");
	merge->clock_before = write->header.clock_last;
	return integrate_run(write, &merge->integrate, &merge->error);
}

int exchange_merge(struct exchange *exchange, const struct change_set *compared, uint64_t expect)
{
	struct merge_context merge = { .integrate = { .theirs = &exchange->theirs,
					       .since = exchange->point.mine,
					       .is_sorted_out = exchange->point.is_sorted_out,
					       .peer = exchange->peer,
					       .bodies = &exchange->bodies,
					       .filter = exchange->filter,
					       .also = { exchange->told, exchange->told_count, 0 },
					       .compared = compared,
					       .expect = expect,
					       .merged_at = exchange->integrated_at },
		.is_filling = exchange->own.hold == ACCOUNT_FILLING || exchange->fill.is_pull };
	int rc = mail_node_commit(exchange->mail, exchange->account, merge_run, &merge,
		&exchange->result.error, &exchange->position);

	if (rc < 0) {
		exchange->result.error = merge.error;
		exchange->result.is_postponed = rc == ERR_UNAVAILABLE;
		return rc;
	}
	if (merge.integrate.common != 0) {
		exchange->point = (struct common_point){ merge.integrate.common,
			exchange->theirs.sequence, true };
		exchange->result.point = exchange->point;
	}
	exchange->integrated_at = 0;
	if (merge.integrate.conflict_count > 0 && exchange->conflicts_since == 0)
		exchange->conflicts_since = merge.clock_before;
	exchange->result.conflict_count += (unsigned)merge.integrate.conflict_count;
	body_set_deinit(&exchange->bodies);
	return 0;
}

int exchange_finish_pull(struct exchange *exchange)
{
	struct account_header header;
	struct digest digest;
	int rc = read_header(exchange, &header, &digest);

	if (rc < 0)
		return rc;
	/* If not, there is something here that the peer lacks: what was common before still is. */
	rc = exchange_end_hold(exchange);
	if (rc < 0)
		return rc;
	if (digest_equal(digest, exchange->their_digest))
		exchange->result.point = (struct common_point){ header.sequence, exchange->expect };
	exchange->is_done = true;
	return 0;
}

/* ---- the steps ---- */

static int take_next(struct exchange *exchange)
{
	struct bytes text = buffer_bytes(&exchange->answers->text);
	struct error *error = &exchange->result.error;
	const struct dlist *map;
	struct bytes verb = { 0 };
	int rc = 0;

	exchange->awaiting--;
	if (error->code == 0) {
		arena_reset(exchange->scratch);
		rc = wire_answer(text, exchange->scratch, &verb, &map, error);
		if (rc == 0) {
			rc = exchange->phase->take(exchange, verb, map, text);
		} else if (bytes_equal_string(verb, "ERROR")) {
			exchange->is_refused_by_peer = true;
			(void)wire_get_node(map, "AWAY", &exchange->result.away_to);
			/* Else all is listed next, and it may be another's doing. */
			if (error->code == ERR_REFUSED && exchange_is_foreign(exchange) &&
				exchange->is_anew)
				rc = exchange_give_up(exchange, map);
		}
	}
	drop_answer(exchange);
	return rc;
}

/* One move; *step_r is set if the caller must act. */
static int advance(struct exchange *exchange, struct buffer *request, bool *has_step,
	enum exchange_step *step_r)
{
	bool is_failed = exchange->result.error.code != 0, is_held;
	int rc = 0;

	if (exchange->phase == NULL && !is_failed)
		return begin(exchange);
	is_held = !is_failed && exchange->is_staging_held && exchange_push_would_stage(exchange);
	if (is_held && exchange->answers == NULL) {
		*has_step = true;
		*step_r = EXCHANGE_WAIT;
		return 0;
	}
	if (!is_failed && !is_held)
		rc = exchange->phase->send(exchange, request);
	if (rc < 0)
		return rc;
	*has_step = true;
	if (rc > 0) {
		exchange->awaiting++;
		exchange->result.request_count++;
		*step_r = EXCHANGE_SEND;
		return 0;
	}
	if (exchange->awaiting > 0 && exchange->answers == NULL) {
		*step_r = EXCHANGE_WAIT;
		return 0;
	}
	if (exchange->awaiting == 0 && is_failed && try_again(exchange)) {
		*has_step = false;
		return 0;
	}
	if (exchange->awaiting == 0 && is_failed) {
		*step_r = EXCHANGE_FAILED;
		return 0;
	}
	*has_step = false;
	return exchange->awaiting > 0 ? take_next(exchange) : exchange->phase->finish(exchange);
}

void exchange_hold_staging(struct exchange *exchange, bool is_held)
{
	exchange->is_staging_held = is_held;
}

enum exchange_step exchange_next(struct exchange *exchange, struct buffer *request_r)
{
	enum exchange_step step = EXCHANGE_FAILED;
	bool has_step = false;

	buffer_clear(request_r);
	while (!has_step) {
		int rc = advance(exchange, request_r, &has_step, &step);

		if (rc < 0) {
			has_step = false;
			buffer_clear(request_r);
			if (exchange->result.error.code == 0)
				error_set(&exchange->result.error, rc, "%s", error_name(rc));
		}
		if (exchange->is_done)
			return EXCHANGE_DONE;
	}
	return step;
}
