/*
 * The IMAP and LMTP servers, and how mail gets from LMTP to the accounts.
 */
#include "chapard/daemon_private.h"

#include "base/mem.h"
#include "mail/acl.h"
#include "mail/annotation.h"
#include "mail/hold.h"
#include "mail/quota.h"

#include <stdlib.h>

/* The handle of a recipient whose account is made when his mail arrives. */
#define HANDLE_NEW 0

static int account_name(
	void *context, struct bytes local_part, struct bytes domain, struct buffer *account)
{
	struct daemon *daemon = context;
	struct buffer address = { 0 };
	char normal[ACCOUNT_NAME_SIZE_MAX + 1];
	int rc;

	buffer_append_bytes(&address, local_part);
	if (daemon->config->account_names == CONFIG_NAMES_ADDRESS && domain.len > 0) {
		buffer_append_byte(&address, '@');
		buffer_append_bytes(&address, domain);
	}
	rc = account_name_normalize(buffer_bytes(&address), normal);
	if (rc == 0)
		buffer_append_string(account, normal);
	buffer_deinit(&address);
	return rc;
}

/* An account without room for the message is told of before that is sent. */
static int room_check(struct daemon *daemon, uint32_t account, uint64_t size)
{
	struct kv_txn *kv = NULL;
	struct quota quota;
	int rc = mail_read_begin(daemon->mail, 0, &kv);

	if (rc == 0)
		rc = quota_read(daemon->mail, kv, account, &quota);
	mail_read_end(&kv);
	return rc == 0 && !quota_has_room(&quota, 1, size > 0 ? size : 1) ? ERR_OVERQUOTA : rc;
}

/* To a shared account is delivered what anyone may post there (RFC 4314, right "p"): who sends is
 * not known here. */
static int post_check(struct daemon *daemon, uint32_t account)
{
	const struct identity sender = { .name = "" };
	struct arena *arena = arena_new();
	struct mailbox_record inbox;
	unsigned rights = ACL_POST;
	struct kv_txn *kv = NULL;
	bool is_shared = false;
	int rc = mail_read_begin(daemon->mail, 0, &kv);

	if (rc == 0)
		rc = account_is_shared(kv, account, &is_shared);
	if (rc == 0 && is_shared)
		rc = account_find_mailbox(kv, account, BYTES_LITERAL("INBOX"), arena, &inbox);
	if (rc == 0 && is_shared)
		rc = acl_rights(kv, &sender, account, inbox.id, &rights);
	mail_read_end(&kv);
	arena_free(&arena);
	return rc == 0 && (rights & ACL_POST) == 0 ? ERR_REFUSED : rc;
}

static int recipient_check(void *context, struct bytes account, uint64_t size, uint32_t *handle_r)
{
	struct daemon *daemon = context;
	int rc = bytes_equal_string(account, ANNOTATION_SERVER_ACCOUNT)
			 ? ERR_REFUSED
			 : mail_account_open(daemon->mail, account, false, NULL, handle_r);

	if (rc == 0)
		rc = mail_hold_check(daemon->mail, *handle_r, NULL);
	if (rc == 0)
		rc = post_check(daemon, *handle_r);
	if (rc == 0)
		return room_check(daemon, *handle_r, size);
	if (rc != ERR_NOT_FOUND || !daemon->config->create_accounts_on_delivery)
		return rc;
	*handle_r = HANDLE_NEW;
	return 0;
}

/* The recipients' accounts, each once: who is named with several details gets one message. */
struct delivery {
	uint32_t *accounts;
	int *results;
	size_t count;
	size_t *indexes; /* of each recipient's account */
};

static void delivery_add(struct delivery *delivery, size_t recipient, uint32_t account)
{
	size_t index = 0;

	while (index < delivery->count && delivery->accounts[index] != account)
		index++;
	if (index == delivery->count)
		delivery->accounts[delivery->count++] = account;
	delivery->indexes[recipient] = index;
}

