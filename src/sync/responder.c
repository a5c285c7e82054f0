#include "sync/responder_private.h"

#include "mail/away.h"
#include "mail/hold.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define SOFTWARE "chapar"

struct sync_session *sync_session_new(struct mail *mail, const struct sync_rights *rights)
{
	struct sync_session *session = mem_zalloc(sizeof(*session));

	session->mail = mail;
	session->rights = *rights;
	session->filter.mine = rights->mailboxes;
	return session;
}

void sync_session_on_news(
	struct sync_session *session, void (*function)(void *context), void *context)
{
	assert(session->notify == NULL);
	session->wake = function;
	session->wake_context = context;
}

void sync_session_divert(
	struct sync_session *session, sync_divert_function *function, void *context)
{
	session->divert = function;
	session->divert_context = context;
}

void sync_session_trace(
	struct sync_session *session, struct trace *trace, const char *who, const char *where)
{
	assert(session->trace == NULL);
	session->trace = trace;
	session->who = mem_strdup(who);
	session->where = mem_strdup(where);
}

void session_tell_trace(const struct sync_session *session, enum trace_side side, struct bytes text,
	struct bytes account, uint64_t duration_us)
{
	struct trace_message message = { .side = side,
		.who = session->who,
		.where = session->where,
		.text = text,
		.account = account,
		.duration_us = duration_us };

	if (session->trace != NULL)
		trace_tell(session->trace, &message);
}

void session_unstage(struct sync_session *session)
{
	change_set_deinit(&session->staged);
	arena_free(&session->stage_arena);
	session->staged_size = 0;
	session->part_count = 0;
}

void sync_session_free(struct sync_session **session)
{
	if (*session == NULL)
		return;
	notify_free(&(*session)->notify);
	free((*session)->who);
	free((*session)->where);
	session_unstage(*session);
	body_set_deinit(&(*session)->bodies);
	free((char *)(*session)->filter.theirs);
	free(*session);
	*session = NULL;
}

bool session_has_body(
	const struct sync_session *session, struct kv_txn *kv, const struct guid *guid)
{
	if (body_set_has(&session->bodies, kv, guid))
		return true;
	return rights_sees_bodies(&session->rights) && store_body_exists(kv, guid, NULL) == 0;
}

static int read_account_name(struct sync_call *call, char name_r[ACCOUNT_NAME_SIZE_MAX + 1])
{
	struct bytes name;

	if (dlist_get_text(call->map, "ACCOUNT", &name) < 0 ||
		account_name_normalize(name, name_r) < 0)
		return error_set(call->error, ERR_INVALID, "bad or missing ACCOUNT");
	return 0;
}

static int not_for_you(struct error *error)
{
	return error_set(error, ERR_REFUSED, "this account is not for you");
}

int call_account_name(struct sync_call *call, char name_r[ACCOUNT_NAME_SIZE_MAX + 1])
{
	int rc = read_account_name(call, name_r);

	if (rc == 0 && !rights_sees_account(&call->session->rights, name_r))
		rc = not_for_you(call->error);
	return rc;
}

/* Whether there is an account that he may know nothing of is not told either. */
int call_find(struct sync_call *call, struct kv_txn *kv, const char *name, uint32_t *number_r)
{
	struct foreign_list list = { 0 };
	int rc = account_find(kv, bytes_of_string(name), number_r);

	if (rights_sees_account(&call->session->rights, name))
		return rc == ERR_NOT_FOUND ? error_set(call->error, rc, "no account %s", name) : rc;
	if (rc == 0)
		rc = session_foreign(call->session, kv, *number_r, &list);
	if (rc == ERR_NOT_FOUND || (rc == 0 && list.count == 0))
		rc = not_for_you(call->error);
	foreign_list_deinit(&list);
	return rc;
}

