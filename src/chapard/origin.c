#include "chapard/origin_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "chapard/channel_link.h"
#include "sync/survey.h"

#include <stdlib.h>
#include <unistd.h>

#define WAIT_MS 500 /* of one step that only waits */

/* On the committer's thread: something changed here, which the origin is to have. */
static void wake(void *context, const struct feed_news *news, size_t count)
{
	struct origin *origin = context;

	(void)news;
	(void)count;
	net_client_wake(origin->client);
}

struct origin *origin_new(struct mail *mail, const struct origin_options *options)
{
	struct origin *origin = mem_zalloc(sizeof(*origin));

	origin->mail = mail;
	origin->options = *options;
	origin->pause_ms = ORIGIN_PAUSE_MIN_MS;
	(void)account_name_normalize(bytes_of_string(options->config->user), origin->user);
	return origin;
}

static void accounts_clear(struct origin *origin)
{
	for (size_t i = 0; i < origin->account_count; i++) {
		foreign_list_deinit(&origin->accounts[i].mailboxes);
		free(origin->accounts[i].ids);
	}
	origin->account_count = origin->account_next = 0;
}

static void disconnect(struct origin *origin)
{
	exchange_free(&origin->exchange);
	if (origin->client != NULL && origin->options.is_watch)
		store_unlisten(mail_store(origin->mail), wake, origin);
	channel_link_close(&origin->link);
	net_client_free(&origin->client);
}

void origin_free(struct origin **origin)
{
	if (*origin == NULL)
		return;
	disconnect(*origin);
	accounts_clear(*origin);
	origin_hand_deinit(*origin);
	free((*origin)->accounts);
	buffer_deinit(&(*origin)->request);
	free(*origin);
	*origin = NULL;
}

static uint64_t now_ms(void)
{
	return clock_now_ms(clock_system());
}

/* ---- the connection ---- */

static struct channel_link_options link_options(const struct origin *origin)
{
	const struct config_origin *config = origin->options.config;
	struct channel_link_options options = {
		.host = config->address.host != NULL ? config->address.host : config->address.path,
		.port = config->address.port,
		.user = config->user,
		.password = origin->options.password,
		.tls = (enum channel_tls)config->tls,
		.tls_options = { .verify = config->pin.is_set ? NET_VERIFY_PIN : NET_VERIFY_CA,
			.ca_path = config->ca_file },
	};

	memcpy(options.tls_options.pin, config->pin.bytes, NET_PIN_SIZE);
	return options;
}

int origin_ask(struct origin *origin, struct bytes *answer_r, struct error *error)
{
	int rc = channel_link_request(origin->link, buffer_bytes(&origin->request), error);

	origin->request_count++;
	if (rc == 0)
		rc = channel_link_flush(origin->link, error);
	return rc < 0 ? rc : channel_link_answer(origin->link, answer_r, error);
}

/* A round begins: what others are to have comes first, for it may have to be kept elsewhere. */
static void round_begin(struct origin *origin)
{
	origin_hand_begin(origin);
	origin->phase = origin->options.mode == ORIGIN_PULL || origin->peer.is_full ? PHASE_SURVEY
										    : PHASE_HAND;
}

/* So that changes there need not be asked for. */
static int notify_ask(struct origin *origin, struct error *error)
{
	struct bytes answer;
	int rc;

	buffer_clear(&origin->request);
	buffer_append_string(&origin->request, "NOTIFY %(ALL 1 OTHERS 1 RECORDS 0)");
	rc = origin_ask(origin, &answer, error);
	origin->has_notify = rc == 0 && bytes_start_with(answer, BYTES_LITERAL("NOTIFY "));
	return rc;
}

static int connect_step(struct origin *origin, struct error *error)
{
	struct channel_link_options options = link_options(origin);
	int rc;

	origin->client = net_client_new();
	if (origin->options.is_watch)
		store_listen(mail_store(origin->mail), wake, origin);
	rc = channel_link_open(
		&options, origin->mail, origin->client, &origin->link, &origin->peer, error);
	if (rc == 0 && origin->peer.mailboxes[0] != '\0')
		rc = error_set(error, ERR_REFUSED,
			"the server shows us some mailboxes only (%.200s); that is for nodes",
			origin->peer.mailboxes);
	if (rc < 0)
		return rc;
	if (origin->options.is_watch && origin->options.tell_connection != NULL &&
		origin->pause_ms > ORIGIN_PAUSE_MIN_MS)
		origin->options.tell_connection(origin->options.context, &(struct error){ 0 });
	origin->has_connected = true;
	origin->pause_ms = ORIGIN_PAUSE_MIN_MS;
	origin->state.peer = origin->peer.node;
	round_begin(origin);
	rc = origin->options.is_watch ? notify_ask(origin, error) : 0;
	return rc < 0 ? rc : ORIGIN_MORE;
}

