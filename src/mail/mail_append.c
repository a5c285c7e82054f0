/*
 * Messages that come: APPEND and delivery. A single message may first be offered to the node that
 * gives the account's UIDs (mail/uid_authority.h); what it does not take is appended here.
 */
#include "mail/mail.h"

#include "base/clock.h"
#include "base/mem.h"
#include "mail/mail_private.h"
#include "mail/quota.h"
#include "mail/watch.h"

#include <pthread.h>
#include <stdlib.h>

int mailbox_append(struct mail *mail, uint32_t account, struct id128 mailbox,
	const struct append_message *messages, size_t count, struct error *error,
	uint32_t *uidvalidity_r, uint32_t *uid_r, uint64_t *position_r)
{
	struct message_appending append = {
		.mailbox = mailbox, .messages = messages, .count = count
	};
	struct append_message single;
	struct message_place place;
	int rc;

	if (count == 1 && messages[0].annotation_count == 0) {
		single = messages[0];
		rc = mail_append_route(mail, account, mailbox, &single, &place);
		if (rc == 0) {
			*uidvalidity_r = place.uidvalidity;
			*uid_r = place.uid;
			*position_r = mail_position(mail);
		}
		if (rc != ERR_UNAVAILABLE)
			return rc < 0 ? error_set(error, rc, "the message cannot be appended") : 0;
		append.messages = &single;
	}
	rc = mail_commit(mail, account, message_append_run, &append, error, position_r);
	if (rc == ERR_NOT_FOUND)
		return error_set(error, rc, "the mailbox does not exist any more");
	if (rc < 0)
		return rc;
	*uidvalidity_r = append.uidvalidity;
	*uid_r = append.uid;
	return 0;
}

/* ---- delivery ---- */

struct recipient {
	uint32_t account;
	size_t index; /* of its result */
	struct append_message message;
	uint64_t sequence; /* of the account afterwards */
};

struct deliver_context {
	struct mail *mail;
	struct recipient *recipients;
	size_t count;
	struct error refusal; /* an account is a replica */
};

static int deliver_one(struct account_write *write, const struct append_message *message)
{
	struct message_appending append = { .messages = message, .count = 1 };
	struct mailbox_record inbox = { 0 };
	int rc = write->header.is_deleted ? ERR_NOT_FOUND : 0;

	if (rc == 0)
		rc = account_find_mailbox(write->kv, write->header.number, BYTES_LITERAL("INBOX"),
			write->arena, &inbox);
	append.mailbox = inbox.id;
	if (rc == 0)
		rc = message_append_run(write, &append);
	return rc < 0 ? rc : quota_enforce(write);
}

static int deliver_run(struct store_write *store, void *context)
{
	struct deliver_context *deliver = context;
	int rc = 0;

	for (size_t i = 0; i < deliver->count && rc == 0; i++) {
		struct recipient *recipient = &deliver->recipients[i];
		struct account_write write;

		rc = account_write_begin(&write, store, mail_node(deliver->mail),
			mail_now_ms(deliver->mail), recipient->account);
		write.user_error = &deliver->refusal;
		write.quota_defaults = mail_quota_defaults(deliver->mail);
		if (rc == 0)
			rc = deliver_one(&write, &recipient->message);
		if (rc == 0)
			rc = account_write_flush(&write);
		recipient->sequence = write.header.sequence;
		rc = account_write_end(&write, rc);
	}
	return rc;
}

static int deliver_commit(struct deliver_context *deliver, int *results, struct error *error)
{
	uint64_t position;
	int rc = store_commit(mail_store(deliver->mail), deliver_run, deliver, error, &position);

	if (deliver->refusal.code != 0 && error != NULL)
		*error = deliver->refusal;
	deliver->refusal = (struct error){ 0 };
	for (size_t i = 0; i < deliver->count; i++) {
		const struct recipient *recipient = &deliver->recipients[i];

		results[recipient->index] =
			rc < 0 ? rc
			       : mail_acknowledge(deliver->mail, recipient->account,
					 recipient->sequence, error);
	}
	return rc;
}

/* Those that no other node takes stay in the list. */
static size_t route_recipients(struct mail *mail, struct recipient *recipients, size_t count,
	int *results, const struct id128 *inboxes)
{
	struct message_place place;
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		struct recipient recipient = recipients[i];
		int rc = mail_append_route(
			mail, recipient.account, inboxes[i], &recipient.message, &place);

		results[recipient.index] = rc;
		if (rc == ERR_UNAVAILABLE)
			recipients[kept++] = recipient;
	}
	return kept;
}

