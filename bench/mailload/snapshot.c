#include "snapshot.h"

#include "base/mem.h"
#include "client.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define FLAGS_MAX 64
#define FLAG_SIZE 64
#define NAMES_MAX 512
#define NAME_SIZE 200

static int compare_flags(const void *a, const void *b)
{
	return strcasecmp(a, b);
}

static void normalize_flags(char *flags_r, size_t size, struct bytes list)
{
	char flags[FLAGS_MAX][FLAG_SIZE];
	size_t count = 0, used = 0;

	while (list.len > 0 && count < FLAGS_MAX) {
		struct bytes flag = bytes_take(&list, bytes_find(list, ' '));

		if (list.len > 0)
			bytes_skip(&list, 1);
		if (flag.len == 0 || bytes_equal_string_nocase(flag, "\\Recent"))
			continue;
		snprintf(flags[count++], FLAG_SIZE, "%.*s", BYTES_ARGS(flag));
	}
	qsort(flags, count, FLAG_SIZE, compare_flags);
	flags_r[0] = '\0';
	for (size_t i = 0; i < count && used < size; i++)
		used += (size_t)snprintf(
			flags_r + used, size - used, "%s%s", i > 0 ? " " : "", flags[i]);
}

static struct bytes take_quoted(struct bytes *in)
{
	struct bytes value;
	size_t len = 0;

	bytes_skip(in, 1);
	while (len < in->len && in->ptr[len] != '"')
		len += in->ptr[len] == '\\' ? 2 : 1;
	value = bytes_take(in, len < in->len ? len : in->len);
	if (in->len > 0)
		bytes_skip(in, 1);
	return value;
}

static struct bytes take_literal(struct bytes *in)
{
	size_t size = strtoull((const char *)in->ptr + 1, NULL, 10), line = bytes_find(*in, '\n');

	bytes_skip(in, line < in->len ? line + 1 : in->len);
	return bytes_take(in, size < in->len ? size : in->len);
}

/* What is between the parentheses. */
static struct bytes take_list(struct bytes *in)
{
	const unsigned char *start = in->ptr + 1;
	int depth = 0;

	while (in->len > 0) {
		if (*in->ptr == '"') {
			take_quoted(in);
		} else if (*in->ptr == '{') {
			take_literal(in);
		} else {
			depth += *in->ptr == '(';
			if (*in->ptr == ')' && --depth == 0) {
				struct bytes value = bytes_of(start, (size_t)(in->ptr - start));

				bytes_skip(in, 1);
				return value;
			}
			bytes_skip(in, 1);
		}
	}
	return bytes_of(start, (size_t)(in->ptr - start));
}

/* One value of a response: list, quoted string, literal or atom. */
static struct bytes take_value(struct bytes *in)
{
	size_t len = 0;

	while (bytes_peek(*in) == ' ')
		bytes_skip(in, 1);
	switch (bytes_peek(*in)) {
	case '(':
		return take_list(in);
	case '"':
		return take_quoted(in);
	case '{':
		return take_literal(in);
	default:
		while (len < in->len && in->ptr[len] != ' ' && in->ptr[len] != ')')
			len++;
		return bytes_take(in, len);
	}
}

/* The name of a FETCH item, which may hold spaces between brackets. */
static struct bytes take_item_name(struct bytes *in)
{
	size_t len = 0;
	int depth = 0;

	while (bytes_peek(*in) == ' ')
		bytes_skip(in, 1);
	while (len < in->len && (depth > 0 || in->ptr[len] != ' ')) {
		depth += in->ptr[len] == '[';
		depth -= in->ptr[len] == ']';
		len++;
	}
	return bytes_take(in, len);
}

static void find_message_id(struct bytes body, char *message_id_r, size_t size)
{
	static const char field[] = "\nMessage-ID: <";
	const unsigned char *found = memmem(body.ptr, body.len, field, sizeof(field) - 1), *end;

	if (found != NULL)
		found += sizeof(field) - 1;
	else if (body.len > 12 && bytes_start_with(body, BYTES_LITERAL("Message-ID: <")))
		found = body.ptr + 13;
	if (found == NULL)
		return;
	end = memchr(found, '>', (size_t)(body.ptr + body.len - found));
	if (end != NULL)
		snprintf(message_id_r, size, "%.*s", (int)(end - found), (const char *)found);
}

static void set_item(struct seen_message *message, struct bytes name, struct bytes value)
{
	if (bytes_equal_string_nocase(name, "UID")) {
		message->uid = (uint32_t)strtoul((const char *)value.ptr, NULL, 10);
	} else if (bytes_equal_string_nocase(name, "FLAGS")) {
		normalize_flags(message->flags, sizeof(message->flags), value);
	} else if (bytes_equal_string_nocase(name, "INTERNALDATE")) {
		snprintf(message->internaldate, sizeof(message->internaldate), "%.*s",
			BYTES_ARGS(value));
	} else if (bytes_equal_string_nocase(name, "RFC822.SIZE")) {
		message->size = (uint32_t)strtoul((const char *)value.ptr, NULL, 10);
	} else if (name.len > 5 && strncasecmp((const char *)name.ptr, "BODY[", 5) == 0) {
		guid_of(value, &message->guid);
		find_message_id(value, message->message_id, sizeof(message->message_id));
	}
}

