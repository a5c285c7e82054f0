#include "imap/imap_metadata.h"

#include "imap/imap_reply.h"

#include <limits.h>

#define SPECIAL_USE_ENTRY "/specialuse"

int imap_parse_value(struct imap_parser *args, struct bytes *value_r, bool *is_nil_r)
{
	bool is_binary;

	*is_nil_r = imap_parse_take_word(args, "NIL");
	*value_r = bytes_of(NULL, 0);
	if (*is_nil_r)
		return 0;
	if (bytes_peek(args->rest) == '~')
		return imap_parse_literal8(args, value_r, &is_binary);
	return imap_parse_string(args, value_r);
}

void imap_put_value(struct buffer *out, struct bytes value)
{
	if (bytes_find(value, '\0') == value.len) {
		imap_put_string(out, value);
		return;
	}
	buffer_printf(out, "~{%zu}\r\n", value.len);
	buffer_append_bytes(out, value);
}

int imap_parse_metadata_name(struct imap_parser *args, struct imap_metadata_name *name_r)
{
	static const struct {
		const char *name;
		enum annotation_scope scope;
	} scopes[] = { { "/private", ANNOTATION_PRIVATE }, { "/shared", ANNOTATION_SHARED } };
	struct bytes text, entry;

	if (imap_parse_astring(args, &text) < 0)
		return ERR_INVALID;
	if (annotation_entry(args->arena, text, false, &entry) < 0)
		return imap_parse_fail(args, ERR_INVALID, "Malformed entry name");
	for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++) {
		size_t len = strlen(scopes[i].name);

		if (!bytes_start_with(entry, bytes_of(scopes[i].name, len)) ||
			(entry.len > len && entry.ptr[len] != '/'))
			continue;
		bytes_skip(&entry, len);
		*name_r = (struct imap_metadata_name){ scopes[i].scope, entry };
		return 0;
	}
	return imap_parse_fail(args, ERR_INVALID, "An entry begins with /private or /shared");
}

int imap_parse_metadata_names(struct imap_parser *args, struct imap_metadata *metadata_r)
{
	struct imap_metadata metadata = { .size_max = UINT64_MAX };
	bool is_list = imap_parse_take(args, '(');

	metadata.names = arena_alloc(args->arena, IMAP_METADATA_NAME_MAX * sizeof(*metadata.names));
	do {
		if (metadata.name_count == IMAP_METADATA_NAME_MAX)
			return imap_parse_fail(args, ERR_TOO_LARGE, "Too many entries");
		if (imap_parse_metadata_name(args, &metadata.names[metadata.name_count++]) < 0)
			return ERR_INVALID;
	} while (is_list && imap_parse_take(args, ' '));
	*metadata_r = metadata;
	return is_list ? imap_parse_expect(args, ')') : 0;
}

bool imap_metadata_is_readable(const struct imap_target *target)
{
	const unsigned some = ACL_READ | ACL_SEEN | ACL_WRITE | ACL_INSERT | ACL_POST;

	return (target->rights & ACL_LOOKUP) != 0 && (target->rights & some) != 0;
}

/* ---- telling ---- */

struct telling {
	struct imap_session *session;
	struct kv_txn *kv;
	const struct imap_target *target; /* NULL: the server */
	struct imap_metadata *metadata;
	const struct imap_metadata_name *name;
	uint32_t account; /* that holds the present scope; 0: none */
	struct id128 mailbox;
	size_t count; /* told so far */
};

static void put_entry(struct telling *telling, struct bytes entry, struct bytes value, bool is_nil)
{
	struct imap_session *session = telling->session;
	const char *scope = telling->name->scope == ANNOTATION_PRIVATE ? "/private" : "/shared";
	char *name = arena_printf(session->arena, "%s%.*s", scope, BYTES_ARGS(entry));

	if (value.len > telling->metadata->size_max) {
		if (value.len > telling->metadata->longest)
			telling->metadata->longest = value.len;
		return;
	}
	if (telling->count++ > 0)
		imap_put(session, " ");
	imap_put_astring(&session->out, bytes_of_string(name));
	imap_put(session, " ");
	if (is_nil)
		imap_put(session, "NIL");
	else
		imap_put_value(&session->out, value);
}

