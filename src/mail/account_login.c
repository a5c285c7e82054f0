#include "mail/account_login.h"

#include "mail/mail_private.h"

#define KEY "login"
#define DISABLED "disabled"

static int state_get(struct kv_txn *kv, uint32_t account, bool *is_enabled_r)
{
	struct arena *arena = arena_new();
	struct register_record record;
	int rc = account_get_register(kv, account, RECORD_ACCOUNT, (struct id128){ { 0 } },
		BYTES_LITERAL(KEY), arena, &record);

	*is_enabled_r = rc == ERR_NOT_FOUND || !record.is_set ||
			!bytes_equal_string(record.value, DISABLED);
	arena_free(&arena);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

struct change {
	bool is_enabled, is_changed;
};

static int set_run(struct account_write *write, void *context)
{
	struct change *change = context;
	bool was_enabled;
	int rc = state_get(write->kv, write->header.number, &was_enabled);

	change->is_changed = was_enabled != change->is_enabled;
	if (rc < 0 || !change->is_changed)
		return rc;
	return register_write(write, RECORD_ACCOUNT, BYTES_LITERAL(KEY), !change->is_enabled,
		change->is_enabled ? bytes_of(NULL, 0) : BYTES_LITERAL(DISABLED));
}

int account_login_set(struct mail *mail, uint32_t account, bool is_enabled, bool *is_changed_r,
	struct error *error)
{
	struct change change = { .is_enabled = is_enabled };
	struct kv_txn *kv = NULL;
	uint64_t position;
	int rc = mail_commit(mail, account, set_run, &change, error, &position);

	/* Logins that begin after this returns must see it. */
	if (rc == 0)
		rc = mail_read_begin(mail, position, &kv);
	mail_read_end(&kv);
	if (rc == 0)
		*is_changed_r = change.is_changed;
	return rc;
}

int account_login_check(struct mail *mail, uint32_t account)
{
	struct kv_txn *kv = NULL;
	bool is_enabled = true;
	int rc = mail_read_begin(mail, 0, &kv);

	if (rc == 0)
		rc = state_get(kv, account, &is_enabled);
	mail_read_end(&kv);
	if (rc < 0)
		return rc;
	return is_enabled ? 0 : ERR_REFUSED;
}
