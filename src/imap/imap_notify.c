/*
 * Telling what NOTIFY asked for. The selected mailbox is imap_update's; here is all else: STATUS
 * for messages, LIST for names and subscriptions, METADATA for annotations.
 */
#include "imap/imap_notify_private.h"

#include "imap/imap_list.h"
#include "imap/imap_metadata.h"
#include "imap/imap_reply.h"
#include "imap/imap_status.h"
#include "imap/imap_watch.h"

struct telling {
	struct imap_session *session;
	struct kv_txn *kv;
	uint32_t account; /* the events' */
	const struct watch_news *news;
	struct map told; /* names, by LIST; of this snapshot */
};

/* ---- which mailboxes ---- */

static bool is_own(struct imap_session *session, struct kv_txn *kv, struct bytes name)
{
	struct imap_target target;

	return imap_target_resolve(session, kv, name, &target) == 0 && target.is_own;
}

/* What the client calls it. ERR_NOT_FOUND: he has no name for it. */
static int client_name(struct imap_session *session, struct kv_txn *kv, uint32_t account,
	struct bytes name, struct bytes *name_r)
{
	struct account_header header;
	bool is_shared;
	int rc = 0;

	*name_r = name;
	if (account == session->identity.account)
		return 0;
	rc = account_load(kv, account, &header);
	if (rc == 0)
		rc = account_is_shared(kv, account, &is_shared);
	if (rc == 0)
		*name_r = imap_target_foreign_name(session, header.name, is_shared, name);
	return rc;
}

static bool is_in_tree(struct bytes name, struct bytes top)
{
	return bytes_start_with(name, top) &&
	       (name.len == top.len || top.len == 0 || name.ptr[top.len] == '/');
}

static bool is_among(const struct imap_notify_group *group, struct bytes name)
{
	for (size_t i = 0; i < group->name_count; i++) {
		if (group->filter == NOTIFY_SUBTREE ? is_in_tree(name, group->names[i])
						    : bytes_equal(name, group->names[i]))
			return true;
	}
	return false;
}

static bool group_has(struct imap_session *session, struct kv_txn *kv,
	const struct imap_notify_group *group, struct bytes name)
{
	bool answer = false;

	switch (group->filter) {
	case NOTIFY_INBOXES: /* that is where mail is delivered to */
		return bytes_equal_string(name, "INBOX");
	case NOTIFY_PERSONAL:
		return is_own(session, kv, name);
	case NOTIFY_SUBSCRIBED:
		return imap_notify_is_subscribed(session, kv, name, &answer) == 0 && answer;
	default:
		return is_among(group, name);
	}
}

unsigned imap_notify_events(struct imap_session *session, struct kv_txn *kv,
	const struct imap_notify *notify, struct bytes name)
{
	unsigned events = 0;

	for (size_t i = 0; i < notify->group_count; i++) {
		const struct imap_notify_group *group = &notify->groups[i];

		if ((group->events & ~events) != 0 && group_has(session, kv, group, name))
			events |= group->events;
	}
	return events;
}

/* It is of no mailbox, so it does not matter which ones it was asked for with. */
static bool wants_server_metadata(const struct imap_notify *notify)
{
	for (size_t i = 0; i < notify->group_count; i++) {
		if ((notify->groups[i].events & NOTIFY_SERVER_METADATA) != 0)
			return true;
	}
	return false;
}

static void watch_account_once(struct imap_session *session, uint32_t account)
{
	struct watch_set *set = imap_watch_set(session);

	if (!watch_set_has(set, account, WATCH_EVENTS))
		watch_add(set, account, WATCH_EVENTS, (struct id128){ { 0 } });
}

void imap_notify_watch(
	struct imap_session *session, struct kv_txn *kv, const struct imap_list *list)
{
	uint32_t server;

