#include "mail/mail.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/pack.h"
#include "base/random.h"
#include "mail/mail_private.h"
#include "mail/quota.h"
#include "mail/tables.h"
#include "mail/uid_authority.h"
#include "mail/watch_note.h"

#include <stdatomic.h>
#include <stdlib.h>

struct mail {
	struct store *store;
	const struct clock *clock;
	uint64_t node;
	uint64_t run_id;
	struct node_name name;
	struct uid_authority *uid_authority;
	mail_append_router *append_router;
	void *append_router_context;
	mail_acknowledger *acknowledger;
	void *acknowledger_context;
	atomic_bool is_acknowledging;
	struct quota_limits quota_defaults;
	struct watchers *watchers;
	struct mail_summaries *summaries;
	struct mail_partials *partials;
};

static void store_changed(void *context, const struct feed_news *news, size_t count)
{
	struct mail *mail = context;

	watchers_tell(mail->watchers, news, count);
}

struct watchers *mail_watchers(struct mail *mail)
{
	return mail->watchers;
}

int mail_open(struct store *store, const struct clock *clock, struct mail **mail_r)
{
	struct mail *mail = mem_zalloc(sizeof(*mail));

	mail->store = store;
	mail->clock = clock;
	mail->node = store_node_id(store);
	random_bytes(&mail->run_id, sizeof(mail->run_id));
	for (int i = 0; i < QUOTA_RESOURCE_COUNT; i++)
		mail->quota_defaults.of[i] = QUOTA_UNLIMITED;
	mail->watchers = watchers_new();
	mail->uid_authority = uid_authority_new();
	mail->summaries = mail_summaries_new();
	mail->partials = mail_partials_new();
	store_listen(store, store_changed, mail);
	*mail_r = mail;
	return 0;
}

void mail_close(struct mail **mail)
{
	if (*mail == NULL)
		return;
	store_unlisten((*mail)->store, store_changed, *mail);
	watchers_free(&(*mail)->watchers);
	uid_authority_free(&(*mail)->uid_authority);
	mail_summaries_free(&(*mail)->summaries);
	mail_partials_free(&(*mail)->partials);
	free(*mail);
	*mail = NULL;
}

uint64_t mail_run_id(const struct mail *mail)
{
	return mail->run_id;
}

struct store *mail_store(struct mail *mail)
{
	return mail->store;
}

const struct clock *mail_clock(const struct mail *mail)
{
	return mail->clock;
}

struct uid_authority *mail_uid_authority(struct mail *mail)
{
	return mail->uid_authority;
}

void mail_set_append_router(struct mail *mail, mail_append_router *function, void *context)
{
	mail->append_router = function;
	mail->append_router_context = context;
}

bool mail_has_append_router(const struct mail *mail)
{
	return mail->append_router != NULL;
}

int mail_append_route(struct mail *mail, uint32_t account, struct id128 mailbox,
	struct append_message *message, struct message_place *place_r)
{
	if (mail->append_router == NULL)
		return ERR_UNAVAILABLE;
	return mail->append_router(mail->append_router_context, account, mailbox, message,
		&message->instance, place_r);
}

uint64_t mail_node(const struct mail *mail)
{
	return mail->node;
}

struct mail_summaries *mail_summaries(struct mail *mail)
{
	return mail->summaries;
}

struct mail_partials *mail_partials(struct mail *mail)
{
	return mail->partials;
}

void mail_quota_configure(struct mail *mail, const struct quota_limits *defaults)
{
	mail->quota_defaults = *defaults;
}

const struct quota_limits *mail_quota_defaults(const struct mail *mail)
{
	return &mail->quota_defaults;
}

uint64_t mail_now_ms(const struct mail *mail)
{
	return clock_now_ms(mail->clock);
}

int mail_read_begin(struct mail *mail, uint64_t position, struct kv_txn **kv_r)
{
	return store_read_begin(mail->store, position, kv_r);
}

void mail_read_end(struct kv_txn **kv)
{
	store_read_end(kv);
}

uint64_t mail_position(struct mail *mail)
{
	return store_position(mail->store);
}

void mail_set_node_name(struct mail *mail, const struct node_name *name)
{
	mail->name = *name;
}

const struct node_name *mail_node_name(const struct mail *mail)
{
	return &mail->name;
}

void mail_set_acknowledger(struct mail *mail, mail_acknowledger *function, void *context)
{
	mail->acknowledger = function;
	mail->acknowledger_context = context;
	mail_set_acknowledging(mail, function != NULL);
}

void mail_set_acknowledging(struct mail *mail, bool is_on)
{
	atomic_store(&mail->is_acknowledging, is_on);
}

bool mail_is_acknowledging(const struct mail *mail)
{
	return atomic_load(&mail->is_acknowledging);
}

int mail_acknowledge(struct mail *mail, uint32_t account, uint64_t sequence, struct error *error)
{
	if (!mail_is_acknowledging(mail))
		return 0;
	return mail->acknowledger(mail->acknowledger_context, account, sequence, error);
}

struct commit_context {
	struct mail *mail;
	uint32_t account;
	mail_run *run;
	void *context;
	bool is_user;
	struct error refusal; /* why a user may not */
	uint64_t sequence;    /* of the account afterwards */
};

