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

void exchange_set_lossy(struct exchange *exchange)
{
	exchange->is_lossy = true;
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
	return rc < 0 ? rc : view_tell(kv, view_r, exchange->told, exchange->told_count);
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
	arena_free(&exchange->their_arena);
	arena_free(&exchange->scratch);
	free(exchange);
	*exchange_ptr = NULL;
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
	int rc = exchange_fill_begin(exchange);

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
	if (rc < 0)
		return error_set(&exchange->result.error, rc, "the account cannot be read");
	memcpy(exchange->name, header.name, sizeof(exchange->name));
	exchange->own = header;
	if (common_point_is_later(exchange->known, exchange->point))
		exchange->point = exchange->known;
	if (exchange->point.mine > header.sequence || exchange->is_anew ||
		header.hold == ACCOUNT_FILLING)
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

/* ---- their changes ---- */

bool exchange_knows_theirs(const struct exchange *exchange)
{
	return exchange->has_theirs && exchange->result.repair_count == 0;
}

void exchange_forget_theirs(struct exchange *exchange)
{
	change_set_deinit(&exchange->theirs);
	arena_reset(exchange->their_arena);
	exchange->has_theirs = false;
	exchange->has_more = true;
	exchange->theirs.sequence =
		exchange->fill.is_pull ? exchange->fill.reached : exchange->point.theirs;
}

void exchange_note_told(struct exchange *exchange, const struct change_set *theirs)
{
	if (view_filter_is_whole(exchange->filter))
		return;
	for (size_t i = 0; i < theirs->mailbox_count; i++) {
		mem_grow((void **)&exchange->told, &exchange->told_room, exchange->told_count + 1,
			sizeof(*exchange->told));
		exchange->told[exchange->told_count++] = theirs->mailboxes[i].id;
	}
}

int exchange_take_changes(struct exchange *exchange, const struct dlist *map, struct bytes text)
{
	struct error *error = &exchange->result.error;
	struct change_set *theirs = &exchange->theirs;
	uint64_t sequence, highest, more = 0, reset = 0, behind;
	struct bytes verb;
	int rc;

	text = arena_copy(exchange->their_arena, text);
	rc = wire_parse(text, exchange->their_arena, &verb, &map, error);
	if (rc < 0)
		return rc;
	if (dlist_get_number(map, "SEQUENCE", UINT64_MAX, &sequence) < 0 ||
		dlist_get_number(map, "HIGHEST", MODSEQ_MAX, &highest) < 0 ||
		wire_get_digest(map, "DIGEST", &exchange->their_digest) < 0)
		return error_set(
			error, ERR_INVALID, "bad SEQUENCE, HIGHEST or DIGEST in an answer");
	(void)dlist_get_number(map, "MORE", 1, &more);
	(void)dlist_get_number(map, "RESET", 1, &reset);
	if (dlist_get_number(map, "BEHIND", UINT64_MAX, &behind) == 0) {
		rc = exchange_return(exchange, behind);
		if (rc < 0)
			return rc;
	}
	if (reset != 0) {
		/* The peer was never where we thought: what was common is not known. */
		exchange->point = (struct common_point){ 0 };
		change_set_deinit(theirs);
	}
	rc = wire_get_changes(map, exchange->their_arena, theirs, error);
	if (rc == 0)
		rc = exchange_fill_look(exchange, map);
	if (rc < 0)
		return rc;
	exchange_note_told(exchange, theirs);
	theirs->since = exchange->point.theirs;
	theirs->sequence = sequence;
	theirs->highest = highest;
	exchange->has_more = more != 0;
	exchange->has_theirs = true;
	exchange->expect = sequence;
	return 0;
}

static int changes_send(struct exchange *exchange, struct buffer *request)
{
	struct dlist_writer writer;

	if (exchange->is_asked || !exchange->has_more ||
		(exchange->has_theirs && exchange_fill_is_part(exchange)))
		return 0;
	exchange->is_asked = true;
	writer = wire_begin(request, DLIST_REQUEST, "CHANGES");
	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(exchange->name));
	dlist_put_number_of(&writer, "SINCE", exchange->theirs.sequence);
	dlist_put_number_of(&writer, "COMMON", exchange->point.theirs);
	exchange_fill_ask(exchange, &writer);
	dlist_end_map(&writer);
	return 1;
}

static int changes_take(
	struct exchange *exchange, struct bytes verb, const struct dlist *map, struct bytes text)
{
	exchange->is_asked = false;
	if (!bytes_equal_string(verb, "CHANGES"))
		return error_set(&exchange->result.error, ERR_INVALID, "CHANGES was not answered");
	return exchange_take_changes(exchange, map, text);
}