static void add_message(struct seen_mailbox *mailbox, const struct seen_message *message)
{
	void *messages = mailbox->messages;

	/* A server may repeat a message's flags beside its answer. */
	for (size_t i = mailbox->count; i > 0 && i + 4 > mailbox->count; i--) {
		if (mailbox->messages[i - 1].uid == message->uid)
			return;
	}
	mem_grow(&messages, &mailbox->room, mailbox->count + 1, sizeof(*message));
	mailbox->messages = messages;
	mailbox->messages[mailbox->count++] = *message;
}

static void note_message(char *line, size_t len, void *context)
{
	struct bytes in = bytes_of(line, len);
	struct seen_message message = { 0 };

	if (len < 2 || *line != '*')
		return;
	bytes_skip(&in, 2);
	while (isdigit(bytes_peek(in)))
		bytes_skip(&in, 1);
	if (!bytes_start_with(in, BYTES_LITERAL(" FETCH (")))
		return;
	bytes_skip(&in, 8);
	while (in.len > 0 && bytes_peek(in) != ')') {
		struct bytes name = take_item_name(&in);

		set_item(&message, name, take_value(&in));
	}
	if (message.uid != 0)
		add_message(context, &message);
}

struct name_list {
	char names[NAMES_MAX][NAME_SIZE];
	size_t count;
};

/* LIST and LSUB. */
static void note_name(char *line, size_t len, void *context)
{
	struct name_list *list = context;
	struct bytes in = bytes_of(line, len), attributes, name;
	char text[512];

	if (strncasecmp(line, "* LIST", 6) != 0 && strncasecmp(line, "* LSUB", 6) != 0)
		return;
	bytes_skip(&in, 6);
	attributes = take_value(&in);
	take_value(&in); /* the separator */
	name = take_value(&in);
	snprintf(text, sizeof(text), "%.*s", BYTES_ARGS(attributes));
	if (strcasestr(text, "noselect") != NULL || strcasestr(text, "nonexistent") != NULL ||
		list->count >= NAMES_MAX)
		return;
	snprintf(list->names[list->count++], NAME_SIZE, "%.*s", BYTES_ARGS(name));
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int compare_uids(const void *a, const void *b)
{
	uint32_t left = ((const struct seen_message *)a)->uid;
	uint32_t right = ((const struct seen_message *)b)->uid;

	return left < right ? -1 : left > right;
}

static const char *fetch_command(enum snapshot_depth depth)
{
	switch (depth) {
	case SNAPSHOT_FLAGS:
		return "UID FETCH 1:* (UID FLAGS)";
	case SNAPSHOT_BODIES:
		return "UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])";
	default:
		return "UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE "
		       "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])";
	}
}

static void look_into(struct snapshot *snapshot, struct connection *connection, const char *name,
	enum snapshot_depth depth)
{
	struct seen_mailbox *mailbox = &snapshot->mailboxes[snapshot->count];
	struct mailbox_state state;

	if (imap_select(connection, "EXAMINE", name, &state) != 0)
		return;
	snapshot->count++;
	snprintf(mailbox->name, sizeof(mailbox->name), "%s", name);
	mailbox->uidvalidity = state.uidvalidity;
	mailbox->uidnext = state.uidnext;
	mailbox->highestmodseq = state.highestmodseq;
	if (state.exists > 0)
		imap_command(connection, note_message, mailbox, "%s", fetch_command(depth));
	qsort(mailbox->messages, mailbox->count, sizeof(struct seen_message), compare_uids);
}

void snapshot_take(struct snapshot *snapshot_r, const struct options *options, const char *server,
	const char *user, enum snapshot_depth depth)
{
	struct name_list *names = mem_zalloc(sizeof(*names));
	struct name_list *subscribed = mem_zalloc(sizeof(*subscribed));
	struct connection connection;

	memset(snapshot_r, 0, sizeof(*snapshot_r));
	imap_login(&connection, options, server, user);
	if (imap_command(&connection, note_name, names, "LIST \"\" \"*\"") != 0)
		die("list: %s", connection.last);
	if (imap_command(&connection, note_name, subscribed, "LSUB \"\" \"*\"") != 0)
		die("lsub: %s", connection.last);
	qsort(names->names, names->count, NAME_SIZE, compare_names);
	qsort(subscribed->names, subscribed->count, NAME_SIZE, compare_names);
	for (size_t i = 0; i < subscribed->count; i++)
		buffer_printf(
			&snapshot_r->subscriptions, "%s%s", i > 0 ? " " : "", subscribed->names[i]);
	snapshot_r->mailboxes = mem_zalloc_array(names->count + 1, sizeof(struct seen_mailbox));
	for (size_t i = 0; i < names->count; i++)
		look_into(snapshot_r, &connection, names->names[i], depth);
	imap_logout(&connection);
	free(names);
	free(subscribed);
}

void snapshot_deinit(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->count; i++)
		free(snapshot->mailboxes[i].messages);
	free(snapshot->mailboxes);
	buffer_deinit(&snapshot->subscriptions);
	memset(snapshot, 0, sizeof(*snapshot));
}

const struct seen_mailbox *snapshot_find(const struct snapshot *snapshot, const char *name)
{
	for (size_t i = 0; i < snapshot->count; i++) {
		if (strcmp(snapshot->mailboxes[i].name, name) == 0)
			return &snapshot->mailboxes[i];
	}
	return NULL;
}