/* ---- which accounts there are ---- */

/* What is seen of it, which is to outlive the answer. */
static void account_set_foreign(struct origin_account *account, const struct survey_account *theirs)
{
	const struct foreign_list *mailboxes = &theirs->mailboxes;
	struct foreign_list *list = &account->mailboxes;

	account->is_foreign = true;
	account->is_shared = theirs->is_shared;
	account->ids = mem_alloc((mailboxes->count + 1) * sizeof(*account->ids));
	mem_grow((void **)&list->list, &list->room, mailboxes->count + 1, sizeof(*list->list));
	for (size_t i = 0; i < mailboxes->count; i++) {
		account->ids[i] = mailboxes->list[i].id;
		list->list[list->count++] = mailboxes->list[i];
	}
}

static int account_add(
	struct origin *origin, const struct survey_account *theirs, struct error *error)
{
	struct origin_account *account;

	if (!theirs->exists)
		return 0;
	mem_grow((void **)&origin->accounts, &origin->account_room, origin->account_count + 1,
		sizeof(*origin->accounts));
	account = &origin->accounts[origin->account_count];
	*account = (struct origin_account){ 0 };
	/* Of the user's own there is all, whatever the origin says. */
	if (account_name_normalize(theirs->name, account->name) < 0 ||
		(theirs->is_foreign && strcmp(account->name, origin->user) == 0))
		return error_set(error, ERR_INVALID, "the origin tells of a bad account name");
	if (theirs->is_foreign)
		account_set_foreign(account, theirs);
	account->sequence = theirs->sequence;
	account->digest = theirs->digest;
	account->highest = theirs->highest;
	origin->account_count++;
	return 0;
}

static void prefix_note(struct origin *origin, struct bytes prefix, char at[ORIGIN_PREFIX_SIZE])
{
	char text[ORIGIN_PREFIX_SIZE] = "";

	if (prefix.len == 0 || prefix.len >= sizeof(text))
		return;
	memcpy(text, prefix.ptr, prefix.len);
	if (strcmp(at, text) == 0)
		return;
	memcpy(at, text, sizeof(text));
	origin->is_changed = true;
}

static void prefixes_note(struct origin *origin, struct bytes answer, struct arena *arena)
{
	struct bytes other_users, shared;

	survey_prefixes(answer, arena, &other_users, &shared);
	prefix_note(origin, other_users, origin->state.other_users_prefix);
	prefix_note(origin, shared, origin->state.shared_prefix);
}

/* What others do not let him see any more is not here any more. */
static int forget_unseen(struct origin *origin, struct error *error)
{
	const char **names;
	int rc;

	if (origin->peer.is_full)
		return 0;
	names = mem_alloc((origin->account_count + 1) * sizeof(*names));
	for (size_t i = 0; i < origin->account_count; i++)
		names[i] = origin->accounts[i].name;
	rc = origin_foreign_forget_others(origin, names, origin->account_count, error);
	free(names);
	return rc;
}

static int survey_step(struct origin *origin, struct error *error)
{
	struct arena *arena = arena_new();
	struct survey_account *theirs;
	struct bytes answer;
	size_t count = 0;
	int rc;

	buffer_clear(&origin->request);
	survey_request_others(origin->cursor, &origin->request);
	rc = origin_ask(origin, &answer, error);
	if (rc == 0)
		prefixes_note(origin, answer, arena);
	if (rc == 0)
		rc = survey_answer(answer, arena, &theirs, &count, &origin->cursor, error);
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = account_add(origin, &theirs[i], error);
	arena_free(&arena);
	if (rc < 0)
		return rc;
	if (origin->cursor == 0) {
		rc = forget_unseen(origin, error);
		origin->account_next = 0;
		origin->phase = PHASE_EXCHANGE;
	}
	return rc < 0 ? rc : ORIGIN_MORE;
}

/* ---- the end of a round ---- */

/* One commit for each run that did something, or that is asked after. */
static int state_save(struct origin *origin, const struct error *failure, struct error *error)
{
	struct origin_state *state = &origin->state;

	state->attempt_ms = now_ms();
	state->error[0] = '\0';
	if (failure->code != 0)
		memcpy(state->error, failure->text, sizeof(state->error));
	else
		state->success_ms = state->attempt_ms;
	origin->is_changed = false;
	return origin_state_put(origin->mail, state, error);
}

