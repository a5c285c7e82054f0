/* LIST and LSUB (RFC 3501, 6.3.8 and 6.3.9; RFC 3348, 5258, 5819, 6154). */
#include "imap/imap_acl.h"
#include "imap/imap_commands.h"
#include "imap/imap_list.h"
#include "imap/imap_match.h"
#include "imap/imap_metadata.h"
#include "imap/imap_reply.h"
#include "imap/imap_status.h"
#include "imap/imap_update.h"
#include "imap/imap_utf7.h"

enum list_option {
	SELECT_SUBSCRIBED = 1,
	SELECT_REMOTE = 2, /* there are none */
	SELECT_RECURSIVE = 4,
	SELECT_SPECIAL = 8,
	RETURN_SUBSCRIBED = 16,
	RETURN_CHILDREN = 32, /* they are told always ... */
	RETURN_SPECIAL = 64,  /* ... and so are these */
	RETURN_MYRIGHTS = 128
};

struct list_work {
	bool is_lsub;
	bool is_extended;
	unsigned options;
	unsigned status_items;
	struct imap_metadata metadata; /* RETURN (METADATA ...), if it has names */
	struct bytes *patterns;        /* with the reference before them; decoded */
	size_t pattern_count;
	struct imap_list list;
	size_t next;
};

struct option_name {
	const char *name;
	enum list_option option;
};

static int parse_option(
	struct imap_parser *args, const struct option_name *names, size_t count, unsigned *options)
{
	for (size_t i = 0; i < count; i++) {
		if (!imap_parse_take_word(args, names[i].name))
			continue;
		*options |= names[i].option;
		return 0;
	}
	return imap_parse_fail(args, ERR_INVALID, "Unknown LIST option");
}

static int parse_selection(struct imap_parser *args, struct list_work *work)
{
	static const struct option_name names[] = {
		{ "SUBSCRIBED", SELECT_SUBSCRIBED },
		{ "REMOTE", SELECT_REMOTE },
		{ "RECURSIVEMATCH", SELECT_RECURSIVE },
		{ "SPECIAL-USE", SELECT_SPECIAL },
	};

	if (!imap_parse_take(args, '('))
		return 0;
	work->is_extended = true;
	while (!imap_parse_take(args, ')')) {
		if (parse_option(args, names, sizeof(names) / sizeof(names[0]), &work->options) < 0)
			return ERR_INVALID;
		imap_parse_take(args, ' ');
	}
	if ((work->options & SELECT_RECURSIVE) != 0 &&
		(work->options & (SELECT_SUBSCRIBED | SELECT_SPECIAL)) == 0)
		return imap_parse_fail(
			args, ERR_INVALID, "RECURSIVEMATCH needs another selection option");
	return imap_parse_space(args);
}

