#include "sync/mend.h"

#include "base/mem.h"
#include "store/store_mend.h"
#include "sync/changes.h"
#include "sync/wire.h"
#include "sync/withheld.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MESSAGE_COUNT 500u          /* looked at in one step */
#define ASK_SIZE (8u * 1024 * 1024) /* bytes of bodies asked for at once */

struct damaged {
	struct stamp instance;
	struct guid guid;
	uint64_t size;
	int code; /* what reading it gave */
	bool is_mended;
};

struct step {
	struct mend *mend;
	struct account_header header;
	struct damaged *list;
	size_t count, room;
	size_t limit; /* asked for at once */
};

/* ---- looking ---- */

static int body_look(struct step *step, struct kv_txn *kv, const struct message_record *message)
{
	struct damaged *damaged;
	struct buffer raw = { 0 };
	struct guid sum;
	int rc;

	if (!message_is_shown(message) && !message->has_body)
		return 0;
	rc = message_body(step->mend->mail, kv, &message->guid, &raw);
	step->mend->checked_count++;
	if (rc == 0) {
		guid_of(buffer_bytes(&raw), &sum);
		rc = guid_equal(&sum, &message->guid) ? 0 : ERR_CORRUPT;
	}
	buffer_deinit(&raw);
	if (rc != ERR_CORRUPT && rc != ERR_NOT_FOUND)
		return rc;
	mem_grow((void **)&step->list, &step->room, step->count + 1, sizeof(*step->list));
	damaged = &step->list[step->count++];
	*damaged = (struct damaged){ message->instance, message->guid, message->size, rc, false };
	step->mend->damaged_count++;
	return 0;
}

/* Returns 1 if the account has more records. */
static int records_look(struct step *step, struct arena *arena, struct error *error)
{
	struct mend *mend = step->mend;
	struct change_set set = { 0 };
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mend->mail, mail_position(mend->mail), &kv);

	if (rc == 0)
		rc = account_load(kv, mend->account, &step->header);
	if (rc == 0)
		rc = change_set_read(
			kv, &step->header, mend->since, mend->since, MESSAGE_COUNT, arena, &set);
	for (size_t i = 0; rc == 0 && i < set.message_count; i++)
		rc = body_look(step, kv, &set.messages[i].record);
	mail_read_end(&kv);
	if (rc < 0) {
		error_set(error, rc, "the account cannot be read: %s", error_name(rc));
	} else {
		rc = set.sequence < step->header.sequence;
		mend->since = set.sequence;
	}
	change_set_deinit(&set);
	return rc;
}

/* ---- mending ---- */

static int mend_run(struct store_write *write, void *context)
{
	return store_body_mend(write, context);
}

static int body_mend(
	struct step *step, const struct guid *guid, struct bytes raw, struct error *error)
{
	struct store *store = mail_store(step->mend->mail);
	struct store_body *body = NULL;
	struct guid sum;
	uint64_t position;
	int rc = 0;

	guid_of(raw, &sum);
	if (!guid_equal(&sum, guid))
		return 0; /* the peer's is damaged, too */
	rc = store_body_prepare(store, raw, &body);
	if (rc == 0)
		rc = store_commit(store, mend_run, body, error, &position);
	store_body_free(&body);
	if (rc == ERR_NOT_FOUND) {
		*error = (struct error){ 0 };
		return 0;
	}
	for (size_t i = 0; i < step->count && rc == 0; i++)
		if (guid_equal(&step->list[i].guid, guid))
			step->list[i].is_mended = true;
	return rc;
}

/* 1: the peer refuses, as one does that names no DAMAGED if one of them is damaged there. */
static int bodies_take(
	struct step *step, struct bytes answer, struct arena *arena, struct error *error)
{
	const struct dlist *map, *list;
	int rc = wire_answer_as(answer, "GET", "BODIES", arena, &map, error);

	if (rc == 0 && dlist_get_list(map, "BODIES", &list) < 0)
		rc = wire_unanswered("GET", error);
	for (const struct dlist *at = rc == 0 ? list->first : NULL; at != NULL && rc == 0;
		at = at->next->next) {
		struct guid guid;
		struct bytes raw;

		if (at->next == NULL || wire_guid(at, &guid) < 0 || dlist_text(at->next, &raw) < 0)
			return error_set(error, ERR_INVALID, "bad body in an answer");
		rc = body_mend(step, &guid, raw, error);
	}
	return rc;
}

/* Asks for as many from the *next'th on as fit into one answer. */
static int bodies_ask(struct step *step, size_t *next, struct error *error)
{
	const struct compare_peer *peer = step->mend->peer;
	struct arena *arena = arena_new();
	struct buffer request = { 0 }, answer = { 0 };
	struct dlist_writer writer = wire_begin(&request, DLIST_REQUEST, "GET");
	size_t first = *next, at = first;
	uint64_t size = 0;
	int rc;

	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(step->header.name));
	dlist_put_atom(&writer, "INSTANCES");
	dlist_begin_list(&writer);
	do {
		wire_put_stamp(&writer, step->list[at].instance);
		size += step->list[at++].size;
	} while (at < step->count && at - first < step->limit &&
		 size + step->list[at].size <= ASK_SIZE);
	dlist_end_list(&writer);
	dlist_end_map(&writer);
	rc = peer->ask(peer->context, buffer_bytes(&request), &answer, error);
	if (rc == 0)
		rc = bodies_take(step, buffer_bytes(&answer), arena, error);
	if (rc == 0 || at - first == 1)
		*next = at;
	else
		step->limit = 1; /* each by itself: those that are whole there come */
	buffer_deinit(&request);
	buffer_deinit(&answer);
	arena_free(&arena);
	return rc < 0 ? rc : 0;
}

static void damage_tell(struct step *step, const struct damaged *damaged)
{
	char text[200];

	snprintf(text, sizeof(text), "message %" PRIu64 ".%016" PRIx64 ": its bytes are %s%s",
		damaged->instance.modseq, damaged->instance.node,
		damaged->code == ERR_CORRUPT ? "damaged" : "lost",
		!step->mend->is_repair ? ""
		: damaged->is_mended   ? "; repaired: taken from there"
				       : "; not to be had there");
	step->mend->mended_count += damaged->is_mended;
	step->mend->tell(step->mend->context, text);
}

int mend_step(struct mend *mend, struct error *error)
{
	struct step step = { .mend = mend, .limit = MESSAGE_COUNT };
	struct arena *arena = arena_new();
	size_t next = 0;
	int more = records_look(&step, arena, error), rc = more;

	while (rc >= 0 && mend->is_repair && next < step.count)
		rc = bodies_ask(&step, &next, error);
	for (size_t i = 0; i < step.count && rc >= 0; i++)
		damage_tell(&step, &step.list[i]);
	free(step.list);
	arena_free(&arena);
	if (rc >= 0 && more == 0) {
		size_t released;

		rc = withheld_release(mend->mail, mend->account, &released, error);
		mend->released_count += rc == 0 ? released : 0;
	}
	return rc < 0 ? rc : more;
}
