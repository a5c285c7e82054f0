/* CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501, 6.3.3 to 6.3.7; RFC 6154). */
#include "imap/imap_commands.h"
#include "imap/imap_mailbox.h"
#include "imap/imap_reply.h"
#include "imap/imap_target.h"

void imap_put_mailbox_id(struct buffer *out, struct id128 id)
{
	/* The leading letter keeps it apart from anything that begins with a digit. */
	buffer_append_byte(out, 'F');
	for (size_t i = 0; i < sizeof(id.bytes); i++)
		buffer_printf(out, "%02x", id.bytes[i]);
}

static const char *const special_uses[] = { "\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk",
	"\\Sent", "\\Trash" };

bool imap_special_use_find(struct bytes name, struct bytes *use_r)
{
	for (size_t i = 0; i < sizeof(special_uses) / sizeof(special_uses[0]); i++) {
		if (bytes_equal_string_nocase(name, special_uses[i])) {
			*use_r = bytes_of_string(special_uses[i]);
			return true;
		}
	}
	return false;
}

/* " (USE (\Sent))"; other parameters are not known. */
static int parse_use(struct imap_parser *args, struct bytes *use_r)
{
	struct bytes word = bytes_of(args->rest.ptr, 0);

	if (imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	if (!imap_parse_take_word(args, "USE"))
		return imap_parse_fail(args, ERR_INVALID, "Unknown CREATE parameter");
	if (imap_parse_space(args) < 0 || imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	while (!imap_parse_take(args, ')')) {
		if (word.len > 0)
			return imap_parse_fail(
				args, ERR_REFUSED, "Only one special use is possible");
		word.ptr = args->rest.ptr;
		if (imap_parse_expect(args, '\\') < 0 || imap_parse_atom(args, &word) < 0)
			return ERR_INVALID;
		word = bytes_of(word.ptr - 1, word.len + 1);
		imap_parse_take(args, ' ');
	}
	*use_r = (struct bytes){ NULL, 0 };
	if (word.len > 0 && !imap_special_use_find(word, use_r))
		return imap_parse_fail(args, ERR_REFUSED, "Unknown special use");
	return imap_parse_expect(args, ')');
}

/* Whether a mailbox has that special use already: only one of each makes sense. */
static int use_is_taken(void *context, const struct mailbox_record *mailbox)
{
	const struct bytes *use = context;

	return mailbox_is_live(mailbox) && bytes_equal(mailbox->special_use, *use) ? 1 : 0;
}

/* Of one that is there, but that he may not know of, no more is said than of others. */
static int check_place(const struct imap_target *place, struct error *error)
{
	if (!place->exists)
		return imap_target_check(place, ACL_CREATE, error);
	if ((place->rights & ACL_LOOKUP) == 0)
		return error_set(error, ERR_REFUSED, "you may not make that mailbox");
	return 0;
}

/* Finds where the mailbox is to be. 1: the special use is taken, or is no use there: what others
 * have for their drafts is not for his. */
static int find_place(struct imap_session *session, struct bytes name, struct bytes use,
	struct imap_target *place_r, struct error *error)
{
	struct kv_txn *kv;
	int rc;

	imap_catch_up(session);
	rc = imap_read_begin(session, &kv);
	if (rc < 0)
		return rc;
	rc = imap_target_resolve(session, kv, name, place_r);
	if (rc == ERR_NOT_FOUND)
		error_set(error, rc, "there is no such account");
	if (rc == 0)
		rc = check_place(place_r, error);
	if (rc == 0 && use.len > 0 && !place_r->is_own)
		rc = 1;
	if (rc == 0 && use.len > 0)
		rc = account_each_mailbox(kv, place_r->account, session->arena, use_is_taken, &use);
	mail_read_end(&kv);
	return rc;
}

/* The name, and how the client wrote it. */
static int parse_name(struct imap_parser *args, struct bytes *name_r, struct bytes *given_r)
{
	struct imap_parser before;

	if (imap_parse_space(args) < 0)
		return ERR_INVALID;
	before = *args;
	if (imap_parse_mailbox(args, name_r) < 0)
		return ERR_INVALID;
	return imap_parse_astring(&before, given_r);
}

/* "inbox/x" is not the name that it has: RFC 9051, 6.3.9.7. */
static void tell_name(
	struct imap_session *session, struct bytes name, struct bytes given, bool exists)
{
	if (given.len == name.len + 1 && given.ptr[name.len] == '/')
		given.len--;
	if (!session->is_rev2 || bytes_equal(name, given))
		return;
	imap_put(session, exists ? "* LIST () \"/\" " : "* LIST (\\NonExistent) \"/\" ");
	imap_put_mailbox(session, name);
	imap_put(session, " (\"OLDNAME\" (");
	imap_put_mailbox(session, given);
	imap_put(session, "))\r\n");
}

enum net_result cmd_create(struct imap_session *session, struct imap_parser *args)
{
	struct bytes name, given, use = { NULL, 0 };
	struct error error = { 0 };
	struct buffer id_text = { NULL, 0, 0 };
	enum net_result result;
	struct imap_target place;
	struct id128 id;
	uint64_t position = 0;
	int rc = 0;

	if (parse_name(args, &name, &given) < 0)
		return imap_bad_args(session, args);
	if (imap_parse_take(args, ' '))
		rc = parse_use(args, &use);
	if (rc == ERR_REFUSED)
		return imap_no(session, "[USEATTR] %s", args->problem);
	if (rc < 0 || imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	/* "name/" announces children (RFC 3501, 6.3.3). */
	if (name.len > 1 && name.ptr[name.len - 1] == '/')
		name.len--;
	rc = find_place(session, name, use, &place, &error);
	if (rc > 0)
		return imap_no(session, "[USEATTR] No mailbox there can have that special use");
	if (rc == 0)
		rc = mailbox_create(
			session->mail, place.account, place.name, use, &error, &id, &position);
	if (rc < 0)
		return imap_fail(session, rc, &error);
	imap_wrote(session, position);
	tell_name(session, name, given, true);
	imap_put_mailbox_id(&id_text, id);
	result = imap_ok(session, "[MAILBOXID (%s)] Created", buffer_string(&id_text));
	buffer_deinit(&id_text);
	return result;
}

struct level_search {
	struct imap_session *session;
	struct kv_txn *kv;
	const struct imap_target *level;
};

/* 1: this one is below the level, and the user may know of it. */
static int is_listed_below(void *context, const struct mailbox_record *mailbox)
{
	const struct level_search *search = context;
	struct imap_target below = *search->level;
	struct bytes name = search->level->name;
	int rc;

	if (!mailbox_is_live(mailbox) || mailbox->name.len <= name.len ||
		!bytes_start_with(mailbox->name, name) || mailbox->name.ptr[name.len] != '/')
		return 0;
	below.mailbox = *mailbox;
	rc = imap_target_complete(search->session, search->kv, &below);
	return rc < 0 ? rc : (below.rights & ACL_LOOKUP) != 0;
}

/*
 * As imap_target_find(), but a name that is only a level above others (\Noselect) is found too:
 * then `exists` is false, and `needs` are asked of the nearest mailbox above.
 */
static int find_with_levels(struct imap_session *session, struct kv_txn *kv, struct bytes name,
	unsigned needs, struct imap_target *target_r, struct error *error)
{
	struct level_search search = { session, kv, target_r };
	int rc = imap_target_find(session, kv, name, needs, target_r, error);

	if (rc != ERR_NOT_FOUND)
		return rc;
	rc = imap_target_resolve(session, kv, name, target_r);
	if (rc == 0 && target_r->exists)
		rc = ERR_NOT_FOUND; /* it is a mailbox that he may not know of */
	if (rc == 0)
		rc = account_each_mailbox(
			kv, target_r->account, session->arena, is_listed_below, &search);
	if (rc == 0 || rc == ERR_NOT_FOUND)
		return error_set(error, ERR_NOT_FOUND, "no such mailbox");
	return rc < 0 ? rc : imap_target_check(target_r, needs, error);
}

static int find_to_delete(struct imap_session *session, struct bytes name,
	struct imap_target *target_r, struct error *error)
{
	struct kv_txn *kv;
	int rc;

	imap_catch_up(session);
	rc = imap_read_begin(session, &kv);
	if (rc == 0)
		rc = find_with_levels(session, kv, name, ACL_DELETE, target_r, error);
	mail_read_end(&kv);
	return rc;
}

enum net_result cmd_delete(struct imap_session *session, struct imap_parser *args)
{
	struct imap_target target;
	struct error error = { 0 };
	struct bytes name, given;
	uint64_t position = 0;
	int rc;

	if (parse_name(args, &name, &given) < 0 || imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	rc = find_to_delete(session, name, &target, &error);
	if (rc == 0 && !target.exists)
		return imap_no(session, "[HASCHILDREN] There are mailboxes below it");
	if (rc == 0 && bytes_equal_string(target.name, "INBOX"))
		return imap_no(session, "[CANNOT] INBOX cannot be deleted");
	if (rc == 0)
		rc = mailbox_delete(session->mail, target.account, target.name, &error, &position);
	if (rc < 0)
		return imap_fail(session, rc, &error);
	imap_wrote(session, position);
	if (session->view != NULL && session->view->account == target.account &&
		id128_equal(session->view->mailbox, target.mailbox.id)) {
		imap_session_unselect(session);
		imap_put(session, "* OK [CLOSED] Selected mailbox deleted\r\n");
	}
	tell_name(session, name, given, false);
	return imap_ok(session, "Deleted");
}

static int find_ends(struct imap_session *session, struct bytes from, struct bytes to,
	struct imap_target *from_r, struct imap_target *to_r, struct error *error)
{
	struct kv_txn *kv;
	int rc;

	imap_catch_up(session);
	rc = imap_read_begin(session, &kv);
	if (rc < 0)
		return rc;
	rc = find_with_levels(session, kv, from, ACL_DELETE, from_r, error);
	if (rc == 0) {
		rc = imap_target_resolve(session, kv, to, to_r);
		if (rc == ERR_NOT_FOUND)
			error_set(error, rc, "there is no such account");
	}
	if (rc == 0)
		rc = check_place(to_r, error);
	mail_read_end(&kv);
	if (rc == 0 && from_r->account != to_r->account)
		return error_set(error, ERR_INVALID,
			"a mailbox stays in its account; move its messages instead");
	/* RFC 3501 would have its messages moved, which is not what "x" is for. */
	if (rc == 0 && !from_r->is_own && bytes_equal_string(from_r->name, "INBOX"))
		return error_set(error, ERR_REFUSED, "another account's INBOX stays");
	return rc;
}

enum net_result cmd_rename(struct imap_session *session, struct imap_parser *args)
{
	struct imap_target source, target;
	struct error error = { 0 };
	struct bytes from, to, given;
	uint64_t position = 0;
	int rc;

	if (imap_parse_space(args) < 0 || imap_parse_mailbox(args, &from) < 0 ||
		parse_name(args, &to, &given) < 0 || imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	rc = find_ends(session, from, to, &source, &target, &error);
	if (rc == 0)
		rc = mailbox_rename(
			session->mail, source.account, source.name, target.name, &error, &position);
	if (rc < 0)
		return imap_fail(session, rc, &error);
	imap_wrote(session, position);
	tell_name(session, to, given, true);
	return imap_ok(session, "Renamed");
}

static enum net_result subscribe(
	struct imap_session *session, struct imap_parser *args, bool subscribed)
{
	struct error error = { 0 };
	struct bytes name;
	uint64_t position = 0;
	int rc;

	if (imap_parse_space(args) < 0 || imap_parse_mailbox(args, &name) < 0 ||
		imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	if (name.len > 1 && name.ptr[name.len - 1] == '/')
		name.len--;
	rc = mailbox_subscribe(
		session->mail, session->identity.account, name, subscribed, &error, &position);
	if (rc < 0)
		return imap_fail(session, rc, &error);
	imap_wrote(session, position);
	return imap_ok(session, subscribed ? "Subscribed" : "Unsubscribed");
}

/* A mailbox need not exist for it: clients keep subscriptions of what comes and goes. */
enum net_result cmd_subscribe(struct imap_session *session, struct imap_parser *args)
{
	return subscribe(session, args, true);
}

enum net_result cmd_unsubscribe(struct imap_session *session, struct imap_parser *args)
{
	return subscribe(session, args, false);
}
