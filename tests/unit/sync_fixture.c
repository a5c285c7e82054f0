#include "sync_fixture.h"

#include "mail/deletion.h"

#include "sync/wire.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ACCOUNT BYTES_LITERAL("anna")

struct node *node_new_with_clock(const struct clock *clock)
{
	struct node *node = mem_zalloc(sizeof(*node));

	assert_int_equal(store_open_memory(&node->store), 0);
	assert_int_equal(mail_open(node->store, clock, &node->mail), 0);
	return node;
}

struct node *node_new(void)
{
	return node_new_with_clock(clock_system());
}

struct node *node_new_with_account(void)
{
	struct node *node = node_new();

	assert_int_equal(mail_account_open(node->mail, ACCOUNT, true, NULL, &node->account), 0);
	return node;
}

void node_free(struct node **node)
{
	if (*node == NULL)
		return;
	sync_session_free(&(*node)->session);
	mail_close(&(*node)->mail);
	store_close(&(*node)->store);
	free(*node);
	*node = NULL;
}

void node_find_account(struct node *node)
{
	assert_int_equal(mail_account_find(node->mail, ACCOUNT, NULL, &node->account), 0);
}

void nodes_connect(struct node *a, struct node *b, const struct sync_rights *rights)
{
	static const struct sync_rights full = { .is_full = true };
	struct buffer request = { 0 }, answer = { 0 };
	struct error error;
	struct sync_peer peer;

	sync_session_free(&b->session);
	b->session = sync_session_new(b->mail, rights != NULL ? rights : &full);
	sync_hello_request(a->mail, a->mailboxes, &request);
	assert_int_equal(sync_respond(b->session, buffer_bytes(&request), &answer, &error), 0);
	assert_int_equal(
		sync_hello_check(a->mail, a->mailboxes, buffer_bytes(&answer), &peer, &error), 0);
	assert_true(peer.node == mail_node(b->mail));
	buffer_deinit(&request);
	buffer_deinit(&answer);
}

static void record(const struct wire *wire, char side, struct bytes text)
{
	if (wire == NULL || wire->transcript == NULL)
		return;
	buffer_append_byte(wire->transcript, side);
	buffer_append_string(wire->transcript, ": ");
	buffer_append_bytes(wire->transcript, text);
	buffer_append_string(wire->transcript, "\n");
}

/* Answers that are on their way, oldest first. */
struct flight {
	struct buffer answers[64];
	size_t first, count;
};

static bool send_request(
	struct node *b, const struct wire *wire, struct bytes request, struct flight *flight)
{
	struct buffer *answer = &flight->answers[(flight->first + flight->count++) % 64];
	struct bytes copy = bytes_of(mem_dup(request.ptr, request.len), request.len);
	struct error error;

	assert_true(flight->count <= 64);
	if (wire != NULL && wire->before != NULL)
		wire->before(wire->context, request);
	buffer_clear(answer);
	(void)sync_respond(b->session, copy, answer, &error);
	record(wire, 'C', request);
	record(wire, 'S', buffer_bytes(answer));
	free((void *)copy.ptr);
	return wire == NULL || wire->loses == NULL ||
	       !wire->loses(wire->context, request, buffer_bytes(answer));
}

struct partial_point {
	uint64_t peer, part;
	struct common_point point;
};

static int save_run(struct account_write *write, void *context)
{
	const struct partial_point *save = context;

	return point_put_of(
		write->store, write->header.number, save->peer, save->part, save->point);
}

static void save_partial_point(
	struct node *a, struct node *b, const struct view_filter *filter, struct common_point point)
{
	struct partial_point save = { mail_node(b->mail), view_filter_key(filter), point };

	assert_int_equal(mail_node_commit(a->mail, a->account, save_run, &save, NULL, NULL), 0);
}

struct exchange_result nodes_try_exchange(struct node *a, struct node *b, const struct wire *wire)
{
	struct exchange *exchange = exchange_new(a->mail, a->account, mail_node(b->mail), NULL);
	struct view_filter filter = { .mine = a->mailboxes };
	struct flight *flight = mem_zalloc(sizeof(*flight));
	struct buffer request = { 0 };
	struct exchange_result result;
	enum exchange_step step;
	bool is_broken = false;

