/*
 * Accounts that were moved away from here (mail/away.h): what peers are told of them, and ADMIT, by
 * which one comes back.
 */
#include "sync/responder_private.h"

#include "base/clock.h"
#include "mail/account_mode.h"
#include "mail/away.h"

#define CLEAR_MS_MAX 500 /* in one request */

int away_node(struct kv_txn *kv, const struct account_header *header, uint64_t *node_r)
{
	struct account_mode mode;
	int rc = 0;

	*node_r = 0;
	if (header->hold == ACCOUNT_AWAY)
		rc = account_mode_get(kv, header->number, &mode);
	if (rc == 0 && header->hold == ACCOUNT_AWAY && mode.has_master)
		*node_r = mode.master;
	return rc;
}

/* That it cannot be read is no reason to answer anything else. */
uint64_t call_away_node(struct sync_call *call)
{
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	struct error error = { 0 };
	struct sync_call quiet = *call;
	struct account_header header;
	struct kv_txn *kv = NULL;
	uint64_t node = 0;
	uint32_t number;

	quiet.error = &error;
	if (call->map == NULL || !call->session->rights.is_full ||
		call_account_name(&quiet, name) < 0)
		return 0;
	if (mail_read_begin(call->session->mail, 0, &kv) == 0 &&
		account_find(kv, bytes_of_string(name), &number) == 0 &&
		account_load(kv, number, &header) == 0)
		(void)away_node(kv, &header, &node);
	mail_read_end(&kv);
	return node;
}

/* 1: there is more to be cleared away. */
static int clear_away(struct sync_call *call, uint32_t account)
{
	struct account_clearing clearing = { .account = account, .is_whole = true };
	uint64_t until_ms = clock_monotonic_ms() + CLEAR_MS_MAX;
	int rc = 1;

	while (rc > 0 && clock_monotonic_ms() < until_ms)
		rc = account_clearing_step(call->session->mail, &clearing, call->error);
	return rc;
}

static int admit(struct sync_call *call, uint32_t account, bool *has_more_r)
{
	int rc = clear_away(call, account);

	*has_more_r = rc > 0;
	return rc != 0 ? (rc < 0 ? rc : 0)
		       : account_away_admit(
				 call->session->mail, account, call->session->peer, call->error);
}

int respond_admit(struct sync_call *call)
{
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	struct account_header header = { 0 };
	struct dlist_writer writer;
	struct kv_txn *kv = NULL;
	bool has_more = false;
	uint32_t number;
	int rc = call_account_name(call, name);

	if (rc == 0 && !view_filter_is_whole(&call->session->filter))
		rc = error_set(call->error, ERR_REFUSED, "not all mailboxes are exchanged");
	if (rc == 0)
		rc = mail_read_begin(call->session->mail, mail_position(call->session->mail), &kv);
	if (rc == 0)
		rc = account_find(kv, bytes_of_string(name), &number);
	if (rc == 0)
		rc = account_load(kv, number, &header);
	mail_read_end(&kv);
	if (rc == 0 && header.hold == ACCOUNT_AWAY)
		rc = admit(call, number, &has_more);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	writer = wire_begin(call->answer, DLIST_ANSWER, "ADMITTED");
	if (has_more)
		dlist_put_number_of(&writer, "MORE", 1);
	dlist_end_map(&writer);
	return 0;
}