static const struct exchange_phase changes_phase = { changes_send, changes_take,
	exchange_begin_bodies };

int exchange_begin_changes(struct exchange *exchange)
{
	if (exchange_is_comparing(exchange)) {
		exchange_forget_theirs(exchange);
		exchange_repair_free(&exchange->repair);
	} else if (!exchange_knows_theirs(exchange)) {
		exchange_forget_theirs(exchange);
	}
	exchange->has_more = true;
	exchange->is_asked = false;
	exchange->phase = &changes_phase;
	return 0;
}

/* ---- the bodies of their messages ---- */

static int list_wanted(struct exchange *exchange)
{
	const struct change_set *theirs = &exchange->theirs;
	uint64_t byte_total = exchange->progress.byte_count;
	size_t room = 0, sizes_room = 0;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(exchange->mail, exchange->position, &kv);

	free(exchange->wanted);
	free(exchange->wanted_sizes);
	exchange->wanted = NULL;
	exchange->wanted_sizes = NULL;
	exchange->wanted_count = exchange->wanted_next = 0;
	for (size_t i = 0; i < theirs->message_count && rc == 0; i++) {
		const struct message_record *message = &theirs->messages[i].record;

		if (!message_is_shown(message) ||
			body_set_has(&exchange->bodies, kv, &message->guid))
			continue;
		rc = store_body_exists(kv, &message->guid, NULL);
		if (rc != ERR_NOT_FOUND)
			continue;
		rc = 0;
		mem_grow((void **)&exchange->wanted, &room, exchange->wanted_count + 1,
			sizeof(*exchange->wanted));
		mem_grow((void **)&exchange->wanted_sizes, &sizes_room, exchange->wanted_count + 1,
			sizeof(*exchange->wanted_sizes));
		exchange->wanted_sizes[exchange->wanted_count] = message->size;
		exchange->wanted[exchange->wanted_count++] = message->instance;
		byte_total += message->size;
	}
	mail_read_end(&kv);
	exchange->progress.body_total = exchange->progress.body_count + exchange->wanted_count;
	exchange->progress.byte_total = byte_total;
	return rc;
}

static int get_send(struct exchange *exchange, struct buffer *request)
{
	struct dlist_writer writer;
	uint64_t size = 0;

	if (exchange->wanted_next == exchange->wanted_count ||
		exchange->awaiting >= EXCHANGE_GET_WINDOW)
		return 0;
	writer = wire_begin(request, DLIST_REQUEST, "GET");
	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(exchange->name));
	dlist_put_number_of(&writer, "COMMON", exchange->point.theirs);
	dlist_put_atom(&writer, "INSTANCES");
	dlist_begin_list(&writer);
	for (size_t count = 0; count < EXCHANGE_GET_BATCH; count++) {
		size_t next = exchange->wanted_next;

		if (next == exchange->wanted_count ||
			(count > 0 && size + exchange->wanted_sizes[next] > SYNC_BATCH_SIZE))
			break;
		size += exchange->wanted_sizes[next];
		wire_put_stamp(&writer, exchange->wanted[next]);
		exchange->wanted_next++;
	}
	dlist_end_list(&writer);
	dlist_end_map(&writer);
	return 1;
}

static int get_take(
	struct exchange *exchange, struct bytes verb, const struct dlist *map, struct bytes text)
{
	struct error *error = &exchange->result.error;
	struct body_item *items;
	const struct dlist *list;
	size_t count = 0;
	int rc;

	(void)text;
	if (!bytes_equal_string(verb, "BODIES") || dlist_get_list(map, "BODIES", &list) < 0)
		return error_set(error, ERR_INVALID, "GET was not answered");
	items = arena_alloc(exchange->scratch, (list->count + 1) * sizeof(*items));
	for (const struct dlist *at = list->first; at != NULL; at = at->next->next) {
		if (at->next == NULL || wire_guid(at, &items[count].guid) < 0 ||
			dlist_text(at->next, &items[count].raw) < 0)
			return error_set(error, ERR_INVALID, "bad body in an answer");
		exchange->progress.byte_count += items[count].raw.len;
		count++;
	}
	rc = body_set_add(&exchange->bodies, exchange->mail, items, count, error);
	if (rc < 0)
		return rc;
	exchange->has_got = exchange->has_got || count > 0;
	exchange->progress.body_count += count;
	exchange->result.received_body_count += (unsigned)count;
	return exchange_take_withheld(exchange, map);
}

static bool has_nothing(const struct change_set *set)
{
	return set->mailbox_count == 0 && set->message_count == 0 && set->register_count == 0;
}

