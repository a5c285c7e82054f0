#include "sync/compare.h"

#include "base/mem.h"
#include "sync/wire.h"

#include <stdlib.h>

/* ---- which accounts ---- */

struct own {
	struct account_header header;
	struct common_point point;
};

static int own_read(struct mail *mail, uint32_t number, uint64_t peer, struct own *own_r)
{
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, mail_position(mail), &kv);

	if (rc == 0)
		rc = account_load(kv, number, &own_r->header);
	if (rc == 0)
		rc = point_get(kv, number, peer, &own_r->point);
	mail_read_end(&kv);
	return rc;
}

static enum compare_state judge(const struct own *own, const struct survey_account *theirs)
{
	if (!theirs->exists)
		return COMPARE_MISSING;
	if (digest_equal(own->header.digest, theirs->digest))
		return COMPARE_EQUAL;
	if (own->point.mine == own->header.sequence && own->point.theirs == theirs->sequence)
		return COMPARE_DIFFERS;
	return COMPARE_UNDER_WAY;
}

static int batch_ask(struct mail *mail, const struct compare_peer *peer, const uint32_t *numbers,
	size_t count, struct own *owns, enum compare_state *states, struct error *error)
{
	struct bytes *names = mem_zalloc_array(count, sizeof(*names));
	struct arena *arena = arena_new();
	struct buffer request = { 0 }, answer = { 0 };
	struct survey_account *theirs = NULL;
	uint64_t cursor;
	size_t told = 0;
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		rc = own_read(mail, numbers[i], peer->node, &owns[i]);
		names[i] = bytes_of_string(owns[i].header.name);
	}
	if (rc == 0) {
		survey_request(names, count, &request);
		rc = peer->ask(peer->context, buffer_bytes(&request), &answer, error);
	}
	if (rc == 0)
		rc = survey_answer(buffer_bytes(&answer), arena, &theirs, &told, &cursor, error);
	if (rc == 0 && told != count)
		rc = error_set(error, ERR_INVALID, "the peer did not tell of all accounts");
	for (size_t i = 0; i < count && rc == 0; i++)
		states[i] = judge(&owns[i], &theirs[i]);
	buffer_deinit(&request);
	buffer_deinit(&answer);
	arena_free(&arena);
	free(names);
	return rc;
}

int compare_accounts(struct mail *mail, const struct compare_peer *peer, const uint32_t *numbers,
	size_t count, enum compare_state *states_r, struct error *error)
{
	struct own *owns = mem_zalloc_array(count + 1, sizeof(*owns));
	int rc = batch_ask(mail, peer, numbers, count, owns, states_r, error);

	/* One that is not for us makes the peer refuse all. */
	if (rc == ERR_REFUSED && count > 1) {
		rc = 0;
		for (size_t i = 0; i < count && (rc == 0 || rc == ERR_REFUSED); i++) {
			rc = batch_ask(mail, peer, &numbers[i], 1, &owns[i], &states_r[i], error);
			if (rc == ERR_REFUSED)
				states_r[i] = COMPARE_MISSING;
		}
		rc = rc == ERR_REFUSED ? 0 : rc;
	} else if (rc == ERR_REFUSED) {
		states_r[0] = COMPARE_MISSING;
		rc = 0;
	}
	if (rc == 0 && error != NULL)
		*error = (struct error){ 0 };
	free(owns);
	return rc;
}

/* ---- what differs first ---- */

struct search {
	struct mail *mail;
	const struct compare_peer *peer;
	uint32_t number;
	struct account_header header;
	struct arena *arena;
	struct change_set theirs; /* mailboxes only, in no order */
	struct digest *digests;   /* of each of them, with its messages */
	struct buffer *text;
	struct buffer request, answer;
};

static int range_ask(
	struct search *search, const struct dlist **map_r, const char *wanted, struct error *error)
{
	struct bytes text;
	int rc;

	buffer_clear(&search->answer);
	rc = search->peer->ask(
		search->peer->context, buffer_bytes(&search->request), &search->answer, error);
	if (rc < 0)
		return rc;
	text = arena_copy(search->arena, buffer_bytes(&search->answer));
	return wire_answer_as(text, wanted, wanted, search->arena, map_r, error);
}

