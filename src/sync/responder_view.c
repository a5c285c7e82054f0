/* What of an account a session is about (view.h). */
#include "sync/responder_private.h"

#include "sync/integrate.h"
#include "sync/merge.h"

#include "base/mem.h"
#include "base/pack.h"
#include "mail/annotation.h"

#include <stdlib.h>

#define WITHHELD_USER_SEED 0x7573657273u

bool session_is_limited(const struct sync_session *session)
{
	return session->filter.mine != NULL && session->filter.mine[0] != '\0';
}

/* 0: he has none. */
static int own_account(const struct sync_session *session, struct kv_txn *kv, uint32_t *number_r)
{
	int rc = account_find(kv, bytes_of_string(session->rights.account), number_r);

	if (rc == ERR_NOT_FOUND)
		*number_r = 0;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int session_is_foreign(const struct sync_session *session, struct kv_txn *kv, uint32_t account)
{
	uint32_t own;
	int rc = session->rights.is_full ? 0 : own_account(session, kv, &own);

	return session->rights.is_full || rc < 0 ? rc : account != own;
}

int session_foreign(const struct sync_session *session, struct kv_txn *kv, uint32_t account,
	struct foreign_list *list_r)
{
	uint32_t own;
	int rc;

	*list_r = (struct foreign_list){ 0 };
	if (session->rights.is_full || session->rights.identity.name[0] == '\0')
		return 0;
	rc = own_account(session, kv, &own);
	return rc < 0 ? rc : foreign_list_read(kv, &session->rights.identity, own, account, list_r);
}

static int foreign_view(const struct sync_session *session, struct kv_txn *kv, uint32_t account,
	struct view *view_r)
{
	struct foreign_list list = { 0 };
	struct id128 *ids;
	int rc = session_foreign(session, kv, account, &list);

	ids = mem_alloc((list.count + 1) * sizeof(*ids));
	for (size_t i = 0; i < list.count && rc == 0; i++)
		ids[i] = list.list[i].id;
	view_open_foreign(account, ids, rc == 0 ? list.count : 0, view_r);
	free(ids);
	foreign_list_deinit(&list);
	return rc;
}

int session_highest(struct kv_txn *kv, const struct view *view, struct arena *arena,
	struct account_header *header)
{
	struct mailbox_record mailbox;
	int rc = 0;

	if (!view->is_foreign)
		return 0;
	header->highest = 0;
	for (size_t i = 0; i < view->id_count && rc == 0; i++) {
		rc = account_get_mailbox(kv, view->account, view->ids[i], arena, &mailbox);
		if (rc == 0 && mailbox.highestmodseq > header->highest)
			header->highest = mailbox.highestmodseq;
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

uint64_t session_withheld_as(const struct sync_session *session)
{
	unsigned char node[8];

	if (session->rights.is_full)
		return session->peer;
	put_u64(node, session->peer);
	return hash64(bytes_of(node, sizeof(node)), WITHHELD_USER_SEED);
}

int session_view(const struct sync_session *session, struct kv_txn *kv, uint32_t account,
	struct view *view_r)
{
	int rc = session_is_foreign(session, kv, account);

	*view_r = (struct view){ .is_whole = true };
	if (rc != 0)
		return rc < 0 ? rc : foreign_view(session, kv, account, view_r);
	rc = view_open(kv, account, &session->filter, session->peer, view_r);
	view_r->is_limited = session_is_limited(session);

	return rc < 0 ? rc : view_withhold(kv, view_r, session_withheld_as(session));
}

int session_may_see(const struct sync_session *session, struct kv_txn *kv, const struct view *view,
	struct id128 mailbox, struct arena *arena)
{
	struct mailbox_record record;
	int rc;

	if ((!session_is_limited(session) && !view->is_foreign) || view_has(view, mailbox))
		return 1;
	if (view->is_foreign)
		return 0;
	rc = account_get_mailbox(kv, view->account, mailbox, arena, &record);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	return view_is_within(&record, session->filter.mine);
}

int call_read_also(struct sync_call *call)
{
	const struct dlist *list;
	int rc = dlist_get_list(call->map, "ALSO", &list);

	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : error_set(call->error, ERR_INVALID, "bad ALSO");
	if (list->count > VIEW_ALSO_COUNT_MAX)
		return error_set(call->error, ERR_TOO_LARGE, "too many mailboxes in ALSO");
	call->also.ids = arena_alloc(call->arena, (list->count + 1) * sizeof(*call->also.ids));
	for (const struct dlist *at = list->first; at != NULL; at = at->next)
		if (wire_id(at, &call->also.ids[call->also.count++]) < 0)
			return error_set(call->error, ERR_INVALID, "bad id in ALSO");
	return 0;
}

static int tell(const struct sync_session *session, struct kv_txn *kv, struct view *view,
	const struct id128 *ids, size_t count)
{
	return session_is_limited(session)
		       ? view_tell_within(kv, view, session->filter.mine, ids, count)
		       : view_tell(kv, view, ids, count);
}

int call_view(
	const struct sync_call *call, struct kv_txn *kv, uint32_t account, struct view *view_r)
{
	int rc = session_view(call->session, kv, account, view_r);

	return rc < 0 || view_r->is_foreign
		       ? rc
		       : tell(call->session, kv, view_r, call->also.ids, call->also.count);
}

int call_view_of(const struct sync_call *call, struct kv_txn *kv, uint32_t account,
	struct id128 mailbox, struct view *view_r)
{
	int rc = call_view(call, kv, account, view_r);

	return rc < 0 || view_r->is_foreign ? rc : tell(call->session, kv, view_r, &mailbox, 1);
}

/* What is cleared may be of what the peer saw once: it is passed over. */
static int check_registers(
	struct kv_txn *kv, struct change_set *changes, struct view *view, struct arena *arena)
{
	size_t kept = 0;

	for (size_t i = 0; i < changes->register_count; i++) {
		const struct register_record *record = &changes->registers[i];
		struct stamp instance;
		int rc = annotation_instance(record, &instance) &&
					 change_set_message(changes, instance) != NULL
				 ? 1
				 : view_has_register(kv, view, record, arena);

		if (rc < 0 || (rc == 0 && record->is_set))
			return rc < 0 ? rc : ERR_REFUSED;
		if (rc > 0)
			changes->registers[kept++] = *record;
	}
	changes->register_count = kept;
	return 0;
}

static int is_new_here(
	struct kv_txn *kv, const struct view *view, struct id128 id, struct arena *arena)
{
	struct mailbox_record mine;
	int rc = account_get_mailbox(kv, view->account, id, arena, &mine);

	return rc < 0 && rc != ERR_NOT_FOUND ? rc : rc == ERR_NOT_FOUND;
}

/* A mailbox that is new here must be named as the peer may name it. */
static int tell_new(const struct sync_session *session, struct kv_txn *kv,
	const struct change_set *changes, struct view *view, struct arena *arena)
{
	int rc = 0;

	for (size_t i = 0; i < changes->mailbox_count && rc >= 0; i++) {
		const struct mailbox_record *mailbox = &changes->mailboxes[i];

		if (view_has(view, mailbox->id) ||
			(!mailbox_filter_passes(session->filter.mine, mailbox->name) &&
				!merge_is_retired(mailbox)))
			continue;
		rc = is_new_here(kv, view, mailbox->id, arena);
		if (rc > 0)
			rc = view_tell(kv, view, &mailbox->id, 1);
	}
	return rc < 0 ? rc : 0;
}

/* Or what it made in place of one that it may see: renamed first, that may be called anything. What
 * is here cannot be got hold of so. */
static int tell_forwards(
	struct kv_txn *kv, const struct change_set *changes, struct view *view, struct arena *arena)
{
	size_t told_before;
	int rc = 0;

	do {
		told_before = view->told_count;
		for (size_t i = 0; i < changes->mailbox_count && rc >= 0; i++) {
			const struct mailbox_record *mailbox = &changes->mailboxes[i];

			if (id128_is_none(mailbox->forward) || !view_has(view, mailbox->id) ||
				view_has(view, mailbox->forward))
				continue;
			rc = is_new_here(kv, view, mailbox->forward, arena);
			if (rc == 0)
				return ERR_REFUSED;
			if (rc > 0)
				rc = view_tell(kv, view, &mailbox->forward, 1);
		}
	} while (rc >= 0 && view->told_count > told_before &&
		 view->told_count <= VIEW_ALSO_COUNT_MAX);
	return rc < 0 ? rc : 0;
}

static int check_limit(const struct sync_session *session, struct kv_txn *kv,
	struct change_set *changes, struct view *view, struct error *error)
{
	struct arena *arena = arena_new();
	int rc = tell_new(session, kv, changes, view, arena);

	if (rc == 0)
		rc = tell_forwards(kv, changes, view, arena);
	for (size_t i = 0; i < changes->mailbox_count && rc == 0; i++)
		rc = view_has(view, changes->mailboxes[i].id) ? 0 : ERR_REFUSED;
	for (size_t i = 0; i < changes->message_count && rc == 0; i++) {
		const struct message_record *message = &changes->messages[i].record;

		if (message_is_shown(message) && !view_has(view, message->mailbox))
			rc = ERR_REFUSED;
	}
	if (rc == 0)
		rc = check_registers(kv, changes, view, arena);
	arena_free(&arena);
	return rc == ERR_REFUSED && error->code == 0
		       ? error_set(
				 error, rc, "this peer may not change these mailboxes (mailboxes)")
		       : rc;
}

int call_view_told(const struct sync_call *call, struct kv_txn *kv, uint32_t account,
	struct change_set *changes, struct view *view_r, struct error *error)
{
	int rc = call_view(call, kv, account, view_r);

	/* What he sees of another's account he does not widen by telling of it. */
	if (rc < 0 || view_r->is_foreign)
		return rc;
	return session_is_limited(call->session)
		       ? check_limit(call->session, kv, changes, view_r, error)
		       : integrate_tell(kv, changes, view_r);
}