static int commit_run(struct store_write *store, void *context)
{
	struct commit_context *commit = context;
	struct account_write write;
	int rc = account_write_begin(
		&write, store, commit->mail->node, mail_now_ms(commit->mail), commit->account);

	commit->refusal = (struct error){ 0 };
	write.user_error = commit->is_user ? &commit->refusal : NULL;
	write.quota_defaults = &commit->mail->quota_defaults;
	if (rc == 0)
		rc = commit->run(&write, commit->context);
	if (rc >= 0 && commit->is_user) {
		int enforced = quota_enforce(&write);

		rc = enforced < 0 ? enforced : rc;
	}
	if (rc >= 0) {
		int flushed = account_write_flush(&write);

		rc = flushed < 0 ? flushed : rc;
	}
	commit->sequence = write.header.sequence;
	return account_write_end(&write, rc);
}

static int commit_any(struct commit_context *commit, struct error *error, uint64_t *position_r)
{
	uint64_t position;
	int rc = store_commit(commit->mail->store, commit_run, commit, error,
		position_r != NULL ? position_r : &position);

	if (commit->refusal.code != 0 && error != NULL)
		*error = commit->refusal;
	return rc;
}

int mail_commit(struct mail *mail, uint32_t account, mail_run *run, void *context,
	struct error *error, uint64_t *position_r)
{
	struct commit_context commit = { mail, account, run, context, .is_user = true };
	int rc = commit_any(&commit, error, position_r);

	return rc < 0 ? rc : mail_acknowledge(mail, account, commit.sequence, error);
}

int mail_node_commit(struct mail *mail, uint32_t account, mail_run *run, void *context,
	struct error *error, uint64_t *position_r)
{
	struct commit_context commit = { mail, account, run, context };

	return commit_any(&commit, error, position_r);
}

struct create_context {
	struct mail *mail;
	struct bytes name;
	uint32_t number;
};

static int account_recreate(struct store_write *store, struct mail *mail, uint32_t number)
{
	struct account_write write;
	int rc = account_write_begin(&write, store, mail->node, mail_now_ms(mail), number);

	if (rc == 0 && write.header.is_deleted)
		rc = register_write(&write, RECORD_ACCOUNT, BYTES_LITERAL(ACCOUNT_DELETED_KEY),
			false, bytes_of(NULL, 0));
	return account_write_end(&write, rc);
}

static int create_run(struct store_write *store, void *context)
{
	struct create_context *create = context;
	int rc = account_create(store, create->mail->node, mail_now_ms(create->mail), create->name,
		&create->number);

	if (rc != ERR_EXISTS)
		return rc;
	/* Another session may have been quicker; or it is deleted, and is made again. */
	rc = account_find(store_write_kv(store), create->name, &create->number);
	return rc < 0 ? rc : account_recreate(store, create->mail, create->number);
}

int mail_account_open(
	struct mail *mail, struct bytes name, bool create, struct error *error, uint32_t *number_r)
{
	struct create_context context = { mail, name, 0 };
	struct account_header header;
	struct kv_txn *kv = NULL;
	uint64_t position;
	int rc = mail_read_begin(mail, 0, &kv);

	if (rc < 0)
		return error_set(error, rc, "cannot read the store");
	rc = account_find(kv, name, number_r);
	if (rc == 0)
		rc = account_load(kv, *number_r, &header);
	if (rc == 0 && header.is_deleted)
		rc = ERR_NOT_FOUND;
	mail_read_end(&kv);
	if (rc != ERR_NOT_FOUND)
		return rc;
	if (!create)
		return error_set(error, ERR_NOT_FOUND, "no account of that name");
	rc = store_commit(mail->store, create_run, &context, error, &position);
	if (rc < 0)
		return rc;
	*number_r = context.number;
	/* Make it visible to reads that do not know its position. */
	rc = mail_read_begin(mail, position, &kv);
	mail_read_end(&kv);
	return rc;
}

int mail_credentials_get(struct mail *mail, uint32_t account, struct buffer *blob_r)
{
	struct arena *arena = arena_new();
	struct register_record record;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, 0, &kv);

	if (rc == 0)
		rc = account_get_register(kv, account, RECORD_ACCOUNT, (struct id128){ { 0 } },
			BYTES_LITERAL("credentials"), arena, &record);
	if (rc == 0 && !record.is_set)
		rc = ERR_NOT_FOUND;
	if (rc == 0)
		buffer_append_bytes(blob_r, record.value);
	mail_read_end(&kv);
	arena_free(&arena);
	return rc;
}

int register_write(struct account_write *write, enum record_kind kind, struct bytes key,
	bool is_set, struct bytes value)
{
	struct register_record record = {
		.kind = kind, .key = key, .is_set = is_set, .value = value
	};

	record.stamp = account_stamp(write);
	record.modseq = record.stamp.modseq;
	return account_put_register(write, &record);
}

static int credentials_run(struct account_write *write, void *context)
{
	const struct bytes *blob = context;

	return register_write(write, RECORD_ACCOUNT, BYTES_LITERAL("credentials"), true, *blob);
}

int mail_credentials_set(
	struct mail *mail, uint32_t account, struct bytes blob, struct error *error)
{
	struct kv_txn *kv = NULL;
	uint64_t position;
	int rc = mail_node_commit(mail, account, credentials_run, &blob, error, &position);

	if (rc < 0)
		return rc;
	rc = mail_read_begin(mail, position, &kv);
	mail_read_end(&kv);
	return rc;
}