	if (session->notify->group_count == 0)
		return;
	/* The state that the client may look at now holds them. */
	watch_set_since(imap_watch_set(session), session->position);
	watch_add_grants(imap_watch_set(session), &session->identity);
	watch_account_once(session, session->identity.account);
	if (wants_server_metadata(session->notify) &&
		account_find(kv, BYTES_LITERAL(ANNOTATION_SERVER_ACCOUNT), &server) == 0)
		watch_account_once(session, server);
	for (size_t i = 0; i < list->count; i++) {
		if (list->entries[i].target != NULL)
			watch_account_once(session, list->entries[i].target->account);
	}
}

void imap_notify_watch_metadata(struct imap_session *session)
{
	uint32_t own = session->identity.account, server; /* 0: he has none */
	struct kv_txn *kv = NULL;

	if (session->watches == NULL)
		watch_set_since(imap_watch_set(session), session->position);
	if (own != 0 && !watch_set_has(session->watches, own, WATCH_EVENTS)) {
		watch_account_once(session, own);
		if (imap_read_begin(session, &kv) == 0 &&
			account_find(kv, BYTES_LITERAL(ANNOTATION_SERVER_ACCOUNT), &server) == 0)
			watch_account_once(session, server);
		mail_read_end(&kv);
	}
	if (session->view != NULL)
		watch_account_once(session, session->view->account);
}

/* ---- what is told ---- */

/* If one of the events in `wanted` is to be told of the name, or of the old one. `target` NULL:
 * there is none any more. */
static int put_name(struct telling *telling, unsigned wanted, struct bytes name,
	const struct imap_target *target, struct bytes old_name)
{
	struct imap_notify_name what = { name, target, old_name };
	unsigned events =
		imap_notify_events(telling->session, telling->kv, telling->session->notify, name);

	if (old_name.len > 0)
		events |= imap_notify_events(
			telling->session, telling->kv, telling->session->notify, old_name);
	if ((events & wanted) == 0)
		return 0;
	return imap_notify_put_name(telling->session, telling->kv, &telling->told, &what);
}

/* Of one that came or went, the level above it too. */
static int put_name_and_parent(
	struct telling *telling, struct bytes name, const struct imap_target *target)
{
	int rc = put_name(telling, NOTIFY_MAILBOX_NAME, name, target, bytes_of(NULL, 0));

	return rc < 0 ? rc
		      : imap_notify_put_parent(telling->session, telling->kv, &telling->told, name);
}

/* Of one that went from one level to another, both. */
static int put_renamed(struct telling *telling, struct bytes name, const struct imap_target *target,
	struct bytes old_name)
{
	int rc = put_name(telling, NOTIFY_MAILBOX_NAME, name, target, old_name);

	if (rc < 0 || bytes_equal(imap_notify_parent(name), imap_notify_parent(old_name)))
		return rc;
	rc = imap_notify_put_parent(telling->session, telling->kv, &telling->told, old_name);
	return rc < 0 ? rc
		      : imap_notify_put_parent(telling->session, telling->kv, &telling->told, name);
}

static bool is_selected(const struct telling *telling, struct id128 mailbox)
{
	const struct imap_view *view = telling->session->view;

	return view != NULL && view->account == telling->account &&
	       id128_equal(view->mailbox, mailbox);
}

/* The mailbox as the client knows it. ERR_NOT_FOUND: he may not know of it, or it is gone. */
static int target_of(struct telling *telling, struct id128 id, struct imap_target *target_r,
	struct bytes *name_r)
{
	struct imap_session *session = telling->session;
	struct mailbox_record record;
	int rc = account_get_mailbox(telling->kv, telling->account, id, session->arena, &record);

	if (rc == 0 && !mailbox_is_live(&record))
		rc = ERR_NOT_FOUND;
	if (rc == 0)
		rc = client_name(session, telling->kv, telling->account, record.name, name_r);
	if (rc == 0)
		rc = imap_target_resolve(session, telling->kv, *name_r, target_r);
	if (rc == 0 && (!target_r->exists || !id128_equal(target_r->mailbox.id, id) ||
			       (target_r->rights & ACL_LOOKUP) == 0))
		rc = ERR_NOT_FOUND;
	return rc;
}

