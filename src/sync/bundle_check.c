#include "sync/bundle_private.h"

#include "sync/wire.h"

struct check {
	struct bundle_summary summary;
	struct arena *arena; /* of one frame */
	bool has_end;
	uint64_t told_count; /* accounts, as the last frame tells */
};

static int bodies_check(struct check *check, const struct dlist *map, struct error *error)
{
	const struct dlist *list;

	if (dlist_get_list(map, "BODIES", &list) < 0 || list->count % 2 != 0)
		return error_set(error, ERR_INVALID, "bad BODIES in a bundle");
	for (const struct dlist *at = list->first; at != NULL; at = at->next->next) {
		struct guid told, found;
		struct bytes raw;

		if (wire_guid(at, &told) < 0 || dlist_text(at->next, &raw) < 0)
			return error_set(error, ERR_INVALID, "bad body in a bundle");
		guid_of(raw, &found);
		if (!guid_equal(&told, &found))
			return error_set(error, ERR_CORRUPT, "a message is not what it was");
		check->summary.body_count++;
		check->summary.body_bytes += raw.len;
	}
	return 0;
}

static int records_check(struct check *check, const struct dlist *map, struct error *error)
{
	struct change_set set = { 0 };
	int rc = wire_get_changes(map, check->arena, &set, error);

	check->summary.record_count += set.mailbox_count + set.message_count + set.register_count;
	change_set_deinit(&set);
	return rc;
}

static int request_check(struct check *check, int type, struct bytes text, struct error *error)
{
	const struct dlist *map;
	struct bytes verb;
	int rc;

	arena_reset(check->arena);
	rc = wire_parse(text, check->arena, &verb, &map, error);
	if (rc < 0)
		return rc;
	if (check->summary.account_count == 0 && type != BUNDLE_END)
		return error_set(error, ERR_INVALID, "changes of no account in a bundle");
	if (type == BUNDLE_BODIES)
		return bodies_check(check, map, error);
	if (type == BUNDLE_RECORDS)
		return records_check(check, map, error);
	check->has_end = true;
	if (dlist_get_number(map, "ACCOUNTS", UINT64_MAX, &check->told_count) < 0 ||
		check->told_count != check->summary.account_count)
		return error_set(error, ERR_CORRUPT, "accounts are missing in a bundle");
	return 0;
}

static int frame_check(struct check *check, int type, struct bytes text,
	struct bundle_account *account, struct error *error)
{
	struct bundle_summary *summary = &check->summary;
	int rc;

	if ((type == BUNDLE_ABOUT) != (summary->about.node == 0))
		return error_set(error, ERR_INVALID, "a bundle begins with who made it, once");
	switch (type) {
	case BUNDLE_ABOUT:
		return bundle_about_read(text, &summary->about, error);
	case BUNDLE_ACCOUNT:
		rc = bundle_account_read(text, account, error);
		if (rc < 0)
			return rc;
		summary->account_count++;
		summary->changed_count += account->is_changed;
		return 0;
	case BUNDLE_BODIES:
	case BUNDLE_RECORDS:
	case BUNDLE_END:
		return request_check(check, type, text, error);
	default:
		return 0;
	}
}

int bundle_check(const char *path, const struct bundle_secret *secret,
	void (*tell)(void *context, const struct bundle_account *account), void *context,
	struct bundle_summary *summary_r, struct error *error)
{
	struct check check = { .arena = arena_new() };
	struct bundle_reader *reader = NULL;
	struct bundle_account account;
	struct error own = { 0 };
	int rc = bundle_reader_open(path, secret, &reader, &own);

	while (rc == 0) {
		struct bytes text;
		int type;

		rc = bundle_reader_next(reader, &type, &text, &own);
		if (rc == 0)
			rc = frame_check(&check, type, text, &account, &own);
		if (rc == 0 && type == BUNDLE_ACCOUNT && tell != NULL)
			tell(context, &account);
	}
	if (rc == ERR_NOT_FOUND && own.code == 0 && check.has_end)
		rc = 0;
	if (rc == 0) {
		check.summary.is_encrypted = bundle_reader_is_encrypted(reader);
		check.summary.size = bundle_reader_size(reader);
		*summary_r = check.summary;
	} else if (error != NULL) {
		*error = own;
		if (strstr(own.text, path) == NULL)
			error_prefix(error, "%s", path);
	}
	bundle_reader_free(&reader);
	arena_free(&check.arena);
	return rc;
}
