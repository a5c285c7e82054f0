#include "chapard/admin_private.h"

#include "chapard/json.h"
#include "mail/account_login.h"
#include "mail/annotation.h"
#include "mail/hold.h"
#include "mail/password.h"
#include "sync/account_filter.h"

#include <pthread.h>

#define ADD_STEP 8 /* accounts made in one step; hashing a password takes its time, on purpose */

static int name_normalize(
	const char *name, char name_r[ACCOUNT_NAME_SIZE_MAX + 1], struct error *error)
{
	int rc = account_name_normalize(bytes_of_string(name), name_r);

	if (rc < 0)
		return error_set(error, rc,
			"\"%.100s\": an account's name has 1 to %d bytes, no control characters, "
			"no '/'",
			name, ACCOUNT_NAME_SIZE_MAX);
	return 0;
}

int admin_account_find(
	struct admin_call *call, const char *name, uint32_t *number_r, struct error *error)
{
	char normal[ACCOUNT_NAME_SIZE_MAX + 1];
	int rc = name_normalize(name, normal, error);

	if (rc < 0)
		return rc;
	rc = mail_account_open(call->admin->mail, bytes_of_string(normal), false, error, number_r);
	if (rc == ERR_NOT_FOUND)
		return error_set(error, rc, "no account \"%s\"", normal);
	return rc;
}

int admin_account_next(
	struct admin_call *call, struct account_header *header_r, struct error *error)
{
	struct kv_txn *kv = NULL;
	uint32_t number;
	int rc;

	if (call->argument_count == 1) {
		if (call->item_count > 0)
			return ERR_NOT_FOUND;
		rc = admin_account_find(call, call->arguments[0], &number, error);
		if (rc < 0)
			return rc;
		call->account = number - 1;
	}
	rc = mail_read_begin(call->admin->mail, 0, &kv);
	if (rc == 0)
		rc = account_next(kv, call->account, header_r);
	mail_read_end(&kv);
	if (rc == 0) {
		call->account = header_r->number;
		call->item_count++;
	}
	if (rc < 0 && rc != ERR_NOT_FOUND)
		error_set(error, rc, "the accounts cannot be read: %s", error_name(rc));
	return rc;
}

static int user_check(struct admin_call *call, uint32_t number, struct error *error)
{
	struct kv_txn *kv = NULL;
	bool has_user = false;
	int rc = mail_read_begin(call->admin->mail, 0, &kv);

	if (rc == 0)
		rc = account_has_user(kv, number, &has_user);
	mail_read_end(&kv);
	if (rc == 0 && !has_user)
		return error_set(error, ERR_REFUSED,
			"\"%s\" belongs to no user: nobody can log in to it", call->arguments[0]);
	return rc;
}

/* Only what password.h makes of a password is stored, and replicated. */
static int password_put(
	struct admin_call *call, uint32_t number, const char *password, struct error *error)
{
	struct buffer credentials = { 0 };
	int rc = credentials_make(
		bytes_of_string(password), &call->admin->passwords, &credentials, error);

	if (rc == 0)
		rc = mail_credentials_set(
			call->admin->mail, number, buffer_bytes(&credentials), error);
	buffer_deinit(&credentials);
	return rc;
}

/* An account to be made. The password is hashed on a thread of its own. */
struct addition {
	const char *name, *password;
	const struct password_parameters *parameters;
	struct buffer credentials;
	struct error error;
	int rc;
	pthread_t thread;
	bool has_thread;
};

static void *addition_hash(void *context)
{
	struct addition *addition = context;

	addition->rc = credentials_make(bytes_of_string(addition->password), addition->parameters,
		&addition->credentials, &addition->error);
	return NULL;
}

static void additions_hash(struct addition *additions, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct addition *addition = &additions[i];

		addition->has_thread =
			pthread_create(&addition->thread, NULL, addition_hash, addition) == 0;
		if (!addition->has_thread)
			addition_hash(addition);
	}
	for (size_t i = 0; i < count; i++)
		if (additions[i].has_thread)
			pthread_join(additions[i].thread, NULL);
}

