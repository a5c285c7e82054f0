/* Several accounts in one commit, and what marks an account as shared. */
#include "mail/mail_private.h"

#include "base/error.h"
#include "mail/annotation.h"
#include "mail/quota.h"

#define SHARED_KEY BYTES_LITERAL("shared")

int accounts_write_get(
	struct accounts_write *accounts, uint32_t account, struct account_write **write_r)
{
	struct account_write *write;
	int rc;

	for (size_t i = 0; i < accounts->count; i++) {
		if (accounts->writes[i].header.number == account) {
			*write_r = &accounts->writes[i];
			return 0;
		}
	}
	assert(accounts->count < ACCOUNTS_WRITE_MAX);
	write = &accounts->writes[accounts->count++];
	*write_r = write;
	rc = account_write_begin(write, accounts->store, mail_node(accounts->mail),
		mail_now_ms(accounts->mail), account);
	write->user_error = &accounts->refusal;
	write->quota_defaults = mail_quota_defaults(accounts->mail);
	return rc;
}

struct commit_context {
	struct mail *mail;
	accounts_run *run;
	void *context;
	struct error refusal; /* why a user may not */
	uint32_t numbers[ACCOUNTS_WRITE_MAX];
	uint64_t sequences[ACCOUNTS_WRITE_MAX]; /* of the accounts afterwards */
	size_t count;
};

static int commit_run(struct store_write *store, void *context)
{
	struct commit_context *commit = context;
	struct accounts_write accounts = { .mail = commit->mail, .store = store };
	int rc = commit->run(&accounts, commit->context);

	for (size_t i = 0; i < accounts.count; i++) {
		struct account_write *write = &accounts.writes[i];

		if (rc == 0)
			rc = quota_enforce(write);
		if (rc == 0)
			rc = account_write_flush(write);
		commit->numbers[i] = write->header.number;
		commit->sequences[i] = write->header.sequence;
		rc = account_write_end(write, rc);
	}
	commit->count = accounts.count;
	commit->refusal = accounts.refusal;
	return rc;
}

int accounts_commit(struct mail *mail, accounts_run *run, void *context, struct error *error,
	uint64_t *position_r)
{
	struct commit_context commit = { .mail = mail, .run = run, .context = context };
	uint64_t position;
	int rc = store_commit(mail_store(mail), commit_run, &commit, error,
		position_r != NULL ? position_r : &position);

	if (commit.refusal.code != 0 && error != NULL)
		*error = commit.refusal;
	for (size_t i = 0; i < commit.count && rc == 0; i++)
		rc = mail_acknowledge(mail, commit.numbers[i], commit.sequences[i], error);
	return rc;
}

static int mark_run(struct account_write *write, void *context)
{
	(void)context;
	return register_write(write, RECORD_ACCOUNT, SHARED_KEY, true, BYTES_LITERAL("1"));
}

int mail_account_mark_shared(struct mail *mail, uint32_t account, struct error *error)
{
	struct kv_txn *kv = NULL;
	uint64_t position;
	int rc = mail_commit(mail, account, mark_run, NULL, error, &position);

	if (rc < 0)
		return rc;
	rc = mail_read_begin(mail, position, &kv);
	mail_read_end(&kv);
	return rc;
}

int account_is_shared(struct kv_txn *kv, uint32_t account, bool *is_shared_r)
{
	struct arena *arena = arena_new();
	struct register_record record;
	int rc = account_get_register(
		kv, account, RECORD_ACCOUNT, (struct id128){ { 0 } }, SHARED_KEY, arena, &record);

	*is_shared_r = rc == 0 && record.is_set;
	arena_free(&arena);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

bool account_is_visible(const struct account_header *header)
{
	return !header->is_deleted && header->hold == ACCOUNT_SERVED &&
	       strcmp(header->name, ANNOTATION_SERVER_ACCOUNT) != 0;
}

int account_has_user(struct kv_txn *kv, uint32_t account, bool *has_user_r)
{
	struct account_header header;
	bool is_shared = false;
	int rc = account_load(kv, account, &header);

	if (rc == 0)
		rc = account_is_shared(kv, account, &is_shared);
	*has_user_r = rc == 0 && !is_shared && !header.is_deleted &&
		      strcmp(header.name, ANNOTATION_SERVER_ACCOUNT) != 0;
	return rc;
}
