#include "chapard/origin_private.h"

#include "base/mem.h"
#include "mail/acl.h"
#include "mail/forget.h"

#include <stdlib.h>

/* An account-level register, which no exchange of such an account tells. */
#define FOREIGN_KEY BYTES_LITERAL("foreign")
int origin_is_foreign(struct kv_txn *kv, uint32_t account, bool *is_foreign_r)
{
	struct arena *arena = arena_new();
	struct register_record record;
	int rc = account_get_register(
		kv, account, RECORD_ACCOUNT, (struct id128){ { 0 } }, FOREIGN_KEY, arena, &record);

	*is_foreign_r = rc == 0 && record.is_set;
	arena_free(&arena);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int mark_run(struct account_write *write, void *context)
{
	struct register_record record = { .kind = RECORD_ACCOUNT,
		.key = FOREIGN_KEY,
		.is_set = true,
		.value = BYTES_LITERAL("1") };

	write->header.writer = write->node = *(const uint64_t *)context;
	record.stamp = account_stamp(write);
	record.modseq = record.stamp.modseq;
	return account_put_register(write, &record);
}

static int is_marked(
	struct mail *mail, uint32_t number, uint64_t writer, bool *is_foreign_r, bool *is_shared_r)
{
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, mail_position(mail), &kv);

	if (rc == 0)
		rc = account_load(kv, number, &header);
	if (rc == 0)
		rc = origin_is_foreign(kv, number, is_foreign_r);
	if (rc == 0)
		rc = account_is_shared(kv, number, is_shared_r);
	mail_read_end(&kv);
	*is_foreign_r = rc == 0 && *is_foreign_r && header.writer == writer;
	return rc;
}

int origin_foreign_open(struct origin *origin, const struct origin_account *theirs,
	uint32_t *number_r, struct error *error)
{
	uint64_t writer = foreign_writer(origin->user, mail_node(origin->mail));
	bool is_foreign = false, was_shared = false;
	struct mail *mail = origin->mail;
	int rc = mail_account_open(mail, bytes_of_string(theirs->name), true, error, number_r);

	if (rc == 0)
		rc = is_marked(mail, *number_r, writer, &is_foreign, &was_shared);
	if (rc == 0 && !is_foreign)
		rc = mail_node_commit(mail, *number_r, mark_run, &writer, error, NULL);
	if (rc == 0 && theirs->is_shared && !was_shared)
		rc = mail_account_mark_shared(mail, *number_r, error);
	return rc;
}

/* ---- what is here and not there, and the other way round ---- */

struct id_list {
	struct id128 *ids;
	size_t count, room;
};

static void add_id(struct id_list *list, struct id128 id)
{
	mem_grow((void **)&list->ids, &list->room, list->count + 1, sizeof(*list->ids));
	list->ids[list->count++] = id;
}

struct looking {
	struct kv_txn *kv;
	const struct origin_foreign *foreign;
	struct arena *arena;
	struct id_list *unseen;
	size_t seen_count;
	uint64_t writer;
};

/* What the user may do with it here, 0 if nothing was granted yet. */
static int granted(struct kv_txn *kv, const struct origin_foreign *foreign, struct id128 mailbox,
	struct arena *arena, unsigned *rights_r)
{
	struct register_record record;
	int rc = account_get_register(kv, foreign->number, RECORD_ACL, mailbox,
		bytes_of_string(foreign->user), arena, &record);

	*rights_r = 0;
	if (rc == 0 && record.is_set)
		rc = acl_parse_rights(record.value, rights_r);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int look_at_mailbox(void *context, const struct mailbox_record *mailbox)
{
	struct looking *looking = context;
	unsigned rights;
	int rc = granted(looking->kv, looking->foreign, mailbox->id, looking->arena, &rights);

	if (rc < 0)
		return rc;
	if (foreign_rights(looking->foreign->mailboxes, 0, mailbox->id) != 0)
		looking->seen_count += rights != 0;
	else if (origin_arrange_is_pending(looking->writer, mailbox))
		return 0; /* the origin has not heard of it */
	else if (rights != 0 || mailbox->message_count > 0 ||
		 !bytes_equal_string(mailbox->name, "INBOX"))
		add_id(looking->unseen, mailbox->id);
	return 0;
}

static int forget_all(
	struct origin *origin, uint32_t account, const struct id_list *list, struct error *error)
{
	uint64_t until;
	int rc = 0;

	for (size_t i = 0; i < list->count && rc == 0; i++) {
		rc = origin_hand_keep_all(origin, account, list->ids[i], &until, error);
		if (rc == 0)
			rc = mailbox_forget(origin->mail, account, list->ids[i], until, error);
	}
	return rc;
}

int origin_foreign_prepare(struct origin *origin, const struct origin_foreign *foreign,
	bool *is_anew_r, struct error *error)
{
	struct mail *mail = origin->mail;
	struct id_list unseen = { 0 };
	struct looking looking = { .foreign = foreign, .arena = arena_new(), .unseen = &unseen };
	struct account_header header;
	int rc = mail_read_begin(mail, mail_position(mail), &looking.kv);

	if (rc == 0)
		rc = account_load(looking.kv, foreign->number, &header);
	looking.writer = rc == 0 ? header.writer : 0;
	if (rc == 0)
		rc = account_each_mailbox(
			looking.kv, foreign->number, looking.arena, look_at_mailbox, &looking);
	mail_read_end(&looking.kv);
	if (rc == 0)
		rc = forget_all(origin, foreign->number, &unseen, error);
	*is_anew_r = looking.seen_count < foreign->mailboxes->count;
	free(unseen.ids);
	arena_free(&looking.arena);
	return rc;
}

struct granting {
	const struct origin_foreign *foreign;
	unsigned *rights; /* here, of each mailbox */
	bool may_administer, lacks_any;
};

static int grants_read(struct mail *mail, struct granting *granting)
{
	const struct foreign_list *mailboxes = granting->foreign->mailboxes;
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, mail_position(mail), &kv);

