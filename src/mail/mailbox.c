/* Mailboxes and subscriptions as users change them: each call one durable commit. */
#include "mail/mail.h"

#include "base/error.h"
#include "base/mem.h"
#include "mail/acl.h"
#include "mail/annotation.h"
#include "mail/arrange.h"
#include "mail/mail_private.h"

#include <stdlib.h>

#define HIERARCHY_SEPARATOR '/'

/* Length of the valid UTF-8 sequence at the front of `s`, or 0. */
static size_t utf8_length(struct bytes s)
{
	static const unsigned smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char first = s.ptr[0];
	size_t len = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
	unsigned code = len == 1 ? first : first & (0xffu >> (len + 1));

	if (len > s.len || (first >= 0x80 && first < 0xc2) || first > 0xf4)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((s.ptr[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s.ptr[i] & 0x3fu);
	}
	if (code < smallest[len] || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff)
		return 0;
	return len;
}

int mailbox_name_check(struct bytes name, struct error *error)
{
	if (name.len == 0)
		return error_set(error, ERR_INVALID, "mailbox name is empty");
	if (name.len > MAILBOX_NAME_SIZE_MAX)
		return error_set(error, ERR_INVALID, "mailbox name is longer than %d bytes",
			MAILBOX_NAME_SIZE_MAX);
	if (name.ptr[0] == HIERARCHY_SEPARATOR || name.ptr[name.len - 1] == HIERARCHY_SEPARATOR)
		return error_set(error, ERR_INVALID, "mailbox name begins or ends with '/'");
	for (size_t i = 0, len; i < name.len; i += len) {
		len = utf8_length(bytes_of(name.ptr + i, name.len - i));
		if (len == 0)
			return error_set(
				error, ERR_INVALID, "mailbox name is not UTF-8 at byte %zu", i);
		if (name.ptr[i] < ' ' || name.ptr[i] == 0x7f)
			return error_set(error, ERR_INVALID,
				"mailbox name has a control character at byte %zu", i);
		if (name.ptr[i] == HIERARCHY_SEPARATOR && name.ptr[i + 1] == HIERARCHY_SEPARATOR)
			return error_set(error, ERR_INVALID, "mailbox name has an empty level");
	}
	return 0;
}

static bool name_is_inbox(struct bytes name)
{
	return bytes_equal_string_nocase(name, "INBOX");
}

/*
 * A new mailbox has the rights of the one above it (RFC 4314, section 4). INBOX is above all others
 * in a shared account; not so in a user's, where to share INBOX is not to share all that comes.
 */
static int rights_inherit(struct account_write *write, const struct mailbox_record *mailbox)
{
	struct bytes above = mailbox->name;
	struct mailbox_record parent;
	bool is_shared;
	int rc;

	while (above.len > 0 && above.ptr[above.len - 1] != HIERARCHY_SEPARATOR)
		above.len--;
	if (above.len > 0) {
		above.len--;
	} else {
		rc = account_is_shared(write->kv, write->header.number, &is_shared);
		if (rc < 0 || !is_shared)
			return rc;
		above = BYTES_LITERAL("INBOX");
	}
	rc = account_write_flush(write); /* the one above may be made by this write, too */
	if (rc == 0)
		rc = account_find_mailbox(
			write->kv, write->header.number, above, write->arena, &parent);
	if (rc == 0)
		rc = acl_inherit(write, mailbox->id, parent.id);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int mailbox_make_as(struct account_write *write, struct mailbox_record *mailbox)
{
	int rc;

	mailbox->modseq = mailbox->name_stamp.modseq;
	if (mailbox->uidvalidity == 0)
		mailbox->uidvalidity = account_uidvalidity_new(write);
	rc = account_put_mailbox(write, mailbox);
	return rc < 0 ? rc : rights_inherit(write, mailbox);
}

/* *id_r: that it is to have; none: a fresh one. */
static int mailbox_make(struct account_write *write, struct bytes name, struct bytes special_use,
	struct id128 *id_r)
{
	struct mailbox_record mailbox = { .id = *id_r, .name = name, .uidnext = 1 };

	if (id128_is_none(mailbox.id))
		mailbox.id = id128_random();
	mailbox.name_stamp = account_stamp(write);
	if (special_use.len > 0) {
		mailbox.special_use = special_use;
		mailbox.special_use_stamp = mailbox.name_stamp;
	}
	*id_r = mailbox.id;
	return mailbox_make_as(write, &mailbox);
}

/* The length of the nearest level above `name` that is there, or 0. */
static int nearest_level(struct account_write *write, struct bytes name, size_t *len_r)
{
	struct mailbox_record found;
	int rc = ERR_NOT_FOUND;

	for (*len_r = name.len; *len_r > 0 && rc == ERR_NOT_FOUND;) {
		--*len_r;
		if (name.ptr[*len_r] == HIERARCHY_SEPARATOR)
			rc = account_find_mailbox(write->kv, write->header.number,
				bytes_of(name.ptr, *len_r), write->arena, &found);
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/*
 * Makes the levels between `name` and the nearest above that is there. What is missing above that
 * was deleted, or is not for everybody to make: who may make mailboxes below one has no say there.
 */
static int parents_make(struct account_write *write, struct bytes name)
{
	size_t nearest;
	int rc = nearest_level(write, name, &nearest);

	for (size_t i = nearest + 1; i < name.len && rc == 0; i++) {
		struct id128 id = { { 0 } };

		if (name.ptr[i] == HIERARCHY_SEPARATOR)
			rc = mailbox_make(write, bytes_of(name.ptr, i), bytes_of(NULL, 0), &id);
	}
	return rc;
}

int mailbox_make_path(struct account_write *write, struct bytes name, struct bytes special_use,
	struct id128 *id_r)
{
	int rc = parents_make(write, name);

	*id_r = (struct id128){ { 0 } };
	return rc < 0 ? rc : mailbox_make(write, name, special_use, id_r);
}

struct mailbox_context {
	struct bytes name;
	struct bytes to; /* rename: the new name; create: special use */
	struct id128 id;
	bool subscribed;
	const char *reason;
};

static int create_in(
	struct account_write *write, struct bytes name, struct bytes special_use, struct id128 *id)
{
	struct mailbox_record found;
	int rc = write->header.is_deleted ? ERR_REFUSED
					  : account_find_mailbox(write->kv, write->header.number,
						    name, write->arena, &found);

	if (rc != ERR_NOT_FOUND)
		return rc < 0 ? rc : ERR_EXISTS;
	rc = account_get_mailbox(write->kv, write->header.number, *id, write->arena, &found);
	if (rc == 0)
		*id = (struct id128){ { 0 } };
	else if (rc != ERR_NOT_FOUND)
		return rc;
	rc = parents_make(write, name);
	return rc < 0 ? rc : mailbox_make(write, name, special_use, id);
}

int mailbox_create_in(struct account_write *write, struct bytes name, struct id128 *id)
{
	return create_in(write, name, bytes_of(NULL, 0), id);
}

static int create_run(struct account_write *write, void *context)
{
	struct mailbox_context *create = context;

	create->id = (struct id128){ { 0 } };
	return create_in(write, create->name, create->to, &create->id);
}

int mailbox_create(struct mail *mail, uint32_t account, struct bytes name, struct bytes special_use,
	struct error *error, struct id128 *id_r, uint64_t *position_r)
{
	struct mailbox_context context = { .name = name, .to = special_use };
	int rc = mailbox_name_check(name, error);

	if (rc < 0)
		return rc;
	rc = mail_commit(mail, account, create_run, &context, error, position_r);
	if (rc == ERR_EXISTS)
		return error_set(error, rc, "a mailbox of that name exists already");
	if (rc == 0)
		*id_r = context.id;
	return rc;
}

struct shown_messages {
	struct message_record *messages;
	size_t count, room;
	size_t count_max; /* 0: all */
};

static int collect_shown(void *context, const struct message_record *message)
{
	struct shown_messages *shown = context;
	void *messages = shown->messages;

	mem_grow(&messages, &shown->room, shown->count + 1, sizeof(*shown->messages));
	shown->messages = messages;
	shown->messages[shown->count++] = *message;
	return shown->count == shown->count_max ? 1 : 0;
}

int mailbox_remove_at(struct account_write *write, struct mailbox_record *mailbox,
	struct stamp stamp, uint64_t modseq)
{
	int rc = acl_clear(write, mailbox->id);

	if (rc == 0)
		rc = annotations_clear_mailbox(write, mailbox->id);
	if (rc < 0)
		return rc;
	mailbox->deleted = stamp;
	mailbox->modseq = modseq;
	return account_put_mailbox(write, mailbox);
}

/* What came after the first step is later than that, and so is its end. */
static int deletion_remove(struct account_write *write, const struct mailbox_deletion *deletion,
	const struct message_record *message, struct stamp now)
{
	bool is_later = stamp_compare(message->placed, deletion->act) >= 0;
	int rc = deletion->check == NULL ? 0 : deletion->check(deletion->context, message);

	if (rc < 0)
		return rc;
	return message_remove_as(write, message, is_later ? now : deletion->act, now.modseq);
}

int mailbox_delete_step(struct account_write *write, struct mailbox_deletion *deletion)
{
	struct shown_messages shown = { .count_max = MAIL_STEP_COUNT_MAX };
	struct stamp now = account_stamp(write);
	struct mailbox_record mailbox;
	int rc = account_get_mailbox(
		write->kv, write->header.number, deletion->id, write->arena, &mailbox);

	if (rc < 0)
		return rc;
	if (stamp_is_none(deletion->act))
		deletion->act = now;
	deletion->is_done = !mailbox_is_live(&mailbox); /* somebody else was faster */
	if (deletion->is_done)
		return 0;
	rc = account_each_message(write->kv, write->header.number, mailbox.id, 1, UINT32_MAX,
		write->arena, collect_shown, &shown);
	deletion->is_done = rc == 0;
	/* A delete expunges exactly the messages its issuer could see: those shown here now. */
	for (size_t i = 0; i < shown.count && rc >= 0; i++)
		rc = deletion_remove(write, deletion, &shown.messages[i], now);
	free(shown.messages);
	if (rc < 0 || !deletion->is_done)
		return rc < 0 ? rc : 0;
	return mailbox_remove_at(write, &mailbox, deletion->act, now.modseq);
}

struct named_deletion {
	struct bytes name;
	struct mailbox_deletion deletion; /* of the one that the first step finds */
};

static int delete_run(struct account_write *write, void *context)
{
	struct named_deletion *named = context;
	struct mailbox_record mailbox;

	if (id128_is_none(named->deletion.id)) {
		int rc = account_find_mailbox(
			write->kv, write->header.number, named->name, write->arena, &mailbox);

		if (rc < 0)
			return rc;
		named->deletion.id = mailbox.id;
	}
	return mailbox_delete_step(write, &named->deletion);
}

int mailbox_delete(struct mail *mail, uint32_t account, struct bytes name, struct error *error,
	uint64_t *position_r)
{
	struct named_deletion named = { .name = name };
	int rc = 0;

	if (name_is_inbox(name))
		return error_set(error, ERR_REFUSED, "INBOX cannot be deleted");
	while (rc == 0 && !named.deletion.is_done)
		rc = mail_commit(mail, account, delete_run, &named, error, position_r);
	return rc == ERR_NOT_FOUND ? error_set(error, rc, "no such mailbox") : rc;
}

/* Renaming INBOX leaves it in place and moves what it shows (RFC 3501, section 6.3.5); both have
 * its metadata then (RFC 5464, section 4.1). */
static int rename_inbox(
	struct account_write *write, const struct mailbox_record *inbox, struct id128 to)
{
	struct shown_messages shown = { 0 };
	struct mailbox_record target;
	int rc = account_each_message(write->kv, write->header.number, inbox->id, 1, UINT32_MAX,
		write->arena, collect_shown, &shown);
	uint32_t uid = 1;

	if (rc == 0)
		rc = account_write_flush(write);
	if (rc == 0)
		rc = account_get_mailbox(
			write->kv, write->header.number, to, write->arena, &target);
	if (rc == 0)
		uid = target.uidnext;
	for (size_t i = 0; i < shown.count && rc == 0; i++) {
		struct message_record *message = &shown.messages[i];

		message->placed = account_stamp(write);
		message->placed_in = message->mailbox = to;
		message->uid = uid++;
		message->modseq = message->placed.modseq;
		message->savedate_ms = write->now_ms;
		rc = account_put_message(write, message);
	}
	free(shown.messages);
	return rc == 0 ? annotations_copy_mailbox(write, inbox->id, to) : rc;
}

static bool is_below(struct bytes name, struct bytes above)
{
	return name.len > above.len && bytes_start_with(name, above) &&
	       name.ptr[above.len] == HIERARCHY_SEPARATOR;
}

struct rename_children {
	struct account_write *write;
	struct bytes from, to;
	struct mailbox_record *found;
	size_t count, room;
};

static int collect_child(void *context, const struct mailbox_record *mailbox)
{
	struct rename_children *children = context;
	void *found = children->found;

	if (!mailbox_is_live(mailbox) || !is_below(mailbox->name, children->from))
		return 0;
	mem_grow(&found, &children->room, children->count + 1, sizeof(*children->found));
	children->found = found;
	children->found[children->count++] = *mailbox;
	return 0;
}

static int rename_one(
	struct account_write *write, struct mailbox_record *mailbox, struct bytes name)
{
	struct mailbox_record found;
	int rc = account_find_mailbox(write->kv, write->header.number, name, write->arena, &found);

	if (rc != ERR_NOT_FOUND)
		return rc < 0 ? rc : ERR_EXISTS;
	mailbox->name = name;
	mailbox->name_stamp = account_stamp(write);
	mailbox->modseq = mailbox->name_stamp.modseq;
	return account_put_mailbox(write, mailbox);
}

/* `mailbox` NULL: the name is that of a level only (\Noselect), there for what is below it. */
static int rename_tree(struct account_write *write, struct mailbox_record *mailbox,
	struct bytes from, struct bytes to)
{
	struct rename_children children = { .write = write, .from = from, .to = to };
	int rc = account_each_mailbox(
		write->kv, write->header.number, write->arena, collect_child, &children);

	if (rc == 0 && mailbox != NULL)
		rc = rename_one(write, mailbox, to);
	else if (rc == 0 && children.count == 0)
		rc = ERR_NOT_FOUND;
	for (size_t i = 0; i < children.count && rc == 0; i++) {
		struct bytes rest = children.found[i].name;
		const char *name;

		bytes_skip(&rest, children.from.len);
		name = arena_printf(write->arena, "%.*s%.*s", BYTES_ARGS(to), BYTES_ARGS(rest));
		if (strlen(name) > MAILBOX_NAME_SIZE_MAX)
			rc = ERR_TOO_LARGE;
		else
			rc = rename_one(write, &children.found[i], bytes_of_string(name));
	}
	free(children.found);
	return rc;
}

/* The levels above the new name are there, and the name is free. */
static int rename_prepare(struct account_write *write, struct bytes to)
{
	struct mailbox_record found;
	int rc = account_find_mailbox(write->kv, write->header.number, to, write->arena, &found);

	if (rc != ERR_NOT_FOUND)
		return rc < 0 ? rc : ERR_EXISTS;
	return parents_make(write, to);
}

static int rename_told(int rc, struct error *error)
{
	if (rc == ERR_NOT_FOUND)
		return error_set(error, rc, "no such mailbox");
	if (rc == ERR_EXISTS)
		return error_set(error, rc, "a mailbox of the new name exists already");
	if (rc == ERR_TOO_LARGE)
		return error_set(error, ERR_INVALID, "a child's name would become too long");
	return rc;
}

static int refuse_below_itself(struct error *error)
{
	return error_set(error, ERR_INVALID, "a mailbox cannot be renamed into itself");
}

int mailbox_rename_in(struct account_write *write, const struct mailbox_record *mailbox,
	struct bytes to, struct error *error)
{
	struct mailbox_record renamed = *mailbox;
	int rc;

	if (is_below(to, mailbox->name))
		return refuse_below_itself(error);
	rc = rename_prepare(write, to);
	if (rc == 0)
		rc = rename_tree(write, &renamed, mailbox->name, to);
	return rename_told(rc, error);
}

static int rename_run(struct account_write *write, void *context)
{
	struct mailbox_context *rename = context;
	struct mailbox_record mailbox;
	struct id128 made = { { 0 } };
	bool is_level;
	int rc = account_find_mailbox(
		write->kv, write->header.number, rename->name, write->arena, &mailbox);

	is_level = rc == ERR_NOT_FOUND;
	if (rc < 0 && !is_level)
		return rc;
	rc = rename_prepare(write, rename->to);
	if (rc < 0)
		return rc;
	if (!name_is_inbox(rename->name))
		return rename_tree(write, is_level ? NULL : &mailbox, rename->name, rename->to);
	rc = mailbox_make(write, rename->to, bytes_of(NULL, 0), &made);
	return rc < 0 ? rc : rename_inbox(write, &mailbox, made);
}

int mailbox_rename(struct mail *mail, uint32_t account, struct bytes from, struct bytes to,
	struct error *error, uint64_t *position_r)
{
	struct mailbox_context rename = { .name = from, .to = to };
	int rc = mailbox_name_check(to, error);

	if (rc < 0)
		return rc;
	if (is_below(to, from) && !name_is_inbox(from))
		return refuse_below_itself(error);
	return rename_told(
		mail_commit(mail, account, rename_run, &rename, error, position_r), error);
}

static int find_special_use(void *context, const struct mailbox_record *mailbox)
{
	const struct mailbox_context *change = context;

	return mailbox_is_live(mailbox) && !id128_equal(mailbox->id, change->id) &&
	       bytes_equal(mailbox->special_use, change->to);
}

int mailbox_put_special_use(struct account_write *write, struct id128 id, struct bytes special_use)
{
	struct mailbox_context change = { .id = id, .to = special_use };
	struct mailbox_record mailbox;
	int rc = account_get_mailbox(write->kv, write->header.number, id, write->arena, &mailbox);

	if (rc < 0 || !mailbox_is_live(&mailbox))
		return rc < 0 ? rc : ERR_NOT_FOUND;
	if (bytes_equal(mailbox.special_use, special_use))
		return 0;
	if (special_use.len > 0)
		rc = account_each_mailbox(
			write->kv, write->header.number, write->arena, find_special_use, &change);
	if (rc != 0)
		return rc < 0 ? rc : ERR_EXISTS;
	mailbox.special_use = special_use;
	mailbox.special_use_stamp = account_stamp(write);
	mailbox.modseq = mailbox.special_use_stamp.modseq;
	return account_put_mailbox(write, &mailbox);
}

static int special_use_run(struct account_write *write, void *context)
{
	const struct mailbox_context *change = context;

	return mailbox_put_special_use(write, change->id, change->to);
}

int mailbox_set_special_use(struct mail *mail, uint32_t account, struct id128 mailbox,
	struct bytes special_use, struct error *error, uint64_t *position_r)
{
	struct mailbox_context change = { .id = mailbox, .to = special_use };
	int rc = mail_commit(mail, account, special_use_run, &change, error, position_r);

	if (rc == ERR_EXISTS)
		return error_set(error, rc, "another mailbox has that special use");
	return rc == ERR_NOT_FOUND ? error_set(error, rc, "no such mailbox") : rc;
}

static int subscribe_run(struct account_write *write, void *context)
{
	struct mailbox_context *subscribe = context;
	struct register_record found;
	int rc = account_get_register(write->kv, write->header.number, RECORD_SUBSCRIPTION,
		(struct id128){ { 0 } }, subscribe->name, write->arena, &found);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if ((rc == 0 && found.is_set) == subscribe->subscribed)
		return 0;
	return register_write(write, RECORD_SUBSCRIPTION, subscribe->name, subscribe->subscribed,
		bytes_of(NULL, 0));
}

int mailbox_subscribe(struct mail *mail, uint32_t account, struct bytes name, bool subscribed,
	struct error *error, uint64_t *position_r)
{
	struct mailbox_context subscribe = { .name = name, .subscribed = subscribed };
	int rc = mailbox_name_check(name, error);

	if (rc < 0)
		return rc;
	if (name_is_inbox(name))
		subscribe.name = BYTES_LITERAL("INBOX");
	return mail_commit(mail, account, subscribe_run, &subscribe, error, position_r);
}
