/*
 * SYNC requests from a peer that does not behave, and answers of one. The input is a byte that says
 * whom it plays, then texts separated by a line of one dot. The copy must stay consistent
 * (account_verify) whatever comes. Whom: 'f' a peer that asks, 'F' one that asks while the account
 * is as it was made, so that a first copy may come in parts; 'a' one that answers, 'A' one that
 * answers us who send parts of one record; any other, a user.
 * "$E" in a request stands for the account's present sequence, so that changes get beyond the first
 * check.
 */
#include "sync/exchange.h"
#include "sync/responder.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define REQUEST_COUNT_MAX 8
#define NEWS_COUNT_MAX 100 /* after one request */

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

struct copy {
	struct store *store;
	struct mail *mail;
	uint32_t account;
	struct id128 inbox;
};

static void check(bool is_right)
{
	if (!is_right)
		abort();
}

static void messages_append(struct copy *copy)
{
	static const char raw[] = "Subject: one\r\n\r\none\r\n";
	struct append_message append = { .internaldate = 1700000000 };
	struct mail_body *body = NULL;
	uint32_t uidvalidity, uid;
	uint64_t position;

	check(mail_body_prepare(copy->mail, bytes_of(raw, sizeof(raw) - 1), &body) == 0);
	append.body = body;
	for (int i = 0; i < 2; i++)
		check(mailbox_append(copy->mail, copy->account, copy->inbox, &append, 1, NULL,
			      &uidvalidity, &uid, &position) == 0);
	mail_body_free(&body);
}

static void copy_open(struct copy *copy, bool has_mail)
{
	struct mailbox_record inbox;
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;

	check(store_open_memory(&copy->store) == 0);
	check(mail_open(copy->store, clock_system(), &copy->mail) == 0);
	check(mail_account_open(copy->mail, BYTES_LITERAL("anna"), true, NULL, &copy->account) ==
		0);
	check(mail_read_begin(copy->mail, 0, &kv) == 0);
	check(account_find_mailbox(kv, copy->account, BYTES_LITERAL("INBOX"), arena, &inbox) == 0);
	mail_read_end(&kv);
	copy->inbox = inbox.id;
	arena_free(&arena);
	if (has_mail)
		messages_append(copy);
}

static void finding(void *context, const char *text)
{
	(void)context;
	fprintf(stderr, "verify: %s\n", text);
	abort();
}

static void copy_close(struct copy *copy)
{
	check(account_verify(copy->mail, copy->account, true, finding, NULL) == 0);
	mail_close(&copy->mail);
	store_close(&copy->store);
}

/* The next text; false at the end. */
static bool next_text(struct bytes *in, struct bytes *text_r)
{
	static const struct bytes separator = { (const unsigned char *)"\n.\n", 3 };

	*text_r = *in;
	if (in->len == 0)
		return false;
	for (size_t i = 0; i + separator.len <= in->len; i++) {
		if (memcmp(in->ptr + i, separator.ptr, separator.len) != 0)
			continue;
		text_r->len = i;
		bytes_skip(in, i + separator.len);
		return true;
	}
	bytes_skip(in, in->len);
	return true;
}

static struct account_header header_of(struct copy *copy)
{
	struct account_header header;
	struct kv_txn *kv = NULL;

	check(mail_read_begin(copy->mail, 0, &kv) == 0);
	check(account_load(kv, copy->account, &header) == 0);
	mail_read_end(&kv);
	return header;
}

static void put_inbox(struct copy *copy, struct buffer *out)
{
	for (size_t i = 0; i < sizeof(copy->inbox.bytes); i++)
		buffer_printf(out, "%02x", copy->inbox.bytes[i]);
}

/* In a block of its exact size. */
static struct bytes fill_in(struct copy *copy, struct bytes text)
{
	struct account_header header = header_of(copy);
	struct buffer out = { 0 };
	struct bytes exact;

	for (; text.len > 0; bytes_skip(&text, 1)) {
		int next = text.len > 1 && text.ptr[0] == '$' ? text.ptr[1] : 0;

		if (next == 'E')
			buffer_printf(&out, "%llu", (unsigned long long)header.sequence);
		else if (next == 'H')
			buffer_printf(&out, "%llu", (unsigned long long)header.highest + 1);
		else if (next == 'I')
			put_inbox(copy, &out);
		else {
			buffer_append_byte(&out, text.ptr[0]);
			continue;
		}
		bytes_skip(&text, 1);
	}
	exact = bytes_of(
		mem_dup(out.data != NULL ? out.data : (unsigned char *)"", out.len + 1), out.len);
	buffer_deinit(&out);
	return exact;
}

static void nobody(void *context)
{
	(void)context;
}

/* What NOTIFY has it told; an account that changes all the time would never end. */
static void listen(struct sync_session *session, struct buffer *answer)
{
	for (unsigned i = 0; i < NEWS_COUNT_MAX; i++) {
		int rc;

		buffer_clear(answer);
		rc = sync_news(session, answer);
		check(rc >= 0);
		check(rc == 0 || answer->len > 0);
		if (rc == 0)
			return;
	}
	check(false);
}

static void play_initiator(struct copy *copy, bool is_full, struct bytes in)
{
	struct sync_rights rights = { .is_full = is_full, .account = "anna" };
	struct sync_session *session = sync_session_new(copy->mail, &rights);
	static const char hello[] = "HELLO %(NODE 0000000000000007 VERSION 1)";
	struct buffer answer = { 0 };
	struct bytes text;

	sync_session_on_news(session, nobody, NULL);
	check(sync_respond(session, bytes_of(hello, sizeof(hello) - 1), &answer, NULL) == 0);
	for (unsigned i = 0; i < REQUEST_COUNT_MAX && next_text(&in, &text); i++) {
		struct bytes exact = fill_in(copy, text);

		buffer_clear(&answer);
		(void)sync_respond(session, exact, &answer, NULL);
		check(answer.len > 0);
		listen(session, &answer);
		free((void *)exact.ptr);
	}
	buffer_deinit(&answer);
	sync_session_free(&session);
}

static void play_responder(struct copy *copy, bool has_small_parts, struct bytes in)
{
	struct exchange *exchange = exchange_new(copy->mail, copy->account, 7, NULL);
	struct buffer request = { 0 };
	unsigned waiting = 0;

	if (has_small_parts)
		exchange_set_part_size(exchange, 1);
	for (;;) {
		enum exchange_step step = exchange_next(exchange, &request);
		struct bytes text, exact;

		if (step == EXCHANGE_DONE || step == EXCHANGE_FAILED)
			break;
		if (step == EXCHANGE_SEND) {
			waiting++;
			continue;
		}
		check(waiting > 0);
		waiting--;
		if (!next_text(&in, &text))
			break;
		exact = fill_in(copy, text);
		exchange_answer(exchange, exact);
		free((void *)exact.ptr);
	}
	buffer_deinit(&request);
	exchange_free(&exchange);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct copy copy;
	struct bytes in = bytes_of(data, size);
	int role;

	if (size < 2)
		return 0;
	role = in.ptr[0];
	bytes_skip(&in, 1);
	copy_open(&copy, role != 'F');
	if (role == 'a' || role == 'A')
		play_responder(&copy, role == 'A', in);
	else
		play_initiator(&copy, role == 'f' || role == 'F', in);
	copy_close(&copy);
	return 0;
}
