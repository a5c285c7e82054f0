/* GETMETADATA and SETMETADATA (RFC 5464; RFC 6154, section 5.4). */
#include "imap/imap_commands.h"
#include "imap/imap_mailbox.h"
#include "imap/imap_metadata.h"
#include "imap/imap_reply.h"

#include <limits.h>

/* Who may read entries may keep private ones; to set shared ones takes the right to write. */
static int check_rights(const struct imap_target *target, bool sets_shared, struct error *error)
{
	if (!target->exists)
		return error_set(error, ERR_NOT_FOUND, "no such mailbox");
	if (!imap_metadata_is_readable(target))
		return imap_target_check(target, ACL_LOOKUP | ACL_READ, error);
	return imap_target_check(target, ACL_LOOKUP | (sets_shared ? ACL_WRITE : 0), error);
}

static int find_target(struct imap_session *session, struct kv_txn *kv, struct bytes name,
	bool sets_shared, struct imap_target *target_r, struct error *error)
{
	int rc = imap_target_resolve(session, kv, name, target_r);

	if (rc == ERR_NOT_FOUND)
		return error_set(error, rc, "no such mailbox");
	return rc < 0 ? rc : check_rights(target_r, sets_shared, error);
}

/* ---- GETMETADATA ---- */

struct get_options {
	uint64_t size_max;
	unsigned depth;
};