int call_any_account(struct sync_call *call, struct kv_txn *kv, struct account_header *header_r)
{
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	uint32_t number;
	int rc = read_account_name(call, name);

	if (rc == 0)
		rc = call_find(call, kv, name, &number);
	return rc < 0 ? rc : account_load(kv, number, header_r);
}

int call_whole_account(struct sync_call *call, struct kv_txn *kv, struct account_header *header_r)
{
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	int rc = call_account_name(call, name);

	return rc < 0 ? rc : call_account(call, kv, header_r);
}

int call_account(struct sync_call *call, struct kv_txn *kv, struct account_header *header_r)
{
	int rc = call_any_account(call, kv, header_r);

	return rc < 0 ? rc : session_check_fill(call->session, kv, header_r, call->error);
}

int session_check_fill(const struct sync_session *session, struct kv_txn *kv,
	const struct account_header *header, struct error *error)
{
	struct account_fill fill;
	int rc;

	if (header->hold == ACCOUNT_AWAY)
		return account_away_refuse(kv, header, error);
	if (header->hold != ACCOUNT_FILLING)
		return 0;
	rc = account_fill_get(kv, header->number, &fill);
	if (rc < 0)
		return rc;
	if (fill.source == session->peer && session->rights.is_full)
		return 0;
	return error_set(error, ERR_UNAVAILABLE, "the account is being filled from node %016llx",
		(unsigned long long)fill.source);
}

int call_number(struct sync_call *call, const char *key, uint64_t max, uint64_t *number_r)
{
	if (dlist_get_number(call->map, key, max, number_r) < 0)
		return error_set(call->error, ERR_INVALID, "bad or missing %s", key);
	return 0;
}

int call_common(struct sync_call *call, uint64_t *common_r)
{
	int rc = dlist_get_number(call->map, "COMMON", UINT64_MAX, common_r);

	if (rc == ERR_NOT_FOUND)
		*common_r = 0;
	else if (rc < 0)
		return error_set(call->error, ERR_INVALID, "bad COMMON");
	return 0;
}

int call_changes(struct sync_call *call, struct change_set *set_r)
{
	int rc;

	*set_r = (struct change_set){ 0 };
	rc = wire_get_changes(call->map, call->arena, set_r, call->error);
	if (rc < 0)
		change_set_deinit(set_r);
	else
		change_set_normalize(set_r);
	return rc;
}

void answer_changes(struct dlist_writer *writer, const struct account_header *header,
	struct digest digest, const struct change_set *set)
{
	dlist_put_number_of(writer, "SEQUENCE", set->sequence);
	dlist_put_number_of(writer, "HIGHEST", set->highest);
	wire_put_digest_of(writer, "DIGEST", digest);
	if (set->sequence != header->sequence)
		dlist_put_number_of(writer, "MORE", 1);
	wire_put_changes(writer, set);
}

/* ---- HELLO ---- */

static int same_node(struct error *error, uint64_t node)
{
	return error_set(error, ERR_REFUSED,
		"both stores have the node id %016llx: one is a copy of the other and must be "
		"given a new id",
		(unsigned long long)node);
}

/* What this node is called, where that is known. */
static void put_name(struct dlist_writer *writer, const struct node_name *name)
{
	if (name->name[0] != '\0')
		dlist_put_text_of(writer, "NAME", bytes_of_string(name->name));
	if (name->host[0] != '\0')
		dlist_put_text_of(writer, "HOST", bytes_of_string(name->host));
}

static void put_patterns(struct dlist_writer *writer, const char *key, const char *patterns)
{
	if (patterns != NULL && patterns[0] != '\0')
		dlist_put_text_of(writer, key, bytes_of_string(patterns));
}

void sync_hello_request_as(
	const struct sync_self *self, const char *mailboxes, struct buffer *request)
{
	struct dlist_writer writer = wire_begin(request, DLIST_REQUEST, "HELLO");

	wire_put_node_of(&writer, "NODE", self->node);
	dlist_put_number_of(&writer, "VERSION", SYNC_VERSION);
	dlist_put_text_of(&writer, "SOFTWARE", BYTES_LITERAL(SOFTWARE));
	put_name(&writer, &self->name);
	put_patterns(&writer, "VIEW", mailboxes);
	dlist_end_map(&writer);
}

