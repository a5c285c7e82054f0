/* verify --peer: whether accounts are the same here and on a peer, and bringing them together. */
#include "chapard/admin_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "chapard/json.h"
#include "sync/compare.h"
#include "sync/mend.h"

#include <stdlib.h>
#include <unistd.h>

/* What is under way is looked at again, for so long. */
#define SETTLE_MS 10000
#define SETTLE_PAUSE_US 200000

struct compare_call {
	const char *name;
	struct compare_peer peer;
	const struct admin_live *live;
	bool is_repair;
	uint32_t *numbers; /* accounts of this batch that are not known to be equal */
	size_t count;
	uint64_t settle_until_ms; /* monotonic */
	uint64_t equal_count, request_count;
	struct error error; /* the first repair that failed */
	/* Then, if it is asked for, the bodies of all messages. */
	bool is_mending;
	struct mend mend;
	struct admin_call *call; /* of the step that runs */
	struct buffer *out;      /* the same */
};

static int ask(void *context, struct bytes request, struct buffer *answer, struct error *error)
{
	struct compare_call *compare = context;

	compare->request_count++;
	return compare->live->peer_ask(
		compare->live->context, compare->name, request, answer, error);
}

static void call_free(void *context)
{
	struct compare_call *compare = context;

	free(compare->numbers);
	free(compare);
}

static int begin(struct admin_call *call, struct error *error)
{
	struct compare_call *compare;
	struct admin_node node;
	int rc;

	if (call->admin->live == NULL)
		return error_set(error, ERR_UNAVAILABLE, "the daemon is stopped: no channel runs");
	rc = call->admin->live->peer_find(
		call->admin->live->context, call->arguments[0], &node, error);
	if (rc < 0)
		return rc;
	compare = mem_zalloc(sizeof(*compare));
	compare->name = call->arguments[0];
	compare->live = call->admin->live;
	compare->peer = (struct compare_peer){ node.node, ask, compare };
	compare->is_repair = call->argument_count > 1 && strcmp(call->arguments[1], "repair") == 0;
	compare->numbers = mem_zalloc_array(COMPARE_ACCOUNT_COUNT_MAX, sizeof(uint32_t));
	call->state = compare;
	call->state_free = call_free;
	return 0;
}

/* The next accounts; 0 in *count if there are none. */
static int batch_read(struct admin_call *call, struct error *error)
{
	struct compare_call *compare = call->state;
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->admin->mail, 0, &kv);

	compare->count = 0;
	while (rc == 0 && compare->count < COMPARE_ACCOUNT_COUNT_MAX) {
		rc = account_next(kv, call->account, &header);
		if (rc < 0)
			break;
		call->account = header.number;
		if (header.hold != ACCOUNT_AWAY)
			compare->numbers[compare->count++] = header.number;
	}
	mail_read_end(&kv);
	compare->settle_until_ms = clock_monotonic_ms() + SETTLE_MS;
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return error_set(error, rc, "the accounts cannot be read: %s", error_name(rc));
	return 0;
}

static void finding_tell(struct admin_call *call, const struct account_header *header,
	const char *what, struct buffer *out)
{
	if (admin_has(call, ADMIN_OPTION_JSON)) {
		json_member_string(out, call->finding_count == 0 ? "[{" : ",{", "account",
			bytes_of_string(header->name));
		json_member_string(out, ",", "finding", bytes_of_string(what));
		buffer_append_string(out, "}\n");
	} else {
		buffer_printf(out, "%s: %s\n", header->name, what);
	}
	call->finding_count++;
}

/* Returns what is to be said after the place of the first difference. */
static const char *repair(struct admin_call *call, uint32_t number, struct arena *arena)
{
	struct compare_call *compare = call->state;
	struct exchange_result result;
	struct error error = { 0 };
	int rc = compare_repair(call->admin->mail, &compare->peer, number, &result, &error);

	if (rc < 0) {
		if (compare->error.code == 0)
			compare->error = error;
		return arena_printf(arena, "; not repaired: %s", error.text);
	}
	return arena_printf(arena,
		"; repaired: %u records and %u messages taken from there, %u and %u brought there",
		result.received_count, result.received_body_count, result.sent_count,
		result.sent_body_count);
}

static int difference_tell(
	struct admin_call *call, uint32_t number, struct buffer *out, struct error *error)
{
	struct compare_call *compare = call->state;
	struct arena *arena = arena_new();
	struct buffer where = { 0 };
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->admin->mail, 0, &kv);

	if (rc == 0)
		rc = account_load(kv, number, &header);
	mail_read_end(&kv);
	if (rc == 0)
		rc = compare_first_difference(
			call->admin->mail, &compare->peer, number, &where, error);
	if (rc == 0)
		finding_tell(call, &header,
			arena_printf(arena, "differs from %s, first: %s%s", compare->name,
				buffer_string(&where),
				compare->is_repair ? repair(call, number, arena) : ""),
			out);
	buffer_deinit(&where);
	arena_free(&arena);
	return rc;
}