static int round_end(struct origin *origin, struct error *error)
{
	int rc = 0;

	if (origin->is_changed || !origin->options.is_watch)
		rc = state_save(origin, &origin->first_error, error);
	if (rc < 0)
		return rc;
	if (!origin->options.is_watch) {
		origin->is_over = true;
		*error = origin->first_error;
		return origin->first_error.code != 0 ? origin->first_error.code : ORIGIN_DONE;
	}
	origin->first_error = (struct error){ 0 };
	accounts_clear(origin);
	origin->wake_at_ms =
		clock_monotonic_ms() + (origin->has_notify ? ORIGIN_LOOK_MS : ORIGIN_POLL_MS);
	origin->phase = PHASE_REST;
	return ORIGIN_MORE;
}

static int exchange_phase_step(struct origin *origin, struct error *error)
{
	if (origin->exchange != NULL)
		return origin_account_step(origin, error);
	if (origin->account_next < origin->account_count)
		return origin_account_start(origin, error);
	return round_end(origin, error);
}

/* Until something changes here, the origin says something, or it is time to look there. */
static int rest_step(struct origin *origin, struct error *error)
{
	enum net_wait wait;
	int rc = net_client_wait(origin->client, &wait, WAIT_MS, error);

	if (rc < 0)
		return rc;
	if (wait == NET_WAIT_READABLE)
		rc = channel_link_listen(origin->link, error);
	if (rc == 0 && (wait == NET_WAIT_WOKEN || channel_link_take_news(origin->link) ||
			       clock_monotonic_ms() >= origin->wake_at_ms))
		round_begin(origin);
	return rc < 0 ? rc : ORIGIN_MORE;
}

static int pause_step(struct origin *origin)
{
	if (clock_monotonic_ms() >= origin->wake_at_ms)
		origin->phase = PHASE_CONNECT;
	else
		usleep(WAIT_MS * 1000);
	return ORIGIN_MORE;
}

/* Trying again does not help, and locks the user out in the end. */
static bool is_final(const struct origin *origin, int rc)
{
	return !origin->options.is_watch || (rc == ERR_REFUSED && !origin->has_connected) ||
	       rc == ERR_CORRUPT || rc == ERR_IO;
}

static int step_failed(struct origin *origin, int rc, struct error *error)
{
	struct error ignored = { 0 };

	if (error->code == 0)
		error_set(error, rc, "%s", error_name(rc));
	/* What a clone of nothing would say of its origin is of no use to anyone. */
	if (origin->has_connected || origin->state.success_ms != 0)
		(void)state_save(origin, error, &ignored);
	if (is_final(origin, rc))
		return rc;
	if (origin->options.tell_connection != NULL)
		origin->options.tell_connection(origin->options.context, error);
	*error = (struct error){ 0 };
	disconnect(origin);
	accounts_clear(origin);
	origin->cursor = 0;
	origin->wake_at_ms = clock_monotonic_ms() + origin->pause_ms;
	origin->pause_ms = origin->pause_ms * 2 < ORIGIN_PAUSE_MAX_MS ? origin->pause_ms * 2
								      : ORIGIN_PAUSE_MAX_MS;
	origin->phase = PHASE_PAUSE;
	return ORIGIN_MORE;
}

static int state_load(struct origin *origin)
{
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(origin->mail, 0, &kv);

	if (rc == 0)
		rc = origin_state_get(kv, &origin->state);
	mail_read_end(&kv);
	origin->is_loaded = rc == 0;
	return rc;
}

static int phase_step(struct origin *origin, struct error *error)
{
	switch (origin->phase) {
	case PHASE_CONNECT:
		return connect_step(origin, error);
	case PHASE_HAND:
		return origin_hand_step(origin, error);
	case PHASE_SURVEY:
		return survey_step(origin, error);
	case PHASE_EXCHANGE:
		return exchange_phase_step(origin, error);
	case PHASE_REST:
		return rest_step(origin, error);
	case PHASE_PAUSE:
		return pause_step(origin);
	}
	return ORIGIN_DONE;
}

int origin_step(struct origin *origin, struct error *error)
{
	struct error own = { 0 };
	int rc = 0;

	if (!origin->is_loaded)
		rc = state_load(origin);
	if (rc == 0)
		rc = phase_step(origin, &own);
	if (rc < 0 && !origin->is_over)
		rc = step_failed(origin, rc, &own);
	if (rc < 0 && error != NULL)
		*error = own;
	return rc;
}

void origin_get_progress(const struct origin *origin, struct origin_progress *progress_r)
{
	*progress_r = (struct origin_progress){ 0 };
	if (origin->exchange == NULL)
		return;
	progress_r->account = origin->accounts[origin->account_next].name;
	exchange_get_progress(origin->exchange, &progress_r->bodies);
}

uint64_t origin_account_count(const struct origin *origin)
{
	return origin->equal_count;
}

uint64_t origin_request_count(const struct origin *origin)
{
	return origin->request_count;
}

bool origin_has_connected(const struct origin *origin)
{
	return origin->has_connected;
}