	for (size_t i = 0; i < mailboxes->count && rc == 0; i++) {
		bool administers = (mailboxes->list[i].rights & ACL_ADMINISTER) != 0;

		rc = granted(
			kv, granting->foreign, mailboxes->list[i].id, arena, &granting->rights[i]);
		granting->may_administer |= administers;
		granting->lacks_any |= administers && (granting->rights[i] & ACL_ADMINISTER) == 0;
	}
	mail_read_end(&kv);
	arena_free(&arena);
	return rc;
}

static int grant_one(struct mail *mail, const struct granting *granting, size_t index,
	const struct acl *entries, struct error *error)
{
	const struct origin_foreign *foreign = granting->foreign;
	unsigned had = granting->rights[index];
	struct acl_guest_rights rights = { foreign->mailboxes->list[index].id,
		bytes_of_string(foreign->user),
		foreign->mailboxes->list[index].rights & ACL_OF_GUEST, entries };
	int rc;

	/* Not without knowing who else has which rights. */
	if (entries == NULL && (had & ACL_ADMINISTER) == 0)
		rights.rights &= ~(unsigned)ACL_ADMINISTER;
	if (entries == NULL && had == rights.rights)
		return 0;
	rc = acl_guest_take(mail, foreign->number, &rights, error);
	/* It went there since it was listed. */
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int origin_foreign_grant(
	struct origin *origin, const struct origin_foreign *foreign, struct error *error)
{
	size_t count = foreign->mailboxes->count;
	struct origin_acl told = { .arena = arena_new() };
	struct granting granting = { .foreign = foreign,
		.rights = arena_zalloc(told.arena, (count + 1) * sizeof(*granting.rights)) };
	int rc = grants_read(origin->mail, &granting);

	if (rc == 0 && granting.may_administer)
		rc = origin_acl_ask(origin, foreign, granting.lacks_any, &told, error);
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = grant_one(origin->mail, &granting, i,
			origin_acl_of(&told, foreign->mailboxes->list[i].id), error);
	if (rc == 0 && told.is_told)
		rc = acl_guest_point_put(origin->mail, foreign->number, &told.point, error);
	arena_free(&told.arena);
	return rc;
}

struct gone_list {
	struct stamp *list;
	size_t count, room;
};

static int note_gone(void *context, const struct message_record *message)
{
	struct gone_list *gone = context;

	if (message_is_shown(message) || message->gone_ms == 0)
		return 0;
	mem_grow((void **)&gone->list, &gone->room, gone->count + 1, sizeof(*gone->list));
	gone->list[gone->count++] = message->instance;
	return 0;
}

static int note_withdrawn(void *context, const struct message_record *message)
{
	struct gone_list *gone = context;

	if (message_is_shown(message) || id128_is_none(message->placed_in))
		return 0;
	mem_grow((void **)&gone->list, &gone->room, gone->count + 1, sizeof(*gone->list));
	gone->list[gone->count++] = message->instance;
	return 0;
}

static int forget_noted(struct origin *origin, uint32_t account, uint64_t since,
	account_message_function *note, struct error *error)
{
	const struct account_change_functions functions = { .message = note };
	struct arena *arena = arena_new();
	struct gone_list gone = { 0 };
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(origin->mail, mail_position(origin->mail), &kv);

	if (rc == 0)
		rc = account_each_change(kv, account, since, arena, &functions, &gone);
	mail_read_end(&kv);
	if (rc == 0)
		rc = message_forget(origin->mail, account, gone.list, gone.count, error);
	free(gone.list);
	arena_free(&arena);
	return rc;
}

int origin_foreign_tidy(
	struct origin *origin, uint32_t account, uint64_t since, struct error *error)
{
	return forget_noted(origin, account, since, note_withdrawn, error);
}

int origin_foreign_forget(struct origin *origin, const struct origin_foreign *foreign,
	bool keeps_flags, struct error *error)
{
	static const struct foreign_list none = { 0 };
	struct origin_foreign all = { foreign->user, foreign->number, &none };
	bool is_anew;
	int rc = origin_foreign_prepare(origin, &all, &is_anew, error);

	/* A tombstone that the origin does not take would keep the message from coming again. */
	if (rc == 0)
		rc = forget_noted(origin, foreign->number, 0, note_gone, error);
	return rc < 0 || keeps_flags ? rc : origin_foreign_tidy(origin, foreign->number, 0, error);
}

/* ---- accounts of which nothing is seen any more ---- */

static bool is_named(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static int find_others(struct mail *mail, const char *const *names, size_t count, uint32_t after,
	uint32_t *number_r)
{
	struct account_header header = { .number = after };
	struct kv_txn *kv = NULL;
	bool is_foreign = false;
	int rc = mail_read_begin(mail, mail_position(mail), &kv);

	while (rc == 0 && !is_foreign) {
		rc = account_next(kv, header.number, &header);
		if (rc == 0 && !is_named(header.name, names, count))
			rc = origin_is_foreign(kv, header.number, &is_foreign);
	}
	mail_read_end(&kv);
	*number_r = header.number;
	return rc;
}

int origin_foreign_forget_others(
	struct origin *origin, const char *const *names, size_t count, struct error *error)
{
	struct origin_foreign foreign = { .user = origin->user };
	int rc = 0;

	while (rc == 0) {
		rc = find_others(origin->mail, names, count, foreign.number, &foreign.number);
		if (rc == 0)
			rc = origin_foreign_forget(origin, &foreign, false, error);
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}