static int addition_write(
	const struct admin *admin, const struct addition *addition, struct error *error)
{
	struct mail *mail = admin->mail;
	char normal[ACCOUNT_NAME_SIZE_MAX + 1];
	uint32_t number;
	int rc = name_normalize(addition->name, normal, error);

	if (rc < 0)
		return rc;
	if (strcmp(normal, ANNOTATION_SERVER_ACCOUNT) == 0)
		return error_set(error, ERR_REFUSED, "%s is the server's own", normal);
	if (addition->rc < 0)
		return error_set(error, addition->rc, "%s: %s", normal, addition->error.text);
	rc = mail_account_open(mail, bytes_of_string(normal), false, NULL, &number);
	if (rc == 0)
		return error_set(error, ERR_EXISTS, "account \"%s\" is there already", normal);
	if (rc == ERR_NOT_FOUND)
		rc = mail_account_open(mail, bytes_of_string(normal), true, error, &number);
	if (rc == 0 && admin->new_accounts_have_master)
		rc = mail_mode_set_own(mail, number, error);
	if (rc == 0)
		rc = mail_credentials_set(
			mail, number, buffer_bytes(&addition->credentials), error);
	return rc;
}

/* Arguments: NAME PASSWORD, any number of times. */
int admin_account_add(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct addition additions[ADD_STEP] = { 0 };
	size_t count = 0;
	int rc = 0;

	if (call->argument_count % 2 != 0)
		return error_set(error, ERR_INVALID, "every account needs a password");
	while (count < ADD_STEP && call->argument_index < call->argument_count) {
		additions[count].parameters = &call->admin->passwords;
		additions[count].name = call->arguments[call->argument_index++];
		additions[count++].password = call->arguments[call->argument_index++];
	}
	additions_hash(additions, count);
	for (size_t i = 0; i < count && rc == 0; i++) {
		rc = addition_write(call->admin, &additions[i], error);
		if (rc == 0)
			buffer_printf(out, "added %s\n", additions[i].name);
	}
	for (size_t i = 0; i < count; i++)
		buffer_deinit(&additions[i].credentials);
	if (rc < 0)
		return rc;
	return call->argument_index < call->argument_count ? ADMIN_MORE : ADMIN_DONE;
}

int admin_account_passwd(struct admin_call *call, struct buffer *out, struct error *error)
{
	uint32_t number;
	int rc = admin_account_find(call, call->arguments[0], &number, error);

	if (rc == 0)
		rc = user_check(call, number, error);
	if (rc == 0)
		rc = password_put(call, number, call->arguments[1], error);
	if (rc == 0)
		buffer_printf(out, "changed %s\n", call->arguments[0]);
	return rc < 0 ? rc : ADMIN_DONE;
}

static int login_set(
	struct admin_call *call, bool is_enabled, struct buffer *out, struct error *error)
{
	const char *name = call->arguments[0];
	bool is_changed;
	uint32_t number;
	int rc = admin_account_find(call, name, &number, error);

	if (rc == 0)
		rc = account_login_set(call->admin->mail, number, is_enabled, &is_changed, error);
	if (rc == 0)
		buffer_printf(out, "%s %s%s\n", is_enabled ? "enabled" : "disabled", name,
			is_changed ? "" : " (it was already)");
	return rc < 0 ? rc : ADMIN_DONE;
}

int admin_account_disable(struct admin_call *call, struct buffer *out, struct error *error)
{
	return login_set(call, false, out, error);
}

int admin_account_enable(struct admin_call *call, struct buffer *out, struct error *error)
{
	return login_set(call, true, out, error);
}

/* As texts, and as JSON has it. */
static const struct hold_word {
	const char *text, *word;
} hold_words[] = {
	[ACCOUNT_SERVED] = { "", "" },
	[ACCOUNT_FILLING] = { ", not served: its first copy is not whole", "filling" },
	[ACCOUNT_RETURNING] = { ", not served: it waits for a peer's copy", "returning" },
	[ACCOUNT_AWAY] = { ", moved away", "away" },
};

