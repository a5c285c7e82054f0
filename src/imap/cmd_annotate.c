/* STORE ANNOTATION (RFC 5257, 4.6). */
#include "imap/imap_annotation.h"
#include "imap/imap_commands.h"
#include "imap/imap_reply.h"
#include "imap/imap_store.h"

#include "base/mem.h"
#include "mail/acl.h"

#include <stdlib.h>

struct instances {
	struct stamp *list;
	size_t count, room;
};

static int collect(void *context, const struct message_record *message)
{
	struct instances *instances = context;

	mem_grow((void **)&instances->list, &instances->room, instances->count + 1,
		sizeof(*instances->list));
	instances->list[instances->count++] = message->instance;
	return 0;
}

/* Of messages in another account the user's private annotations are in his own. */
static int set_private(struct imap_session *session, const struct uid_set *uids,
	const struct annotation *changes, size_t count, struct error *error)
{
	const struct imap_view *view = session->view;
	struct instances instances = { NULL, 0, 0 };
	struct account_header header;
	struct kv_txn *kv = NULL;
	uint64_t position = 0;
	int rc = imap_read_begin(session, &kv);

	if (rc == 0)
		rc = account_load(kv, view->account, &header);
	for (size_t i = 0; i < uids->count && rc == 0; i++)
		rc = account_each_message(kv, view->account, view->mailbox, uids->ranges[i].first,
			uids->ranges[i].last, session->arena, collect, &instances);
	mail_read_end(&kv);
	if (rc == 0 && instances.count > 0)
		rc = message_annotate_privately(session->mail, session->identity.account, header.id,
			instances.list, instances.count, changes, count, error, &position);
	imap_wrote(session, position);
	free(instances.list);
	return rc;
}

static int annotate(struct imap_session *session, const struct uid_set *uids,
	const struct annotation *changes, size_t count, uint64_t unchanged_since,
	struct uid_set *modified, struct error *error)
{
	struct imap_view *view = session->view;
	bool is_own = view->account == session->identity.account;
	struct annotation *own = arena_alloc(session->arena, (count + 1) * sizeof(*own));
	struct annotation *shared = arena_alloc(session->arena, (count + 1) * sizeof(*shared));
	size_t own_count = 0, shared_count = 0;
	uint64_t position = 0;
	int rc = 0;

	for (size_t i = 0; i < count; i++) {
		if (changes[i].scope == ANNOTATION_PRIVATE && !is_own)
			own[own_count++] = changes[i];
		else
			shared[shared_count++] = changes[i];
	}
	/* What we do ourselves is not told to us. */
	if (shared_count > 0)
		rc = message_annotate(session->mail, view->account, view->mailbox, uids, shared,
			shared_count, unchanged_since, error, &view->silent, modified, &position);
	imap_wrote(session, position);
	if (rc == 0 && own_count > 0)
		rc = set_private(session, uids, own, own_count, error);
	return rc;
}

enum net_result imap_store_annotations(struct imap_session *session, const struct uid_set *uids,
	const struct annotation *changes, size_t count, uint64_t unchanged_since)
{
	struct uid_set modified = { 0 };
	struct error error = { 0 };
	enum net_result result;
	int rc;

	if (session->identity.is_read_only)
		return imap_no(session, "[NOPERM] You may change nothing");
	for (size_t i = 0; i < count; i++) {
		if (changes[i].value.len > ANNOTATION_VALUE_SIZE_MAX)
			return imap_no(session, "[ANNOTATE TOOBIG] Value too large");
		if (changes[i].scope == ANNOTATION_SHARED &&
			(session->view->rights & ACL_ANNOTATE) == 0)
			return imap_no(session, "[NOPERM] You may not set shared annotations here");
		if (changes[i].scope == ANNOTATION_PRIVATE && session->identity.account == 0)
			return imap_no(session, "[CANNOT] You have no account for private ones");
	}
	if (uids->count == 0)
		return imap_ok(session, "No messages");
	rc = annotate(session, uids, changes, count, unchanged_since, &modified, &error);
	if (rc == ERR_TOO_LARGE)
		result = imap_no(session, "[ANNOTATE TOOMANY] %s", error.text);
	else
		result = rc < 0 ? imap_fail(session, rc, &error)
				: imap_store_done(session, &modified);
	uid_set_deinit(&modified);
	return result;
}