static int their_mailboxes(struct search *search, struct digest *registers_r, struct error *error)
{
	struct dlist_writer writer;
	const struct dlist *map, *points, *at;
	size_t index = 0;
	int rc;

	buffer_clear(&search->request);
	writer = wire_begin(&search->request, DLIST_REQUEST, "RANGE");
	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(search->header.name));
	dlist_end_map(&writer);
	rc = range_ask(search, &map, "RANGE", error);
	if (rc == 0)
		rc = wire_get_changes(map, search->arena, &search->theirs, error);
	if (rc < 0)
		return rc;
	if (dlist_get_list(map, "POINTS", &points) < 0 ||
		points->count != 2 * search->theirs.mailbox_count ||
		wire_get_digest(map, "REGISTERDIGEST", registers_r) < 0)
		return error_set(error, ERR_INVALID, "bad answer to RANGE");
	search->digests = arena_zalloc(
		search->arena, (search->theirs.mailbox_count + 1) * sizeof(*search->digests));
	for (at = points->first; at != NULL; at = at->next->next)
		if (wire_digest(at, &search->digests[index++]) < 0)
			return error_set(error, ERR_INVALID, "bad answer to RANGE");
	return 0;
}

/* Whether the messages of a range of UIDs are the same on both sides. */
static int range_is_equal(struct search *search, struct id128 mailbox, uint32_t first,
	uint32_t last, bool *is_equal_r, struct error *error)
{
	struct dlist_writer writer;
	const struct dlist *map, *points;
	struct digest mine, theirs;
	struct kv_txn *kv = NULL;
	uint32_t count;
	int rc;

	buffer_clear(&search->request);
	writer = wire_begin(&search->request, DLIST_REQUEST, "RANGE");
	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(search->header.name));
	wire_put_id_of(&writer, "MAILBOX", mailbox);
	dlist_put_atom(&writer, "RANGES");
	dlist_begin_list(&writer);
	dlist_put_number(&writer, first);
	dlist_put_number(&writer, last);
	dlist_end_list(&writer);
	dlist_end_map(&writer);
	rc = range_ask(search, &map, "RANGE", error);
	if (rc == 0 && (dlist_get_list(map, "POINTS", &points) < 0 || points->count != 2 ||
			       wire_digest(points->first, &theirs) < 0))
		rc = error_set(error, ERR_INVALID, "bad answer to RANGE");
	if (rc == 0)
		rc = mail_read_begin(search->mail, mail_position(search->mail), &kv);
	if (rc == 0)
		rc = account_range_digest(kv, search->number, mailbox, first, last, &mine, &count);
	mail_read_end(&kv);
	*is_equal_r = rc == 0 && digest_equal(mine, theirs);
	return rc;
}

/* Halves the range in which both sides differ. */
static int message_find(struct search *search, const struct mailbox_record *mailbox, uint32_t last,
	struct error *error)
{
	uint32_t first = 1;
	bool is_equal = true;
	int rc = last > 0 ? range_is_equal(search, mailbox->id, first, last, &is_equal, error) : 0;

	while (rc == 0 && !is_equal && first < last) {
		uint32_t middle = first + (last - first) / 2;
		bool is_left_equal;

		rc = range_is_equal(search, mailbox->id, first, middle, &is_left_equal, error);
		if (is_left_equal)
			first = middle + 1;
		else
			last = middle;
	}
	if (rc < 0)
		return rc;
	if (is_equal)
		buffer_printf(search->text, "mailbox %.*s: its name, UIDVALIDITY or UIDNEXT",
			BYTES_ARGS(mailbox->name));
	else
		buffer_printf(
			search->text, "mailbox %.*s: UID %u", BYTES_ARGS(mailbox->name), first);
	return 0;
}

struct mailbox_list {
	struct mailbox_record *mailboxes;
	size_t count, room;
};

static int mailbox_add(void *context, const struct mailbox_record *mailbox)
{
	struct mailbox_list *list = context;

	mem_grow((void **)&list->mailboxes, &list->room, list->count + 1, sizeof(*list->mailboxes));
	list->mailboxes[list->count++] = *mailbox;
	return 0;
}

static const struct mailbox_record *their_mailbox(
	const struct search *search, struct id128 id, struct digest *digest_r)
{
	for (size_t i = 0; i < search->theirs.mailbox_count; i++)
		if (id128_equal(search->theirs.mailboxes[i].id, id)) {
			*digest_r = search->digests[i];
			return &search->theirs.mailboxes[i];
		}
	return NULL;
}

/* 1: told. */
static int mailbox_compare(
	struct search *search, const struct mailbox_record *mine, struct error *error)
{
	struct digest digest;
	const struct mailbox_record *theirs = their_mailbox(search, mine->id, &digest);
	uint32_t uidnext;
	int rc;