static int parse_return(struct imap_parser *args, struct list_work *work)
{
	static const struct option_name names[] = {
		{ "SUBSCRIBED", RETURN_SUBSCRIBED },
		{ "CHILDREN", RETURN_CHILDREN },
		{ "SPECIAL-USE", RETURN_SPECIAL },
		{ "MYRIGHTS", RETURN_MYRIGHTS },
	};
	int rc;

	if (!imap_parse_take(args, ' '))
		return 0;
	work->is_extended = true;
	if (!imap_parse_take_word(args, "RETURN"))
		return imap_parse_fail(args, ERR_INVALID, "Expected RETURN");
	if (imap_parse_space(args) < 0 || imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	while (!imap_parse_take(args, ')')) {
		if (imap_parse_take_word(args, "STATUS"))
			rc = imap_parse_space(args) < 0
				     ? ERR_INVALID
				     : imap_parse_status_items(args, &work->status_items);
		else if (imap_parse_take_word(args, "METADATA"))
			rc = imap_parse_space(args) < 0
				     ? ERR_INVALID
				     : imap_parse_metadata_names(args, &work->metadata);
		else
			rc = parse_option(
				args, names, sizeof(names) / sizeof(names[0]), &work->options);
		if (rc < 0)
			return rc;
		imap_parse_take(args, ' ');
	}
	return 0;
}

/* Adds reference + pattern, decoded; one that is no name at all matches nothing and is left out. */
static void add_pattern(struct imap_parser *args, struct list_work *work, struct bytes reference,
	struct bytes pattern)
{
	char *text =
		arena_printf(args->arena, "%.*s%.*s", BYTES_ARGS(reference), BYTES_ARGS(pattern));
	struct bytes decoded;

	if (imap_name_decode(args, bytes_of_string(text), &decoded) < 0)
		return;
	work->patterns[work->pattern_count++] = imap_name_canonical(args->arena, decoded);
}

static int parse_patterns(
	struct imap_parser *args, struct list_work *work, struct bytes reference, bool *is_root_r)
{
	bool is_list = imap_parse_take(args, '(');
	struct bytes pattern;
	size_t count = 0;

	*is_root_r = false;
	work->is_extended = work->is_extended || is_list;
	work->patterns = arena_alloc(args->arena, IMAP_LIST_COUNT_MAX * sizeof(*work->patterns));
	do {
		if (count++ == IMAP_LIST_COUNT_MAX)
			return imap_parse_fail(args, ERR_TOO_LARGE, "Too many patterns");
		if (imap_parse_pattern(args, &pattern) < 0)
			return ERR_INVALID;
		if (pattern.len == 0 && !is_list)
			*is_root_r = true;
		add_pattern(args, work, reference, pattern);
	} while (is_list && imap_parse_take(args, ' '));
	return is_list ? imap_parse_expect(args, ')') : 0;
}

/* ---- what is listed ---- */

static bool is_matched(const struct list_work *work, struct bytes name)
{
	for (size_t i = 0; i < work->pattern_count; i++) {
		if (imap_match(work->patterns[i], name))
			return true;
	}
	return false;
}

/* "%" at the end of a pattern asks for levels that only lead to subscribed names. */
static bool has_percent(const struct list_work *work)
{
	for (size_t i = 0; i < work->pattern_count; i++) {
		struct bytes pattern = work->patterns[i];

		if (pattern.len > 0 && pattern.ptr[pattern.len - 1] == '%')
			return true;
	}
	return false;
}

/* What another has for his drafts is not for those of this user. */
static bool has_use(const struct imap_list_entry *entry)
{
	return entry->target != NULL && entry->target->is_own &&
	       entry->target->mailbox.special_use.len > 0;
}

static bool is_chosen(const struct list_work *work, const struct imap_list_entry *entry)
{
	bool is_special = has_use(entry);
	bool is_recursive = (work->options & SELECT_RECURSIVE) != 0;

	if (work->is_lsub)
		return entry->is_subscribed ||
		       (entry->has_subscribed_children && has_percent(work));
	if ((work->options & SELECT_SPECIAL) != 0 && !is_special)
		return false;
	if ((work->options & SELECT_SUBSCRIBED) != 0)
		return entry->is_subscribed || (is_recursive && entry->has_subscribed_children);
	return entry->target != NULL || entry->has_children;
}

static void put_attributes(struct imap_session *session, const struct list_work *work,
	const struct imap_list_entry *entry)
{
	bool tells_subscribed =
		!work->is_lsub && (work->options & (SELECT_SUBSCRIBED | RETURN_SUBSCRIBED)) != 0;

	imap_put(session, entry->has_children ? "\\HasChildren" : "\\HasNoChildren");
	if (entry->target == NULL)
		imap_put(session,
			work->is_extended || session->is_rev2 ? " \\NonExistent" : " \\Noselect");
	else if (work->is_lsub && !entry->is_subscribed)
		imap_put(session, " \\Noselect");
	else if (work->status_items != 0 && (entry->target->rights & ACL_READ) == 0)
		imap_put(session, " \\Noselect"); /* no STATUS then (RFC 5819, 2) */
	if (tells_subscribed && entry->is_subscribed)
		imap_put(session, " \\Subscribed");
	if (has_use(entry)) {
		imap_put(session, " ");
		imap_put_bytes(session, entry->target->mailbox.special_use);
	}
}

/* RFC 8440 */
static int put_rights(
	struct imap_session *session, struct kv_txn *kv, const struct imap_list_entry *entry)
{
	struct imap_target target = *entry->target;
	int rc = imap_target_complete(session, kv, &target);

	if (rc == 0)
		imap_put_my_rights(session, entry->name, target.rights);
	return rc;
}

static int put_entry(struct imap_session *session, struct kv_txn *kv, void *context,
	const struct imap_list_entry *entry)
{
	struct list_work *work = context;
	int rc = 0;

	if (!is_chosen(work, entry) || !is_matched(work, entry->name))
		return 0;
	imap_printf(session, "* %s (", work->is_lsub ? "LSUB" : "LIST");
	put_attributes(session, work, entry);
	imap_put(session, ") \"/\" ");
	imap_put_mailbox(session, entry->name);
	if ((work->options & SELECT_RECURSIVE) != 0 && (work->options & SELECT_SUBSCRIBED) != 0 &&
		entry->has_subscribed_children)
		imap_put(session, " (\"CHILDINFO\" (\"SUBSCRIBED\"))");
	imap_put(session, "\r\n");
	if (entry->target == NULL)
		return 0;
	if ((work->options & RETURN_MYRIGHTS) != 0)
		rc = put_rights(session, kv, entry);
	if (rc == 0 && work->status_items != 0 && (entry->target->rights & ACL_READ) != 0)
		rc = imap_put_status(session, kv, entry->name, entry->target, work->status_items);
	if (rc == 0 && work->metadata.name_count > 0 && imap_metadata_is_readable(entry->target))
		rc = imap_put_metadata(session, kv, entry->name, entry->target, &work->metadata);
	return rc;
}

static enum net_result list_run(struct imap_session *session)
{
	struct list_work *work = session->work;
	int rc = imap_list_walk(session, &work->list, &work->next, put_entry, work);

	if (rc > 0) {
		session->resume = list_run;
		return NET_AGAIN;
	}
	return rc < 0 ? imap_fail(session, rc, NULL) : imap_ok(session, "Listed");
}

/* Up to its first wildcard, one must begin the other. */
static bool may_match_prefix(struct bytes pattern, const char *prefix)
{
	size_t len = 0;

	while (len < pattern.len && pattern.ptr[len] != '*' && pattern.ptr[len] != '%')
		len++;
	if (len == pattern.len && len < strlen(prefix))
		return false;
	len = len < strlen(prefix) ? len : strlen(prefix);
	return memcmp(pattern.ptr, prefix, len) == 0;
}

/* Names of other accounts' mailboxes are looked for only where a pattern may ask for them. */
static bool may_match_foreign(const struct imap_session *session, const struct list_work *work)
{
	for (size_t i = 0; i < work->pattern_count; i++) {
		struct bytes pattern = work->patterns[i];

		if (may_match_prefix(pattern, session->options->other_users_prefix) ||
			may_match_prefix(pattern, session->options->shared_prefix))
			return true;
	}
	return false;
}

static int settle(struct imap_session *session, const struct list_work *work)
{
	int rc = 0;

	for (size_t i = 0; i < work->list.count && rc == 0; i++) {
		const struct imap_list_entry *entry = &work->list.entries[i];

		if (entry->target != NULL && is_chosen(work, entry) &&
			is_matched(work, entry->name))
			rc = imap_status_settle(session, entry->target);
	}
	return rc;
}

static enum net_result list_begin(struct imap_session *session, struct list_work *work)
{
	struct kv_txn *kv;
	int rc;

	if (imap_status_has_modseq(work->status_items))
		imap_enable_condstore(session);
	imap_catch_up(session);
	rc = imap_read_begin(session, &kv);
	if (rc < 0)
		return imap_fail(session, rc, NULL);
	rc = imap_list_read(session, kv, may_match_foreign(session, work), &work->list);
	mail_read_end(&kv);
	if (rc == 0 && imap_status_has_modseq(work->status_items))
		rc = settle(session, work);
	if (rc < 0)
		return imap_fail(session, rc, NULL);
	session->work = work;
	return list_run(session);
}

enum net_result cmd_list(struct imap_session *session, struct imap_parser *args)
{
	struct list_work *work = arena_zalloc(session->arena, sizeof(*work));
	struct bytes reference;
	bool is_root;

	if (imap_parse_space(args) < 0 || parse_selection(args, work) < 0 ||
		imap_parse_astring(args, &reference) < 0 || imap_parse_space(args) < 0 ||
		parse_patterns(args, work, reference, &is_root) < 0 ||
		parse_return(args, work) < 0 || imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	if (is_root && !work->is_extended) {
		imap_put(session, "* LIST (\\Noselect) \"/\" \"\"\r\n");
		return imap_ok(session, "Listed");
	}
	return list_begin(session, work);
}

enum net_result cmd_lsub(struct imap_session *session, struct imap_parser *args)
{
	struct list_work *work = arena_zalloc(session->arena, sizeof(*work));
	struct bytes reference, pattern;

	if (imap_parse_space(args) < 0 || imap_parse_astring(args, &reference) < 0 ||
		imap_parse_space(args) < 0 || imap_parse_pattern(args, &pattern) < 0 ||
		imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	work->is_lsub = true;
	work->patterns = arena_alloc(args->arena, sizeof(*work->patterns));
	add_pattern(args, work, reference, pattern);
	return list_begin(session, work);
}