/*
 * If both sides begin exchanges of one busy account and both merge, each merge makes the other's
 * push come too late. So the one with the smaller node id leaves the merging to the other sooner.
 * Where a push is refused and the peer has nothing to tell, what is in the way lies outside of the
 * view (a name or a UIDVALIDITY that is taken): only the peer can merge it.
 */
static bool is_time_to_integrate(const struct exchange *exchange)
{
	unsigned most = mail_node(exchange->mail) < exchange->peer ? EXCHANGE_REFUSED_MAX / 2
								   : EXCHANGE_REFUSED_MAX;

	if (exchange->is_restricted)
		return false;
	return exchange->refused_in_row >= most ||
	       (exchange->illegal_count > 0 && has_nothing(&exchange->theirs));
}

static int merge_and_push(struct exchange *exchange)
{
	int rc;

	if (exchange_is_comparing(exchange))
		return exchange_repair_merge(exchange);
	if (exchange_fill_is_part(exchange))
		return exchange_fill_take(exchange);
	if (exchange->is_pull && has_nothing(&exchange->theirs) && !exchange_is_foreign(exchange))
		return exchange_finish_pull(exchange);
	rc = exchange_forget_unlisted(exchange);
	if (rc < 0)
		return rc;
	rc = exchange_merge(exchange, NULL, 0);
	if (rc == ERR_NOT_FOUND) {
		/* A body that was here has gone meanwhile: look again. */
		rc = exchange_count_refusal(exchange);
		return rc < 0 ? rc : exchange_begin_changes(exchange);
	}
	if (rc < 0)
		return rc;
	return is_time_to_integrate(exchange) ? exchange_begin_integrate(exchange)
					      : exchange_begin_push(exchange);
}

static int get_finish(struct exchange *exchange)
{
	bool has_got = exchange->has_got;
	int rc = list_wanted(exchange);

	exchange->has_got = false;
	if (rc == 0 && exchange->is_withheld_there) {
		/* Its changes are others now; bodies that came stay. */
		exchange->is_withheld_there = false;
		if (!has_got)
			rc = exchange_count_refusal(exchange);
		exchange_forget_theirs(exchange);
		return rc < 0 ? rc : exchange_begin_changes(exchange);
	}
	if (rc < 0 || (exchange->wanted_count > 0 && has_got))
		return rc;
	if (exchange->wanted_count == 0)
		return merge_and_push(exchange);
	/* What we asked for has been expunged there since it was told of. */
	rc = exchange_count_refusal(exchange);
	if (rc == 0 && exchange_fill_is_part(exchange))
		exchange_forget_theirs(exchange);
	return rc < 0 ? rc : exchange_begin_changes(exchange);
}

static const struct exchange_phase get_phase = { get_send, get_take, get_finish };

int exchange_begin_bodies(struct exchange *exchange)
{
	const struct change_set *theirs = &exchange->theirs;
	int rc;

	if (exchange->has_more && !exchange_fill_is_part(exchange)) {
		exchange->is_asked = false;
		exchange->phase = &changes_phase;
		return 0;
	}
	change_set_normalize(&exchange->theirs);
	exchange->result.received_count +=
		(unsigned)(theirs->mailbox_count + theirs->message_count + theirs->register_count);
	exchange->has_got = false;
	exchange->phase = &get_phase;
	rc = list_wanted(exchange);
	return rc < 0 || exchange->wanted_count > 0 ? rc : merge_and_push(exchange);
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
	uint64_t clock_before;
	struct error error;
};

static int merge_run(struct account_write *write, void *context)
{
	struct merge_context *merge = context;

	merge->error = (struct error){ 0 };
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
					       .compared = compared,
					       .expect = expect,
					       .merged_at = exchange->integrated_at } };
	int rc = mail_node_commit(exchange->mail, exchange->account, merge_run, &merge,
		&exchange->result.error, &exchange->position);

	if (rc < 0) {
		exchange->result.error = merge.error;
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

static int refused_by_peer(struct exchange *exchange, const struct dlist *map)
{
	exchange->is_refused_by_peer = true;
	return wire_error(map, &exchange->result.error);
}

static int take_next(struct exchange *exchange)
{
	struct bytes text = buffer_bytes(&exchange->answers->text);
	struct error *error = &exchange->result.error;
	const struct dlist *map;
	struct bytes verb;
	int rc = 0;

	exchange->awaiting--;
	if (error->code == 0) {
		arena_reset(exchange->scratch);
		rc = wire_parse(text, exchange->scratch, &verb, &map, error);
		if (rc == 0 && bytes_equal_string(verb, "ERROR"))
			rc = refused_by_peer(exchange, map);
		else if (rc == 0)
			rc = exchange->phase->take(exchange, verb, map, text);
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