	if (theirs == NULL && !mailbox_is_live(mine))
		return 0;
	if (theirs == NULL || mailbox_is_live(theirs) != mailbox_is_live(mine)) {
		buffer_printf(search->text, "mailbox %.*s: it is there on one side only",
			BYTES_ARGS(mine->name));
		return 1;
	}
	if (digest_equal(mine->digest, digest))
		return 0;
	uidnext = mine->uidnext > theirs->uidnext ? mine->uidnext : theirs->uidnext;
	rc = message_find(search, mine, uidnext - 1, error);
	return rc < 0 ? rc : 1;
}

static int mailboxes_compare(struct search *search, struct error *error)
{
	struct mailbox_list list = { 0 };
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(search->mail, mail_position(search->mail), &kv);

	if (rc == 0)
		rc = account_each_mailbox(kv, search->number, search->arena, mailbox_add, &list);
	mail_read_end(&kv);
	for (size_t i = 0; i < list.count && rc == 0; i++)
		rc = mailbox_compare(search, &list.mailboxes[i], error);
	/* What only they have. */
	for (size_t i = 0; i < search->theirs.mailbox_count && rc == 0; i++) {
		const struct mailbox_record *theirs = &search->theirs.mailboxes[i];
		bool is_here = !mailbox_is_live(theirs);

		for (size_t k = 0; k < list.count && !is_here; k++)
			is_here = id128_equal(list.mailboxes[k].id, theirs->id);
		if (is_here)
			continue;
		buffer_printf(search->text, "mailbox %.*s: it is there on one side only",
			BYTES_ARGS(theirs->name));
		rc = 1;
	}
	free(list.mailboxes);
	return rc;
}

int compare_first_difference(struct mail *mail, const struct compare_peer *peer, uint32_t number,
	struct buffer *text, struct error *error)
{
	struct search search = {
		.mail = mail, .peer = peer, .number = number, .arena = arena_new(), .text = text
	};
	struct digest registers;
	struct own own = { 0 };
	int rc = own_read(mail, number, peer->node, &own);

	search.header = own.header;
	if (rc == 0)
		rc = their_mailboxes(&search, &registers, error);
	if (rc == 0)
		rc = mailboxes_compare(&search, error);
	if (rc == 0)
		buffer_append_string(text, "settings, subscriptions, rights or scripts");
	change_set_deinit(&search.theirs);
	buffer_deinit(&search.request);
	buffer_deinit(&search.answer);
	arena_free(&search.arena);
	return rc < 0 ? rc : 0;
}

/* ---- repair ---- */

struct queue { /* of requests that are not answered yet */
	struct buffer *requests;
	size_t first, count, room;
};

static int queue_ask(struct queue *queue, const struct compare_peer *peer,
	struct exchange *exchange, struct error *error)
{
	struct buffer answer = { 0 };
	int rc = peer->ask(
		peer->context, buffer_bytes(&queue->requests[queue->first]), &answer, error);

	buffer_deinit(&queue->requests[queue->first++]);
	if (rc == 0)
		exchange_answer(exchange, buffer_bytes(&answer));
	buffer_deinit(&answer);
	return rc;
}

int compare_repair(struct mail *mail, const struct compare_peer *peer, uint32_t number,
	struct exchange_result *result_r, struct error *error)
{
	struct exchange *exchange = exchange_new(mail, number, peer->node, NULL);
	struct queue queue = { 0 };
	int rc = 0;

	exchange_set_lossy(exchange);
	for (;;) {
		struct buffer request = { 0 };
		enum exchange_step step = exchange_next(exchange, &request);

		if (step == EXCHANGE_SEND) {
			mem_grow((void **)&queue.requests, &queue.room, queue.count + 1,
				sizeof(*queue.requests));
			queue.requests[queue.count++] = request;
			continue;
		}
		buffer_deinit(&request);
		if (step != EXCHANGE_WAIT)
			break;
		rc = queue_ask(&queue, peer, exchange, error);
		if (rc < 0)
			break;
	}
	*result_r = *exchange_result(exchange);
	if (rc == 0 && result_r->error.code != 0) {
		*error = result_r->error;
		rc = error->code;
	}
	if (rc == 0 && result_r->point.mine != 0)
		rc = point_save(mail, number, peer->node, result_r->point, error);
	while (queue.first < queue.count)
		buffer_deinit(&queue.requests[queue.first++]);
	free(queue.requests);
	exchange_free(&exchange);
	return rc;
}