static struct sync_self self_of(struct mail *mail)
{
	return (struct sync_self){ mail_node(mail), *mail_node_name(mail) };
}

void sync_hello_request(struct mail *mail, const char *mailboxes, struct buffer *request)
{
	struct sync_self self = self_of(mail);

	sync_hello_request_as(&self, mailboxes, request);
}

static void name_read(const struct dlist *map, const char *key, char *text, size_t size)
{
	struct bytes name;

	if (dlist_get_text(map, key, &name) == 0 && name.len < size)
		snprintf(text, size, "%.*s", BYTES_ARGS(name));
}

static int hello_read(
	const struct dlist *map, uint64_t node, struct sync_peer *peer_r, struct error *error)
{
	uint64_t version, is_full = 0, takes_packed = 0;

	*peer_r = (struct sync_peer){ 0 };
	if (dlist_get_number(map, "VERSION", UINT32_MAX, &version) < 0 ||
		wire_get_node(map, "NODE", &peer_r->node) < 0 || peer_r->node == 0)
		return error_set(error, ERR_INVALID, "bad or missing NODE or VERSION");
	(void)dlist_get_number(map, "FULL", 1, &is_full);
	peer_r->is_full = is_full != 0;
	(void)dlist_get_number(map, "PACKED", 1, &takes_packed);
	peer_r->takes_packed = takes_packed != 0;
	name_read(map, "NAME", peer_r->name.name, sizeof(peer_r->name.name));
	name_read(map, "HOST", peer_r->name.host, sizeof(peer_r->name.host));
	if (version != SYNC_VERSION)
		return error_set(error, ERR_VERSION,
			"the peer speaks version %llu of the protocol, not %d",
			(unsigned long long)version, SYNC_VERSION);
	return peer_r->node == node ? same_node(error, peer_r->node) : 0;
}

/* Patterns that a HELLO may hold. "" if it holds none. */
static int view_read(const struct dlist *map, const char *key,
	char patterns_r[ACCOUNT_FILTER_SIZE_MAX + 1], struct error *error)
{
	struct bytes text;
	int rc = dlist_get_text(map, key, &text);

	patterns_r[0] = '\0';
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0 || text.len > ACCOUNT_FILTER_SIZE_MAX)
		return error_set(error, ERR_INVALID, "bad %s", key);
	snprintf(patterns_r, ACCOUNT_FILTER_SIZE_MAX + 1, "%.*s", BYTES_ARGS(text));
	if (strlen(patterns_r) != text.len)
		return error_set(error, ERR_INVALID, "bad %s", key);
	return mailbox_filter_check(patterns_r, error);
}

static int hello_view(struct sync_call *call)
{
	struct sync_session *session = call->session;
	char patterns[ACCOUNT_FILTER_SIZE_MAX + 1];
	int rc = view_read(call->map, "VIEW", patterns, call->error);

	if (rc < 0)
		return rc;
	free((char *)session->filter.theirs);
	session->filter.theirs = patterns[0] != '\0' ? mem_strdup(patterns) : NULL;
	return 0;
}

