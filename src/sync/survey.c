#include "sync/survey.h"

#include "sync/wire.h"

void survey_request(const struct bytes *names, size_t count, struct buffer *request)
{
	struct dlist_writer writer = wire_begin(request, DLIST_REQUEST, "POINTS");

	assert(count <= SURVEY_ACCOUNT_COUNT_MAX);
	dlist_put_atom(&writer, "ACCOUNTS");
	dlist_begin_list(&writer);
	for (size_t i = 0; i < count; i++)
		dlist_put_text(&writer, names[i]);
	dlist_end_list(&writer);
	dlist_end_map(&writer);
}

void survey_request_all(uint64_t cursor, struct buffer *request)
{
	struct dlist_writer writer = wire_begin(request, DLIST_REQUEST, "POINTS");

	dlist_put_number_of(&writer, "CURSOR", cursor);
	dlist_put_number_of(&writer, "COUNT", SURVEY_ALL_COUNT_MAX);
	dlist_end_map(&writer);
}

void survey_request_others(uint64_t cursor, struct buffer *request)
{
	struct dlist_writer writer = wire_begin(request, DLIST_REQUEST, "POINTS");

	dlist_put_number_of(&writer, "CURSOR", cursor);
	dlist_put_number_of(&writer, "OTHERS", 1);
	dlist_end_map(&writer);
}

void survey_prefixes(struct bytes answer, struct arena *arena, struct bytes *other_users_r,
	struct bytes *shared_r)
{
	const struct dlist *map;
	struct bytes verb;

	*other_users_r = *shared_r = (struct bytes){ 0 };
	if (wire_parse(answer, arena, &verb, &map, NULL) < 0)
		return;
	(void)dlist_get_text(map, "OTHERSPREFIX", other_users_r);
	(void)dlist_get_text(map, "SHAREDPREFIX", shared_r);
}

/* Pairs of a mailbox's id and letters. */
static int read_rights(
	const struct dlist *list, struct arena *arena, struct survey_account *account)
{
	struct foreign_list *mailboxes = &account->mailboxes;

	mailboxes->list = arena_alloc(arena, (list->count / 2 + 1) * sizeof(*mailboxes->list));
	for (const struct dlist *at = list->first; at != NULL; at = at->next->next) {
		struct foreign_mailbox mailbox = { 0 };
		struct bytes letters;

		if (at->next == NULL || wire_id(at, &mailbox.id) < 0 ||
			dlist_text(at->next, &letters) < 0 ||
			acl_parse_rights(letters, &mailbox.rights) < 0)
			return ERR_INVALID;
		mailboxes->list[mailboxes->count++] = mailbox;
	}
	return 0;
}

static int read_foreign(const struct dlist *map, struct arena *arena,
	struct survey_account *account, struct error *error)
{
	const struct dlist *list;
	uint64_t is_shared = 0;

	(void)dlist_get_number(map, "SHARED", 1, &is_shared);
	account->is_foreign = account->exists = true;
	account->is_shared = is_shared != 0;
	if (dlist_get_number(map, "SEQUENCE", UINT64_MAX, &account->sequence) < 0 ||
		dlist_get_list(map, "RIGHTS", &list) < 0 || read_rights(list, arena, account) < 0)
		return error_set(error, ERR_INVALID, "bad RIGHTS in an answer");
	return 0;
}

static int read_account(const struct dlist *map, struct arena *arena,
	struct survey_account *account_r, struct error *error)
{
	struct survey_account account = { 0 };
	uint64_t is_returning = 0;
	int rc;

	if (dlist_get_text(map, "ACCOUNT", &account.name) < 0)
		return error_set(error, ERR_INVALID, "bad ACCOUNT in an answer");
	if (dlist_get(map, "RIGHTS") != NULL) {
		rc = read_foreign(map, arena, &account, error);
		if (rc == 0)
			*account_r = account;
		return rc;
	}
	rc = dlist_get_number(map, "SEQUENCE", UINT64_MAX, &account.sequence);
	account.exists = rc == 0;
	if (rc == 0)
		rc = dlist_get_number(map, "HIGHEST", MODSEQ_MAX, &account.highest);
	if (rc == 0)
		rc = wire_get_digest(map, "DIGEST", &account.digest);
	if (rc < 0 && (rc != ERR_NOT_FOUND || account.exists))
		return error_set(error, ERR_INVALID, "bad point in an answer");
	(void)dlist_get_number(map, "RETURNING", 1, &is_returning);
	account.is_returning = is_returning != 0;
	(void)wire_get_node(map, "AWAY", &account.away);
	(void)wire_get_node(map, "FILLING", &account.filling);
	account.may_fill = dlist_get_number(map, "FILL", UINT64_MAX, &account.fill_reached) == 0;
	*account_r = account;
	return 0;
}

static int read_accounts(const struct dlist *map, struct arena *arena,
	struct survey_account **accounts_r, size_t *count_r, struct error *error)
{
	struct survey_account *accounts;
	const struct dlist *list;
	size_t count = 0;

	if (dlist_get_list(map, "ACCOUNTS", &list) < 0)
		return error_set(error, ERR_INVALID, "bad ACCOUNTS in an answer");
	accounts = arena_alloc(arena, (list->count + 1) * sizeof(*accounts));
	for (const struct dlist *at = list->first; at != NULL; at = at->next) {
		int rc = read_account(at, arena, &accounts[count++], error);

		if (rc < 0)
			return rc;
	}
	*accounts_r = accounts;
	*count_r = count;
	return 0;
}

int survey_answer(struct bytes answer, struct arena *arena, struct survey_account **accounts_r,
	size_t *count_r, uint64_t *cursor_r, struct error *error)
{
	const struct dlist *map;
	int rc = wire_answer_as(answer, "POINTS", "POINTS", arena, &map, error);

	if (rc < 0)
		return rc;
	*cursor_r = 0;
	rc = dlist_get_number(map, "CURSOR", UINT64_MAX, cursor_r);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return error_set(error, ERR_INVALID, "bad CURSOR in an answer");
	return read_accounts(map, arena, accounts_r, count_r, error);
}