	if (b->session == NULL)
		nodes_connect(a, b, NULL);
	exchange_set_filter(exchange, &filter);
	if (a->part_size > 0)
		exchange_set_part_size(exchange, a->part_size);
	while (!is_broken) {
		step = exchange_next(exchange, &request);
		if (step == EXCHANGE_SEND) {
			is_broken = !send_request(b, wire, buffer_bytes(&request), flight);
		} else if (step == EXCHANGE_WAIT) {
			assert_true(flight->count > 0);
			exchange_answer(exchange, buffer_bytes(&flight->answers[flight->first]));
			flight->first = (flight->first + 1) % 64;
			flight->count--;
		} else {
			break;
		}
	}
	result = *exchange_result(exchange);
	if (is_broken) {
		sync_session_free(&b->session);
		result.error.code = ERR_CLOSED;
	} else if (step == EXCHANGE_DONE) {
		assert_int_equal(flight->count, 0);
		if (a->mailboxes == NULL)
			assert_int_equal(point_save(a->mail, a->account, mail_node(b->mail),
						 result.point, NULL),
				0);
		else
			save_partial_point(a, b, &filter, result.point);
	}
	exchange_free(&exchange);
	for (size_t i = 0; i < 64; i++)
		buffer_deinit(&flight->answers[i]);
	free(flight);
	buffer_deinit(&request);
	return result;
}

struct exchange_result nodes_exchange(struct node *a, struct node *b, const struct wire *wire)
{
	struct exchange_result result = nodes_try_exchange(a, b, wire);

	if (result.error.code != 0)
		fail_msg("exchange failed: %d %s", result.error.code, result.error.text);
	node_find_account(b);
	return result;
}

int node_ask(struct node *b, const char *request, struct buffer *answer_r)
{
	struct error error;

	buffer_clear(answer_r);
	return sync_respond(b->session, bytes_of_string(request), answer_r, &error);
}

/* ---- what clients do ---- */

static struct kv_txn *begin(struct node *node)
{
	struct kv_txn *kv = NULL;

	assert_int_equal(mail_read_begin(node->mail, node->position, &kv), 0);
	return kv;
}

static int find_mailbox(struct node *node, const char *name, struct mailbox_record *mailbox_r)
{
	struct arena *arena = arena_new();
	struct kv_txn *kv = begin(node);
	int rc = account_find_mailbox(kv, node->account, bytes_of_string(name), arena, mailbox_r);

	mail_read_end(&kv);
	arena_free(&arena);
	return rc;
}

struct id128 node_mailbox(struct node *node, const char *name)
{
	struct mailbox_record mailbox;
	struct error error;

	if (find_mailbox(node, name, &mailbox) == 0)
		return mailbox.id;
	assert_int_equal(mailbox_create(node->mail, node->account, bytes_of_string(name),
				 BYTES_LITERAL(""), &error, &mailbox.id, &node->position),
		0);
	return mailbox.id;
}

static void message_text(const char *text, struct buffer *raw)
{
	buffer_printf(raw, "Subject: %s\r\n\r\n%s\r\n", text, text);
}

uint32_t node_append(struct node *node, const char *mailbox, const char *text)
{
	struct buffer raw = { 0 };
	struct mail_body *body = NULL;
	struct append_message append = { .internaldate = 1700000000 };
	struct id128 id = node_mailbox(node, mailbox);
	uint32_t uidvalidity, uid;
	struct error error;

	message_text(text, &raw);
	assert_int_equal(mail_body_prepare(node->mail, buffer_bytes(&raw), &body), 0);
	append.body = body;
	assert_int_equal(mailbox_append(node->mail, node->account, id, &append, 1, &error,
				 &uidvalidity, &uid, &node->position),
		0);
	mail_body_free(&body);
	buffer_deinit(&raw);
	return uid;
}

void node_flag(struct node *node, const char *mailbox, uint32_t uid, const char *flag)
{
	struct uid_set uids = { 0 }, changed = { 0 }, modified = { 0 };
	struct bytes name = bytes_of_string(flag);
	struct error error;

	uid_set_add(&uids, uid, uid);
	assert_int_equal(message_store(node->mail, node->account, node_mailbox(node, mailbox),
				 &uids, FLAGS_ADD, &name, 1, UINT64_MAX, &error, &changed,
				 &modified, &node->position),
		0);
	assert_int_equal(uid_set_size(&changed), 1);
	uid_set_deinit(&uids);
	uid_set_deinit(&changed);
	uid_set_deinit(&modified);
}

