/* What follows "NOTIFY SET" (RFC 5465, section 8). */
#include "imap/imap_notify.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdlib.h>

static const struct {
	const char *name;
	enum imap_notify_event event;
} event_names[] = {
	{ "MessageNew", NOTIFY_MESSAGE_NEW },
	{ "MessageExpunge", NOTIFY_MESSAGE_EXPUNGE },
	{ "FlagChange", NOTIFY_FLAG_CHANGE },
	{ "AnnotationChange", NOTIFY_ANNOTATION_CHANGE },
	{ "MailboxName", NOTIFY_MAILBOX_NAME },
	{ "SubscriptionChange", NOTIFY_SUBSCRIPTION },
	{ "MailboxMetadataChange", NOTIFY_MAILBOX_METADATA },
	{ "ServerMetadataChange", NOTIFY_SERVER_METADATA },
};

static const struct {
	const char *name;
	enum imap_notify_filter filter;
} filter_names[] = {
	{ "SELECTED", NOTIFY_SELECTED },
	{ "SELECTED-DELAYED", NOTIFY_SELECTED_DELAYED },
	{ "INBOXES", NOTIFY_INBOXES },
	{ "PERSONAL", NOTIFY_PERSONAL },
	{ "SUBSCRIBED", NOTIFY_SUBSCRIBED },
	{ "SUBTREE", NOTIFY_SUBTREE },
	{ "MAILBOXES", NOTIFY_MAILBOXES },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct reading {
	struct imap_parser *args;
	struct imap_notify *notify;
	bool is_selected; /* the group being read is of the selected mailbox */
};

static int parse_event(struct reading *reading, unsigned *events)
{
	struct imap_parser *args = reading->args;
	struct bytes word;
	size_t i = 0;

	if (imap_parse_atom(args, &word) < 0)
		return ERR_INVALID;
	while (i < COUNT(event_names) && !bytes_equal_string_nocase(word, event_names[i].name))
		i++;
	if (i == COUNT(event_names))
		return imap_parse_fail(args, ERR_REFUSED, "No such event");
	*events |= event_names[i].event;
	if (event_names[i].event != NOTIFY_MESSAGE_NEW || args->rest.len < 2 ||
		args->rest.ptr[0] != ' ' || args->rest.ptr[1] != '(')
		return 0;
	if (!reading->is_selected)
		return imap_parse_fail(
			args, ERR_INVALID, "FETCH items are for the selected mailbox only");
	imap_parse_take(args, ' ');
	return imap_parse_fetch_list(args, &reading->notify->fetch);
}

/* What RFC 5465, sections 5 and 6.1, say of what goes together. */
static int check_events(struct reading *reading, unsigned events)
{
	unsigned both = NOTIFY_MESSAGE_NEW | NOTIFY_MESSAGE_EXPUNGE;

	if (reading->is_selected && (events & ~(unsigned)NOTIFY_MESSAGE_EVENTS) != 0)
		return imap_parse_fail(reading->args, ERR_INVALID,
			"Only events of messages belong to the selected mailbox");
	if ((events & NOTIFY_MESSAGE_EVENTS) != 0 && (events & both) != both)
		return imap_parse_fail(reading->args, ERR_INVALID,
			"MessageNew and MessageExpunge go together, and changes need both");
	return 0;
}

static int parse_events(struct reading *reading, unsigned *events_r)
{
	struct imap_parser *args = reading->args;
	unsigned events = 0;

	*events_r = 0;
	if (imap_parse_take_word(args, "NONE"))
		return 0;
	if (imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	do {
		int rc = parse_event(reading, &events);

		if (rc < 0)
			return rc;
	} while (imap_parse_take(args, ' '));
	*events_r = events;
	return imap_parse_expect(args, ')') < 0 ? ERR_INVALID : check_events(reading, events);
}

/* " name" or " (name name)" */
static int parse_names(struct imap_parser *args, struct imap_notify_group *group)
{
	bool is_list;

	if (imap_parse_space(args) < 0)
		return ERR_INVALID;
	is_list = imap_parse_take(args, '(');
	group->names = arena_alloc(
		args->arena, (is_list ? IMAP_LIST_COUNT_MAX : 1) * sizeof(*group->names));
	do {
		if (group->name_count == IMAP_LIST_COUNT_MAX)
			return imap_parse_fail(args, ERR_TOO_LARGE, "Too many mailboxes");
		if (imap_parse_mailbox(args, &group->names[group->name_count++]) < 0)
			return ERR_INVALID;
	} while (is_list && imap_parse_take(args, ' '));
	return is_list ? imap_parse_expect(args, ')') : 0;
}

static int parse_filter(struct imap_parser *args, struct imap_notify_group *group)
{
	for (size_t i = 0; i < COUNT(filter_names); i++) {
		if (!imap_parse_take_word(args, filter_names[i].name))
			continue;
		group->filter = filter_names[i].filter;
		if (group->filter == NOTIFY_SUBTREE || group->filter == NOTIFY_MAILBOXES)
			return parse_names(args, group);
		return 0;
	}
	return imap_parse_fail(args, ERR_INVALID, "Unknown kind of mailboxes");
}

static int parse_group(struct reading *reading)
{
	struct imap_parser *args = reading->args;
	struct imap_notify *notify = reading->notify;
	struct imap_notify_group group = { 0 };
	int rc;

	if (imap_parse_expect(args, '(') < 0 || parse_filter(args, &group) < 0 ||
		imap_parse_space(args) < 0)
		return ERR_INVALID;
	reading->is_selected =
		group.filter == NOTIFY_SELECTED || group.filter == NOTIFY_SELECTED_DELAYED;
	if (reading->is_selected && notify->has_selected)
		return imap_parse_fail(args, ERR_INVALID, "The selected mailbox comes twice");
	rc = parse_events(reading, &group.events);
	if (rc == 0)
		rc = imap_parse_expect(args, ')');
	if (rc < 0)
		return rc;
	if (reading->is_selected) {
		notify->has_selected = true;
		notify->is_immediate = group.filter == NOTIFY_SELECTED;
		notify->selected_events = group.events;
		return 0;
	}
	if (notify->group_count == IMAP_NOTIFY_GROUP_MAX)
		return imap_parse_fail(args, ERR_TOO_LARGE, "Too many event groups");
	notify->groups[notify->group_count++] = group;
	return 0;
}

static int parse_set(struct reading *reading)
{
	struct imap_parser *args = reading->args;
	struct imap_notify *notify = reading->notify;

	if (imap_parse_space(args) < 0)
		return ERR_INVALID;
	notify->wants_status = imap_parse_take_word(args, "STATUS");
	if (notify->wants_status && imap_parse_space(args) < 0)
		return ERR_INVALID;
	notify->groups =
		arena_alloc(notify->arena, IMAP_NOTIFY_GROUP_MAX * sizeof(*notify->groups));
	do {
		int rc = parse_group(reading);

		if (rc < 0)
			return rc;
	} while (imap_parse_take(args, ' '));
	/* Who does not name the selected mailbox has said SELECTED NONE (RFC 5465, section 3.1). */
	notify->has_selected = true;
	return imap_parse_end(args);
}

int imap_notify_parse(struct imap_parser *args, struct imap_notify **notify_r)
{
	struct imap_notify *notify = mem_zalloc(sizeof(*notify));
	struct imap_parser own = *args;
	struct reading reading = { .args = &own, .notify = notify };
	int rc;

	/* What is read borrows from the command, which is to be outlived. */
	notify->arena = arena_new();
	own.arena = notify->arena;
	own.rest = arena_copy(notify->arena, args->rest);
	rc = parse_set(&reading);
	args->problem = own.problem;
	if (rc < 0) {
		imap_notify_free(&notify);
		return rc;
	}
	*notify_r = notify;
	return 0;
}

void imap_notify_free(struct imap_notify **notify)
{
	if (*notify == NULL)
		return;
	arena_free(&(*notify)->arena);
	free(*notify);
	*notify = NULL;
}