/*
 * Whether the mailbox was renamed by being below another that was: that is told of the upper one
 * (RFC 5465, 5.4). `name` and `old_name` end alike, and differ as the names of the upper one do.
 */
static bool is_renamed_above(struct telling *telling, struct bytes name, struct bytes old_name)
{
	struct imap_target target;
	struct bytes old_above, above;

	for (size_t i = 0; i < telling->news->count; i++) {
		const struct watch_event *event = &telling->news->events[i];
		size_t rest_size;

		if (event->kind != RECORD_MAILBOX || !event->was_there ||
			(event->changes & WATCH_NAME) == 0 ||
			client_name(telling->session, telling->kv, telling->account, event->name,
				&old_above) < 0 ||
			!is_in_tree(old_name, old_above) || old_above.len == old_name.len)
			continue;
		rest_size = old_name.len - old_above.len;
		if (target_of(telling, event->mailbox, &target, &above) == 0 &&
			!bytes_equal(above, old_above) && name.len == above.len + rest_size &&
			is_in_tree(name, above) &&
			memcmp(name.ptr + above.len, old_name.ptr + old_above.len, rest_size) == 0)
			return true;
	}
	return false;
}

static int tell_name(struct telling *telling, const struct watch_event *event,
	const struct imap_target *target, struct bytes name)
{
	struct imap_session *session = telling->session;
	struct bytes old_name = { NULL, 0 };
	struct imap_target other;
	int rc = 0;

	/* Others' mailboxes come and go for him with the entries of their ACLs. */
	if (telling->account != session->identity.account && !session->identity.is_admin &&
		(target == NULL || !event->was_there))
		return 0;
	if (event->was_there)
		rc = client_name(session, telling->kv, telling->account, event->name, &old_name);
	if (rc < 0)
		return rc;
	if (target != NULL) {
		if (!event->was_there)
			return put_name_and_parent(telling, name, target);
		if (!bytes_equal(name, old_name) && !is_renamed_above(telling, name, old_name))
			return put_renamed(telling, name, target, old_name);
		return 0;
	}
	/* Of two united mailboxes the name lives on. */
	rc = imap_target_resolve(session, telling->kv, old_name, &other);
	if (rc == 0 && !other.exists && (other.rights & ACL_LOOKUP) != 0)
		rc = put_name_and_parent(telling, old_name, NULL);
	return rc;
}

static int tell_messages(struct telling *telling, const struct watch_event *event,
	const struct imap_target *target, struct bytes name)
{
	struct imap_session *session = telling->session;
	unsigned events = imap_notify_events(session, telling->kv, session->notify, name);
	unsigned wanted = 0;

	if ((events & NOTIFY_MESSAGE_NEW) != 0)
		wanted |= WATCH_MESSAGE_NEW | WATCH_MESSAGE_EXPUNGE;
	if ((events & NOTIFY_FLAG_CHANGE) != 0)
		wanted |= WATCH_FLAGS;
	if ((events & NOTIFY_ANNOTATION_CHANGE) != 0)
		wanted |= WATCH_ANNOTATIONS;
	if ((event->changes & wanted) == 0 || (target->rights & ACL_READ) == 0 ||
		is_selected(telling, event->mailbox))
		return 0;
	return imap_put_status(
		session, telling->kv, name, target, imap_status_brief(session, false));
}