static int recipients_open(struct daemon *daemon, const struct lmtp_recipient *recipients,
	size_t count, struct delivery *delivery)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t account = recipients[i].handle;
		int rc = 0;

		if (account == HANDLE_NEW)
			rc = mail_account_open(
				daemon->mail, recipients[i].account, true, NULL, &account);
		if (rc == 0 && recipients[i].handle == HANDLE_NEW &&
			daemon->admin.new_accounts_have_master)
			rc = mail_mode_set_own(daemon->mail, account, NULL);
		if (rc < 0)
			return rc;
		delivery_add(delivery, i, account);
	}
	return 0;
}

static int deliver(void *context, struct bytes message, const struct lmtp_recipient *recipients,
	size_t count, int *results_r)
{
	struct daemon *daemon = context;
	struct delivery delivery = {
		.accounts = mem_zalloc_array(count, sizeof(*delivery.accounts)),
		.results = mem_zalloc_array(count, sizeof(*delivery.results)),
		.indexes = mem_zalloc_array(count, sizeof(*delivery.indexes)),
	};
	struct mail_body *body = NULL;
	int rc = recipients_open(daemon, recipients, count, &delivery);

	if (rc == 0)
		rc = mail_body_prepare(daemon->mail, message, &body);
	if (rc == 0)
		rc = mail_deliver(daemon->mail, delivery.accounts, delivery.count, body, NULL,
			delivery.results);
	for (size_t i = 0; i < count && rc == 0; i++)
		results_r[i] = delivery.results[delivery.indexes[i]];
	mail_body_free(&body);
	free(delivery.accounts);
	free(delivery.results);
	free(delivery.indexes);
	return rc;
}

static uint64_t limit_of(uint64_t configured)
{
	return configured > 0 ? configured : QUOTA_UNLIMITED;
}

static void quota_configure(struct daemon *daemon)
{
	const struct config *config = daemon->config;
	struct quota_limits limits;

	limits.of[QUOTA_STORAGE] = limit_of(config->quota_storage / 1024);
	limits.of[QUOTA_MESSAGE] = limit_of(config->quota_messages);
	limits.of[QUOTA_MAILBOX] = limit_of(config->quota_mailboxes);
	limits.of[QUOTA_ANNOTATION_STORAGE] = limit_of(config->quota_annotations / 1024);
	mail_quota_configure(daemon->mail, &limits);
}

void daemon_fronts_open(struct daemon *daemon)
{
	struct imap_server_options imap = {
		.mail = daemon->mail,
		.trace = daemon->trace,
		.authority = daemon->authority,
		.authorize = daemon_authorize,
		.certificate_name = daemon_certificate_name,
		.user_connection_max = (unsigned)daemon->config->user_connections_max,
		.context = daemon,
		.other_users_prefix = daemon->config->other_users_prefix,
		.shared_prefix = daemon->config->shared_prefix,
		.append_size_max = daemon->config->message_size_max,
		.search_cache_size = daemon->config->search_cache,
		.quota_warning_percent = (unsigned)daemon->config->quota_warning,
		.allow_plaintext_loopback = daemon->config->allow_plaintext_loopback,
		.version = CHAPAR_VERSION,
	};
	struct lmtp_options lmtp = {
		.backend = { .context = daemon,
			.recipient_check = recipient_check,
			.deliver = deliver,
			.account_name = account_name },
		.message_size_max = daemon->config->message_size_max,
		.quota_is_permanent = daemon->config->quota_refusal == CONFIG_QUOTA_PERMANENT,
	};

	quota_configure(daemon);
	daemon->groups = config_groups_new(daemon->config);
	imap.groups = daemon->groups;
	buffer_printf(&daemon->recent_path, "%s/recent", daemon->config->store_path);
	imap.recent_path = buffer_string(&daemon->recent_path);
	imap.spill_folder = daemon->config->store_path;
	daemon->imap = imap_server_new(&imap);
	daemon->lmtp = lmtp_server_new(&lmtp);
}

void daemon_fronts_close(struct daemon *daemon)
{
	imap_server_free(&daemon->imap);
	lmtp_server_free(&daemon->lmtp);
	config_groups_free(&daemon->groups);
	buffer_deinit(&daemon->recent_path);
}
