/* Several accounts in one commit, and what marks an account as shared. */
#include "mail/mail_private.h"

#include "base/error.h"

#define SHARED_KEY BYTES_LITERAL("shared")

int accounts_write_get(
	struct accounts_write *accounts, uint32_t account, struct account_write **write_r)
{
	struct account_write *write;

	for (size_t i = 0; i < accounts->count; i++) {
		if (accounts->writes[i].header.number == account) {
			*write_r = &accounts->writes[i];
			return 0;
		}
	}
	assert(accounts->count < ACCOUNTS_WRITE_MAX);
	write = &accounts->writes[accounts->count++];
	*write_r = write;
	return account_write_begin(write, accounts->store, mail_node(accounts->mail),
		mail_now_ms(accounts->mail), account);
}

struct commit_context {
	struct mail *mail;
	accounts_run *run;
	void *context;
};

static int commit_run(struct store_write *store, void *context)
{
	const struct commit_context *commit = context;
	struct accounts_write accounts = { .mail = commit->mail, .store = store };
	int rc = commit->run(&accounts, commit->context);

	for (size_t i = 0; i < accounts.count; i++)
		rc = account_write_end(&accounts.writes[i], rc);
	return rc;
}

int accounts_commit(struct mail *mail, accounts_run *run, void *context, struct error *error,
	uint64_t *position_r)
{
	struct commit_context commit = { mail, run, context };
	uint64_t position;

	return store_commit(mail_store(mail), commit_run, &commit, error,
		position_r != NULL ? position_r : &position);
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