static int tell_mailbox(struct telling *telling, const struct watch_event *event)
{
	struct imap_target target;
	struct bytes name = { NULL, 0 };
	int rc = target_of(telling, event->mailbox, &target, &name);
	bool exists = rc == 0;

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	rc = 0;
	if ((event->changes & WATCH_NAME) != 0 && (exists || event->was_there))
		rc = tell_name(telling, event, exists ? &target : NULL, name);
	if (rc == 0 && exists)
		rc = tell_messages(telling, event, &target, name);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int tell_subscription(struct telling *telling, const struct watch_event *event)
{
	struct imap_session *session = telling->session;
	struct imap_target target;
	bool is_now;
	int rc;

	if (telling->account != session->identity.account)
		return 0;
	rc = imap_notify_is_subscribed(session, telling->kv, event->name, &is_now);
	if (rc < 0 || is_now == event->was_there)
		return rc;
	rc = imap_target_resolve(session, telling->kv, event->name, &target);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	is_now = rc == 0 && target.exists && (target.rights & ACL_LOOKUP) != 0;
	/* Whatever was told of it before in this snapshot was told with this. */
	return put_name(telling, NOTIFY_SUBSCRIPTION, event->name, is_now ? &target : NULL,
		bytes_of(NULL, 0));
}

/* "* METADATA INBOX /shared/comment": the name of the entry, not its value (RFC 5464, 4.4.2). */
static void put_entry_name(struct imap_session *session, struct bytes mailbox, struct bytes key)
{
	imap_put(session, "* METADATA ");
	imap_put_mailbox(session, mailbox);
	imap_put(session, key.ptr[0] == ANNOTATION_PRIVATE ? " /private" : " /shared");
	bytes_skip(&key, 1);
	imap_put_bytes(session, key);
	imap_put(session, "\r\n");
}

static int tell_metadata(struct telling *telling, const struct watch_event *event)
{
	struct imap_session *session = telling->session;
	struct bytes name = { NULL, 0 }, key = event->name;
	struct imap_target target;
	int rc;

	if (key.len < 2 || (key.ptr[0] != ANNOTATION_PRIVATE && key.ptr[0] != ANNOTATION_SHARED))
		return 0; /* a message's */
	if (key.ptr[0] == ANNOTATION_PRIVATE && telling->account != session->identity.account)
		return 0; /* its owner's alone */
	if (id128_is_none(event->mailbox)) {
		if (session->notify == NULL || wants_server_metadata(session->notify))
			put_entry_name(session, BYTES_LITERAL(""), key);
		return 0;
	}
	rc = target_of(telling, event->mailbox, &target, &name);
	if (rc == 0 && imap_metadata_is_readable(&target) &&
		(session->notify == NULL ||
			(imap_notify_events(session, telling->kv, session->notify, name) &
				NOTIFY_MAILBOX_METADATA) != 0))
		put_entry_name(session, name, key);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int tell_event(struct telling *telling, const struct watch_event *event)
{
	if (telling->session->notify == NULL && event->kind != RECORD_ANNOTATION)
		return 0;
	switch (event->kind) {
	case RECORD_MAILBOX:
		return tell_mailbox(telling, event);
	case RECORD_SUBSCRIPTION:
		return tell_subscription(telling, event);
	case RECORD_ANNOTATION:
		return tell_metadata(telling, event);
	default:
		return 0;
	}
}

/* ---- what is granted and taken (RFC 4314) ---- */

static bool is_of_mailbox(const struct watch_event *event, const struct watch_event *other)
{
	return event->account == other->account && id128_equal(event->mailbox, other->mailbox);
}

/* What the user might do before the events at `news` from `first` on that are of the same mailbox.
 */
static int rights_before(
	struct telling *telling, const struct watch_news *news, size_t first, unsigned *rights_r)
{
	struct imap_session *session = telling->session;
	const struct watch_event *event = &news->events[first];
	struct acl acl;
	struct acl_entry *entries;
	size_t count = 0;
	int rc = acl_read(telling->kv, telling->account, event->mailbox, session->arena, &acl);

	if (rc < 0)
		return rc;
	entries = arena_alloc(session->arena, (acl.count + news->count) * sizeof(*entries));
	for (size_t i = 0; i < acl.count; i++) {
		bool is_same = true;

		for (size_t j = first; j < news->count && is_same; j++)
			is_same = !is_of_mailbox(&news->events[j], event) ||
				  !bytes_equal(news->events[j].name, acl.entries[i].identifier);
		if (is_same)
			entries[count++] = acl.entries[i];
	}
	for (size_t j = first; j < news->count; j++) {
		const struct watch_event *earlier = &news->events[j];

		if (is_of_mailbox(earlier, event) && earlier->was_there &&
			acl_parse_rights(earlier->value, &entries[count].rights) == 0)
			entries[count++].identifier = earlier->name;
	}
	*rights_r = acl_effective(&session->identity, false, entries, count);
	return 0;
}

static int tell_lookup(struct telling *telling, struct id128 mailbox, bool was_seen)
{
	struct imap_session *session = telling->session;
	struct bytes name = { NULL, 0 };
	struct imap_target target, other;
	struct mailbox_record record;
	int rc = target_of(telling, mailbox, &target, &name);
	bool is_seen = rc == 0;

	if (rc == ERR_NOT_FOUND) {
		rc = account_get_mailbox(
			telling->kv, telling->account, mailbox, session->arena, &record);
		if (rc == 0)
			rc = client_name(
				session, telling->kv, telling->account, record.name, &name);
	}
	if (rc < 0 || is_seen == was_seen)
		return rc;
	/* Another one may have that name by now, or he one of his own. */
	if (!is_seen && imap_target_resolve(session, telling->kv, name, &other) == 0 &&
		other.exists && (other.rights & ACL_LOOKUP) != 0)
		return 0;
	return put_name_and_parent(telling, name, is_seen ? &target : NULL);
}

/* A mailbox of another account that he may see now, or no more. */
static int tell_grant(struct telling *telling, const struct watch_news *news, size_t at)
{
	const struct watch_event *event = &news->events[at];
	unsigned rights;
	int rc;

	for (size_t i = 0; i < at; i++) {
		if (is_of_mailbox(&news->events[i], event))
			return 0; /* told with that one */
	}
	telling->account = event->account;
	/* His own he always sees, and an administrator all. */
	if (event->account == telling->session->identity.account ||
		telling->session->identity.is_admin)
		return 0;
	rc = rights_before(telling, news, at, &rights);
	if (rc == 0)
		rc = tell_lookup(telling, event->mailbox, (rights & ACL_LOOKUP) != 0);
	/* From now on; if there is nothing to see in it any more, nothing is told of it. */
	if (rc == 0 || rc == ERR_NOT_FOUND)
		watch_account_once(telling->session, event->account);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* ---- all news ---- */

static void overflow(struct imap_session *session)
{
	if (session->notify != NULL)
		imap_put(
			session, "* OK [NOTIFICATIONOVERFLOW] Too much changed, NOTIFY is off\r\n");
	imap_watch_end(session);
}

/* Whether notifications go on. */
static bool tell_news(
	struct imap_session *session, const struct watch *watch, const struct watch_news *news)
{
	struct telling telling = {
		.session = session, .account = watch_account(watch), .news = news
	};
	int rc = 0;

	if (news->is_overflow)
		return false;
	if (news->count > 0)
		rc = imap_read_begin(session, &telling.kv);
	for (size_t i = 0; i < news->count && rc == 0; i++)
		rc = watch_account(watch) == 0 ? tell_grant(&telling, news, i)
					       : tell_event(&telling, &news->events[i]);
	mail_read_end(&telling.kv);
	map_deinit(&telling.told);
	if (rc < 0)
		imap_log_failure(session, rc, NULL);
	return rc == 0; /* what could not be read is not told: he must look himself */
}

void imap_notify_tell(struct imap_session *session)
{
	struct watch_news news;
	struct watch *watch;

	while (session->watches != NULL) {
		watch = watch_next(session->watches, session->arena, &session->own, &news);
		if (watch == NULL)
			break;
		if (!tell_news(session, watch, &news))
			overflow(session);
	}
	arena_clear(session->arena);
	imap_watch_adjust(session);
}