static bool has_special_use(const struct telling *telling, struct bytes entry)
{
	return telling->target != NULL && telling->target->is_own &&
	       telling->name->scope == ANNOTATION_PRIVATE &&
	       bytes_equal_string(entry, SPECIAL_USE_ENTRY);
}

/* Whose annotations the scope's are. */
static int find_holder(struct telling *telling)
{
	const struct imap_target *target = telling->target;
	bool is_private = telling->name->scope == ANNOTATION_PRIVATE;
	int rc;

	telling->mailbox = target != NULL ? target->mailbox.id : (struct id128){ { 0 } };
	telling->account = target != NULL && !is_private ? target->account
							 : telling->session->identity.account;
	if (target != NULL || is_private)
		return 0;
	rc = account_find(telling->kv, BYTES_LITERAL(ANNOTATION_SERVER_ACCOUNT), &telling->account);
	if (rc == ERR_NOT_FOUND)
		telling->account = 0;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* The entry itself. What is not there is NIL, if it was asked for by its name alone. */
static int tell_exact(struct telling *telling)
{
	struct bytes entry = telling->name->entry, value = { NULL, 0 };
	int rc = ERR_NOT_FOUND;

	if (entry.len == 0)
		return 0;
	if (has_special_use(telling, entry)) {
		value = telling->target->mailbox.special_use;
		rc = value.len > 0 ? 0 : ERR_NOT_FOUND;
	} else if (telling->account != 0) {
		rc = metadata_get(telling->kv, telling->account, telling->mailbox,
			telling->name->scope, entry, telling->session->arena, &value);
	}
	if (rc == 0 || (rc == ERR_NOT_FOUND && telling->metadata->depth == 0))
		put_entry(telling, entry, value, rc != 0);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int tell_child(void *context, const struct annotation *annotation)
{
	struct telling *telling = context;
	struct bytes rest = annotation->entry;

	bytes_skip(&rest, telling->name->entry.len + 1);
	if (annotation->is_set &&
		(telling->metadata->depth > 1 || bytes_find(rest, '/') == rest.len))
		put_entry(telling, annotation->entry, annotation->value, false);
	return 0;
}

static int tell_children(struct telling *telling)
{
	const struct imap_metadata_name *name = telling->name;
	char *prefix;

	if (telling->metadata->depth == 0)
		return 0;
	if (name->entry.len == 0 && telling->target != NULL &&
		telling->target->mailbox.special_use.len > 0 &&
		has_special_use(telling, BYTES_LITERAL(SPECIAL_USE_ENTRY)))
		put_entry(telling, BYTES_LITERAL(SPECIAL_USE_ENTRY),
			telling->target->mailbox.special_use, false);
	if (telling->account == 0)
		return 0;
	prefix = arena_printf(telling->session->arena, "%.*s/", BYTES_ARGS(name->entry));
	return metadata_each(telling->kv, telling->account, telling->mailbox, name->scope,
		bytes_of_string(prefix), telling->session->arena, tell_child, telling);
}

int imap_put_metadata(struct imap_session *session, struct kv_txn *kv, struct bytes name,
	const struct imap_target *target, struct imap_metadata *metadata)
{
	struct telling telling = {
		.session = session, .kv = kv, .target = target, .metadata = metadata
	};
	size_t start = session->out.len;
	int rc = 0;

	imap_put(session, "* METADATA ");
	if (target == NULL)
		imap_put(session, "\"\"");
	else
		imap_put_mailbox(session, name);
	imap_put(session, " (");
	for (size_t i = 0; i < metadata->name_count && rc == 0; i++) {
		telling.name = &metadata->names[i];
		rc = find_holder(&telling);
		if (rc == 0)
			rc = tell_exact(&telling);
		if (rc == 0)
			rc = tell_children(&telling);
	}
	imap_put(session, ")\r\n");
	if (rc < 0 || telling.count == 0)
		buffer_truncate(&session->out, start);
	return rc;
}