bool node_has_mailbox(struct node *node, const char *name)
{
	struct mailbox_record mailbox;

	return find_mailbox(node, name, &mailbox) == 0;
}

void node_move(struct node *node, const char *from, uint32_t uid, const char *to)
{
	struct copy_result result = { 0 };
	struct uid_set uids = { 0 };
	struct error error;

	uid_set_add(&uids, uid, uid);
	assert_int_equal(
		message_copy(node->mail, node->account, node_mailbox(node, from),
			node_mailbox(node, to), &uids, true, &error, &result, &node->position),
		0);
	assert_int_equal(result.count, 1);
	free(result.pairs);
	uid_set_deinit(&uids);
}

void node_expunge(struct node *node, const char *mailbox, uint32_t uid)
{
	struct uid_set uids = { 0 }, expunged = { 0 };
	struct error error;

	node_flag(node, mailbox, uid, "\\Deleted");
	uid_set_add(&uids, uid, uid);
	assert_int_equal(message_expunge(node->mail, node->account, node_mailbox(node, mailbox),
				 &uids, &error, &expunged, &node->position),
		0);
	assert_int_equal(uid_set_size(&expunged), 1);
	uid_set_deinit(&uids);
	uid_set_deinit(&expunged);
}

void node_rename(struct node *node, const char *from, const char *to)
{
	struct error error;

	assert_int_equal(mailbox_rename(node->mail, node->account, bytes_of_string(from),
				 bytes_of_string(to), &error, &node->position),
		0);
}

void node_delete_mailbox(struct node *node, const char *name)
{
	struct error error;

	assert_int_equal(mailbox_delete(node->mail, node->account, bytes_of_string(name), &error,
				 &node->position),
		0);
}

/* ---- what clients see ---- */

struct account_header node_header(struct node *node)
{
	struct account_header header;
	struct kv_txn *kv = begin(node);

	assert_int_equal(account_load(kv, node->account, &header), 0);
	mail_read_end(&kv);
	return header;
}

size_t node_count(struct node *node, const char *mailbox)
{
	struct mailbox_record record;

	return find_mailbox(node, mailbox, &record) == 0 ? record.message_count : 0;
}

struct search {
	struct guid guid;
	uint32_t uid;
};

static int match(void *context, const struct message_record *message)
{
	struct search *search = context;

	if (guid_equal(&search->guid, &message->guid))
		search->uid = message->uid;
	return 0;
}

uint32_t node_uid_of(struct node *node, const char *mailbox, const char *text)
{
	struct mailbox_record record;
	struct search search = { .uid = 0 };
	struct buffer raw = { 0 };
	struct arena *arena;
	struct kv_txn *kv;

	if (find_mailbox(node, mailbox, &record) < 0)
		return 0;
	message_text(text, &raw);
	guid_of(buffer_bytes(&raw), &search.guid);
	buffer_deinit(&raw);
	arena = arena_new();
	kv = begin(node);
	assert_int_equal(account_each_message(kv, node->account, record.id, 1, UINT32_MAX, arena,
				 match, &search),
		0);
	mail_read_end(&kv);
	arena_free(&arena);
	return search.uid;
}

bool node_has_flag(struct node *node, const char *mailbox, uint32_t uid, const char *flag)
{
	struct arena *arena = arena_new();
	struct message_record message;
	struct id128 id = node_mailbox(node, mailbox);
	struct kv_txn *kv = begin(node);
	bool has_flag;

	assert_int_equal(account_get_message_at(kv, node->account, id, uid, arena, &message), 0);
	has_flag = message_has_flag(&message, bytes_of_string(flag));
	mail_read_end(&kv);
	arena_free(&arena);
	return has_flag;
}

static void report(void *context, const char *text)
{
	(void)context;
	fail_msg("verify: %s", text);
}

void nodes_check_equal(struct node *a, struct node *b)
{
	struct account_header left = node_header(a), right = node_header(b);

	assert_int_equal(account_verify(a->mail, a->account, true, report, NULL), 0);
	assert_int_equal(account_verify(b->mail, b->account, true, report, NULL), 0);
	assert_int_equal(left.message_count, right.message_count);
	assert_true(digest_equal(left.digest, right.digest));
}