/* The INBOX of each account. */
static int find_inboxes(
	struct mail *mail, const uint32_t *accounts, size_t count, struct id128 *inboxes)
{
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, 0, &kv);

	for (size_t i = 0; i < count && rc == 0; i++) {
		struct mailbox_record inbox;

		rc = account_find_mailbox(kv, accounts[i], BYTES_LITERAL("INBOX"), arena, &inbox);
		inboxes[i] = inbox.id;
	}
	mail_read_end(&kv);
	arena_free(&arena);
	return rc;
}

int mail_deliver(struct mail *mail, const uint32_t *accounts, size_t count,
	const struct mail_body *body, struct error *error, int *results_r)
{
	struct recipient *recipients = mem_zalloc_array(count + 1, sizeof(*recipients));
	struct id128 *inboxes = mem_zalloc_array(count + 1, sizeof(*inboxes));
	struct deliver_context deliver = { .mail = mail, .recipients = recipients, .count = count };
	int rc;

	for (size_t i = 0; i < count; i++)
		recipients[i] = (struct recipient){ .account = accounts[i],
			.index = i,
			.message = { .body = body,
				.internaldate = (int64_t)(mail_now_ms(mail) / 1000) } };
	/* What cannot be found here is told by the commit. */
	if (mail_has_append_router(mail) && find_inboxes(mail, accounts, count, inboxes) == 0)
		deliver.count = route_recipients(mail, recipients, count, results_r, inboxes);
	rc = deliver.count > 0 ? deliver_commit(&deliver, results_r, error) : 0;
	/* One bad account must not keep the message from the others: each on its own. */
	for (size_t i = 0, left = deliver.count; rc < 0 && left > 1 && i < left; i++) {
		deliver.recipients = &recipients[i];
		deliver.count = 1;
		(void)deliver_commit(&deliver, results_r, error);
	}
	free(recipients);
	free(inboxes);
	return count == 1 ? results_r[0] : 0;
}

/* ---- a message that another node appends ---- */

struct mail_waiter {
	pthread_mutex_t lock;
	pthread_cond_t woken;
	unsigned wake_count;
};

static void waiter_wake(void *context)
{
	struct mail_waiter *waiter = context;

	pthread_mutex_lock(&waiter->lock);
	waiter->wake_count++;
	pthread_cond_signal(&waiter->woken);
	pthread_mutex_unlock(&waiter->lock);
}

/* Waits until it is woken after `seen` wakes, or until the time. */
static bool waiter_sleep(struct mail_waiter *waiter, unsigned *seen, const struct timespec *until)
{
	int rc = 0;

	pthread_mutex_lock(&waiter->lock);
	while (waiter->wake_count == *seen && rc == 0)
		rc = pthread_cond_timedwait(&waiter->woken, &waiter->lock, until);
	*seen = waiter->wake_count;
	pthread_mutex_unlock(&waiter->lock);
	return rc == 0;
}

static int find_shown(
	struct mail *mail, uint32_t account, struct stamp instance, struct message_place *place_r)
{
	struct mailbox_record mailbox = { 0 };
	struct message_record message = { 0 };
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, 0, &kv);

	if (rc == 0)
		rc = account_get_message(kv, account, instance, arena, &message);
	if (rc == 0 && message_is_shown(&message))
		rc = account_get_mailbox(kv, account, message.mailbox, arena, &mailbox);
	mail_read_end(&kv);
	arena_free(&arena);
	*place_r = (struct message_place){ mailbox.uidvalidity, message.uid };
	return rc;
}

int mail_wait_shown(struct mail *mail, uint32_t account, struct stamp instance, unsigned timeout_ms,
	struct message_place *place_r)
{
	struct mail_waiter waiter = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct arena *arena = arena_new();
	struct watch_set *watches;
	struct watch_news news;
	struct timespec until;
	bool is_in_time = true;
	unsigned seen = 0;
	int rc;

	clock_deadline(timeout_ms, &until);
	clock_cond_init(&waiter.woken);
	watches = watch_set_new(mail, waiter_wake, &waiter);
	watch_add(watches, account, WATCH_ANY, (struct id128){ { 0 } });
	while ((rc = find_shown(mail, account, instance, place_r)) == ERR_NOT_FOUND && is_in_time) {
		is_in_time = waiter_sleep(&waiter, &seen, &until);
		while (watch_next(watches, arena, NULL, &news) != NULL)
			; /* it wakes again only after all was looked at */
	}
	watch_set_free(&watches);
	arena_free(&arena);
	pthread_cond_destroy(&waiter.woken);
	return rc == ERR_NOT_FOUND ? ERR_TIMEOUT : rc;
}

struct stamp mail_stamp_new(struct mail *mail, uint64_t clock_last)
{
	uint64_t now = modseq_of_ms(mail_now_ms(mail));

	return (struct stamp){ store_tick(
				       mail_store(mail), clock_last >= now ? clock_last + 1 : now),
		mail_node(mail) };
}