static int other_tell(struct admin_call *call, uint32_t number, enum compare_state state,
	struct buffer *out, struct error *error)
{
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->admin->mail, 0, &kv);

	if (rc == 0)
		rc = account_load(kv, number, &header);
	mail_read_end(&kv);
	if (rc < 0)
		return error_set(error, rc, "an account cannot be read");
	finding_tell(call, &header,
		state == COMPARE_MISSING ? "is not there, or not for this node"
					 : "is not equal yet: changes are under way",
		out);
	return 0;
}

/* Keeps those that are worth another look; what is certain is told. */
static int batch_judge(struct admin_call *call, const enum compare_state *states,
	struct buffer *out, struct error *error)
{
	struct compare_call *compare = call->state;
	bool is_late = clock_monotonic_ms() >= compare->settle_until_ms;
	size_t kept = 0;
	int rc = 0;

	for (size_t i = 0; i < compare->count && rc == 0; i++) {
		if (states[i] == COMPARE_EQUAL)
			compare->equal_count++;
		else if (states[i] == COMPARE_DIFFERS)
			rc = difference_tell(call, compare->numbers[i], out, error);
		else if (is_late)
			rc = other_tell(call, compare->numbers[i], states[i], out, error);
		else
			compare->numbers[kept++] = compare->numbers[i];
	}
	compare->count = kept;
	return rc;
}

static int finish(struct admin_call *call, struct buffer *out, struct error *error)
{
	const struct compare_call *compare = call->state;

	if (admin_has(call, ADMIN_OPTION_JSON))
		buffer_append_string(out, call->finding_count == 0 ? "[]\n" : "]\n");
	else
		buffer_printf(out, "%llu accounts are equal on %s; %llu requests\n",
			(unsigned long long)compare->equal_count, compare->name,
			(unsigned long long)compare->request_count);
	if (compare->error.code != 0) {
		*error = compare->error;
		return error->code;
	}
	if (call->finding_count > 0)
		return error_set(error, ERR_CORRUPT, "%llu findings",
			(unsigned long long)call->finding_count);
	return ADMIN_DONE;
}

/* ---- bodies ---- */

static void mend_tell(void *context, const char *text)
{
	struct compare_call *compare = context;
	struct account_header header = { 0 };
	struct kv_txn *kv = NULL;

	if (mail_read_begin(compare->mend.mail, 0, &kv) == 0)
		(void)account_load(kv, compare->mend.account, &header);
	mail_read_end(&kv);
	finding_tell(compare->call, &header, text, compare->out);
}

static int mend_next(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct compare_call *compare = call->state;
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc;

	compare->call = call;
	compare->out = out;
	if (compare->mend.account != 0) {
		rc = mend_step(&compare->mend, error);
		if (rc != 0)
			return rc < 0 ? rc : ADMIN_MORE;
	}
	rc = mail_read_begin(call->admin->mail, 0, &kv);
	if (rc == 0)
		rc = account_next(kv, compare->mend.account, &header);
	mail_read_end(&kv);
	if (rc == ERR_NOT_FOUND)
		return finish(call, out, error);
	if (rc < 0)
		return error_set(error, rc, "the accounts cannot be read: %s", error_name(rc));
	compare->mend.account = header.number;
	compare->mend.since = 0;
	return ADMIN_MORE;
}

static int mend_begin(struct admin_call *call)
{
	struct compare_call *compare = call->state;

	compare->is_mending = true;
	compare->mend = (struct mend){ .mail = call->admin->mail,
		.peer = &compare->peer,
		.is_repair = compare->is_repair,
		.tell = mend_tell,
		.context = compare };
	return ADMIN_MORE;
}

int admin_verify_peer(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct compare_call *compare;
	enum compare_state *states;
	int rc = call->state == NULL ? begin(call, error) : 0;

	if (rc < 0)
		return rc;
	compare = call->state;
	if (compare->is_mending)
		return mend_next(call, out, error);
	if (compare->count == 0) {
		rc = batch_read(call, error);
		if (rc == 0 && compare->count == 0)
			return admin_has(call, ADMIN_OPTION_BODIES) ? mend_begin(call)
								    : finish(call, out, error);
	} else {
		usleep(SETTLE_PAUSE_US);
	}
	states = mem_zalloc_array(compare->count + 1, sizeof(*states));
	if (rc == 0)
		rc = compare_accounts(call->admin->mail, &compare->peer, compare->numbers,
			compare->count, states, error);
	if (rc == 0)
		rc = batch_judge(call, states, out, error);
	free(states);
	return rc < 0 ? rc : ADMIN_MORE;
}