static int respond_hello(struct sync_call *call)
{
	struct sync_session *session = call->session;
	struct dlist_writer writer;
	struct sync_peer peer;
	int rc = hello_read(call->map, mail_node(session->mail), &peer, call->error);

	if (rc < 0)
		return rc;
	rc = hello_view(call);
	if (rc < 0)
		return rc;
	session->peer = peer.node;
	session->has_peer = true;
	writer = wire_begin(call->answer, DLIST_ANSWER, "HELLO");
	wire_put_node_of(&writer, "NODE", mail_node(session->mail));
	dlist_put_number_of(&writer, "VERSION", SYNC_VERSION);
	dlist_put_text_of(&writer, "SOFTWARE", BYTES_LITERAL(SOFTWARE));
	dlist_put_number_of(&writer, "BODYMAX", SYNC_BODY_SIZE_MAX);
	dlist_put_number_of(&writer, "FULL", session->rights.is_full ? 1 : 0);
	if (session->rights.is_full)
		dlist_put_number_of(&writer, "PACKED", 1);
	put_name(&writer, mail_node_name(session->mail));
	put_patterns(&writer, "VIEW", session->filter.theirs);
	put_patterns(&writer, "LIMIT", session->filter.mine);
	dlist_end_map(&writer);
	return 0;
}

/* A peer that knows nothing of views would take what we hold for all that there is. */
static int check_view(
	const struct dlist *map, const char *mailboxes, struct sync_peer *peer, struct error *error)
{
	char patterns[ACCOUNT_FILTER_SIZE_MAX + 1];
	int rc = view_read(map, "VIEW", patterns, error);

	if (rc == 0 && strcmp(patterns, mailboxes != NULL ? mailboxes : "") != 0)
		rc = error_set(error, ERR_VERSION, "the peer cannot exchange a part of an account");
	return rc < 0 ? rc : view_read(map, "LIMIT", peer->mailboxes, error);
}

int sync_hello_check_as(const struct sync_self *self, const char *mailboxes, struct bytes answer,
	struct sync_peer *peer_r, struct error *error)
{
	struct arena *arena = arena_new();
	const struct dlist *map;
	struct sync_peer peer;
	int rc = wire_answer_as(answer, "HELLO", "HELLO", arena, &map, error);

	if (rc == 0)
		rc = hello_read(map, self->node, &peer, error);
	if (rc == 0)
		rc = check_view(map, mailboxes, &peer, error);
	if (rc == 0)
		*peer_r = peer;
	arena_free(&arena);
	return rc;
}

int sync_hello_check(struct mail *mail, const char *mailboxes, struct bytes answer,
	struct sync_peer *peer_r, struct error *error)
{
	struct sync_self self = self_of(mail);

	return sync_hello_check_as(&self, mailboxes, answer, peer_r, error);
}

/* ---- dispatch ---- */

/* HELLO is the first: a diverted session answers it, too. */
static const struct sync_verb {
	const char *name;
	bool needs_peer; /* HELLO must have come */
	bool needs_full; /* for full peers only */
	bool writes;     /* not for those who may only read */
	int (*respond)(struct sync_call *call);
} verbs[] = {
	{ "HELLO", false, false, false, respond_hello },
	{ "POINTS", true, false, false, respond_points },
	{ "CHANGES", true, false, false, respond_changes },
	{ "LACKS", true, false, false, respond_lacks },
	{ "GET", true, false, false, respond_get },
	{ "PUT", true, false, true, respond_put },
	{ "STAGE", true, false, true, respond_stage },
	{ "APPEND", true, false, true, respond_append },
	{ "ARRANGE", true, false, true, respond_arrange },
	{ "GETACL", true, false, false, respond_getacl },
	{ "SETACL", true, false, true, respond_setacl },
	{ "APPLY", true, false, true, respond_apply },
	{ "FILL", true, true, true, respond_fill },
	{ "INTEGRATE", true, true, true, respond_integrate },
	{ "RANGE", true, false, false, respond_range },
	{ "RECORDS", true, false, false, respond_records },
	{ "NOTIFY", true, false, false, respond_notify },
	{ "ADMIT", true, true, true, respond_admit },
};
#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