/* "(MAXSIZE 1024 DEPTH infinity)" */
static int parse_options(struct imap_parser *args, struct get_options *options)
{
	uint64_t number;

	if (imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	do {
		if (imap_parse_take_word(args, "MAXSIZE")) {
			if (imap_parse_space(args) < 0 ||
				imap_parse_number(args, UINT32_MAX, &options->size_max) < 0)
				return ERR_INVALID;
			continue;
		}
		if (!imap_parse_take_word(args, "DEPTH"))
			return imap_parse_fail(args, ERR_INVALID, "Unknown GETMETADATA option");
		if (imap_parse_space(args) < 0)
			return ERR_INVALID;
		options->depth = UINT_MAX;
		if (imap_parse_take_word(args, "infinity"))
			continue;
		if (imap_parse_number(args, 1, &number) < 0)
			return imap_parse_fail(args, ERR_INVALID, "DEPTH is 0, 1 or infinity");
		options->depth = (unsigned)number;
	} while (imap_parse_take(args, ' '));
	return imap_parse_expect(args, ')');
}

/* The options stand before the mailbox in the RFC's syntax and after it in its examples; both are
 * taken. */
static int parse_get(struct imap_parser *args, struct bytes *name, struct imap_metadata *metadata)
{
	struct get_options options = { UINT64_MAX, 0 };
	bool is_before = false;

	if (imap_parse_space(args) < 0)
		return ERR_INVALID;
	if (bytes_peek(args->rest) == '(') {
		is_before = true;
		if (parse_options(args, &options) < 0 || imap_parse_space(args) < 0)
			return ERR_INVALID;
	}
	if (imap_parse_mailbox(args, name) < 0 || imap_parse_space(args) < 0)
		return ERR_INVALID;
	if (!is_before && bytes_peek(args->rest) == '(' && args->rest.len > 1 &&
		args->rest.ptr[1] != '/' && args->rest.ptr[1] != '"' && args->rest.ptr[1] != '{') {
		if (parse_options(args, &options) < 0 || imap_parse_space(args) < 0)
			return ERR_INVALID;
	}
	if (imap_parse_metadata_names(args, metadata) < 0)
		return ERR_INVALID;
	metadata->depth = options.depth;
	metadata->size_max = options.size_max;
	for (size_t i = 0; i < metadata->name_count; i++)
		if (metadata->names[i].entry.len == 0 && metadata->depth == 0)
			return imap_parse_fail(args, ERR_INVALID, "Malformed entry name");
	return imap_parse_end(args);
}

enum net_result cmd_getmetadata(struct imap_session *session, struct imap_parser *args)
{
	struct imap_metadata metadata;
	struct imap_target target;
	struct error error = { 0 };
	struct kv_txn *kv = NULL;
	struct bytes name;
	int rc;

	if (parse_get(args, &name, &metadata) < 0)
		return imap_bad_args(session, args);
	imap_catch_up(session);
	rc = imap_read_begin(session, &kv);
	if (rc == 0 && name.len > 0)
		rc = find_target(session, kv, name, false, &target, &error);
	if (rc == 0)
		rc = imap_put_metadata(session, kv, name, name.len > 0 ? &target : NULL, &metadata);
	mail_read_end(&kv);
	if (rc < 0)
		return imap_fail(session, rc, &error);
	if (metadata.longest > 0)
		return imap_ok(session, "[METADATA LONGENTRIES %llu] Some entries are longer",
			(unsigned long long)metadata.longest);
	return imap_ok(session, "Done");
}

/* ---- SETMETADATA ---- */

struct set {
	struct bytes name;
	struct annotation *changes;
	size_t count;
	bool has[2]; /* private, shared */
	bool has_special_use;
	struct bytes special_use;
};

static int parse_change(struct imap_parser *args, struct set *set)
{
	struct imap_metadata_name name;
	struct annotation change = { .is_set = true };
	bool is_nil;

	if (imap_parse_metadata_name(args, &name) < 0 || imap_parse_space(args) < 0 ||
		imap_parse_value(args, &change.value, &is_nil) < 0)
		return ERR_INVALID;
	if (name.entry.len == 0)
		return imap_parse_fail(args, ERR_INVALID, "Malformed entry name");
	change.scope = name.scope;
	change.entry = name.entry;
	change.is_set = !is_nil;
	if (name.scope == ANNOTATION_PRIVATE && set->name.len > 0 &&
		bytes_equal_string(name.entry, "/specialuse")) {
		set->has_special_use = true;
		set->special_use = change.value;
		return 0;
	}
	set->has[name.scope == ANNOTATION_SHARED] = true;
	set->changes[set->count++] = change;
	return 0;
}

static int parse_set(struct imap_parser *args, struct set *set)
{
	set->changes = arena_alloc(args->arena, IMAP_METADATA_NAME_MAX * sizeof(*set->changes));
	if (imap_parse_space(args) < 0 || imap_parse_mailbox(args, &set->name) < 0 ||
		imap_parse_space(args) < 0 || imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	do {
		if (set->count == IMAP_METADATA_NAME_MAX)
			return imap_parse_fail(args, ERR_TOO_LARGE, "Too many entries");
		if (parse_change(args, set) < 0)
			return ERR_INVALID;
	} while (imap_parse_take(args, ' '));
	return imap_parse_expect(args, ')') < 0 ? ERR_INVALID : imap_parse_end(args);
}

static int set_server(struct imap_session *session, const struct set *set,
	struct metadata_change *change, struct error *error)
{
	if (!set->has[1])
		return 0;
	if (!session->identity.is_admin)
		return error_set(error, ERR_REFUSED, "only administrators set that");
	return mail_account_open(session->mail, BYTES_LITERAL(ANNOTATION_SERVER_ACCOUNT), true,
		error, &change->account);
}

static int set_mailbox(struct imap_session *session, const struct set *set,
	struct metadata_change *change, struct error *error)
{
	struct imap_target target;
	struct kv_txn *kv = NULL;
	int rc;

	imap_catch_up(session);
	rc = imap_read_begin(session, &kv);
	if (rc == 0)
		rc = find_target(session, kv, set->name, set->has[1], &target, error);
	mail_read_end(&kv);
	if (rc == 0 && set->has_special_use && !target.is_own)
		rc = error_set(error, ERR_REFUSED, "the mailbox is another account's");
	if (rc < 0)
		return rc;
	change->account = target.account;
	change->mailbox = target.mailbox.id;
	return 0;
}

/* What cannot be taken, in any mailbox. */
static enum net_result refuse_set(struct imap_session *session, struct set *set, bool *is_refused)
{
	*is_refused = true;
	for (size_t i = 0; i < set->count; i++)
		if (set->changes[i].value.len > ANNOTATION_VALUE_SIZE_MAX)
			return imap_no(session, "[METADATA MAXSIZE %u] Value too large",
				ANNOTATION_VALUE_SIZE_MAX);
	if (set->has[0] && session->identity.account == 0)
		return imap_no(session, "[METADATA NOPRIVATE] You have no account");
	if (session->identity.is_read_only)
		return imap_no(session, "[NOPERM] You may change nothing");
	if (set->has_special_use && set->special_use.len > 0 &&
		!imap_special_use_find(set->special_use, &set->special_use))
		return imap_no(session, "[USEATTR] Unknown special use");
	*is_refused = false;
	return NET_DONE;
}

enum net_result cmd_setmetadata(struct imap_session *session, struct imap_parser *args)
{
	struct set set = { .count = 0 };
	struct metadata_change change = { .own = session->identity.account };
	struct error error = { 0 };
	enum net_result result;
	uint64_t position = 0;
	bool is_refused;
	int rc;

	if (parse_set(args, &set) < 0)
		return imap_bad_args(session, args);
	result = refuse_set(session, &set, &is_refused);
	if (is_refused)
		return result;
	change.entries = set.changes;
	change.count = set.count;
	change.sets_special_use = set.has_special_use;
	change.special_use = set.special_use;
	rc = set.name.len > 0 ? set_mailbox(session, &set, &change, &error)
			      : set_server(session, &set, &change, &error);
	if (rc == 0)
		rc = metadata_set(session->mail, &change, &error, &position);
	imap_wrote(session, position);
	if (rc == ERR_TOO_LARGE)
		return imap_no(session, "[METADATA TOOMANY] %s", error.text);
	if (rc == ERR_EXISTS)
		return imap_no(session, "[USEATTR] %s", error.text);
	return rc < 0 ? imap_fail(session, rc, &error) : imap_ok(session, "Set");
}