/* What little is here of one that was moved away goes, and it begins anew: only if it is meant. */
static int serve_away(
	struct admin_call *call, const struct account_header *header, struct error *error)
{
	struct account_clearing clearing = { .account = header->number, .is_whole = true };
	int rc = 1;

	while (rc > 0)
		rc = account_clearing_step(call->admin->mail, &clearing, error);
	return rc < 0 ? rc : account_away_end(call->admin->mail, header->number, error);
}

static int serve_next(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->admin->mail, 0, &kv);

	if (rc == 0)
		rc = account_next(kv, call->account, &header);
	mail_read_end(&kv);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? rc : error_set(error, rc, "%s", error_name(rc));
	call->account = header.number;
	if (header.hold == ACCOUNT_SERVED ||
		!account_filter_passes(call->arguments[0], header.name))
		return 0;
	if (header.hold != ACCOUNT_AWAY)
		rc = mail_hold_end(call->admin->mail, header.number, error);
	else if (strcmp(call->arguments[0], header.name) == 0)
		rc = serve_away(call, &header, error);
	else
		return 0;
	if (rc < 0)
		return error_prefix(error, "%s", header.name);
	buffer_printf(out, "%s is served\n", header.name);
	call->item_count++;
	return 0;
}

int admin_account_serve(struct admin_call *call, struct buffer *out, struct error *error)
{
	int rc = account_filter_check(call->arguments[0], error);

	for (int i = 0; i < ADMIN_LIST_STEP && rc == 0; i++)
		rc = serve_next(call, out, error);
	if (rc == 0)
		return ADMIN_MORE;
	if (rc != ERR_NOT_FOUND || call->item_count > 0)
		return rc == ERR_NOT_FOUND ? ADMIN_DONE : rc;
	return error_set(error, rc, "no account that matches is held back");
}

static void account_tell(
	struct admin_call *call, const struct account_header *header, struct buffer *out)
{
	bool is_disabled = account_login_check(call->admin->mail, header->number) == ERR_REFUSED;

	if (!admin_has(call, ADMIN_OPTION_JSON)) {
		buffer_printf(out, "%-32s %10llu messages %14llu bytes%s%s%s\n", header->name,
			(unsigned long long)header->message_count,
			(unsigned long long)header->byte_count,
			header->is_deleted ? ", deleted" : "", hold_words[header->hold].text,
			is_disabled ? "  login disabled" : "");
		return;
	}
	json_member_string(
		out, call->item_count == 0 ? "[{" : ",{", "name", bytes_of_string(header->name));
	json_member_number(out, ",", "messages", header->message_count);
	json_member_number(out, ",", "bytes", header->byte_count);
	json_member_bool(out, ",", "deleted", header->is_deleted);
	json_member_bool(out, ",", "login-disabled", is_disabled);
	json_member_string(out, ",", "held", bytes_of_string(hold_words[header->hold].word));
	json_member_number(out, ",", "highestmodseq", header->highest);
	json_member_number(out, ",", "sequence", header->sequence);
	buffer_printf(out, ",\"digest\":\"%016llx%016llx\"}\n",
		(unsigned long long)header->digest.high, (unsigned long long)header->digest.low);
}

int admin_account_list(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->admin->mail, 0, &kv);

	for (int i = 0; i < ADMIN_LIST_STEP && rc == 0; i++) {
		rc = account_next(kv, call->account, &header);
		if (rc < 0)
			break;
		account_tell(call, &header, out);
		call->account = header.number;
		call->item_count++;
	}
	mail_read_end(&kv);
	if (rc == 0)
		return ADMIN_MORE;
	if (rc != ERR_NOT_FOUND)
		return error_set(error, rc, "the accounts cannot be read: %s", error_name(rc));
	if (admin_has(call, ADMIN_OPTION_JSON))
		buffer_append_string(out, call->item_count == 0 ? "[]\n" : "]\n");
	return ADMIN_DONE;
}