static int dispatch(struct sync_call *call, struct bytes name)
{
	struct sync_session *session = call->session;
	int rc;

	if (session->divert != NULL && !bytes_equal_string_nocase(name, verbs[0].name)) {
		if (!session->has_peer)
			return error_set(call->error, ERR_INVALID, "HELLO must come first");
		return session->divert(
			session->divert_context, name, call->map, call->answer, call->error);
	}
	for (size_t i = 0; i < VERB_COUNT; i++) {
		const struct sync_verb *verb = &verbs[i];

		if (!bytes_equal_string_nocase(name, verb->name))
			continue;
		if (verb->needs_peer && !call->session->has_peer)
			return error_set(call->error, ERR_INVALID, "HELLO must come first");
		if (verb->needs_full && !call->session->rights.is_full)
			return error_set(
				call->error, ERR_REFUSED, "%s is for peer nodes", verb->name);
		if (verb->writes && call->session->rights.is_read_only)
			return error_set(call->error, ERR_REFUSED,
				"%s: this user may not change anything here", verb->name);
		rc = call_read_also(call);
		return rc < 0 ? rc : verb->respond(call);
	}
	return error_set(call->error, ERR_INVALID, "unknown verb");
}

/* A long request comes as one literal, because servers bound what a command may hold outside of
 * literals. */
static struct bytes unwrap(struct bytes request, struct arena *arena)
{
	const struct dlist *whole;
	struct bytes in = request;

	if (bytes_peek(request) != '{' || dlist_parse(&in, arena, &whole, NULL) < 0 || in.len > 0 ||
		whole->kind != DLIST_STRING)
		return request;
	return whole->text;
}

bool sync_is_push(struct bytes request)
{
	struct bytes verb;

	if (bytes_peek(request) == '{')
		bytes_skip(&request, bytes_find(request, '\n'));
	bytes_skip(&request, bytes_peek(request) == '\n' ? 1 : 0);
	verb = bytes_take(&request, bytes_find(request, ' '));
	return bytes_equal_string_nocase(verb, "PUT") || bytes_equal_string_nocase(verb, "APPLY");
}

static int respond(struct sync_session *session, struct bytes request, struct buffer *answer,
	struct error *error)
{
	struct error own = { 0 };
	struct sync_call call = { .session = session,
		.arena = arena_new(),
		.answer = answer,
		.error = error != NULL ? error : &own };
	size_t answer_begin = answer->len;
	struct bytes verb;
	int rc;

	*call.error = (struct error){ 0 };
	call.text = unwrap(request, call.arena);
	rc = wire_parse_at_most(call.text, call.arena,
		session->rights.is_full ? DLIST_VALUE_COUNT_MAX : SYNC_USER_VALUE_COUNT_MAX, &verb,
		&call.map, call.error);
	if (rc == 0)
		rc = dispatch(&call, verb);
	if (rc < 0) {
		if (call.error->code == 0)
			error_set(call.error, rc, "%s", error_name(rc));
		buffer_truncate(answer, answer_begin);
	}
	if (rc == ERR_REFUSED && call.refused.instance_count + call.refused.setting_count > 0)
		foreign_put_refused(answer, call.error->text, &call.refused);
	else if (rc < 0)
		wire_put_error(answer, rc, call.error->text,
			rc == ERR_REPLICA ? call_away_node(&call) : 0);
	arena_free(&call.arena);
	return rc;
}

int sync_respond(struct sync_session *session, struct bytes request, struct buffer *answer,
	struct error *error)
{
	bool is_traced = trace_is_read(session->trace);
	uint64_t begin_us = is_traced ? clock_monotonic_us() : 0;
	size_t begin = answer->len;
	struct bytes account, told;
	int rc;

	if (!is_traced)
		return respond(session, request, answer, error);
	account = trace_account(request);
	session_tell_trace(session, TRACE_RECEIVED, request, account, TRACE_UNTIMED);
	rc = respond(session, request, answer, error);
	told = buffer_bytes(answer);
	bytes_skip(&told, begin);
	session_tell_trace(session, TRACE_SENT, told, account, clock_monotonic_us() - begin_us);
	return rc;
}
